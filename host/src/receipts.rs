//! receipts: the far end's later word. One mechanism for polls, for receipts that an agent met on the way, and for
//! drop files that a gateway took.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_model::{EventKind, NextHop, Receipt, ReceiptState, TrackingEvent};
use postern_store::{StoreError, StoredReceipt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connector::Connector;
use crate::dispatch::Settler;
use crate::settle;

/// Receipts asked about in one poll.
const POLL_BATCH: usize = 100;
/// Receipts that came before their hand-over was settled and are kept in memory, for each connector.
const MAX_EARLY: usize = 10_000;
/// How long such a receipt is kept.
const EARLY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Settles receipts, one after the other.
pub struct Receipts {
    settler: Arc<Settler>,
    incoming: mpsc::UnboundedReceiver<(String, Vec<Receipt>)>,
    early: HashMap<(String, String), (Receipt, tokio::time::Instant)>,
}

/// What became of one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It decided something, or shortened what a recipient waits for.
    Settled,
    /// It was only watched for; its event is recorded.
    Watched,
    /// It says that nothing is final yet.
    Pending,
    /// Nobody waits for it: repeated, foreign, or not known yet.
    Unknown,
}

impl Receipts {
    /// Takes receipts from this channel.
    #[must_use]
    pub fn new(settler: Arc<Settler>, incoming: mpsc::UnboundedReceiver<(String, Vec<Receipt>)>) -> Self {
        Self { settler, incoming, early: HashMap::new() }
    }

    /// Settles receipts until told to stop and the channel is empty.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut again = tokio::time::interval(Duration::from_secs(1));
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                received = self.incoming.recv() => match received {
                    Some((connector, receipts)) => self.take_all(&connector, receipts).await,
                    None => return,
                },
                () = stop.cancelled() => return,
                _ = again.tick(), if !self.early.is_empty() => self.retry_early().await,
            }
        }
    }

    async fn take_all(&mut self, connector: &str, receipts: Vec<Receipt>) {
        for receipt in receipts {
            self.take(connector, receipt).await;
        }
    }

    async fn take(&mut self, connector: &str, receipt: Receipt) {
        match take(&self.settler, connector, &receipt).await {
            Ok(Taken::Unknown) => {
                let full = self.early.keys().filter(|(c, _)| c == connector).count() >= MAX_EARLY;
                let what = if full { "dropped" } else { "unknown" };
                self.settler.metrics().receipt(connector, what);
                if !full {
                    let key = (connector.to_owned(), receipt.id.clone());
                    self.early.insert(key, (receipt, tokio::time::Instant::now()));
                }
            }
            Ok(taken) => self.settler.metrics().receipt(connector, word(taken)),
            Err(error) => {
                tracing::error!(connector, receipt = receipt.id, %error, "a receipt was not stored")
            }
        }
    }

    /// A receipt may come before the hand-over that it belongs to was settled: it is looked at again.
    async fn retry_early(&mut self) {
        let waiting: Vec<_> = self.early.drain().collect();
        for ((connector, id), (receipt, since)) in waiting {
            match take(&self.settler, &connector, &receipt).await {
                Ok(Taken::Unknown) if since.elapsed() < EARLY_LIFE => {
                    self.early.insert((connector, id), (receipt, since));
                }
                Ok(Taken::Unknown) => {
                    tracing::info!(connector, receipt = id, "a receipt that nobody waits for is forgotten");
                }
                Ok(taken) => self.settler.metrics().receipt(&connector, word(taken)),
                Err(error) => tracing::error!(connector, receipt = id, %error, "a receipt was not stored"),
            }
        }
    }
}

fn word(taken: Taken) -> &'static str {
    match taken {
        Taken::Settled => "settled",
        Taken::Watched => "watched",
        Taken::Pending => "pending",
        Taken::Unknown => "unknown",
    }
}

