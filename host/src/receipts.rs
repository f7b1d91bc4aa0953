//! receipts: the far end's later word. One mechanism for polls, for receipts that an agent met on the way, for
//! call-backs, and for drop files that a gateway took: whoever hears one gives it to the [`ReceiptDoor`].
//!
//! A receipt is matched by connector and id, and by the address where it names one (`docs/decisions/0009`). One that
//! nobody waits for is looked at again for a while, since it may have come before its hand-over was settled.

mod door;
mod early;
mod events;
mod matching;
mod poller;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use postern_model::{ItemId, NextHop, Receipt, ReceiptState, ReceiptWord};
use postern_store::{EarlyReceipt, ReceiptsChange, RememberedReceipt, StoreError, StoredReceipt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::dispatch::{Settled, Settler};
use crate::settle;

use door::Asked;
pub use door::{NotKept, ReceiptDoor, ReceiptQueue};
use early::{Arrival, Early, Kept};
use matching::{Afterthought, Match, choose};
pub use poller::Poller;

/// Messages of the channel that are taken at once: their receipts are on the disk with one group commit.
const BATCH: usize = 256;
/// The early receipts that are read back at start are as many as these connectors may have, of all connectors together.
const RECALLED_CONNECTORS: usize = 10;
/// Ambiguous ids that the log need not name again; when there are more, they are named again.
const MAX_NAMED: usize = 10_000;

/// The detail that a pickup carries: how it was seen.
pub const TAKEN_BY: &str = "seen-by";
/// The detail of a word that is only for the tracking: what stage a drop file is at.
pub const STAGE: &str = "stage";

/// Settles receipts, many at once.
pub struct Receipts {
    settler: Arc<Settler>,
    queue: ReceiptQueue,
    early: Early,
    /// Ambiguous ids that the log has named, with their connectors.
    named: HashSet<(String, String)>,
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

/// A receipt on its way to the disk.
struct Deciding {
    arrival: Arrival,
    /// What it made of each item that waited for it, with its queue.
    settled: Vec<(Settled, NextHop)>,
    /// Not all of them could be settled: it is looked at again.
    open: bool,
}

/// What a round does: receipts of different items, handed in together and awaited together.
#[derive(Default)]
struct Round {
    items: HashSet<ItemId>,
    deciding: Vec<Deciding>,
    /// Only watched for: part of the change.
    watched: Vec<(Arrival, NextHop)>,
    change: ReceiptsChange,
    /// What the store is to keep, and what no longer, when everything else is done.
    save: Vec<EarlyReceipt>,
    forget: Vec<EarlyReceipt>,
    /// Given up, by connector: how many, and the first id.
    given_up: BTreeMap<String, (usize, String)>,
    /// Further receipts of the same items: for the next round, when this one is durable.
    rest: Vec<Arrival>,
    /// Some receipt is neither on the disk nor known to change nothing.
    lost: bool,
}

impl Receipts {
    /// Takes what comes through the door.
    #[must_use]
    pub fn new(settler: Arc<Settler>, queue: ReceiptQueue) -> Self {
        let topology = settler.topology();
        let host = &topology.config.host;
        let early = Early::new(host.early_receipts, host.early_receipt_life);
        Self { settler, queue, early, named: HashSet::new() }
    }

    /// Settles receipts until told to stop or nobody can send any; then what has come is settled first.
    pub async fn run(mut self, stop: CancellationToken) {
        self.recall().await;
        while !stop.is_cancelled() {
            let next = self.early.next();
            let (mut heard, mut asked) = (Vec::new(), Vec::new());
            tokio::select! {
                () = stop.cancelled() => break,
                received = self.queue.heard.recv_many(&mut heard, BATCH) => if received == 0 { break },
                Some(one) = self.queue.asked.recv() => asked.push(one),
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            // Those that are due go along with each batch, so that a busy channel does not hold them up, and before
            // it: they came first.
            let mut arrivals = self.early.take_due(Instant::now());
            arrivals.extend(self.arrivals(heard));
            self.take(arrivals).await;
            self.answer(asked).await;
        }
        self.queue.heard.close();
        self.queue.asked.close();
        let mut heard = Vec::new();
        while self.queue.heard.recv_many(&mut heard, BATCH).await > 0 {
            let arrivals = self.arrivals(std::mem::take(&mut heard));
            self.take(arrivals).await;
        }
        while let Some(one) = self.queue.asked.recv().await {
            self.answer(vec![one]).await;
        }
        // A last look. What stays is with the store, and is looked at again after the next start.
        let last = self.early.take_all();
        self.take(last).await;
    }

    /// Takes up what an earlier run kept.
    async fn recall(&mut self) {
        let life = self.early.life();
        let most = RECALLED_CONNECTORS.saturating_mul(self.early.most());
        match self.settler.store().early_receipts(most).await {
            Ok(kept) => {
                self.take(kept.into_iter().map(|kept| Arrival::recalled(kept, life)).collect()).await;
            }
            Err(error) => tracing::error!(%error, "receipts that came early cannot be read"),
        }
    }

    /// Settles receipts whose callers wait, as many of them at once as have come.
    async fn answer(&mut self, mut asked: Vec<Asked>) {
        if asked.is_empty() {
            return;
        }
        while asked.len() < BATCH
            && let Ok(more) = self.queue.asked.try_recv()
        {
            asked.push(more);
        }
        let receipts = asked.iter_mut().map(|a| (a.connector.clone(), std::mem::take(&mut a.receipts)));
        let arrivals = self.arrivals(receipts.collect());
        let kept = self.take(arrivals).await;
        // Durable first: what the caller promises to the far end is on the disk now. Whoever asked may have gone.
        for one in asked {
            let _ = one.kept.send(kept);
        }
    }

    /// The receipts of a batch that may be final.
    fn arrivals(&self, batch: Vec<(String, Vec<Receipt>)>) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for (connector, receipts) in batch {
            for receipt in receipts {
                match receipt.state {
                    ReceiptState::Pending(_) if is_stage(&receipt) => {
                        arrivals.push(Arrival::new(connector.clone(), receipt));
                    }
                    ReceiptState::Pending(_) => self.settler.metrics().receipt(&connector, "pending"),
                    _ => arrivals.push(Arrival::new(connector.clone(), receipt)),
                }
            }
        }
        arrivals
    }

    /// Settles what can be settled. Says whether all of it is on the disk, or known to change nothing.
    async fn take(&mut self, mut arrivals: Vec<Arrival>) -> bool {
        let mut kept = true;
        while !arrivals.is_empty() {
            let rest = arrivals.split_off(arrivals.len().min(BATCH));
            let (again, lost) = self.round(arrivals).await;
            kept &= !lost;
            arrivals = again.into_iter().chain(rest).collect();
        }
        kept
    }

    /// Settles what can be settled side by side. Durable when it returns, but for what it gives back; and whether
    /// something was lost.
    async fn round(&mut self, arrivals: Vec<Arrival>) -> (Vec<Arrival>, bool) {
        let store = self.settler.store().clone();
        // All reads are under way before the first is waited for.
        let look_up = |a: &Arrival| store.find_receipts(a.connector.clone(), a.receipt.id.clone());
        let reads: Vec<_> = arrivals.iter().map(look_up).collect();
        let mut round = Round::default();
        for (arrival, read) in arrivals.into_iter().zip(reads) {
            match read.await {
                Ok(found) => {
                    let matched = choose(found, &arrival.receipt);
                    self.sort(arrival, matched, &mut round).await;
                }
                Err(error) => self.not_stored(arrival, &error, &mut round),
            }
        }
        self.finish(round).await
    }

    async fn sort(&mut self, arrival: Arrival, matched: Match, round: &mut Round) {
        if is_stage(&arrival.receipt) {
            // It changes nothing, so it is told to whoever waits, and kept for nobody.
            if let Match::Waiting(known) = matched {
                round.change.events.extend(known.iter().map(|known| events::stage(known, &arrival.receipt)));
            }
            return;
        }
        match matched {
            Match::Nobody => self.unknown(arrival, round),
            Match::Ambiguous => self.ambiguous(&arrival, round),
            Match::Past(how, past) => self.afterthought(&arrival, how, &past, round),
            Match::Waiting(known) if known.iter().any(|k| round.items.contains(&k.item)) => {
                round.rest.push(arrival);
            }
            Match::Waiting(known) => {
                round.items.extend(known.iter().map(|k| k.item));
                self.complete(arrival, known, round).await;
            }
        }
    }

    /// Hands in what a receipt makes of those that wait for it.
    async fn complete(&mut self, arrival: Arrival, known: Vec<StoredReceipt>, round: &mut Round) {
        let (mut settled, mut open) = (Vec::new(), false);
        for known in known {
            if !known.decides {
                round.change.events.push(events::taken(&known, &arrival.receipt));
                round.watched.push((arrival, NextHop::new(&known.connector, &known.destination)));
                round.change.finished.push(known);
                return;
            }
            match decide(&self.settler, &known, &arrival.receipt).await {
                Ok(Step::HandedIn(one, hop)) => settled.push((one, hop)),
                Ok(Step::Busy) => open = true,
                Ok(Step::Unknown) => {}
                Err(error) => {
                    log_not_stored(&arrival, &error);
                    open = true;
                }
            }
        }
        if settled.is_empty() && !open {
            return self.unknown(arrival, round);
        }
        round.deciding.push(Deciding { arrival, settled, open });
    }

    /// Waits until a round is durable.
    async fn finish(&mut self, mut round: Round) -> (Vec<Arrival>, bool) {
        let store = self.settler.store().clone();
        // Handed in before anything is awaited, so that both kinds are in one group.
        let change = std::mem::take(&mut round.change);
        let commit = (!change.events.is_empty()).then(|| store.change_receipts(change));
        for Deciding { arrival, settled, mut open } in std::mem::take(&mut round.deciding) {
            for (settled, hop) in settled {
                match settled.await {
                    Ok(_) => room_again(&self.settler, &hop, &arrival.receipt),
                    Err(error) => {
                        log_not_stored(&arrival, &error);
                        open = true;
                    }
                }
            }
            if open {
                self.later(arrival, &mut round);
            } else {
                self.done(&arrival, "settled", &mut round);
            }
        }
        if let Some(commit) = commit {
            let committed = commit.await;
            round.lost |= committed.is_err();
            for (arrival, hop) in std::mem::take(&mut round.watched) {
                match &committed {
                    Ok(()) => {
                        room_again(&self.settler, &hop, &arrival.receipt);
                        self.done(&arrival, "watched", &mut round);
                    }
                    Err(error) => self.not_stored(arrival, error, &mut round),
                }
            }
        }
        for (connector, (count, first)) in &round.given_up {
            tracing::warn!(connector, count, first, "receipts that nobody waits for are forgotten");
        }
        let Round { save: early, forget: no_longer_early, rest, mut lost, .. } = round;
        if !early.is_empty() || !no_longer_early.is_empty() {
            let change = ReceiptsChange { early, no_longer_early, ..ReceiptsChange::default() };
            if let Err(error) = store.change_receipts(change).await {
                tracing::error!(%error, "receipts that came early were not stored; a restart forgets them");
                lost = true;
            }
        }
        (rest, lost)
    }

    fn done(&self, arrival: &Arrival, word: &str, round: &mut Round) {
        self.settler.metrics().receipt(&arrival.connector, word);
        forget(arrival, round);
    }

    /// A receipt may come before the hand-over that it belongs to was settled: it is looked at again.
    fn unknown(&mut self, arrival: Arrival, round: &mut Round) {
        let (is_new, connector, id) =
            (arrival.is_new(), arrival.connector.clone(), arrival.receipt.id.clone());
        if self.keep(arrival, round) && is_new {
            self.settler.metrics().receipt(&connector, "unknown");
            tracing::debug!(connector, receipt = id, "nobody waits for this receipt yet");
        }
    }

    /// Several items wait for this id: completing the wrong one would be worse than completing none.
    fn ambiguous(&mut self, arrival: &Arrival, round: &mut Round) {
        let Arrival { connector, receipt, .. } = arrival;
        self.settler.metrics().receipt(connector, "ambiguous");
        if self.named.len() >= MAX_NAMED {
            self.named.clear();
        }
        if self.named.insert((connector.clone(), receipt.id.clone())) {
            let (id, address) = (&receipt.id, &receipt.address);
            tracing::warn!(
                connector,
                receipt = id,
                address,
                "several items wait for this receipt and it does not say which it is about: none is completed"
            );
        }
        forget(arrival, round);
    }

    /// What was settled stands. A word that does not fit it is told once.
    fn afterthought(
        &self,
        arrival: &Arrival,
        how: Afterthought,
        past: &RememberedReceipt,
        round: &mut Round,
    ) {
        let Arrival { connector, receipt, .. } = arrival;
        self.settler.metrics().receipt(connector, how.word());
        forget(arrival, round);
        if how == Afterthought::Repeated || past.noted || round.change.noted.contains(&past.number) {
            return;
        }
        let said = receipt.state.word().as_str();
        let before = past.receipt.word.map_or(events::NO_WORD, ReceiptWord::as_str);
        let (id, item) = (&receipt.id, past.receipt.item);
        tracing::warn!(
            connector, receipt = id, %item, said, before,
            "a receipt changes nothing, since another word or the end of the wait came first"
        );
        round.change.noted.push(past.number);
        round.change.events.push(events::afterthought(&past.receipt, receipt));
    }

    /// Somebody waits for it, but not now.
    fn later(&mut self, mut arrival: Arrival, round: &mut Round) {
        arrival.is_awaited();
        self.keep(arrival, round);
    }

    fn not_stored(&mut self, arrival: Arrival, error: &StoreError, round: &mut Round) {
        log_not_stored(&arrival, error);
        self.later(arrival, round);
    }

    /// Keeps it for another look; says whether it has found a place.
    fn keep(&mut self, mut arrival: Arrival, round: &mut Round) -> bool {
        let (early, was_saved) = (arrival.stored(), arrival.is_saved());
        let metrics = self.settler.metrics().clone();
        let connector = &early.connector;
        arrival.is_being_saved();
        match self.early.keep(arrival, Instant::now()) {
            Kept::Yes => {
                if !was_saved {
                    round.save.push(early);
                }
                return true;
            }
            // The one that was kept first has the row in the store.
            Kept::Known(first) => {
                let said = early.receipt.state.word();
                let how =
                    if first.agrees_with(said) { Afterthought::Repeated } else { Afterthought::Contradicts };
                metrics.receipt(connector, how.word());
                tracing::debug!(connector, receipt = early.receipt.id, %said, %first, "of two early words the first counts");
                return false;
            }
            Kept::TooOld => {}
            Kept::Full => {
                metrics.receipt(connector, "dropped");
                round.lost = true;
            }
        }
        let id = early.receipt.id.clone();
        round.given_up.entry(connector.clone()).or_insert((0, id)).0 += 1;
        if was_saved {
            round.forget.push(early);
        }
        false
    }
}

fn log_not_stored(Arrival { connector, receipt, .. }: &Arrival, error: &StoreError) {
    tracing::error!(connector, receipt = receipt.id, %error, "a receipt was not stored; it is tried again");
}

/// It need not be looked at again.
fn forget(arrival: &Arrival, round: &mut Round) {
    if arrival.is_saved() {
        round.forget.push(arrival.stored());
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
        settlement.write.events.push(events::taken(known, receipt));
    }
    Ok(Step::HandedIn(settler.hand_in(lease, &loaded.item, settlement), loaded.item.next_hop.clone()))
}

/// Whether this is the word about a drop file: the gateway took it.
fn is_pickup(receipt: &Receipt) -> bool {
    receipt.details.iter().any(|(name, _)| name == TAKEN_BY)
}

/// Whether this is only for the tracking.
fn is_stage(receipt: &Receipt) -> bool {
    receipt.details.iter().any(|(name, _)| name == STAGE)
}

/// A gateway that takes a file makes room: a queue that waits because its drop directory was full goes on at once.
fn room_again(settler: &Settler, hop: &NextHop, receipt: &Receipt) {
    let index = settler.store().index();
    if is_pickup(receipt) && index.failures(hop) > 0 {
        index.clear_retry(hop);
    }
}
