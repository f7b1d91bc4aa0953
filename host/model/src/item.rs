//! Item: one message for one next hop, in a queue, with the state of each recipient.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ItemId, NextHop, Priority, Recipient, Response};

/// What finally became of a recipient. It is never rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It arrived.
    Delivered,
    /// It went on into a world that does not report back.
    Relayed,
    /// It became several.
    Expanded,
    /// It will not arrive.
    Failed,
    /// It could not be delivered in time.
    Expired,
    /// An operator removed it.
    Removed,
    /// It was accepted by the far end, whose word never came.
    Unknown,
}

impl Fate {
    /// All of them, in the order of the audit.
    pub const ALL: [Self; 7] = [
        Self::Delivered,
        Self::Relayed,
        Self::Expanded,
        Self::Failed,
        Self::Expired,
        Self::Removed,
        Self::Unknown,
    ];

    /// The word for it in counters, events and the audit.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        }
    }
}

/// Where one recipient of an item stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipientState {
    /// To be tried, now or later.
    Queued {
        /// What the last attempt said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Response>,
    },
    /// Accepted by the far end, which will report.
    Pending {
        /// The receipts that have not come yet.
        receipt_ids: Vec<String>,
        /// What the far end said when it accepted.
        response: Response,
        /// When waiting ends.
        expires_at: Timestamp,
        /// Names the call in which it was accepted, where the call was about several items: what has the same receipt
        /// id from the same call is one job at the far end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<String>,
    },
    /// Done.
    Final {
        /// What became of it.
        fate: Fate,
        /// The word that decided it.
        response: Response,
        /// When.
        at: Timestamp,
    },
}

/// A recipient with its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecipient {
    /// The recipient.
    pub recipient: Recipient,
    /// Where it stands.
    pub state: RecipientState,
}

impl ItemRecipient {
    /// A recipient that was never tried.
    #[must_use]
    pub fn queued(recipient: Recipient) -> Self {
        Self { recipient, state: RecipientState::Queued { last: None } }
    }

    /// Whether it still is to be tried.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self.state, RecipientState::Queued { .. })
    }

    /// Whether it waits for a receipt.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, RecipientState::Pending { .. })
    }
}

/// What the queue may do with an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemState {
    /// Tried when it is due.
    #[default]
    Active,
    /// Left alone until an operator resumes it.
    Suspended,
    /// In the poison queue: it broke its agent too often.
    Poison,
}

/// One message for one next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: ItemId,
    /// Its queue.
    pub next_hop: NextHop,
    /// Its recipients, in the order of the envelope.
    pub recipients: Vec<ItemRecipient>,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// What the queue may do with it.
    #[serde(default)]
    pub state: ItemState,
    /// Attempts that have ended.
    #[serde(default)]
    pub attempts: u32,
    /// Attempts that ended in a trap of the agent.
    #[serde(default)]
    pub traps: u32,
    /// How often it was settled, by attempts, receipts and operators; makes the keys of DSNs unique.
    #[serde(default)]
    pub settlements: u32,
    /// When it came into its queue.
    pub enqueued_at: Timestamp,
    /// When it is tried next. Has no meaning when no recipient is queued.
    pub next_attempt: Timestamp,
    /// When its queued recipients expire; `None`: never.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When a delay DSN is due; `None`: never, or it was sent.
    #[serde(default)]
    pub delay_dsn_at: Option<Timestamp>,
    /// What the last attempt said, for queue views.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Item {
    /// Recipients that are to be tried.
    pub fn queued(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().filter(|r| r.is_queued()).map(|r| &r.recipient)
    }

    /// Recipients that wait for a receipt.
    pub fn pending(&self) -> impl Iterator<Item = &Recipient> {
        self.recipients.iter().filter(|r| r.is_pending()).map(|r| &r.recipient)
    }

    /// Whether every recipient is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.recipients.iter().all(|r| matches!(r.state, RecipientState::Final { .. }))
    }

    /// When time alone decides something for its queued recipients: expiry, or a delay DSN. Over poison only an
    /// operator decides.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.state == ItemState::Poison {
            return None;
        }
        self.queued().next()?;
        self.expires_at.into_iter().chain(self.delay_dsn_at).min()
    }

    /// When the queue must next look at it by itself: the next attempt when it is active and something is queued,
    /// else the first expiry of a pending receipt, else never.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let pending = self.recipients.iter().filter_map(|r| match &r.state {
            RecipientState::Pending { expires_at, .. } => Some(*expires_at),
            _ => None,
        });
        let attempt =
            (self.state == ItemState::Active && self.queued().next().is_some()).then_some(self.next_attempt);
        pending.chain(attempt).min()
    }
}
