//! Random writes, restarts and leases against a model that is too simple to be wrong.
//!
//! A failure prints the shortest sequence that shows it, and its seed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use postern_model::{Fate, Item, ItemId, ItemState, MessageId, NextHop, Priority, RecipientState};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Lease, QueueSetting, Settle, Store};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Put {
        hops: Vec<u8>,
        size: usize,
        priority: Priority,
    },
    /// Leases the next item of a hop and keeps the lease.
    Lease {
        hop: u8,
    },
    /// Drops the nth lease.
    Drop {
        n: usize,
    },
    /// Settles the nth lease.
    Settle {
        n: usize,
        how: How,
    },
    /// An operator changes any item that nobody has.
    Operate {
        n: usize,
        how: How,
    },
    Suspend {
        hop: u8,
        suspended: bool,
    },
    Retry {
        hop: u8,
        seconds: Option<i64>,
    },
    Tick {
        seconds: i64,
    },
    Reopen,
}

#[derive(Clone, Debug)]
enum How {
    Deliver,
    Defer { seconds: i64 },
    Pend { seconds: i64 },
    Hold { state: ItemState },
    Redirect { hop: u8 },
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Deliver),
        3 => (1_i64..100).prop_map(|seconds| How::Defer { seconds }),
        2 => (1_i64..100).prop_map(|seconds| How::Pend { seconds }),
        1 => prop_oneof![Just(ItemState::Suspended), Just(ItemState::Poison), Just(ItemState::Active)]
            .prop_map(|state| How::Hold { state }),
        1 => (0_u8..3).prop_map(|hop| How::Redirect { hop }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    let size = prop_oneof![6 => 0_usize..2000, 1 => 4000_usize..9000];
    prop_oneof![
        6 => (prop::collection::vec(0_u8..3, 1..3), size, priority)
            .prop_map(|(hops, size, priority)| Step::Put { hops, size, priority }),
        6 => (0_u8..3).prop_map(|hop| Step::Lease { hop }),
        1 => (0_usize..8).prop_map(|n| Step::Drop { n }),
        5 => (0_usize..8, how()).prop_map(|(n, how)| Step::Settle { n, how }),
        2 => (0_usize..30, how()).prop_map(|(n, how)| Step::Operate { n, how }),
        1 => (0_u8..3, any::<bool>()).prop_map(|(hop, suspended)| Step::Suspend { hop, suspended }),
        1 => (0_u8..3, prop::option::of(1_i64..50)).prop_map(|(hop, seconds)| Step::Retry { hop, seconds }),
        2 => (1_i64..60).prop_map(|seconds| Step::Tick { seconds }),
        1 => Just(Step::Reopen),
    ]
}

fn hop(n: u8) -> NextHop {
    sample::hop(["a", "b", "c"][usize::from(n)])
}

/// What must be there.
#[derive(Default)]
struct Model {
    now: i64,
    /// Items, the age of their message, the size of its content.
    items: BTreeMap<ItemId, (Item, usize, usize)>,
    messages: usize,
    accepted: u64,
    fates: BTreeMap<Fate, u64>,
    suspended: BTreeMap<NextHop, bool>,
    retry: BTreeMap<NextHop, i64>,
    next_ordinal: BTreeMap<MessageId, u16>,
    events: usize,
}

impl Model {
    fn time(&self) -> Timestamp {
        sample::time(self.now)
    }

    /// The item that the hop must give next.
    fn next(&self, hop: &NextHop, leased: &[Lease]) -> Option<ItemId> {
        if self.suspended.get(hop) == Some(&true)
            || self.retry.get(hop).is_some_and(|until| *until > self.now)
        {
            return None;
        }
        let due = self.items.values().filter(|(item, ..)| {
            item.next_hop == *hop
                && item.state == ItemState::Active
                && item.queued().next().is_some()
                && item.next_attempt <= self.time()
                && leased.iter().all(|lease| lease.item() != item.id)
        });
        let first = due.min_by_key(|(item, age, _)| {
            (std::cmp::Reverse(item.priority), item.next_attempt, *age, item.id.ordinal)
        });
        first.map(|(item, ..)| item.id)
    }

    /// The settlement of an item, after which the model is as the store must be.
    fn settle(&mut self, id: ItemId, how: &How) -> Settle {
        let (item, age, size) = self.items[&id].clone();
        self.events += 1;
        let event = sample::event(id.message, postern_model::EventKind::Operate);
        let settle = match how {
            How::Deliver => {
                for r in &item.recipients {
                    assert!(!matches!(r.state, RecipientState::Final { .. }), "the model has none");
                    *self.fates.entry(Fate::Delivered).or_default() += 1;
                }
                Settle { events: Vec::new(), ..sample::delivered(&item) }
            }
            How::Defer { seconds } => {
                let mut after = item.clone();
                after.attempts += 1;
                after.next_attempt = sample::time(self.now + seconds);
                Settle::replace(after)
            }
            How::Pend { seconds } => {
                Settle::replace(sample::pending(item.clone(), sample::time(self.now + seconds)))
            }
            How::Hold { state } => Settle::replace(Item { state: *state, ..item.clone() }),
            How::Redirect { hop: to } => {
                let ordinal = self.next_ordinal.get_mut(&id.message).unwrap();
                let mut new = item.clone();
                new.id.ordinal = *ordinal;
                new.next_hop = hop(*to);
                *ordinal += 1;
                Settle { new_items: vec![new], ..Settle::gone_silently(id) }
            }
        };
        self.items.remove(&id);
        for item in settle.after.iter().chain(&settle.new_items) {
            self.items.insert(item.id, (item.clone(), age, size));
        }
        Settle { events: vec![event], ..settle }
    }
}

