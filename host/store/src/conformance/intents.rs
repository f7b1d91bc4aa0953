//! Intents: there from before the first byte leaves until the attempt has ended.

use postern_model::{Item, MessageId};

use super::{Bench, Subject, is_invalid, sample};
use crate::{Intent, Settle};

fn intent(item: &Item, attempt: u32) -> Intent {
    let idempotency_keys = item.queued().map(|r| format!("{}-{}", item.id, r.index)).collect();
    Intent { item: item.id, attempt, at: sample::time(i64::from(attempt)), idempotency_keys }
}

impl Bench<'_> {
    async fn intents(&self) -> Vec<Intent> {
        self.store().intents().await.expect("it can be read")
    }

    async fn put_intent(&self, intent: &Intent) {
        self.store().put_intent(intent.clone()).await.expect("the item is there");
    }
}

pub(super) async fn an_intent_is_there_until_its_attempt_has_ended(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "intents");
    let put = sample::put(&[sample::hop("a"), sample::hop("b")], sample::content(10));
    let items = put.items.clone();
    bench.store().put(put).await.expect("there is room");
    bench.put_intent(&intent(&items[1], 1)).await;
    bench.put_intent(&intent(&items[0], 1)).await;
    bench.put_intent(&intent(&items[0], 2)).await;
    let expected = [intent(&items[0], 2), intent(&items[1], 1)];
    assert_eq!(bench.intents().await, expected, "one for an item, the newest");
    bench.reopen();
    assert_eq!(bench.intents().await, expected);
    // What is recorded in the middle of an attempt does not end it, nor does what is refused.
    bench.settle(Settle::replace(items[0].clone())).await.expect("it is there");
    let ended = |settle| Settle { attempt_ended: true, ..settle };
    let mut refused = ended(Settle::replace(items[0].clone()));
    refused.new_items.push(items[1].clone());
    assert!(is_invalid(&bench.settle(refused).await), "its ordinal is taken");
    assert_eq!(bench.intents().await, expected);
    bench.settle(ended(sample::deferred(items[0].clone(), sample::time(60)))).await.expect("it is there");
    bench.reopen();
    assert_eq!(bench.intents().await, expected[1..]);
    // An item that goes takes its intent along, whoever ends it.
    bench.settle(sample::delivered(&items[1])).await.expect("it is there");
    bench.reopen();
    assert!(bench.intents().await.is_empty());
    bench.settle(ended(sample::delivered(&items[0]))).await.expect("there need not be one");
}

pub(super) async fn there_is_no_intent_without_an_item(subject: &dyn Subject) {
    let bench = Bench::new(subject, "no-intent");
    let put = sample::small(&sample::hop("a"));
    let mut item = put.items[0].clone();
    assert!(is_invalid(&bench.store().put_intent(intent(&item, 1)).await));
    // Handed in behind its message it is in time.
    drop(bench.store().put(put));
    bench.put_intent(&intent(&item, 1)).await;
    item.id.ordinal = 7;
    assert!(is_invalid(&bench.store().put_intent(intent(&item, 1)).await));
    item.id = postern_model::ItemId { message: MessageId::generate(), ordinal: 0 };
    assert!(is_invalid(&bench.store().put_intent(intent(&item, 1)).await));
    assert_eq!(bench.intents().await.len(), 1);
}
