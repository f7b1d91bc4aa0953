//! The way out: what lies below `http.send`, `wasi:http` and `tcp`, in every version of the contract. A name is looked up,
//! the addresses that a grant allows are kept, and exactly those are dialled; TLS is spoken by the host.

mod address;
mod dial;
mod network;
mod tls;

pub(crate) use address::AddressKind;
pub(crate) use dial::{ConnectError, Dialler};
pub use network::{Network, NetworkFuture, SystemNetwork};
pub(crate) use tls::{Authorities, Identity, SystemRoots, Trust, error_in, in_words};
