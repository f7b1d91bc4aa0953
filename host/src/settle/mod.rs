//! settle: what a report, a receipt, the clock or an operator makes of an item. Pure, and the only code that
//! decides a recipient's fate.
//!
//! Each function takes the item as it stands and returns a [`Settlement`]: the new item (or none), the events,
//! the DSNs that are owed and the receipts to wait for, to be committed as one write.

mod attempt;
mod expiry;
mod operator;
mod receipt;
mod whereabouts;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Deferral, DsnKind, DsnRecipient, DsnRequest, EventKind, EventRecipient, Fate, Item, ItemRecipient,
    MessageInfo, Origin, ReceiptWord, Recipient, RecipientOutcome, RecipientState, Refusal, Response,
    TrackingEvent,
};
use postern_store::{NewReceipt, PastReceipt, Settle};

use crate::bad_mail;
use crate::config::{OnReceiptExpiry, OnUnknown, RetryPlan};
use crate::dsn;
use crate::retry::{self, DelayPolicy};

pub use attempt::{settle, without_outcomes};
pub use expiry::{decides_by_time, settle_by_time};
pub use operator::{release, remove, set_state};
pub use receipt::settle_receipt;

/// What a connector lays down about the fate of its items.
#[derive(Clone, Debug)]
pub struct Policy {
    /// When to try again, by failure class.
    pub retry: RetryPlan,
    /// How delays are spread and bounded.
    pub delays: DelayPolicy,
    /// How long an accepted recipient waits for its receipts when the far end does not say.
    pub receipt_expires_after: SignedDuration,
    /// The longest that it waits when the far end does say.
    pub receipt_expires_after_max: SignedDuration,
    /// What its sender is told when they never come.
    pub on_receipt_expiry: OnReceiptExpiry,
    /// Intents are recorded, and this is done about a hand-over that nobody saw the end of; `None`: no intents.
    pub on_unknown: Option<OnUnknown>,
    /// How many bytes an agent may keep as its state.
    pub state_quota: u64,
    /// After this many traps of the agent over one item it goes to the poison queue.
    pub poison_after: u32,
    /// How long an item that comes back from there is tried anew; `None`: for ever.
    pub expire_after: Option<SignedDuration>,
    /// The agent may fail a whole queue; otherwise its queue is suspended (`allow_fail_queue`).
    pub allow_fail_queue: bool,
    /// A relayed DSN goes out even when the sender did not ask (Exchange: `RelayDsnRequired`).
    pub relay_dsn: bool,
}

/// What becomes of an item, and what else follows from it.
#[derive(Debug)]
pub struct Settlement {
    /// The one atomic write.
    pub write: Settle,
    /// What the whole queue does about it.
    pub queue: QueueEffect,
    /// When the item is tried next, for the log.
    pub next_attempt: Option<Timestamp>,
    /// A DSN has failed. Nobody is told about it, so its content goes to BadMail before the write.
    pub bad_mail: bool,
}

/// What a report means for the whole queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueEffect {
    /// Nothing.
    None,
    /// It works: failures are forgotten.
    Healthy,
    /// It is tried again at this time.
    Retry {
        /// When.
        until: Timestamp,
        /// Why.
        error: String,
    },
    /// It is suspended, and an alarm is raised.
    Suspend {
        /// Why.
        reason: String,
    },
}

/// What is known beside the item itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The item's message.
    pub message: &'a MessageInfo,
    /// The connector's rules.
    pub policy: &'a Policy,
    /// The header block of the content, for DSNs; at most 64 KiB.
    pub headers: &'a [u8],
    /// The whole content where RET=FULL asks for it and it is small enough.
    pub content: Option<&'a [u8]>,
    /// The clock.
    pub now: Timestamp,
    /// Names the call that an attempt was part of, where that was about several items.
    pub call: Option<&'a str>,
}

/// A settlement in the making: the item is changed recipient by recipient, everything else follows.
struct Draft<'a> {
    context: Context<'a>,
    before: &'a Item,
    item: Item,
    write: Settle,
    /// The receipt whose word this is about: its id, and what it says.
    word: Option<(String, ReceiptWord)>,
    bad_mail: bool,
}

