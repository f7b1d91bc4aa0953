//! The exports of a delivery agent over a session, such as SMPP: `agent`, `batch` and `session` of the contract. It is a crate
//! beside the SDK because the bindings of two worlds with the same exports do not go into one crate. The crate that uses the
//! macro depends on `postern-agent-sdk` as well.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;

/// Makes a component of a [`SessionAgent`](postern_agent_sdk::SessionAgent): the exports `agent`, `batch` and `session`. On any target but WebAssembly it
/// expands to nothing.
#[macro_export]
macro_rules! export_session_agent {
    ($agent:ident) => {
        // The exported functions that the bindings generate are `unsafe` by nature.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated exports of the component")]
        const _: () = {
            ::std::thread_local! {
                static CONNECTION: ::std::cell::RefCell<::postern_agent_sdk::Connection<$agent>> =
                    const { ::std::cell::RefCell::new(::postern_agent_sdk::Connection::new()) };
            }

            impl ::postern_agent_sdk::component::Slot for $agent {
                fn with<T>(work: impl FnOnce(&mut ::postern_agent_sdk::Connection<Self>) -> T) -> T {
                    CONNECTION.with_borrow_mut(work)
                }
            }

            type Exported = $crate::component::Exported<$agent>;
            $crate::component::export_session!(
                Exported with_types_in $crate::component::world
            );
        };
    };
}
