//! Line: one connection to one destination with the work that goes over it.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use postern_model::text::one_line;
use postern_model::{Deferral, DeliveryReport, DeliveryRequest, NextHop, NotOpened, Refusal};
use postern_store::Lease;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::breaking::{Call, admit, verdict};
use super::intents::Asking;
use super::settler::{InFlight, Over};
use super::{DispatchLimits, Settler};
use crate::breaker::Pass;
use crate::connector::{Connection, Connector};
use crate::metrics::Metrics;
use crate::settle;

/// Contents of one batch, in bytes: when that much is gathered, no further item is added.
const MAX_BATCH_BYTES: u64 = 32 << 20;
/// The most that is told of a panic, in bytes.
const MAX_PANIC_TEXT: usize = 200;

/// A destination, its connection while one is open, and the settlements that are on their way to the disk.
pub struct Line {
    connector: Arc<dyn Connector>,
    settler: Arc<Settler>,
    hop: NextHop,
    limits: DispatchLimits,
    open: Option<Open>,
    in_flight: InFlight,
    /// An item that must not share a call with others.
    alone: Option<(Lease, DeliveryRequest)>,
    idle_since: Instant,
}

/// An open connection.
struct Open {
    connection: Box<dyn Connection>,
    delivered: usize,
    /// How often its queue had failed in a row when it was opened, or since it showed that the queue works.
    failures: u32,
    /// When it wants to be called while there is nothing to deliver.
    tick_at: Option<Instant>,
    _counted: Counted,
}

/// Counts a connection as open for as long as it is there, however it ends.
struct Counted {
    metrics: Arc<Metrics>,
    connector: Arc<dyn Connector>,
}

impl Counted {
    fn new(metrics: Arc<Metrics>, connector: Arc<dyn Connector>) -> Self {
        metrics.connection(connector.name(), 1);
        Self { metrics, connector }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.connection(self.connector.name(), -1);
    }
}

impl Line {
    /// A line that is not connected yet.
    pub fn new(
        connector: Arc<dyn Connector>,
        settler: Arc<Settler>,
        hop: NextHop,
        limits: DispatchLimits,
    ) -> Self {
        let in_flight = InFlight::new(limits.settle_window);
        Self {
            connector,
            settler,
            hop,
            limits,
            open: None,
            in_flight,
            alone: None,
            idle_since: Instant::now(),
        }
    }

    /// Its destination.
    pub fn hop(&self) -> &NextHop {
        &self.hop
    }

