//! The durable queue: messages, items, settlements, outbox, receipts, counters and events.
//!
//! [`Store`] is what the host knows; [`sqlite::SqliteStore`] is the embedded default. Leases and what is
//! due live in memory, in the [`QueueIndex`] that every backend keeps up to date with its commits.

mod agent_state;
mod commit;
pub mod conformance;
mod inbound;
mod index;
mod intent;
mod receipt;
pub mod sqlite;
mod store;

pub use agent_state::{AgentStateChange, AgentStateCheck, AgentStateWrite};
pub use commit::{Commit, Read};
pub use inbound::InboundId;
pub use index::{HopView, ItemView, Lease, QueueIndex, ReadyFeed};
pub use intent::Intent;
pub use receipt::{
    EarlyReceipt, FoundReceipts, NewReceipt, PastReceipt, ReceiptKey, ReceiptsChange, RememberedReceipt,
    StoredReceipt,
};
pub use store::{
    Counters, CountersChange, Loaded, LoadedMessage, Put, PutDone, QueueSetting, Settle, SettleDone, Store,
    StoreError, StoreHealth,
};
