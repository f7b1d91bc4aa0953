//! What is due when, in which order, and what a restart keeps.

use postern_model::{ItemState, Priority};

use super::{Bench, Subject, sample};
use crate::{QueueSetting, Settle};

pub(super) async fn urgent_items_come_first_then_older_ones(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "priority");
    let hop = sample::hop("a");
    let mut puts = Vec::new();
    for priority in [Priority::Low, Priority::Normal, Priority::Normal, Priority::High, Priority::Normal] {
        let mut put = sample::small(&hop);
        put.items[0].priority = priority;
        puts.push(put.items[0].id);
        bench.store().put(put).await.expect("there is room");
    }
    let expected = [3, 1, 2, 4, 0].map(|n| puts[n]);
    for _ in 0..2 {
        let leases: Vec<_> = std::iter::from_fn(|| bench.lease(&hop)).collect();
        assert_eq!(leases.iter().map(crate::Lease::item).collect::<Vec<_>>(), expected);
        drop(leases);
        bench.reopen();
    }
}

pub(super) async fn an_item_waits_for_its_time(subject: &dyn Subject) {
    let bench = Bench::new(subject, "time");
    let hop = sample::hop("a");
    let feed = bench.store().index().ready("fax");
    let put = sample::small(&hop);
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    feed.notified().await;
    assert_eq!(feed.take_ready(), std::slice::from_ref(&hop));
    assert!(feed.take_ready().is_empty(), "a hop is named once");
    let lease = bench.lease(&hop).expect("it is due");
    let commit = lease.settle(bench.store(), sample::deferred(item.clone(), sample::time(60)));
    commit.await.expect("it is there");
    feed.notified().await;
    assert_eq!(feed.promote(sample::time(59)), Some(sample::time(60)));
    assert!(feed.take_ready().is_empty());
    assert!(bench.lease_at(&hop, sample::time(59)).is_none());
    assert_eq!(feed.promote(sample::time(60)), None);
    feed.notified().await;
    assert_eq!(feed.take_ready(), std::slice::from_ref(&hop));
    assert_eq!(bench.lease_at(&hop, sample::time(60)).expect("it is due").item(), item.id);
    // Held items wait for nobody. One that an operator holds expires all the same, poison stays until one decides.
    for (state, overdue) in [(ItemState::Suspended, vec![item.id]), (ItemState::Poison, vec![])] {
        let held = Settle::replace(postern_model::Item { state, ..item.clone() });
        bench.settle(held).await.expect("it is there");
        assert_eq!(feed.promote(sample::time(1_000_000)), None);
        assert!(bench.lease_at(&hop, sample::time(1_000_000)).is_none());
        assert_eq!(bench.store().index().overdue(sample::time(1_000_000), 10), overdue, "{state:?}");
    }
}

pub(super) async fn a_suspended_queue_survives_a_restart(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "suspend");
    let (hop, other) = (sample::hop("a"), sample::hop("b"));
    bench
        .store()
        .put(sample::put(&[hop.clone(), other.clone()], sample::content(10)))
        .await
        .expect("there is room");
    let reason = "the line is being repaired".to_owned();
    let suspended = QueueSetting::Suspended { reason: reason.clone() };
    bench.store().set_queue(hop.clone(), suspended.clone()).await.expect("there is room");
    bench.store().set_queue(sample::hop("empty"), suspended).await.expect("there is room");
    for _ in 0..2 {
        let index = bench.store().index();
        assert!(bench.lease(&hop).is_none() && !index.has_due(&hop, sample::time(0)));
        assert!(bench.lease(&other).is_some());
        assert_eq!(index.ready("fax").take_ready().iter().filter(|ready| **ready == hop).count(), 0);
        let hops = index.hops();
        let reasons: Vec<_> = hops.iter().map(|view| view.suspended.clone()).collect();
        assert_eq!(reasons, [Some(reason.clone()), None, Some(reason.clone())]);
        bench.reopen();
    }
    let feed = bench.store().index().ready("fax");
    let _ = feed.take_ready();
    bench.store().set_queue(hop.clone(), QueueSetting::Active).await.expect("there is room");
    feed.notified().await;
    assert_eq!(feed.take_ready(), std::slice::from_ref(&hop));
    bench.reopen();
    assert!(bench.lease(&hop).is_some());
}

