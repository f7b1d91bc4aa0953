//! What must hold of a dispatcher, over a real store and a far end that does as it is told.

mod breaking;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use postern_agent::Tick;
use postern_model::{
    Deferral, DeliveryReport, DeliveryRequest, FailureClass, ItemId, MessageId, NotOpened, Origin, Outcome,
    Pending, Receipt, ReceiptState, RecipientOutcome, Refusal, Response, StateChange,
};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Intent, Loaded, Settle, Store};
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::task::JoinHandle;

use super::*;
use crate::breaker::{AgentBreaker, BreakerLimits};
use crate::connector::{BoxFuture, Connection, ConnectorState};
use crate::metrics::Metrics;
use crate::receipts::ReceiptDoor;
use crate::settle::{QueueEffect, Settlement};
use crate::topology::{CurrentTopology, Topology};

const LIMITS: DispatchLimits = DispatchLimits {
    connections: 1,
    per_destination: 1,
    messages: 20,
    idle: Duration::from_secs(3_600),
    keep_open: false,
    settle_window: 8,
};

/// What the far end does with one item.
enum Act {
    Deliver,
    Fail,
    FailQueue,
    Panic,
    /// It has closed the connection already.
    Gone,
    /// Delivers when so many are being delivered at the same time.
    Together(Arc<Barrier>),
    /// Delivers when the queue was refused.
    WhenRefused(Arc<dyn Store>),
    /// Takes it, and a receipt will tell.
    Accept,
}

/// The far end. It tells what happens: `open a`, `deliver a`, `batch a 3`, `tick a`, `close a`.
#[derive(Clone)]
struct FarEnd {
    /// How many items it takes at once.
    batch: usize,
    /// How often its idle connections want to be called.
    ticks: Option<Duration>,
    /// What a tick answers, if not that all is well.
    tick_refusal: Option<Refusal>,
    /// Receipts that each tick brings.
    tick_receipts: Vec<Receipt>,
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// How many connections may be open; others are refused.
    room: usize,
    opened: Arc<Mutex<usize>>,
    breaker: Option<Arc<AgentBreaker>>,
    told: mpsc::UnboundedSender<String>,
}

impl FarEnd {
    fn tell(&self, what: &str, hop: &NextHop) {
        let _ = self.told.send(format!("{what} {}", hop.destination));
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, usize> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for FarEnd {
    fn name(&self) -> &'static str {
        "fax"
    }

    fn open<'a>(&'a self, hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
        Box::pin(async move {
            let mut opened = self.opened();
            if *opened >= self.room {
                let busy = Deferral::new(421, (4, 7, 0), "one connection at a time", "service-unavailable");
                return Err(Refusal::DeferQueue(busy).into());
            }
            *opened += 1;
            self.tell("open", hop);
            Ok(Box::new(Call { far_end: self.clone(), hop: hop.clone() }) as Box<dyn Connection>)
        })
    }

    fn poll_receipts<'a>(&'a self, _ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    fn breaker(&self) -> Option<&Arc<AgentBreaker>> {
        self.breaker.as_ref()
    }

    fn state(&self) -> ConnectorState {
        ConnectorState::Ready
    }
}

struct Call {
    far_end: FarEnd,
    hop: NextHop,
}

impl Drop for Call {
    fn drop(&mut self) {
        *self.far_end.opened() -= 1;
    }
}

