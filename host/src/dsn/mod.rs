//! Dsn: a delivery status notification as a message. Pure: what is owed comes in, bytes go out.
//!
//! The message is a `multipart/report` (RFC 6522) of a part for people (text and HTML), a part for programs
//! (`message/delivery-status`, RFC 3464) and the message it is about, or its headers. The same request always
//! gives the same bytes, so a notification that is made again after a crash is recognised as the same one.
//!
//! Everything foreign (subjects, addresses, responses, details) goes through [`encoding`]: no text can start a
//! header field, a line, a part or a tag of its own.

mod encoding;
mod explanation;
mod part;
mod report;
mod returned;
mod status;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use postern_model::{DsnKind, DsnRequest, MessageId, Notify, Return, TypedAddress, text};

use encoding::{encoded_words, push_field};
use part::{Part, multipart};

/// A detail of this name holds the host name of the far end; it becomes the field Remote-MTA.
pub const REMOTE_MTA_DETAIL: &str = "remote-mta";

/// The default of [`DsnSettings::max_returned`]: 1 MiB. Who sent a large message still has it.
pub const DEFAULT_MAX_RETURNED: usize = 1024 * 1024;

/// What the host says about itself in notifications, and how much it gives back.
#[derive(Clone, Debug)]
pub struct DsnSettings {
    /// The host's own name, for Reporting-MTA and Message-ID.
    pub host_name: String,
    /// The address in From, where people may ask for help.
    pub postmaster: String,
    /// The largest message that is given back whole, in bytes; of larger ones the headers are
    /// (Exchange: `ExternalDsnMaxMessageAttachSize`, 10 MB). 0: always the headers only.
    pub max_returned: usize,
}

/// A notification that is ready for the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltDsn {
    /// The message: CRLF lines of at most 998 bytes, of ASCII unless an 8-bit message is given back or the
    /// sender's address is not of ASCII.
    pub content: Vec<u8>,
    /// Its subject, decoded.
    pub subject: String,
    /// Its Message-ID, with angle brackets.
    pub message_id: String,
    /// Whether it holds bytes above 127, so that its envelope must say `BODY=8BITMIME`.
    pub eight_bit: bool,
}

/// Whether a notification of this kind is owed to the sender of a recipient (RFC 3461 4.1 and 6.2).
///
/// `notify` is what the sender asked for, or [`Notify::DEFAULT`]. Good news (delivered, relayed, expanded) is
/// told only if asked for. Nobody is told about a message without a reverse-path, for it may itself be a
/// notification. Relay reports that a connector demands for its own reasons are not decided here.
#[must_use]
pub fn due(kind: DsnKind, notify: Notify, has_reverse_path: bool) -> bool {
    has_reverse_path
        && match kind {
            DsnKind::Failed => notify.failure,
            DsnKind::Delayed => notify.delay,
            DsnKind::Delivered | DsnKind::Relayed | DsnKind::Expanded => notify.success,
        }
}

/// Makes the message of a notification.
///
/// `original` is the content of the message it is about, where it is known. It is given back whole with a failure
/// whose sender asked for that (RET=FULL, RFC 3461 4.3) when it is not above [`DsnSettings::max_returned`] and can
/// be given back as it is (no NUL, no line above 998 bytes). Otherwise the headers are.
#[must_use]
pub fn build(request: &DsnRequest, original: Option<&[u8]>, settings: &DsnSettings) -> BuiltDsn {
    let id = MessageId::from_name(&request.key);
    let report = report::of(request, settings);
    let alternatives =
        [Part::text("text/plain", &report.as_text()), Part::text("text/html", &report.as_html())];
    let whole = request.kind == DsnKind::Failed && request.message.envelope.ret == Some(Return::Full);
    let whole = original.filter(|o| whole && o.len() <= settings.max_returned);
    let mut parts = vec![multipart("alternative", &format!("=_a.{id}"), &alternatives)];
    let source = if request.headers.is_empty() { original.unwrap_or_default() } else { &request.headers };
    parts.push(Part::delivery_status(status::fields(request, settings)));
    parts.extend(returned::part(source, whole));
    let body = multipart("report; report-type=delivery-status", &format!("=_r.{id}"), &parts);

    let message_id = format!("<{id}@{}>", encoding::token(&settings.host_name, ".-"));
    let mut head = String::new();
    push_field(&mut head, "From", &format!("Mail Delivery System <{}>", shown(&settings.postmaster)));
    push_field(&mut head, "To", &recipient_field(&request.message.envelope.reverse_path));
    push_field(&mut head, "Subject", &encoded_words(&report.subject));
    push_field(&mut head, "Date", &date(request.at));
    push_field(&mut head, "Message-ID", &message_id);
    if let Some(about) = request.message.internet_message_id.as_deref().and_then(message_id_field) {
        push_field(&mut head, "In-Reply-To", &about);
        push_field(&mut head, "References", &about);
    }
    push_field(&mut head, "Auto-Submitted", "auto-replied");
    push_field(&mut head, "MIME-Version", "1.0");
    let mut content = head.into_bytes();
    body.write_to(&mut content);
    let eight_bit = !content.is_ascii();
    BuiltDsn { content, subject: report.subject, message_id, eight_bit }
}

/// The sender in angle brackets. What is no address of a usable length is not repeated: the envelope decides
/// where the notification goes.
fn recipient_field(reverse_path: &str) -> String {
    match TypedAddress::smtp(reverse_path) {
        Ok(address) if reverse_path.len() <= 512 && !reverse_path.contains(['<', '>']) => {
            format!("<{}>", shown(address.address()))
        }
        _ => "undisclosed-recipients:;".to_owned(),
    }
}

/// The Message-ID of the original with angle brackets; `None` when it is not one.
fn message_id_field(foreign: &str) -> Option<String> {
    let bare = foreign.trim();
    let bare = bare.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(bare);
    let fits = (1..=512).contains(&bare.len())
        && bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'));
    fits.then(|| format!("<{bare}>"))
}

/// A moment as RFC 5322 3.3 writes it, in UTC.
fn date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Foreign text as people are shown it: one line of at most 900 bytes, nothing hidden.
fn shown(foreign: &str) -> String {
    text::one_line(foreign, 900)
}
