//! Entry: what the index remembers of one item. A million of them must fit into memory.

use jiff::Timestamp;
use postern_model::{Item, ItemId, ItemState, Priority, RecipientState};

/// The time that never comes.
pub(super) const NEVER: i64 = i64::MAX;

/// A time as nanoseconds since 1970, cut to what 64 bits hold (the years 1677 to 2262).
pub(super) fn nanos(time: Timestamp) -> i64 {
    let least = if time < Timestamp::UNIX_EPOCH { i64::MIN } else { NEVER - 1 };
    i64::try_from(time.as_nanosecond()).unwrap_or(least).min(NEVER - 1)
}

/// The time again; `None` for [`NEVER`].
pub(super) fn timestamp(nanos: i64) -> Option<Timestamp> {
    (nanos != NEVER).then(|| {
        Timestamp::from_nanosecond(nanos.into()).expect("64 bits of nanoseconds lie within the range of time")
    })
}

/// Where an entry is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: it waits for a receipt without an end, or for an operator.
    Idle,
    /// Among the items of its hop that may be tried.
    Due,
    /// Among the items of its connector that wait for a time.
    Waiting,
    /// Among the items of its connector whose receipts did not come in time.
    Expired,
    /// In somebody's hands.
    Leased,
    /// There is no such item any more; the slot is free.
    Gone,
}

/// The order in which due items of a hop are tried: urgent first, then by time, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DueKey {
    rank: u8,
    attempt_at: i64,
    age: u64,
    /// The entry.
    pub(super) slot: u32,
}

/// One item.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: ItemId,
    pub(super) place: Place,
    pub(super) priority: Priority,
    pub(super) state: ItemState,
    pub(super) queued: u16,
    pub(super) pending: u16,
    /// The hop's slot.
    pub(super) hop: u32,
    pub(super) attempts: u32,
    /// The row of the message in the backend.
    pub(super) row: u64,
    pub(super) size: u64,
    pub(super) enqueued_at: i64,
    /// When it may be tried; [`NEVER`] when nothing is queued or it is held.
    pub(super) attempt_at: i64,
    /// When the first receipt is overdue.
    pub(super) receipt_until: i64,
    /// When queued recipients expire or a delay DSN is due, whichever is first.
    pub(super) deadline: i64,
}

impl Entry {
    /// The facts of an item.
    pub(super) fn new(item: &Item, hop: u32, row: u64, size: u64) -> Self {
        let mut entry = Self {
            id: item.id,
            place: Place::Idle,
            priority: item.priority,
            state: item.state,
            queued: 0,
            pending: 0,
            hop,
            attempts: item.attempts,
            row,
            size,
            enqueued_at: nanos(item.enqueued_at),
            attempt_at: NEVER,
            receipt_until: NEVER,
            deadline: NEVER,
        };
        for recipient in &item.recipients {
            match &recipient.state {
                RecipientState::Queued { .. } => entry.queued = entry.queued.saturating_add(1),
                RecipientState::Pending { expires_at, .. } => {
                    entry.pending = entry.pending.saturating_add(1);
                    entry.receipt_until = entry.receipt_until.min(nanos(*expires_at));
                }
                RecipientState::Final { .. } => {}
            }
        }
        entry.deadline = item.deadline().map_or(NEVER, nanos);
        if entry.queued > 0 && item.state == ItemState::Active {
            entry.attempt_at = nanos(item.next_attempt);
        }
        entry
    }

    /// When the queue must look at it by itself.
    pub(super) fn wake(&self) -> i64 {
        self.attempt_at.min(self.receipt_until)
    }

    /// Where it belongs when nobody has it.
    pub(super) fn rest(&self, now: i64) -> Place {
        // What came in is due at once, whatever clock its maker had.
        let now = now.max(self.enqueued_at);
        match self.wake() {
            NEVER => Place::Idle,
            wake if wake > now => Place::Waiting,
            _ if self.attempt_at <= now => Place::Due,
            _ => Place::Expired,
        }
    }

    /// Its place among the due items of its hop.
    pub(super) fn due_key(&self, slot: u32) -> DueKey {
        let rank = match self.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        DueKey { rank, attempt_at: self.attempt_at, age: self.row << 16 | u64::from(self.id.ordinal), slot }
    }
}
