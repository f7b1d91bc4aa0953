//! The agent contract as Rust types and traits, generated from `wit/0.1.0`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../wit/0.1.0",
    world: "delivery-agent-full",
    imports: {
        "postern:delivery-agent/http.send": async | trappable,
        "postern:delivery-agent/tcp.connect": async | trappable,
        "postern:delivery-agent/tcp.[method]connection.read": async | trappable,
        "postern:delivery-agent/tcp.[method]connection.read-line": async | trappable,
        "postern:delivery-agent/tcp.[method]connection.write": async | trappable,
        "postern:delivery-agent/tcp.[method]connection.close": async | trappable,
        "postern:delivery-agent/tcp.[drop]connection": async | trappable,
        "postern:delivery-agent/mail.[method]item.headers": async | trappable,
        "postern:delivery-agent/mail.[method]item.text": async | trappable,
        "postern:delivery-agent/mail.[method]item.parts": async | trappable,
        "postern:delivery-agent/mail.[method]item.read-part": async | trappable,
        "postern:delivery-agent/state.get": async | trappable,
        "postern:delivery-agent/state.set": async | trappable,
        "postern:delivery-agent/state.delete": async | trappable,
        "postern:delivery-agent/state.keys": async | trappable,
        "postern:delivery-agent/state.swap": async | trappable,
        "postern:delivery-agent/inbound.submit": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "postern:delivery-agent/mail.item": crate::item::ItemResource,
        "postern:delivery-agent/tcp.connection": crate::tcp::TcpConnection,
    },
});

pub(crate) use exports::postern::delivery_agent as exported;
pub(crate) use postern::delivery_agent as imported;
