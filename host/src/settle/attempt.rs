//! What one attempt makes of an item.

use jiff::Timestamp;
use postern_model::{
    Deferral, DeliveryReport, EventKind, EventRecipient, Fate, Item, ItemState, Outcome, Pending,
    RecipientOutcome, RecipientState, Refusal, Response,
};

use super::{Awaited, Context, Draft, QueueEffect, Settlement, Told, awaited, retry_at};
use crate::retry;

/// Settles one attempt: each queued recipient gets what the report says of it, and a deferral with a reason when it
/// says nothing. `label` is what the far end calls itself; `rng` spreads the retries; `failures` counts the
/// refusals of the queue before this one.
pub fn settle(
    context: Context<'_>,
    item: &Item,
    report: &DeliveryReport,
    label: &str,
    failures: u32,
    rng: &mut fastrand::Rng,
) -> Settlement {
    let mut draft = Draft::new(context, item);
    draft.item.attempts += 1;
    draft.item.last_error = None;
    let mut retries = Retries { context, attempts: draft.item.attempts, rng, earliest: None };

    for position in 0..draft.item.recipients.len() {
        if !draft.item.recipients[position].is_queued() {
            continue;
        }
        let index = draft.item.recipients[position].recipient.index;
        let outcome = checked(outcome_for(index, report, context.policy.allow_fail_queue));
        settle_recipient(&mut draft, position, &outcome, label, &mut retries);
    }

    watch(&mut draft, item, report);
    // An attempt that was cut off may have handed over what it did not report: its intent stays, and is asked about.
    let cut_off = report.fault.is_some() && report.broken && !report.not_begun;
    draft.write.attempt_ended = context.policy.on_unknown.is_some() && !cut_off;
    let queue = queue_effect(&mut retries, report, failures);
    if let QueueEffect::Retry { until, .. } = &queue {
        retries.earliest = retries.earliest.map(|at| at.max(*until));
    }
    if let Some(at) = retries.earliest {
        draft.try_again_at(at);
    }
    count_trap(&mut draft, report);
    draft.warn_of_delay();
    draft.finish(queue)
}

/// What the report says about a recipient; the reasons for saying nothing are deferrals.
fn outcome_for(index: u32, report: &DeliveryReport, allow_fail_queue: bool) -> RecipientOutcome {
    if let Some(outcome) = report.outcomes.iter().find(|o| o.recipient == index) {
        return outcome.clone().cleaned();
    }
    let outcome = match (&report.fault, &report.refusal) {
        (Some(fault), _) => Outcome::Deferred(fault.clone()),
        (None, Some(Refusal::DeferQueue(deferral))) => Outcome::Deferred(deferral.clone()),
        (None, Some(Refusal::FailQueue { response, class })) if allow_fail_queue => {
            Outcome::Failed { response: response.clone(), class: class.clone() }
        }
        (None, Some(Refusal::FailQueue { response, class })) => Outcome::Deferred(Deferral {
            response: Response::new(451, (4, 3, 2), &format!("queue suspended: {response}")),
            class: class.clone(),
            retry_after: None,
        }),
        (None, None) => Outcome::Deferred(Deferral::new(
            451,
            (4, 3, 0),
            "the connector reported no outcome for this recipient",
            "protocol-error",
        )),
    };
    RecipientOutcome::new(index, outcome)
}

/// An outcome whose code says something else than the outcome is no outcome: it is deferred, and the reason names both.
fn checked(mut outcome: RecipientOutcome) -> RecipientOutcome {
    let empty = matches!(&outcome.outcome, Outcome::Accepted(p) if p.receipt_ids.is_empty());
    if !outcome.outcome.code_fits() || empty {
        let what = if empty {
            "accepted was reported without a receipt id".to_owned()
        } else {
            format!(
                "{} was reported with the response {}",
                outcome.outcome.word(),
                outcome.outcome.response()
            )
        };
        outcome.outcome = Outcome::Deferred(Deferral::new(451, (4, 5, 0), &what, "protocol-error"));
    }
    outcome
}

/// A report of which nothing may be believed, for this reason: what the agent wrote to its state with it was not kept.
#[must_use]
pub fn without_outcomes(report: DeliveryReport, why: &Deferral) -> DeliveryReport {
    DeliveryReport {
        outcomes: Vec::new(),
        watched: Vec::new(),
        state: None,
        fault: Some(report.fault.unwrap_or_else(|| why.clone())),
        ..report
    }
}

