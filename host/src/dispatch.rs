//! dispatch: takes due items to their connector. One [`Dispatcher`] a connector; only it leases items for delivery.
//!
//! It keeps a ring of destinations with due items. A free connection goes to the next destination in the ring,
//! delivers at most `max_messages_per_connection` items and ends, or is parked for a while when nothing else is due:
//! so each destination gets its turn, and a dead one, which is a timer in the index, costs its neighbours nothing.

mod line;
mod ring;
mod settler;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_model::NextHop;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connector::Connector;
use line::Line;
use ring::Ring;

pub use settler::{ReceiptSender, Settler, Watchers};

/// Items with overdue receipts settled in one go.
const OVERDUE_BATCH: usize = 100;

/// How much a dispatcher does at once.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// Connections of the connector (Exchange: `MaxConcurrentConnections`).
    pub connections: usize,
    /// Connections to one destination.
    pub per_destination: usize,
    /// Items a connection delivers before it is closed (Exchange: `MaxMessagesPerConnection`).
    pub messages: usize,
    /// How long an idle connection stays open.
    pub idle: Duration,
    /// Settlements of one connection that may be on their way to the disk.
    pub settle_window: usize,
}

/// The loop of one connector.
pub struct Dispatcher {
    connector: Arc<dyn Connector>,
    settler: Arc<Settler>,
    limits: DispatchLimits,
    ring: Ring,
    lines: JoinSet<Line>,
    working: HashMap<tokio::task::Id, NextHop>,
    parked: HashMap<NextHop, (Line, Instant)>,
}

impl Dispatcher {
    /// A dispatcher for a connector.
    #[must_use]
    pub fn new(connector: Arc<dyn Connector>, settler: Arc<Settler>, limits: DispatchLimits) -> Self {
        Self {
            connector,
            settler,
            limits,
            ring: Ring::default(),
            lines: JoinSet::new(),
            working: HashMap::new(),
            parked: HashMap::new(),
        }
    }

    /// Delivers until told to stop; then lets the connections finish the item that they have, and closes them.
    pub async fn run(mut self, stop: CancellationToken) {
        let store = self.settler.store().clone();
        let feed = store.index().ready(self.connector.name());
        loop {
            let wake = feed.promote(Timestamp::now());
            for hop in feed.take_ready() {
                self.ring.add(hop);
            }
            for lease in feed.lease_expired(OVERDUE_BATCH) {
                self.settler.settle_overdue(lease).await;
            }
            self.start_lines(&stop);
            let timer = self.next_timer(wake);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.lines.join_next_with_id(), if !self.lines.is_empty() => self.line_ended(ended),
                () = feed.notified() => {}
                () = sleep_until(timer) => self.close_idle(),
            }
        }
        self.finish().await;
    }

    /// Gives free connections to the destinations whose turn it is.
    fn start_lines(&mut self, stop: &CancellationToken) {
        let index = self.settler.store().index().clone();
        while self.lines.len() < self.limits.connections {
            let (per_destination, working) = (self.limits.per_destination, &self.working);
            let next = self.ring.next(|hop| {
                let busy = working.values().filter(|h| *h == hop).count();
                // While a destination fails, one connection is enough to find out when it works again.
                let limit = if index.failures(hop) > 0 { 1 } else { per_destination };
                busy < limit
            });
            let Some(hop) = next else { break };
            if !index.has_due(&hop, Timestamp::now()) {
                // Nothing left: a last lease tells the index that it may name this hop again.
                drop(index.lease(&hop, Timestamp::now()));
                continue;
            }
            let line = match self.parked.remove(&hop) {
                Some((line, _)) => line,
                None => Line::new(self.connector.clone(), self.settler.clone(), hop.clone(), self.limits),
            };
            let work = line.work(stop.clone());
            let task = match self.connector.runtime() {
                Some(runtime) => self.lines.spawn_on(work, runtime),
                None => self.lines.spawn(work),
            };
            self.working.insert(task.id(), hop.clone());
            // It stays in the ring, behind the others: it may get a second connection, or its next turn.
            self.ring.add(hop);
        }
        // Every slot is taken or wanted: idle connections make room.
        if self.lines.len() + self.parked.len() > self.limits.connections {
            let surplus = self.lines.len() + self.parked.len() - self.limits.connections;
            let mut oldest: Vec<(Instant, NextHop)> =
                self.parked.iter().map(|(hop, (_, since))| (*since, hop.clone())).collect();
            oldest.sort();
            for (_, hop) in oldest.into_iter().take(surplus) {
                self.close(&hop);
            }
        }
    }

    fn line_ended(&mut self, ended: Result<(tokio::task::Id, Line), tokio::task::JoinError>) {
        match ended {
            Ok((id, line)) => {
                let hop = self.working.remove(&id);
                if let Some(hop) = hop
                    && line.is_open()
                {
                    self.parked.insert(hop, (line, Instant::now()));
                }
            }
            Err(error) => {
                // Its lease was dropped with it: the item is due again, and nothing is lost.
                let hop = self.working.remove(&error.id());
                let hop = hop.map(|h| h.to_string()).unwrap_or_default();
                tracing::error!(connector = self.connector.name(), %hop, %error, "a connection's task was lost");
            }
        }
    }

    fn next_timer(&self, wake: Option<Timestamp>) -> Option<Instant> {
        let due = wake.map(|at| {
            let wait = Timestamp::now().duration_until(at);
            Instant::now() + Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        let idle = self.parked.values().map(|(_, since)| *since + self.limits.idle).min();
        due.into_iter().chain(idle).min()
    }

    fn close_idle(&mut self) {
        let idle = self.limits.idle;
        let stale: Vec<NextHop> = self
            .parked
            .iter()
            .filter(|(_, (_, since))| since.elapsed() >= idle)
            .map(|(h, _)| h.clone())
            .collect();
        for hop in stale {
            self.close(&hop);
        }
    }

    fn close(&mut self, hop: &NextHop) {
        if let Some((line, _)) = self.parked.remove(hop) {
            match self.connector.runtime() {
                Some(runtime) => runtime.spawn(line.close()),
                None => tokio::spawn(line.close()),
            };
        }
    }

    async fn finish(mut self) {
        while let Some(ended) = self.lines.join_next_with_id().await {
            self.line_ended(ended);
        }
        for (_, (line, _)) in self.parked.drain() {
            line.close().await;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
