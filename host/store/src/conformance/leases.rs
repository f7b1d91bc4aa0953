//! Who has an item, and until when.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Bench, Subject, is_invalid, sample};
use crate::Settle;

pub(super) async fn one_item_has_one_lease(subject: &dyn Subject) {
    let bench = Bench::new(subject, "lease");
    let hop = sample::hop("a");
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        let put = sample::small(&hop);
        ids.insert(put.items[0].id);
        bench.store().put(put).await.expect("there is room");
    }
    let leases: Vec<_> = std::iter::from_fn(|| bench.lease(&hop)).collect();
    assert_eq!(leases.iter().map(crate::Lease::item).collect::<BTreeSet<_>>(), ids);
    let index = bench.store().index();
    assert!(ids.iter().all(|id| index.lease_item(*id).is_none()));
    let hops = index.hops();
    assert_eq!((hops[0].items, hops[0].due, hops[0].leased), (5, 0, 5));
    assert!(!index.has_due(&hop, sample::time(0)));
}

pub(super) async fn a_dropped_lease_gives_the_item_back(subject: &dyn Subject) {
    let bench = Bench::new(subject, "dropped");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let expected = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    for _ in 0..3 {
        let mut lease = bench.lease(&hop).expect("it is due");
        let loaded = lease.load(bench.store()).await.expect("it can be read").expect("it is there");
        assert_eq!(*loaded.item, expected);
        drop(lease);
    }
    // One that is refused gives the item back as well.
    let lease = bench.lease(&hop).expect("it is due");
    let other = Settle::gone_silently(sample::small(&hop).items[0].id);
    assert!(is_invalid(&lease.settle(bench.store(), other).await));
    let lease = bench.lease(&hop).expect("it is due");
    let mut wrong = Settle::gone_silently(expected.id);
    wrong.new_items.push(sample::small(&hop).items.remove(0));
    assert!(is_invalid(&lease.settle(bench.store(), wrong).await));
    assert_eq!(bench.lease(&hop).expect("it is due").item(), expected.id);
}

pub(super) async fn a_settled_item_is_kept_until_its_commit(subject: &dyn Subject) {
    let bench = Bench::new(subject, "kept");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let mut item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    for attempts in 1..100 {
        let lease = bench.lease(&hop).expect("it is due");
        let (index, id) = (bench.store().index(), lease.item());
        item.attempts = attempts;
        let commit = lease.settle(bench.store(), Settle::replace(item.clone()));
        // Whoever gets it now finds the new state: it was free after the commit only.
        let mut next = index.lease_item_wait(id).await.expect("it is there");
        let loaded = next.load(bench.store()).await.expect("it can be read").expect("it is there");
        assert_eq!(loaded.item.attempts, attempts);
        commit.await.expect("it is there");
    }
}

pub(super) async fn a_record_in_the_middle_keeps_the_lease(subject: &dyn Subject) {
    let bench = Bench::new(subject, "intent");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let mut item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let lease = bench.lease(&hop).expect("it is due");
    let index = bench.store().index();
    item.traps = 1;
    bench.store().settle(Settle::replace(item.clone())).await.expect("it is there");
    assert!(index.lease_item(item.id).is_none(), "the attempt goes on");
    // A record and the last word, both on their way.
    item.traps = 2;
    drop(bench.store().settle(Settle::replace(item.clone())));
    item.traps = 3;
    drop(lease.settle(bench.store(), Settle::replace(item.clone())));
    let mut next = index.lease_item_wait(item.id).await.expect("it is there");
    let loaded = next.load(bench.store()).await.expect("it can be read").expect("it is there");
    assert_eq!(loaded.item.traps, 3);
    // A record on its way when the lease is dropped comes first.
    item.traps = 4;
    drop(bench.store().settle(Settle::replace(item.clone())));
    drop(next);
    let mut next = index.lease_item_wait(item.id).await.expect("it is there");
    let loaded = next.load(bench.store()).await.expect("it can be read").expect("it is there");
    assert_eq!(loaded.item.traps, 4);
}

pub(super) async fn waiting_for_a_lease_ends(subject: &dyn Subject) {
    let bench = Bench::new(subject, "wait");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let index = bench.store().index();
    let lease = bench.lease(&hop).expect("it is due");
    let mut waiting = pin!(index.lease_item_wait(item.id));
    let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "somebody has it");
    drop(lease);
    let lease = waiting.await.expect("it was given back");
    let gone = index.lease_item_wait(item.id);
    drop(lease.settle(bench.store(), sample::delivered(&item)));
    assert!(gone.await.is_none(), "it is gone for good");
}
