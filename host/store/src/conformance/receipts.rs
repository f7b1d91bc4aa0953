//! Receipts that are waited for, that are past, and that came early.

use postern_model::{EventKind, Item, ItemId, Receipt, ReceiptState, ReceiptWord, Response};

use super::{Bench, Subject, is_invalid, sample};
use crate::{
    EarlyReceipt, FoundReceipts, ReceiptKey, ReceiptsChange, RememberedReceipt, Settle, StoredReceipt,
};

impl Bench<'_> {
    /// An item of a new message.
    async fn item(&self) -> Item {
        let put = sample::small(&sample::hop("a"));
        let item = put.items[0].clone();
        self.store().put(put).await.expect("there is room");
        item
    }

    async fn wait_for(&self, item: &Item, receipts: Vec<StoredReceipt>) {
        let settle = Settle { receipts, ..Settle::replace(item.clone()) };
        self.settle(settle).await.expect("it is there");
    }

    async fn list(&self, after: Option<&StoredReceipt>, limit: usize) -> Vec<StoredReceipt> {
        let after = after.map(StoredReceipt::key);
        self.store().receipts("fax".to_owned(), after, limit).await.expect("it can be read")
    }

    async fn find(&self, id: &str) -> FoundReceipts {
        self.store().find_receipts("fax".to_owned(), id.to_owned()).await.expect("it can be read")
    }

    async fn change_receipts(&self, change: ReceiptsChange) {
        self.store().change_receipts(change).await.expect("there is room");
    }

    async fn early(&self) -> Vec<EarlyReceipt> {
        self.store().early_receipts(100).await.expect("it can be read")
    }
}

pub(super) async fn receipts_are_kept_until_they_come(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "receipts");
    let item = bench.item().await;
    let receipts: Vec<_> = ["w", "x", "y", "z"].map(|id| sample::receipt(&item, id)).into();
    bench.wait_for(&item, receipts.iter().rev().cloned().collect()).await;
    bench.reopen();
    assert_eq!(bench.list(None, 100).await, receipts);
    assert_eq!(bench.list(Some(&receipts[0]), 2).await, receipts[1..3]);
    assert_eq!(bench.find("x").await.waiting, receipts[1..2]);
    assert!(bench.store().receipts("sms".to_owned(), None, 9).await.expect("it can be read").is_empty());
    let finished = vec![("fax".to_owned(), "w".to_owned()), ("fax".to_owned(), "never given".to_owned())];
    let settle = Settle { finished_receipts: finished, ..Settle::replace(item.clone()) };
    bench.settle(settle).await.expect("it is there");
    let events = vec![sample::event(item.id.message, EventKind::Receipt)];
    let finished = vec![receipts[3].clone()];
    bench.change_receipts(ReceiptsChange { finished, events, ..ReceiptsChange::default() }).await;
    assert_eq!(bench.find("z").await, FoundReceipts::default());
    // Behind one that has gone comes what came behind it before.
    assert_eq!(bench.list(Some(&receipts[0]), 100).await, receipts[1..3]);
    let last = bench.store().events(0, 100).await.expect("it can be read").pop();
    assert_eq!(last.map(|(_, event)| event.kind), Some(EventKind::Receipt));
}

pub(super) async fn one_id_may_be_waited_for_by_several_items(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "same-id");
    let mut items = [bench.item().await, bench.item().await, bench.item().await];
    items.sort_by_key(|item| item.id.to_string());
    let receipts: Vec<_> = items.iter().map(|item| sample::receipt(item, "17")).collect();
    for (item, receipt) in items.iter().zip(&receipts) {
        bench.wait_for(item, vec![receipt.clone()]).await;
    }
    bench.reopen();
    assert_eq!(bench.find("17").await.waiting, receipts);
    assert_eq!(bench.list(Some(&receipts[0]), 1).await, receipts[1..2], "a page may end between two of them");
    // Whoever is done with it does not end the wait of the others, and one that is given again replaces its own.
    let finished = vec![("fax".to_owned(), "17".to_owned())];
    let settle = Settle { finished_receipts: finished, ..Settle::gone_silently(items[1].id) };
    bench.settle(settle).await.expect("it is there");
    let again = StoredReceipt { expires_at: sample::time(900), ..receipts[2].clone() };
    bench.wait_for(&items[2], vec![again.clone()]).await;
    assert_eq!(bench.find("17").await.waiting, [receipts[0].clone(), again]);
    let foreign = Settle { receipts: vec![receipts[0].clone()], ..Settle::replace(items[2].clone()) };
    assert!(is_invalid(&bench.settle(foreign).await), "a settlement speaks for its own item");
}

