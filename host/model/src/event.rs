//! TrackingEvent: one thing that happened to a message, for tracking, the audit and the log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ItemId, MessageId, NextHop, Recipient, Response, TypedAddress};

/// What happened. The words are those of Exchange's message tracking where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A message was accepted at a door (RECEIVE).
    Receive,
    /// We made a message, a DSN (DSN).
    Generate,
    /// Recipients arrived.
    Deliver,
    /// Recipients went on into a world that does not report back.
    Relay,
    /// Recipients became several.
    Expand,
    /// The far end took it and will report.
    Accept,
    /// Recipients will be tried again (DEFER).
    Defer,
    /// Recipients will not arrive (FAIL).
    Fail,
    /// Recipients could not be delivered in time.
    Expire,
    /// An operator removed recipients.
    Remove,
    /// The far end's word never came.
    Unknown,
    /// A gateway took a drop file.
    Taken,
    /// A receipt that changed nothing: repeated, contradictory or foreign.
    Receipt,
    /// An item went into the poison queue.
    Poison,
    /// An operator suspended, resumed or retried something, or an agent suspended its queue.
    Operate,
}

impl EventKind {
    /// The word for it, in lower case.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Generate => "generate",
            Self::Deliver => "deliver",
            Self::Relay => "relay",
            Self::Expand => "expand",
            Self::Accept => "accept",
            Self::Defer => "defer",
            Self::Fail => "fail",
            Self::Expire => "expire",
            Self::Remove => "remove",
            Self::Unknown => "unknown",
            Self::Taken => "taken",
            Self::Receipt => "receipt",
            Self::Poison => "poison",
            Self::Operate => "operate",
        }
    }
}

/// A recipient within an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecipient {
    /// Its index in the envelope.
    #[serde(rename = "i")]
    pub index: u32,
    /// Its address, as people are shown it.
    #[serde(rename = "a")]
    pub address: String,
    /// Its address in the envelope, when it was rewritten on the way.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub envelope_address: Option<String>,
    /// The response, written out.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
}

impl EventRecipient {
    /// What an event keeps of a recipient.
    #[must_use]
    pub fn of(recipient: &Recipient, response: Option<&Response>) -> Self {
        Self {
            index: recipient.index,
            address: recipient.address.display(),
            envelope_address: recipient.envelope_address.as_ref().map(TypedAddress::display),
            response: response.map(ToString::to_string),
        }
    }

    /// A recipient of which nothing but the address is known.
    #[must_use]
    pub fn new(index: u32, address: &str) -> Self {
        Self { index, address: address.to_owned(), envelope_address: None, response: None }
    }
}

/// One thing that happened to one message or item, for one or more recipients alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingEvent {
    /// When.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// What.
    #[serde(rename = "k")]
    pub kind: EventKind,
    /// The message; [`MessageId::NONE`] when it is about a queue as a whole.
    #[serde(rename = "m")]
    pub message: MessageId,
    /// The item, when it is about one.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemId>,
    /// The connector: the receive connector for [`EventKind::Receive`], else the one it is for.
    #[serde(rename = "c")]
    pub connector: String,
    /// The destination behind the connector.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The reverse-path.
    #[serde(rename = "s")]
    pub sender: String,
    /// Whom it is about.
    #[serde(rename = "p")]
    pub recipients: Vec<EventRecipient>,
    /// The Message-ID header field; on receive and generate.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub internet_message_id: Option<String>,
    /// The subject; on receive and generate.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Bytes of the content; on receive and generate.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The attempt that this came of.
    #[serde(rename = "n2", default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Remote id, details, the far end's label, the reason of an operator.
    #[serde(rename = "x", default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<(String, String)>,
}

impl TrackingEvent {
    /// An event about a queue as a whole: what was done to it, by whom (`operator`, `agent`), and why.
    #[must_use]
    pub fn of_queue(
        queue: &NextHop,
        operation: &str,
        by: &str,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Self {
        let detail = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let mut details = vec![detail("operation", operation), detail("by", by)];
        details.extend(reason.map(|reason| detail("reason", reason)));
        Self {
            time: now,
            kind: EventKind::Operate,
            message: MessageId::NONE,
            item: None,
            connector: queue.connector.to_string(),
            destination: Some(queue.destination.to_string()),
            sender: String::new(),
            recipients: Vec::new(),
            internet_message_id: None,
            subject: None,
            size: None,
            attempt: None,
            details,
        }
    }

    /// The id of the message as people are shown it: empty when it is about none.
    #[must_use]
    pub fn message_text(&self) -> String {
        if self.message == MessageId::NONE { String::new() } else { self.message.to_string() }
    }
}
