//! State: the tables of the index, and how entries move between them. The caller holds the lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use postern_model::{Content, Item, ItemId, MessageId, MessageInfo, NextHop};

use super::entry::{Entry, Place, nanos};
use super::fresh::Fresh;
use super::hop::{Connector, Hop};
use crate::{Loaded, QueueSetting};

/// An end of a lease that waits for commits.
#[derive(Debug)]
pub(super) struct LeaseState {
    pub(super) token: u64,
    /// Its owner is done with it: it ends with the last commit in flight.
    pub(super) handed_in: bool,
    /// Settlements of the item on their way to the disk.
    pub(super) in_flight: u32,
}

/// The tables.
#[derive(Debug)]
pub(super) struct State {
    pub(super) entries: Vec<Entry>,
    free: Vec<u32>,
    pub(super) items: BTreeMap<ItemId, u32>,
    pub(super) hops: Vec<Option<Hop>>,
    free_hops: Vec<u32>,
    hop_slots: HashMap<NextHop, u32>,
    pub(super) connectors: Vec<Connector>,
    connector_slots: HashMap<Arc<str>, u32>,
    pub(super) leases: HashMap<ItemId, LeaseState>,
    last_token: u64,
    pub(super) fresh: Fresh,
    /// The latest time that anybody told.
    pub(super) now: i64,
    /// The store takes no writes any more.
    pub(super) stopped: bool,
    /// How many wait for a lease of a certain item.
    pub(super) waiters: usize,
}

