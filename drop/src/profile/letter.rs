//! Letter: what a profile may put into files: envelope, recipients, and the content in ready-made views. Plain data, handed
//! over by the host.

use jiff::Timestamp;

/// One message for the recipients of one file.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// What names it for ever: letters, digits, dots and dashes only. The same letter always has the same.
    pub id: &'a str,
    /// The message's id, which several letters may share.
    pub message_id: &'a str,
    /// The number that file names are counted with, where the profile [wants](super::Wishes::number) one.
    pub number: Option<u64>,
    /// The name of the host that writes.
    pub host: &'a str,
    /// When it was put into the queue; part of names, so it is the same at every attempt.
    pub queued_at: Timestamp,
    /// When it stops being of interest, if ever.
    pub expires_at: Option<Timestamp>,
    /// How urgent it is.
    pub urgency: Urgency,
    /// The envelope but for the recipients.
    pub envelope: Envelope<'a>,
    /// The recipients, one or more.
    pub recipients: &'a [Addressee],
    /// The length of the content in bytes.
    pub size: u64,
    /// The SHA-256 of the content in hexadecimal, where the profile [wants](super::Wishes::checksum) it.
    pub sha256: Option<String>,
    /// The content decoded, where the profile [wants](super::Wishes::header) it.
    pub view: Option<&'a View>,
    /// The envelope as a block, where the profile [wants](super::Wishes::block) it.
    pub block: Option<&'a super::exchange::Block>,
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// After everything else.
    Low,
    /// As most messages.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Urgency {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// What the client said about the message as a whole.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The reverse-path without angle brackets; empty for the null one.
    pub return_path: &'a str,
    /// ENVID, decoded (RFC 3461 4.4).
    pub envelope_id: Option<&'a str>,
    /// RET: `full` or `headers` (RFC 3461 4.3).
    pub ret: Option<&'a str>,
    /// The client as a `Received` field names it, `mail.example ([192.0.2.1])`; empty when there was none.
    pub client: String,
    /// The authenticated user.
    pub submitter: Option<&'a str>,
    /// The protocol, `ESMTPS` (RFC 3848).
    pub protocol: &'a str,
    /// When it was accepted.
    pub received_at: Timestamp,
}

/// A recipient.
#[derive(Clone, Debug, Default)]
pub struct Addressee {
    /// Its place in the envelope, from 0.
    pub index: u32,
    /// The address as it is shown: `jo@x.example`, `SMS:+491701234567`.
    pub address: String,
    /// The type of the address: `SMTP`, `SMS`.
    pub kind: String,
    /// The address without its type; of a mail address, the part before the `@`.
    pub local: String,
    /// ORCPT, as `type;address` (RFC 3461 4.2).
    pub original: Option<String>,
    /// When the sender wants to hear of it (RFC 3461 4.1).
    pub notify: Notify,
    /// What patterns of addresses captured.
    pub properties: Vec<(String, String)>,
}

/// When a sender wants to hear of a recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it failed.
    pub failure: bool,
    /// When it is late.
    pub delay: bool,
}

/// The content decoded.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The subject.
    pub subject: String,
    /// The `From` field, decoded.
    pub from: String,
    /// The best text, decoded, with whatever line ends it had; empty when there is none. Only where the profile
    /// [wants](super::Wishes::text) it.
    pub text: String,
    /// Not to be sent before this (`Deferred-Delivery`, RFC 2156 and 4021).
    pub not_before: Option<Timestamp>,
    /// The parts that are no containers, in their order; only where the profile [wants](super::Wishes::parts) them.
    pub parts: Vec<Part>,
}

/// A part of the content.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its type, `image/tiff`, in lower case.
    pub content_type: String,
    /// The file name that the sender gave it. Foreign text: never a name on our disk.
    pub file_name: Option<String>,
    /// Whether it is of the text that [`View::text`] has.
    pub is_text: bool,
    /// Its bytes after transfer decoding.
    pub bytes: Vec<u8>,
}
