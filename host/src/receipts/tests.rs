//! What must hold of receipts, over a real store.

use postern_model::{ItemId, RecipientState, Response};
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
    pub(super) sender: mpsc::UnboundedSender<(String, Vec<Receipt>)>,
}

impl Site {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<(String, Vec<Receipt>)>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        let text = "[host]\nname = \"gw.example\"\n";
        let (config, _) = crate::config::check_text(text, &path, &path, &|_| None).unwrap();
        let store = SqliteStore::open(&folder.path().join("store"), SqliteOptions::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let (sender, receiver) = mpsc::unbounded_channel();
        let settler = Settler::new(
            store.clone(),
            Arc::new(CurrentTopology::new(Topology::build(config))),
            Arc::new(Metrics::default()),
            Arc::default(),
            sender.clone(),
            Arc::new(|_, _| {}),
        );
        (Self { _folder: folder, store, settler: Arc::new(settler), sender }, receiver)
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

    fn is_there(&self, item: ItemId) -> bool {
        self.store.index().item_view(item).is_some()
    }

    async fn left(&self) -> Vec<String> {
        let all = self.store.receipts("fax".to_owned(), None, 10_000).await.unwrap();
        all.into_iter().map(|r| r.id).collect()
    }
}

pub(super) fn delivered(id: &str) -> Receipt {
    let state = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived"));
    Receipt { id: id.to_owned(), state, details: Vec::new() }
}

fn arrivals(ids: &[&str]) -> Vec<Arrival> {
    ids.iter().map(|id| Arrival::new("fax".to_owned(), delivered(id))).collect()
}

#[tokio::test]
async fn a_batch_settles_items_files_and_all_receipts_of_one_item() {
    let (site, receiver) = Site::new();
    let segments: Vec<String> = (0..10).map(|n| format!("S-{n}")).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let long = site.pending(&segments).await;
    let short = site.pending(&["R-1"]).await;
    for n in 0..300 {
        site.watched(&format!("file-{n}")).await;
    }
    let files: Vec<String> = (0..300).map(|n| format!("file-{n}")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut receipts = Receipts::new(site.settler.clone(), receiver);
    let all = [&segments[..], &files[..], &["R-1", "R-1", "file-7", "foreign"]].concat();
    receipts.take(arrivals(&all)).await;
    assert_eq!(site.left().await, Vec::<String>::new());
    assert!(!site.is_there(long) && !site.is_there(short));
    // The repeated ones and the foreign one are looked at again for a while.
    assert_eq!(receipts.early.take_all().len(), 3);
}

#[tokio::test]
async fn an_item_in_the_hands_of_a_delivery_holds_up_no_other_receipt() {
    let (site, receiver) = Site::new();
    let busy = site.pending(&["R-busy"]).await;
    let free = site.pending(&["R-free"]).await;
    let mut receipts = Receipts::new(site.settler.clone(), receiver);
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
    let (site, receiver) = Site::new();
    let task = tokio::spawn(Receipts::new(site.settler.clone(), receiver).run(CancellationToken::new()));
    site.sender.send(("fax".to_owned(), vec![delivered("R-1"), delivered("R-2")])).unwrap();
    let other = site.pending(&["R-0"]).await;
    site.sender.send(("fax".to_owned(), vec![delivered("R-0")])).unwrap();
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
    let (site, receiver) = Site::new();
    let mut items = Vec::new();
    for n in 0..BATCH + 10 {
        let id = format!("R-{n}");
        items.push(site.pending(&[&id]).await);
        site.sender.send(("fax".to_owned(), vec![delivered(&id)])).unwrap();
    }
    let stop = CancellationToken::new();
    stop.cancel();
    Receipts::new(site.settler.clone(), receiver).run(stop).await;
    assert_eq!(items.iter().filter(|item| site.is_there(**item)).count(), 0);
    assert!(site.sender.send(("fax".to_owned(), Vec::new())).is_err());
}