/// Settles one receipt of a connector. Durable when it returns.
///
/// # Errors
/// When the store refuses; the receipt changed nothing then.
pub async fn take(settler: &Settler, connector: &str, receipt: &Receipt) -> Result<Taken, StoreError> {
    if matches!(receipt.state, ReceiptState::Pending(_)) {
        return Ok(Taken::Pending);
    }
    let store = settler.store();
    let Some(known) = store.receipt(connector.to_owned(), receipt.id.clone()).await? else {
        return Ok(Taken::Unknown);
    };
    if !known.decides {
        let event = watched_event(&known, receipt);
        let hop = NextHop::new(&known.connector, &known.destination);
        store.finish_receipts(vec![known], vec![event]).await?;
        room_again(settler, &hop, receipt);
        return Ok(Taken::Watched);
    }
    // The item may be in the hands of a delivery (other recipients of it are tried again): wait for its turn.
    let Some(mut lease) = store.index().lease_item_wait(known.item).await else {
        return Ok(Taken::Unknown);
    };
    let Some(loaded) = lease.load(&**store).await? else { return Ok(Taken::Unknown) };
    let topology = settler.topology();
    let policy = topology.policy_for(&loaded.item.next_hop);
    let quoted = settler.quoted(&loaded).await;
    let context = quoted.context(&loaded.message, &policy);
    let Some(mut settlement) =
        settle::settle_receipt(context, &loaded.item, receipt, &mut fastrand::Rng::new())
    else {
        return Ok(Taken::Unknown);
    };
    if is_pickup(receipt) {
        settlement.write.events.push(watched_event(&known, receipt));
    }
    settler.hand_in(lease, &loaded.item, settlement).await?;
    room_again(settler, &loaded.item.next_hop, receipt);
    Ok(Taken::Settled)
}

/// Whether this is the word about a drop file: the gateway took it.
fn is_pickup(receipt: &Receipt) -> bool {
    receipt.details.iter().any(|(name, _)| name == TAKEN_BY)
}

/// A gateway that takes a file makes room: a queue that waits because its drop directory was full goes on at once.
fn room_again(settler: &Settler, hop: &NextHop, receipt: &Receipt) {
    let index = settler.store().index();
    if is_pickup(receipt) && index.failures(hop) > 0 {
        index.clear_retry(hop);
    }
}

/// The detail that a pickup carries: how it was seen.
pub const TAKEN_BY: &str = "seen-by";

fn watched_event(known: &StoredReceipt, receipt: &Receipt) -> TrackingEvent {
    let mut details = vec![("receipt".to_owned(), known.id.clone())];
    details.extend(receipt.details.iter().cloned());
    TrackingEvent {
        time: Timestamp::now(),
        kind: EventKind::Taken,
        message: known.item.message,
        item: Some(known.item),
        connector: known.connector.clone(),
        destination: Some(known.destination.clone()),
        sender: known.sender.clone(),
        recipients: known.recipients.clone(),
        internet_message_id: None,
        subject: None,
        size: None,
        attempt: None,
        details,
    }
}

/// Asks a connector about its pending receipts at intervals.
pub struct Poller {
    connector: Arc<dyn Connector>,
    settler: Arc<Settler>,
    receipts: mpsc::UnboundedSender<(String, Vec<Receipt>)>,
    interval: Duration,
}

impl Poller {
    /// A poller for a connector that can be polled.
    #[must_use]
    pub fn new(
        connector: Arc<dyn Connector>,
        settler: Arc<Settler>,
        receipts: mpsc::UnboundedSender<(String, Vec<Receipt>)>,
        interval: Duration,
    ) -> Self {
        Self { connector, settler, receipts, interval }
    }

    /// Polls until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            if let Err(error) = self.poll_all().await {
                tracing::warn!(connector = self.connector.name(), error, "receipts could not be polled");
            }
        }
    }

    async fn poll_all(&self) -> Result<(), String> {
        let name = self.connector.name().to_owned();
        let mut after = None;
        loop {
            let known = self.settler.store().receipts(name.clone(), after.clone(), POLL_BATCH).await;
            let known = known.map_err(|e| e.to_string())?;
            let Some(last) = known.last() else { return Ok(()) };
            after = Some(last.id.clone());
            let whole = known.len() < POLL_BATCH;
            let ids: Vec<String> = known.into_iter().map(|r| r.id).collect();
            let words = self.connector.poll_receipts(&ids).await.map_err(|d| d.response.to_string())?;
            // An agent speaks for the receipts that it was asked about, and for no others.
            let words: Vec<Receipt> = words.into_iter().filter(|r| ids.contains(&r.id)).collect();
            let closed = !words.is_empty() && self.receipts.send((name.clone(), words)).is_err();
            if closed || whole {
                return Ok(());
            }
        }
    }
}
