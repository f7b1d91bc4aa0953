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

use crate::bindings::imported::mail as wit;
use crate::limits::{Limit, Limits, MAX_READ};
use crate::log::AgentLog;

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
    /// The right to have a message in memory whose parts are counted before it has its share of the budget.
    counting: Arc<Semaphore>,
}

impl ParseBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), total: bytes, counting: Arc::new(Semaphore::new(1)) }
    }

    /// Waits until so many bytes are free. The call's deadline bounds the wait.
    async fn take(&self, bytes: u64, log: &AgentLog) -> Result<OwnedSemaphorePermit, Unparsed> {
        let units = u32::try_from(bytes.min(self.total) / UNIT).unwrap_or(u32::MAX);
        if let Ok(share) = self.units.clone().try_acquire_many_owned(units) {
            return Ok(share);
        }
        log.hit_at(Limit::ParseBudget.with(self.total));
        let share = self.units.clone().acquire_many_owned(units).await;
        share.map_err(|_| Unparsed::because("the host is going down"))
    }
}

/// Why a message has no views: the text for the agent, and the limit where it is one.
#[derive(Debug)]
pub(crate) struct Unparsed {
    why: String,
    limit: Option<Limit>,
}

impl Unparsed {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), limit: None }
    }

    fn over(limit: Limit, limits: &Limits, what: &str) -> Self {
        Self { why: format!("{what}: views end at {}", limits.shown(limit)), limit: Some(limit) }
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
    /// Whether the text is longer than what is kept of it.
    text_was_cut: bool,
    pub(crate) parts: Vec<PartView>,
    _share: OwnedSemaphorePermit,
}

impl Views {
    /// Reads and parses a message within the limits.
    ///
    /// # Errors
    /// A text for the agent: too large, too deep, too many parts, or not a message. The log knows by which limit.
    pub(crate) async fn parse(
        content: Content,
        log: &AgentLog,
        budget: &ParseBudget,
    ) -> Result<Self, String> {
        let parsed = Self::parse_within(content, log, budget).await;
        if parsed.as_ref().is_ok_and(|views| views.text_was_cut) {
            log.hit(Limit::TextViewBytes);
        }
        parsed.map_err(|unparsed| {
            unparsed.limit.inspect(|limit| log.hit(*limit));
            unparsed.why
        })
    }

    async fn parse_within(content: Content, log: &AgentLog, budget: &ParseBudget) -> Result<Self, Unparsed> {
        let (limits, size) = (log.limits(), content.size());
        if size > limits.parse_bytes {
            return Err(Unparsed::over(Limit::ParseBytes, limits, &format!("the message has {size} bytes")));
        }
        let in_memory = matches!(content, Content::Memory(_));
        let inline = in_memory && size <= PARSE_INLINE;
        let needed = if in_memory {
            let (raw, limits) = (read(&content)?, limits.clone());
            off_thread(inline, move || check(&raw, &limits)).await?
        } else {
            // What is read from a file takes memory of its own. One at a time may be read to be counted; what waits for
            // its share of the budget lies on the disk.
            let _turn = budget.counting.acquire().await;
            let (content, limits) = (content.clone(), limits.clone());
            off_thread(false, move || check(&read(&content)?, &limits)).await?
        };
        let share = budget.take(needed, log).await?;
        let limits = limits.clone();
        off_thread(inline, move || Self::of(&read(&content)?, &limits, share)).await
    }

    fn of(raw: &Bytes, limits: &Limits, share: OwnedSemaphorePermit) -> Result<Self, Unparsed> {
        let message = MessageParser::new()
            .with_mime_headers()
            .default_header_text()
            .parse(raw)
            .ok_or_else(|| Unparsed::because("the content is not a message"))?;
        if message.parts.len() > limits.parts {
            return Err(Unparsed::over(Limit::Parts, limits, &format!("{} parts", message.parts.len())));
        }
        let headers = headers(&message, raw, limits)?;
        let (text, text_was_cut) = text(&message, limits.text_view_bytes);
        let parts = message
            .parts
            .iter()
            .filter(|part| !matches!(part.body, PartType::Multipart(_)))
            .enumerate()
            .map(|(index, part)| part_view(index, part, raw))
            .collect();
        Ok(Self { headers, text, text_was_cut, parts, _share: share })
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

fn read(content: &Content) -> Result<Bytes, Unparsed> {
    content
        .read_all()
        .map_err(|error| Unparsed::because(format!("the content cannot be read: {}", error.kind())))
}

async fn off_thread<R: Send + 'static>(
    inline: bool,
    work: impl FnOnce() -> Result<R, Unparsed> + Send + 'static,
) -> Result<R, Unparsed> {
    if inline {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Unparsed::because("the message cannot be parsed")))
}

