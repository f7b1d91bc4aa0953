//! ReadyFeed: what a dispatcher listens to, one for each connector.

use std::sync::Arc;

use jiff::Timestamp;
use postern_model::NextHop;
use tokio::sync::Notify;

use super::{Lease, QueueIndex};

/// Tells one dispatcher which of its hops became ready. There is one listener for each connector.
///
/// The loop of a dispatcher: [`Self::promote`], [`Self::take_ready`], [`Self::lease_expired`], lease and deliver,
/// then wait for [`Self::notified`] or for the time that `promote` gave, whichever is first.
#[derive(Debug)]
pub struct ReadyFeed {
    index: Arc<QueueIndex>,
    connector: Arc<str>,
    notify: Arc<Notify>,
}

impl ReadyFeed {
    pub(super) fn new(index: Arc<QueueIndex>, connector: Arc<str>, notify: Arc<Notify>) -> Self {
        Self { index, connector, notify }
    }

    /// Moves what has become due by `now`, and says when to call again at the latest: one timer is enough.
    pub fn promote(&self, now: Timestamp) -> Option<Timestamp> {
        self.index.promote_connector(&self.connector, now)
    }

    /// Hops that became ready since the last call: they have due items, and are neither suspended nor in retry.
    ///
    /// A hop is named once, and not again until [`QueueIndex::lease`] has taken its last due item, it was put into retry or
    /// suspended. So keep a hop until `lease` gives nothing, and keep the hops as a set: one that is refilled in the meantime is
    /// named again.
    #[must_use]
    pub fn take_ready(&self) -> Vec<NextHop> {
        self.index.take_ready(&self.connector)
    }

    /// Leases at most `limit` items whose receipts are overdue. They are not for the far end, so neither suspension
    /// nor retry of their hop holds them back: settle each.
    #[must_use]
    pub fn lease_expired(&self, limit: usize) -> Vec<Lease> {
        self.index.lease_expired(&self.connector, limit)
    }

    /// Returns when there is something new: a ready hop, an expired item, or an earlier time than `promote` gave.
    /// Nothing is missed between two calls.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }
}
