//! What must hold of receipts, over a real store.

use jiff::Timestamp;
use postern_model::{
    EventKind, EventRecipient, FailureClass, Fate, ItemRecipient, Recipient, RecipientState, Response,
    TrackingEvent, TypedAddress,
};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Settle, Store};

use super::*;
use crate::metrics::Metrics;
use crate::topology::{CurrentTopology, Topology};

pub(super) struct Site {
    _folder: tempfile::TempDir,
    pub(super) store: Arc<dyn Store>,
    pub(super) settler: Arc<Settler>,
    pub(super) door: ReceiptDoor,
}

impl Site {
    pub(super) fn new() -> (Self, ReceiptQueue) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        let text = "[host]\nname = \"gw.example\"\n";
        let (config, _) = crate::config::check_text(text, &path, &path, &|_| None).unwrap();
        let store = SqliteStore::open(&folder.path().join("store"), SqliteOptions::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let (door, queue) = ReceiptDoor::open();
        let settler = Settler::new(
            store.clone(),
            Arc::new(CurrentTopology::new(Topology::build(config))),
            Arc::new(Metrics::default()),
            Arc::default(),
            door.clone(),
            Arc::default(),
        );
        (Self { _folder: folder, store, settler: Arc::new(settler), door }, queue)
    }

    /// An item whose recipient waits for these receipts.
    pub(super) async fn pending(&self, ids: &[&str]) -> ItemId {
        let put = sample::small(&sample::hop("FAX:*"));
        let item = sample::pending(put.items[0].clone(), sample::time(600));
        self.store.put(put).await.unwrap();
        let mut settle = Settle::replace(item);
        let item = settle.after.as_mut().unwrap();
        if let RecipientState::Pending { receipt_ids, .. } = &mut item.recipients[0].state {
            *receipt_ids = ids.iter().map(ToString::to_string).collect();
        }
        settle.receipts = ids.iter().map(|id| sample::receipt(item, id)).collect();
        let id = item.id;
        self.store.settle(settle).await.unwrap();
        id
    }

    /// A file of an item that is done; its pickup is only watched for.
    async fn watched(&self, id: &str) {
        let put = sample::small(&sample::hop("FAX:*"));
        let item = put.items[0].clone();
        self.store.put(put).await.unwrap();
        let receipt = StoredReceipt { decides: false, ..sample::receipt(&item, id) };
        let settle = Settle { receipts: vec![receipt], ..Settle::gone_silently(item.id) };
        self.store.settle(settle).await.unwrap();
    }

    /// Items, each with one recipient of this address, that wait for this id.
    async fn waiting_for(&self, id: &str, addresses: &[&str]) -> Vec<ItemId> {
        let mut items = Vec::new();
        for address in addresses {
            items.push(self.pending_to(&[address], &[id]).await);
        }
        items
    }

    /// An item whose recipients have these addresses and wait for these receipts.
    async fn pending_to(&self, addresses: &[&str], ids: &[&str]) -> ItemId {
        self.pending_until(addresses, ids, sample::time(600)).await
    }

    async fn pending_until(&self, addresses: &[&str], ids: &[&str], until: Timestamp) -> ItemId {
        let mut put = sample::small(&sample::hop("FAX:*"));
        let recipients = (0..).zip(addresses).map(|(index, address)| {
            ItemRecipient::queued(Recipient::new(index, TypedAddress::parse(address).unwrap()))
        });
        put.items[0].recipients = recipients.collect();
        let mut item = sample::pending(put.items[0].clone(), until);
        self.store.put(put).await.unwrap();
        for recipient in &mut item.recipients {
            if let RecipientState::Pending { receipt_ids, .. } = &mut recipient.state {
                *receipt_ids = ids.iter().map(ToString::to_string).collect();
            }
        }
        let everybody = item.recipients.iter().map(|r| EventRecipient::of(&r.recipient, None));
        let everybody: Vec<_> = everybody.collect();
        let receipt =
            |id: &&str| StoredReceipt { recipients: everybody.clone(), ..sample::receipt(&item, id) };
        let receipts = ids.iter().map(receipt).collect();
        let id = item.id;
        self.store.settle(Settle { receipts, ..Settle::replace(item) }).await.unwrap();
        id
    }

    /// Says of an item that it got its receipt id in this call.
    async fn mark_call(&self, item: ItemId, name: &str) {
        let mut after = (*self.store.load(item).await.unwrap().unwrap().item).clone();
        let found = self.store.find_receipts("fax".to_owned(), "17".to_owned()).await.unwrap();
        let mut receipts: Vec<_> = found.waiting.into_iter().filter(|r| r.item == item).collect();
        receipts.iter_mut().for_each(|r| r.call = Some(name.to_owned()));
        for recipient in &mut after.recipients {
            if let RecipientState::Pending { call, .. } = &mut recipient.state {
                *call = Some(name.to_owned());
            }
        }
        self.store.settle(Settle { receipts, ..Settle::replace(after) }).await.unwrap();
    }

