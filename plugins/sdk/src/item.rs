//! Item: one message for one next hop, as an agent sees it.

use std::fmt;

use crate::RecipientOutcome;

/// The most that the host hands over in one read, in bytes.
pub const MAX_READ: u32 = 256 * 1024;

/// What the sender wants to hear about (RFC 3461 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// That it was delivered.
    Success,
    /// That it failed.
    Failure,
    /// That it is late.
    Delay,
}

impl Notify {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Delay => "delay",
        }
    }
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// After everything else.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Priority {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// What was said about the message outside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The item.
    pub item_id: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Empty for the null reverse-path.
    pub reverse_path: String,
    /// ENVID (RFC 3461 4.4).
    pub envelope_id: Option<String>,
    /// RET (RFC 3461 4.3): `FULL` or `HDRS`.
    pub return_content: Option<String>,
    /// What the client called itself.
    pub helo: Option<String>,
    /// The authenticated user.
    pub submitter: Option<String>,
    /// RFC 3339.
    pub received_at: String,
    /// RFC 3339; `None`: never.
    pub expires_at: Option<String>,
    /// Never expires and never fails by age.
    pub must_deliver: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Bytes of the whole message.
    pub size: u32,
    /// Extension properties.
    pub properties: Vec<(String, String)>,
}

/// The recipient as the sender knew it (RFC 3461 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// `rfc822`, `fax`, ...
    pub kind: String,
    /// The decoded address.
    pub address: String,
}

/// One recipient that is to be delivered to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// Names it in the report.
    pub index: u32,
    /// `SMTP`, `FAX`, `SMS`, ...
    pub address_type: String,
    /// Without the type: `+4930123`, `user@box.example`.
    pub address: String,
    /// ORCPT.
    pub original: Option<Original>,
    /// NOTIFY: `None` when nothing was said, empty for NEVER.
    pub notify: Option<Vec<Notify>>,
    /// The same for every attempt at this recipient, never shared by two recipients, new after an operator's resubmit.
    pub idempotency_key: String,
    /// What the connector's pattern captured, and properties set on the way.
    pub properties: Vec<(String, String)>,
}

/// One part of the message, as the host's parser sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Names it in [`Item::read_part`].
    pub index: u32,
    /// The media type.
    pub content_type: String,
    /// The character set, if it is text that says so.
    pub charset: Option<String>,
    /// The file name, if it has one.
    pub file_name: Option<String>,
    /// It is meant to be saved, not shown.
    pub attachment: bool,
    /// Bytes after transfer decoding.
    pub size: u32,
}

/// Where an item comes from: the host, or a test.
#[allow(
    clippy::missing_errors_doc,
    reason = "every error is the host's text about a message it cannot read or parse"
)]
pub trait Source {
    /// See [`Item::envelope`].
    fn envelope(&self) -> Envelope;
    /// See [`Item::recipients`].
    fn recipients(&self) -> Vec<Recipient>;
    /// See [`Item::read`].
    fn read(&self, offset: u32, length: u32) -> Result<Vec<u8>, String>;
    /// See [`Item::headers`].
    fn headers(&self) -> Result<Vec<(String, String)>, String>;
    /// See [`Item::text`].
    fn text(&self, max: u32) -> Result<Option<String>, String>;
    /// See [`Item::parts`].
    fn parts(&self) -> Result<Vec<Part>, String>;
    /// See [`Item::read_part`].
    fn read_part(&self, index: u32, offset: u32, length: u32) -> Result<Vec<u8>, String>;
    /// See [`Item::report`].
    fn report(&self, outcome: RecipientOutcome);
}

/// One message for one next hop. It is valid for one call of `deliver`.
pub struct Item {
    source: Box<dyn Source>,
}

