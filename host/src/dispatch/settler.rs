//! Settler: between the pure settlement and the store. It reads what a settlement needs, hands the write in, and
//! does what follows for the queue, the receipts, the outbox and the counters.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Content, Deferral, DeliveryReport, DeliveryRequest, Item, ItemId, ItemState, MessageInfo, NextHop,
    Outcome, Receipt, Refusal, Return, StateChange, TrackingEvent,
};
use postern_store::{AgentStateChange, Commit, Lease, Loaded, QueueSetting, SettleDone, Store, StoreError};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::intents::Intents;
use crate::bad_mail;
use crate::connector::{CurrentConnectors, HandedIn, Held, Whereabouts, Withdrawal, doors};
use crate::metrics::Metrics;
use crate::quarantine::Quarantine;
use crate::receipts::ReceiptDoor;
use crate::recordings::Recordings;
use crate::retry;
use crate::settle::{self, Context, QueueEffect, Settlement};
use crate::topology::{CurrentTopology, Topology};

/// The most of a message's headers that is kept for a DSN, in bytes.
const MAX_DSN_HEADERS: usize = 64 * 1024;
/// How long an item that cannot be read is left alone before the next look.
const UNREADABLE_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// Items that are left alone at the same time; a queue with yet another one waits as a whole.
const MAX_UNREADABLE: usize = 1_000;
/// Pause after writes that the store refused, so that their items, which are due again, do not make a tight loop.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection waits until the receipts that it brought are on the disk. A disk that is full may take for ever.
const RECEIPTS_KEPT_WITHIN: Duration = Duration::from_secs(30);

/// Receipts on their way from a connection to where they are settled.
pub type ReceiptSender = mpsc::UnboundedSender<(String, Vec<Receipt>)>;

/// Shared by all dispatchers, the receipts and the operators.
pub struct Settler {
    store: Arc<dyn Store>,
    topology: Arc<CurrentTopology>,
    metrics: Arc<Metrics>,
    /// Rings when DSNs are owed.
    outbox: Arc<Notify>,
    receipts: ReceiptDoor,
    /// Told which receipts to look out for once they are durable, and asked to take back what they handed over.
    connectors: Arc<CurrentConnectors>,
    /// Places for items that cannot be read.
    unreadable: Arc<Semaphore>,
    /// Hand-overs of which nobody has seen the end.
    pub(super) intents: Arc<Intents>,
    /// What is known of items that broke their agents.
    quarantine: Arc<Quarantine>,
    recordings: Arc<Recordings>,
}

/// How an attempt was settled.
pub(super) struct Attempted {
    /// Whether it showed that the queue works.
    pub healthy: bool,
    /// Why what the agent wrote to its state was not kept; its outcomes were deferred then.
    pub not_kept: Option<Deferral>,
}

/// The connection that an attempt went over; the default when none could be opened.
#[derive(Clone, Copy, Default)]
pub(super) struct Over<'a> {
    /// What the far end calls itself.
    pub label: &'a str,
    /// How often its queue had failed in a row when it was opened.
    pub failures: u32,
    /// How often it has failed in a row now, before this attempt.
    pub failures_now: u32,
    /// Whether the report says something about the queue. What happened to a whole batch happened to the queue once.
    pub speaks_for_queue: bool,
    /// Names the call, where it was about several items.
    pub call: Option<&'a str>,
}

