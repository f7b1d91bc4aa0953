//! Hop and Connector: the queues of the index, and what is ready in them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use postern_model::NextHop;
use tokio::sync::Notify;

use super::entry::DueKey;

/// One queue.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) next_hop: NextHop,
    /// The connector's slot.
    pub(super) connector: u32,
    /// Entries that name this hop, whatever their place.
    pub(super) items: u32,
    pub(super) due: BTreeSet<DueKey>,
    /// Why an operator suspended it.
    pub(super) suspended: Option<String>,
    pub(super) retry_at: Option<Timestamp>,
    pub(super) last_error: Option<String>,
    pub(super) failures: u32,
    /// The dispatcher has been told and has not yet found it empty.
    pub(super) announced: bool,
    /// It stands in its connector's list of ready hops.
    pub(super) listed: bool,
}

impl Hop {
    pub(super) fn new(next_hop: NextHop, connector: u32) -> Self {
        Self {
            next_hop,
            connector,
            items: 0,
            due: BTreeSet::new(),
            suspended: None,
            retry_at: None,
            last_error: None,
            failures: 0,
            announced: false,
            listed: false,
        }
    }

    /// Whether an item of it may be tried now.
    pub(super) fn is_ready(&self) -> bool {
        !self.due.is_empty() && self.suspended.is_none() && self.retry_at.is_none()
    }

    /// Whether nothing is known of it that is worth keeping.
    pub(super) fn is_forgettable(&self) -> bool {
        self.items == 0 && self.suspended.is_none() && self.retry_at.is_none()
    }
}

/// What the queues of one connector have in common: their timers and their dispatcher.
#[derive(Debug, Default)]
pub(super) struct Connector {
    /// Entries that wait for a time: (time, slot).
    pub(super) waiting: BTreeSet<(i64, u32)>,
    /// Hops that wait for a time: (time, slot).
    pub(super) retries: BTreeSet<(i64, u32)>,
    /// Entries whose receipts are overdue.
    pub(super) expired: BTreeSet<u32>,
    /// Hops that became ready and that the dispatcher does not know of yet.
    pub(super) ready: VecDeque<NextHop>,
    /// Tells the dispatcher that there is something new, or that its timer is too late.
    pub(super) notify: Arc<Notify>,
}

impl Connector {
    /// When the first timer rings, in nanoseconds.
    pub(super) fn next_wake(&self) -> Option<i64> {
        let first = |set: &BTreeSet<(i64, u32)>| set.first().map(|(time, _)| *time);
        [first(&self.waiting), first(&self.retries)].into_iter().flatten().min()
    }
}
