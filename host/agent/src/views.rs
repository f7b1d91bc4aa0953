//! Views: the message parsed for the guest, so that small agents stay small: decoded headers, the best text, parts.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{
    Encoding, Header, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType,
};
use memchr::{memchr_iter, memchr2_iter, memmem};
use postern_model::Content;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;
use crate::bindings::imported::mail as wit;
use crate::limits::MAX_READ;

/// Messages up to this size are parsed where the guest runs; a hop to another thread would cost more.
const PARSE_INLINE: u64 = 32 * 1024;
/// The longest file name, content type or charset of a part, in bytes.
const MAX_PART_TEXT: usize = 256;
/// One unit of the budget, in bytes.
const UNIT: u64 = 1024;

/// The memory that all agents of a host may use for parsed messages together. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ParseBudget {
    units: Arc<Semaphore>,
    total: u64,
}

impl ParseBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), total: bytes }
    }

    /// Waits until so many bytes are free. The call's deadline bounds the wait.
    async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, String> {
        let units = u32::try_from(bytes.min(self.total) / UNIT).unwrap_or(u32::MAX);
        self.units.clone().acquire_many_owned(units).await.map_err(|_| "the host is going down".to_owned())
    }
}

/// One part, with its bytes.
pub(crate) struct PartView {
    pub(crate) about: wit::Part,
    content: Bytes,
}

/// A parsed message. It holds its share of the budget until it is dropped.
pub(crate) struct Views {
    pub(crate) headers: Vec<(String, String)>,
    text: Option<String>,
    pub(crate) parts: Vec<PartView>,
    _share: OwnedSemaphorePermit,
}

impl Views {
    /// Reads and parses a message within the limits.
    ///
    /// # Errors
    /// A text for the agent: too large, too deep, too many parts, or not a message.
    pub(crate) async fn parse(
        content: Content,
        limits: &Limits,
        budget: &ParseBudget,
    ) -> Result<Self, String> {
        let size = content.size();
        if size > limits.parse_bytes {
            return Err(format!(
                "the message has {size} bytes: views end at parse_bytes = {}",
                limits.parse_bytes
            ));
        }
        let inline = size <= PARSE_INLINE && matches!(content, Content::Memory(_));
        let raw = off_thread(inline, move || {
            content.read_all().map_err(|error| format!("the content cannot be read: {}", error.kind()))
        })
        .await?;
        let needed = check(&raw, limits)?;
        let share = budget.take(needed).await?;
        let limits = limits.clone();
        off_thread(inline, move || Self::of(&raw, &limits, share)).await
    }

    fn of(raw: &Bytes, limits: &Limits, share: OwnedSemaphorePermit) -> Result<Self, String> {
        let message = MessageParser::new()
            .with_mime_headers()
            .default_header_text()
            .parse(raw)
            .ok_or_else(|| "the content is not a message".to_owned())?;
        if message.parts.len() > limits.parts {
            return Err(format!("{} parts: views end at parts = {}", message.parts.len(), limits.parts));
        }
        let headers = headers(&message, raw, limits.header_view_bytes)?;
        let text = text(&message, limits.text_view_bytes);
        let parts = message
            .parts
            .iter()
            .filter(|part| !matches!(part.body, PartType::Multipart(_)))
            .enumerate()
            .map(|(index, part)| part_view(index, part, raw))
            .collect();
        Ok(Self { headers, text, parts, _share: share })
    }

    /// The text, cut at `max` bytes and never within a character.
    pub(crate) fn text(&self, max: usize) -> Option<String> {
        self.text.as_ref().map(|text| text[..text.floor_char_boundary(max)].to_owned())
    }

    /// A range of one part.
    pub(crate) fn read_part(&self, index: u32, offset: u32, length: u32) -> Result<Bytes, String> {
        let part = self.parts.get(index as usize).ok_or_else(|| format!("there is no part {index}"))?;
        let length = length.min(MAX_READ) as usize;
        let start = (offset as usize).min(part.content.len());
        let end = start.saturating_add(length).min(part.content.len());
        Ok(part.content.slice(start..end))
    }
}

async fn off_thread<R: Send + 'static>(
    inline: bool,
    work: impl FnOnce() -> Result<R, String> + Send + 'static,
) -> Result<R, String> {
    if inline {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("the message cannot be parsed".to_owned()))
}