impl<'a> Draft<'a> {
    fn new(context: Context<'a>, before: &'a Item) -> Self {
        let mut item = before.clone();
        item.settlements += 1;
        Self { context, before, write: Settle::gone_silently(item.id), item, word: None, bad_mail: false }
    }

    /// Gives the recipient at `position` a fate that nobody ordered. A DSN that fails goes to BadMail.
    fn decide(&mut self, position: usize, fate: Fate, response: Response, mut told: Told) {
        if self.context.message.origin == Origin::Generated && matches!(fate, Fate::Failed | Fate::Expired) {
            self.bad_mail = true;
            told.facts.push((bad_mail::DETAIL.to_owned(), bad_mail::file_name(self.item.id.message)));
        }
        self.conclude(position, fate, response, told);
    }

    /// Gives the recipient at `position` its fate.
    fn conclude(&mut self, position: usize, fate: Fate, response: Response, told: Told) {
        let entry = &mut self.item.recipients[position];
        entry.state = RecipientState::Final { fate, response: response.clone(), at: self.context.now };
        let recipient = entry.recipient.clone();
        self.write.fates.add(fate);
        self.event(event_of(fate), &recipient, Some(&response), &told);
        if let Some(kind) = dsn_of(fate, self.context.policy)
            && !told.reports_itself
        {
            self.owe(kind, recipient, response, told);
        }
    }

    /// Adds the recipient to the event of this kind and these details, or makes a new one.
    fn event(&mut self, kind: EventKind, recipient: &Recipient, response: Option<&Response>, told: &Told) {
        let entry = EventRecipient::of(recipient, response);
        let details = told.details();
        if let Some(event) = self.write.events.iter_mut().find(|e| e.kind == kind && e.details == details) {
            event.recipients.push(entry);
            return;
        }
        let attempt = matches!(
            kind,
            EventKind::Deliver
                | EventKind::Relay
                | EventKind::Expand
                | EventKind::Accept
                | EventKind::Defer
                | EventKind::Fail
        );
        self.write.events.push(TrackingEvent {
            time: self.context.now,
            kind,
            message: self.item.id.message,
            item: Some(self.item.id),
            connector: self.item.next_hop.connector.to_string(),
            destination: Some(self.item.next_hop.destination.to_string()),
            sender: self.context.message.envelope.reverse_path.clone(),
            recipients: vec![entry],
            internet_message_id: None,
            subject: None,
            size: None,
            attempt: attempt.then_some(self.item.attempts),
            details,
        });
    }

    /// Owes the sender a DSN about this recipient, if it wants one.
    fn owe(&mut self, kind: DsnKind, recipient: Recipient, response: Response, told: Told) {
        let context = self.context;
        let has_sender = !context.message.envelope.reverse_path.is_empty();
        let unasked = kind == DsnKind::Relayed && context.policy.relay_dsn && recipient.notify.is_none();
        if !has_sender || !(unasked || dsn::due(kind, recipient.notify_or_default(), has_sender)) {
            return;
        }
        let about = DsnRecipient {
            recipient,
            response,
            remote_id: told.remote_id,
            details: told.facts,
            unconfirmed: told.unconfirmed,
        };
        let retried = kind == DsnKind::Delayed && !about.unconfirmed;
        let retry_until = if retried { self.item.expires_at } else { None };
        if let Some(request) = self.write.dsns.iter_mut().find(|d| d.kind == kind) {
            request.recipients.push(about);
            request.retry_until = request.retry_until.or(retry_until);
            return;
        }
        self.write.dsns.push(DsnRequest {
            key: format!("{}/{}/{}", self.item.id, self.item.settlements, kind.action()),
            kind,
            item: self.item.id,
            connector: self.item.next_hop.connector.to_string(),
            message: context.message.clone(),
            headers: context.headers.to_vec(),
            content: context.content.map(<[u8]>::to_vec),
            recipients: vec![about],
            at: context.now,
            retry_until,
        });
    }

