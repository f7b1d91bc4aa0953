//! The exported functions of a guest, found once for each component and loaded for each instance: the part of serving a
//! version that is the same for all of them.

/// Makes `Functions`, which holds the functions of a guest: those of the interface `agent`, and of each named optional
/// interface that it has. The first argument is the generated module of the exports, as a name that is in scope.
macro_rules! functions {
    ($exported:ident: $($optional:ident),*) => {
        struct Found {
            agent: $exported::agent::GuestIndices,
            $($optional: Option<$exported::$optional::GuestIndices>,)*
        }

        struct Functions {
            agent: $exported::agent::Guest,
            $($optional: Option<$exported::$optional::Guest>,)*
        }

        impl Functions {
            /// Finds the functions in a component; they are loaded from each of its instances.
            fn find(
                component: &wasmtime::component::InstancePre<State>,
                has: crate::Interfaces,
            ) -> wasmtime::Result<super::Load> {
                let found = Found {
                    agent: $exported::agent::GuestIndices::new(component)?,
                    $($optional: has.$optional
                        .then(|| $exported::$optional::GuestIndices::new(component))
                        .transpose()?,)*
                };
                Ok(Box::new(move |store, instance| {
                    Ok(Box::new(Self {
                        agent: found.agent.load(&mut *store, instance)?,
                        $($optional: found.$optional
                            .as_ref()
                            .map(|indices| indices.load(&mut *store, instance))
                            .transpose()?,)*
                    }))
                }))
            }
        }
    };
}
pub(super) use functions;

/// The functions of an optional interface. A caller has looked whether the component has it.
pub(super) fn there<T>(optional: Option<&T>) -> wasmtime::Result<&T> {
    optional.ok_or_else(|| wasmtime::Error::msg("the component does not have this optional interface"))
}
