//! What a notification must be: read back by a parser that is not ours.

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};
use postern_model::{
    DsnRecipient, Envelope, ItemId, MessageInfo, Origin, OriginalRecipient, Recipient, Response,
};

use super::*;

const ORIGINAL: &[u8] =
    b"From: jo@a.example\r\nSubject: Invoice 7\r\nMessage-ID: <7@a.example>\r\n\r\nHello\r\n";
const KINDS: [DsnKind; 5] =
    [DsnKind::Failed, DsnKind::Delayed, DsnKind::Delivered, DsnKind::Relayed, DsnKind::Expanded];

fn settings() -> DsnSettings {
    DsnSettings {
        host_name: "gw1.example".into(),
        postmaster: "postmaster@gw1.example".into(),
        max_returned: DEFAULT_MAX_RETURNED,
    }
}

fn recipient(index: u32, address: &str, response: Response) -> DsnRecipient {
    let recipient = Recipient::new(index, address.parse().unwrap());
    DsnRecipient { recipient, response, remote_id: None, details: Vec::new(), unconfirmed: false }
}

fn request(kind: DsnKind, recipients: Vec<DsnRecipient>) -> DsnRequest {
    let id = MessageId::from_name("message");
    let mut envelope = Envelope::generated("jo@a.example", "2026-03-01T11:58:00Z".parse().unwrap());
    envelope.envelope_id = Some("QQ314159".into());
    envelope.ret = Some(Return::Full);
    DsnRequest {
        key: format!("{id}.0-1-{}", kind.action()),
        kind,
        item: ItemId { message: id, ordinal: 0 },
        connector: "fax".into(),
        message: MessageInfo {
            id,
            origin: Origin::Accepted,
            envelope,
            size: ORIGINAL.len() as u64,
            internet_message_id: Some("<7@a.example>".into()),
            subject: Some("Invoice 7".into()),
        },
        headers: ORIGINAL[..ORIGINAL.len() - 9].to_vec(),
        content: None,
        recipients,
        at: "2026-03-01T12:00:00Z".parse().unwrap(),
        retry_until: None,
    }
}

/// Two recipients: a fax number that came in disguise, with details, and a mail address.
fn usual(kind: DsnKind) -> DsnRequest {
    let mut fax = recipient(0, "FAX:+4930123", Response::new(550, (5, 1, 1), "No such number"));
    fax.recipient.envelope_address = Some("IMCEAFAX-+2B4930123@gw1.example".parse().unwrap());
    fax.remote_id = Some("job-17".into());
    fax.details = vec![("pages".into(), "3".into()), (REMOTE_MTA_DETAIL.into(), "fax.example".into())];
    let mut mail = recipient(1, "kim@b.example", Response::new(552, (5, 2, 2), "Mailbox full"));
    mail.recipient.original =
        Some(OriginalRecipient { kind: "rfc822".into(), address: "Kim@old.example".into() });
    request(kind, vec![fax, mail])
}

fn parsed(content: &[u8]) -> Message<'_> {
    MessageParser::default().parse(content).expect("a notification is a message")
}

fn type_of(part: &MessagePart<'_>) -> String {
    let found = part.content_type().expect("every part names its type");
    format!("{}/{}", found.ctype(), found.subtype().unwrap_or_default())
}

fn types(message: &Message<'_>) -> Vec<String> {
    message.parts.iter().map(type_of).collect()
}

fn part<'m>(message: &'m Message<'_>, kind: &str) -> &'m MessagePart<'m> {
    message.parts.iter().find(|p| type_of(p) == kind).unwrap_or_else(|| panic!("no part {kind}"))
}

/// The blocks of fields of the part for programs, unfolded.
fn status_blocks(message: &Message<'_>) -> Vec<Vec<(String, String)>> {
    let text = str::from_utf8(part(message, "message/delivery-status").contents()).unwrap();
    let unfolded = text.replace("\r\n ", " ");
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        (name.to_owned(), value.to_owned())
    };
    unfolded.trim_end().split("\r\n\r\n").map(|block| block.split("\r\n").map(field).collect()).collect()
}