    /// Says which receipts are waited for by others than before, and which by nobody any longer, and remembers who has
    /// stopped waiting. A receipt that several recipients share is finished with the last of them.
    fn settle_receipts(&mut self) {
        let (before, after) = (awaited(self.before), awaited(&self.item));
        let changed = |id: &str, now: &Awaited| before.get(id).is_none_or(|b| b.recipients != now.recipients);
        let new = after.iter().filter(|(id, now)| changed(id, now));
        let new: Vec<_> = new.map(|(id, awaited)| self.receipt(id, awaited.clone(), true)).collect();
        let connector = &self.item.next_hop.connector;
        let finished = before.keys().filter(|id| !after.contains_key(*id));
        let finished: Vec<_> = finished.map(|id| (connector.to_string(), (*id).to_owned())).collect();
        let past = before.iter().filter_map(|(id, then)| {
            let waits = |r: &EventRecipient| after.get(id).is_some_and(|now| now.recipients.contains(r));
            let stopped: Vec<_> = then.recipients.iter().filter(|r| !waits(r)).cloned().collect();
            (!stopped.is_empty()).then(|| self.past_receipt(id, stopped))
        });
        let past: Vec<_> = past.collect();
        self.write.receipts.extend(new);
        self.write.finished_receipts.extend(finished);
        self.write.past_receipts.extend(past);
    }

    fn past_receipt(&self, id: &str, recipients: Vec<EventRecipient>) -> PastReceipt {
        PastReceipt {
            connector: self.item.next_hop.connector.to_string(),
            id: id.to_owned(),
            item: self.item.id,
            destination: self.item.next_hop.destination.to_string(),
            sender: self.context.message.envelope.reverse_path.clone(),
            recipients,
            word: self.word.as_ref().filter(|(told, _)| told == id).map(|(_, word)| *word),
            at: self.context.now,
        }
    }

    /// Plans the next attempt: at this time, or when the item expires, so that the expiry is noticed.
    fn try_again_at(&mut self, at: Timestamp) {
        self.item.next_attempt = self.item.expires_at.map_or(at, |end| at.min(end));
    }

    fn receipt(&self, id: &str, awaited: Awaited, decides: bool) -> NewReceipt {
        let Awaited { recipients, until: expires_at, call } = awaited;
        NewReceipt {
            connector: self.item.next_hop.connector.to_string(),
            id: id.to_owned(),
            item: self.item.id,
            destination: self.item.next_hop.destination.to_string(),
            sender: self.context.message.envelope.reverse_path.clone(),
            recipients,
            decides,
            at: self.context.now,
            expires_at,
            call,
        }
    }

    /// Delay DSN for what still waits, when it is due.
    fn warn_of_delay(&mut self) {
        let runs = self.item.deadline().is_some();
        if !runs || self.item.delay_dsn_at.is_none_or(|at| at > self.context.now) {
            return;
        }
        self.item.delay_dsn_at = None;
        let late: Vec<(Recipient, Response)> =
            self.item.recipients.iter().filter_map(late_recipient).collect();
        for (recipient, response) in late {
            self.owe(DsnKind::Delayed, recipient, response, Told::default());
        }
    }

    /// Ends the draft: an item with nothing left to do is gone.
    fn finish(mut self, queue: QueueEffect) -> Settlement {
        self.settle_receipts();
        let next_attempt = self.item.wake_at();
        if !self.item.is_done() {
            self.write.after = Some(self.item);
        }
        Settlement { write: self.write, queue, next_attempt, bad_mail: self.bad_mail }
    }
}

/// What the far end said beside the response.
#[derive(Clone, Debug, Default)]
struct Told {
    remote_id: Option<String>,
    facts: Vec<(String, String)>,
    label: Option<String>,
    reports_itself: bool,
    /// The far end took it and never said what became of it.
    unconfirmed: bool,
}

impl Told {
    fn of(outcome: &RecipientOutcome, label: &str) -> Self {
        let label = (!label.is_empty()).then(|| label.to_owned());
        let (remote_id, facts) = (outcome.remote_id.clone(), outcome.details.clone());
        // A failure is ours to report, whatever the far end would have done.
        let reports_itself = outcome.reports_itself && outcome.outcome.response().is_success();
        Self { remote_id, facts, label, reports_itself, unconfirmed: false }
    }

    fn details(&self) -> Vec<(String, String)> {
        let named = |name: &str, value: &Option<String>| value.clone().map(|v| (name.to_owned(), v));
        let mut all: Vec<_> = self.facts.clone();
        all.extend(named("remote-id", &self.remote_id));
        all.extend(named("far-end", &self.label));
        all
    }
}