impl Item {
    /// Wraps a source.
    #[must_use]
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source) }
    }

    /// What was said about the message outside its content. Fetched from the host at every call.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        self.source.envelope()
    }

    /// The recipients to deliver to. Fetched from the host at every call.
    #[must_use]
    pub fn recipients(&self) -> Vec<Recipient> {
        self.source.recipients()
    }

    /// At most `length` bytes from `offset`, at most 256 KiB; short only at the end or at that limit.
    ///
    /// # Errors
    /// When the host cannot read the content.
    pub fn read(&self, offset: u32, length: u32) -> Result<Vec<u8>, String> {
        self.source.read(offset, length.min(MAX_READ))
    }

    /// The content in pieces of 256 KiB.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { item: self, offset: 0, size: self.envelope().size }
    }

    /// The whole content, exactly as it was received, with room for `reserve` bytes more. Nothing is read when it is
    /// larger than `limit` bytes.
    ///
    /// # Errors
    /// When it is larger than the limit, or the host cannot read it.
    pub fn read_all(&self, limit: u32, reserve: usize) -> Result<Vec<u8>, ReadError> {
        let size = self.envelope().size;
        if size > limit {
            return Err(ReadError::TooLarge { size, limit });
        }
        let mut content = Vec::with_capacity(size as usize + reserve);
        for chunk in self.chunks() {
            content.extend_from_slice(&chunk.map_err(ReadError::Host)?);
        }
        Ok(content)
    }

    /// All header fields in order, decoded (RFC 2047).
    ///
    /// # Errors
    /// When the host cannot parse the message.
    pub fn headers(&self) -> Result<Vec<(String, String)>, String> {
        self.source.headers()
    }

    /// The best plain text of the message, HTML converted, cut at `max` bytes; `None` when it has none.
    ///
    /// # Errors
    /// When the host cannot parse the message.
    pub fn text(&self, max: u32) -> Result<Option<String>, String> {
        self.source.text(max)
    }

    /// The parts of the message.
    ///
    /// # Errors
    /// When the host cannot parse the message.
    pub fn parts(&self) -> Result<Vec<Part>, String> {
        self.source.parts()
    }

    /// Decoded bytes of one part, at most 256 KiB.
    ///
    /// # Errors
    /// When there is no such part, or the host cannot parse the message.
    pub fn read_part(&self, index: u32, offset: u32, length: u32) -> Result<Vec<u8>, String> {
        self.source.read_part(index, offset, length.min(MAX_READ))
    }

    /// Reports one recipient at once. It stands even if the call is cut off later; the first outcome counts.
    pub fn report(&self, mut outcome: RecipientOutcome) {
        outcome.outcome = outcome.outcome.fitted();
        self.source.report(outcome);
    }
}

/// The content in pieces; ends after an error.
pub struct Chunks<'a> {
    item: &'a Item,
    offset: u32,
    size: u32,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.size {
            return None;
        }
        let left = self.size - self.offset;
        match self.item.read(self.offset, left) {
            Ok(chunk) if chunk.is_empty() || chunk.len() > left as usize => {
                let text =
                    format!("the content has {} bytes of which the host read {}", self.size, self.offset);
                self.offset = self.size;
                Some(Err(text))
            }
            Ok(chunk) => {
                self.offset += u32::try_from(chunk.len()).expect("checked to be at most what is left");
                Some(Ok(chunk))
            }
            Err(text) => {
                self.offset = self.size;
                Some(Err(text))
            }
        }
    }
}

/// Why the content was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// It is larger than the agent wants.
    TooLarge {
        /// Bytes of the content.
        size: u32,
        /// The limit in bytes.
        limit: u32,
    },
    /// The host cannot read it.
    Host(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "the message has {size} bytes, the limit is {limit}")
            }
            Self::Host(text) => write!(f, "the content could not be read: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestItem;

    #[test]
    fn a_content_of_several_reads_comes_whole_and_in_order() {
        let content: Vec<u8> =
            (0..u32::from(u16::MAX) * 11).map(|n| n.to_le_bytes()[(n % 3) as usize]).collect();
        let item = TestItem::new(&content).item();
        let sizes: Vec<usize> = item.chunks().map(|c| c.unwrap().len()).collect();
        assert_eq!(sizes, [262_144, 262_144, content.len() - 524_288]);
        assert_eq!(item.read_all(u32::MAX, 0).unwrap(), content);
    }

    #[test]
    fn a_content_above_the_limit_is_not_read() {
        let item = TestItem::new(b"12345").item();
        assert_eq!(item.read_all(4, 0), Err(ReadError::TooLarge { size: 5, limit: 4 }));
        assert_eq!(item.read_all(5, 0).unwrap(), b"12345");
    }

    #[test]
    fn a_content_that_ends_early_is_an_error_and_not_a_shorter_message() {
        let mut item = TestItem::new(b"12345");
        item.envelope.size = 9;
        let item = item.item();
        assert!(matches!(item.read_all(99, 0), Err(ReadError::Host(text)) if text.contains("9 bytes")));
        assert_eq!(item.chunks().count(), 2);
    }
}
