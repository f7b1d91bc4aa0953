//! QueueIndex: what is due, what is leased, which queues exist. In memory, shared by every backend.

mod entry;
mod feed;
mod fresh;
mod hop;
mod lease;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use postern_model::{Content, Item, ItemId, ItemState, MessageId, MessageInfo, NextHop};
use tokio::sync::Notify;

use crate::QueueSetting;
use entry::{Entry, Place, nanos, timestamp};
pub use feed::ReadyFeed;
pub use lease::Lease;
use state::State;
pub use view::{HopView, ItemView};

/// What is due, leased and waiting, for every connector and hop of a store.
///
/// It holds no clock: whoever asks tells the time. A backend changes it after its commits, so nobody sees what is
/// not durable. Leases and retries of hops live here only; after a restart every item is nobody's.
#[derive(Debug)]
pub struct QueueIndex {
    state: Mutex<State>,
    /// An item became nobody's, or went, or the store has stopped.
    released: Notify,
}

/// What a commit did, for the index.
#[derive(Debug)]
pub(crate) enum Change {
    /// A message came.
    Put {
        /// Where the backend keeps it.
        row: u64,
        /// The message.
        message: Arc<MessageInfo>,
        /// Its items.
        items: Vec<Item>,
        /// Its content, where it lies now.
        content: Content,
    },
    /// An item changed or went.
    Settled {
        /// The item.
        item: ItemId,
        /// What [`QueueIndex::settling`] gave.
        token: Option<u64>,
        /// The item now.
        after: Option<Item>,
        /// New items of the same message.
        new_items: Vec<Item>,
    },
    /// A settlement was refused.
    Refused {
        /// The item.
        item: ItemId,
        /// What [`QueueIndex::settling`] gave.
        token: Option<u64>,
    },
    /// A queue was suspended or resumed.
    Queue {
        /// The queue.
        next_hop: NextHop,
        /// What it is now.
        setting: QueueSetting,
    },
}

impl QueueIndex {
    /// The default of `fresh_bytes`: 64 MiB.
    pub const FRESH_BYTES: u64 = 64 << 20;

    /// An empty index that keeps at most `fresh_bytes` of new messages for their first attempt.
    #[must_use]
    pub fn new(fresh_bytes: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(fresh_bytes)), released: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- for dispatchers ----

    /// The feed of a connector's dispatcher. It names every hop that is ready, also those that an earlier feed has named.
    #[must_use]
    pub fn ready(self: &Arc<Self>, connector: &str) -> ReadyFeed {
        let name: Arc<str> = connector.into();
        let mut state = self.lock();
        let slot = state.connector_slot(&name);
        state.announce_all(slot);
        let notify = Arc::clone(&state.connector(slot).notify);
        ReadyFeed::new(Arc::clone(self), name, notify)
    }

    /// The next due item of a hop; `None` when there is none, or the hop is suspended or in retry.
    pub fn lease(self: &Arc<Self>, hop: &NextHop, now: Timestamp) -> Option<Lease> {
        let mut state = self.lock();
        if state.stopped {
            return None;
        }
        let connector = state.known_connector(&hop.connector)?;
        state.promote(connector, nanos(now));
        let hop_slot = state.hop_slot(hop)?;
        let hop = state.hop(hop_slot);
        if !hop.is_ready() {
            hop.announced = false;
            return None;
        }
        let slot = hop.due.first()?.slot;
        Some(self.make_lease(&mut state, slot))
    }

    /// Any item that nobody has at the moment, whatever its state and its queue's; `None` when somebody has it
    /// or it is not there.
    pub fn lease_item(self: &Arc<Self>, id: ItemId) -> Option<Lease> {
        let mut state = self.lock();
        let slot = *state.items.get(&id)?;
        let free = !state.stopped && state.entry(slot).place != Place::Leased;
        free.then(|| self.make_lease(&mut state, slot))
    }

