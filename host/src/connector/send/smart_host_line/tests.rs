//! What must hold of a conversation, with a smart host that follows a script.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use postern_model::{
    BodyType, Content, Envelope, Item, ItemId, ItemRecipient, ItemState, MessageId, MessageInfo, NextHop,
    Origin, Priority, TypedAddress,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::smtp_client::ClientTimeouts;

/// What the smart host waits for, and what it answers. A line that begins with `BDAT` is read with its chunk, `.` is
/// the end of a content.
type Script = &'static [(&'static str, &'static str)];

const PLAIN: &str = "250 smart.example";

/// Follows the script, then closes the connection; gives what it was sent.
async fn follow(mut stream: BufReader<TcpStream>, ehlo: &'static str, script: Script) -> Vec<String> {
    let opening = [("", "220 smart.example"), ("EHLO", ehlo)];
    let mut said = Vec::new();
    for (wanted, answer) in opening.iter().chain(script) {
        let mut line = String::new();
        while !wanted.is_empty() && (line.is_empty() || (*wanted == "." && line != ".\r\n")) {
            line.clear();
            assert_ne!(stream.read_line(&mut line).await.unwrap(), 0, "closed where {wanted} was due");
            said.push(line.trim_end().to_owned());
        }
        assert!(line.starts_with(wanted), "{line:?} where {wanted} was due");
        if let Some(size) = line.strip_prefix("BDAT ").and_then(|rest| rest.split_whitespace().next()) {
            let mut chunk = vec![0; size.parse().unwrap()];
            stream.read_exact(&mut chunk).await.unwrap();
            said.push(String::from_utf8(chunk).unwrap());
        }
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
    }
    said
}

async fn line(ehlo: &'static str, script: Script) -> (SmartHostLine, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        follow(BufReader::new(stream), ehlo, script).await
    });
    let client = SmtpClient::connect("127.0.0.1", port, "gw.example", ClientTimeouts::default()).await;
    (SmartHostLine::new(client.unwrap(), "smart.example".to_owned(), "gw.example"), peer)
}

/// A message for so many recipients.
fn request(content: &'static [u8], body: BodyType, recipients: u32) -> DeliveryRequest {
    let (id, now) = (MessageId::from_name("sent"), Timestamp::now());
    let mut envelope = Envelope::generated("jo@home.example", now);
    envelope.body = body;
    let message = MessageInfo {
        id,
        origin: Origin::Accepted,
        envelope,
        size: content.len() as u64,
        internet_message_id: None,
        subject: None,
    };
    let queued = |index| {
        let address = TypedAddress::smtp(&format!("r{index}@far.example")).unwrap();
        ItemRecipient::queued(Recipient::new(index, address))
    };
    let item = Item {
        id: ItemId { message: id, ordinal: 0 },
        next_hop: NextHop::new("smart", "far.example"),
        recipients: (0..recipients).map(queued).collect(),
        priority: Priority::Normal,
        state: ItemState::Active,
        attempts: 0,
        traps: 0,
        settlements: 0,
        enqueued_at: now,
        next_attempt: now,
        expires_at: None,
        delay_dsn_at: None,
        last_error: None,
    };
    let content = Content::from(Bytes::from_static(content));
    DeliveryRequest { message: Arc::new(message), item: Arc::new(item), content, attempt: 1 }
}

fn mail(recipients: u32) -> DeliveryRequest {
    request(b"Subject: x\r\n\r\nx\r\n", BodyType::SevenBit, recipients)
}

/// The codes of a report's outcomes.
fn codes(report: &DeliveryReport) -> Vec<(u32, u16)> {
    report.outcomes.iter().map(|o| (o.recipient, o.outcome.response().code)).collect()
}

fn fault_code(report: &DeliveryReport) -> Option<u16> {
    report.fault.as_ref().map(|fault| fault.response.code)
}