impl Settler {
    /// Joins what settling needs.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        topology: Arc<CurrentTopology>,
        metrics: Arc<Metrics>,
        outbox: Arc<Notify>,
        receipts: ReceiptDoor,
        connectors: Arc<CurrentConnectors>,
    ) -> Self {
        let unreadable = Arc::new(Semaphore::new(MAX_UNREADABLE));
        let host = &topology.get().config.host;
        let quarantine = Quarantine::open(&host.data_directory, host.quarantine_records);
        let recordings = Recordings::open(&host.data_directory, host.recordings);
        let intents = Arc::default();
        Self {
            store,
            topology,
            metrics,
            outbox,
            receipts,
            connectors,
            unreadable,
            intents,
            quarantine,
            recordings,
        }
    }

    /// Takes back what was handed over of a leased item, before its recipients are settled in another way than by an
    /// attempt or a receipt.
    pub async fn withdraw(&self, item: &Item) -> Withdrawal {
        match self.connectors.withdrawing(&item.next_hop.connector) {
            Some(connector) => connector.withdraw(item).await,
            None => Withdrawal::without(Whereabouts::Nothing),
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What is known of items that broke their agents.
    #[must_use]
    pub fn quarantine(&self) -> &Arc<Quarantine> {
        &self.quarantine
    }

    /// Recorded deliveries.
    #[must_use]
    pub fn recordings(&self) -> &Arc<Recordings> {
        &self.recordings
    }

    /// The topology in force.
    #[must_use]
    pub fn topology(&self) -> Arc<Topology> {
        self.topology.get()
    }

    /// Reads a leased item for delivery. `None` when there is nothing to deliver: it expired, is gone, or cannot be read.
    pub(super) async fn prepare(
        &self,
        lease: Lease,
        in_flight: &mut InFlight,
    ) -> Option<(Lease, DeliveryRequest)> {
        let (lease, loaded) = self.load(lease).await?;
        if let Some((settlement, held)) = self.by_time(&loaded).await {
            let lease = self.keep_bad_mail(lease, &loaded.message, &loaded.content, &settlement).await?;
            let commit = self.hand_in(lease, &loaded.item, settlement).holding(held);
            in_flight.push(commit).await;
            return None;
        }
        let attempt = loaded.item.attempts + 1;
        Some((
            lease,
            DeliveryRequest { message: loaded.message, item: loaded.item, content: loaded.content, attempt },
        ))
    }

    /// Reads a leased item. One that cannot be read is left alone for a while, and its neighbours go on.
    async fn load(&self, mut lease: Lease) -> Option<(Lease, Loaded)> {
        let why = match lease.load(&*self.store).await {
            Ok(Some(loaded)) => return Some((lease, loaded)),
            Ok(None) => "it is in the index and not in the store".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::error!(item = %lease.item(), why, pause = ?UNREADABLE_PAUSE, "an item cannot be read; it is left alone");
        self.leave_alone(lease, &why);
        None
    }

    /// Keeps a lease for a while, so that nobody is given the item.
    fn leave_alone(&self, lease: Lease, why: &str) {
        if let Ok(place) = self.unreadable.clone().try_acquire_owned() {
            tokio::spawn(async move {
                tokio::time::sleep(UNREADABLE_PAUSE.unsigned_abs()).await;
                // The item first: a place that is free is never one too many.
                drop((lease, place));
            });
            return;
        }
        let until = retry::after(Timestamp::now(), UNREADABLE_PAUSE);
        self.store.index().set_retry(lease.next_hop(), until, why);
    }

    /// How many more items may be found unreadable before whole queues wait.
    pub(super) fn room_for_unreadable(&self) -> usize {
        self.unreadable.available_permits()
    }

    /// Settles an attempt and hands the write in.
    pub(super) async fn settle_attempt(
        &self,
        lease: Lease,
        request: &DeliveryRequest,
        mut report: DeliveryReport,
        over: Over<'_>,
        in_flight: &mut InFlight,
    ) -> Attempted {
        let hop = &request.item.next_hop;
        let change = report.state.take();
        let mut not_kept = None;
        let (mut settlement, healthy) = self.made_of(request, &report, over).await;
        let kept = self.keep_bad_mail(lease, &request.message, &request.content, &settlement).await;
        let Some(lease) = kept else { return Attempted { healthy, not_kept } };
        if let Some(change) = change {
            settlement.write.agent_state = Some(self.state_change(hop, change));
            // Through the store, so that the lease is still there for what is settled when the state may not be kept.
            match self.store.settle(settlement.write.clone()).await {
                Ok(_) => {
                    self.log(request, &report, &settlement);
                    self.follow(&request.item, &settlement).happen();
                    drop(lease);
                    return Attempted { healthy, not_kept };
                }
                Err(error @ (StoreError::StateConflict { .. } | StoreError::StateFull { .. })) => {
                    let why = Deferral::new(451, (4, 3, 0), &error.to_string(), "service-unavailable");
                    report = settle::without_outcomes(report, &why);
                    not_kept = Some(why);
                    (settlement, _) = self.made_of(request, &report, over).await;
                }
                // Handed in once more below, still together with its state: both or neither.
                Err(error) => tracing::warn!(%error, "a settlement with an agent's state was not stored"),
            }
        }
        self.note_trap(request, &report, over, &settlement).await;
        self.log(request, &report, &settlement);
        let asks_no_more = settlement.write.attempt_ended && settlement.write.after.is_some();
        in_flight.push(self.hand_in(lease, &request.item, settlement)).await;
        if asks_no_more {
            // The item may soon be due again, and its intent must be forgotten by then.
            in_flight.drain().await;
        }
        Attempted { healthy: healthy && not_kept.is_none(), not_kept }
    }

    /// What a report makes of its item, and whether it shows that the queue works.
    async fn made_of(
        &self,
        request: &DeliveryRequest,
        report: &DeliveryReport,
        over: Over<'_>,
    ) -> (Settlement, bool) {
        let topology = self.topology();
        let policy = topology.policy_for(&request.item.next_hop);
        let quoted = Quoted::for_report(&topology, request, report).await;
        let failures = over.failures_now;
        let context = Context { call: over.call, ..quoted.context(&request.message, &policy) };
        let mut settlement =
            settle::settle(context, &request.item, report, over.label, failures, &mut fastrand::Rng::new());
        if !over.speaks_for_queue {
            settlement.queue = QueueEffect::None;
        }
        let healthy = settlement.queue == QueueEffect::Healthy && failures == over.failures;
        // A connection that is older than the last refusal does not take it back: a far end that allows one connection
        // would refuse the second again at once. And without failures there is nothing to forget.
        if settlement.queue == QueueEffect::Healthy && (!healthy || failures == 0) {
            settlement.queue = QueueEffect::None;
        }
        (settlement, healthy)
    }

    /// Keeps what is known of a trap. One of several items that shared a call may have had nothing to do with it: it is
    /// noted when it becomes poison, or when it breaks the agent alone.
    async fn note_trap(
        &self,
        request: &DeliveryRequest,
        report: &DeliveryReport,
        over: Over<'_>,
        settlement: &Settlement,
    ) {
        let Some(after) = settlement.write.after.as_ref().filter(|after| after.traps > request.item.traps)
        else {
            return;
        };
        let poison = after.state == ItemState::Poison;
        if poison || over.call.is_none() {
            // On the disk when this returns: an item is not poison before its record is there.
            self.quarantine.note(request, report, poison).await;
        }
    }

    fn state_change(&self, hop: &NextHop, change: StateChange) -> AgentStateChange {
        let quota = self.topology().policy_for(hop).state_quota;
        doors::state_change(&hop.connector, quota, change)
    }

    /// Hands receipts of an open connection in, and waits until they are on the disk. Says whether they are: only then may
    /// the connection get another call, in which the far end is told that it need not tell them again.
    pub(super) async fn keep_receipts(&self, hop: &NextHop, receipts: Vec<Receipt>) -> bool {
        if receipts.is_empty() {
            return true;
        }
        let kept = self.receipts.settle(&hop.connector, receipts);
        let kept = tokio::time::timeout(RECEIPTS_KEPT_WITHIN, kept).await;
        let is_kept = matches!(kept, Ok(Ok(())));
        if !is_kept {
            tracing::warn!(connector = %hop.connector, "receipts could not be kept; the far end must tell them again");
        }
        is_kept
    }

    /// Does to a queue what a refusal without any item says.
    pub(super) fn refused(&self, hop: &NextHop, refusal: &Refusal) {
        let policy = self.topology().policy_for(hop);
        let failures = self.store.index().failures(hop);
        let effect = settle::refused(&policy, refusal, failures, Timestamp::now(), &mut fastrand::Rng::new());
        self.apply(hop, &effect);
    }

    /// Settles items for which time alone decides something, many side by side: at most `window` are on their way to the
    /// disk. A full disk may hold that up for ever, so it ends with `stop`; what it has handed in by then is settled
    /// when there is room, the rest another time.
    pub async fn settle_overdue(
        &self,
        leases: impl IntoIterator<Item = Lease>,
        window: usize,
        stop: &CancellationToken,
    ) {
        let mut in_flight = InFlight::new(window);
        let work = async {
            for lease in leases {
                if let Some(settled) = self.overdue(lease).await {
                    in_flight.push(settled).await;
                }
            }
            in_flight.drain().await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Hands in what time alone makes of an item; `None` when that is nothing, or it cannot be read.
    async fn overdue(&self, lease: Lease) -> Option<Settled> {
        let (lease, loaded) = self.load(lease).await?;
        let (settlement, held) = self.by_time(&loaded).await?;
        let lease = self.keep_bad_mail(lease, &loaded.message, &loaded.content, &settlement).await?;
        Some(self.hand_in(lease, &loaded.item, settlement).holding(held))
    }

    /// What time alone makes of a leased item, and what was taken back for that.
    async fn by_time(&self, loaded: &Loaded) -> Option<(Settlement, Option<Held>)> {
        let now = Timestamp::now();
        let due = loaded.item.deadline().is_some_and(|at| at <= now)
            || loaded.item.pending().next().is_some() && loaded.item.wake_at().is_some_and(|at| at <= now);
        if !due {
            return None;
        }
        let Withdrawal { whereabouts, held } = if settle::decides_by_time(&loaded.item, now) {
            self.withdraw(&loaded.item).await
        } else {
            Withdrawal::without(Whereabouts::Nothing)
        };
        let topology = self.topology();
        let policy = topology.policy_for(&loaded.item.next_hop);
        let quoted = Quoted::of(&topology, &loaded.message, &loaded.content).await;
        // As of the time at which it was asked whether anything is to be taken back.
        let context = Context { now, ..quoted.context(&loaded.message, &policy) };
        settle::settle_by_time(context, &loaded.item, &whereabouts).map(|settlement| (settlement, held))
    }

    /// Keeps a DSN that has failed in BadMail, where a person finds it. When that cannot be done there is no lease to settle
    /// with: the DSN is left alone in its queue for a while, and tried again.
    pub async fn keep_bad_mail(
        &self,
        lease: Lease,
        message: &MessageInfo,
        content: &Content,
        settlement: &Settlement,
    ) -> Option<Lease> {
        if !settlement.bad_mail {
            return Some(lease);
        }
        let folder = bad_mail::folder(&self.topology().config);
        if let Err(error) = bad_mail::keep(&folder, message.id, content).await {
            tracing::error!(dsn = %message.id, %error, "a DSN has failed and stays in its queue: BadMail cannot be written");
            self.leave_alone(lease, &format!("BadMail cannot be written: {error}"));
            return None;
        }
        tracing::error!(dsn = %message.id, "a DSN has failed; it lies in BadMail");
        self.metrics.bad_mail();
        // The file is synced: the DSN may leave its queue.
        Some(lease)
    }

    /// Hands a settlement in and does what follows from it. The future is ready when it is durable.
    pub fn hand_in(&self, lease: Lease, item: &Item, settlement: Settlement) -> Settled {
        let follow = self.follow(item, &settlement);
        let commit = lease.settle(&*self.store, settlement.write);
        Settled { commit, follow }
    }

    /// Does what follows from a settlement at once, and gives what follows when it is durable.
    fn follow(&self, item: &Item, settlement: &Settlement) -> Follow {
        let name = &item.next_hop.connector;
        self.metrics.settled(name, settlement);
        self.apply(&item.next_hop, &settlement.queue);
        let dsns = (!settlement.write.dsns.is_empty()).then(|| self.outbox.clone());
        let begun = settlement.write.receipts.iter().map(|r| (r.id.clone(), r.at)).collect();
        let ended = settlement.write.finished_receipts.iter().map(|(_, id)| id.clone()).collect();
        let news = News { connectors: self.connectors.clone(), connector: name.clone(), begun, ended };
        // The settlement takes the intent away, or the item with it.
        let ended = settlement.write.attempt_ended || settlement.write.after.is_none();
        let intents = ended.then(|| self.intents.clone());
        let gone = settlement.write.after.is_none() && self.quarantine.has(item.id);
        let quarantine = gone.then(|| self.quarantine.clone());
        Follow { dsns, news, held: None, item: item.id, intents, quarantine }
    }

    fn apply(&self, hop: &NextHop, effect: &QueueEffect) {
        match effect {
            QueueEffect::None => {}
            QueueEffect::Healthy => self.store.index().clear_retry(hop),
            QueueEffect::Retry { until, error } => {
                tracing::warn!(%hop, %until, error, "the queue is tried again later");
                self.store.index().set_retry(hop, *until, error);
            }
            QueueEffect::Suspend { reason } => {
                tracing::error!(%hop, reason, "the queue is suspended");
                // In the same group as the settlement, whose commit is waited for.
                drop(self.suspend(hop, "agent", reason));
            }
        }
    }

    /// Suspends a queue and tracks it; both are handed in when this returns.
    #[must_use = "only awaiting them tells whether they became durable"]
    pub fn suspend(&self, queue: &NextHop, by: &str, reason: &str) -> [Commit<()>; 2] {
        let event = TrackingEvent::of_queue(queue, "suspend-queue", by, Some(reason), Timestamp::now());
        let setting = QueueSetting::Suspended { reason: reason.to_owned() };
        [self.store.set_queue(queue.clone(), setting), self.store.record(vec![event])]
    }

    fn log(&self, request: &DeliveryRequest, report: &DeliveryReport, settlement: &Settlement) {
        let connector = &request.item.next_hop.connector;
        let total = request.recipients().count();
        let good = report.outcomes.iter().filter(|o| !matches!(o.outcome, Outcome::Deferred(_))).count();
        let what = match (report.trapped, good) {
            (true, _) => "trapped",
            (_, n) if n == total => "done",
            (_, 0) => "deferred",
            _ => "partial",
        };
        self.metrics.attempted(connector, what);
        let reason = report.fault.as_ref().map(|f| f.response.to_string());
        let reason = reason.or_else(|| {
            report
                .outcomes
                .iter()
                .find(|o| !o.outcome.response().is_success())
                .map(|o| o.outcome.response().to_string())
        });
        let next = settlement.next_attempt.map(|t| t.to_string()).unwrap_or_default();
        match reason {
            // Tracking has every delivery; the log is for what wants a look.
            None => tracing::debug!(recipients = total, "delivered"),
            Some(reason) if report.trapped => {
                tracing::warn!(recipients = total, result = what, reason, next, "not delivered");
            }
            Some(reason) => tracing::info!(recipients = total, result = what, reason, next, "not delivered"),
        }
    }

    /// The context for a settlement of an item that was loaded.
    pub async fn quoted(&self, loaded: &Loaded) -> Quoted {
        Quoted::of(&self.topology(), &loaded.message, &loaded.content).await
    }
}

/// A settlement on its way to the disk, with what happens once it is there.
pub struct Settled {
    commit: Commit<SettleDone>,
    follow: Follow,
}

/// What happens once a settlement is on the disk.
struct Follow {
    dsns: Option<Arc<Notify>>,
    news: News,
    held: Option<HandedIn>,
    item: ItemId,
    /// Where the item's intent ends with it.
    intents: Option<Arc<Intents>>,
    /// Where the item's record goes with it.
    quarantine: Option<Arc<Quarantine>>,
}

impl Follow {
    fn happen(self) {
        if let Some(outbox) = self.dsns {
            outbox.notify_one();
        }
        self.news.tell();
        // Not before either: one that was refused leaves the doubt, and the intent.
        if let Some(intents) = self.intents {
            intents.forget(self.item);
        }
        // Not before either: the record of an item that is still there is wanted.
        if let Some(quarantine) = self.quarantine {
            quarantine.forget(self.item);
        }
        // Not before its settlement is durable: a crash would leave neither the file nor a word about it.
        if let Some(held) = self.held {
            held.settled();
        }
    }

    /// Nothing was stored.
    fn refused(self, error: &StoreError) {
        if let Some(held) = self.held {
            held.refused(error);
        }
    }
}

impl Settled {
    /// What was taken back for this settlement: it is done with when that is durable, and put back when it is refused.
    #[must_use]
    pub fn holding(mut self, held: Option<Held>) -> Self {
        self.follow.held = held.map(Held::hand_in);
        self
    }
}

/// What a connector is told once it is durable: receipts to look out for, and receipts that nobody waits for any more.
struct News {
    connectors: Arc<CurrentConnectors>,
    connector: Arc<str>,
    begun: Vec<(String, Timestamp)>,
    ended: Vec<String>,
}

impl News {
    fn tell(self) {
        if self.begun.is_empty() && self.ended.is_empty() {
            return;
        }
        let Some(connector) = self.connectors.get(&self.connector) else { return };
        if !self.begun.is_empty() {
            connector.watch(&self.begun);
        }
        if !self.ended.is_empty() {
            connector.forget(&self.ended);
        }
    }
}

impl IntoFuture for Settled {
    type Output = Result<SettleDone, StoreError>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let done = match self.commit.await {
                Ok(done) => done,
                Err(error) => {
                    self.follow.refused(&error);
                    return Err(error);
                }
            };
            self.follow.happen();
            Ok(done)
        })
    }
}

/// Settlements that are not yet durable; at most a window of them.
pub struct InFlight {
    window: usize,
    waiting: VecDeque<Settled>,
}

impl InFlight {
    /// An empty window of this size.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self { window: window.max(1), waiting: VecDeque::new() }
    }

    /// Adds one; waits for the oldest when the window is full.
    pub async fn push(&mut self, settled: Settled) {
        self.waiting.push_back(settled);
        if self.waiting.len() >= self.window {
            // Half the window at once: the rest of it was committed in the same group.
            self.wait_for(self.window.div_ceil(2)).await;
        }
    }

    /// Waits for all.
    pub async fn drain(&mut self) {
        self.wait_for(self.waiting.len()).await;
    }

    /// Waits for so many of the oldest; at most one pause for all that were refused.
    async fn wait_for(&mut self, count: usize) {
        let mut pause = false;
        for _ in 0..count {
            let Some(settled) = self.waiting.pop_front() else { break };
            let Err(error) = settled.await else { continue };
            tracing::error!(%error, "a settlement was not stored; its item is tried again");
            // A store that has stopped gives no leases: nothing would go round.
            pause |= !matches!(error, StoreError::Poisoned(_) | StoreError::Closed);
        }
        if pause {
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }
}

/// The parts of a message that its DSNs may quote.
pub struct Quoted {
    headers: Bytes,
    content: Option<Bytes>,
}

impl Quoted {
    /// For a report: nothing is read when it leads to no DSN, which is the ordinary case.
    async fn for_report(topology: &Topology, request: &DeliveryRequest, report: &DeliveryReport) -> Self {
        let asked = request.recipients().any(|r| r.notify.is_some_and(|n| n.success));
        // A relay is reported without being asked for only where `relay_dsn` says so.
        let relay_dsn = topology.policy_for(&request.item.next_hop).relay_dsn;
        let good = |o: &Outcome| match o {
            Outcome::Delivered(_) | Outcome::Accepted(_) | Outcome::Expanded(_) => true,
            Outcome::Relayed(_) => !relay_dsn,
            Outcome::Deferred(_) | Outcome::Failed { .. } | Outcome::Unknown(_) => false,
        };
        let silent = !asked
            && report.fault.is_none()
            && report.refusal.is_none()
            && report.outcomes.iter().all(|o| good(&o.outcome));
        if silent || request.message.envelope.reverse_path.is_empty() {
            return Self { headers: Bytes::new(), content: None };
        }
        Self::of(topology, &request.message, &request.content).await
    }

    async fn of(topology: &Topology, message: &MessageInfo, content: &Content) -> Self {
        let whole =
            message.envelope.ret == Some(Return::Full) && content.size() <= topology.dsn.max_returned as u64;
        let read = |length: usize| {
            let content = content.clone();
            async move {
                match &content {
                    Content::Memory(_) => content.read_range(0, length),
                    Content::File { .. } => {
                        tokio::task::spawn_blocking(move || content.read_range(0, length))
                            .await
                            .unwrap_or_else(|e| Err(std::io::Error::other(e)))
                    }
                }
                .unwrap_or_default()
            }
        };
        let start = read(MAX_DSN_HEADERS).await;
        let headers = start.slice(..header_length(&start));
        let content = if whole { Some(read(usize::MAX).await) } else { None };
        Self { headers, content }
    }

    /// The context of a settlement.
    pub fn context<'a>(&'a self, message: &'a MessageInfo, policy: &'a settle::Policy) -> Context<'a> {
        Context {
            message,
            policy,
            headers: &self.headers,
            content: self.content.as_deref(),
            now: Timestamp::now(),
            call: None,
        }
    }
}

/// Where the header block ends: behind the last header line, before the blank one.
fn header_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(end) = bytes[at..].iter().position(|b| *b == b'\n') {
        let line = &bytes[at..at + end];
        if line.is_empty() || line == b"\r" {
            return at;
        }
        at += end + 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::header_length;

    #[test]
    fn the_header_block_ends_before_the_blank_line() {
        assert_eq!(header_length(b"A: b\r\nC: d\r\n\r\nbody"), 12);
        assert_eq!(header_length(b"A: b\n\nbody"), 5);
        assert_eq!(header_length(b"A: b"), 4);
        assert_eq!(header_length(b"\r\nbody"), 0);
    }
}