    /// As [`Self::lease_item`], but waits until nobody has the item; `None` when it is not there, or the store has
    /// stopped.
    pub async fn lease_item_wait(self: &Arc<Self>, id: ItemId) -> Option<Lease> {
        let _waiter = Waiter::new(self);
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // Registered before looking, so that no release is missed.
            released.as_mut().enable();
            if let Some(lease) = self.lease_item(id) {
                return Some(lease);
            }
            if !self.may_be_leased_later(id) {
                return None;
            }
            released.await;
        }
    }

    fn may_be_leased_later(&self, id: ItemId) -> bool {
        let state = self.lock();
        !state.stopped && state.items.contains_key(&id)
    }

    fn make_lease(self: &Arc<Self>, state: &mut State, slot: u32) -> Lease {
        let (item, next_hop, token, fresh) = state.lease(slot);
        Lease::new(Arc::clone(self), item, next_hop, token, fresh)
    }

    /// Whether a hop has an item that may be tried now, so that [`Self::lease`] would give it.
    #[must_use]
    pub fn has_due(&self, hop: &NextHop, now: Timestamp) -> bool {
        let mut state = self.lock();
        if state.stopped {
            return false;
        }
        let Some(connector) = state.known_connector(&hop.connector) else { return false };
        state.promote(connector, nanos(now));
        state.hop_slot(hop).is_some_and(|slot| state.hop(slot).is_ready())
    }

    /// Leaves a hop alone until `until`, since `error` happened; counts one more failure. Lives in memory only.
    pub fn set_retry(&self, hop: &NextHop, until: Timestamp, error: &str) {
        self.lock().set_retry(hop, Some((until, error.to_owned())));
    }

    /// The hop works, or an operator wants it tried: no retry time, no failures, no error.
    pub fn clear_retry(&self, hop: &NextHop) {
        self.lock().set_retry(hop, None);
    }

    /// How often the hop has failed in a row.
    #[must_use]
    pub fn failures(&self, hop: &NextHop) -> u32 {
        let mut state = self.lock();
        state.hop_slot(hop).map_or(0, |slot| state.hop(slot).failures)
    }

    /// How many items of the hop wait for receipts. Goes through the hop's items.
    #[must_use]
    pub fn pending(&self, hop: &NextHop) -> usize {
        self.hops().iter().find(|view| view.next_hop == *hop).map_or(0, |view| view.pending)
    }

    /// Moves what has become due by `now`, in every connector.
    pub fn promote(&self, now: Timestamp) {
        let mut state = self.lock();
        for connector in 0..state.connectors.len() {
            state.promote(u32::try_from(connector).expect("connectors are few"), nanos(now));
        }
    }

    /// When the first timer of a connector rings: an item's time, or the end of a hop's retry.
    #[must_use]
    pub fn next_wake(&self, connector: &str) -> Option<Timestamp> {
        let mut state = self.lock();
        let slot = state.known_connector(connector)?;
        state.connector(slot).next_wake().and_then(timestamp)
    }

    fn promote_connector(&self, connector: &str, now: Timestamp) -> Option<Timestamp> {
        let mut state = self.lock();
        let slot = state.known_connector(connector)?;
        state.promote(slot, nanos(now));
        state.connector(slot).next_wake().and_then(timestamp)
    }

    fn take_ready(&self, connector: &str) -> Vec<NextHop> {
        let mut state = self.lock();
        state.known_connector(connector).map_or_else(Vec::new, |slot| state.take_ready(slot))
    }

    fn lease_expired(self: &Arc<Self>, connector: &str, limit: usize) -> Vec<Lease> {
        let mut state = self.lock();
        if state.stopped {
            return Vec::new();
        }
        let Some(connector) = state.known_connector(connector) else { return Vec::new() };
        let slots: Vec<u32> = state.connector(connector).expired.iter().take(limit).copied().collect();
        slots.into_iter().map(|slot| self.make_lease(&mut state, slot)).collect()
    }

    /// Items that nobody has and whose time is up, whatever their state and their queue's: queued recipients have
    /// expired or a delay DSN is due, or a receipt is overdue. At most `limit`.
    ///
    /// It reads every entry (about 10 ms for a million items), so ask for it once a minute or so: it finds what
    /// waits in suspended queues and in queues in retry.
    #[must_use]
    pub fn overdue(&self, now: Timestamp, limit: usize) -> Vec<ItemId> {
        let now = nanos(now);
        let state = self.lock();
        let free = state.entries.iter().filter(|e| !matches!(e.place, Place::Leased | Place::Gone));
        let overdue = free.filter(|e| e.deadline <= now || e.receipt_until <= now).map(|e| e.id);
        overdue.take(limit).collect()
    }

    // ---- for views ----

    /// Every hop that has items, is suspended or in retry, by name. Reads every entry.
    #[must_use]
    pub fn hops(&self) -> Vec<HopView> {
        let state = self.lock();
        let mut views: Vec<Option<HopView>> =
            state.hops.iter().map(|hop| hop.as_ref().map(HopView::of)).collect();
        for entry in state.entries.iter().filter(|e| e.place != Place::Gone) {
            views[entry.hop as usize].as_mut().expect("an entry's hop is there").count(entry);
        }
        let mut views: Vec<HopView> = views.into_iter().flatten().collect();
        views.sort_by(|a, b| a.next_hop.cmp(&b.next_hop));
        views
    }

    /// The items of a message.
    #[must_use]
    pub fn locate(&self, message: MessageId) -> Vec<ItemId> {
        let state = self.lock();
        state.slots_of(message).map(|slot| state.entries[slot as usize].id).collect()
    }

    /// One item; `None` when it is not there.
    #[must_use]
    pub fn item_view(&self, id: ItemId) -> Option<ItemView> {
        let state = self.lock();
        let entry = &state.entries[*state.items.get(&id)? as usize];
        Some(state.view(entry))
    }

    /// Items in the order of their ids (those of accepted messages sort by age), after `after`, of one hop or of
    /// all, at most `limit`.
    #[must_use]
    pub fn item_views(&self, hop: Option<&NextHop>, after: Option<ItemId>, limit: usize) -> Vec<ItemView> {
        let state = self.lock();
        let hop_slot = match hop {
            Some(hop) => match state.hop_slot(hop) {
                Some(slot) => Some(slot),
                None => return Vec::new(),
            },
            None => None,
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries =
            state.items.range((start, Bound::Unbounded)).map(|(_, slot)| &state.entries[*slot as usize]);
        let chosen = entries.filter(|e| hop_slot.is_none_or(|slot| e.hop == slot));
        chosen.take(limit).map(|e| state.view(e)).collect()
    }

    /// Ids of messages in the order of their ids, after `after`, at most `limit`.
    #[must_use]
    pub fn messages(&self, after: Option<MessageId>, limit: usize) -> Vec<MessageId> {
        let state = self.lock();
        let mut found = Vec::new();
        let mut last = after;
        while found.len() < limit {
            let start = last
                .map_or(Bound::Unbounded, |message| Bound::Excluded(ItemId { message, ordinal: u16::MAX }));
            let Some((id, _)) = state.items.range((start, Bound::Unbounded)).next() else { break };
            found.push(id.message);
            last = Some(id.message);
        }
        found
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the store has stopped, so that no leases are given any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits until the store has stopped.
    pub async fn stopped(&self) {
        loop {
            let mut released = std::pin::pin!(self.released.notified());
            // Registered before looking, so that the stop is not missed.
            released.as_mut().enable();
            if self.is_stopped() {
                return;
            }
            released.await;
        }
    }

    // ---- for leases ----

    fn hand_in(&self, id: ItemId, token: u64) {
        if let Some(lease) = self.lock().leases.get_mut(&id)
            && lease.token == token
        {
            lease.handed_in = true;
        }
    }

    /// Ends a lease that was handed in and of which no settlement is on its way.
    fn end_if_refused(&self, id: ItemId, token: u64) {
        let mut state = self.lock();
        if state.leases.get(&id).is_some_and(|l| l.token == token && l.handed_in && l.in_flight == 0) {
            state.unlease(id);
            self.tell_waiters(&state);
        }
    }

    /// The owner lets go without a settlement; those in flight come first.
    fn give_back(&self, id: ItemId, token: u64) {
        self.hand_in(id, token);
        self.end_if_refused(id, token);
    }

    fn tell_waiters(&self, state: &State) {
        if state.waiters > 0 {
            self.released.notify_waiters();
        }
    }

    // ---- for backends ----

    /// A settlement is on its way: to be called before it is handed to the writer. What it gives goes into
    /// [`Change::Settled`] or [`Change::Refused`].
    pub(crate) fn settling(&self, id: ItemId) -> Option<u64> {
        self.lock().settling(id)
    }

    /// Applies a group of commits.
    pub(crate) fn apply(&self, changes: Vec<Change>) {
        let now = Instant::now();
        let mut state = self.lock();
        for change in changes {
            match change {
                Change::Put { row, message, items, content } => {
                    state.insert_fresh(row, &message, items, &content, now);
                }
                Change::Settled { item, token, after, new_items } => {
                    let known = state.items.get(&item).map(|slot| &state.entries[*slot as usize]);
                    let Some((row, size)) = known.map(|e| (e.row, e.size)) else { continue };
                    for new in &new_items {
                        state.insert(new, row, size);
                    }
                    match after {
                        Some(after) => state.replace(&after),
                        None => state.remove(item),
                    }
                    state.settled(item, token);
                }
                Change::Refused { item, token } => state.settled(item, token),
                Change::Queue { next_hop, setting } => state.set_queue(&next_hop, setting),
            }
        }
        self.tell_waiters(&state);
    }

    /// Takes an item in at start.
    pub(crate) fn restore(&self, item: &Item, row: u64, size: u64) {
        self.lock().insert(item, row, size);
    }

    /// Where the backend keeps a message.
    pub(crate) fn row(&self, message: MessageId) -> Option<u64> {
        self.lock().row(message)
    }

    /// The store takes no writes any more: no leases are given, since their outcome could not be kept.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        for connector in &state.connectors {
            connector.notify.notify_one();
        }
        self.released.notify_waiters();
    }
}

