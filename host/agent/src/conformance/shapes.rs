//! The messages of the suite: every shape that mail comes in, and some that it should not.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use postern_model::{
    BodyType, Content, DeliveryRequest, Envelope, Fate, Item, ItemId, ItemRecipient, ItemState, MessageId,
    MessageInfo, NextHop, Notify, Origin, OriginalRecipient, Priority, Recipient, RecipientState, Response,
    Return, TypedAddress,
};

/// A message with a name.
pub(super) struct Shape {
    /// What is special about it.
    pub(super) what: &'static str,
    pub(super) request: DeliveryRequest,
}

const SENDER: &str = "jo@home.example";
const HEAD: &str = "From: Jo <jo@home.example>\r\nTo: Ann <ann@far.example>\r\nSubject: hello\r\n\
    Date: Mon, 2 Mar 2026 12:00:00 +0100\r\nMessage-ID: <1@home.example>\r\n";
const MIB: usize = 1024 * 1024;

/// Where all of it goes.
pub(super) fn hop(connector: &str) -> NextHop {
    NextHop::new(connector, "far.example")
}

/// A small message for one recipient.
pub(super) fn plain(hop: &NextHop) -> DeliveryRequest {
    request(hop, SENDER, recipients(1), format!("{HEAD}\r\nhello\r\n"))
}

/// A small message for fifty recipients.
pub(super) fn for_many(hop: &NextHop) -> DeliveryRequest {
    request(hop, SENDER, recipients(50), format!("{HEAD}\r\nhello\r\n"))
}

/// Messages whose contents differ.
pub(super) fn contents(hop: &NextHop) -> Vec<Shape> {
    let contents = all_contents().into_iter();
    contents
        .map(|(what, content)| Shape { what, request: request(hop, SENDER, recipients(1), content) })
        .collect()
}

/// Messages whose envelopes differ.
pub(super) fn envelopes(hop: &NextHop) -> Vec<Shape> {
    let shape = |what, request| Shape { what, request };
    let notification =
        request(hop, "", recipients(1), format!("{HEAD}Auto-Submitted: auto-replied\r\n\r\nx\r\n"));
    let mut again = plain(hop);
    again.attempt = 2;
    let mut rest = request(hop, SENDER, recipients(6), format!("{HEAD}\r\nhello\r\n"));
    let item = Arc::make_mut(&mut rest.item);
    for done in [0, 1, 3] {
        let response = Response::new(250, (2, 0, 0), "done");
        item.recipients[done].state =
            RecipientState::Final { fate: Fate::Delivered, response, at: Timestamp::UNIX_EPOCH };
    }
    let mut full = request(hop, SENDER, addresses(), format!("{HEAD}\r\nhello\r\n"));
    let message = Arc::make_mut(&mut full.message);
    message.envelope.envelope_id = Some("QQ314159".to_owned());
    message.envelope.ret = Some(Return::Headers);
    message.envelope.helo = Some("mx.home.example".to_owned());
    message.envelope.submitter = Some("jo".to_owned());
    message.envelope.must_deliver = true;
    message.envelope.priority = Priority::High;
    message.envelope.properties = vec![("tenant".to_owned(), "7".to_owned())];
    vec![
        shape("a message for one recipient", plain(hop)),
        shape("a message for fifty recipients", for_many(hop)),
        shape("a message with the null reverse-path", notification),
        shape("a second attempt", again),
        shape("an item of which some recipients are done", rest),
        shape("a message with everything that an envelope can have", full),
    ]
}

/// Contents, with what is special about each.
fn all_contents() -> Vec<(&'static str, Bytes)> {
    let text = |text: String| Bytes::from(text.into_bytes());
    let with = |body: &str| text(format!("{HEAD}\r\n{body}"));
    let line = format!("{}\r\n", "The quick brown fox jumps over the lazy dog.".repeat(2));
    vec![
        ("a message with an empty body", with("")),
        ("a message of a header alone", text(HEAD.to_owned())),
        ("a message without one byte", Bytes::new()),
        ("a message without a header", Bytes::from_static(b"\r\nno header at all\r\n")),
        ("a message of 8-bit text", eight_bit()),
        ("a message of binary lines", binary_lines()),
        ("a message with lone CRs and LFs", with("a\nb\rc\r\r\n\n")),
        ("a message with a line of 100 000 bytes", with(&format!("{}\r\n", "x".repeat(100_000)))),
        ("a message of one MiB", with(&line.repeat(MIB / line.len() + 1))),
        ("a message with 2000 header fields", many_fields()),
        ("a message with hostile header texts", hostile_fields()),
        ("a message with an unfinished multipart", text(format!("{HEAD}{UNFINISHED}"))),
        ("a message with a wrong encoding", text(format!("{HEAD}{MISENCODED}"))),
        ("a message with messages within", text(format!("{}{HEAD}\r\nin\r\n", NESTED.repeat(20)))),
    ]
}

const UNFINISHED: &str = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\
    Content-Type: multipart/alternative; boundary=\"\"\r\n\r\n--\r\n--b\r\n\
    Content-Type: text/html; charset=\"\r\n\r\n<p>cut";
const MISENCODED: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=x-none-such; charset=utf-16\r\n\
    Content-Transfer-Encoding: base64\r\n\r\n=?=not base64!===\r\n=C3=28\r\n";
const NESTED: &str = "Content-Type: message/rfc822\r\n\r\n";

fn eight_bit() -> Bytes {
    let mut content = HEAD.as_bytes().to_vec();
    content.extend_from_slice(
        b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nGr\xfc\xdfe, \xe2\x82\xac \xff\xfe\r\n",
    );
    content.into()
}

