//! Delivery agents: sandboxed WebAssembly components that hand messages to the non-SMTP world.
//!
//! A [`Runtime`] loads components that export the `agent` interface of `postern:delivery-agent`, gives each what its
//! connector's [`Grants`] and [`Limits`] allow and nothing else, and turns every trap and overrun into a deferral with a
//! reason. Only this crate knows the WebAssembly engine.
//!
//! One task owns one [`AgentConnection`] and awaits its calls inline, on the runtime's own threads ([`Runtime::handle`]),
//! so a guest that loops takes turns with the others and never delays the host's I/O.

mod agent;
mod autopsy;
mod bindings;
mod cache;
mod callback;
pub mod conformance;
mod connection;
mod contract;
mod directory;
mod egress;
mod engine;
mod epoch;
mod fault;
mod grants;
mod host;
mod http;
mod inbound;
mod instance;
mod item;
mod kept;
mod latency;
mod limits;
mod log;
mod memory;
mod outcome;
mod precompiled;
mod recording;
mod runtime;
mod secret;
mod senses;
mod size;
mod sockets;
mod state;
mod stats;
mod tcp;
mod views;
mod wasi;
mod witness;

pub use agent::{Agent, AgentSpec, Description, Doors, Interfaces, LoadError};
pub use cache::sweep_cache;
pub use callback::{CallbackReply, CallbackRequest};
pub use connection::{AgentConnection, Tick};
pub use contract::unserved_contract;
pub use egress::{Network, NetworkFuture, SystemNetwork};
pub use grants::{Access, Clocks, DirectoryGrant, GrantError, Grants, HttpGrant, TcpGrant};
pub use inbound::{Inbound, InboundMessage};
pub use kept::{KeptState, NotCommitted};
pub use latency::Latency;
pub use limits::{Limit, LimitCounts, Limits, Shown, Unit};
pub use recording::{Divergence, Recording, RecordingError, Replay, ReplayError, replay};
pub use runtime::{Runtime, RuntimeConfig, RuntimeError};
pub use secret::Secret;
pub use size::Size;
pub use stats::AgentStats;
pub use views::parse_cost;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
