//! Header: the header block of a file as its fields, and what of it goes on. Pure.

use jiff::Timestamp;
use mail_parser::parsers::MessageStream;
use mail_parser::{DateTime, HeaderValue};
use postern_drop::profile::exchange;
use postern_model::{MessageId, text};

/// The longest Message-ID or subject that is kept for views, in bytes.
const MAX_VIEW: usize = 500;
/// What some programs put before the first field: the byte order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its name as it was written.
    pub name: &'a [u8],
    /// All of it, line ends and folded lines included.
    raw: &'a [u8],
}

/// Why there is no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Larger than allowed.
    #[error("the header is larger than max_header_size ({0} bytes)")]
    TooLarge(usize),
    /// A line that is no field.
    #[error("line {0} of the header is no field (NAME: value)")]
    NotAField(usize),
    /// A NUL or a CR that ends no line.
    #[error("the header has a {0}")]
    Flaw(&'static str),
    /// The file is empty.
    #[error("the file has no header")]
    Empty,
}

/// A header block.
#[derive(Clone, Debug)]
pub struct Header<'a> {
    /// Its fields in their order.
    pub fields: Vec<Field<'a>>,
    /// Bytes up to the body.
    pub size: usize,
}

/// Which fields go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firewall {
    /// Not those of an organization's own servers, and not `Resent-*`: what a program may write.
    Pickup,
    /// Not those of an organization's own servers.
    Untrusted,
    /// All but those of an envelope block.
    Trusted,
}

impl Firewall {
    fn lets_pass(self, name: &[u8]) -> bool {
        let resent = || name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"resent-"));
        let own = || name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"x-postern-"));
        !name.eq_ignore_ascii_case(b"bcc")
            && match self {
                Self::Pickup => !exchange::is_walled(name) && !resent(),
                Self::Untrusted => !exchange::is_walled(name),
                Self::Trusted => !exchange::is_of_block(name) && !own(),
            }
    }
}

impl<'a> Header<'a> {
    /// Reads the header at the beginning of `bytes`, which is the whole file or more than `limit` bytes of it.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(bytes: &'a [u8], limit: usize) -> Result<Self, HeaderError> {
        let mut at = if bytes.starts_with(MARK) { MARK.len() } else { 0 };
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut number = 0;
        while at < bytes.len() {
            number += 1;
            let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n + 1);
            if end > limit {
                return Err(HeaderError::TooLarge(limit));
            }
            let line = &bytes[at..end];
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            check_line(text)?;
            if text.is_empty() {
                at = end;
                break;
            }
            let start = at;
            at = end;
            if text.starts_with(b" ") || text.starts_with(b"\t") {
                let last = fields.last_mut().ok_or(HeaderError::NotAField(number))?;
                // A folded line follows its field without a gap.
                last.raw = &bytes[start - last.raw.len()..end];
                continue;
            }
            let colon = text.iter().position(|byte| *byte == b':').ok_or(HeaderError::NotAField(number))?;
            let name = text[..colon].trim_ascii_end();
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                return Err(HeaderError::NotAField(number));
            }
            fields.push(Field { name, raw: line });
        }
        if fields.is_empty() {
            return Err(HeaderError::Empty);
        }
        Ok(Self { fields, size: at })
    }

    /// The fields of this name, in letters of any case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// How many `Received` fields there are.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.all("received").count()
    }

    /// The addresses in all fields of this name.
    #[must_use]
    pub fn addresses(&self, name: &str) -> Vec<String> {
        self.all(name).flat_map(|field| addresses(&field.value())).collect()
    }

    /// The header that goes on: what the firewall lets pass, with CRLF line ends; `Date` and `Message-ID` where they are
    /// missing or malformed; the empty line at its end.
    #[must_use]
    pub fn mended(&self, firewall: Firewall, host_name: &str, now: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size + 256);
        let has_id = self.all("message-id").next().is_some_and(|field| is_message_id(&field.text()));
        let has_date = self.all("date").next().is_some_and(|field| is_date(&field.text()));
        for field in self.fields.iter().filter(|field| firewall.lets_pass(field.name)) {
            let replaced = (!has_id && field.name.eq_ignore_ascii_case(b"message-id"))
                || (!has_date && field.name.eq_ignore_ascii_case(b"date"));
            if !replaced {
                field.write(&mut out);
            }
        }
        let named_anybody = ["to", "cc"].iter().any(|name| self.all(name).next().is_some());
        if firewall == Firewall::Pickup && !named_anybody {
            out.extend_from_slice(b"To: undisclosed-recipients:;\r\n");
        }
        if !has_date {
            let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
            out.extend_from_slice(format!("Date: {date}\r\n").as_bytes());
        }
        if !has_id {
            out.extend_from_slice(
                format!("Message-ID: <{}@{host_name}>\r\n", MessageId::generate()).as_bytes(),
            );
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

impl Field<'_> {
    /// What stands behind the colon, unfolded.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let colon = self.raw.iter().position(|byte| *byte == b':').map_or(self.raw.len(), |at| at + 1);
        self.raw[colon..].iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
    }

    /// The value as text, trimmed.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value()).trim().to_owned()
    }

    fn write(&self, out: &mut Vec<u8>) {
        for line in self.raw.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn check_line(text: &[u8]) -> Result<(), HeaderError> {
    match text.iter().find(|byte| matches!(byte, 0 | b'\r')) {
        Some(0) => Err(HeaderError::Flaw("NUL; is it text in UTF-16?")),
        Some(_) => Err(HeaderError::Flaw("CR that ends no line")),
        None => Ok(()),
    }
}

/// The addresses in the value of an address field, those of groups included.
fn addresses(value: &[u8]) -> Vec<String> {
    let line = [value.trim_ascii(), b"\n"].concat();
    let HeaderValue::Address(found) = MessageStream::new(&line).parse_address() else { return Vec::new() };
    // What has no address is kept as it is, for somebody to notice: nobody must be left out in silence.
    let text = |each: &mail_parser::Addr<'_>| {
        each.address.as_deref().or(each.name.as_deref()).map(str::trim).map(str::to_owned)
    };
    found.iter().filter_map(text).filter(|text| !text.is_empty()).collect()
}