impl State {
    pub(super) fn new(fresh_bytes: u64) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            items: BTreeMap::new(),
            hops: Vec::new(),
            free_hops: Vec::new(),
            hop_slots: HashMap::new(),
            connectors: Vec::new(),
            connector_slots: HashMap::new(),
            leases: HashMap::new(),
            last_token: 0,
            fresh: Fresh::new(fresh_bytes),
            now: i64::MIN,
            stopped: false,
            waiters: 0,
        }
    }

    pub(super) fn entry(&mut self, slot: u32) -> &mut Entry {
        &mut self.entries[slot as usize]
    }

    pub(super) fn hop(&mut self, slot: u32) -> &mut Hop {
        self.hops[slot as usize].as_mut().expect("a hop with entries or timers is there")
    }

    pub(super) fn connector(&mut self, slot: u32) -> &mut Connector {
        &mut self.connectors[slot as usize]
    }

    pub(super) fn hop_slot(&self, hop: &NextHop) -> Option<u32> {
        self.hop_slots.get(hop).copied()
    }

    pub(super) fn known_connector(&self, name: &str) -> Option<u32> {
        self.connector_slots.get(name).copied()
    }

    pub(super) fn connector_slot(&mut self, name: &Arc<str>) -> u32 {
        if let Some(slot) = self.connector_slots.get(name) {
            return *slot;
        }
        let slot = slot_number(self.connectors.len());
        self.connectors.push(Connector::default());
        self.connector_slots.insert(Arc::clone(name), slot);
        slot
    }

    /// The slot of a hop, made when it is new.
    pub(super) fn make_hop(&mut self, next_hop: &NextHop) -> u32 {
        if let Some(slot) = self.hop_slots.get(next_hop) {
            return *slot;
        }
        let connector = self.connector_slot(&next_hop.connector);
        let hop = Some(Hop::new(next_hop.clone(), connector));
        let slot = if let Some(slot) = self.free_hops.pop() {
            self.hops[slot as usize] = hop;
            slot
        } else {
            self.hops.push(hop);
            slot_number(self.hops.len() - 1)
        };
        self.hop_slots.insert(next_hop.clone(), slot);
        slot
    }

    /// Forgets a hop of which nothing is known.
    pub(super) fn forget_hop(&mut self, slot: u32) {
        if self.hops[slot as usize].as_ref().is_some_and(Hop::is_forgettable)
            && let Some(hop) = self.hops[slot as usize].take()
        {
            self.hop_slots.remove(&hop.next_hop);
            self.free_hops.push(slot);
        }
    }

    /// The row of a message; `None` when no item of it is there.
    pub(super) fn row(&self, message: MessageId) -> Option<u64> {
        self.slots_of(message).next().map(|slot| self.entries[slot as usize].row)
    }

    pub(super) fn slots_of(&self, message: MessageId) -> impl Iterator<Item = u32> {
        let id = |ordinal| ItemId { message, ordinal };
        self.items.range(id(0)..=id(u16::MAX)).map(|(_, slot)| *slot)
    }

    /// Takes a new item in. An item that is known already is replaced.
    pub(super) fn insert(&mut self, item: &Item, row: u64, size: u64) {
        self.remove(item.id);
        let hop = self.make_hop(&item.next_hop);
        let entry = Entry::new(item, hop, row, size);
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            slot_number(self.entries.len() - 1)
        };
        self.hop(hop).items += 1;
        self.items.insert(item.id, slot);
        self.put_to_rest(slot);
    }

    /// Takes a new message in and keeps it for its first attempt.
    pub(super) fn insert_fresh(
        &mut self,
        row: u64,
        message: &Arc<MessageInfo>,
        items: Vec<Item>,
        content: &Content,
        now: Instant,
    ) {
        for item in items {
            self.insert(&item, row, content.size());
            let (message, content) = (Arc::clone(message), content.clone());
            self.fresh.insert(Loaded { message, item: Arc::new(item), content }, now);
        }
    }

    /// Replaces an item that is known. A lease of it stays.
    pub(super) fn replace(&mut self, item: &Item) {
        let Some(&slot) = self.items.get(&item.id) else { return };
        self.fresh.take(item.id);
        let old_hop = self.entry(slot).hop;
        self.lift(slot);
        let hop = self.make_hop(&item.next_hop);
        let old = self.entry(slot);
        let (row, size, place) = (old.row, old.size, old.place);
        *self.entry(slot) = Entry { place, ..Entry::new(item, hop, row, size) };
        if hop != old_hop {
            self.hop(hop).items += 1;
            self.hop(old_hop).items -= 1;
            self.forget_hop(old_hop);
        }
        if place != Place::Leased {
            self.put_to_rest(slot);
        }
    }

    /// Forgets an item, and a lease of it.
    pub(super) fn remove(&mut self, id: ItemId) {
        let Some(slot) = self.items.remove(&id) else { return };
        self.lift(slot);
        self.fresh.take(id);
        self.leases.remove(&id);
        let entry = self.entry(slot);
        entry.place = Place::Gone;
        let hop = entry.hop;
        self.free.push(slot);
        self.hop(hop).items -= 1;
        self.forget_hop(hop);
    }

    /// Takes an entry out of the table that its place names.
    fn lift(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        let hop = self.hops[entry.hop as usize].as_mut().expect("an entry's hop is there");
        let connector = &mut self.connectors[hop.connector as usize];
        match entry.place {
            Place::Idle | Place::Leased | Place::Gone => {}
            Place::Due => {
                hop.due.remove(&entry.due_key(slot));
                hop.announced &= !hop.due.is_empty();
            }
            Place::Waiting => {
                connector.waiting.remove(&(entry.wake(), slot));
            }
            Place::Expired => {
                connector.expired.remove(&slot);
            }
        }
    }

    /// Puts an entry that is in no table where it belongs, and tells the dispatcher what is new about it.
    pub(super) fn put_to_rest(&mut self, slot: u32) {
        let place = self.entries[slot as usize].rest(self.now);
        let entry = &mut self.entries[slot as usize];
        entry.place = place;
        let hop_slot = entry.hop;
        let (wake, due_key) = (entry.wake(), entry.due_key(slot));
        let hop = self.hops[hop_slot as usize].as_mut().expect("an entry's hop is there");
        let connector = &mut self.connectors[hop.connector as usize];
        match place {
            Place::Idle | Place::Leased | Place::Gone => {}
            Place::Due => {
                hop.due.insert(due_key);
                self.announce(hop_slot);
            }
            Place::Waiting => {
                let earlier = connector.next_wake().is_none_or(|first| wake < first);
                connector.waiting.insert((wake, slot));
                if earlier {
                    connector.notify.notify_one();
                }
            }
            Place::Expired => {
                connector.expired.insert(slot);
                connector.notify.notify_one();
            }
        }
    }

    /// Tells the dispatcher of a hop that is ready, unless it knows.
    pub(super) fn announce(&mut self, slot: u32) {
        if self.stopped {
            return;
        }
        let hop = self.hops[slot as usize].as_mut().expect("a hop that is announced is there");
        if hop.is_ready() && !hop.announced {
            hop.announced = true;
            let connector = &mut self.connectors[hop.connector as usize];
            if !hop.listed {
                hop.listed = true;
                connector.ready.push_back(hop.next_hop.clone());
            }
            connector.notify.notify_one();
        }
    }

    /// Tells a new listener of every hop that is ready: one before it may have known them, and be gone with them.
    pub(super) fn announce_all(&mut self, connector: u32) {
        for slot in 0..self.hops.len() {
            if let Some(hop) = self.hops[slot].as_mut().filter(|hop| hop.connector == connector) {
                hop.announced = false;
                self.announce(u32::try_from(slot).expect("hops have slots of that size"));
            }
        }
    }

    /// Hops that became ready and still are.
    pub(super) fn take_ready(&mut self, connector: u32) -> Vec<NextHop> {
        let listed = std::mem::take(&mut self.connector(connector).ready);
        let still_ready = |hop: &NextHop| {
            self.hop_slot(hop).is_some_and(|slot| {
                let hop = self.hop(slot);
                std::mem::take(&mut hop.listed) && hop.is_ready()
            })
        };
        listed.into_iter().filter(still_ready).collect()
    }

    /// Moves what has become due in one connector.
    pub(super) fn promote(&mut self, connector: u32, now: i64) {
        self.now = now;
        while let Some((time, slot)) = self.connector(connector).retries.first().copied()
            && time <= now
        {
            self.connector(connector).retries.pop_first();
            self.hop(slot).retry_at = None;
            self.announce(slot);
            self.forget_hop(slot);
        }
        while let Some((time, slot)) = self.connector(connector).waiting.first().copied()
            && time <= now
        {
            self.connector(connector).waiting.pop_first();
            self.put_to_rest(slot);
        }
    }

    /// Gives an entry that nobody has to somebody; its token.
    pub(super) fn lease(&mut self, slot: u32) -> (ItemId, NextHop, u64, Option<Loaded>) {
        self.lift(slot);
        self.entry(slot).place = Place::Leased;
        self.last_token += 1;
        let token = self.last_token;
        let (id, hop) = (self.entry(slot).id, self.entry(slot).hop);
        self.leases.insert(id, LeaseState { token, handed_in: false, in_flight: 0 });
        (id, self.hop(hop).next_hop.clone(), token, self.fresh.take(id))
    }

    /// The entry is nobody's again.
    pub(super) fn unlease(&mut self, id: ItemId) {
        self.leases.remove(&id);
        if let Some(&slot) = self.items.get(&id) {
            self.put_to_rest(slot);
        }
    }

    /// Counts a settlement on its way to the disk; the token of the lease under which it happens.
    pub(super) fn settling(&mut self, id: ItemId) -> Option<u64> {
        let lease = self.leases.get_mut(&id)?;
        lease.in_flight += 1;
        Some(lease.token)
    }

    /// A settlement arrived or failed; ends the lease when it was the last word.
    pub(super) fn settled(&mut self, id: ItemId, token: Option<u64>) {
        if let Some(lease) = self.leases.get_mut(&id)
            && Some(lease.token) == token
        {
            lease.in_flight -= 1;
            if lease.handed_in && lease.in_flight == 0 {
                self.unlease(id);
            }
        }
    }

    /// Suspends or resumes a hop.
    pub(super) fn set_queue(&mut self, next_hop: &NextHop, setting: QueueSetting) {
        let slot = self.make_hop(next_hop);
        let hop = self.hop(slot);
        match setting {
            QueueSetting::Active => hop.suspended = None,
            QueueSetting::Suspended { reason } => {
                hop.suspended = Some(reason);
                hop.announced = false;
            }
        }
        self.announce(slot);
        self.forget_hop(slot);
    }

    /// Leaves a hop alone until a time; `None` ends that.
    pub(super) fn set_retry(&mut self, next_hop: &NextHop, retry: Option<(Timestamp, String)>) {
        let slot = if retry.is_some() { Some(self.make_hop(next_hop)) } else { self.hop_slot(next_hop) };
        let Some(slot) = slot else { return };
        let hop = self.hop(slot);
        let (old, connector) = (hop.retry_at, hop.connector);
        if let Some((until, error)) = retry {
            hop.failures = hop.failures.saturating_add(1);
            hop.retry_at = Some(until);
            hop.last_error = Some(error);
            hop.announced = false;
        } else {
            hop.failures = 0;
            hop.retry_at = None;
            hop.last_error = None;
        }
        let new = hop.retry_at;
        let connector = self.connector(connector);
        if let Some(old) = old {
            connector.retries.remove(&(nanos(old), slot));
        }
        if let Some(new) = new {
            let earlier = connector.next_wake().is_none_or(|first| nanos(new) < first);
            connector.retries.insert((nanos(new), slot));
            if earlier {
                connector.notify.notify_one();
            }
        }
        self.announce(slot);
        self.forget_hop(slot);
    }
}

/// A table never has as many as four thousand million rows.
fn slot_number(n: usize) -> u32 {
    u32::try_from(n).expect("fewer than 2^32 entries fit into memory")
}
