//! What must hold when something was handed over of an item whose recipients are to be settled otherwise, over a real
//! store.

use std::sync::Mutex;

use postern_model::{
    Deferral, EventKind, Fate, Item, NotOpened, Receipt, ReceiptState, RecipientState, Response,
};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Settle, Store};

use super::*;
use crate::connector::{
    BoxFuture, Connection, ConnectorState, CurrentConnectors, End, Held, Whereabouts, Withdrawal,
};
use crate::metrics::Metrics;
use crate::receipts::ReceiptDoor;
use crate::settle::{self, QueueEffect, Settlement};
use crate::topology::{CurrentTopology, Topology};

/// A connector whose file is where it is told, and which notes what it is told.
struct Folder {
    whereabouts: Whereabouts,
    told: Arc<Mutex<Vec<String>>>,
}

impl Folder {
    fn tell(&self, what: &str) {
        self.told.lock().unwrap().push(what.to_owned());
    }
}

impl Connector for Folder {
    fn name(&self) -> &str {
        "fax"
    }

    fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
        unreachable!("nothing is delivered")
    }

    fn poll_receipts<'a>(&'a self, _ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        unreachable!("nothing is polled")
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn state(&self) -> ConnectorState {
        ConnectorState::Ready
    }

    fn forget(&self, receipts: &[String]) {
        self.tell(&format!("forget {}", receipts.join(" ")));
    }

    fn withdraw<'a>(&'a self, _item: &'a Item) -> BoxFuture<'a, Withdrawal> {
        Box::pin(async {
            self.tell("withdraw");
            let told = self.told.clone();
            let held = matches!(self.whereabouts, Whereabouts::Withdrawn { .. })
                .then(|| Held::new(move |end: End| told.lock().unwrap().push(format!("{end:?}"))));
            Withdrawal { whereabouts: self.whereabouts.clone(), held }
        })
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    settler: Settler,
    told: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(whereabouts: Whereabouts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        let text = "[host]\nname = \"gw.example\"\n";
        let (config, _) = crate::config::check_text(text, &path, &path, &|_| None).unwrap();
        let store = SqliteStore::open(&folder.path().join("store"), SqliteOptions::default()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let (connectors, told) = (Arc::<CurrentConnectors>::default(), Arc::default());
        connectors.set(Arc::new(Folder { whereabouts, told: Arc::clone(&told) }));
        let settler = Settler::new(
            store.clone(),
            Arc::new(CurrentTopology::new(Topology::build(config))),
            Arc::new(Metrics::default()),
            Arc::default(),
            ReceiptDoor::open().0,
            connectors,
        );
        Self { _folder: folder, store, settler, told }
    }

    /// An item whose recipient has waited for `file` until now.
    async fn overdue(&self) -> Item {
        let put = sample::small(&sample::hop("FAX:*"));
        let mut item = sample::pending(put.items[0].clone(), Timestamp::UNIX_EPOCH);
        self.store.put(put).await.unwrap();
        if let RecipientState::Pending { receipt_ids, .. } = &mut item.recipients[0].state {
            *receipt_ids = vec!["file".to_owned()];
        }
        let mut settle = Settle::replace(item.clone());
        settle.receipts = vec![sample::receipt(&item, "file")];
        self.store.settle(settle).await.unwrap();
        item
    }

    fn lease(&self, item: &Item) -> postern_store::Lease {
        self.store.index().lease_item(item.id).unwrap()
    }

    async fn fates(&self) -> Vec<(Fate, u64)> {
        self.store.counters().await.unwrap().fates.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

fn withdrawn() -> Whereabouts {
    Whereabouts::Withdrawn { file: "file".to_owned() }
}

/// A settlement of an item that says nothing.
fn gone(item: postern_model::ItemId) -> Settlement {
    Settlement {
        write: Settle::gone_silently(item),
        queue: QueueEffect::None,
        next_attempt: None,
        bad_mail: false,
    }
}

#[tokio::test]
async fn what_is_overdue_is_taken_back_before_it_is_settled_and_done_with_afterwards() {
    let world = World::new(withdrawn());
    let item = world.overdue().await;
    world.settler.settle_overdue([world.lease(&item)], 1, &CancellationToken::new()).await;
    assert_eq!(world.told(), ["withdraw", "forget file", "Settled"]);
    assert_eq!(world.fates().await, [(Fate::Expired, 1)]);
    assert!(world.store.index().item_view(item.id).is_none());
}

#[tokio::test]
async fn what_turns_out_to_be_taken_is_settled_by_its_receipt() {
    let state = ReceiptState::Relayed(Response::new(250, (2, 0, 0), "taken"));
    let world = World::new(Whereabouts::Taken(Receipt::new("file", state)));
    let item = world.overdue().await;
    world.settler.settle_overdue([world.lease(&item)], 1, &CancellationToken::new()).await;
    assert_eq!(
        (world.told(), world.fates().await),
        (vec!["withdraw".into(), "forget file".into()], vec![(Fate::Relayed, 1)])
    );
    let events = world.store.events(0, 100).await.unwrap();
    assert!(events.iter().any(|(_, event)| event.kind == EventKind::Taken));
}

#[tokio::test]
async fn a_settlement_that_the_store_refuses_puts_back_what_was_taken_for_it() {
    let world = World::new(withdrawn());
    let (item, other) = (world.overdue().await, world.overdue().await);
    let held = world.settler.withdraw(&item).await.held;
    let refused = world.settler.hand_in(world.lease(&item), &item, gone(other.id)).holding(held).await;
    assert!(refused.is_err());
    assert_eq!(world.told(), ["withdraw", "PutBack"]);
}

#[tokio::test]
async fn a_settlement_that_nobody_waits_for_leaves_the_end_to_the_next_start() {
    let world = World::new(withdrawn());
    let item = world.overdue().await;
    let held = world.settler.withdraw(&item).await.held;
    drop(world.settler.hand_in(world.lease(&item), &item, gone(item.id)).holding(held));
    world.store.flush().await.unwrap();
    assert_eq!(world.told(), ["withdraw"], "it is durable, and must not be put back");
}

#[tokio::test]
async fn what_time_does_not_decide_is_not_taken_back() {
    let world = World::new(withdrawn());
    let put = sample::small(&sample::hop("FAX:*"));
    let mut item = put.items[0].clone();
    let past = Timestamp::UNIX_EPOCH;
    (item.delay_dsn_at, item.expires_at) = (Some(past), None);
    world.store.put(postern_store::Put { items: vec![item.clone()], ..put }).await.unwrap();
    assert!(!settle::decides_by_time(&item, Timestamp::now()));
    world.settler.settle_overdue([world.lease(&item)], 1, &CancellationToken::new()).await;
    assert_eq!(world.told(), Vec::<String>::new());
    assert!(world.store.load(item.id).await.unwrap().unwrap().item.delay_dsn_at.is_none());
}
