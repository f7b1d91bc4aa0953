//! `wasi:filesystem` for agents: the granted folders and nothing else.
//!
//! Paths are resolved beneath a granted folder by the WASI of the engine (`openat2` with `RESOLVE_BENEATH`, or step by
//! step where the system has no such call), so that neither `..` nor an absolute path nor a symbolic link leads out,
//! whoever exchanges what meanwhile. This module lies over it: it counts, limits and logs, makes files that nobody else
//! can read, and makes no links. Whatever touches the disk runs on threads for that, and the call's deadline goes on.

mod allowance;
mod beneath;
mod granted;
mod host;
mod stream;

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};

use crate::state::State;

pub(crate) use allowance::DirectoryUse;
pub(crate) use granted::Directories;

/// Puts this module between agents and the WASI in `linker`.
pub(crate) fn guard(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    preopens::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}