/// Whether it has the form `<left@right>` (RFC 5322 3.6.4), generously.
fn is_message_id(value: &str) -> bool {
    let inner = value.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or_default();
    let fits = inner.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'));
    fits && inner.split_once('@').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty())
}

fn is_date(value: &str) -> bool {
    DateTime::parse_rfc822(value).is_some_and(|date| date.is_valid())
}

/// The Message-ID and the subject of a mended header, for views.
#[must_use]
pub fn views(header: &[u8]) -> (Option<String>, Option<String>) {
    let Ok(parsed) = Header::parse(header, usize::MAX) else { return (None, None) };
    let id = parsed.all("message-id").next().map(|field| text::one_line(&field.text(), MAX_VIEW));
    let subject = parsed.all("subject").next().map(|field| text::one_line(&decoded(&field.text()), MAX_VIEW));
    (id, subject)
}

fn decoded(value: &str) -> String {
    if !value.contains("=?") {
        return value.to_owned();
    }
    let field = format!("Subject: {value}\r\n\r\n");
    let parsed = mail_parser::MessageParser::default().parse_headers(field.as_bytes());
    let subject = parsed.as_ref().and_then(|message| message.subject()).map(str::to_owned);
    subject.unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str, firewall: Firewall) -> String {
        let header = Header::parse(text.as_bytes(), 10_000).unwrap();
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        String::from_utf8(header.mended(firewall, "gw.example", now)).unwrap()
    }

    #[test]
    fn fields_are_read_with_lf_and_crlf_folded_and_behind_a_byte_order_mark() {
        for text in [
            "A: b\n c\nTo : d\n\nbody",
            "A: b\r\n c\r\nTo : d\r\n\r\nbody",
            "\u{feff}A: b\n c\nTo : d\n\nbody",
        ] {
            let header = Header::parse(text.as_bytes(), 100).unwrap();
            assert_eq!(&text.as_bytes()[header.size..], b"body");
            assert_eq!(header.all("a").next().unwrap().text(), "b c");
            assert_eq!(header.all("TO").next().unwrap().text(), "d");
        }
        assert_eq!(Header::parse(b"A: b", 100).unwrap().size, 4, "a file may end within its header");
    }

    #[test]
    fn what_is_no_header_is_told_with_its_line() {
        let error = |text: &[u8], limit| Header::parse(text, limit).unwrap_err();
        assert_eq!(error(b"", 100), HeaderError::Empty);
        assert_eq!(error(b"\n\nA: b\n", 100), HeaderError::Empty);
        assert_eq!(error(b"A: b\nhello\n\n", 100), HeaderError::NotAField(2));
        assert_eq!(error(b" folded\n", 100), HeaderError::NotAField(1));
        assert_eq!(error(b"From jo Mon Mar  2\nA: b\n\n", 100), HeaderError::NotAField(1));
        assert_eq!(error(b"A: b\nC: d\n\n", 8), HeaderError::TooLarge(8));
        assert!(matches!(error(b"A: \0\n\n", 100), HeaderError::Flaw(_)));
        assert!(matches!(error(b"A: b\rC: d\n\n", 100), HeaderError::Flaw(_)));
        assert!(matches!(error(b"\xff\xfeF\0r\0o\0m\0:\0", 100), HeaderError::Flaw(_)));
    }

    #[test]
    fn a_program_s_header_is_repaired_and_loses_what_it_must_not_say() {
        let text = "Received: from a by b; now\nResent-From: x\nFrom: jo@a.example\nBCC: s@a.example\nSubject: hi\n there\n\
                    X-MS-Exchange-Organization-SCL: -1\nX-Sender: jo@a.example\nX-Postern-Import: y\nX-Mailer: m\n\n";
        let mended = mended(text, Firewall::Pickup);
        let (kept, added) = mended.split_once("To: undisclosed-recipients:;\r\n").unwrap();
        assert_eq!(
            kept,
            "Received: from a by b; now\r\nFrom: jo@a.example\r\nSubject: hi\r\n there\r\nX-Mailer: m\r\n"
        );
        assert!(added.starts_with("Date: Mon, 02 Mar 2026 12:00:00 +0000\r\nMessage-ID: <"), "{added}");
        assert!(added.ends_with("@gw.example>\r\n\r\n"), "{added}");
    }

    #[test]
    fn what_is_right_stays_and_what_is_malformed_is_replaced() {
        let right = "To: a@b\r\nDate: Mon, 2 Mar 2026 12:00:00 +0100\r\nMessage-ID: <1@x>\r\n\r\n";
        assert_eq!(mended(right, Firewall::Pickup), right);
        let wrong = mended("To: a@b\nDate: yesterday\nMessage-Id: 1\n\n", Firewall::Pickup);
        assert!(!wrong.contains("yesterday") && !wrong.contains("Message-Id: 1"), "{wrong}");
        assert_eq!(wrong.matches("Date: ").count() + wrong.matches("Message-ID: <").count(), 2);
    }

    #[test]
    fn the_firewall_of_replayed_messages_depends_on_trust() {
        let text = "To: a@b\nDate: Mon, 2 Mar 2026 12:00:00 +0000\nMessage-ID: <1@x>\nBcc: c@d\nResent-To: e@f\n\
                    X-MS-Exchange-Organization-SCL: -1\nX-Receiver: <x@y>\nX-Postern-Properties: z\n\n";
        let trusted = mended(text, Firewall::Trusted);
        assert!(trusted.contains("Resent-To") && trusted.contains("Organization-SCL"), "{trusted}");
        assert!(
            !trusted.contains("X-Receiver") && !trusted.contains("X-Postern") && !trusted.contains("Bcc")
        );
        let untrusted = mended(text, Firewall::Untrusted);
        assert!(untrusted.contains("Resent-To") && !untrusted.contains("Organization-SCL"), "{untrusted}");
    }

    #[test]
    fn addresses_are_found_among_names_comments_and_groups() {
        let found = |value: &str| addresses(value.as_bytes());
        assert_eq!(
            found(" \"Jo, the first\" <jo@a.example>, kim@b.example (Kim)"),
            ["jo@a.example", "kim@b.example"]
        );
        assert_eq!(found("friends: jo@a.example, kim@b.example;"), ["jo@a.example", "kim@b.example"]);
        assert_eq!(found("=?utf-8?q?J=C3=B6?= <jo@a.example>"), ["jo@a.example"]);
        assert_eq!(found("undisclosed-recipients:;"), Vec::<String>::new());
        assert_eq!(found(""), Vec::<String>::new());
    }
}
