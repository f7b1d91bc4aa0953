//! HopView and ItemView: what the index shows of queues and items.

use jiff::Timestamp;
use postern_model::{ItemId, ItemState, NextHop, Priority};

/// A queue as operators and metrics see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopView {
    /// The queue.
    pub next_hop: NextHop,
    /// All its items.
    pub items: usize,
    /// Items that may be tried now, were the hop neither suspended nor in retry.
    pub due: usize,
    /// Items in somebody's hands.
    pub leased: usize,
    /// Items that wait for the time of their next attempt.
    pub waiting: usize,
    /// Items with recipients that wait for a receipt.
    pub pending: usize,
    /// Items that an operator suspended.
    pub suspended_items: usize,
    /// Items that are poison.
    pub poison: usize,
    /// Bytes of the contents of all items.
    pub bytes: u64,
    /// Why the queue is suspended; `None` when it is not.
    pub suspended: Option<String>,
    /// Until when the whole hop is left alone.
    pub retry_at: Option<Timestamp>,
    /// How often the hop failed in a row.
    pub failures: u32,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// The earliest attempt of any item that is not in somebody's hands.
    pub next_attempt: Option<Timestamp>,
    /// When the oldest item came.
    pub oldest: Option<Timestamp>,
}

/// An item as a queue list shows it; the store has the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemView {
    /// The item.
    pub id: ItemId,
    /// Its queue.
    pub next_hop: NextHop,
    /// How urgent it is.
    pub priority: Priority,
    /// What the queue may do with it.
    pub state: ItemState,
    /// Attempts that have ended.
    pub attempts: u32,
    /// Recipients to be tried (up to 65,535).
    pub queued: u16,
    /// Recipients that wait for a receipt (up to 65,535).
    pub pending: u16,
    /// Bytes of the content.
    pub size: u64,
    /// When it came into its queue.
    pub enqueued_at: Timestamp,
    /// When it is tried next; `None` when it is held or nothing is queued.
    pub next_attempt: Option<Timestamp>,
    /// When the first of its receipts is overdue.
    pub receipt_until: Option<Timestamp>,
    /// Somebody has it.
    pub leased: bool,
}
