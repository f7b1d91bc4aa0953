//! What must hold of settlements, written from the rules and not from the code.

mod attempts;
mod deferrals;
mod history;
mod notices;
mod operators;
mod receipts;
mod time;
mod whereabouts;

use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Deferral, DeliveryReport, DsnKind, Envelope, EventKind, FailureClass, Fate, Item, ItemId, ItemRecipient,
    ItemState, MessageId, MessageInfo, NextHop, Notify, Origin, Outcome, Pending, Priority, Receipt,
    ReceiptState, ReceiptWord, Recipient, RecipientOutcome, RecipientState, Response, TypedAddress,
};

use super::{Context, Policy, QueueEffect, Settlement};
use crate::config::{OnReceiptExpiry, RetryPlan};
use crate::connector::Whereabouts;
use crate::retry::DelayPolicy;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// When the item of a [`World`] expires, counted from its start.
const EXPIRY: SignedDuration = SignedDuration::from_hours(48);
/// When its delay DSN is due.
const DELAY: SignedDuration = SignedDuration::from_hours(4);
/// How long its receipts are waited for when the far end does not say.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);
/// How long they are waited for at most when it does say.
const MOST_PATIENCE: SignedDuration = SignedDuration::from_hours(72);
const POISON_AFTER: u32 = 3;
const SENDER: &str = "sender@example.org";

fn start() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

/// One item with its message, its rules and a clock that stands still until it is moved.
struct World {
    message: MessageInfo,
    policy: Policy,
    /// The item as the last settlement left it; also when it is gone.
    item: Item,
    gone: bool,
    now: Timestamp,
    rng: fastrand::Rng,
}

impl World {
    /// An item with so many fax recipients, whose sender said nothing about DSNs.
    fn of(recipients: u32) -> Self {
        let id = MessageId::from_name("settled");
        let mut envelope = Envelope::generated(SENDER, start());
        envelope.receive_connector = "default".to_owned();
        let message = MessageInfo {
            id,
            origin: Origin::Accepted,
            envelope,
            size: 100,
            internet_message_id: None,
            subject: None,
        };
        let retry = RetryPlan {
            default: "1m*2, 10m".parse().unwrap(),
            classes: [(FailureClass::new("busy"), "3m".parse().unwrap())].into(),
        };
        let policy = Policy {
            retry,
            // Without jitter times are exact.
            delays: DelayPolicy { jitter: 0.0, ..DelayPolicy::default() },
            receipt_expires_after: PATIENCE,
            receipt_expires_after_max: MOST_PATIENCE,
            on_receipt_expiry: OnReceiptExpiry::FailureDsn,
            on_unknown: None,
            state_quota: 0,
            poison_after: POISON_AFTER,
            expire_after: Some(EXPIRY),
            allow_fail_queue: false,
            relay_dsn: false,
        };
        let item = Item {
            id: ItemId { message: id, ordinal: 0 },
            next_hop: NextHop::new("fax", "FAX:*"),
            recipients: (0..recipients).map(|n| ItemRecipient::queued(recipient(n))).collect(),
            priority: Priority::Normal,
            state: ItemState::Active,
            attempts: 0,
            traps: 0,
            settlements: 0,
            enqueued_at: start(),
            next_attempt: start(),
            expires_at: Some(start() + EXPIRY),
            delay_dsn_at: Some(start() + DELAY),
            last_error: None,
        };
        Self { message, policy, item, gone: false, now: start(), rng: fastrand::Rng::with_seed(1) }
    }

    /// An item whose recipients, in their order, asked for these notifications.
    fn notifying(notify: &[Option<Notify>]) -> Self {
        let mut world = Self::of(u32::try_from(notify.len()).unwrap());
        for (entry, notify) in world.item.recipients.iter_mut().zip(notify) {
            entry.recipient.notify = *notify;
        }
        world
    }

    fn wait(&mut self, duration: SignedDuration) {
        self.now += duration;
    }