/// Every byte but NUL, CR and LF, in lines.
fn binary_lines() -> Bytes {
    let mut content = format!("{HEAD}Content-Transfer-Encoding: binary\r\n\r\n").into_bytes();
    for n in 0..64_usize {
        content.extend((1..=u8::MAX).filter(|byte| !matches!(byte, b'\r' | b'\n')).cycle().skip(n).take(300));
        content.extend_from_slice(b"\r\n");
    }
    content.into()
}

fn many_fields() -> Bytes {
    let mut content = HEAD.to_owned();
    for n in 0..2000 {
        // Writing to a string does not fail.
        let _ = write!(content, "X-Field-{n}: {n}\r\n");
    }
    content.push_str("\r\nhello\r\n");
    content.into()
}

/// Texts that break out of whatever they are put into: lines, terminals, markup, templates, commands, buffers.
fn hostile_fields() -> Bytes {
    let mut content = String::from(
        "From: \"\\\"><script>alert(1)</script>\" <jo@home.example>\r\n\
         Subject: =?utf-8?q?line=0D=0Abreak=00=1B[31mred?= \u{1b}[2J\u{202e}desrever\r\n\
         Subject: again\r\n\
         X-Template: {secret:key} ${jndi:ldap://x/} {{7*7}} %s%n%x $(id) `id` '; DROP TABLE mail; --\r\n\
         X-Path: ../../../../etc/passwd\r\n\
         X-Formula: =cmd|' /C calc'!A1\r\n\
         Content-Type: text/plain; name=\"../\\\"\"; charset=\"\u{1b}\"\r\n\
         : a value without a name\r\n\
         no colon here\r\n\
         X-Folded: a\r\n\t\r\n \t b\r\n",
    );
    let _ = write!(content, "X-Long: {}\r\n{}: x\r\n", "y".repeat(64 * 1024), "Z".repeat(2000));
    content.push_str("\r\nhello\r\n");
    content.into()
}

/// So many recipients with ordinary addresses.
fn recipients(count: u32) -> Vec<Recipient> {
    (0..count).map(|index| recipient(index, &format!("SMTP:r{index}@far.example"))).collect()
}

/// One recipient of every kind of address, with all that can be said about one.
fn addresses() -> Vec<Recipient> {
    let long = format!("SMTP:\"{}\"@far.example", "l".repeat(60));
    let addresses = [
        "FAX:+49 (30) 123-45",
        "SMS:+49171234567",
        "X400:c=DE;a= ;p=far;s=Ann",
        "SMTP:grüße@far.example",
        &long,
    ];
    let mut all: Vec<_> = (0..).zip(addresses).map(|(index, address)| recipient(index, address)).collect();
    let wishes = [Some(Notify::NEVER), Some(Notify { success: true, failure: true, delay: true }), None];
    for (recipient, wish) in all.iter_mut().zip(wishes.into_iter().cycle()) {
        recipient.notify = wish;
        let original = OriginalRecipient { kind: "rfc822".to_owned(), address: "ann@old.example".to_owned() };
        recipient.original = Some(original);
        recipient.properties = vec![("number".to_owned(), "+4930123".to_owned()); 2];
    }
    all
}

fn recipient(index: u32, address: &str) -> Recipient {
    Recipient::new(index, TypedAddress::parse(address).expect("the suite's addresses are well-formed"))
}

fn request(
    hop: &NextHop,
    reverse_path: &str,
    recipients: Vec<Recipient>,
    content: impl Into<Bytes>,
) -> DeliveryRequest {
    let (id, content) = (MessageId::generate(), Content::from(content.into()));
    let now = Timestamp::now();
    let mut envelope = Envelope::generated(reverse_path, now);
    envelope.body = BodyType::EightBit;
    let item = Item {
        id: ItemId { message: id, ordinal: 0 },
        next_hop: hop.clone(),
        recipients: recipients.into_iter().map(ItemRecipient::queued).collect(),
        priority: Priority::Normal,
        state: ItemState::Active,
        attempts: 0,
        traps: 0,
        settlements: 0,
        enqueued_at: now,
        next_attempt: now,
        expires_at: now.checked_add(SignedDuration::from_hours(48)).ok(),
        delay_dsn_at: None,
        last_error: None,
    };
    let message = MessageInfo {
        id,
        origin: Origin::Accepted,
        envelope,
        size: content.size(),
        internet_message_id: None,
        subject: None,
    };
    DeliveryRequest { message: Arc::new(message), item: Arc::new(item), content, attempt: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_what_they_say() {
        let (mut shapes, hop) = (Vec::new(), hop("x"));
        shapes.extend(envelopes(&hop));
        shapes.extend(contents(&hop));
        let find = |what: &str| &shapes.iter().find(|shape| shape.what.contains(what)).unwrap().request;
        assert_eq!(find("fifty").recipients().count(), 50);
        assert_eq!(
            find("some recipients are done").recipients().map(|r| r.index).collect::<Vec<_>>(),
            [2, 4, 5]
        );
        assert_eq!(find("null reverse-path").message.envelope.reverse_path, "");
        assert_eq!(find("without one byte").content.size(), 0);
        assert!(find("one MiB").content.size() > MIB as u64);
        let binary = find("binary lines").content.read_all().unwrap();
        assert!(!binary.contains(&0) && (1..=u8::MAX).all(|byte| binary.contains(&byte)));
        let longest = find("100 000").content.read_all().unwrap();
        assert!(longest.split(|byte| *byte == b'\n').any(|line| line.len() > 100_000));
    }
}