fn value<'b>(block: &'b [(String, String)], name: &str) -> Option<&'b str> {
    block.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// The rules that hold for every notification.
fn assert_well_formed(built: &BuiltDsn) {
    for line in built.content.split(|b| *b == b'\n') {
        assert!(line.is_empty() || line.ends_with(b"\r"), "a line without CR: {line:?}");
        assert!(line.len() <= 999 && !line[..line.len().saturating_sub(1)].contains(&b'\r'));
    }
    assert!(built.content.ends_with(b"--\r\n"));
    assert_eq!(built.eight_bit, !built.content.is_ascii());
}

#[test]
fn every_kind_is_a_report_of_three_parts_and_says_what_happened() {
    for kind in KINDS {
        let built = build(&usual(kind), Some(ORIGINAL), &settings());
        assert_well_formed(&built);
        let message = parsed(&built.content);
        let last = if kind == DsnKind::Failed { "message/rfc822" } else { "text/rfc822-headers" };
        assert_eq!(
            types(&message),
            [
                "multipart/report",
                "multipart/alternative",
                "text/plain",
                "text/html",
                "message/delivery-status",
                last
            ]
        );
        let root = message.root_part().content_type().unwrap();
        assert_eq!(root.attribute("report-type"), Some("delivery-status"));
        let blocks = status_blocks(&message);
        assert_eq!(blocks.len(), 3);
        for block in &blocks[1..] {
            assert_eq!(value(block, "Action"), Some(kind.action()));
        }
        let text = message.body_text(0).unwrap().into_owned();
        for told in ["FAX:+4930123", "kim@b.example", "550 5.1.1 No such number", "gw1.example"] {
            assert!(text.contains(told), "{kind:?}: {told}");
            assert!(message.body_html(0).unwrap().contains(told), "{kind:?}: {told} in HTML");
        }
        assert_eq!(message.subject(), Some(built.subject.as_str()));
        assert!(built.subject.ends_with(": Invoice 7"), "{}", built.subject);
    }
}

#[test]
fn the_kinds_differ_in_subject_and_opening() {
    let all: Vec<_> = KINDS.map(|kind| build(&usual(kind), None, &settings())).into();
    for (i, built) in all.iter().enumerate() {
        let opening =
            |b: &BuiltDsn| parsed(&b.content).body_text(0).unwrap().lines().next().unwrap().to_owned();
        for other in &all[..i] {
            assert_ne!(built.subject, other.subject);
            assert_ne!(opening(built), opening(other));
            assert_ne!(built.message_id, other.message_id);
        }
    }
}

