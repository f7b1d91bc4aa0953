//! Report: what came of one item, and the answer about a whole queue.

use crate::{Deferral, Failure, Outcome, Receipt, Recipient, RecipientOutcome};

/// An answer about the whole queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is tried again later.
    DeferQueue(Deferral),
    /// The queue should fail: the host suspends it and raises an alarm, and fails the items only where the connector
    /// allows it.
    FailQueue(Failure),
}

impl Refusal {
    pub(crate) fn fitted(self) -> Self {
        match self {
            Self::DeferQueue(d) => Self::DeferQueue(d.fitted()),
            Self::FailQueue(f) => Self::FailQueue(f.fitted()),
        }
    }
}

/// What came of one item. A recipient without an outcome is deferred; of two outcomes the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One outcome for each recipient.
    pub outcomes: Vec<RecipientOutcome>,
    /// Receipts for earlier items that came in on the way.
    pub receipts: Vec<Receipt>,
    /// Set: the rest of the queue is not tried on this connection.
    pub refusal: Option<Refusal>,
}

impl Report {
    /// The same outcome for every recipient.
    #[must_use]
    pub fn all(recipients: &[Recipient], outcome: &Outcome) -> Self {
        let outcomes = recipients.iter().map(|r| RecipientOutcome::new(r.index, outcome.clone())).collect();
        Self { outcomes, ..Self::default() }
    }

    /// The same with codes that fit.
    pub(crate) fn fitted(mut self) -> Self {
        for outcome in &mut self.outcomes {
            outcome.outcome = outcome.outcome.clone().fitted();
        }
        self.receipts.iter_mut().for_each(Receipt::fit);
        self.refusal = self.refusal.map(Refusal::fitted);
        self
    }

    /// Adds the outcome of one recipient.
    pub fn push(&mut self, recipient: u32, outcome: Outcome) {
        self.outcomes.push(RecipientOutcome::new(recipient, outcome));
    }
}
