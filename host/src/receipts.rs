//! receipts: the far end's later word. One mechanism for polls, for receipts that an agent met on the way, and for
//! drop files that a gateway took.

mod early;
mod poller;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use postern_model::{EventKind, NextHop, Receipt, ReceiptState, TrackingEvent};
use postern_store::{StoreError, StoredReceipt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Settled, Settler};
use crate::settle;

use early::{Arrival, Early, Kept};
pub use poller::Poller;

/// Messages of the channel that are taken at once: their receipts are on the disk with one group commit.
const BATCH: usize = 256;

/// The detail that a pickup carries: how it was seen.
pub const TAKEN_BY: &str = "seen-by";

/// Settles receipts, many at once.
pub struct Receipts {
    settler: Arc<Settler>,
    incoming: mpsc::UnboundedReceiver<(String, Vec<Receipt>)>,
    early: Early,
}

/// How far a receipt that somebody waits for has come.
enum Step {
    /// Handed in; durable when this is ready.
    HandedIn(Settled, NextHop),
    /// The item is in the hands of a delivery (other recipients of it are tried again): later.
    Busy,
    /// Nobody waits for it after all.
    Unknown,
}

/// What a round does: receipts of different items, handed in together and awaited together.
#[derive(Default)]
struct Round {
    items: HashSet<postern_model::ItemId>,
    /// Only watched for: they go in one commit.
    watched: Vec<(Arrival, StoredReceipt, TrackingEvent)>,
    deciding: Vec<(Arrival, Settled, NextHop)>,
    /// Further receipts of the same items: for the next round, when this one is durable.
    rest: Vec<Arrival>,
}

impl Receipts {
    /// Takes receipts from this channel.
    #[must_use]
    pub fn new(settler: Arc<Settler>, incoming: mpsc::UnboundedReceiver<(String, Vec<Receipt>)>) -> Self {
        Self { settler, incoming, early: Early::default() }
    }