/// Estimates from the bytes alone what parsing will need, and refuses what would blow up: the parser itself sets no bounds.
fn check(raw: &[u8], limits: &Limits) -> Result<u64, String> {
    // A nested message must name its type, or lie in a digest, which must name that; so this bounds the nesting.
    let nested = count_word(raw, b"message").min(count_word(raw, b"rfc822") + count_word(raw, b"global"));
    let digests = count_word(raw, b"multipart").min(count_word(raw, b"digest"));
    if nested + digests > limits.parse_nesting {
        return Err(format!(
            "messages within messages: views end at parse_nesting = {}",
            limits.parse_nesting
        ));
    }
    // Three copies of the bytes (as they are, decoded, as text), and what the tables behind parts, header fields and
    // parameters need.
    let count = |n: usize| n as u64;
    let parts = count(memmem::find_iter(raw, b"--").count()) * 256;
    let fields = count(memchr_iter(b'\n', raw).count()) * 128;
    let parameters = count(memchr_iter(b';', raw).count()) * 64;
    let needed = count(raw.len()) * 3 + parts + fields + parameters;
    if needed > limits.parse_memory {
        return Err(format!(
            "parsing would need {needed} bytes: views end at parse_memory = {}",
            limits.parse_memory
        ));
    }
    Ok(needed)
}

/// How often `word` (lower case, ASCII) stands in `raw` in any case.
fn count_word(raw: &[u8], word: &[u8]) -> usize {
    let Some(first) = word.first() else { return 0 };
    memchr2_iter(*first, first.to_ascii_uppercase(), raw)
        .filter(|at| raw.get(*at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
        .count()
}

fn headers(message: &Message<'_>, raw: &[u8], max: usize) -> Result<Vec<(String, String)>, String> {
    let mut size = 0;
    let mut out = Vec::with_capacity(message.headers().len());
    for header in message.headers() {
        let value = header_value(header, raw);
        size += header.name().len() + value.len();
        if size > max {
            return Err(format!("the header is larger than header_view_bytes = {max} bytes"));
        }
        out.push((header.name().to_owned(), value.into_owned()));
    }
    Ok(out)
}

/// The decoded text; for MIME fields, which are parsed into their parameters, the unfolded source.
fn header_value<'x>(header: &'x Header<'_>, raw: &'x [u8]) -> Cow<'x, str> {
    if let HeaderValue::Text(text) = &header.value {
        return Cow::Borrowed(text.trim());
    }
    let range = header.offset_start as usize..header.offset_end as usize;
    let source = String::from_utf8_lossy(raw.get(range).unwrap_or_default());
    Cow::Owned(
        source.split(['\r', '\n']).map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" "),
    )
}

fn text(message: &Message<'_>, max: usize) -> Option<String> {
    let mut out: Option<String> = None;
    for index in 0..message.text_body_count() {
        let Some(text) = message.body_text(index) else { continue };
        let out = out.get_or_insert_default();
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&text[..text.floor_char_boundary(max.saturating_sub(out.len()))]);
    }
    out
}

fn part_view(index: usize, part: &MessagePart<'_>, raw: &Bytes) -> PartView {
    let content = part_content(part, raw);
    let short = |text: &str| postern_model::text::one_line(text, MAX_PART_TEXT);
    let content_type = part.content_type();
    let named = content_type.map(|t| match t.subtype() {
        Some(subtype) => short(&format!("{}/{subtype}", t.ctype()).to_ascii_lowercase()),
        None => short(t.ctype()),
    });
    let about = wit::Part {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        content_type: named.unwrap_or_else(|| {
            let implied =
                if matches!(part.body, PartType::Message(_)) { "message/rfc822" } else { "text/plain" };
            implied.to_owned()
        }),
        charset: content_type.and_then(|t| t.attribute("charset")).map(short),
        file_name: part.attachment_name().map(short),
        attachment: part.content_disposition().is_some_and(mail_parser::ContentType::is_attachment),
        size: u32::try_from(content.len()).unwrap_or(u32::MAX),
    };
    PartView { about, content }
}

