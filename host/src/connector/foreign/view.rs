//! View: the content decoded for a profile, within the limits that hold for the views of agents.

use std::io::{self, Read};
use std::sync::Mutex;

use bytes::Bytes;
use jiff::Timestamp;
use mail_parser::{HeaderValue, Message, MessageParser, MimeHeaders, PartType};
use postern_agent::{Limits, parse_cost};
use postern_drop::profile::{Part, Unfit, View, Wishes};
use postern_model::Content;

use super::lock;

/// The most bytes of a header that are looked at.
const MAX_HEADER: u64 = 1024 * 1024;
/// Messages from this size on are parsed one at a time, whatever the number of connectors and threads.
const LARGE: u64 = 1024 * 1024;
/// The right to parse a large message.
static LARGE_ONE: Mutex<()> = Mutex::new(());

/// What the profile wishes to know of the content.
///
/// # Errors
/// The outer one when the content cannot be read now; the inner one when it can never be parsed.
pub(super) fn view(content: &Content, wishes: Wishes) -> io::Result<Result<View, Unfit>> {
    let limits = Limits::default();
    if !wishes.text {
        let mut beginning = Vec::new();
        content.reader()?.take(MAX_HEADER).read_to_end(&mut beginning)?;
        return Ok(Ok(header_view(&beginning)));
    }
    let too_large = |why| Unfit { status: Unfit::TOO_LARGE, why };
    if content.size() > limits.parse_bytes {
        let why = format!(
            "the message has {} bytes, at most {} are taken apart",
            content.size(),
            limits.parse_bytes
        );
        return Ok(Err(too_large(why)));
    }
    let _turn = (content.size() >= LARGE).then(|| lock(&LARGE_ONE));
    let raw = content.read_all()?;
    if let Err(why) = parse_cost(&raw, &limits) {
        return Ok(Err(too_large(why)));
    }
    Ok(whole_view(&raw, wishes, &limits))
}

fn parser() -> MessageParser {
    MessageParser::new().with_mime_headers().default_header_text()
}

fn header_view(beginning: &[u8]) -> View {
    // A message without any header has a view that says nothing.
    parser().parse_headers(beginning).map(|message| headers(&message)).unwrap_or_default()
}

