//! What agents import, led to the policy layer: the functions of [`State`].
//!
//! Each interface is linked by a function of its own under the version that is asked for, so that one which is the same in
//! two versions is linked for both by the same lines. The names and types are checked against the contract when a component
//! is linked; a test links components that import every function there is.

use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut};

use super::PACKAGE;
use crate::bindings::imported;
use crate::item::{self, ItemResource};
use crate::state::State;
use crate::tcp::TcpConnection;

/// Links functions: `"name" kind method(argument: type);`. A kind says whether the method is async (`awaits`) and
/// whether it gives the guest anything (`gives`).
macro_rules! functions {
    ($at:ident, $host:path: $($name:literal [$($kind:ident)+] $method:ident($($arg:ident: $type:ty),*);)+) => {
        $(functions!(@$($kind)+, $at, $name, <State as $host>::$method, ($($arg: $type),*));)+
    };
    (@gives, $at:ident, $name:literal, $method:expr, ($($arg:ident: $type:ty),*)) => {
        $at.func_wrap($name, |mut store: StoreContextMut<'_, State>, ($($arg,)*): ($($type,)*)| {
            Ok(($method(store.data_mut(), $($arg),*)?,))
        })?;
    };
    (@takes, $at:ident, $name:literal, $method:expr, ($($arg:ident: $type:ty),*)) => {
        $at.func_wrap($name, |mut store: StoreContextMut<'_, State>, ($($arg,)*): ($($type,)*)| {
            $method(store.data_mut(), $($arg),*)
        })?;
    };
    (@awaits gives, $at:ident, $name:literal, $method:expr, ($($arg:ident: $type:ty),*)) => {
        $at.func_wrap_async($name, |mut store: StoreContextMut<'_, State>, ($($arg,)*): ($($type,)*)| {
            Box::new(async move { Ok(($method(store.data_mut(), $($arg),*).await?,)) })
        })?;
    };
    (@awaits takes, $at:ident, $name:literal, $method:expr, ($($arg:ident: $type:ty),*)) => {
        $at.func_wrap_async($name, |mut store: StoreContextMut<'_, State>, ($($arg,)*): ($($type,)*)| {
            Box::new(async move { $method(store.data_mut(), $($arg),*).await })
        })?;
    };
}

/// Every interface of the newest version.
pub(super) fn all(linker: &mut Linker<State>, version: &str) -> Result<()> {
    types(linker, version)?;
    mail(linker, version)?;
    host(linker, version)?;
    http(linker, version)?;
    tcp(linker, version)?;
    state(linker, version)?;
    inbound(linker, version)
}

/// An interface of the contract in one of its versions.
pub(super) fn interface<'a>(
    linker: &'a mut Linker<State>,
    name: &str,
    version: &str,
) -> Result<LinkerInstance<'a, State>> {
    linker.instance(&format!("{PACKAGE}{name}@{version}"))
}

/// Types only: there is nothing to call.
pub(super) fn types(linker: &mut Linker<State>, version: &str) -> Result<()> {
    interface(linker, "types", version).map(|_| ())
}

pub(super) fn mail(linker: &mut Linker<State>, version: &str) -> Result<()> {
    use imported::types::RecipientOutcome;
    type Item = Resource<ItemResource>;
    let mut at = interface(linker, "mail", version)?;
    // The host ends the item when the call returns, dropped or not.
    at.resource("item", ResourceType::host::<ItemResource>(), |_, _| Ok(()))?;
    // Not by the generated method, which would copy every range into a vector first.
    at.func_wrap_async(
        "[method]item.read",
        |mut store: StoreContextMut<'_, State>, (item, offset, length): (Item, u32, u32)| {
            Box::new(async move { Ok((item::read(store.data_mut(), &item, offset, length).await?,)) })
        },
    )?;
    functions! { at, imported::mail::HostItem:
        "[method]item.envelope" [gives] envelope(item: Item);
        "[method]item.recipients" [gives] recipients(item: Item);
        "[method]item.headers" [awaits gives] headers(item: Item);
        "[method]item.text" [awaits gives] text(item: Item, max: u32);
        "[method]item.parts" [awaits gives] parts(item: Item);
        "[method]item.read-part" [awaits gives] read_part(item: Item, index: u32, offset: u32, length: u32);
        "[method]item.report" [takes] report(item: Item, outcome: RecipientOutcome);
    }
    Ok(())
}

pub(super) fn host(linker: &mut Linker<State>, version: &str) -> Result<()> {
    use imported::host::Level;
    let mut at = interface(linker, "host", version)?;
    functions! { at, imported::host::Host:
        "log" [takes] log(level: Level, text: String);
        "settings" [gives] settings();
        "secret" [gives] secret(name: String);
        "now" [gives] now();
        "random" [gives] random(length: u32);
        "remaining-ms" [gives] remaining_ms();
        "callback-url" [gives] callback_url();
    }
    Ok(())
}

pub(super) fn http(linker: &mut Linker<State>, version: &str) -> Result<()> {
    let mut at = interface(linker, "http", version)?;
    functions! { at, imported::http::Host:
        "send" [awaits gives] send(request: imported::http::Request);
    }
    Ok(())
}

pub(super) fn tcp(linker: &mut Linker<State>, version: &str) -> Result<()> {
    type Connection = Resource<TcpConnection>;
    let mut at = interface(linker, "tcp", version)?;
    at.resource_async("connection", ResourceType::host::<TcpConnection>(), |mut store, number| {
        Box::new(async move {
            imported::tcp::HostConnection::drop(store.data_mut(), Resource::new_own(number)).await
        })
    })?;
    functions! { at, imported::tcp::HostConnection:
        "[method]connection.read" [awaits gives] read(of: Connection, max: u32, timeout_ms: u32);
        "[method]connection.read-line" [awaits gives] read_line(of: Connection, max: u32, timeout_ms: u32);
        "[method]connection.write" [awaits gives] write(of: Connection, data: Vec<u8>, timeout_ms: u32);
        "[method]connection.close" [awaits takes] close(of: Connection);
    }
    functions! { at, imported::tcp::Host:
        "connect" [awaits gives] connect(target: String, timeout_ms: u32);
    }
    Ok(())
}

pub(super) fn state(linker: &mut Linker<State>, version: &str) -> Result<()> {
    type Value = Option<Vec<u8>>;
    let mut at = interface(linker, "state", version)?;
    functions! { at, imported::state::Host:
        "get" [awaits gives] get(key: String);
        "set" [awaits gives] set(key: String, value: Vec<u8>);
        "delete" [awaits gives] delete(key: String);
        "keys" [awaits gives] keys(prefix: String, limit: u32);
        "swap" [awaits gives] swap(key: String, expected: Value, new: Value);
    }
    Ok(())
}

pub(super) fn inbound(linker: &mut Linker<State>, version: &str) -> Result<()> {
    let mut at = interface(linker, "inbound", version)?;
    functions! { at, imported::inbound::Host:
        "submit" [awaits gives] submit(submission: imported::inbound::Submission);
    }
    Ok(())
}