#[tokio::test]
async fn after_a_refused_content_the_peer_is_reset_and_the_next_message_goes_out() {
    let (mut line, peer) = line(
        PLAIN,
        &[
            ("MAIL", "250 ok"),
            ("RCPT", "250 ok"),
            ("DATA", "451 4.3.0 not now"),
            ("RSET", "250 ok"),
            ("MAIL", "250 ok"),
            ("RCPT", "250 ok"),
            ("DATA", "354 go"),
            (".", "554 5.6.0 no"),
            ("RSET", "250 ok"),
            ("MAIL", "250 ok"),
            ("RCPT", "250 ok"),
            ("DATA", "354 go"),
            (".", "250 ok"),
        ],
    )
    .await;
    for code in [451, 554, 250] {
        let report = line.deliver(&mail(1)).await;
        assert_eq!((codes(&report), report.broken, fault_code(&report)), (vec![(0, code)], false, None));
    }
    peer.await.unwrap();
}

#[tokio::test]
async fn after_a_refused_chunk_and_a_refused_reset_the_connection_is_given_up() {
    let ehlo = "250-smart.example\r\n250 CHUNKING";
    let script = &[("MAIL", "250 ok"), ("RCPT", "250 ok"), ("BDAT", "552 5.3.4 no"), ("RSET", "500 what")];
    let (mut line, peer) = line(ehlo, script).await;
    let report = line.deliver(&request(b"a\nb\r\n", BodyType::SevenBit, 1)).await;
    assert_eq!((codes(&report), report.broken, report.not_begun), (vec![(0, 552)], true, false));
    let said = peer.await.unwrap();
    assert!(said.iter().any(|chunk| chunk.ends_with("a\nb\r\n")), "{said:?}");
}

