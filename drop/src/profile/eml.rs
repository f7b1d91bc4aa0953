//! The `eml` profile: a trace header, then the message exactly as it was received.
//!
//! The envelope travels in the header, in the fields that mailbox writers use: `Return-Path` (RFC 5321 section
//! 4.4), one `Delivered-To` (RFC 9228) for each recipient of the item, and a `Received` of our own (RFC 5321
//! section 4.4). The message's own header fields follow, so that the whole is a valid RFC 5322 message. A gateway
//! takes the fields up to the first `Received` for the envelope and must not look for them further down, where the
//! sender could have written them.

use jiff::fmt::rfc2822;

use super::name_pattern::checked;
use super::{Content, FileSet, Letter, MessageLines, Unfit};

/// The longest value of one header line, in bytes. RFC 5322 section 2.1.1 allows 998 in a line, name included.
pub const MAX_VALUE: usize = 900;

/// The longest `by`, `with` or `id` clause, in bytes: the three share a line.
pub const MAX_CLAUSE: usize = 250;

/// How the profile writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eml {
    /// How the lines of the message end. Those of the trace header do the same.
    pub lines: MessageLines,
}

impl Eml {
    /// The name of the file.
    pub(super) fn main_name(id: &str) -> String {
        format!("{id}.eml")
    }

    /// The file of a letter.
    pub(super) fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        let recipients: Vec<String> = letter.recipients.iter().map(|r| r.address.clone()).collect();
        let return_path = letter.envelope.return_path;
        let mut before = with_received(letter, |received| {
            header(&Trace { return_path, delivered_to: &recipients, received })
        });
        if self.lines == MessageLines::Lf {
            // Nothing in it but its line ends has a CR.
            before.retain(|byte| *byte != b'\r');
        }
        let content = Content::Message { before, line_end: self.lines };
        Ok(FileSet::single(checked(Self::main_name(letter.id))?, content))
    }
}

/// What the trace header says. Control characters in it are removed and values cut at [`MAX_VALUE`], so that
/// nothing in it can begin a line of its own.
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The reverse-path, without angle brackets; empty for the null one.
    pub return_path: &'a str,
    /// The recipients of the item.
    pub delivered_to: &'a [String],
    /// How the message came in.
    pub received: Received<'a>,
}

/// The clauses of a `Received` field (RFC 5321 section 4.4); an empty one is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received<'a> {
    /// The client, for example `mail.example ([192.0.2.1])`.
    pub from: &'a str,
    /// The receiving host's name.
    pub by: &'a str,
    /// The protocol, for example `ESMTPS`.
    pub with: &'a str,
    /// The message's id in the queue.
    pub id: &'a str,
    /// The date and time of arrival, in the form of RFC 5322 section 3.3.
    pub date: &'a str,
}

/// The trace header as bytes, with CRLF line ends and without a blank line: the message follows at once.
#[must_use]
pub fn header(trace: &Trace<'_>) -> Vec<u8> {
    let mut out = String::with_capacity(512);
    line(&mut out, "Return-Path: <", trace.return_path, ">");
    for recipient in trace.delivered_to {
        line(&mut out, "Delivered-To: ", recipient, "");
    }
    out.push_str(&received(&trace.received));
    out.into_bytes()
}

/// The `Received` field of a letter, with CRLF line ends.
pub(super) fn received_of(letter: &Letter<'_>) -> String {
    with_received(letter, |clauses| received(&clauses))
}

fn with_received<R>(letter: &Letter<'_>, with: impl FnOnce(Received<'_>) -> R) -> R {
    let envelope = &letter.envelope;
    let zoned = envelope.received_at.to_zoned(jiff::tz::TimeZone::UTC);
    let date = rfc2822::to_string(&zoned).unwrap_or_default();
    with(Received {
        from: &envelope.client,
        by: letter.host,
        with: envelope.protocol,
        id: letter.message_id,
        date: &date,
    })
}