/// The bytes after transfer decoding, in the part's own charset; not copied where nothing had to be decoded.
fn part_content(part: &MessagePart<'_>, raw: &Bytes) -> Bytes {
    let source = raw.slice(
        (part.offset_body as usize).min(raw.len())
            ..(part.offset_end.max(part.offset_body) as usize).min(raw.len()),
    );
    let decoded = match (&part.body, part.encoding) {
        (
            PartType::Binary(bytes) | PartType::InlineBinary(bytes),
            Encoding::Base64 | Encoding::QuotedPrintable,
        ) => Some(bytes.to_vec()),
        (_, Encoding::Base64) => base64_decode(&source),
        (_, Encoding::QuotedPrintable) => quoted_printable_decode(&source),
        (_, Encoding::None) => None,
    };
    decoded.map_or(source, Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(raw: &str, limits: &Limits) -> Result<Views, String> {
        let content = Content::from(Bytes::copy_from_slice(raw.replace('\n', "\r\n").as_bytes()));
        Views::parse(content, limits, &ParseBudget::new(1 << 30)).await
    }

    const MIXED: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nTo: \"A\" <a@x.example>,\n b@x.example\nMIME-Version: 1.0\n\
        Content-Type: multipart/mixed;\n boundary=\"b1\"\n\n\
        --b1\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n\
        --b1\nContent-Type: application/pdf; name=\"a.pdf\"\nContent-Transfer-Encoding: base64\n\
        Content-Disposition: attachment; filename=\"fax.pdf\"\n\nJVBERi0=\n--b1--\n";

    #[tokio::test]
    async fn headers_text_and_parts_come_out_decoded() {
        let views = parse(MIXED, &Limits::default()).await.unwrap();
        assert_eq!(views.headers[0], ("Subject".to_owned(), "Grüße".to_owned()));
        assert_eq!(views.headers[1].1, "\"A\" <a@x.example>, b@x.example");
        assert_eq!(views.headers[3].1, "multipart/mixed; boundary=\"b1\"");
        assert_eq!(views.text(100).unwrap().trim_end(), "Grüße");
        assert_eq!(views.text(3).unwrap(), "Gr", "the cut is not within a character");
        let [text, pdf] = &views.parts[..] else { panic!("{} parts", views.parts.len()) };
        assert_eq!(text.about.charset.as_deref(), Some("iso-8859-1"));
        assert_eq!(text.content.trim_ascii_end(), b"Gr\xfc\xdfe", "the bytes stay in the part's charset");
        let pdf_about = (&pdf.about.content_type[..], pdf.about.file_name.as_deref(), pdf.about.attachment);
        assert_eq!(pdf_about, ("application/pdf", Some("fax.pdf"), true));
        assert_eq!(views.read_part(1, 1, 3).unwrap(), "PDF");
        assert!(views.read_part(2, 0, 1).unwrap_err().contains("no part 2"));
    }

    #[tokio::test]
    async fn html_is_converted_when_there_is_no_plain_text() {
        let views =
            parse("Content-Type: text/html\n\n<p>Hello <b>you</b></p>\n", &Limits::default()).await.unwrap();
        assert_eq!(views.text(100).unwrap().trim(), "Hello you");
    }

    #[tokio::test]
    async fn what_would_blow_up_is_refused_by_name() {
        let limits = Limits::default();
        let deep = "Content-Type: message/rfc822\n\n".repeat(5000);
        assert!(parse(&deep, &limits).await.err().unwrap().contains("parse_nesting"));
        let many = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\n".repeat(1100));
        assert!(parse(&many, &limits).await.err().unwrap().contains("parts = "));
        let small = Limits { parse_bytes: 100, ..Limits::default() };
        assert!(parse(MIXED, &small).await.err().unwrap().contains("parse_bytes"));
        let tight = Limits { parse_memory: 1000, ..Limits::default() };
        assert!(parse(MIXED, &tight).await.err().unwrap().contains("parse_memory"));
        let header = Limits { header_view_bytes: 20, ..Limits::default() };
        assert!(parse(MIXED, &header).await.err().unwrap().contains("header_view_bytes"));
    }

    #[tokio::test]
    async fn nesting_up_to_the_limit_is_parsed() {
        let deep = format!("{}Subject: in\n\nhello\n", "Content-Type: message/rfc822\n\n".repeat(90));
        let views = parse(&deep, &Limits::default()).await.unwrap();
        assert_eq!(views.parts.len(), 1);
    }

    #[tokio::test]
    async fn the_budget_is_given_back() {
        let budget = ParseBudget::new(64 * 1024);
        for _ in 0..100 {
            let content = Content::from(Bytes::from_static(b"Subject: x\r\n\r\nbody\r\n"));
            Views::parse(content, &Limits::default(), &budget).await.unwrap();
        }
        assert_eq!(budget.units.available_permits(), 64);
    }
}