impl Connection for Call {
    fn label(&self) -> &'static str {
        "far.example"
    }

    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport> {
        Box::pin(async move {
            let act = self.far_end.acts.lock().unwrap().pop_front();
            match act.unwrap_or(Act::Deliver) {
                Act::Deliver => {}
                Act::Accept => {
                    self.far_end.tell("accept", &self.hop);
                    return all(request, &accepted());
                }
                Act::Fail => {
                    self.far_end.tell("refuse", &self.hop);
                    let class = FailureClass::default();
                    let failed =
                        Outcome::Failed { response: Response::new(550, (5, 1, 1), "unknown"), class };
                    let outcomes =
                        request.recipients().map(|r| RecipientOutcome::new(r.index, failed.clone()));
                    return DeliveryReport { outcomes: outcomes.collect(), ..DeliveryReport::default() };
                }
                Act::FailQueue => {
                    self.far_end.tell("refuse", &self.hop);
                    let response = Response::new(550, (5, 7, 8), "wrong account");
                    let refusal = Refusal::FailQueue { response, class: FailureClass::default() };
                    return DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() };
                }
                Act::Panic => panic!("a fault in the connector"),
                Act::Gone => {
                    let fault = Deferral::new(451, (4, 4, 2), "connection closed", "service-unavailable");
                    return DeliveryReport { not_begun: true, ..DeliveryReport::broken(fault) };
                }
                Act::Together(barrier) => {
                    let _ = barrier.wait().await;
                }
                Act::WhenRefused(store) => {
                    while store.index().failures(&self.hop) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            self.far_end.tell("deliver", &self.hop);
            delivered(request)
        })
    }

    fn deliver_batch<'a>(
        &'a mut self,
        requests: &'a [DeliveryRequest],
    ) -> BoxFuture<'a, Vec<DeliveryReport>> {
        Box::pin(async move {
            self.far_end.tell(&format!("batch {}", requests.len()), &self.hop);
            let act = self.far_end.acts.lock().unwrap().pop_front();
            let accepts = matches!(act, Some(Act::Accept));
            let report = |r| if accepts { all(r, &accepted()) } else { delivered(r) };
            requests.iter().map(report).collect()
        })
    }

    fn ticks(&self) -> bool {
        self.far_end.ticks.is_some()
    }

    fn tick(&mut self) -> BoxFuture<'_, Result<Tick, Refusal>> {
        Box::pin(async move {
            self.far_end.tell("tick", &self.hop);
            match self.far_end.tick_refusal.clone() {
                Some(refusal) => Err(refusal),
                None => Ok(Tick {
                    receipts: self.far_end.tick_receipts.clone(),
                    next: self.far_end.ticks.unwrap_or(Duration::MAX),
                }),
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            self.far_end.tell("close", &self.hop);
        })
    }
}

fn delivered(request: &DeliveryRequest) -> DeliveryReport {
    all(request, &Outcome::Delivered(Response::new(250, (2, 0, 0), "sent")))
}

fn accepted() -> Outcome {
    let response = Response::new(250, (2, 0, 0), "taken");
    Outcome::Accepted(Pending { receipt_ids: vec!["r".to_owned()], response, expires_after: None })
}

fn all(request: &DeliveryRequest, outcome: &Outcome) -> DeliveryReport {
    let outcomes = request.recipients().map(|r| RecipientOutcome::new(r.index, outcome.clone()));
    DeliveryReport { outcomes: outcomes.collect(), ..DeliveryReport::default() }
}

/// A dispatcher that runs, with what it stands between.
struct World {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    told: mpsc::UnboundedReceiver<String>,
    far_end: FarEnd,
    settler: Arc<Settler>,
    running: Option<JoinHandle<()>>,
}