    /// Whether its connection is open and may deliver more.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether its connection is to be closed, since what it leads to was exchanged.
    pub fn is_retired(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.connection.is_retired())
    }

    /// Since when it has nothing to deliver.
    pub fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Starts the idle time anew.
    pub fn stay(&mut self) {
        self.idle_since = Instant::now();
    }

    /// When its idle connection wants to be called.
    pub fn tick_at(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|open| open.tick_at)
    }

    /// Delivers the item of the lease and then due ones until there are none, the connection has delivered its share,
    /// the agent is to be left alone, or `stop` is called.
    pub async fn work(mut self, first: Lease, pass: Pass, stop: CancellationToken) -> Self {
        let index = self.settler.store().index().clone();
        let mut next = Some((first, pass));
        while let Some((lease, pass)) = next
            && !stop.is_cancelled()
        {
            let batch = self.gather(lease, pass.is_probe()).await;
            let mut pass = Some(pass);
            if !batch.is_empty() && !self.serve_seen(batch, pass.take()).await {
                break;
            }
            // One that was left out of a batch was leased already.
            if let Some(alone) = self.alone.take() {
                // Without leave it is due again, as if nothing had been.
                let Some(pass) = pass.take().or_else(|| admit(&*self.connector)) else { break };
                if !self.serve_seen(vec![alone], Some(pass)).await {
                    break;
                }
            }
            drop(pass);
            next = admit(&*self.connector)
                .and_then(|pass| index.lease(&self.hop, Timestamp::now()).map(|lease| (lease, pass)));
        }
        self.alone = None;
        // Parked or ended: what was decided over this line is on the disk.
        self.in_flight.drain().await;
        self.idle_since = Instant::now();
        self
    }

    /// Reads the leased item and, where the connector takes several at once, further ones that are due. A probe is made
    /// with one.
    async fn gather(&mut self, first: Lease, probe: bool) -> Vec<(Lease, DeliveryRequest)> {
        let index = self.settler.store().index().clone();
        let delivered = self.open.as_ref().map_or(0, |open| open.delivered);
        let most = self.connector.batch_size().min(self.limits.messages.saturating_sub(delivered));
        let most = if probe { 1 } else { most.max(1) };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(lease) = next {
            if let Some((lease, request)) = self.settler.prepare(lease, &mut self.in_flight).await {
                bytes += request.content.size();
                // An item that was there when the agent trapped must not take others with it again.
                if request.item.traps > 0 {
                    self.alone = Some((lease, request));
                    break;
                }
                batch.push((lease, request));
            }
            let full = batch.len() >= most || bytes >= MAX_BATCH_BYTES;
            next = if full { None } else { index.lease(&self.hop, Timestamp::now()) };
            if batch.is_empty() && most == 1 {
                break;
            }
        }
        batch
    }

    /// Tries items and settles them, after what is known about earlier attempts is settled and the intent of this one is
    /// on the disk, where the connector wants that. Says whether the line may go on.
    async fn serve_seen(&mut self, batch: Vec<(Lease, DeliveryRequest)>, pass: Option<Pass>) -> bool {
        let pass = pass.unwrap_or_else(Pass::free);
        let policy = self.settler.topology().policy_for(&self.hop);
        let Some(on_unknown) = policy.on_unknown else { return self.serve(batch, pass).await };
        let context =
            Asking { connector: &*self.connector, settler: &self.settler, hop: &self.hop, on_unknown };
        let batch = context.clear(batch, &mut self.in_flight).await;
        if batch.is_empty() { true } else { self.serve(batch, pass).await }
    }

    /// Tries items and settles them. Says whether the line may go on.
    async fn serve(&mut self, batch: Vec<(Lease, DeliveryRequest)>, pass: Pass) -> bool {
        let (leases, requests): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let span = delivery_span(&requests, &self.hop);
        let (mut reports, call) = self.attempt(&requests).instrument(span).await;
        self.judge(pass, call, &requests, &reports);
        let receipts: Vec<_> =
            reports.iter_mut().flat_map(|report| mem::take(&mut report.receipts)).collect();
        let broken = reports.iter().any(|report| report.broken);
        let refused = reports.iter().any(|report| report.refusal.is_some());
        // The first report of trouble speaks for the queue; without trouble each says that it works.
        let trouble = reports.iter().position(|r| r.refusal.is_some() || r.broken);
        let failures_now = self.settler.store().index().failures(&self.hop);
        // Items that share a call may share a job at the far end, under one receipt id.
        let first = &requests[0];
        let call = (requests.len() > 1).then(|| format!("{}/{}", first.item.id, first.attempt));
        let mut healthy = true;
        let mut not_kept = None;
        for (nth, ((lease, request), report)) in leases.into_iter().zip(&requests).zip(reports).enumerate() {
            let open = self.open.as_ref();
            let over = Over {
                label: open.map_or("", |open| open.connection.label()),
                failures: open.map_or(0, |open| open.failures),
                failures_now,
                speaks_for_queue: trouble.is_none_or(|first| first == nth),
                call: call.as_deref(),
            };
            let span = delivery_span(std::slice::from_ref(request), &self.hop);
            // What was reported together with a state that could not be kept is deferred together.
            let report = match &not_kept {
                None => report,
                Some(why) => settle::without_outcomes(report, why),
            };
            let settled = self.settler.settle_attempt(lease, request, report, over, &mut self.in_flight);
            let settled = settled.instrument(span).await;
            healthy &= settled.healthy;
            not_kept = not_kept.or(settled.not_kept);
        }
        // Durable first, as in a tick. Without it there is no other call, `close` included.
        if !self.settler.keep_receipts(&self.hop, receipts).await {
            self.open = None;
        }
        let Some(open) = &mut self.open else { return false };
        open.delivered += requests.len();
        if healthy {
            open.failures = 0;
        }
        if broken {
            self.open = None;
        } else if refused || open.delivered >= self.limits.messages || open.connection.is_retired() {
            self.close_connection().await;
        }
        self.open.is_some()
    }

    /// Tells the breaker how a call went.
    fn judge(&self, pass: Pass, call: Call, requests: &[DeliveryRequest], reports: &[DeliveryReport]) {
        let (verdict, reason) = verdict(call, requests, reports);
        if let Some(change) = pass.end(verdict, reason) {
            self.settler.breaker_changed(&self.hop, change, reason);
        }
    }

    /// Delivers over the open connection, or over a new one.
    async fn attempt(&mut self, requests: &[DeliveryRequest]) -> (Vec<DeliveryReport>, Call) {
        if self.is_retired() {
            // It was exchanged while it was idle.
            self.close_connection().await;
        }
        let reused = self.open.is_some();
        let (reports, call) = self.deliver(requests).await;
        let untouched = |report: &DeliveryReport| {
            report.broken
                && report.not_begun
                && !report.trapped
                && report.outcomes.is_empty()
                && report.receipts.is_empty()
        };
        if !reused || !reports.iter().all(untouched) {
            return (reports, call);
        }
        // The far end may close an idle connection at any time. That is no failure of the item or of the queue.
        tracing::debug!("the connection was closed while it was idle; a new one is opened");
        self.open = None;
        self.deliver(requests).await
    }

    /// One report for each request, whatever the connector does.
    async fn deliver(&mut self, requests: &[DeliveryRequest]) -> (Vec<DeliveryReport>, Call) {
        let all = |report: DeliveryReport| requests.iter().map(|_| report.clone()).collect::<Vec<_>>();
        let open = match self.open.take() {
            Some(open) => open,
            None => match self.connect().await {
                Ok(open) => open,
                Err(NotOpened { refusal, trapped }) => {
                    let refused = DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() };
                    return (all(refused), Call::NotOpened { trapped });
                }
            },
        };
        let open = self.open.insert(open);
        let delivered = guarded(async {
            match requests {
                [request] => vec![open.connection.deliver(request).await],
                _ => open.connection.deliver_batch(requests).await,
            }
        });
        let reports = match delivered.await {
            Ok(mut reports) => {
                // An item without a report has no outcome, which is a deferral.
                reports.resize_with(requests.len(), DeliveryReport::default);
                reports
            }
            // It counts towards poison: the item may be what the connector cannot stand.
            Err(fault) => all(DeliveryReport { trapped: true, ..DeliveryReport::broken(fault) }),
        };
        (reports, Call::Made)
    }

    /// Lets the idle connection do what it needs.
    pub async fn tick(mut self) -> Self {
        let Some(open) = &mut self.open else { return self };
        match guarded(async { open.connection.tick().await }).await {
            Ok(Ok(tick)) => {
                open.tick_at = Instant::now().checked_add(tick.next);
                // Durable first: in its next call the agent may tell the far end that it need not tell them again.
                if !self.settler.keep_receipts(&self.hop, tick.receipts).await {
                    self.open = None;
                }
            }
            Ok(Err(refusal)) => {
                self.settler.refused(&self.hop, &refusal);
                self.close_connection().await;
            }
            Err(fault) => {
                self.settler.refused(&self.hop, &Refusal::DeferQueue(fault));
                self.open = None;
            }
        }
        self
    }

    async fn connect(&mut self) -> Result<Open, NotOpened> {
        // Asked before: a refusal of another line in the meantime is one that this connection says nothing about.
        let failures = self.settler.store().index().failures(&self.hop);
        let opened = guarded(async { self.connector.open(&self.hop).await }).await;
        let connection = opened
            .unwrap_or_else(|fault| Err(NotOpened { refusal: Refusal::DeferQueue(fault), trapped: true }))?;
        let counted = Counted::new(self.settler.metrics().clone(), self.connector.clone());
        let tick_at = connection.ticks().then(Instant::now);
        Ok(Open { connection, delivered: 0, failures, tick_at, _counted: counted })
    }

    async fn close_connection(&mut self) {
        // All that was delivered is committed before the far end is told that the conversation is over.
        self.in_flight.drain().await;
        if let Some(Open { connection, _counted, .. }) = self.open.take() {
            // What fails here is in the log, and the connection is gone all the same.
            let _ = guarded(async { connection.close().await }).await;
        }
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) -> Self {
        self.close_connection().await;
        self
    }
}

