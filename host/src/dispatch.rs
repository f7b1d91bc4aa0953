//! dispatch: takes due items to their connector. One [`Dispatcher`] a connector; only it leases items for delivery.
//!
//! It keeps a ring of destinations with due items. A free connection goes to the next destination in the ring,
//! delivers at most `max_messages_per_connection` items and ends, or is parked for a while when nothing else is due:
//! so each destination gets its turn, and a dead one, which is a timer in the index, costs its neighbours nothing.

mod breaking;
mod intents;
mod line;
mod ring;
mod settler;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod withdrawal_tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_model::NextHop;
use postern_store::ReadyFeed;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connector::Connector;
use line::Line;
use ring::Ring;

pub use settler::{ReceiptSender, Settled, Settler};

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
    /// Whether it stays open beyond that while receipts of its destination are pending.
    pub keep_open: bool,
    /// Settlements of one connection that may be on their way to the disk.
    pub settle_window: usize,
}

/// The loop of one connector.
pub struct Dispatcher {
    connector: Arc<dyn Connector>,
    settler: Arc<Settler>,
    limits: DispatchLimits,
    ring: Ring,
    /// Lines that work or are being closed.
    lines: JoinSet<Line>,
    /// Their destinations.
    working: HashMap<tokio::task::Id, NextHop>,
    /// Lines with an open connection and nothing to do.
    parked: VecDeque<Line>,
    /// Settles overdue items; at most one task.
    overdue: JoinSet<()>,
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
            parked: VecDeque::new(),
            overdue: JoinSet::new(),
        }
    }

    /// Delivers until told to stop, or until the store has stopped; then lets the connections finish the item that they
    /// have, and closes them.
    pub async fn run(mut self, stop: CancellationToken) {
        let index = self.settler.store().index().clone();
        let connector = self.connector.clone();
        let feed = index.ready(connector.name());
        // A store that has stopped takes no outcomes, so it gives no items either.
        while !index.is_stopped() {
            let wake = feed.promote(Timestamp::now());
            for hop in feed.take_ready() {
                self.ring.add(hop);
            }
            self.start_overdue(&feed, &stop);
            self.start_lines(&stop);
            let timer = self.next_timer(wake);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.lines.join_next_with_id(), if !self.lines.is_empty() => self.line_ended(ended),
                Some(ended) = self.overdue.join_next(), if !self.overdue.is_empty() => self.overdue_ended(ended),
                () = feed.notified() => {}
                () = connector.exchanged() => self.look_after_idle(),
                () = breaker_changed(&*self.connector) => {}
                () = sleep_until(timer) => self.look_after_idle(),
            }
        }
        self.finish().await;
    }

    /// Settles items whose receipts are overdue, beside the deliveries: on a full disk that may take for ever.
    fn start_overdue(&mut self, feed: &ReadyFeed, stop: &CancellationToken) {
        if !self.overdue.is_empty() {
            return;
        }
        // An item that can neither be read nor left alone would be named again at once.
        let leases = feed.lease_expired(OVERDUE_BATCH.min(self.settler.room_for_unreadable()));
        if leases.is_empty() {
            return;
        }
        let (settler, stop, window) = (self.settler.clone(), stop.clone(), self.limits.settle_window);
        self.overdue.spawn(async move { settler.settle_overdue(leases, window, &stop).await });
    }

    fn overdue_ended(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(connector = self.connector.name(), %error, "overdue items were not settled");
        }
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
            // Before an item is leased: while the agent is left alone, none is taken from its queue.
            let Some(pass) = breaking::admit(&*self.connector) else {
                self.ring.put_back(hop);
                break;
            };
            // Nothing due: it leaves the ring, and the index names it again when that changes.
            let Some(lease) = index.lease(&hop, Timestamp::now()) else { continue };
            let line = self.take_parked(&hop).unwrap_or_else(|| {
                Line::new(self.connector.clone(), self.settler.clone(), hop.clone(), self.limits)
            });
            // Where every slot is taken an idle connection gives up its own: it is closed before another is opened.
            let full = self.lines.len() + self.parked.len() >= self.limits.connections;
            let surplus = if full { self.take_idlest() } else { None };
            let stop = stop.clone();
            self.spawn(hop.clone(), async move {
                if let Some(idle) = surplus {
                    idle.close().await;
                }
                line.work(lease, pass, stop).await
            });
            // It stays in the ring, behind the others: it may get a second connection, or its next turn.
            self.ring.add(hop);
        }
    }

    /// Runs what a line does where its connector's connections must run.
    fn spawn(&mut self, hop: NextHop, work: impl Future<Output = Line> + Send + 'static) {
        let task = match self.connector.runtime() {
            Some(runtime) => self.lines.spawn_on(work, runtime),
            None => self.lines.spawn(work),
        };
        self.working.insert(task.id(), hop);
    }

    /// The idle connection to a destination that was used last.
    fn take_parked(&mut self, hop: &NextHop) -> Option<Line> {
        let position = self.parked.iter().rposition(|line| line.hop() == hop)?;
        self.parked.remove(position)
    }

    /// The connection that is idle for the longest time.
    fn take_idlest(&mut self) -> Option<Line> {
        let (position, _) = self.parked.iter().enumerate().min_by_key(|(_, line)| line.idle_since())?;
        self.parked.remove(position)
    }

    fn line_ended(&mut self, ended: Result<(tokio::task::Id, Line), JoinError>) {
        match ended {
            Ok((id, line)) => {
                self.working.remove(&id);
                if line.is_retired() {
                    self.close(line);
                } else if line.is_open() {
                    self.parked.push_back(line);
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
        let parked = self.parked.iter().map(|line| {
            let idle = line.idle_since() + self.limits.idle;
            line.tick_at().map_or(idle, |tick| tick.min(idle))
        });
        let breaker = self.connector.breaker().and_then(|breaker| breaker.wake_at()).map(Instant::from_std);
        due.into_iter().chain(parked).chain(breaker).min()
    }

    /// Closes connections that were idle for long enough or were exchanged, and lets those do something that want to.
    fn look_after_idle(&mut self) {
        let now = Instant::now();
        for mut line in std::mem::take(&mut self.parked) {
            if line.is_retired() {
                self.close(line);
            } else if line.tick_at().is_some_and(|at| at <= now) {
                self.spawn(line.hop().clone(), line.tick());
            } else if now.duration_since(line.idle_since()) < self.limits.idle {
                self.parked.push_back(line);
            } else if self.must_stay(line.hop()) {
                line.stay();
                self.parked.push_back(line);
            } else {
                self.close(line);
            }
        }
    }

    /// Whether the connections to a destination stay open while receipts are pending there, and they are.
    fn must_stay(&self, hop: &NextHop) -> bool {
        self.limits.keep_open && self.settler.store().index().pending(hop) > 0
    }

    /// Closes a connection; until that is done it takes up its slot.
    fn close(&mut self, line: Line) {
        self.spawn(line.hop().clone(), line.close());
    }

    async fn finish(mut self) {
        self.wait_for_lines().await;
        while let Some(line) = self.parked.pop_front() {
            self.close(line);
        }
        self.wait_for_lines().await;
        while let Some(ended) = self.overdue.join_next().await {
            self.overdue_ended(ended);
        }
    }

    async fn wait_for_lines(&mut self) {
        while let Some(ended) = self.lines.join_next_with_id().await {
            self.line_ended(ended);
        }
    }
}

/// Waits until the breaker of a connector may give leave that it did not give.
async fn breaker_changed(connector: &dyn Connector) {
    match connector.breaker() {
        Some(breaker) => breaker.changed().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
