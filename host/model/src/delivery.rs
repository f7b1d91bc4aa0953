//! DeliveryRequest and DeliveryReport: one attempt at one item, asked and answered.

use std::sync::Arc;

use crate::{
    AgentFault, Content, Deferral, FailureClass, Item, MessageInfo, Outcome, Receipt, Recipient,
    RecipientOutcome, Response,
};

/// What a connection is asked to deliver.
#[derive(Clone, Debug)]
pub struct DeliveryRequest {
    /// The message.
    pub message: Arc<MessageInfo>,
    /// The item; only its queued recipients are to be delivered.
    pub item: Arc<Item>,
    /// The message's bytes.
    pub content: Content,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

impl DeliveryRequest {
    /// The recipients to deliver to.
    pub fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.item.queued()
    }

    /// A key that is the same for every attempt at this recipient and never shared by two recipients.
    #[must_use]
    pub fn idempotency_key(&self, recipient: &Recipient) -> String {
        format!("{}-{}", self.item.id, recipient.index)
    }
}

/// What came of it. A recipient without an outcome is deferred by the settlement.
#[derive(Clone, Debug, Default)]
pub struct DeliveryReport {
    /// At most one outcome for each recipient; the first counts.
    pub outcomes: Vec<RecipientOutcome>,
    /// Receipts for earlier items that came in on the way.
    pub receipts: Vec<Receipt>,
    /// What the agent wrote to its state, to be committed with the outcomes. Of a call with several items it is in the
    /// first report.
    pub state: Option<StateChange>,
    /// Receipts that decide nothing and are only watched for (a drop file that counts as relayed when published).
    pub watched: Vec<String>,
    /// An answer about the whole queue.
    pub refusal: Option<Refusal>,
    /// What befell the attempt as a whole (a trap, a missed deadline): the reason for recipients without an outcome.
    pub fault: Option<Deferral>,
    /// Whether the fault was a trap of the agent; counts towards poison.
    pub trapped: bool,
    /// What is known of the trap.
    pub trap: Option<Arc<AgentFault>>,
    /// The name of the file that the attempt was recorded in.
    pub recording: Option<String>,
    /// The connection cannot be used again.
    pub broken: bool,
    /// The connection broke before anything of this item was handed over: it may be tried at once over another one.
    pub not_begun: bool,
    /// It is that of a version on trial, which the item and the queue are not to suffer for: a trap does not count
    /// towards poison, and a connection that broke does not make the queue wait.
    pub on_trial: bool,
}

impl DeliveryReport {
    /// A report in which everything that has no outcome is deferred for this reason, over a connection that is gone.
    #[must_use]
    pub fn broken(fault: Deferral) -> Self {
        Self { fault: Some(fault), broken: true, ..Self::default() }
    }
}

/// A change of an agent's kept state. It happens whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateChange {
    /// Keys with the values that must be there, or that there must be none; else nothing is changed.
    pub checks: Vec<(String, Option<Vec<u8>>)>,
    /// Keys with their new values; `None` takes the key away.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

impl StateChange {
    /// Whether it changes and checks nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.writes.is_empty()
    }
}

/// What the far end knows of a hand-over that nobody saw the end of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It never got it: it may be handed over again.
    NeverSeen,
    /// It got it, and this became of it.
    Known(Outcome),
    /// It cannot say.
    CannotTell,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpened {
    /// What it means for the queue.
    pub refusal: Refusal,
    /// The agent broke over it (a trap, or memory or processor time beyond its limit), rather than answer.
    pub trapped: bool,
}

impl From<Refusal> for NotOpened {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, trapped: false }
    }
}

/// An agent's answer about a whole queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is tried again later.
    DeferQueue(Deferral),
    /// The queue should fail; the host suspends it and raises an alarm unless the connector allows failing.
    FailQueue {
        /// A permanent response (5xx).
        response: Response,
        /// Why.
        class: FailureClass,
    },
}