fn settle_recipient(
    draft: &mut Draft<'_>,
    position: usize,
    outcome: &RecipientOutcome,
    label: &str,
    retries: &mut Retries<'_>,
) {
    let told = Told::of(outcome, label);
    match &outcome.outcome {
        Outcome::Delivered(r) => draft.decide(position, Fate::Delivered, r.clone(), told),
        Outcome::Relayed(r) => draft.decide(position, Fate::Relayed, r.clone(), told),
        Outcome::Expanded(r) => draft.decide(position, Fate::Expanded, r.clone(), told),
        Outcome::Failed { response, .. } => {
            draft.item.last_error = Some(response.to_string());
            draft.decide(position, Fate::Failed, response.clone(), told);
        }
        Outcome::Unknown(response) => {
            draft.item.last_error = Some(response.to_string());
            draft.decide(position, Fate::Unknown, response.clone(), Told { unconfirmed: true, ..told });
        }
        Outcome::Accepted(pending) => accept(draft, position, pending, &told),
        Outcome::Deferred(deferral) => {
            let response = deferral.response.clone();
            let recipient = draft.item.recipients[position].recipient.clone();
            draft.item.last_error = Some(response.to_string());
            draft.item.recipients[position].state = RecipientState::Queued { last: Some(response.clone()) };
            draft.event(EventKind::Defer, &recipient, Some(&response), &told);
            retries.wish(deferral);
        }
    }
}

fn accept(draft: &mut Draft<'_>, position: usize, pending: &Pending, told: &Told) {
    let policy = draft.context.policy;
    let said = pending.expires_after.map(|wait| wait.min(policy.receipt_expires_after_max));
    let wait = said.unwrap_or(policy.receipt_expires_after);
    let expires_at = retry::after(draft.context.now, wait);
    let recipient = draft.item.recipients[position].recipient.clone();
    draft.item.recipients[position].state = RecipientState::Pending {
        receipt_ids: pending.receipt_ids.clone(),
        response: pending.response.clone(),
        expires_at,
        call: draft.context.call.map(str::to_owned),
    };
    draft.event(EventKind::Accept, &recipient, Some(&pending.response), told);
}

/// Receipts that are only watched for are kept until they come, however long that takes. One that a recipient waits
/// for is more than watched.
fn watch(draft: &mut Draft<'_>, item: &Item, report: &DeliveryReport) {
    for id in &report.watched {
        if awaited(&draft.item).contains_key(id.as_str()) {
            continue;
        }
        let everybody = item.queued().map(|r| EventRecipient::of(r, None));
        let watched = Awaited { recipients: everybody.collect(), until: Timestamp::MAX, call: None };
        let receipt = draft.receipt(id, watched, false);
        draft.write.receipts.push(receipt);
    }
}

/// Counts a trap against the item; too many and it goes to the poison queue, where only an operator moves it.
fn count_trap(draft: &mut Draft<'_>, report: &DeliveryReport) {
    if !report.trapped || report.on_trial || draft.item.queued().next().is_none() {
        return;
    }
    draft.item.traps += 1;
    if draft.item.traps < draft.context.policy.poison_after || draft.item.state != ItemState::Active {
        return;
    }
    draft.item.state = ItemState::Poison;
    let queued: Vec<_> = draft.item.queued().cloned().collect();
    for recipient in &queued {
        draft.event(EventKind::Poison, recipient, None, &Told::default());
    }
}

fn queue_effect(retries: &mut Retries<'_>, report: &DeliveryReport, failures: u32) -> QueueEffect {
    let mut retry = |deferral: &Deferral| QueueEffect::Retry {
        until: retries.at(failures.saturating_add(1), deferral),
        error: deferral.response.to_string(),
    };
    // A far end that only hangs or closes would otherwise be tried with every due item. A trap is about one item, and
    // a connection that brought an outcome did work.
    if let (None, Some(fault)) = (&report.refusal, &report.fault)
        && report.broken
        && !report.trapped
        && !report.on_trial
        && report.outcomes.is_empty()
    {
        return retry(fault);
    }
    match &report.refusal {
        Some(Refusal::DeferQueue(deferral)) => retry(deferral),
        Some(Refusal::FailQueue { response, .. }) if !retries.context.policy.allow_fail_queue => {
            QueueEffect::Suspend { reason: format!("the agent asked to fail the queue: {response}") }
        }
        Some(Refusal::FailQueue { .. }) => QueueEffect::None,
        None if report.fault.is_none() && !report.on_trial => QueueEffect::Healthy,
        None => QueueEffect::None,
    }
}

/// The earliest time that a deferred recipient is to be tried again.
struct Retries<'a> {
    context: Context<'a>,
    attempts: u32,
    rng: &'a mut fastrand::Rng,
    earliest: Option<Timestamp>,
}

impl Retries<'_> {
    fn wish(&mut self, deferral: &Deferral) {
        let at = self.at(self.attempts, deferral);
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    fn at(&mut self, attempt: u32, deferral: &Deferral) -> Timestamp {
        retry_at(self.context, deferral, attempt, self.rng)
    }
}