/// Estimates from the bytes alone what parsing will need, and refuses what would blow up: the parser itself sets no bounds.
fn check(raw: &[u8], limits: &Limits) -> Result<u64, Unparsed> {
    // A nested message must name its type, or lie in a digest, which must name that; so this bounds the nesting.
    let nested = count_word(raw, b"message").min(count_word(raw, b"rfc822") + count_word(raw, b"global"));
    let digests = count_word(raw, b"multipart").min(count_word(raw, b"digest"));
    if nested + digests > limits.parse_nesting {
        return Err(Unparsed::over(Limit::ParseNesting, limits, "messages within messages"));
    }
    // Three copies of the bytes (as they are, decoded, as text), and what the tables behind parts, header fields and
    // parameters need.
    let count = |n: usize| n as u64;
    let parts = count(memmem::find_iter(raw, b"--").count()) * 256;
    let fields = count(memchr_iter(b'\n', raw).count()) * 128;
    let parameters = count(memchr_iter(b';', raw).count()) * 64;
    let needed = count(raw.len()) * 3 + parts + fields + parameters;
    if needed > limits.parse_memory {
        let what = format!("parsing would need {needed} bytes");
        return Err(Unparsed::over(Limit::ParseMemory, limits, &what));
    }
    Ok(needed)
}

/// About how many bytes parsing a message takes, for others who parse as the views do: the parser itself sets no bounds.
///
/// # Errors
/// The reason, when that is more than the limits allow.
pub fn parse_cost(raw: &[u8], limits: &Limits) -> Result<u64, String> {
    let size = raw.len() as u64;
    if size > limits.parse_bytes {
        return Err(Unparsed::over(Limit::ParseBytes, limits, &format!("the message has {size} bytes")).why);
    }
    check(raw, limits).map_err(|unparsed| unparsed.why)
}

/// How often `word` (lower case, ASCII) stands in `raw` in any case.
fn count_word(raw: &[u8], word: &[u8]) -> usize {
    let Some(first) = word.first() else { return 0 };
    memchr2_iter(*first, first.to_ascii_uppercase(), raw)
        .filter(|at| raw.get(*at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)))
        .count()
}

fn headers(message: &Message<'_>, raw: &[u8], limits: &Limits) -> Result<Vec<(String, String)>, Unparsed> {
    let mut size = 0;
    let mut out = Vec::with_capacity(message.headers().len());
    for header in message.headers() {
        let value = header_value(header, raw);
        size += header.name().len() + value.len();
        if size > limits.header_view_bytes {
            return Err(Unparsed::over(Limit::HeaderViewBytes, limits, "the header is too large"));
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

/// The text, at most `max` bytes of it, and whether there is more.
fn text(message: &Message<'_>, max: usize) -> (Option<String>, bool) {
    let mut out: Option<String> = None;
    let mut was_cut = false;
    for index in 0..message.text_body_count() {
        let Some(text) = message.body_text(index) else { continue };
        let out = out.get_or_insert_default();
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        let kept = &text[..text.floor_char_boundary(max.saturating_sub(out.len()))];
        was_cut |= kept.len() < text.len();
        out.push_str(kept);
    }
    (out, was_cut)
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

    fn log(limits: &Limits) -> AgentLog {
        AgentLog::new("test".into(), limits, Arc::default(), Arc::default())
    }

    async fn parse(raw: &str, limits: &Limits) -> Result<Views, String> {
        let content = Content::from(Bytes::copy_from_slice(raw.replace('\n', "\r\n").as_bytes()));
        Views::parse(content, &log(limits), &ParseBudget::new(1 << 30)).await
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
    async fn who_waits_for_the_budget_is_counted_and_gets_its_share_in_the_end() {
        let stats = Arc::new(crate::stats::Stats::default());
        let log = AgentLog::new("test".into(), &Limits::default(), stats.clone(), Arc::default());
        let budget = ParseBudget::new(1024);
        let content = || Content::from(Bytes::from(format!("Subject: x\r\n\r\n{}", "x".repeat(400))));
        let first = Views::parse(content(), &log, &budget).await.unwrap();
        let waiting = || stats.snapshot().limits.of(Limit::ParseBudget);
        assert_eq!(waiting(), 0);
        let mut second = Box::pin(Views::parse(content(), &log, &budget));
        assert!(still_waits(&mut second).await, "it waits");
        assert_eq!(waiting(), 1);
        assert!(log.limits_hit().contains("host.agent_parse_budget = 1024 bytes"), "{}", log.limits_hit());
        drop(first);
        second.await.unwrap();
    }

    /// Whether a future is still not done after one look at it.
    async fn still_waits<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }

    #[tokio::test]
    async fn the_budget_is_given_back() {
        let budget = ParseBudget::new(64 * 1024);
        for _ in 0..100 {
            let content = Content::from(Bytes::from_static(b"Subject: x\r\n\r\nbody\r\n"));
            Views::parse(content, &log(&Limits::default()), &budget).await.unwrap();
        }
        assert_eq!(budget.units.available_permits(), 64);
    }
}
