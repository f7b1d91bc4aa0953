//! `wasi:sockets`: linked, because the libraries of some languages import it, and closed. There is no socket and no name
//! look-up, which would tell others what an agent knows; connections are for `tcp` and `http`, by granted name.

use wasmtime::component::{Linker, Resource};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::ResolveAddressStream;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::{Network, TcpSocket, UdpSocket};

use crate::log::Capability;
use crate::state::State;

/// The version of `wasi:sockets` that the engine's WASI defines; guests may ask for any 0.2.
const VERSION: &str = "0.2.12";
/// The reason that the operator reads.
const WHY: &str = "wasi:sockets is closed; agents connect by granted name, with `tcp` or `http`";

/// Closes the three functions of the WASI in `linker` that everything else in `wasi:sockets` begins with.
pub(crate) fn close(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    linker.instance(&format!("wasi:sockets/ip-name-lookup@{VERSION}"))?.func_wrap(
        "resolve-addresses",
        |store: StoreContextMut<'_, State>, (_, name): (Resource<Network>, String)| {
            Ok((refused::<ResolveAddressStream>(&store, &name),))
        },
    )?;
    linker.instance(&format!("wasi:sockets/tcp-create-socket@{VERSION}"))?.func_wrap(
        "create-tcp-socket",
        |store: StoreContextMut<'_, State>, (_,): (IpAddressFamily,)| {
            Ok((refused::<TcpSocket>(&store, "a TCP socket"),))
        },
    )?;
    linker.instance(&format!("wasi:sockets/udp-create-socket@{VERSION}"))?.func_wrap(
        "create-udp-socket",
        |store: StoreContextMut<'_, State>, (_,): (IpAddressFamily,)| {
            Ok((refused::<UdpSocket>(&store, "a UDP socket"),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn refused<T: 'static>(
    store: &StoreContextMut<'_, State>,
    target: &str,
) -> std::result::Result<Resource<T>, ErrorCode> {
    store.data().log.refused(Capability::Sockets, target, WHY);
    Err(ErrorCode::AccessDenied)
}