pub(super) async fn a_hop_in_retry_is_left_alone(subject: &dyn Subject) {
    let bench = Bench::new(subject, "retry");
    let hop = sample::hop("a");
    let index = bench.store().index();
    let feed = index.ready("fax");
    bench.store().put(sample::small(&hop)).await.expect("there is room");
    assert_eq!(feed.take_ready(), std::slice::from_ref(&hop));
    for (failures, until) in [(1, 30), (2, 90)] {
        index.set_retry(&hop, sample::time(until), "no dial tone");
        let view = index.hops().remove(0);
        assert_eq!((view.failures, view.retry_at), (failures, Some(sample::time(until))));
        assert_eq!(view.last_error.as_deref(), Some("no dial tone"));
        assert!(bench.lease_at(&hop, sample::time(until - 1)).is_none());
        assert_eq!(index.next_wake("fax"), Some(sample::time(until)));
        assert_eq!(feed.promote(sample::time(until)), None);
        assert_eq!(feed.take_ready(), std::slice::from_ref(&hop));
        assert!(bench.lease_at(&hop, sample::time(until)).is_some());
    }
    index.set_retry(&hop, sample::time(900), "no dial tone");
    let _ = feed.take_ready();
    index.clear_retry(&hop);
    assert_eq!(feed.take_ready(), std::slice::from_ref(&hop));
    let view = index.hops().remove(0);
    assert_eq!((view.failures, view.retry_at, view.last_error), (0, None, None));
    assert!(bench.lease_at(&hop, sample::time(91)).is_some());
}

pub(super) async fn overdue_receipts_come_whatever_the_queue(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "overdue");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let pending = sample::pending(item.clone(), sample::time(600));
    bench.settle(Settle::replace(pending)).await.expect("it is there");
    let suspended = QueueSetting::Suspended { reason: "repair".to_owned() };
    bench.store().set_queue(hop.clone(), suspended).await.expect("there is room");
    bench.reopen();
    let index = bench.store().index();
    let feed = index.ready("fax");
    assert_eq!(feed.promote(sample::time(599)), Some(sample::time(600)));
    assert!(feed.lease_expired(10).is_empty());
    feed.promote(sample::time(600));
    feed.notified().await;
    let leases = feed.lease_expired(10);
    assert_eq!(leases.iter().map(crate::Lease::item).collect::<Vec<_>>(), [item.id]);
    assert!(feed.lease_expired(10).is_empty() && feed.take_ready().is_empty());
    drop(leases);
    feed.notified().await;
    assert_eq!(feed.lease_expired(10).len(), 1);
    assert_eq!(index.overdue(sample::time(600), 10), [item.id]);
    let view = index.hops().remove(0);
    assert_eq!((view.items, view.pending, view.due), (1, 1, 0));
}

pub(super) async fn everything_is_there_after_a_restart(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "restart");
    for n in 0..200 {
        let hops = [sample::hop(&format!("h{}", n % 7)), sample::hop(&format!("h{}", n % 5 + 7))];
        let put = sample::put(&hops, sample::content(n * 10));
        let items = put.items.clone();
        drop(bench.store().put(put));
        if n % 3 == 0 {
            drop(bench.store().settle(sample::delivered(&items[0])));
        }
        if n % 4 == 0 {
            drop(bench.store().settle(sample::deferred(items[1].clone(), sample::time(60))));
        }
    }
    bench.store().flush().await.expect("there is room");
    let picture = |bench: &Bench<'_>| {
        let index = bench.store().index();
        let mut hops = index.hops();
        // Whether a waiting item was looked at since its time came is not part of the picture.
        hops.sort_by(|a, b| a.next_hop.cmp(&b.next_hop));
        (index.len(), hops, index.item_views(None, None, 1000))
    };
    bench.store().index().promote(sample::time(0));
    let before = picture(&bench);
    // A lease is void after a restart.
    drop(bench.lease(&sample::hop("h1")));
    bench.reopen();
    bench.store().index().promote(sample::time(0));
    assert_eq!(picture(&bench), before);
    let all = bench.store().messages(None, 1000).await.expect("it can be read");
    assert_eq!(all.len(), 200);
    let mut paged = Vec::new();
    loop {
        let page = bench.store().messages(paged.last().copied(), 7).await.expect("it can be read");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}
