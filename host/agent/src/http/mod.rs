//! HTTP for agents: one policy below `http.send` and below `wasi:http`.

mod address;
mod client;
mod connect;
mod path;
mod policy;
mod send;

pub(crate) use address::AddressKind;
pub(crate) use client::{HttpClient, TlsRoots};
pub(crate) use connect::ConnectError;
pub(crate) use path::climbs;
pub(crate) use policy::{Denied, HttpPolicy};
pub(crate) use send::wasi_error;
