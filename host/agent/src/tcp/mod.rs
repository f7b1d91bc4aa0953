//! TCP for agents: connections to granted names, with TLS by the host where the grant says so.

mod connection;
mod door;
mod host;

pub(crate) use door::TcpDoor;
pub use host::TcpConnection;
pub(crate) use host::TcpUse;
