//! The versions of the contract that this host serves, each beside the others, all over one policy layer.
//!
//! The crate thinks in the words of the newest version ([`crate::bindings`]): grants, limits, outcomes and logs know no
//! other. A version leads its imports to the functions of [`State`] that serve every version, and turns what its agents
//! return into those words. So no version can open a door that another one keeps shut. Which version a component was built
//! for is told by the name of the `agent` interface that it exports.
//!
//! To add version 0.2.0 beside 0.1.0:
//!
//! 1. Copy `wit/0.1.0` to `wit/0.2.0` and change it there. A released folder never changes: `cargo xtask tidy` holds its hash
//!    in `wit/RELEASED.toml`.
//! 2. Point [`crate::bindings`] at `wit/0.2.0`. The compiler now shows every place in the crate that must know what is new.
//! 3. Copy `newest.rs` to `v0_1_0.rs`, give it a `bindgen!` of `wit/0.1.0` whose `with:` takes the interfaces that are the same
//!    from [`crate::bindings`], and write the `From` of each record that differs. `second.rs` is an example that is tested.
//!    Interfaces that are the same are linked by [`imports`] under the old name.
//! 4. Add it to [`SERVED`], newest first.
//! 5. Keep a component that was built for 0.1.0 in the tests for ever, and add a line to the table in
//!    `docs/writing-an-agent.md`.
//!
//! To stop serving a version, take its line and its file away: what then differs is a component that is refused by name.

mod file;
mod functions;
pub(crate) mod imports;
mod newest;
#[cfg(test)]
mod second;
#[cfg(test)]
mod tests;

pub use file::unserved_contract;

use semver::Version;
use wasmtime::component::{InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use crate::bindings::exported::agent::{Description, Report};
use crate::bindings::exported::{callback, probe, session};
use crate::bindings::imported::types::{NextHop, Receipt, Refusal};
use crate::item::ItemResource;
use crate::state::State;
use crate::{BoxFuture, Interfaces};

/// The package whose `agent` interface makes a component a delivery agent.
pub(crate) const PACKAGE: &str = "postern:delivery-agent/";

/// The versions that are served, newest first.
pub(crate) const SERVED: &[&dyn Contract] = &[
    #[cfg(test)]
    &second::Second,
    &newest::Newest,
];

/// One version of the contract.
pub(crate) trait Contract: Sync {
    /// Its number, as it stands behind the `@` of its interfaces.
    fn version(&self) -> &'static str;

    /// Leads everything that agents of this version may import to the policy layer.
    fn link(&self, linker: &mut Linker<State>) -> Result<()>;

    /// Finds the functions of a component, those of optional interfaces where it has them.
    fn find(&self, component: &InstancePre<State>, has: Interfaces) -> Result<Load>;
}

/// Takes the functions that were found in a component out of one of its instances.
pub(crate) type Load =
    Box<dyn Fn(&mut Store<State>, &wasmtime::component::Instance) -> Result<Box<dyn Guest>> + Send + Sync>;

/// A call of a guest: the outer error is a trap.
pub(crate) type Call<'a, T> = BoxFuture<'a, Result<T>>;

/// The functions of one instance, of whichever version, in the words of the crate. Those of an optional interface may be
/// called only where the component has it.
pub(crate) trait Guest: Send + Sync {
    fn describe<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Description>;
    fn open_connection<'a>(
        &'a self,
        store: &'a mut Store<State>,
        hop: &'a NextHop,
    ) -> Call<'a, Result<String, Refusal>>;
    fn deliver<'a>(
        &'a self,
        store: &'a mut Store<State>,
        item: Resource<ItemResource>,
    ) -> Call<'a, Result<Report, String>>;
    fn close_connection<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Result<(), String>>;
    fn deliver_batch<'a>(
        &'a self,
        store: &'a mut Store<State>,
        items: &'a [Resource<ItemResource>],
    ) -> Call<'a, Result<Vec<Report>, String>>;
    fn tick<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Result<session::Next, Refusal>>;
    fn poll<'a>(
        &'a self,
        store: &'a mut Store<State>,
        ids: &'a [String],
    ) -> Call<'a, Result<Vec<Receipt>, String>>;
    fn handle<'a>(
        &'a self,
        store: &'a mut Store<State>,
        request: &'a callback::Request,
    ) -> Call<'a, Result<callback::Reply, String>>;
    fn did_it_arrive<'a>(
        &'a self,
        store: &'a mut Store<State>,
        key: &'a str,
    ) -> Call<'a, Result<probe::Answer, String>>;
}

/// Which contract serves a component with these exports, and the version that it was built for.
///
/// # Errors
/// The versions of `agent` that it exports, of which none is served.
pub(crate) fn of(exports: &[String]) -> std::result::Result<(&'static dyn Contract, &str), Vec<&str>> {
    let name = |export| str::strip_prefix(export, PACKAGE)?.strip_prefix("agent@");
    let built_for: Vec<&str> = exports.iter().filter_map(|export| name(export)).collect();
    let served = SERVED.iter().find_map(|contract| {
        let version = built_for.iter().find(|version| serves(contract.version(), version))?;
        Some((*contract, *version))
    });
    served.ok_or(built_for)
}

/// The numbers of the versions that are served, newest first.
pub(crate) fn served() -> String {
    SERVED.iter().map(|contract| contract.version()).collect::<Vec<_>>().join(", ")
}

/// Whether a served version is good for an agent that was built for that one: the same, or one that differs only in what
/// Semantic Versioning calls compatible. (The engine's linker goes by the same rule. A function that is not there yet is
/// missing when the agent is linked.)
fn serves(served: &str, built_for: &str) -> bool {
    let line = |version: &str| {
        let version = Version::parse(version).ok().filter(|version| version.pre.is_empty())?;
        match (version.major, version.minor) {
            (0, 0) => None,
            (0, minor) => Some((0, minor)),
            (major, _) => Some((major, 0)),
        }
    };
    served == built_for || line(served).is_some_and(|served| Some(served) == line(built_for))
}
