//! Manifest: what stands beside a message for programs that read JSON: version 1, described in docs/drop-protocol.md.

use jiff::Timestamp;
use serde::Serialize;

use super::{Letter, Unfit};

/// The version of the manifest. Fields may be added without a new one; a reader passes over those that it does not know.
pub const VERSION: u32 = 1;

/// A manifest.
#[derive(Debug, Serialize)]
pub struct Manifest<'a> {
    postern_manifest: u32,
    profile: &'a str,
    id: &'a str,
    message_id: &'a str,
    host: &'a str,
    queued_at: Timestamp,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    priority: &'a str,
    envelope: Envelope<'a>,
    recipients: Vec<Recipient<'a>>,
    subject: &'a str,
    content: Content<'a>,
    /// The files of the set, for a profile that takes the message apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<PartOf>>,
}

#[derive(Debug, Serialize)]
struct Envelope<'a> {
    return_path: &'a str,
    envelope_id: Option<&'a str>,
    #[serde(rename = "return")]
    ret: Option<&'a str>,
    received_at: Timestamp,
    received_from: &'a str,
    protocol: &'a str,
    submitter: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Recipient<'a> {
    index: u32,
    address: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    local: &'a str,
    original: Option<&'a str>,
    notify: Vec<&'static str>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    properties: serde_json::Map<String, serde_json::Value>,
}

/// What the manifest says of the message.
#[derive(Debug, Serialize)]
pub struct Content<'a> {
    /// The file that holds it; `None` when no file does.
    pub file: Option<&'a str>,
    /// Its length as it was received.
    pub bytes: u64,
    /// The SHA-256 of the message as it was received, in hexadecimal.
    pub sha256: Option<&'a str>,
    /// `crlf` or `lf`: what the lines of the file end with. With `lf` the file is shorter than `bytes`, and `sha256` holds for
    /// it when each LF is made CRLF again.
    pub line_end: &'static str,
}

/// A part of the message and its file.
#[derive(Debug, Serialize)]
pub struct PartOf {
    /// The file; `None` when the profile was not told to write this type.
    pub file: Option<String>,
    /// The type.
    pub content_type: String,
    /// What the sender called it. Foreign text.
    pub name: Option<String>,
    /// The length of the file, or of the part that was left out.
    pub bytes: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// The code page of the file, where it is text.
    pub code_page: Option<&'static str>,
}

impl<'a> Manifest<'a> {
    /// The manifest of a letter.
    #[must_use]
    pub fn new(profile: &'a str, letter: &'a Letter<'a>, content: Content<'a>) -> Self {
        let envelope = &letter.envelope;
        Self {
            postern_manifest: VERSION,
            profile,
            id: letter.id,
            message_id: letter.message_id,
            host: letter.host,
            queued_at: letter.queued_at,
            not_before: letter.view.and_then(|view| view.not_before),
            expires_at: letter.expires_at,
            priority: letter.urgency.word(),
            envelope: Envelope {
                return_path: envelope.return_path,
                envelope_id: envelope.envelope_id,
                ret: envelope.ret,
                received_at: envelope.received_at,
                received_from: &envelope.client,
                protocol: envelope.protocol,
                submitter: envelope.submitter,
            },
            recipients: letter.recipients.iter().map(recipient).collect(),
            subject: letter.view.map_or("", |view| &view.subject),
            content,
            parts: None,
        }
    }

    /// The same with its parts.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<PartOf>) -> Self {
        self.parts = Some(parts);
        self
    }

    /// It as it is written: UTF-8, with a line end behind.
    ///
    /// # Errors
    /// Never by what is in it; the type says so to its caller.
    pub fn bytes(&self) -> Result<Vec<u8>, Unfit> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Unfit { status: Unfit::SYSTEM, why: format!("its manifest: {error}") })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn recipient(recipient: &super::Addressee) -> Recipient<'_> {
    let notify = recipient.notify;
    let words = [("success", notify.success), ("failure", notify.failure), ("delay", notify.delay)];
    let properties = recipient.properties.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    Recipient {
        index: recipient.index,
        address: &recipient.address,
        kind: &recipient.kind,
        local: &recipient.local,
        original: recipient.original.as_deref(),
        notify: words.iter().filter(|(_, wanted)| *wanted).map(|(word, _)| *word).collect(),
        properties: properties.collect(),
    }
}
