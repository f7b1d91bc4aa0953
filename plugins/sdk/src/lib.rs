//! Delivery agents for Postern in Rust: the agent contract as plain types, and one macro that makes a component.
//!
//! ```no_run
//! use postern_agent_sdk::{Agent, Description, Item, NextHop, Outcome, Refusal, Report, log};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     far_end: String,
//! }
//!
//! struct Pager {
//!     far_end: String,
//! }
//!
//! impl Agent for Pager {
//!     type Settings = Settings;
//!
//!     fn describe() -> Description {
//!         Description::new("pager", "1.0.0", "PAGER")
//!     }
//!
//!     fn open(_hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
//!         Ok(Self { far_end: settings.far_end })
//!     }
//!
//!     fn label(&self) -> String {
//!         self.far_end.clone()
//!     }
//!
//!     fn deliver(&mut self, item: &Item) -> Result<Report, String> {
//!         log::info(&format!("{} bytes for {}", item.envelope().size, self.far_end));
//!         Ok(Report::all(&item.recipients(), &Outcome::delivered("paged")))
//!     }
//! }
//!
//! postern_agent_sdk::export_agent!(Pager);
//! ```
//!
//! Everything compiles for the machine it is built on too, where the imports are played by [`testing`]: an agent's unit
//! tests need no host and no WebAssembly.

mod agent;
pub mod class;
mod connection;
pub mod host;
pub mod http;
pub mod inbound;
mod item;
pub mod log;
mod outcome;
mod receipt;
mod report;
mod response;
mod session;
mod settings;
pub mod tcp;

#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;

#[cfg(target_arch = "wasm32")]
use component::imports;
#[cfg(not(target_arch = "wasm32"))]
use testing::imports;

pub use agent::{Agent, Description, NextHop, PollReceipts};
pub use connection::Connection;
pub use item::{Chunks, Envelope, Item, Notify, Original, Part, Priority, ReadError, Recipient, Source};
pub use outcome::{Deferral, Failure, Outcome, Pending, RecipientOutcome};
pub use receipt::{Receipt, ReceiptState};
pub use report::{Refusal, Report};
pub use response::Response;
pub use session::{Next, SessionAgent};
pub use settings::load as settings;

/// Makes a component of an [`Agent`]: `export_agent!(MyAgent)`.
///
/// `export_agent!(MyAgent, receipts)` also exports what [`PollReceipts`] implements. On any target but WebAssembly it
/// expands to nothing, so that the agent's own tests build with plain `cargo test`.
#[macro_export]
macro_rules! export_agent {
    ($agent:ident $(, $extra:ident)*) => {
        // The exported functions that the bindings generate are `unsafe` by nature.
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "generated exports of the component")]
        const _: () = {
            ::std::thread_local! {
                static CONNECTION: ::std::cell::RefCell<$crate::Connection<$agent>> =
                    const { ::std::cell::RefCell::new($crate::Connection::new()) };
            }

            impl $crate::component::Slot for $agent {
                fn with<T>(work: impl FnOnce(&mut $crate::Connection<Self>) -> T) -> T {
                    CONNECTION.with_borrow_mut(work)
                }
            }

            type Exported = $crate::component::Exported<$agent>;
            $crate::component::export_base!(Exported with_types_in $crate::component::base);
            $($crate::export_agent!(@extra $extra);)*
        };
    };
    (@extra receipts) => {
        $crate::component::export_receipts!(Exported with_types_in $crate::component::receipts);
    };
}
