//! Line: one connection to one destination with the work that goes over it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use jiff::Timestamp;
use postern_model::text::one_line;
use postern_model::{Deferral, DeliveryReport, DeliveryRequest, NextHop, Refusal};
use postern_store::Lease;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::settler::{InFlight, Over};
use super::{DispatchLimits, Settler};
use crate::connector::{Connection, Connector};
use crate::metrics::Metrics;

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
}

/// An open connection.
struct Open {
    connection: Box<dyn Connection>,
    delivered: usize,
    /// How often its queue had failed in a row when it was opened, or since it showed that the queue works.
    failures: u32,
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
        Self { connector, settler, hop, limits, open: None, in_flight }
    }

    /// Its destination.
    pub fn hop(&self) -> &NextHop {
        &self.hop
    }

    /// Whether its connection is open and may deliver more.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Delivers the item of the lease and then due ones until there are none, the connection has delivered its share,
    /// or `stop` is called.
    pub async fn work(mut self, first: Lease, stop: CancellationToken) -> Self {
        let index = self.settler.store().index().clone();
        let mut next = Some(first);
        while let Some(lease) = next
            && !stop.is_cancelled()
        {
            if let Some((lease, request)) = self.settler.prepare(lease, &mut self.in_flight).await {
                let span = delivery_span(&request);
                if !self.serve(lease, &request).instrument(span).await {
                    break;
                }
            }
            next = index.lease(&self.hop, Timestamp::now());
        }
        // Parked or ended: what was decided over this line is on the disk.
        self.in_flight.drain().await;
        self
    }

    /// Tries an item and settles it. Says whether the line may go on.
    async fn serve(&mut self, lease: Lease, request: &DeliveryRequest) -> bool {
        let report = self.attempt(request).await;
        let (broken, refused) = (report.broken, report.refusal.is_some());
        let over = self
            .open
            .as_ref()
            .map_or(Over::default(), |open| Over { label: open.connection.label(), failures: open.failures });
        let healthy = self.settler.settle_attempt(lease, request, report, over, &mut self.in_flight).await;
        let Some(open) = &mut self.open else { return false };
        open.delivered += 1;
        if healthy {
            open.failures = 0;
        }
        if broken {
            self.open = None;
        } else if refused || open.delivered >= self.limits.messages {
            self.close_connection().await;
        }
        self.open.is_some()
    }

    /// Delivers over the open connection, or over a new one.
    async fn attempt(&mut self, request: &DeliveryRequest) -> DeliveryReport {
        let reused = self.open.is_some();
        let report = self.deliver(request).await;
        let stale = reused
            && report.broken
            && report.not_begun
            && !report.trapped
            && report.outcomes.is_empty()
            && report.receipts.is_empty();
        if !stale {
            return report;
        }
        // The far end may close an idle connection at any time. That is no failure of the item or of the queue.
        tracing::debug!("the connection was closed while it was idle; a new one is opened");
        self.open = None;
        self.deliver(request).await
    }

    async fn deliver(&mut self, request: &DeliveryRequest) -> DeliveryReport {
        let open = match self.open.take() {
            Some(open) => open,
            None => match self.connect().await {
                Ok(open) => open,
                Err(refusal) => {
                    return DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() };
                }
            },
        };
        let open = self.open.insert(open);
        match guarded(async { open.connection.deliver(request).await }).await {
            Ok(report) => report,
            // It counts towards poison: the item may be what the connector cannot stand.
            Err(fault) => DeliveryReport { trapped: true, ..DeliveryReport::broken(fault) },
        }
    }

    async fn connect(&mut self) -> Result<Open, Refusal> {
        // Asked before: a refusal of another line in the meantime is one that this connection says nothing about.
        let failures = self.settler.store().index().failures(&self.hop);
        let opened = guarded(async { self.connector.open(&self.hop).await }).await;
        let connection = opened.unwrap_or_else(|fault| Err(Refusal::DeferQueue(fault)))?;
        let counted = Counted::new(self.settler.metrics().clone(), self.connector.clone());
        Ok(Open { connection, delivered: 0, failures, _counted: counted })
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

/// What every line about a delivery carries. Its level is that of an error, so that a log of warnings has it, too.
fn delivery_span(request: &DeliveryRequest) -> Span {
    tracing::error_span!(
        "delivery",
        message_id = %request.message.id,
        connector = %request.item.next_hop.connector,
        destination = %request.item.next_hop.destination,
        attempt = request.attempt
    )
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
        tracing::subscriber::with_default(log, || assert!(!delivery_span(&request).is_disabled()));
    }
}