fn headers(message: &Message<'_>) -> View {
    let text = |name: &'static str| match message.header(name) {
        Some(HeaderValue::Text(text)) => text.trim().to_owned(),
        Some(HeaderValue::TextList(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let not_before = jiff::fmt::rfc2822::parse(&text("Deferred-Delivery")).ok();
    let not_before: Option<Timestamp> = not_before.map(|zoned| zoned.timestamp());
    View { subject: text("Subject"), from: text("From"), not_before, ..View::default() }
}

fn whole_view(raw: &Bytes, wishes: Wishes, limits: &Limits) -> Result<View, Unfit> {
    let Some(message) = parser().parse(raw) else { return Ok(View::default()) };
    if message.parts.len() > limits.parts {
        let why =
            format!("the message has {} parts, at most {} are taken", message.parts.len(), limits.parts);
        return Err(Unfit { status: Unfit::TOO_LARGE, why });
    }
    let mut view = headers(&message);
    for index in 0..message.text_body_count() {
        let Some(text) = message.body_text(index) else { continue };
        if !view.text.is_empty() && !view.text.ends_with('\n') {
            view.text.push('\n');
        }
        if view.text.len() + text.len() > limits.text_view_bytes {
            let why = format!("its text has more than {} bytes", limits.text_view_bytes);
            return Err(Unfit { status: Unfit::TOO_LARGE, why });
        }
        view.text.push_str(&text);
    }
    if wishes.parts {
        view.parts = parts(&message, raw);
    }
    Ok(view)
}

fn parts(message: &Message<'_>, raw: &[u8]) -> Vec<Part> {
    let bodies: Vec<usize> =
        message.text_body.iter().chain(&message.html_body).map(|id| *id as usize).collect();
    let mut parts = Vec::new();
    for (index, part) in message.parts.iter().enumerate() {
        let bytes = match &part.body {
            PartType::Multipart(_) => continue,
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes.to_vec(),
            PartType::Text(text) | PartType::Html(text) => text.as_bytes().to_vec(),
            PartType::Message(inner) => {
                let (start, end) = (part.offset_body as usize, part.offset_end as usize);
                // One that was encoded lies decoded in its own message.
                raw.get(start..end.max(start)).map_or_else(|| inner.raw_message.to_vec(), <[u8]>::to_vec)
            }
        };
        let content_type = part.content_type().map(|kind| match kind.subtype() {
            Some(subtype) => format!("{}/{subtype}", kind.ctype()).to_ascii_lowercase(),
            None => kind.ctype().to_ascii_lowercase(),
        });
        let implied = if matches!(part.body, PartType::Message(_)) { "message/rfc822" } else { "text/plain" };
        let is_attached = part.content_disposition().is_some_and(mail_parser::ContentType::is_attachment);
        parts.push(Part {
            content_type: content_type.unwrap_or_else(|| implied.to_owned()),
            file_name: part.attachment_name().map(|name| postern_model::text::one_line(name, 256)),
            is_text: bodies.contains(&index)
                && !is_attached
                && matches!(part.body, PartType::Text(_) | PartType::Html(_)),
            bytes,
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nFrom: \"J\u{f6}\" <j@x.example>\n\
        Deferred-Delivery: Tue, 07 Oct 2025 08:00:00 +0200\nMIME-Version: 1.0\n\
        Content-Type: multipart/mixed; boundary=\"b1\"\n\n\
        --b1\nContent-Type: multipart/alternative; boundary=\"b2\"\n\n\
        --b2\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n\
        --b2\nContent-Type: text/html\n\n<p>Gr&uuml;&szlig;e</p>\n--b2--\n\
        --b1\nContent-Type: image/tiff; name=\"fax.tif\"\nContent-Transfer-Encoding: base64\n\
        Content-Disposition: attachment; filename=\"fax.tif\"\n\nSUkqAA==\n--b1--\n";

    fn content(text: &str) -> Content {
        Content::from(Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()))
    }

    fn all() -> Wishes {
        Wishes { header: true, text: true, parts: true, ..Wishes::default() }
    }

    #[test]
    fn header_text_and_parts_come_out_decoded() {
        let view = view(&content(MIXED), all()).unwrap().unwrap();
        assert_eq!((view.subject.as_str(), view.text.trim_end()), ("Grüße", "Grüße"));
        assert_eq!(view.not_before, Some("2025-10-07T06:00:00Z".parse().unwrap()));
        let kinds: Vec<(&str, bool)> =
            view.parts.iter().map(|part| (part.content_type.as_str(), part.is_text)).collect();
        assert_eq!(kinds, [("text/plain", true), ("text/html", true), ("image/tiff", false)]);
        assert_eq!(view.parts[2].bytes, b"II*\0");
        assert_eq!(view.parts[2].file_name.as_deref(), Some("fax.tif"));
    }

    #[test]
    fn a_header_is_read_without_the_rest() {
        let wishes = Wishes { header: true, ..Wishes::default() };
        let view = view(&content(MIXED), wishes).unwrap().unwrap();
        assert_eq!((view.subject.as_str(), view.text.as_str(), view.parts.len()), ("Grüße", "", 0));
        let nothing = super::view(&content("no header at all"), wishes).unwrap().unwrap();
        assert_eq!(nothing.subject, "");
    }

    #[test]
    fn what_would_blow_up_is_refused_for_good() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(5000);
        let error = view(&content(&deep), all()).unwrap().unwrap_err();
        assert_eq!(error.status, Unfit::TOO_LARGE, "{error}");
        let long = format!("Subject: x\n\n{}", "long line\n".repeat(200_000));
        let error = view(&content(&long), all()).unwrap().unwrap_err();
        assert!(error.why.contains("its text"), "{error}");
    }
}
