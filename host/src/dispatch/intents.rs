//! Intents: hand-overs of which nobody has seen the end, and what is done about them before the next attempt.
//!
//! Where a second copy costs money, the record that an attempt is about to hand something over is on the disk before the
//! agent is called. It goes with the settlement of the attempt. One that stays belongs to an attempt that a crash, a
//! trap or a deadline cut off: before the next one the agent is asked (`probe`), and where it cannot tell, the operator's
//! rule holds (`on_unknown`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Arrival, Deferral, DeliveryReport, DeliveryRequest, ItemId, NextHop, Outcome, RecipientOutcome, Response,
};
use postern_store::{Intent, Lease, StoreError};

use super::Settler;
use super::settler::{InFlight, Over};
use crate::config::OnUnknown;
use crate::connector::Connector;

/// The intents of attempts that were cut off, in memory as on the disk.
#[derive(Default)]
pub(super) struct Intents(Mutex<HashMap<ItemId, Intent>>);

impl Intents {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ItemId, Intent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, item: ItemId) -> Option<Intent> {
        self.lock().get(&item).cloned()
    }

    #[cfg(test)]
    pub fn is_open(&self, item: ItemId) -> bool {
        self.lock().contains_key(&item)
    }

    /// To be called when that is durable.
    pub fn forget(&self, item: ItemId) {
        self.lock().remove(&item);
    }
}

impl Settler {
    /// Reads the intents that an earlier run left. To be called before anything is delivered.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load_intents(&self) -> Result<usize, StoreError> {
        let intents = self.store().intents().await?;
        let count = intents.len();
        self.intents.lock().extend(intents.into_iter().map(|intent| (intent.item, intent)));
        Ok(count)
    }
}

/// Who is asked, and what is done when nobody can tell.
pub(super) struct Asking<'a> {
    pub connector: &'a dyn Connector,
    pub settler: &'a Settler,
    pub hop: &'a NextHop,
    pub on_unknown: OnUnknown,
}

/// What is known of an item's earlier attempt.
#[derive(Debug, Default)]
struct Known {
    outcomes: Vec<RecipientOutcome>,
    /// Recipients that are to be delivered to.
    open: Vec<u32>,
    /// Why the rest could not be asked about.
    fault: Option<Deferral>,
}

impl Asking<'_> {
    /// Settles what is known of earlier attempts, and records the intents of this one. What it gives may be delivered.
    pub async fn clear(
        &self,
        batch: Vec<(Lease, DeliveryRequest)>,
        in_flight: &mut InFlight,
    ) -> Vec<(Lease, DeliveryRequest)> {
        let mut open = Vec::new();
        for (lease, request) in batch {
            let known = match self.settler.intents.get(request.item.id) {
                Some(intent) => self.ask(&request, &intent).await,
                None => Known::default(),
            };
            if known.outcomes.is_empty() && known.fault.is_none() {
                open.push((lease, request));
            } else {
                self.settle(lease, &request, known, in_flight).await;
            }
        }
        self.record(open, in_flight).await
    }

    async fn ask(&self, request: &DeliveryRequest, intent: &Intent) -> Known {
        let mut known = Known::default();
        for recipient in request.recipients() {
            let key = request.idempotency_key(recipient);
            if !intent.idempotency_keys.contains(&key) {
                known.open.push(recipient.index);
                continue;
            }
            let answer = self.connector.did_it_arrive(&key).await;
            tracing::info!(item = %request.item.id, recipient = recipient.index, ?answer, "an attempt was cut off");
            let outcome = match (answer, self.on_unknown) {
                (Ok(Arrival::Known(outcome)), _) => outcome,
                (Ok(Arrival::CannotTell), OnUnknown::Report) => Outcome::Unknown(nobody_knows()),
                (Ok(Arrival::NeverSeen | Arrival::CannotTell), _) => {
                    known.open.push(recipient.index);
                    continue;
                }
                (Err(deferral), _) => {
                    known.fault = Some(deferral);
                    break;
                }
            };
            known.outcomes.push(RecipientOutcome::new(recipient.index, outcome));
        }
        known
    }

    /// Settles what is known. Recipients that are to be delivered to have their turn at the next attempt.
    async fn settle(&self, lease: Lease, request: &DeliveryRequest, known: Known, in_flight: &mut InFlight) {
        let mut report = DeliveryReport { outcomes: known.outcomes, ..DeliveryReport::default() };
        match known.fault {
            // It is not known of everybody what became of the attempt: its intent stays.
            Some(fault) => (report.fault, report.broken) = (Some(fault), true),
            None => report.outcomes.extend(known.open.into_iter().map(|index| {
                let text = "the attempt before was cut off and did not reach this recipient";
                let again = Deferral {
                    retry_after: Some(SignedDuration::ZERO),
                    ..Deferral::new(451, (4, 3, 0), text, "")
                };
                RecipientOutcome::new(index, Outcome::Deferred(again))
            })),
        }
        let failures = self.settler.store().index().failures(self.hop);
        let over = Over { failures, failures_now: failures, speaks_for_queue: true, ..Over::default() };
        self.settler.settle_attempt(lease, request, report, over, in_flight).await;
    }

    /// Puts the intents on the disk. An item whose intent is not there is not delivered.
    async fn record(
        &self,
        open: Vec<(Lease, DeliveryRequest)>,
        in_flight: &mut InFlight,
    ) -> Vec<(Lease, DeliveryRequest)> {
        let now = Timestamp::now();
        let intent = |request: &DeliveryRequest| Intent {
            item: request.item.id,
            attempt: request.attempt,
            at: now,
            idempotency_keys: request.recipients().map(|r| request.idempotency_key(r)).collect(),
        };
        // All are under way before the first is waited for: one commit takes them.
        let intents: Vec<_> = open.iter().map(|(_, request)| intent(request)).collect();
        let commits: Vec<_> =
            intents.iter().map(|intent| self.settler.store().put_intent(intent.clone())).collect();
        let mut recorded = Vec::new();
        for (((lease, request), intent), commit) in open.into_iter().zip(intents).zip(commits) {
            // The intent is durable when this returns: only then may the first byte leave.
            match commit.await {
                Ok(()) => {
                    self.settler.intents.lock().insert(intent.item, intent);
                    recorded.push((lease, request));
                }
                Err(error) => {
                    let text = format!("the intent of the attempt could not be recorded: {error}");
                    let fault = Deferral::new(451, (4, 3, 0), &text, "service-unavailable");
                    let report = DeliveryReport { fault: Some(fault), ..DeliveryReport::default() };
                    let over = Over { speaks_for_queue: true, ..Over::default() };
                    self.settler.settle_attempt(lease, &request, report, over, in_flight).await;
                }
            }
        }
        recorded
    }
}

/// RFC 3463: x.4.0 is "other or undefined network or routing status".
fn nobody_knows() -> Response {
    let text = "the attempt was cut off in the middle of the hand-over, and nobody can tell whether it arrived; \
                it is not tried again";
    Response::new(550, (5, 4, 0), text)
}