fn received(received: &Received<'_>) -> String {
    let from = clauses(&[("from", received.from)], MAX_VALUE);
    let by = clauses(&[("by", received.by), ("with", received.with), ("id", received.id)], MAX_CLAUSE);
    let mut folded: Vec<String> = [from, by].into_iter().filter(|s| !s.is_empty()).collect();
    // The date is parted from the clauses by a semicolon, at the end of whatever comes before it.
    match folded.last_mut() {
        Some(last) => last.push(';'),
        None => folded.push(";".to_owned()),
    }
    folded.push(clean(received.date, MAX_CLAUSE));
    format!("Received: {}\r\n", folded.join("\r\n\t"))
}

fn clauses(clauses: &[(&str, &str)], max: usize) -> String {
    let words = clauses.iter().map(|(word, value)| (word, clean(value, max)));
    let words = words.filter(|(_, value)| !value.is_empty());
    words.map(|(word, value)| format!("{word} {value}")).collect::<Vec<_>>().join(" ")
}

fn line(out: &mut String, before: &str, value: &str, after: &str) {
    out.push_str(before);
    out.push_str(&clean(value, MAX_VALUE));
    out.push_str(after);
    out.push_str("\r\n");
}

/// The value without control characters, without white space at its ends, and not longer than `max` bytes.
fn clean(value: &str, max: usize) -> String {
    let mut out = String::with_capacity(value.len().min(max));
    for c in value.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(trace: &Trace<'_>) -> String {
        String::from_utf8(header(trace)).unwrap()
    }

    #[test]
    fn the_envelope_comes_first_and_lines_end_with_crlf() {
        let to = ["+49301234567@fax.example".to_owned(), "x@fax.example".to_owned()];
        let received = Received {
            from: "client.example ([192.0.2.1])",
            by: "gw1.example",
            with: "ESMTP",
            id: "0192.0",
            date: "Mon, 1 Jan 2024 00:00:00 +0000",
        };
        assert_eq!(
            text(&Trace { return_path: "a@b.example", delivered_to: &to, received }),
            "Return-Path: <a@b.example>\r\n\
             Delivered-To: +49301234567@fax.example\r\n\
             Delivered-To: x@fax.example\r\n\
             Received: from client.example ([192.0.2.1])\r\n\
             \tby gw1.example with ESMTP id 0192.0;\r\n\
             \tMon, 1 Jan 2024 00:00:00 +0000\r\n"
        );
    }

    #[test]
    fn the_null_reverse_path_and_missing_clauses_are_fine() {
        let received = Received { by: "gw1.example", date: "now", ..Received::default() };
        assert_eq!(
            text(&Trace { return_path: "", delivered_to: &[], received }),
            "Return-Path: <>\r\nReceived: by gw1.example;\r\n\tnow\r\n"
        );
    }

    #[test]
    fn no_value_can_begin_a_line() {
        let evil = "a\r\nBcc: victim@example\r\n\r\nbody\u{0}\u{85}\n".to_owned();
        let received = Received { from: &evil, by: &evil, with: &evil, id: &evil, date: &evil };
        let to = [evil.clone()];
        let text = text(&Trace { return_path: &evil, delivered_to: &to, received });
        let starts: Vec<&str> = text.lines().map(|l| l.split([':', '\t']).next().unwrap()).collect();
        assert_eq!(starts, ["Return-Path", "Delivered-To", "Received", "", ""]);
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        assert_eq!(text.matches('\r').count(), 5);
    }

    #[test]
    fn a_long_value_is_cut_so_that_its_line_stays_legal() {
        let long = "ä".repeat(2000);
        let received = Received { from: &long, by: &long, with: &long, id: &long, date: &long };
        let text = text(&Trace { return_path: &long, delivered_to: &[], received });
        assert!(text.lines().all(|l| l.len() <= 998));
    }
}