    /// What the recipients of an item have come to.
    async fn fates(&self, item: ItemId) -> Vec<Option<Fate>> {
        let item = self.store.load(item).await.unwrap().unwrap().item;
        let fate = |r: &ItemRecipient| match &r.state {
            RecipientState::Final { fate, .. } => Some(*fate),
            _ => None,
        };
        item.recipients.iter().map(fate).collect()
    }

    /// How many receipts did this, by the metrics.
    pub(super) fn counted(&self, what: &str) -> u64 {
        let text = self.settler.metrics().render(&[], true);
        let line = format!("postern_receipts_total{{connector=\"fax\",what=\"{what}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |n| n.parse().unwrap())
    }

    async fn events(&self, kind: EventKind) -> Vec<TrackingEvent> {
        let all = self.store.events(0, 10_000).await.unwrap();
        all.into_iter().map(|(_, event)| event).filter(|event| event.kind == kind).collect()
    }

    fn is_there(&self, item: ItemId) -> bool {
        self.store.index().item_view(item).is_some()
    }

    async fn left(&self) -> Vec<String> {
        let all = self.store.receipts("fax".to_owned(), None, 10_000).await.unwrap();
        all.into_iter().map(|r| r.id).collect()
    }
}

pub(super) fn delivered(id: &str) -> Receipt {
    Receipt::new(id, ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived")))
}

fn failed(id: &str) -> Receipt {
    let response = Response::new(550, (5, 1, 1), "no such number");
    Receipt::new(id, ReceiptState::Failed { response, class: FailureClass::default() })
}

fn about(address: &str, receipt: Receipt) -> Receipt {
    Receipt { address: Some(address.to_owned()), ..receipt }
}

fn arrivals(ids: &[&str]) -> Vec<Arrival> {
    ids.iter().map(|id| Arrival::new("fax".to_owned(), delivered(id))).collect()
}

#[tokio::test]
async fn a_batch_settles_items_files_and_all_receipts_of_one_item() {
    let (site, queue) = Site::new();
    let segments: Vec<String> = (0..10).map(|n| format!("S-{n}")).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let long = site.pending(&segments).await;
    let short = site.pending(&["R-1"]).await;
    for n in 0..300 {
        site.watched(&format!("file-{n}")).await;
    }
    let files: Vec<String> = (0..300).map(|n| format!("file-{n}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let all = [&segments[..], &files[..], &["R-1", "R-1", "file-7", "foreign"]].concat();
    receipts.take(arrivals(&all)).await;
    assert_eq!(site.left().await, Vec::<String>::new());
    assert!(!site.is_there(long) && !site.is_there(short));
    // The foreign one, and the file of which nothing is remembered, are looked at again for a while.
    assert_eq!(receipts.early.take_all().len(), 2);
    assert_eq!(site.counted("repeated"), 1);
    assert_eq!((site.counted("settled"), site.counted("watched")), (11, 300));
}

#[tokio::test]
async fn an_item_in_the_hands_of_a_delivery_holds_up_no_other_receipt() {
    let (site, queue) = Site::new();
    let busy = site.pending(&["R-busy"]).await;
    let free = site.pending(&["R-free"]).await;
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let lease = site.store.index().lease_item(busy).unwrap();
    receipts.take(arrivals(&["R-busy", "R-free"])).await;
    assert_eq!((site.is_there(busy), site.is_there(free)), (true, false));
    drop(lease);
    let again = receipts.early.take_all();
    assert_eq!(again.len(), 1);
    receipts.take(again).await;
    assert!(!site.is_there(busy));
}

#[tokio::test]
async fn a_receipt_that_comes_before_its_hand_over_is_settled_later() {
    let (site, queue) = Site::new();
    let task = tokio::spawn(Receipts::new(site.settler.clone(), queue).run(CancellationToken::new()));
    site.door.sender().send(("fax".to_owned(), vec![delivered("R-1"), delivered("R-2")])).unwrap();
    let other = site.pending(&["R-0"]).await;
    site.door.sender().send(("fax".to_owned(), vec![delivered("R-0")])).unwrap();
    let first = site.pending(&["R-1"]).await;
    // Ends when the item is gone.
    let gone = async |item| {
        while site.store.index().item_view(item).is_some() {
            tokio::task::yield_now().await
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, async {
        gone(other).await;
        gone(first).await
    })
    .await
    .unwrap();
    task.abort();
}

#[tokio::test]
async fn what_has_come_is_settled_before_the_end() {
    let (site, queue) = Site::new();
    let mut items = Vec::new();
    for n in 0..BATCH + 10 {
        let id = format!("R-{n}");
        items.push(site.pending(&[&id]).await);
        site.door.sender().send(("fax".to_owned(), vec![delivered(&id)])).unwrap();
    }
    let stop = CancellationToken::new();
    stop.cancel();
    Receipts::new(site.settler.clone(), queue).run(stop).await;
    assert_eq!(items.iter().filter(|item| site.is_there(**item)).count(), 0);
    assert!(site.door.sender().send(("fax".to_owned(), Vec::new())).is_err());
}

async fn take(receipts: &mut Receipts, said: Vec<Receipt>) -> bool {
    let arrivals = said.into_iter().map(|receipt| Arrival::new("fax".to_owned(), receipt)).collect();
    receipts.take(arrivals).await
}

#[tokio::test]
async fn an_id_that_two_items_wait_for_completes_the_one_whose_address_the_receipt_names() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let items = site.waiting_for("17", &["FAX:+4930", "FAX:+4940"]).await;
    take(&mut receipts, vec![about("4940", delivered("17"))]).await;
    assert_eq!((site.is_there(items[0]), site.is_there(items[1])), (true, false));
    // The other is the only one now, and needs no address.
    take(&mut receipts, vec![delivered("17")]).await;
    assert!(!site.is_there(items[0]) && site.left().await.is_empty());
    assert_eq!((site.counted("settled"), site.counted("ambiguous")), (2, 0));
}

#[tokio::test]
async fn without_an_address_none_of_several_items_is_completed() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let items = site.waiting_for("17", &["FAX:+4930", "FAX:+4940"]).await;
    for receipt in [delivered("17"), failed("17"), delivered("17")] {
        assert!(take(&mut receipts, vec![receipt]).await, "telling it again would not help");
    }
    assert!(items.iter().all(|item| site.is_there(*item)));
    assert_eq!((site.counted("ambiguous"), site.counted("settled"), site.left().await.len()), (3, 0, 2));
    assert!(
        receipts.early.take_all().is_empty(),
        "it may not be believed later of the one that is left then"
    );
}

#[tokio::test]
async fn an_address_that_nobody_has_completes_nothing() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let item = site.pending_to(&["FAX:+4930", "FAX:+4940"], &["17"]).await;
    take(&mut receipts, vec![about("+4950", delivered("17"))]).await;
    assert_eq!((site.fates(item).await, site.counted("unknown")), (vec![None, None], 1));
    // Of one item, too, only those are completed whom it names.
    take(&mut receipts, vec![about("fax:+49 40", failed("17"))]).await;
    assert_eq!(site.fates(item).await, [None, Some(Fate::Failed)]);
    take(&mut receipts, vec![about("+4930", delivered("17"))]).await;
    assert!(!site.is_there(item) && site.left().await.is_empty());
}

#[tokio::test]
async fn items_that_got_the_id_in_one_call_are_completed_together() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let items = site.waiting_for("17", &["FAX:+4930", "FAX:+4940", "FAX:+4950"]).await;
    for item in &items {
        site.mark_call(*item, "call").await;
    }
    let busy = site.store.index().lease_item(items[1]).unwrap();
    take(&mut receipts, vec![delivered("17")]).await;
    let there: Vec<_> = items.iter().map(|item| site.is_there(*item)).collect();
    assert_eq!(
        (there, site.counted("settled")),
        (vec![false, true, false], 0),
        "one is in the hands of a delivery"
    );
    drop(busy);
    let again = receipts.early.take_all();
    receipts.take(again).await;
    assert!(!site.is_there(items[1]) && site.left().await.is_empty());
    assert_eq!((site.counted("settled"), site.counted("ambiguous")), (1, 0));
    assert!(site.store.early_receipts(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_connector_that_was_given_an_id_can_complete_it() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let item = site.pending(&["17"]).await;
    receipts.take(vec![Arrival::new("sms".to_owned(), delivered("17"))]).await;
    assert!(site.is_there(item));
    let text = site.settler.metrics().render(&[], true);
    assert!(text.contains("postern_receipts_total{connector=\"sms\",what=\"unknown\"} 1"), "{text}");
}

#[tokio::test]
async fn a_repeated_word_changes_nothing_and_a_contradiction_is_told_once_over_a_restart_too() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let item = site.pending_to(&["FAX:+4930", "FAX:+4940"], &["17"]).await;
    let words =
        vec![about("+4930", failed("17")), about("+4930", failed("17")), about("+4930", delivered("17"))];
    take(&mut receipts, words).await;
    assert_eq!(site.fates(item).await, [Some(Fate::Failed), None], "a final outcome is never rewritten");
    assert_eq!((site.counted("repeated"), site.counted("contradicts")), (1, 1));
    let told = site.events(EventKind::Receipt).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].item, Some(item));
    let named: Vec<_> = told[0].recipients.iter().map(|r| r.address.as_str()).collect();
    assert_eq!(named, ["FAX:+4930"]);
    assert_eq!(told[0].recipients[0].response.as_deref(), Some("250 2.0.0 arrived"));
    for (name, value) in [("receipt", "17"), ("says", "delivered"), ("after", "failed")] {
        assert!(told[0].details.contains(&(name.to_owned(), value.to_owned())), "{:?}", told[0].details);
    }
    // Another run of the host knows that it was told, and the item need not be there any more.
    take(&mut receipts, vec![about("+4940", delivered("17"))]).await;
    assert!(!site.is_there(item));
    let (_door, queue) = ReceiptDoor::open();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    take(&mut receipts, vec![about("+4930", delivered("17")), about("+4940", failed("17"))]).await;
    assert_eq!(site.counted("contradicts"), 3);
    assert_eq!(site.events(EventKind::Receipt).await.len(), 2, "one for each recipient's wait");
    assert!(receipts.early.take_all().is_empty());
}