    fn context(&self) -> Context<'_> {
        Context {
            message: &self.message,
            policy: &self.policy,
            headers: b"Subject: fax\r\n",
            content: None,
            now: self.now,
            call: None,
        }
    }

    fn attempt(&mut self, report: &DeliveryReport) -> Settlement {
        self.attempt_after(report, 0)
    }

    fn attempt_after(&mut self, report: &DeliveryReport, failures: u32) -> Settlement {
        let mut rng = self.rng.clone();
        let settlement = super::settle(self.context(), &self.item, report, "far.example", failures, &mut rng);
        self.rng = rng;
        self.keep(settlement)
    }

    /// One outcome for each recipient in its order.
    fn report(&mut self, outcomes: Vec<Outcome>) -> Settlement {
        self.attempt(&report(outcomes))
    }

    fn receipt(&mut self, id: &str, state: ReceiptState) -> Option<Settlement> {
        self.settle_receipt(&Receipt::new(id, state))
    }

    fn receipt_about(&mut self, address: &str, id: &str, state: ReceiptState) -> Option<Settlement> {
        self.settle_receipt(&Receipt { address: Some(address.to_owned()), ..Receipt::new(id, state) })
    }

    fn settle_receipt(&mut self, receipt: &Receipt) -> Option<Settlement> {
        let mut rng = self.rng.clone();
        let settlement = super::settle_receipt(self.context(), &self.item, receipt, &mut rng);
        self.rng = rng;
        settlement.map(|s| self.keep(s))
    }

    fn by_time(&mut self) -> Option<Settlement> {
        self.by_time_with(&Whereabouts::Nothing)
    }

    /// As [`Self::by_time`], with something that was handed over.
    fn by_time_with(&mut self, whereabouts: &Whereabouts) -> Option<Settlement> {
        super::settle_by_time(self.context(), &self.item, whereabouts).map(|s| self.keep(s))
    }

    fn remove(&mut self, tell: bool) -> Settlement {
        self.remove_with(tell, &Whereabouts::Nothing).unwrap()
    }

    /// As [`Self::remove`], with something that was handed over.
    fn remove_with(&mut self, tell: bool, whereabouts: &Whereabouts) -> Result<Settlement, String> {
        super::remove(self.context(), &self.item, tell, whereabouts).map(|s| self.keep(s))
    }

    fn set_state(&mut self, state: ItemState) -> Settlement {
        let settlement = super::set_state(self.context(), &self.item, state);
        self.keep(settlement)
    }

    fn release(&mut self, to: Option<NextHop>) -> Settlement {
        let settlement = super::release(self.context(), &self.item, to);
        self.keep(settlement)
    }

    fn keep(&mut self, settlement: Settlement) -> Settlement {
        assert_eq!(settlement.write.item, self.item.id);
        assert!(!self.gone, "a settlement of an item that is gone");
        match &settlement.write.after {
            Some(after) => self.item = after.clone(),
            None => self.gone = true,
        }
        settlement
    }

    fn state(&self, index: u32) -> &RecipientState {
        assert!(!self.gone, "the item is gone");
        let entry = self.item.recipients.iter().find(|r| r.recipient.index == index);
        &entry.expect("a recipient of the item").state
    }

    fn fate(&self, index: u32) -> Option<Fate> {
        match self.state(index) {
            RecipientState::Final { fate, .. } => Some(*fate),
            _ => None,
        }
    }

    fn last_word(&self, index: u32) -> &Response {
        match self.state(index) {
            RecipientState::Queued { last: Some(last) } => last,
            other => panic!("recipient {index} was not deferred: {other:?}"),
        }
    }

    fn queued(&self) -> Vec<u32> {
        self.item.queued().map(|r| r.index).collect()
    }

    fn pending(&self) -> Vec<u32> {
        self.item.pending().map(|r| r.index).collect()
    }
}

fn recipient(index: u32) -> Recipient {
    Recipient::new(index, TypedAddress::parse(&format!("FAX:+493012{index}")).unwrap())
}

fn report(outcomes: Vec<Outcome>) -> DeliveryReport {
    let outcomes = (0..).zip(outcomes).map(|(n, outcome)| RecipientOutcome::new(n, outcome)).collect();
    DeliveryReport { outcomes, ..DeliveryReport::default() }
}

fn good() -> Response {
    Response::new(250, (2, 0, 0), "sent")
}

fn bad() -> Response {
    Response::new(550, (5, 1, 1), "no such number")
}

fn later() -> Response {
    Response::new(450, (4, 2, 1), "line is busy")
}

fn delivered() -> Outcome {
    Outcome::Delivered(good())
}

fn failed() -> Outcome {
    Outcome::Failed { response: bad(), class: FailureClass::new("unallocated") }
}

fn deferral(class: &str) -> Deferral {
    Deferral { response: later(), class: FailureClass::new(class), retry_after: None }
}

fn deferred() -> Outcome {
    Outcome::Deferred(deferral(""))
}

fn accepted(ids: &[&str]) -> Outcome {
    Outcome::Accepted(Pending {
        receipt_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        response: Response::new(250, (2, 0, 0), "queued there"),
        expires_after: None,
    })
}

fn trap() -> DeliveryReport {
    let fault = Deferral::new(451, (4, 3, 0), "the agent trapped", "");
    DeliveryReport { trapped: true, ..DeliveryReport::broken(fault) }
}

/// Whom the events of this kind are about.
fn told_of(settlement: &Settlement, kind: EventKind) -> Vec<u32> {
    let events = settlement.write.events.iter().filter(|e| e.kind == kind);
    events.flat_map(|e| e.recipients.iter().map(|r| r.index)).collect()
}

/// Whom the DSN of this kind is about; empty when there is none.
fn notified(settlement: &Settlement, kind: DsnKind) -> Vec<u32> {
    let of_kind: Vec<_> = settlement.write.dsns.iter().filter(|d| d.kind == kind).collect();
    assert!(of_kind.len() <= 1, "two DSNs of one kind from one settlement");
    of_kind.iter().flat_map(|d| d.recipients.iter().map(|r| r.recipient.index)).collect()
}

fn counted(settlement: &Settlement, fate: Fate) -> u32 {
    settlement.write.fates.0.iter().filter(|(f, _)| *f == fate).map(|(_, n)| n).sum()
}

/// The receipts that the settlement asks to be waited for, each with its recipients.
fn awaited(settlement: &Settlement) -> Vec<(&str, Vec<u32>)> {
    let mut all: Vec<_> = settlement
        .write
        .receipts
        .iter()
        .filter(|r| r.decides)
        .map(|r| (r.id.as_str(), r.recipients.iter().map(|r| r.index).collect()))
        .collect();
    all.sort();
    all
}

/// The receipts that are not waited for any longer.
fn finished(settlement: &Settlement) -> Vec<&str> {
    let mut all: Vec<_> = settlement
        .write
        .finished_receipts
        .iter()
        .map(|(connector, id)| {
            assert_eq!(connector, "fax");
            id.as_str()
        })
        .collect();
    all.sort_unstable();
    all
}

/// The receipts that are remembered, each with those who stopped waiting for it and the word that came.
fn remembered(settlement: &Settlement) -> Vec<(&str, Vec<u32>, Option<ReceiptWord>)> {
    let past = settlement.write.past_receipts.iter();
    let mut all: Vec<_> =
        past.map(|r| (r.id.as_str(), r.recipients.iter().map(|r| r.index).collect(), r.word)).collect();
    all.sort_by_key(|(id, ..)| *id);
    all
}