/// Counts who waits for a certain item, so that commits need not wake anybody when nobody waits.
struct Waiter<'a>(&'a QueueIndex);

impl<'a> Waiter<'a> {
    fn new(index: &'a QueueIndex) -> Self {
        index.lock().waiters += 1;
        Self(index)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.lock().waiters -= 1;
    }
}

impl State {
    fn view(&self, entry: &Entry) -> ItemView {
        let hop = self.hops[entry.hop as usize].as_ref().expect("an entry's hop is there");
        ItemView {
            id: entry.id,
            next_hop: hop.next_hop.clone(),
            priority: entry.priority,
            state: entry.state,
            attempts: entry.attempts,
            queued: entry.queued,
            pending: entry.pending,
            size: entry.size,
            enqueued_at: timestamp(entry.enqueued_at).unwrap_or_default(),
            next_attempt: timestamp(entry.attempt_at),
            receipt_until: timestamp(entry.receipt_until),
            leased: entry.place == Place::Leased,
        }
    }
}

impl HopView {
    /// A hop whose items are not counted yet.
    fn of(hop: &hop::Hop) -> Self {
        Self {
            next_hop: hop.next_hop.clone(),
            items: hop.items as usize,
            due: hop.due.len(),
            leased: 0,
            waiting: 0,
            pending: 0,
            suspended_items: 0,
            poison: 0,
            bytes: 0,
            suspended: hop.suspended.clone(),
            retry_at: hop.retry_at,
            failures: hop.failures,
            last_error: hop.last_error.clone(),
            next_attempt: None,
            oldest: None,
        }
    }

    fn count(&mut self, entry: &Entry) {
        self.bytes += entry.size;
        self.pending += usize::from(entry.pending > 0);
        match entry.state {
            ItemState::Active => {}
            ItemState::Suspended => self.suspended_items += 1,
            ItemState::Poison => self.poison += 1,
        }
        if entry.place == Place::Leased {
            self.leased += 1;
        } else {
            self.waiting += usize::from(entry.place == Place::Waiting && entry.queued > 0);
            self.next_attempt = earliest(self.next_attempt, timestamp(entry.attempt_at));
        }
        self.oldest = earliest(self.oldest, timestamp(entry.enqueued_at));
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}