#[tokio::test]
async fn a_word_after_the_wait_was_over_is_late() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let item = site.pending_until(&["FAX:+4930"], &["17", "18"], Timestamp::UNIX_EPOCH).await;
    let lease = site.store.index().lease_item(item).unwrap();
    site.settler.settle_overdue([lease], 1, &CancellationToken::new()).await;
    assert!(!site.is_there(item));
    take(&mut receipts, vec![delivered("17"), delivered("17"), failed("18")]).await;
    assert_eq!((site.counted("late"), site.counted("settled")), (3, 0));
    let told = site.events(EventKind::Receipt).await;
    let ids: Vec<_> = told.iter().map(|event| event.details[0].1.as_str()).collect();
    assert_eq!(ids, ["17", "18"]);
    assert!(told.iter().all(|event| event.details[2].1 == "nothing"));
}

#[tokio::test]
async fn a_far_end_that_uses_an_id_again_is_believed_about_the_new_item() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    let old = site.pending(&["17"]).await;
    take(&mut receipts, vec![failed("17")]).await;
    let new = site.pending(&["17"]).await;
    take(&mut receipts, vec![delivered("17")]).await;
    assert!(!site.is_there(old) && !site.is_there(new));
    assert_eq!((site.counted("settled"), site.counted("contradicts")), (2, 0));
}