/// Who waits for a receipt.
#[derive(Clone)]
struct Awaited {
    recipients: Vec<EventRecipient>,
    /// When the last of them gives up.
    until: Timestamp,
    /// The call that gave all of them the id; `None` when that was about this item alone, or they have it from
    /// different ones.
    call: Option<String>,
}

/// The receipts that recipients of the item wait for, by id.
fn awaited(item: &Item) -> BTreeMap<&str, Awaited> {
    let mut all: BTreeMap<&str, Awaited> = BTreeMap::new();
    for ItemRecipient { recipient, state } in &item.recipients {
        let RecipientState::Pending { receipt_ids, expires_at, call, .. } = state else { continue };
        for id in receipt_ids {
            let first = || Awaited { recipients: Vec::new(), until: *expires_at, call: call.clone() };
            let awaited = all.entry(id).or_insert_with(first);
            awaited.until = awaited.until.max(*expires_at);
            awaited.call = awaited.call.take().filter(|known| Some(known) == call.as_ref());
            // A far end may name one id twice.
            if awaited.recipients.last().is_none_or(|r| r.index != recipient.index) {
                awaited.recipients.push(EventRecipient::of(recipient, None));
            }
        }
    }
    all
}

fn late_recipient(entry: &ItemRecipient) -> Option<(Recipient, Response)> {
    match &entry.state {
        RecipientState::Queued { last } => {
            let response = last
                .clone()
                .unwrap_or_else(|| Response::new(451, (4, 4, 1), "not delivered yet, still trying"));
            Some((entry.recipient.clone(), response))
        }
        _ => None,
    }
}

fn event_of(fate: Fate) -> EventKind {
    match fate {
        Fate::Delivered => EventKind::Deliver,
        Fate::Relayed => EventKind::Relay,
        Fate::Expanded => EventKind::Expand,
        Fate::Failed => EventKind::Fail,
        Fate::Expired => EventKind::Expire,
        Fate::Removed => EventKind::Remove,
        Fate::Unknown => EventKind::Unknown,
    }
}

/// The DSN that a fate is reported by. `Removed` has none of its own: the operator decides. Of `Unknown` nobody knows
/// whether it arrived, so the connector's rule says how it is told; success is no more than handing it on.
fn dsn_of(fate: Fate, policy: &Policy) -> Option<DsnKind> {
    match fate {
        Fate::Delivered => Some(DsnKind::Delivered),
        Fate::Relayed => Some(DsnKind::Relayed),
        Fate::Expanded => Some(DsnKind::Expanded),
        Fate::Failed | Fate::Expired => Some(DsnKind::Failed),
        Fate::Unknown => Some(match policy.on_receipt_expiry {
            OnReceiptExpiry::FailureDsn => DsnKind::Failed,
            OnReceiptExpiry::DelayDsn => DsnKind::Delayed,
            OnReceiptExpiry::Success => DsnKind::Relayed,
        }),
        Fate::Removed => None,
    }
}

/// When a deferred recipient is tried again.
fn retry_at(context: Context<'_>, deferral: &Deferral, attempt: u32, rng: &mut fastrand::Rng) -> Timestamp {
    retry_time(context.policy, context.now, deferral, attempt, rng)
}

fn retry_time(
    policy: &Policy,
    now: Timestamp,
    deferral: &Deferral,
    attempt: u32,
    rng: &mut fastrand::Rng,
) -> Timestamp {
    let scheduled = policy.retry.delay(&deferral.class, attempt);
    retry::after(now, retry::next_delay(scheduled, deferral.retry_after, &policy.delays, rng))
}

/// What a queue does about a refusal that came without any item, on an idle connection. There is nothing to fail, so
/// `fail-queue` suspends it also where the connector may fail queues. `failures` counts the refusals before this one.
#[must_use]
pub fn refused(
    policy: &Policy,
    refusal: &Refusal,
    failures: u32,
    now: Timestamp,
    rng: &mut fastrand::Rng,
) -> QueueEffect {
    match refusal {
        Refusal::DeferQueue(deferral) => QueueEffect::Retry {
            until: retry_time(policy, now, deferral, failures.saturating_add(1), rng),
            error: deferral.response.to_string(),
        },
        Refusal::FailQueue { response, .. } => {
            QueueEffect::Suspend { reason: format!("the agent asked to fail the queue: {response}") }
        }
    }
}

#[cfg(test)]
mod tests;
