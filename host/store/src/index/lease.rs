//! Lease: the right to try one item, held by nobody else. It lives in memory only.

use std::sync::Arc;

use postern_model::{ItemId, NextHop};

use super::QueueIndex;
use crate::{Commit, Loaded, Read, Settle, SettleDone, Store, StoreError};

/// The right to try an item, or to change it.
///
/// Dropping it gives the item back as it was: due again at once when it was due. [`Lease::settle`] ends it with
/// the commit of a settlement.
#[derive(Debug)]
#[must_use = "dropping a lease gives the item back"]
pub struct Lease {
    index: Arc<QueueIndex>,
    item: ItemId,
    next_hop: NextHop,
    token: u64,
    fresh: Option<Loaded>,
    handed_in: bool,
}

impl Lease {
    pub(super) fn new(
        index: Arc<QueueIndex>,
        item: ItemId,
        next_hop: NextHop,
        token: u64,
        fresh: Option<Loaded>,
    ) -> Self {
        Self { index, item, next_hop, token, fresh, handed_in: false }
    }

    /// The item.
    #[must_use]
    pub fn item(&self) -> ItemId {
        self.item
    }

    /// Its queue when the lease was given.
    #[must_use]
    pub fn next_hop(&self) -> &NextHop {
        &self.next_hop
    }

    /// The item with its message and content, when they are still in memory; at most once.
    #[must_use]
    pub fn take_fresh(&mut self) -> Option<Loaded> {
        self.fresh.take()
    }

    /// The item with its message and content, from memory or from the store; `None` when it is gone.
    pub fn load(&mut self, store: &dyn Store) -> Read<Option<Loaded>> {
        match self.take_fresh() {
            Some(loaded) => Commit::ready(Ok(Some(loaded))),
            None => store.load(self.item),
        }
    }

    /// Hands the settlement in and ends the lease with its commit: until then nobody else gets the item.
    ///
    /// The commit need not be awaited. A settlement without a lease, through [`Store::settle`], leaves the lease
    /// as it is: that is for records in the middle of an attempt.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the settlement is about another item; then, and when the store refuses the
    /// settlement, the item is given back. After [`StoreError::Poisoned`] the index gives no leases at all, so
    /// that nothing is delivered whose outcome cannot be kept.
    pub fn settle(mut self, store: &dyn Store, settle: Settle) -> Commit<SettleDone> {
        if settle.item != self.item {
            let text = format!("a settlement of {} under a lease of {}", settle.item, self.item);
            return Commit::ready(Err(StoreError::Invalid(text)));
        }
        self.handed_in = true;
        self.index.hand_in(self.item, self.token);
        let commit = store.settle(settle);
        self.index.end_if_refused(self.item, self.token);
        commit
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.handed_in {
            self.index.give_back(self.item, self.token);
        }
    }
}
