//! Counters, events, the outbox and the check of bodies.

use std::collections::BTreeMap;

use postern_model::{DsnKind, EventKind, Fate, MessageId, Origin, RecipientState};

use super::{Bench, Subject, is_invalid, sample};
use crate::{Counters, Settle};

pub(super) async fn counters_equal_a_recount(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "counters");
    assert_eq!(bench.counters().await, Counters::default());
    let mut decided = BTreeMap::new();
    for n in 0..60_usize {
        let origin = if n % 5 == 0 { Origin::Generated } else { Origin::Accepted };
        let hops = [sample::hop("a"), sample::hop("b")];
        let mut put = sample::put_as(MessageId::generate(), origin, &hops, sample::content(10));
        put.items[0] = sample::item(put.items[0].id, &hops[0], 3);
        let item = put.items[0].clone();
        drop(bench.store().put(put));
        let mut settle = Settle::gone_silently(item.id);
        if n % 2 == 0 {
            let fate = Fate::ALL[n % 7];
            for _ in 0..3 {
                settle.fates.add(fate);
            }
            *decided.entry(fate).or_insert(0) += 3;
        } else {
            settle = Settle::replace(item);
        }
        drop(bench.store().settle(settle));
    }
    bench.store().flush().await.expect("there is room");
    for _ in 0..2 {
        let counters = bench.counters().await;
        assert_eq!((counters.accepted, counters.generated), (48 * 4, 12 * 4));
        assert_eq!(counters.fates, decided);
        let mut open = 0;
        for message in bench.store().messages(None, 1000).await.expect("it can be read") {
            let found =
                bench.store().load_message(message).await.expect("it can be read").expect("it is there");
            let recipients = found.items.iter().flat_map(|item| &item.recipients);
            open += recipients.filter(|r| !matches!(r.state, RecipientState::Final { .. })).count() as u64;
        }
        assert_eq!(counters.accepted + counters.generated, counters.fates.values().sum::<u64>() + open);
        bench.reopen();
    }
}

pub(super) async fn events_keep_their_order_and_numbers(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "events");
    let put = sample::small(&sample::hop("a"));
    let item = put.items[0].clone();
    drop(bench.store().put(put));
    drop(bench.store().settle(sample::deferred(item.clone(), sample::time(60))));
    let operated = sample::event(item.id.message, EventKind::Operate);
    drop(bench.store().record(vec![operated.clone(), operated]));
    drop(bench.store().settle(sample::delivered(&item)));
    bench.store().flush().await.expect("there is room");
    let kinds =
        [EventKind::Receive, EventKind::Defer, EventKind::Operate, EventKind::Operate, EventKind::Deliver];
    let events = bench.store().events(0, 100).await.expect("it can be read");
    assert_eq!(events.iter().map(|(_, event)| event.kind).collect::<Vec<_>>(), kinds);
    assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0));
    let third = events[2].0;
    assert_eq!(bench.store().events(third, 1).await.expect("it can be read"), [events[3].clone()]);
    bench.store().drop_events(third).await.expect("there is room");
    assert_eq!(bench.store().events(0, 100).await.expect("it can be read"), events[3..]);
    // A number is not given twice, not even when nothing is left that could remember it.
    let last = events[4].0;
    bench.store().drop_events(last).await.expect("there is room");
    bench.reopen();
    bench
        .store()
        .record(vec![sample::event(item.id.message, EventKind::Operate)])
        .await
        .expect("there is room");
    let events = bench.store().events(last, 100).await.expect("it can be read");
    assert_eq!(events.len(), 1, "the new event comes after all others");
}

pub(super) async fn the_outbox_keeps_what_is_owed(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "outbox");
    let put = sample::put(&[sample::hop("a"), sample::hop("b")], sample::content(10));
    let (items, message) = (put.items.clone(), put.message.clone());
    bench.store().put(put).await.expect("there is room");
    let owed = [DsnKind::Relayed, DsnKind::Delayed, DsnKind::Failed]
        .map(|kind| sample::dsn(&items[0], &message, kind));
    let settle = Settle { dsns: owed.to_vec(), ..Settle::replace(items[0].clone()) };
    bench.settle(settle.clone()).await.expect("it is there");
    // The same request again is the same DSN.
    bench.settle(settle).await.expect("it is there");
    bench.reopen();
    assert_eq!(bench.store().outbox(100).await.expect("it can be read"), owed);
    assert_eq!(bench.store().outbox(1).await.expect("it can be read"), owed[..1]);
    let event = sample::event(message.id, EventKind::Fail);
    let key = owed[1].key.clone();
    bench.store().drop_outbox(key.clone(), vec![event.clone()]).await.expect("it is there");
    assert!(is_invalid(&bench.store().drop_outbox(key, vec![event]).await));
    bench.reopen();
    assert_eq!(bench.outbox_keys().await, [owed[0].key.clone(), owed[2].key.clone()]);
    let events = bench.store().events(0, 100).await.expect("it can be read");
    assert_eq!(events.iter().filter(|(_, event)| event.kind == EventKind::Fail).count(), 1);
}

pub(super) async fn bodies_pass_their_check(subject: &dyn Subject) {
    let bench = Bench::new(subject, "bodies");
    for size in [0, 10, 700_000, 20, 800_000] {
        let put = sample::put(&[sample::hop("a")], sample::content(size));
        let item = put.items[0].clone();
        bench.store().put(put).await.expect("there is room");
        if size % 20 == 0 {
            bench.settle(sample::delivered(&item)).await.expect("it is there");
        }
        let faults = bench.store().check_bodies().await.expect("it can be read");
        assert!(faults.is_empty(), "{faults:?}");
    }
}
