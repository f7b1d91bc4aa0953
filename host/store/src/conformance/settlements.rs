//! What a settlement does to an item and its message.

use postern_model::{ItemId, MessageId, RecipientState, Response};

use super::{Bench, Subject, is_invalid, sample};
use crate::{Settle, SettleDone};

pub(super) async fn an_item_can_change_and_go(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "settle");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let deferred = sample::deferred(item.clone(), sample::time(60));
    let after = deferred.after.clone().expect("it stays");
    assert_eq!(bench.settle(deferred).await.expect("it is there"), SettleDone { message_gone: false });
    for _ in 0..2 {
        assert_eq!(*bench.load(item.id).await.expect("it is there").item, after);
        let view = bench.store().index().item_view(item.id).expect("it is there");
        assert_eq!((view.attempts, view.next_attempt), (1, Some(sample::time(60))));
        assert!(bench.lease(&hop).is_none(), "it is not due yet");
        bench.reopen();
    }
    // One recipient of it is done, the item stays for the others.
    let mut partial = sample::item(item.id, &hop, 2);
    partial.recipients[0].state = RecipientState::Final {
        fate: postern_model::Fate::Delivered,
        response: Response::new(250, (2, 0, 0), "ok"),
        at: sample::time(61),
    };
    bench.settle(Settle::replace(partial.clone())).await.expect("it is there");
    bench.reopen();
    assert_eq!(*bench.load(item.id).await.expect("it is there").item, partial);
    assert_eq!(bench.store().index().item_view(item.id).expect("it is there").queued, 1);
    let gone = bench.settle(sample::delivered(&partial)).await.expect("it is there");
    assert_eq!(gone, SettleDone { message_gone: true });
    for _ in 0..2 {
        assert!(bench.load(item.id).await.is_none());
        assert!(bench.store().load_message(item.id.message).await.expect("it can be read").is_none());
        assert!(bench.store().index().is_empty() && bench.store().index().hops().is_empty());
        bench.reopen();
    }
}

pub(super) async fn the_content_goes_with_the_last_item(subject: &dyn Subject) {
    let bench = Bench::new(subject, "last-item");
    for size in [100, 700_000] {
        let put = sample::put(&[sample::hop("a"), sample::hop("b")], sample::content(size));
        let items = put.items.clone();
        bench.store().put(put).await.expect("there is room");
        let first = bench.settle(sample::delivered(&items[1])).await.expect("it is there");
        assert_eq!(first, SettleDone { message_gone: false });
        assert_eq!(bench.load(items[0].id).await.expect("it is there").content.size(), size as u64);
        let last = bench.settle(sample::delivered(&items[0])).await.expect("it is there");
        assert_eq!(last, SettleDone { message_gone: true });
    }
    assert!(bench.store().check_bodies().await.expect("it can be read").is_empty());
}

pub(super) async fn a_part_can_be_redirected(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "redirect");
    let put = sample::put(&[sample::hop("a")], sample::content(700_000));
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let new = |ordinal| sample::item(ItemId { ordinal, ..item.id }, &sample::hop("elsewhere"), 3);
    let settle = Settle { new_items: vec![new(1), new(2)], ..Settle::gone_silently(item.id) };
    assert_eq!(bench.settle(settle).await.expect("it is there"), SettleDone { message_gone: false });
    // Ordinals are given once.
    let clash = Settle { new_items: vec![new(2)], ..Settle::gone_silently(new(1).id) };
    assert!(is_invalid(&bench.settle(clash).await));
    // The same item may also change its queue.
    let mut moved = new(1);
    moved.next_hop = sample::hop("third");
    bench.settle(Settle::replace(moved.clone())).await.expect("it is there");
    for _ in 0..2 {
        let found =
            bench.store().load_message(item.id.message).await.expect("it can be read").expect("it is there");
        assert_eq!(found.items, [moved.clone(), new(2)]);
        let hops: Vec<_> =
            bench.store().index().hops().into_iter().map(|hop| (hop.next_hop, hop.items)).collect();
        assert_eq!(hops, [(sample::hop("elsewhere"), 1), (sample::hop("third"), 1)]);
        assert_eq!(bench.lease(&sample::hop("third")).expect("it is due").item(), moved.id);
        bench.reopen();
    }
}

pub(super) async fn a_settlement_of_nothing_is_refused(subject: &dyn Subject) {
    let bench = Bench::new(subject, "nothing");
    let put = sample::small(&sample::hop("a"));
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let stranger = ItemId { message: MessageId::generate(), ordinal: 0 };
    for id in [stranger, ItemId { ordinal: 7, ..item.id }] {
        assert!(is_invalid(&bench.store().settle(Settle::gone_silently(id)).await));
    }
    let mut other = Settle::replace(item.clone());
    other.item = ItemId { ordinal: 7, ..item.id };
    assert!(is_invalid(&bench.store().settle(other).await));
    bench.settle(sample::delivered(&item)).await.expect("it is there");
    let again = bench.store().settle(sample::delivered(&item)).await;
    assert!(is_invalid(&again), "an item goes once");
    assert_eq!(bench.counters().await.fates.values().sum::<u64>(), 1);
}

pub(super) async fn settlements_keep_their_order(subject: &dyn Subject) {
    let bench = Bench::new(subject, "order");
    let put = sample::small(&sample::hop("a"));
    let mut item = put.items[0].clone();
    let store = bench.store();
    // None of them is awaited, not even the message itself.
    drop(store.put(put));
    for attempts in 1..=200 {
        item.attempts = attempts;
        drop(store.settle(Settle::replace(item.clone())));
    }
    store.flush().await.expect("there is room");
    assert_eq!(bench.load(item.id).await.expect("it is there").item.attempts, 200);
}
