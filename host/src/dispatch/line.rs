//! Line: one connection to one destination with the work that goes over it.

use std::sync::Arc;

use jiff::Timestamp;
use postern_model::{DeliveryReport, DeliveryRequest, NextHop};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{DispatchLimits, Settler};
use crate::connector::{Connection, Connector};
use crate::dispatch::settler::InFlight;

/// A destination, its connection while one is open, and the settlements that are on their way to the disk.
pub struct Line {
    connector: Arc<dyn Connector>,
    settler: Arc<Settler>,
    hop: NextHop,
    limits: DispatchLimits,
    connection: Option<Box<dyn Connection>>,
    delivered: usize,
    in_flight: InFlight,
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
        Self { connector, settler, hop, limits, connection: None, delivered: 0, in_flight }
    }

    /// Whether its connection is open and may deliver more.
    pub fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Delivers due items until there are none, the connection has delivered its share, or `stop` is called.
    pub async fn work(mut self, stop: CancellationToken) -> Self {
        let store = self.settler.store().clone();
        while !stop.is_cancelled() {
            let Some(lease) = store.index().lease(&self.hop, Timestamp::now()) else { break };
            let Some((lease, request)) = self.settler.prepare(lease, &mut self.in_flight).await else {
                continue;
            };
            let span = tracing::info_span!(
                "delivery",
                message_id = %request.message.id,
                connector = %self.hop.connector,
                destination = %self.hop.destination,
                attempt = request.attempt
            );
            let (report, label) = self.attempt(&request).instrument(span.clone()).await;
            let (broken, refused) = (report.broken, report.refusal.is_some());
            self.settler
                .settle_attempt(lease, &request, report, &label, &mut self.in_flight)
                .instrument(span)
                .await;
            self.delivered += 1;
            if broken {
                self.drop_connection();
            } else if refused || self.delivered >= self.limits.messages {
                self.close_connection().await;
            }
            if refused || self.connection.is_none() {
                break;
            }
        }
        // Parked or ended: what was decided over this line is on the disk.
        self.in_flight.drain().await;
        self
    }

    /// Delivers over the open connection, or over a new one.
    async fn attempt(&mut self, request: &DeliveryRequest) -> (DeliveryReport, String) {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            empty => match self.connector.open(&self.hop).await {
                Ok(connection) => {
                    self.settler.metrics().connection(self.connector.name(), 1);
                    empty.insert(connection)
                }
                Err(refusal) => {
                    return (
                        DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() },
                        String::new(),
                    );
                }
            },
        };
        let report = connection.deliver(request).await;
        (report, connection.label().to_owned())
    }

    fn drop_connection(&mut self) {
        if self.connection.take().is_some() {
            self.settler.metrics().connection(self.connector.name(), -1);
        }
    }

    async fn close_connection(&mut self) {
        // All that was delivered is committed before the far end is told that the conversation is over.
        self.in_flight.drain().await;
        if let Some(connection) = self.connection.take() {
            connection.close().await;
            self.settler.metrics().connection(self.connector.name(), -1);
        }
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) {
        self.close_connection().await;
    }
}
