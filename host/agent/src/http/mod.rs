//! HTTP for agents: one policy below `http.send` and below `wasi:http`.

mod client;
mod connect;
mod path;
mod policy;
mod send;

pub(crate) use client::{Body, HttpClient};
pub(crate) use path::climbs;
pub(crate) use policy::{Denied, HttpPolicy};
pub(crate) use send::{connected_too_slowly, denied, wasi_error};