#[test]
fn the_header_names_the_host_the_sender_and_the_message() {
    let built = build(&usual(DsnKind::Failed), None, &settings());
    let message = parsed(&built.content);
    let from = message.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Mail Delivery System"), Some("postmaster@gw1.example")));
    assert_eq!(message.to().unwrap().first().unwrap().address(), Some("jo@a.example"));
    assert_eq!(message.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
    assert_eq!(message.in_reply_to().as_text(), Some("7@a.example"));
    assert_eq!(message.references().as_text(), Some("7@a.example"));
    assert_eq!(message.date().unwrap().to_rfc3339(), "2026-03-01T12:00:00Z");
    assert_eq!(message.header_raw("Date").map(str::trim), Some("Sun, 01 Mar 2026 12:00:00 +0000"));
    assert_eq!(format!("<{}>", message.message_id().unwrap()), built.message_id);
    assert!(built.message_id.ends_with("@gw1.example>"));
    assert_eq!(build(&usual(DsnKind::Failed), None, &settings()), built, "a repeat is the same");
}

#[test]
fn the_fields_for_programs_are_those_of_the_rfc() {
    let message = build(&usual(DsnKind::Failed), None, &settings());
    let message = parsed(&message.content);
    let blocks = status_blocks(&message);
    let expected = [
        ("Original-Envelope-Id", "QQ314159"),
        ("Reporting-MTA", "dns; gw1.example"),
        ("Arrival-Date", "Sun, 01 Mar 2026 11:58:00 +0000"),
    ];
    assert_eq!(blocks[0], expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    let expected = [
        ("Original-Recipient", "rfc822; IMCEAFAX-+2B4930123@gw1.example"),
        ("Final-Recipient", "fax; +4930123"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
        ("Remote-MTA", "dns; fax.example"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such number"),
        ("Last-Attempt-Date", "Sun, 01 Mar 2026 12:00:00 +0000"),
        ("X-Postern-Remote-Id", "job-17"),
        ("X-Postern-Pages", "3"),
    ];
    assert_eq!(blocks[1], expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(value(&blocks[2], "Original-Recipient"), Some("rfc822; Kim@old.example"));
    assert_eq!(value(&blocks[2], "Final-Recipient"), Some("rfc822; kim@b.example"));
}

#[test]
fn a_delay_says_until_when_it_is_tried_and_nothing_else_does() {
    for kind in KINDS {
        let mut request = usual(kind);
        request.retry_until = Some("2026-03-03T11:58:00Z".parse().unwrap());
        let built = build(&request, None, &settings());
        let message = parsed(&built.content);
        let until = value(&status_blocks(&message)[1], "Will-Retry-Until").map(str::to_owned);
        let said = (kind == DsnKind::Delayed).then(|| "Tue, 03 Mar 2026 11:58:00 +0000".to_owned());
        assert_eq!(until, said);
        assert_eq!(message.body_text(0).unwrap().contains("Tue, 03 Mar 2026"), said.is_some());
    }
}

#[test]
fn what_nobody_knows_is_told_as_that_whatever_the_kind() {
    for (kind, code, class) in
        [(DsnKind::Failed, 550, 5), (DsnKind::Delayed, 451, 4), (DsnKind::Relayed, 250, 2)]
    {
        let response = Response::new(code, (class, 4, 7), "accepted by the far end, which never said more");
        let about = DsnRecipient { unconfirmed: true, ..recipient(0, "FAX:+4930123", response) };
        let mut request = request(kind, vec![about]);
        request.retry_until = Some("2026-03-03T12:00:00Z".parse().unwrap());
        let built = build(&request, None, &settings());
        assert_well_formed(&built);
        assert_eq!(built.subject, "Not confirmed: Invoice 7");
        let message = parsed(&built.content);
        let text = message.body_text(0).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            text.contains(
                "was accepted by the system at the other side, which never said what became of it."
            )
        );
        assert!(
            text.contains("It may have arrived.") && text.contains("It will not be sent again."),
            "{text}"
        );
        for wrong in ["could not be delivered", "still being tried", "tried until", "time allowed"] {
            assert!(!text.contains(wrong), "{wrong:?} in {text}");
        }
        let blocks = status_blocks(&message);
        assert_eq!(value(&blocks[1], "Action"), Some(kind.action()));
        assert_eq!(value(&blocks[1], "Will-Retry-Until"), None);
        // Beside one who is still tried, each is told what is true of it.
        request.recipients.push(recipient(1, "FAX:+4940", Response::new(450, (4, 2, 1), "busy")));
        let built = build(&request, None, &settings());
        let blocks = status_blocks(&parsed(&built.content));
        let until = (kind == DsnKind::Delayed).then_some("Tue, 03 Mar 2026 12:00:00 +0000");
        assert_eq!(
            [value(&blocks[1], "Will-Retry-Until"), value(&blocks[2], "Will-Retry-Until")],
            [None, until]
        );
        assert!(!built.subject.contains("Not confirmed"));
    }
}

#[test]
fn ret_size_and_kind_decide_what_is_given_back() {
    let returned = |kind, ret, max_returned, original: Option<&[u8]>| {
        let mut request = usual(kind);
        request.message.envelope.ret = ret;
        let built = build(&request, original, &DsnSettings { max_returned, ..settings() });
        types(&parsed(&built.content)).pop().unwrap()
    };
    let (whole, headers) = ("message/rfc822", "text/rfc822-headers");
    let length = ORIGINAL.len();
    assert_eq!(returned(DsnKind::Failed, Some(Return::Full), length, Some(ORIGINAL)), whole);
    assert_eq!(returned(DsnKind::Failed, Some(Return::Full), length - 1, Some(ORIGINAL)), headers);
    assert_eq!(returned(DsnKind::Failed, Some(Return::Full), length, None), headers);
    assert_eq!(returned(DsnKind::Failed, Some(Return::Headers), length, Some(ORIGINAL)), headers);
    assert_eq!(returned(DsnKind::Failed, None, length, Some(ORIGINAL)), headers);
    assert_eq!(returned(DsnKind::Delayed, Some(Return::Full), length, Some(ORIGINAL)), headers);
}

#[test]
fn the_message_comes_back_as_it_was() {
    let built = build(&usual(DsnKind::Failed), Some(ORIGINAL), &settings());
    assert!(built.content.windows(ORIGINAL.len()).any(|w| w == ORIGINAL));
    let message = parsed(&built.content);
    let PartType::Message(inner) = &part(&message, "message/rfc822").body else { panic!("no message") };
    assert_eq!(inner.subject(), Some("Invoice 7"));
    assert_eq!(inner.body_text(0).unwrap().trim_end(), "Hello");
    let headers = build(&usual(DsnKind::Delayed), None, &settings());
    let message = parsed(&headers.content);
    let block = str::from_utf8(part(&message, "text/rfc822-headers").contents()).unwrap();
    assert_eq!(block.trim_end(), str::from_utf8(ORIGINAL).unwrap().split_once("\r\n\r\n").unwrap().0);
}

#[test]
fn an_eight_bit_message_is_declared_and_anything_that_cannot_be_carried_is_not() {
    let eight_bit = "Subject: Grüße\r\n\r\nKöln\n".as_bytes();
    let mut request = usual(DsnKind::Failed);
    request.headers.clear();
    let built = build(&request, Some(eight_bit), &settings());
    assert_well_formed(&built);
    assert!(built.eight_bit);
    let text = String::from_utf8(built.content.clone()).unwrap();
    assert_eq!(
        text.matches("Content-Transfer-Encoding: 8bit\r\n").count(),
        2,
        "of the part and of the whole"
    );
    assert!(text.contains("\r\n\r\nSubject: Grüße\r\n\r\nKöln\r\n"));

    let long = format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(999));
    for binary in [&b"Subject: x\r\n\r\na\0b"[..], long.as_bytes()] {
        let built = build(&request, Some(binary), &settings());
        assert_well_formed(&built);
        let message = parsed(&built.content);
        assert_eq!(part(&message, "text/rfc822-headers").contents().trim_ascii_end(), b"Subject: x");
    }
    let built = build(&request, None, &settings());
    assert_eq!(types(&parsed(&built.content)).len(), 5, "nothing known, nothing given back");
}

#[test]
fn headers_that_are_not_ascii_are_made_so() {
    let mut request = usual(DsnKind::Delayed);
    request.headers = format!("Subject: Grüße\nX-Long: {}\n\nnot a header", "x".repeat(2000)).into_bytes();
    let built = build(&request, None, &settings());
    assert_well_formed(&built);
    assert!(!built.eight_bit);
    let message = parsed(&built.content);
    let block = str::from_utf8(part(&message, "text/rfc822-headers").contents()).unwrap();
    assert!(block.starts_with("Subject: Grüße\r\nX-Long: xxx") && block.trim_end().ends_with('x'), "{block}");
}

#[test]
fn no_foreign_text_gets_out_of_its_place() {
    const EVIL: &str =
        "x\r\nBcc: victim@c.example\r\n\r\n<script>\"'&--=_r.\u{1b}[31m\u{202e}\u{85}\u{2028}y";
    for kind in KINDS {
        let mut request = usual(kind);
        let envelope = &mut request.message.envelope;
        envelope.reverse_path = format!("jo@a.example{EVIL}");
        envelope.envelope_id = Some(EVIL.into());
        request.message.subject = Some(EVIL.into());
        request.message.internet_message_id = Some(format!("<{EVIL}>"));
        request.connector = EVIL.into();
        let r = &mut request.recipients[0];
        // As it could only come out of a damaged store: `Response::new` would have cleaned it.
        r.response.text = EVIL.into();
        r.remote_id = Some(EVIL.into());
        r.details = vec![(EVIL.into(), EVIL.into()), (REMOTE_MTA_DETAIL.into(), EVIL.into())];
        r.recipient.original = Some(OriginalRecipient { kind: EVIL.into(), address: EVIL.into() });
        let r = &mut request.recipients[1];
        r.recipient.address = "FAX:<b>&\"' \u{202e}1".parse().unwrap();
        r.recipient.original.as_mut().unwrap().address = EVIL.into();
        let settings =
            DsnSettings { host_name: EVIL.into(), postmaster: format!("p@b.example{EVIL}"), ..settings() };
        let built = build(&request, Some(ORIGINAL), &settings);
        assert_well_formed(&built);
        assert!(built.content.is_ascii());
        let message = parsed(&built.content);
        assert_eq!(types(&message).len(), 6);
        let names: Vec<_> = message.headers().iter().map(|h| h.name().to_owned()).collect();
        let expected = [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, expected);
        let blocks = status_blocks(&message);
        assert_eq!(blocks.len(), 3);
        let known = |name: &str| {
            [
                "Original-",
                "Reporting-MTA",
                "Arrival-Date",
                "Final-Recipient",
                "Action",
                "Status",
                "Remote-MTA",
            ]
            .iter()
            .chain(&["Diagnostic-Code", "Last-Attempt-Date", "X-Postern-"])
            .any(|start| name.starts_with(start))
        };
        assert!(blocks.iter().flatten().all(|(name, _)| known(name)), "{blocks:?}");
        let html = message.body_html(0).unwrap();
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(html.contains("&lt;b&gt;&amp;&quot;&#39;"));
        for text in [html, message.body_text(0).unwrap()] {
            assert!(!text.lines().any(|l| l.starts_with("Bcc")), "{text}");
            assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{85}', '\u{2028}']));
        }
    }
}

#[test]
fn a_message_that_knows_the_boundary_cannot_end_its_part() {
    let built = build(&usual(DsnKind::Failed), Some(ORIGINAL), &settings());
    let boundary =
        parsed(&built.content).root_part().content_type().unwrap().attribute("boundary").unwrap().to_owned();
    let evil =
        format!("Subject: x\r\n\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\n<p>\r\n--{boundary}--\r\n");
    let built = build(&usual(DsnKind::Failed), Some(evil.as_bytes()), &settings());
    let message = parsed(&built.content);
    assert_eq!(types(&message).len(), 6);
    assert_ne!(message.root_part().content_type().unwrap().attribute("boundary"), Some(boundary.as_str()));
    let PartType::Message(inner) = &part(&message, "message/rfc822").body else { panic!("no message") };
    assert!(inner.body_text(0).unwrap().contains(&boundary));
}

#[test]
fn text_that_is_not_ascii_reads_back_and_goes_as_seven_bits() {
    let mut request = usual(DsnKind::Failed);
    request.message.subject = Some("Grüße aus Köln 日本".into());
    request.recipients[0].recipient.address = "FAX:Köln 1".parse().unwrap();
    request.recipients[0].response = Response::new(550, (5, 1, 1), "kein Anschluß");
    request.recipients[1].recipient.address = "jö+a@b.example".parse().unwrap();
    request.recipients[1].recipient.original =
        Some(OriginalRecipient { kind: "utf-8".into(), address: "jö@b.example".into() });
    let built = build(&request, Some(ORIGINAL), &settings());
    assert_well_formed(&built);
    assert!(!built.eight_bit);
    let message = parsed(&built.content);
    assert_eq!(message.subject(), Some("Not delivered: Grüße aus Köln 日本"));
    let text = message.body_text(0).unwrap();
    assert!(text.contains("FAX:Köln 1") && text.contains("550 5.1.1 kein Anschluß"));
    assert!(message.body_html(0).unwrap().contains("kein Anschluß"));
    let blocks = status_blocks(&message);
    assert_eq!(value(&blocks[1], "Final-Recipient"), Some("fax; K\\x{F6}ln 1"));
    assert_eq!(value(&blocks[1], "Diagnostic-Code"), Some("smtp; 550 5.1.1 kein Anschlu\\x{DF}"));
    assert_eq!(value(&blocks[2], "Final-Recipient"), Some("utf-8; j\\x{F6}\\x{2B}a@b.example"));
    assert_eq!(value(&blocks[2], "Original-Recipient"), Some("utf-8; j\\x{F6}@b.example"));
}

#[test]
fn the_longest_texts_still_make_a_message() {
    let mut request = usual(DsnKind::Delayed);
    for (i, filler) in ["x", "ä", "日 ", "\\", "<", "\r\n"].into_iter().enumerate() {
        let long = filler.repeat(5000);
        request.message.subject = Some(long.clone());
        request.message.internet_message_id = Some(format!("<{long}@a>"));
        request.message.envelope.envelope_id = Some(long.clone());
        request.message.envelope.reverse_path = format!("{}@a.example", filler.repeat(300));
        let r = &mut request.recipients[i % 2];
        r.remote_id = Some(long.clone());
        r.response.text.clone_from(&long);
        r.details = (0..100).map(|_| (long.clone(), long.clone())).collect();
        let address = filler.trim_end().repeat(300);
        r.recipient.address = format!("FAX:1{address}").parse().unwrap();
        let built = build(&request, None, &settings());
        assert_well_formed(&built);
        assert_eq!(status_blocks(&parsed(&built.content)).len(), 3);
    }
}

#[test]
fn one_notification_names_all_its_recipients_in_order() {
    let told = |i: u32| recipient(i, &format!("FAX:+49{i:04}"), Response::new(550, (5, 1, 1), "no"));
    let built = build(&request(DsnKind::Failed, (0..300).map(told).collect()), None, &settings());
    assert_well_formed(&built);
    let message = parsed(&built.content);
    let blocks = status_blocks(&message);
    assert_eq!(blocks.len(), 301);
    for (i, block) in blocks[1..].iter().enumerate() {
        assert_eq!(value(block, "Final-Recipient"), Some(format!("fax; +49{i:04}").as_str()));
    }
    assert!(
        message
            .body_text(0)
            .unwrap()
            .starts_with("Your message could not be delivered to these 300 recipients.")
    );
}

#[test]
fn a_sender_without_a_usable_address_is_not_repeated() {
    for path in ["", "nobody", "a>b@c.example", "a@b\r\nc"] {
        let mut request = usual(DsnKind::Failed);
        request.message.envelope.reverse_path = path.into();
        let built = build(&request, None, &settings());
        let text = String::from_utf8(built.content).unwrap();
        assert!(text.contains("\r\nTo: undisclosed-recipients:;\r\n"), "{path:?}");
    }
}

#[test]
fn who_is_told_what_follows_notify() {
    let only = |success, failure, delay| Notify { success, failure, delay };
    let table = [
        // notify, failed, delayed, good news
        (Notify::DEFAULT, true, true, false),
        (Notify::NEVER, false, false, false),
        (only(true, false, false), false, false, true),
        (only(false, true, false), true, false, false),
        (only(false, false, true), false, true, false),
        (only(true, true, true), true, true, true),
    ];
    for (notify, failed, delayed, good) in table {
        for kind in KINDS {
            let expected = match kind {
                DsnKind::Failed => failed,
                DsnKind::Delayed => delayed,
                _ => good,
            };
            assert_eq!(due(kind, notify, true), expected, "{notify:?} {kind:?}");
            assert!(!due(kind, notify, false), "nobody is told about a message from nobody");
        }
    }
}

#[test]
fn the_kept_sample_is_still_what_is_written() {
    let built = build(&usual(DsnKind::Failed), Some(ORIGINAL), &settings());
    let written = String::from_utf8(built.content).unwrap().replace("\r\n", "\n");
    let kept = include_str!("sample.eml").replace("\r\n", "\n");
    assert_eq!(written, kept, "if the change is meant, keep the new one:\n{written}");
}