#[tokio::test]
async fn an_early_receipt_outlives_a_restart_and_is_gone_when_it_was_settled() {
    let (site, queue) = Site::new();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    assert!(take(&mut receipts, vec![delivered("17"), delivered("foreign")]).await);
    drop(receipts);
    assert_eq!(site.store.early_receipts(10).await.unwrap().len(), 2);
    // The next run looks at it when the hand-over has been settled.
    let item = site.pending(&["17"]).await;
    let (_door, queue) = ReceiptDoor::open();
    let mut receipts = Receipts::new(site.settler.clone(), queue);
    receipts.recall().await;
    assert!(!site.is_there(item));
    let kept: Vec<_> =
        site.store.early_receipts(10).await.unwrap().into_iter().map(|e| e.receipt.id).collect();
    assert_eq!(kept, ["foreign"]);
    assert_eq!(site.counted("unknown"), 2, "counted when they came, not again");
}

#[tokio::test]
async fn who_asks_is_answered_when_everything_is_on_the_disk() {
    let (site, queue) = Site::new();
    let item = site.pending(&["17"]).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(Receipts::new(site.settler.clone(), queue).run(stop.clone()));
    let said = vec![delivered("17"), delivered("early"), Receipt::new("18", pending())];
    assert_eq!(site.door.settle("fax", said).await, Ok(()));
    assert!(!site.is_there(item) && site.left().await.is_empty());
    assert_eq!(site.store.early_receipts(10).await.unwrap().len(), 1);
    // More than the host keeps of one connector: the far end is to come again.
    let most = crate::config::EARLY_RECEIPTS;
    let flood = (0..=most).map(|n| delivered(&format!("flood-{n}"))).collect();
    assert_eq!(site.door.settle("fax", flood).await, Err(NotKept));
    assert_eq!(site.counted("dropped"), 2);
    stop.cancel();
    task.await.unwrap();
    assert_eq!(site.door.settle("fax", vec![delivered("19")]).await, Err(NotKept));
}

fn pending() -> ReceiptState {
    ReceiptState::Pending(Response::new(250, (2, 0, 0), "on its way"))
}