/// The span of a delivery, for the log.
fn delivery_span(requests: &[DeliveryRequest], hop: &NextHop) -> Span {
    let (connector, destination) = (&hop.connector, &hop.destination);
    match requests {
        [request] => tracing::error_span!(
            "delivery", message_id = %request.message.id, %connector, %destination, attempt = request.attempt
        ),
        _ => tracing::error_span!("delivery", items = requests.len(), %connector, %destination),
    }
}

/// Runs a connector's code. A panic in it becomes a deferral: else the attempt would not count, and the item would be
/// due again at once, for ever.
async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, Deferral> {
    AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| {
        let said = panic.downcast_ref::<&str>().copied();
        let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let said = one_line(said.unwrap_or("no reason given"), MAX_PANIC_TEXT);
        tracing::error!(reason = said, "the connector's code failed");
        Deferral::new(451, (4, 3, 0), &format!("the connector's code failed: {said}"), "")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_store::conformance::sample;

    use super::*;

    #[test]
    fn a_log_of_warnings_says_which_delivery_a_warning_is_about() {
        let put = sample::small(&NextHop::new("fax", "FAX:*"));
        let item = Arc::new(put.items[0].clone());
        let request = DeliveryRequest { message: put.message, item, content: put.content, attempt: 3 };
        let log = tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::sink).finish();
        tracing::subscriber::with_default(log, || {
            assert!(!delivery_span(std::slice::from_ref(&request), &request.item.next_hop).is_disabled())
        });
    }
}