pub(super) async fn what_is_past_is_remembered_newest_first(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "past");
    let item = bench.item().await;
    let past = |word| sample::past_receipt(&item, "17", word);
    let words = [Some(ReceiptWord::Failed), None, Some(ReceiptWord::Delivered)];
    for word in words {
        let settle = Settle { past_receipts: vec![past(word)], ..Settle::replace(item.clone()) };
        bench.settle(settle).await.expect("it is there");
    }
    let found = bench.find("17").await.past;
    let newest_first: Vec<_> = words.into_iter().rev().map(past).collect();
    assert_eq!(found.iter().map(|r| r.receipt.clone()).collect::<Vec<_>>(), newest_first);
    assert!(found.iter().all(|r| !r.noted));
    assert_eq!(bench.find("18").await, FoundReceipts::default());
    bench.change_receipts(ReceiptsChange { noted: vec![found[1].number], ..ReceiptsChange::default() }).await;
    // The item goes, what is known of its receipts stays.
    bench.settle(sample::delivered(&item)).await.expect("it is there");
    bench.reopen();
    let mut expected = found;
    expected[1].noted = true;
    assert_eq!(bench.find("17").await, FoundReceipts { waiting: Vec::new(), past: expected.clone() });
    // A number names one receipt for ever.
    let item = bench.item().await;
    let settle = Settle { past_receipts: vec![past(None)], ..Settle::replace(item.clone()) };
    bench.settle(settle).await.expect("it is there");
    let newest: RememberedReceipt = bench.find("17").await.past.remove(0);
    assert!(expected.iter().all(|r| r.number < newest.number));
}

pub(super) async fn early_receipts_are_kept_over_a_restart(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "early");
    let early = |id: &str, address: Option<&str>, text: &str| EarlyReceipt {
        connector: "fax".to_owned(),
        receipt: Receipt {
            address: address.map(str::to_owned),
            ..Receipt::new(id, ReceiptState::Delivered(Response::new(250, (2, 0, 0), text)))
        },
        at: sample::time(3),
    };
    let (first, second) = (early("17", None, "here"), early("17", Some("+4930"), "here"));
    let keep = |early| ReceiptsChange { early, ..ReceiptsChange::default() };
    bench.change_receipts(keep(vec![first.clone(), second.clone()])).await;
    bench.change_receipts(keep(vec![early("17", None, "a later word")])).await;
    bench.reopen();
    assert_eq!(bench.early().await, [first.clone(), second.clone()], "the first word of each stays");
    assert_eq!(bench.store().early_receipts(1).await.expect("it can be read").len(), 1);
    let change = ReceiptsChange { no_longer_early: vec![first], ..ReceiptsChange::default() };
    bench.change_receipts(change).await;
    bench.reopen();
    assert_eq!(bench.early().await, [second]);
    assert!(bench.list(None, 9).await.is_empty() && bench.find("17").await == FoundReceipts::default());
}

pub(super) async fn many_that_wait_for_one_id_are_told_up_to_a_limit(subject: &dyn Subject) {
    let bench = Bench::new(subject, "many-same");
    let put = sample::put(&[sample::hop("a")], sample::content(10));
    let message = put.message.id;
    bench.store().put(put).await.expect("there is room");
    let first = ItemId { message, ordinal: 0 };
    let new = |ordinal| sample::item(ItemId { message, ordinal }, &sample::hop("a"), 1);
    let most = u16::try_from(FoundReceipts::MAX_WAITING).expect("the limit is small");
    let new_items: Vec<Item> = (1..=most + 1).map(new).collect();
    let settle = Settle { new_items: new_items.clone(), ..Settle::gone_silently(first) };
    bench.settle(settle).await.expect("it is there");
    for item in &new_items {
        let receipts = vec![sample::receipt(item, "17")];
        drop(bench.store().settle(Settle { receipts, ..Settle::replace(item.clone()) }));
    }
    bench.store().flush().await.expect("there is room");
    assert_eq!(bench.find("17").await.waiting.len(), FoundReceipts::MAX_WAITING);
    let all = bench.list(None, 1000).await;
    assert_eq!(all.len(), new_items.len());
    let mut keys: Vec<ReceiptKey> = all.iter().map(StoredReceipt::key).collect();
    keys.dedup();
    assert_eq!(keys.len(), new_items.len());
}