    /// Settles receipts until told to stop or nobody can send any; then what has come is settled first.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = self.early.next();
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                received = self.incoming.recv_many(&mut batch, BATCH) => if received == 0 { break },
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            // Those that are due go along with each batch, so that a busy channel does not hold them up.
            let due = self.early.take_due(Instant::now());
            self.take(self.arrivals(batch).into_iter().chain(due).collect()).await;
        }
        self.incoming.close();
        let mut batch = Vec::new();
        while self.incoming.recv_many(&mut batch, BATCH).await > 0 {
            self.take(self.arrivals(std::mem::take(&mut batch))).await;
        }
        let last = self.early.take_all();
        self.take(last).await;
    }

    /// The receipts of a batch that may be final.
    fn arrivals(&self, batch: Vec<(String, Vec<Receipt>)>) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for (connector, receipts) in batch {
            for receipt in receipts {
                match receipt.state {
                    ReceiptState::Pending(_) => self.settler.metrics().receipt(&connector, "pending"),
                    _ => arrivals.push(Arrival::new(connector.clone(), receipt)),
                }
            }
        }
        arrivals
    }

    async fn take(&mut self, mut arrivals: Vec<Arrival>) {
        while !arrivals.is_empty() {
            let rest = arrivals.split_off(arrivals.len().min(BATCH));
            let again = self.round(arrivals).await;
            arrivals = again.into_iter().chain(rest).collect();
        }
    }

    /// Settles what can be settled side by side. Durable when it returns, but for what it gives back.
    async fn round(&mut self, arrivals: Vec<Arrival>) -> Vec<Arrival> {
        let store = self.settler.store().clone();
        // All reads are under way before the first is waited for.
        let look_up = |a: &Arrival| store.receipt(a.connector.clone(), a.receipt.id.clone());
        let reads: Vec<_> = arrivals.iter().map(look_up).collect();
        let mut round = Round::default();
        for (arrival, read) in arrivals.into_iter().zip(reads) {
            match read.await {
                Ok(None) => self.unknown(arrival),
                Ok(Some(known)) if !round.items.insert(known.item) => round.rest.push(arrival),
                Ok(Some(known)) if !known.decides => {
                    let event = watched_event(&known, &arrival.receipt);
                    round.watched.push((arrival, known, event));
                }
                Ok(Some(known)) => match decide(&self.settler, &known, &arrival.receipt).await {
                    Ok(Step::HandedIn(settled, hop)) => round.deciding.push((arrival, settled, hop)),
                    Ok(Step::Busy) => self.later(arrival),
                    Ok(Step::Unknown) => self.unknown(arrival),
                    Err(error) => self.not_stored(arrival, &error),
                },
                Err(error) => self.not_stored(arrival, &error),
            }
        }
        self.finish(round).await
    }

    /// Waits until a round is durable.
    async fn finish(&mut self, round: Round) -> Vec<Arrival> {
        let Round { watched, deciding, rest, .. } = round;
        let hops: Vec<_> =
            watched.iter().map(|(_, r, _)| NextHop::new(&r.connector, &r.destination)).collect();
        let (mut arrivals, mut receipts, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for (arrival, receipt, event) in watched {
            arrivals.push(arrival);
            receipts.push(receipt);
            events.push(event);
        }
        // Handed in before anything is awaited, so that both kinds are in one group.
        let commit = (!receipts.is_empty()).then(|| self.settler.store().finish_receipts(receipts, events));
        for (arrival, settled, hop) in deciding {
            match settled.await {
                Ok(_) => self.done(&arrival, &hop, "settled"),
                Err(error) => self.not_stored(arrival, &error),
            }
        }
        let Some(commit) = commit else { return rest };
        match commit.await {
            Ok(()) => arrivals.iter().zip(&hops).for_each(|(a, hop)| self.done(a, hop, "watched")),
            Err(error) => arrivals.into_iter().for_each(|arrival| self.not_stored(arrival, &error)),
        }
        rest
    }

    fn done(&self, arrival: &Arrival, hop: &NextHop, word: &str) {
        self.settler.metrics().receipt(&arrival.connector, word);
        room_again(&self.settler, hop, &arrival.receipt);
    }

    /// A receipt may come before the hand-over that it belongs to was settled: it is looked at again.
    fn unknown(&mut self, arrival: Arrival) {
        if arrival.is_new() {
            self.settler.metrics().receipt(&arrival.connector, "unknown");
        }
        self.keep(arrival);
    }

    /// Somebody waits for it, but not now.
    fn later(&mut self, mut arrival: Arrival) {
        arrival.is_awaited();
        self.keep(arrival);
    }

    fn not_stored(&mut self, arrival: Arrival, error: &StoreError) {
        let Arrival { connector, receipt, .. } = &arrival;
        tracing::error!(connector, receipt = receipt.id, %error, "a receipt was not stored; it is tried again");
        self.later(arrival);
    }

    fn keep(&mut self, arrival: Arrival) {
        let (connector, id) = (arrival.connector.clone(), arrival.receipt.id.clone());
        match self.early.keep(arrival, Instant::now()) {
            Kept::Yes => {}
            Kept::TooOld => {
                tracing::info!(connector, receipt = id, "a receipt that nobody waits for is forgotten");
            }
            Kept::Full => self.settler.metrics().receipt(&connector, "dropped"),
        }
    }
}

/// Hands in what a receipt makes of the item that waits for it.
async fn decide(settler: &Settler, known: &StoredReceipt, receipt: &Receipt) -> Result<Step, StoreError> {
    let store = settler.store();
    let Some(mut lease) = store.index().lease_item(known.item) else {
        let is_there = store.index().item_view(known.item).is_some();
        return Ok(if is_there { Step::Busy } else { Step::Unknown });
    };
    let Some(loaded) = lease.load(&**store).await? else { return Ok(Step::Unknown) };
    let topology = settler.topology();
    let policy = topology.policy_for(&loaded.item.next_hop);
    let quoted = settler.quoted(&loaded).await;
    let context = quoted.context(&loaded.message, &policy);
    let Some(mut settlement) =
        settle::settle_receipt(context, &loaded.item, receipt, &mut fastrand::Rng::new())
    else {
        return Ok(Step::Unknown);
    };
    let kept = settler.keep_bad_mail(lease, &loaded.message, &loaded.content, &settlement).await;
    let Some(lease) = kept else { return Ok(Step::Busy) };
    if is_pickup(receipt) {
        settlement.write.events.push(watched_event(known, receipt));
    }
    Ok(Step::HandedIn(settler.hand_in(lease, &loaded.item, settlement), loaded.item.next_hop.clone()))
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