impl World {
    fn new(room: usize, acts: impl IntoIterator<Item = Act>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        std::fs::write(&path, "[host]\nname = \"gw1.example\"\n").unwrap();
        let (config, _) = crate::config::load(&path).unwrap();
        // Nothing is kept in memory, so that every item is read from the disk.
        let options = SqliteOptions { fresh_bytes: 0, ..SqliteOptions::default() };
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&folder.path().join("data"), options).unwrap());
        let metrics = Arc::new(Metrics::default());
        let settler = Arc::new(Settler::new(
            store.clone(),
            Arc::new(CurrentTopology::new(Topology::build(config))),
            metrics.clone(),
            Arc::new(Notify::new()),
            ReceiptDoor::open().0,
            Arc::default(),
        ));
        let (sender, told) = mpsc::unbounded_channel();
        let acts = Arc::new(Mutex::new(acts.into_iter().collect()));
        let far_end = FarEnd {
            batch: 1,
            ticks: None,
            tick_refusal: None,
            tick_receipts: Vec::new(),
            acts,
            room,
            opened: Arc::default(),
            breaker: None,
            told: sender,
        };
        let stop = CancellationToken::new();
        Self { folder, store, metrics, stop, told, far_end, settler, running: None }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn start(&mut self, limits: DispatchLimits) {
        let dispatcher = Dispatcher::new(Arc::new(self.far_end.clone()), self.settler.clone(), limits);
        self.running = Some(tokio::spawn(dispatcher.run(self.stop.clone())));
    }

    /// A message with one item for the destination, due now.
    async fn put(&self, destination: &str) -> ItemId {
        self.put_as(destination, 0, None).await
    }

    /// The same, of an item that was there when the agent trapped, so many times.
    async fn put_after(&self, destination: &str, traps: u32) -> ItemId {
        self.put_as(destination, traps, None).await
    }

    /// As [`Self::put`], with a time when it expires.
    async fn put_until(&self, destination: &str, expires_at: Option<Timestamp>) -> ItemId {
        self.put_as(destination, 0, expires_at).await
    }

    async fn put_as(&self, destination: &str, traps: u32, expires_at: Option<Timestamp>) -> ItemId {
        let mut put = sample::small(&hop(destination));
        let now = Timestamp::now();
        for item in &mut put.items {
            (item.enqueued_at, item.next_attempt, item.expires_at) = (now, now, expires_at);
            item.traps = traps;
        }
        let id = put.items[0].id;
        self.store.put(put).await.unwrap();
        id
    }

    async fn next(&mut self) -> String {
        self.told.recv().await.expect("the far end is there")
    }

    /// Waits until the far end has told all this, in this order.
    async fn expect(&mut self, what: &[&str]) {
        for what in what {
            assert_eq!(self.next().await, *what);
        }
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.running.take().expect("it was started").await.expect("it ends in good order");
    }

    fn open_connections(&self) -> String {
        let text = self.metrics.render(&[], true);
        let line = text.lines().find(|line| line.starts_with("postern_connections{"));
        line.expect("connections are counted").rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

fn hop(destination: &str) -> NextHop {
    NextHop::new("fax", destination)
}

/// Makes the record of the oldest item unreadable, behind the store's back.
fn spoil_oldest(data: &Path) {
    let database = rusqlite::Connection::open(data.join("queue.db")).unwrap();
    let sql = "UPDATE items SET item = 'spoilt' WHERE key = (SELECT min(key) FROM items)";
    assert_eq!(database.execute(sql, []).unwrap(), 1);
}

#[tokio::test]
async fn an_item_that_cannot_be_read_does_not_hold_up_its_neighbours() {
    let mut world = World::new(1, []);
    let spoilt = world.put("a").await;
    world.put("a").await;
    world.store.flush().await.unwrap();
    spoil_oldest(&world.data());
    world.start(LIMITS);
    world.expect(&["open a", "deliver a"]).await;
    world.stop().await;
    let view = world.store.index().item_view(spoilt).expect("it is kept");
    assert!(view.leased && view.attempts == 0, "it is left alone for a while: {view:?}");
    let hops = world.store.index().hops();
    assert_eq!((hops.len(), hops[0].items, hops[0].retry_at), (1, 1, None));
}

#[tokio::test]
async fn overdue_items_are_settled_side_by_side_and_a_disk_that_takes_nothing_holds_up_no_stop() {
    const WINDOW: usize = 3;
    let world = World::new(1, []);
    let mut items = Vec::new();
    for _ in 0..WINDOW + 2 {
        items.push(world.put_until("a", Some(Timestamp::now())).await);
    }
    // Whoever holds the write lock keeps everything from the disk, as a full one does.
    let other = rusqlite::Connection::open(world.data().join("queue.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, index) = (taken.clone(), world.store.index().clone());
    let leases = items.into_iter().filter_map(move |item| {
        count.fetch_add(1, Ordering::Relaxed);
        index.lease_item(item)
    });
    let (settler, stop) = (world.settler.clone(), world.stop.clone());
    let sweep = tokio::spawn(async move { settler.settle_overdue(leases, WINDOW, &stop).await });
    // Counted as it is handed in.
    let handed_in = format!("postern_recipients_total{{connector=\"fax\",what=\"expired\"}} {WINDOW}");
    while !world.metrics.render(&[], true).contains(&handed_in) {
        tokio::task::yield_now().await;
    }
    world.stop.cancel();
    sweep.await.unwrap();
    assert_eq!(taken.load(Ordering::Relaxed), WINDOW, "no more than the window");
    other.execute_batch("ROLLBACK").unwrap();
    world.store.flush().await.unwrap();
    let left = world.store.index().item_views(None, None, 10);
    assert_eq!(left.iter().map(|item| item.leased).collect::<Vec<_>>(), [false; 2]);
}

#[tokio::test]
async fn a_panic_of_a_connector_is_an_attempt_that_failed() {
    let mut world = World::new(1, [Act::Panic]);
    let (first, _) = (world.put("a").await, world.put("a").await);
    world.start(LIMITS);
    world.expect(&["open a", "open a", "deliver a"]).await;
    world.stop().await;
    let view = world.store.index().item_view(first).expect("it is kept");
    assert_eq!((view.attempts, view.leased), (1, false));
    assert!(view.next_attempt.unwrap() > Timestamp::now(), "it is not due at once");
    let loaded = world.store.load(first).await.unwrap().unwrap();
    assert_eq!(loaded.item.traps, 1);
    let said = loaded.item.last_error.clone().unwrap();
    assert!(said.contains("the connector's code failed: a fault in the connector"), "{said}");
    assert_eq!(world.open_connections(), "0");
}

#[tokio::test]
async fn a_queue_that_an_agent_gave_up_is_suspended_and_that_is_tracked() {
    let mut world = World::new(1, [Act::FailQueue]);
    world.put("a").await;
    world.start(LIMITS);
    world.expect(&["open a", "refuse a"]).await;
    world.stop().await;
    world.store.flush().await.unwrap();
    let hops = world.store.index().hops();
    let reason = "the agent asked to fail the queue: 550 5.7.8 wrong account";
    assert_eq!((hops[0].items, hops[0].suspended.as_deref()), (1, Some(reason)));
    let events = world.store.events(0, 100).await.unwrap();
    let told: Vec<_> = events.iter().filter(|(_, e)| e.message == MessageId::NONE).map(|(_, e)| e).collect();
    assert_eq!((told.len(), &*told[0].connector, told[0].destination.as_deref()), (1, "fax", Some("a")));
    let details = [("operation", "suspend-queue"), ("by", "agent"), ("reason", reason)];
    assert_eq!(told[0].details, details.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

impl World {
    /// A DSN of ours, due now.
    async fn put_dsn(&self, destination: &str) -> ItemId {
        let id = MessageId::generate();
        let mut put = sample::put_as(id, Origin::Generated, &[hop(destination)], sample::content(300_000));
        let now = Timestamp::now();
        (put.items[0].enqueued_at, put.items[0].next_attempt) = (now, now);
        let item = put.items[0].id;
        self.store.put(put).await.unwrap();
        item
    }
}

#[tokio::test]
async fn a_dsn_that_is_refused_lies_in_bad_mail_before_it_leaves_its_queue() {
    let mut world = World::new(1, [Act::Fail]);
    let item = world.put_dsn("a").await;
    world.start(LIMITS);
    world.expect(&["open a", "refuse a"]).await;
    world.stop().await;
    assert!(world.store.index().is_empty());
    let file = world.data().join("badmail").join(crate::bad_mail::file_name(item.message));
    assert_eq!(std::fs::metadata(file).unwrap().len(), 300_000);
    assert!(world.metrics.render(&[], true).contains("postern_bad_mail_total 1\n"));
}

#[tokio::test]
async fn a_dsn_stays_in_its_queue_while_bad_mail_cannot_be_written() {
    let mut world = World::new(1, [Act::Fail]);
    std::fs::write(world.data().join("badmail"), "no folder").unwrap();
    let item = world.put_dsn("a").await;
    world.start(LIMITS);
    world.expect(&["open a", "refuse a"]).await;
    world.stop().await;
    let view = world.store.index().item_view(item).expect("it is kept");
    assert!(view.leased, "it is left alone for a while: {view:?}");
    assert!(world.metrics.render(&[], true).contains("postern_bad_mail_total 0\n"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_another_takes_its_slot() {
    let mut world = World::new(1, []);
    world.start(LIMITS);
    for destination in ["a", "b", "a"] {
        world.put(destination).await;
        let (open, deliver) = (format!("open {destination}"), format!("deliver {destination}"));
        let mut told = world.next().await;
        if told.starts_with("close") {
            told = world.next().await;
        }
        assert_eq!(told, open);
        assert_eq!(world.next().await, deliver);
    }
    world.stop().await;
    world.expect(&["close a"]).await;
    assert_eq!((world.store.index().len(), world.open_connections().as_str()), (0, "0"));
}

#[tokio::test]
async fn several_idle_connections_to_one_destination_are_all_closed() {
    let barrier = Arc::new(Barrier::new(2));
    let mut world = World::new(2, [Act::Together(barrier.clone()), Act::Together(barrier)]);
    let _ = (world.put("a").await, world.put("a").await);
    world.start(DispatchLimits { connections: 2, per_destination: 2, ..LIMITS });
    world.expect(&["open a", "open a", "deliver a", "deliver a"]).await;
    world.stop().await;
    world.expect(&["close a", "close a"]).await;
    assert_eq!((*world.far_end.opened(), world.open_connections().as_str()), (0, "0"));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_costs_no_attempt() {
    let mut world = World::new(1, [Act::Deliver, Act::Gone]);
    world.start(LIMITS);
    world.put("a").await;
    world.expect(&["open a", "deliver a"]).await;
    world.put("a").await;
    world.expect(&["open a", "deliver a"]).await;
    world.stop().await;
    assert_eq!((world.store.index().len(), world.store.index().failures(&hop("a"))), (0, 0));
}

#[tokio::test]
async fn a_new_connection_that_is_closed_at_once_puts_the_queue_into_retry() {
    let mut world = World::new(1, [Act::Gone]);
    let item = world.put("a").await;
    world.start(LIMITS);
    world.expect(&["open a"]).await;
    world.stop().await;
    let view = world.store.index().item_view(item).unwrap();
    assert_eq!((view.attempts, world.store.index().failures(&hop("a"))), (1, 1));
}

#[tokio::test]
async fn an_older_connection_does_not_take_back_a_refusal() {
    let mut world = World::new(1, []);
    let waits = Act::WhenRefused(world.store.clone());
    world.far_end.acts.lock().unwrap().push_back(waits);
    let _ = (world.put("a").await, world.put("a").await);
    world.start(DispatchLimits { connections: 2, per_destination: 2, ..LIMITS });
    world.expect(&["open a", "deliver a"]).await;
    world.stop().await;
    let hops = world.store.index().hops();
    assert_eq!((hops[0].items, hops[0].failures), (1, 1));
    assert!(hops[0].retry_at.is_some());
}

#[tokio::test]
async fn due_items_share_a_call_up_to_the_batch_size_and_to_what_a_connection_may_deliver() {
    let mut world = World::new(1, []);
    world.far_end.batch = 3;
    for _ in 0..7 {
        world.put("a").await;
    }
    world.start(DispatchLimits { messages: 5, ..LIMITS });
    world.expect(&["open a", "batch 3 a", "batch 2 a", "close a", "open a", "batch 2 a"]).await;
    world.stop().await;
    assert_eq!(world.store.index().len(), 0);
}

#[tokio::test]
async fn receipts_say_which_items_shared_the_call_that_brought_them() {
    let mut world = World::new(1, [Act::Accept, Act::Accept, Act::Accept]);
    world.far_end.batch = 2;
    for _ in 0..5 {
        world.put("a").await;
    }
    world.start(LIMITS);
    world.expect(&["open a", "batch 2 a", "batch 2 a", "accept a"]).await;
    world.stop().await;
    let found = world.store.find_receipts("fax".to_owned(), "r".to_owned()).await.unwrap();
    let mut calls: Vec<_> = found.waiting.into_iter().map(|receipt| receipt.call).collect();
    calls.sort();
    let [alone, first, same, second, other] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((alone, first, second), (&None, same, other));
    assert_ne!(first, second);
}

#[tokio::test]
async fn an_item_that_was_there_when_the_agent_trapped_is_delivered_alone() {
    let mut world = World::new(1, []);
    world.far_end.batch = 10;
    for traps in [0, 1, 0, 0] {
        world.put_after("a", traps).await;
    }
    world.start(LIMITS);
    world.expect(&["open a", "deliver a", "deliver a", "batch 2 a"]).await;
    world.stop().await;
    assert_eq!(world.store.index().len(), 0);
}

#[tokio::test]
async fn an_idle_connection_is_called_as_often_as_it_wishes_and_closed_all_the_same() {
    let mut world = World::new(1, []);
    world.far_end.ticks = Some(Duration::from_millis(1));
    world.start(DispatchLimits { idle: Duration::from_millis(100), ..LIMITS });
    world.put("a").await;
    world.expect(&["open a", "deliver a", "tick a", "tick a"]).await;
    while world.next().await != "close a" {}
    world.stop().await;
}

#[tokio::test]
async fn a_connection_whose_receipts_could_not_be_kept_gets_no_other_call() {
    let mut world = World::new(1, []);
    world.far_end.ticks = Some(Duration::from_millis(1));
    // Nobody is behind the door that they go to.
    let arrived = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived"));
    world.far_end.tick_receipts = vec![Receipt::new("r", arrived)];
    world.start(LIMITS);
    for _ in 0..2 {
        world.put("a").await;
        // Neither another tick nor a close, in which the far end could be told that the receipt is in good hands.
        world.expect(&["open a", "deliver a", "tick a"]).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_connection_stays_open_while_receipts_are_pending_where_that_is_wished() {
    let mut world = World::new(1, [Act::Accept]);
    world.far_end.ticks = Some(Duration::from_millis(1));
    world.start(DispatchLimits { idle: Duration::from_millis(5), keep_open: true, ..LIMITS });
    world.put("a").await;
    world.expect(&["open a", "accept a"]).await;
    // Far longer than it may be idle.
    for _ in 0..100 {
        assert_eq!(world.next().await, "tick a");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_on_an_idle_connection_closes_it_and_puts_its_queue_into_retry() {
    let mut world = World::new(1, []);
    let deferral = Deferral::new(421, (4, 3, 2), "going down", "service-unavailable");
    world.far_end.ticks = Some(Duration::from_millis(1));
    world.far_end.tick_refusal = Some(Refusal::DeferQueue(deferral));
    world.start(LIMITS);
    world.put("a").await;
    world.expect(&["open a", "deliver a", "tick a", "close a"]).await;
    let waiting = world.put("a").await;
    world.stop().await;
    let hops = world.store.index().hops();
    assert_eq!((hops[0].items, hops[0].failures), (1, 1));
    assert!(hops[0].last_error.as_deref().is_some_and(|e| e.contains("going down")));
    assert_eq!(world.store.index().item_view(waiting).map(|view| view.attempts), Some(0));
}

/// The intent of the item's next attempt, on the disk and in memory.
async fn intended(world: &World, item: ItemId) {
    let intent =
        Intent { item, attempt: 1, at: Timestamp::now(), idempotency_keys: vec![format!("{item}-0")] };
    world.store.put_intent(intent).await.unwrap();
    assert_eq!(world.settler.load_intents().await.unwrap(), 1);
}

#[tokio::test]
async fn an_intent_is_forgotten_when_its_end_is_durable_and_not_when_that_was_refused() {
    let world = World::new(1, []);
    let id = world.put("a").await;
    intended(&world, id).await;
    let item = world.store.load(id).await.unwrap().unwrap().item;
    let end = |of: ItemId| Settlement {
        write: Settle { attempt_ended: true, ..Settle::gone_silently(of) },
        queue: QueueEffect::None,
        next_attempt: None,
        bad_mail: false,
    };
    let lease = || world.store.index().lease_item(id).unwrap();
    let another = ItemId { ordinal: 9, ..id };
    assert!(world.settler.hand_in(lease(), &item, end(another)).await.is_err());
    assert!(world.settler.intents.is_open(id), "the doubt is still there");
    world.settler.hand_in(lease(), &item, end(id)).await.unwrap();
    assert!(!world.settler.intents.is_open(id));
    assert!(world.store.intents().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_agent_wrote_to_its_state_is_settled_with_its_outcomes_or_neither_is() {
    let world = World::new(1, []);
    let id = world.put("a").await;
    let Loaded { message, item, content } = world.store.load(id).await.unwrap().unwrap();
    let request = DeliveryRequest { message, item, content, attempt: 1 };
    // A key that no store keeps: not a conflict and not the quota, but a write that fails.
    let change = StateChange { checks: Vec::new(), writes: vec![(String::new(), Some(b"x".to_vec()))] };
    let report = DeliveryReport { state: Some(change), ..delivered(&request) };
    let lease = world.store.index().lease_item(id).unwrap();
    let mut in_flight = settler::InFlight::new(8);
    let over = settler::Over { speaks_for_queue: true, ..settler::Over::default() };
    world.settler.settle_attempt(lease, &request, report, over, &mut in_flight).await;
    in_flight.drain().await;
    assert!(world.store.index().item_view(id).is_some(), "it is still to be delivered");
    assert!(world.store.counters().await.unwrap().fates.is_empty());
}