#[tokio::test]
async fn a_peer_that_lost_track_condemns_no_message() {
    for refusal in ["503 nested MAIL", "500 what", "501 5.5.4 argument", "502 no"] {
        let script: Script = Box::leak(Box::new([("MAIL", refusal)]));
        let (mut line, peer) = line(PLAIN, script).await;
        let report = line.deliver(&mail(2)).await;
        assert_eq!((codes(&report), fault_code(&report)), (vec![], Some(451)), "{refusal}");
        assert!(report.broken && report.not_begun, "{refusal}");
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_sender_condemns_its_message() {
    for refusal in ["550 5.7.1 not you", "501 5.1.7 what an address"] {
        let script: Script = Box::leak(Box::new([("MAIL", refusal), ("RSET", "250 ok")]));
        let (mut line, peer) = line(PLAIN, script).await;
        let report = line.deliver(&mail(2)).await;
        assert_eq!(codes(&report).len(), 2, "{refusal}");
        assert!(report.outcomes.iter().all(|o| matches!(o.outcome, Outcome::Failed { .. })), "{refusal}");
        assert!(!report.broken, "{refusal}");
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_leaves_before_it_took_a_recipient_has_nothing_of_the_item() {
    let scripts: [Script; 4] = [
        &[],
        &[("MAIL", "421 4.4.2 idle for too long")],
        &[("MAIL", "250 ok"), ("RCPT", "421 4.3.2 stopping")],
        &[("MAIL", "250 ok"), ("RCPT", "550 5.1.1 unknown"), ("RCPT", "421 4.3.2 stopping")],
    ];
    for script in scripts {
        let (mut line, peer) = line(PLAIN, script).await;
        let report = line.deliver(&mail(2)).await;
        assert!(report.broken && report.not_begun, "{script:?}: {report:?}");
        let expected = script.last().map_or(451, |_| 421);
        assert_eq!(fault_code(&report), Some(expected), "{script:?}");
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_leaves_later_leaves_its_recipients_deferred() {
    let scripts: [Script; 3] = [
        &[("MAIL", "250 ok"), ("RCPT", "250 ok"), ("RCPT", "421 no more")],
        &[("MAIL", "250 ok"), ("RCPT", "250 ok"), ("RCPT", "250 ok"), ("DATA", "421 4.3.2 stopping")],
        &[
            ("MAIL", "250 ok"),
            ("RCPT", "250 ok"),
            ("RCPT", "250 ok"),
            ("DATA", "354 go"),
            (".", "421 4.3.2 stopping"),
        ],
    ];
    for script in scripts {
        let (mut line, peer) = line(PLAIN, script).await;
        let report = line.deliver(&mail(2)).await;
        assert_eq!((codes(&report), fault_code(&report)), (vec![], Some(421)), "{script:?}");
        assert!(report.broken && !report.not_begun, "{script:?}");
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn what_the_peer_can_never_take_fails_at_once_and_the_connection_lives_on() {
    let ehlo = "250-smart.example\r\n250 SIZE 20";
    let script = &[("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go"), (".", "250 ok")];
    let (mut line, peer) = line(ehlo, script).await;
    for (content, body, code) in [
        (&b"Subject: too large\r\n\r\nx\r\n"[..], BodyType::SevenBit, 552),
        (b"a\n", BodyType::Binary, 554),
        (b"a\0\r\n", BodyType::EightBit, 554),
    ] {
        let report = line.deliver(&request(content, body, 2)).await;
        assert_eq!((codes(&report), report.broken), (vec![(0, code), (1, code)], false));
        assert!(report.outcomes.iter().all(|o| o.outcome.code_fits()));
    }
    // A lone line feed is mended where there is no BDAT.
    let report = line.deliver(&request(b"a\nb\r\n", BodyType::SevenBit, 1)).await;
    assert_eq!(codes(&report), [(0, 250)]);
    let said = peer.await.unwrap();
    assert!(said.ends_with(&["a".to_owned(), "b".to_owned(), ".".to_owned()]), "{said:?}");
}

#[tokio::test]
async fn what_is_declared_binary_and_has_ordinary_lines_goes_to_a_peer_without_a_word_for_it() {
    let ehlo = "250-smart.example\r\n250-CHUNKING\r\n250 8BITMIME";
    let script = &[
        ("MAIL", "250 ok"),
        ("RCPT", "250 ok"),
        ("DATA", "354 go"),
        (".", "250 ok"),
        ("MAIL", "250 ok"),
        ("RCPT", "250 ok"),
        ("DATA", "354 go"),
        (".", "250 ok"),
    ];
    let (mut line, peer) = line(ehlo, script).await;
    for content in [&b"Subject: x\r\n\r\nx\r\n"[..], "Subject: x\r\n\r\nü\r\n".as_bytes()] {
        let report = line.deliver(&request(content, BodyType::Binary, 1)).await;
        assert_eq!((codes(&report), fault_code(&report)), (vec![(0, 250)], None));
    }
    let said = peer.await.unwrap();
    let mails: Vec<_> = said.iter().filter(|line| line.starts_with("MAIL")).collect();
    assert_eq!(mails, ["MAIL FROM:<jo@home.example>", "MAIL FROM:<jo@home.example> BODY=8BITMIME"]);
}

#[tokio::test]
async fn dsn_parameters_that_cannot_be_written_are_left_out() {
    let ehlo = "250-smart.example\r\n250 DSN";
    let script = &[("MAIL", "250 ok"), ("RCPT", "250 ok"), ("DATA", "354 go"), (".", "250 ok")];
    let (mut line, peer) = line(ehlo, script).await;
    let mut request = mail(1);
    let message = Arc::make_mut(&mut request.message);
    message.envelope.envelope_id = Some("x".repeat(500));
    message.envelope.ret = Some(Return::Headers);
    let original = postern_model::OriginalRecipient { kind: "fax".to_owned(), address: "x".repeat(5_000) };
    Arc::make_mut(&mut request.item).recipients[0].recipient.original = Some(original);
    assert_eq!(codes(&line.deliver(&request).await), [(0, 250)]);
    let said = peer.await.unwrap();
    assert!(said.contains(&"MAIL FROM:<jo@home.example> RET=HDRS".to_owned()), "{said:?}");
    assert!(said.contains(&"RCPT TO:<r0@far.example>".to_owned()), "{said:?}");
}
