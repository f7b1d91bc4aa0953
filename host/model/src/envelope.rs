//! Envelope: what was said about a message outside its content, and the recipients it is for.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AddressError, AddressType, MessageId, TypedAddress};

/// What part of the message a DSN should return (RFC 3461 4.3, RET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Return {
    /// The whole message.
    Full,
    /// Its headers only.
    Headers,
}

/// What the content may hold (RFC 6152, RFC 3030: BODY).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyType {
    /// Nothing said: lines of ASCII.
    #[default]
    SevenBit,
    /// Lines with any octet but NUL.
    EightBit,
    /// Any octets (only by BDAT).
    Binary,
}

/// How urgent a message is; a weight between items of one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After everything else.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

/// When the sender wants to hear about a recipient (RFC 3461 4.1, NOTIFY).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it failed.
    pub failure: bool,
    /// When it is late.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };
    /// What holds when nothing is said: failures and delays (RFC 3461 4.1).
    pub const DEFAULT: Self = Self { success: false, failure: true, delay: true };
}

/// The recipient as the sender knew it (RFC 3461 4.2, ORCPT), decoded from xtext.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalRecipient {
    /// `rfc822`, `fax`, ... as written.
    pub kind: String,
    /// The decoded address.
    pub address: String,
}

/// One recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Its place in the envelope, from 0. Never changes.
    pub index: u32,
    /// Where it goes, after rewriting.
    pub address: TypedAddress,
    /// The address as it stood in the envelope, when rewriting changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_address: Option<TypedAddress>,
    /// ORCPT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<OriginalRecipient>,
    /// NOTIFY; `None` when nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// What patterns captured and other properties set on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<(String, String)>,
}

impl Recipient {
    /// A recipient with nothing said about it but its address.
    #[must_use]
    pub fn new(index: u32, address: TypedAddress) -> Self {
        Self { index, address, envelope_address: None, original: None, notify: None, properties: Vec::new() }
    }

    /// When its sender wants to hear, with the default where nothing was said.
    #[must_use]
    pub fn notify_or_default(&self) -> Notify {
        self.notify.unwrap_or(Notify::DEFAULT)
    }
}

/// Everything about a message that is the same for all its recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The reverse-path without angle brackets; empty for the null reverse-path.
    pub reverse_path: String,
    /// ENVID, decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_id: Option<String>,
    /// RET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Return>,
    /// BODY.
    #[serde(default)]
    pub body: BodyType,
    /// What the client called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helo: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// The authenticated user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// The receive connector (or other way in) that took it.
    pub receive_connector: String,
    /// The protocol for the Received header: `SMTP`, `ESMTP`, ... (RFC 3848).
    pub protocol: String,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Never expires and never fails by age (Exchange: `MustDeliver`).
    #[serde(default)]
    pub must_deliver: bool,
    /// Extension properties.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<(String, String)>,
}

impl Envelope {
    /// An envelope of our own making, for messages that the host itself generates.
    #[must_use]
    pub fn generated(reverse_path: &str, now: Timestamp) -> Self {
        Self {
            reverse_path: reverse_path.to_owned(),
            envelope_id: None,
            ret: None,
            body: BodyType::EightBit,
            helo: None,
            client: None,
            submitter: None,
            receive_connector: "postern".to_owned(),
            protocol: "local".to_owned(),
            received_at: now,
            priority: Priority::Normal,
            must_deliver: false,
            properties: Vec::new(),
        }
    }

    /// Where DSNs about this message go; `None` when there is nobody to tell (null reverse-path).
    ///
    /// # Errors
    /// When the reverse-path is not an address.
    pub fn dsn_address(&self) -> Result<Option<TypedAddress>, AddressError> {
        if self.reverse_path.is_empty() {
            return Ok(None);
        }
        TypedAddress::new(AddressType::smtp(), &self.reverse_path).map(Some)
    }
}

/// Who made a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It came in through a door; its recipients count as accepted.
    Accepted,
    /// We made it (a DSN); its recipients count as generated.
    Generated,
}

/// A stored message without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageInfo {
    /// Its id.
    pub id: MessageId,
    /// Who made it.
    pub origin: Origin,
    /// Its envelope.
    pub envelope: Envelope,
    /// Bytes of the content.
    pub size: u64,
    /// The Message-ID header field, for tracking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_message_id: Option<String>,
    /// The Subject header field, decoded and on one line, for queue views.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}