struct Run {
    model: Model,
    store: Option<SqliteStore>,
    leases: Vec<Lease>,
}

impl Run {
    fn store(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }

    fn open(&mut self, directory: &Path) {
        self.leases.clear();
        self.store = None;
        let options = SqliteOptions { inline_limit: 4000, fresh_bytes: 20_000, ..SqliteOptions::default() };
        self.store = Some(SqliteStore::open(directory, options).unwrap());
        self.model.retry.clear();
    }

    fn step(&mut self, step: &Step, directory: &Path) {
        match step {
            Step::Put { hops, size, priority } => self.put(hops, *size, *priority),
            Step::Lease { hop: n } => {
                let hop = hop(*n);
                let lease = self.store().index().lease(&hop, self.model.time());
                assert_eq!(
                    lease.as_ref().map(Lease::item),
                    self.model.next(&hop, &self.leases),
                    "the next of {hop}"
                );
                if let Some(mut lease) = lease {
                    let loaded = lease.load(self.store()).wait().unwrap().unwrap();
                    assert_eq!(*loaded.item, self.model.items[&lease.item()].0);
                    self.leases.push(lease);
                }
            }
            Step::Drop { n } => {
                if *n < self.leases.len() {
                    drop(self.leases.swap_remove(*n));
                }
            }
            Step::Settle { n, how } => {
                if *n < self.leases.len() {
                    let lease = self.leases.swap_remove(*n);
                    let settle = self.model.settle(lease.item(), how);
                    lease.settle(self.store(), settle).wait().unwrap();
                }
            }
            Step::Operate { n, how } => {
                let id = self.model.items.keys().nth(*n).copied();
                if let Some(id) = id
                    && let Some(lease) = self.store().index().lease_item(id)
                {
                    assert!(self.leases.iter().all(|held| held.item() != id), "one item, one lease");
                    let settle = self.model.settle(id, how);
                    lease.settle(self.store(), settle).wait().unwrap();
                }
            }
            Step::Suspend { hop: n, suspended } => {
                let reason = "a test".to_owned();
                let setting =
                    if *suspended { QueueSetting::Suspended { reason } } else { QueueSetting::Active };
                self.store().set_queue(hop(*n), setting).wait().unwrap();
                self.model.suspended.insert(hop(*n), *suspended);
            }
            Step::Retry { hop: n, seconds: Some(seconds) } => {
                let until = self.model.now + seconds;
                self.store().index().set_retry(&hop(*n), sample::time(until), "a test");
                self.model.retry.insert(hop(*n), until);
            }
            Step::Retry { hop: n, seconds: None } => {
                self.store().index().clear_retry(&hop(*n));
                self.model.retry.remove(&hop(*n));
            }
            Step::Tick { seconds } => {
                self.model.now += seconds;
                self.store().index().promote(self.model.time());
            }
            Step::Reopen => self.open(directory),
        }
    }

    fn put(&mut self, hops: &[u8], size: usize, priority: Priority) {
        let hops: Vec<NextHop> = hops.iter().map(|n| hop(*n)).collect();
        let mut put = sample::put(&hops, sample::content(size));
        for item in &mut put.items {
            item.priority = priority;
            item.enqueued_at = self.model.time();
            item.next_attempt = self.model.time();
            self.model.items.insert(item.id, (item.clone(), self.model.messages, size));
        }
        self.model.messages += 1;
        self.model.events += 1;
        self.model.accepted += put.items.len() as u64;
        let count = u16::try_from(put.items.len()).unwrap();
        self.model.next_ordinal.insert(put.message.id, count);
        self.store().put(put).wait().unwrap();
    }

    /// Compares everything.
    fn check(&self) {
        let (store, model) = (self.store(), &self.model);
        let index = store.index();
        let views = index.item_views(None, None, usize::MAX);
        assert_eq!(views.len(), model.items.len());
        for (view, (item, _, size)) in views.iter().zip(model.items.values()) {
            assert_eq!((view.id, &view.next_hop, view.state), (item.id, &item.next_hop, item.state));
            assert_eq!((view.attempts, view.size), (item.attempts, *size as u64));
            assert_eq!(view.leased, self.leases.iter().any(|lease| lease.item() == item.id));
            let loaded = store.load(item.id).wait().unwrap().unwrap();
            assert_eq!((&*loaded.item, loaded.content.size()), (item, *size as u64));
        }
        for hop in index.hops() {
            let of_hop = model.items.values().filter(|(item, ..)| item.next_hop == hop.next_hop);
            assert_eq!(hop.items, of_hop.count(), "{}", hop.next_hop);
            assert_eq!(hop.suspended.is_some(), model.suspended.get(&hop.next_hop) == Some(&true));
        }
        let counters = store.counters().wait().unwrap();
        assert_eq!((counters.accepted, &counters.fates), (model.accepted, &model.fates));
        let open: u64 = model.items.values().map(|(item, ..)| item.recipients.len() as u64).sum();
        assert_eq!(counters.accepted, counters.fates.values().sum::<u64>() + open);
        let events = store.events(0, usize::MAX).wait().unwrap();
        assert_eq!(events.len(), model.events);
        assert_eq!(store.check_bodies().wait().unwrap(), [] as [String; 0]);
        // What a dispatcher would be told of is what may be tried.
        for n in 0..3 {
            let expected = model.next(&hop(n), &self.leases).is_some();
            assert_eq!(index.has_due(&hop(n), model.time()), expected, "{}", hop(n));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_store_does_what_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let mut run = Run { model: Model::default(), store: None, leases: Vec::new() };
        run.open(directory.path());
        for step in &steps {
            run.step(step, directory.path());
        }
        run.check();
        run.open(directory.path());
        run.check();
    }
}
