//! What the index must do beyond the suite of all backends.

use std::sync::Arc;

use postern_model::{Item, NextHop};

use super::entry::Entry;
use super::{Change, QueueIndex};
use crate::conformance::sample;
use crate::{Put, QueueSetting};

fn add(index: &QueueIndex, row: u64, put: &Put) -> Item {
    let (message, items, content) = (Arc::clone(&put.message), put.items.clone(), put.content.clone());
    index.apply(vec![Change::Put { row, message, items, content }]);
    put.items[0].clone()
}

fn settled(item: &Item, token: Option<u64>, after: Option<Item>) -> Change {
    Change::Settled { item: item.id, token, after, new_items: Vec::new() }
}

fn hop() -> NextHop {
    sample::hop("a")
}

#[test]
fn an_entry_stays_small() {
    // A million of them, with their places in two trees, stay below 200 MB.
    assert!(size_of::<Entry>() <= 96, "{}", size_of::<Entry>());
}

#[test]
fn new_messages_are_in_memory_within_the_budget_and_for_one_lease() {
    let index = QueueIndex::new(20_000);
    let puts: Vec<_> = (0..3).map(|_| sample::put(&[hop()], sample::content(7_000))).collect();
    for (put, row) in puts.iter().zip(1..) {
        add(&index, row, put);
    }
    let mut leases: Vec<_> = std::iter::from_fn(|| index.lease(&hop(), sample::time(0))).collect();
    let fresh: Vec<bool> = leases.iter_mut().map(|lease| lease.take_fresh().is_some()).collect();
    assert_eq!(fresh, [true, true, false], "two fit");
    assert!(leases[0].take_fresh().is_none(), "it is given once");
    drop(leases);
    assert!(index.lease(&hop(), sample::time(0)).unwrap().take_fresh().is_none(), "it was given before");
    let put = sample::put(&[hop()], sample::content(15_000));
    let item = add(&index, 4, &put);
    assert!(index.lease_item(item.id).unwrap().take_fresh().is_some(), "what was taken has made room");
}

#[test]
fn a_changed_item_is_no_longer_fresh() {
    let index = QueueIndex::new(1 << 20);
    let item = add(&index, 1, &sample::small(&hop()));
    index.apply(vec![settled(&item, None, Some(Item { traps: 1, ..item.clone() }))]);
    assert!(index.lease_item(item.id).unwrap().take_fresh().is_none());
}

#[test]
fn a_record_from_before_a_lease_does_not_end_it() {
    let index = QueueIndex::new(0);
    let item = add(&index, 1, &sample::small(&hop()));
    let before = index.settling(item.id);
    let lease = index.lease_item(item.id).unwrap();
    let own = index.settling(item.id);
    index.hand_in(item.id, own.unwrap());
    index.apply(vec![settled(&item, before, Some(item.clone()))]);
    assert!(index.lease_item(item.id).is_none(), "its own settlement is still on its way");
    index.apply(vec![settled(&item, own, Some(item.clone()))]);
    assert!(index.lease_item(item.id).is_some());
    drop(lease);
}

#[test]
fn a_record_of_an_earlier_lease_does_not_end_the_next() {
    let index = QueueIndex::new(0);
    let item = add(&index, 1, &sample::small(&hop()));
    drop(index.lease_item(item.id));
    let first = index.lease_item(item.id).unwrap();
    let record = index.settling(item.id);
    drop(first);
    assert!(index.lease_item(item.id).is_none(), "the record comes first");
    index.apply(vec![settled(&item, record, Some(item.clone()))]);
    let second = index.lease_item(item.id).unwrap();
    index.apply(vec![Change::Refused { item: item.id, token: record }]);
    assert!(index.lease_item(item.id).is_none(), "somebody has it");
    drop(second);
    assert!(index.lease_item(item.id).is_some());
}

#[test]
fn a_lease_of_an_item_that_went_gives_nothing_back() {
    let index = QueueIndex::new(0);
    let item = add(&index, 1, &sample::small(&hop()));
    let lease = index.lease(&hop(), sample::time(0)).unwrap();
    index.apply(vec![settled(&item, None, None)]);
    let other = add(&index, 2, &sample::small(&hop()));
    let held = index.lease(&hop(), sample::time(0)).unwrap();
    assert_eq!(held.item(), other.id);
    drop(lease);
    assert_eq!((index.len(), index.hops()[0].leased), (1, 1));
}

#[test]
fn a_ready_hop_is_named_once_however_often_it_fills() {
    let index = QueueIndex::new(0);
    let feed = index.ready("fax");
    for row in 1..5 {
        let item = add(&index, row, &sample::small(&hop()));
        drop(index.lease(&hop(), sample::time(0)).unwrap());
        index.apply(vec![settled(&item, None, None)]);
    }
    assert!(feed.take_ready().is_empty(), "nothing is left in it");
    add(&index, 9, &sample::small(&hop()));
    let lease = index.lease(&hop(), sample::time(0));
    drop(lease);
    add(&index, 10, &sample::small(&hop()));
    assert_eq!(feed.take_ready(), [hop()]);
    add(&index, 11, &sample::small(&hop()));
    assert!(feed.take_ready().is_empty(), "the dispatcher knows");
}

#[test]
fn a_new_listener_is_told_of_what_an_earlier_one_knew_and_did_not_finish() {
    let index = QueueIndex::new(0);
    let first = index.ready(&hop().connector);
    add(&index, 1, &sample::small(&hop()));
    first.promote(sample::time(0));
    assert_eq!(first.take_ready(), [hop()]);
    assert!(first.take_ready().is_empty());
    drop(first);
    let second = index.ready(&hop().connector);
    assert_eq!(second.take_ready(), [hop()]);
    assert!(second.take_ready().is_empty(), "once");
}

#[test]
fn a_hop_without_items_is_forgotten_unless_something_is_said_about_it() {
    let index = QueueIndex::new(0);
    for (n, keep) in [(1, false), (2, true)] {
        let item = add(&index, n, &sample::small(&hop()));
        if keep {
            index.set_retry(&hop(), sample::time(60), "no answer");
        }
        index.apply(vec![settled(&item, None, None)]);
        assert_eq!(index.hops().len(), usize::from(keep));
    }
    index.promote(sample::time(60));
    assert!(index.hops().is_empty(), "its retry has ended");
    let suspended = QueueSetting::Suspended { reason: String::new() };
    index.apply(vec![Change::Queue { next_hop: hop(), setting: suspended }]);
    assert_eq!(index.hops().len(), 1);
    index.apply(vec![Change::Queue { next_hop: hop(), setting: QueueSetting::Active }]);
    assert!(index.hops().is_empty());
}

#[test]
fn a_stopped_index_gives_nothing() {
    let index = QueueIndex::new(0);
    let item = add(&index, 1, &sample::small(&hop()));
    let lease = index.lease(&hop(), sample::time(0));
    index.stop();
    drop(lease);
    assert!(index.lease(&hop(), sample::time(0)).is_none() && index.lease_item(item.id).is_none());
    assert!(index.ready("fax").lease_expired(9).is_empty());
    assert_eq!(index.len(), 1, "and loses nothing");
}

#[test]
fn the_futures_may_go_to_another_thread() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let index = QueueIndex::new(0);
    let item = sample::small(&hop()).items.remove(0);
    drop(is_send(index.lease_item_wait(item.id)));
    let feed = index.ready("fax");
    drop(is_send(feed.notified()));
}
