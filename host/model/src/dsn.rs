//! DsnRequest: a delivery status notification that is owed, before it is a message.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ItemId, MessageInfo, Recipient, Response};

/// What a DSN tells about its recipients (RFC 3464 2.3.3, Action).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DsnKind {
    /// It failed, or expired.
    Failed,
    /// It is late and still being tried.
    Delayed,
    /// It arrived.
    Delivered,
    /// It went on into a world that does not report back.
    Relayed,
    /// It became several.
    Expanded,
}

impl DsnKind {
    /// The word of the Action field.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }
}

/// One recipient in a DSN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DsnRecipient {
    /// The recipient.
    pub recipient: Recipient,
    /// The word that decided it.
    pub response: Response,
    /// The far end's own id for it.
    #[serde(default)]
    pub remote_id: Option<String>,
    /// Pages, segments, cost.
    #[serde(default)]
    pub details: Vec<(String, String)>,
    /// The far end accepted it and never said what became of it: it may have arrived, and is not tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
}

/// One DSN: one item, one settlement, one kind, all its recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DsnRequest {
    /// Names it for ever: made of item, settlement and kind, so a repeat is recognised.
    pub key: String,
    /// What it tells.
    pub kind: DsnKind,
    /// The item it is about.
    pub item: ItemId,
    /// The connector that the item was for.
    pub connector: String,
    /// The message it is about.
    pub message: MessageInfo,
    /// The header block of the message, at most 64 KiB, kept because the content may be gone when the DSN is built.
    #[serde(default, with = "crate::text::bytes_as_text")]
    pub headers: Vec<u8>,
    /// The whole message, when RET=FULL asks for it and it is small enough.
    #[serde(default, with = "crate::text::optional_bytes_as_text", skip_serializing_if = "Option::is_none")]
    pub content: Option<Vec<u8>>,
    /// Whom it is about. Never empty.
    pub recipients: Vec<DsnRecipient>,
    /// When it became due.
    pub at: Timestamp,
    /// For [`DsnKind::Delayed`]: until when it will be tried, but for those who are [`DsnRecipient::unconfirmed`].
    #[serde(default)]
    pub retry_until: Option<Timestamp>,
}
