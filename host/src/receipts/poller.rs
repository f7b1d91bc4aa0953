//! Poller: asks a connector about its pending receipts at intervals.

use std::sync::Arc;
use std::time::Duration;

use postern_store::{ReceiptKey, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::connector::Connector;
use crate::dispatch::{ReceiptSender, Settler};

/// Receipts asked about in one call; agents need not look at more.
const POLL_BATCH: usize = 64;
/// Receipts asked about in one round; the next round goes on behind them.
const MAX_ROUND: usize = 10_000;
/// So many calls in a row that fail end a round: the far end is down.
const MAX_FAILURES: usize = 8;

/// The polls of one connector.
pub struct Poller {
    connector: Arc<dyn Connector>,
    settler: Arc<Settler>,
    receipts: ReceiptSender,
    interval: Duration,
}

/// What came of the calls of a round.
#[derive(Debug, Default)]
struct Round {
    /// Where the next one goes on: behind this id. `None`: from the first.
    next: Option<String>,
    /// Calls that failed.
    failures: usize,
    /// What the last of them said.
    error: String,
}

impl Poller {
    /// A poller for a connector that can be polled, now or after its agent was exchanged.
    #[must_use]
    pub fn new(
        connector: Arc<dyn Connector>,
        settler: Arc<Settler>,
        receipts: ReceiptSender,
        interval: Duration,
    ) -> Self {
        Self { connector, settler, receipts, interval }
    }

    /// Polls until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut after = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.interval) => {}
            }
            if !self.connector.can_poll() {
                continue;
            }
            let connector = self.connector.name();
            // All ids are read first: those that are decided meanwhile change nothing about what comes next.
            match pending(&**self.settler.store(), connector, after.take()).await {
                Ok((ids, whole)) => {
                    let round = self.ask(&ids, whole, &stop).await;
                    if round.failures > 0 {
                        let Round { failures, error, .. } = &round;
                        tracing::warn!(connector, calls = failures, error, "receipts could not be polled");
                    }
                    after = round.next;
                }
                Err(error) => tracing::warn!(connector, %error, "pending receipts cannot be read"),
            }
        }
    }

    /// Asks call by call, going on after one that failed. `whole`: nothing lies behind these ids.
    async fn ask(&self, ids: &[String], whole: bool, stop: &CancellationToken) -> Round {
        let (mut round, mut in_a_row) = (Round::default(), 0);
        for batch in ids.chunks(POLL_BATCH) {
            if stop.is_cancelled() {
                return round;
            }
            match self.connector.poll_receipts(batch).await {
                // It may know more than it was asked about: what an agent says is about its own connector in any case.
                Ok(words) => {
                    in_a_row = 0;
                    let name = self.connector.name().to_owned();
                    if !words.is_empty() && self.receipts.send((name, words)).is_err() {
                        return round;
                    }
                }
                Err(deferral) => {
                    (round.failures, in_a_row) = (round.failures + 1, in_a_row + 1);
                    round.error = deferral.response.to_string();
                    if in_a_row >= MAX_FAILURES {
                        round.next = batch.last().cloned();
                        return round;
                    }
                }
            }
        }
        if !whole {
            round.next = ids.last().cloned();
        }
        round
    }
}

/// The ids of the receipts of a round, each once however many items wait for it, and whether nothing lies behind them.
async fn pending(
    store: &dyn Store,
    connector: &str,
    after: Option<String>,
) -> Result<(Vec<String>, bool), StoreError> {
    let known = store.receipts(connector.to_owned(), after.map(ReceiptKey::behind), MAX_ROUND).await?;
    let whole = known.len() < MAX_ROUND;
    let mut ids: Vec<String> = known.into_iter().filter(|r| r.decides).map(|r| r.id).collect();
    // Receipts come in the order of their ids.
    ids.dedup();
    Ok((ids, whole))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use postern_model::{Deferral, NextHop, NotOpened, Receipt};

    use super::*;
    use crate::connector::{BoxFuture, Connection, ConnectorState};
    use crate::receipts::ReceiptQueue;
    use crate::receipts::tests::{Site, delivered};

    /// Keeps what it was asked, fails in the calls of these numbers, and says of each other id that it arrived.
    struct FarEnd {
        asked: Mutex<Vec<Vec<String>>>,
        fails: fn(usize) -> bool,
    }

    impl Connector for FarEnd {
        fn name(&self) -> &'static str {
            "fax"
        }

        fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
            unreachable!("nothing is delivered")
        }

        fn poll_receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
            Box::pin(async move {
                let mut asked = self.asked.lock().unwrap();
                asked.push(ids.to_vec());
                if (self.fails)(asked.len()) {
                    return Err(Deferral::new(451, (4, 4, 1), "down", "service-unavailable"));
                }
                Ok(vec![delivered(&ids[0]), delivered("not asked about")])
            })
        }

        fn can_poll(&self) -> bool {
            true
        }

        fn state(&self) -> ConnectorState {
            ConnectorState::Ready
        }
    }

    fn poller(site: &Site, fails: fn(usize) -> bool) -> (Arc<FarEnd>, Poller) {
        let far_end = Arc::new(FarEnd { asked: Mutex::default(), fails });
        let (settler, receipts) = (site.settler.clone(), site.door.sender().clone());
        (far_end.clone(), Poller::new(far_end, settler, receipts, Duration::from_secs(60)))
    }

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("R-{n}")).collect()
    }

    fn words(queue: &mut ReceiptQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.heard.try_recv().ok()).flat_map(|(_, r)| r).map(|r| r.id).collect()
    }

    #[tokio::test]
    async fn each_receipt_is_asked_about_once_and_a_call_that_fails_holds_up_no_other() {
        let (site, mut queue) = Site::new();
        let (far_end, poller) = poller(&site, |call| call == 2);
        let round = poller.ask(&ids(200), true, &CancellationToken::new()).await;
        assert_eq!((round.failures, round.next), (1, None));
        let asked = far_end.asked.lock().unwrap();
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 64, 8]);
        assert_eq!(asked.concat(), ids(200));
        // What it says beside is not lost: a far end may tell each word only once.
        let other = "not asked about";
        assert_eq!(words(&mut queue), ["R-0", other, "R-128", other, "R-192", other]);
    }

    #[tokio::test]
    async fn a_round_that_is_cut_short_goes_on_behind_it() {
        let (site, _queue) = Site::new();
        let (far_end, poller) = poller(&site, |_| true);
        let round = poller.ask(&ids(2_000), true, &CancellationToken::new()).await;
        assert_eq!(far_end.asked.lock().unwrap().len(), MAX_FAILURES);
        assert_eq!(round.next.as_deref(), Some("R-511"));
        let (_, poller) = self::poller(&site, |_| false);
        let round = poller.ask(&ids(65), false, &CancellationToken::new()).await;
        assert_eq!(round.next.as_deref(), Some("R-64"));
    }

    #[tokio::test]
    async fn an_id_that_several_items_wait_for_is_asked_about_once() {
        let (site, _queue) = Site::new();
        for id in ["b", "a", "b", "c", "b"] {
            site.pending(&[id]).await;
        }
        let (all, whole) = pending(&*site.store, "fax", None).await.unwrap();
        assert_eq!((all.join(" ").as_str(), whole), ("a b c", true));
        let (rest, _) = pending(&*site.store, "fax", Some("b".to_owned())).await.unwrap();
        assert_eq!(rest, ["c"]);
    }
}
