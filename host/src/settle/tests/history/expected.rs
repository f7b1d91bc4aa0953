//! Expected: what the rules say must become of each recipient in one step.

use std::collections::{BTreeMap, BTreeSet};

use postern_model::Refusal;

use super::*;

/// Where a recipient must stand after a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Stand {
    Queued,
    /// Waits for these receipts.
    Pending(BTreeSet<String>),
    Final(Fate),
}

/// What must come of one step.
pub struct Expected {
    pub stands: BTreeMap<u32, Stand>,
    pub traps: u32,
    pub state: ItemState,
    pub expires_at: Option<Timestamp>,
    /// The step looks whether a delay DSN is due.
    pub warns: bool,
    /// Recipients whose success the far end reports itself.
    pub reported: BTreeSet<u32>,
    /// The receipt that the step brings, and its word.
    pub word: Option<(String, ReceiptWord)>,
}

impl Expected {
    /// Everything stays as it is.
    fn unchanged(item: &Item) -> Self {
        let stands = item.recipients.iter().map(|r| (r.recipient.index, stand(&r.state))).collect();
        let (warns, reported) = (false, BTreeSet::new());
        let (traps, state, expires_at) = (item.traps, item.state, item.expires_at);
        Self { stands, traps, state, expires_at, warns, reported, word: None }
    }

    pub fn of_attempt(context: Context<'_>, item: &Item, report: &DeliveryReport) -> Self {
        let mut expected = Self { warns: true, ..Self::unchanged(item) };
        for recipient in item.queued() {
            let index = recipient.index;
            let first = report.outcomes.iter().find(|o| o.recipient == index);
            let stand = match first {
                Some(outcome) => believed(&outcome.outcome),
                None => unmentioned(report, context.policy.allow_fail_queue),
            };
            let success = matches!(stand, Stand::Final(fate) if fate != Fate::Failed);
            if success && first.is_some_and(|o| o.reports_itself) {
                expected.reported.insert(index);
            }
            expected.stands.insert(index, stand);
        }
        if report.trapped && expected.stands.values().any(|s| *s == Stand::Queued) {
            expected.traps += 1;
            if expected.traps >= context.policy.poison_after {
                expected.state = ItemState::Poison;
            }
        }
        expected
    }

    /// `None` when the receipt must change nothing.
    pub fn of_receipt(item: &Item, receipt: &Receipt) -> Option<Self> {
        let mut expected = Self::unchanged(item);
        if matches!(receipt.state, ReceiptState::Pending(_)) {
            return None;
        }
        expected.word = Some((receipt.id.clone(), receipt.state.word()));
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let named = receipt.address.as_deref().map(digits);
        let is_named = |index: u32| {
            let address = digits(recipient(index).address.address());
            named.as_ref().is_none_or(|named| *named == address)
        };
        let mut waited_for = false;
        for (index, stand) in &mut expected.stands {
            let Stand::Pending(ids) = stand else { continue };
            if !is_named(*index) || !ids.remove(&receipt.id) {
                continue;
            }
            waited_for = true;
            match &receipt.state {
                ReceiptState::Delivered(_) if ids.is_empty() => *stand = Stand::Final(Fate::Delivered),
                ReceiptState::Relayed(_) if ids.is_empty() => *stand = Stand::Final(Fate::Relayed),
                ReceiptState::Failed { .. } => *stand = Stand::Final(Fate::Failed),
                ReceiptState::Retry(_) => *stand = Stand::Queued,
                _ => {}
            }
        }
        waited_for.then_some(expected)
    }

    /// `None` when nothing is due.
    pub fn of_time(context: Context<'_>, item: &Item) -> Option<Self> {
        let mut expected = Self { warns: true, ..Self::unchanged(item) };
        let passed = |at: Timestamp| at <= context.now;
        let queued = item.queued().next().is_some() && item.state != ItemState::Poison;
        let mut due = queued && item.delay_dsn_at.is_some_and(passed);
        for entry in &item.recipients {
            let fate = match &entry.state {
                RecipientState::Queued { .. } if queued && item.expires_at.is_some_and(passed) => {
                    Fate::Expired
                }
                RecipientState::Pending { expires_at, .. } if passed(*expires_at) => Fate::Unknown,
                _ => continue,
            };
            due = true;
            expected.stands.insert(entry.recipient.index, Stand::Final(fate));
        }
        due.then_some(expected)
    }

    pub fn of_removal(item: &Item, tell: bool) -> Self {
        let mut expected = Self::unchanged(item);
        for stand in expected.stands.values_mut() {
            if !matches!(stand, Stand::Final(_)) {
                *stand = Stand::Final(if tell { Fate::Failed } else { Fate::Removed });
            }
        }
        expected
    }

    pub fn of_state(context: Context<'_>, item: &Item, state: ItemState) -> Self {
        let unchanged = Self { state, ..Self::unchanged(item) };
        if item.state != ItemState::Poison || state == ItemState::Poison {
            return unchanged;
        }
        let expires_at = item.expires_at.map(|before| before.max(context.now + EXPIRY));
        Self { traps: 0, expires_at, ..unchanged }
    }
}

pub fn stand(state: &RecipientState) -> Stand {
    match state {
        RecipientState::Queued { .. } => Stand::Queued,
        RecipientState::Pending { receipt_ids, .. } => Stand::Pending(receipt_ids.iter().cloned().collect()),
        RecipientState::Final { fate, .. } => Stand::Final(*fate),
    }
}

/// An outcome counts when its code is of its class; else it is a deferral.
fn believed(outcome: &Outcome) -> Stand {
    let class = |r: &Response| (r.code / 100, r.status.0);
    match outcome {
        Outcome::Delivered(r) if class(r) == (2, 2) => Stand::Final(Fate::Delivered),
        Outcome::Relayed(r) if class(r) == (2, 2) => Stand::Final(Fate::Relayed),
        Outcome::Expanded(r) if class(r) == (2, 2) => Stand::Final(Fate::Expanded),
        Outcome::Failed { response, .. } if class(response) == (5, 5) => Stand::Final(Fate::Failed),
        Outcome::Accepted(p) if class(&p.response) == (2, 2) && !p.receipt_ids.is_empty() => {
            Stand::Pending(p.receipt_ids.iter().cloned().collect())
        }
        _ => Stand::Queued,
    }
}

/// Without an outcome a recipient fails only with a queue that may fail.
fn unmentioned(report: &DeliveryReport, may_fail: bool) -> Stand {
    match &report.refusal {
        Some(Refusal::FailQueue { response, .. })
            if may_fail && report.fault.is_none() && response.is_permanent() =>
        {
            Stand::Final(Fate::Failed)
        }
        _ => Stand::Queued,
    }
}
