//! The agent as the host sees it: what is sent, byte for byte, and what is reported.

use postern_agent_sdk::http::{Answer, Fault};
use postern_agent_sdk::log::Level;
use postern_agent_sdk::testing::{Host, TestItem, logged, next_hop, recipient, requests};
use postern_agent_sdk::{Connection, Notify, Original, ReceiptState};
use serde_json::{Value, json};

use super::*;

const URL: &str = r#"{"url": "https://hook.example/in"}"#;

fn ok() -> Result<Answer, Fault> {
    Ok(Answer { status: 200, ..Answer::default() })
}

fn open() -> Connection<Webhook> {
    let mut connection = Connection::new();
    connection.open(&next_hop()).unwrap();
    connection
}

/// The parts of a body: headers and bytes. Splits as a web framework does, and knows nothing of how the body was made.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<(String, &'a [u8])> {
    let find = |from: usize, what: &[u8]| {
        body[from..].windows(what.len()).position(|w| w == what).map(|at| from + at)
    };
    let line = format!("--{boundary}");
    assert!(body.starts_with(line.as_bytes()));
    let mut parts = Vec::new();
    let mut at = line.len();
    while !body[at..].starts_with(b"--") {
        assert!(body[at..].starts_with(b"\r\n"));
        let head = find(at, b"\r\n\r\n").unwrap();
        let end = find(head + 4, format!("\r\n{line}").as_bytes()).unwrap();
        parts.push((String::from_utf8(body[at + 2..head].to_vec()).unwrap(), &body[head + 4..end]));
        at = end + 2 + line.len();
    }
    assert_eq!(&body[at..], b"--\r\n");
    parts
}

fn boundary(request: &postern_agent_sdk::http::Request) -> String {
    let header = &request.headers.iter().find(|(name, _)| name == "Content-Type").unwrap().1;
    header.strip_prefix("multipart/form-data; boundary=").unwrap().to_owned()
}

#[test]
fn any_bytes_arrive_exactly_as_they_were() {
    let mut content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    content.extend_from_slice(b"\0\r\n.\r\n--\n\r--postern-\r\n--\r\n\r\n");
    for content in [content, Vec::new(), b"\r\n".to_vec(), b"--".to_vec()] {
        Host::new().settings(URL).answer(ok()).install();
        let report = open().deliver(&TestItem::new(&content).item()).unwrap();
        assert!(matches!(report.outcomes[0].outcome, Outcome::Delivered(_)));
        let request = requests().remove(0);
        let parts = parts(&request.body, &boundary(&request));
        let [(envelope, _), (message, bytes)] = &parts[..] else { panic!("not two parts") };
        assert!(
            envelope.contains("name=\"envelope\"") && envelope.contains("Content-Type: application/json")
        );
        assert!(message.contains("name=\"message\"") && message.contains("Content-Type: message/rfc822"));
        assert_eq!(*bytes, content);
    }
}

#[test]
fn a_boundary_that_occurs_in_the_message_or_the_envelope_is_not_used() {
    let hex = |b: u8| format!("{b:02x}").repeat(16);
    let mut item = TestItem::new(format!("x\r\n--postern-{}--\r\n", hex(7)).as_bytes());
    item.envelope.helo = Some(format!("postern-{}", hex(8)));
    Host::new().settings(URL).random(&[7; 16]).random(&[8; 16]).random(&[9; 16]).answer(ok()).install();
    open().deliver(&item.clone().item()).unwrap();
    let request = requests().remove(0);
    assert_eq!(boundary(&request), format!("postern-{}", hex(9)));
    assert_eq!(parts(&request.body, &boundary(&request))[1].1, item.content);
}

#[test]
fn the_envelope_tells_everything_the_host_knows() {
    let mut item = TestItem::new(b"x").recipients(&["ann@box.example", "bob@box.example"]);
    item.recipients[1].original = Some(Original { kind: "rfc822".to_owned(), address: "b\"b@x".to_owned() });
    item.recipients[1].notify = Some(vec![Notify::Success, Notify::Delay]);
    item.recipients[1].properties = vec![("tenant".to_owned(), "7".to_owned())];
    Host::new().settings(URL).answer(ok()).install();
    open().deliver(&item.item()).unwrap();
    let request = requests().remove(0);
    let envelope: Value = serde_json::from_slice(parts(&request.body, &boundary(&request))[0].1).unwrap();
    assert_eq!(
        envelope,
        json!({
            "version": 1, "connector": "test", "destination": "box.example",
            "item_id": "item-1", "attempt": 1, "reverse_path": "jo@home.example", "envelope_id": null,
            "return_content": null, "helo": null, "submitter": null, "received_at": "2023-11-14T22:13:20Z",
            "expires_at": null, "must_deliver": false, "priority": "normal", "size": 1, "properties": [],
            "recipients": [
                { "index": 0, "address_type": "SMTP", "address": "ann@box.example", "original": null,
                  "notify": null, "idempotency_key": "item-1-0", "properties": [] },
                { "index": 1, "address_type": "SMTP", "address": "bob@box.example",
                  "original": { "type": "rfc822", "address": "b\"b@x" }, "notify": ["success", "delay"],
                  "idempotency_key": "item-1-1", "properties": [["tenant", "7"]] },
            ],
        })
    );
}

#[test]
fn headers_and_text_are_sent_when_asked_for_and_null_when_the_message_cannot_be_parsed() {
    let settings = r#"{"url": "https://hook.example/in", "include_headers": true, "include_text": "64KiB", "content": "none"}"#;
    let mut item = TestItem::new(b"x");
    item.headers = Ok(vec![("Subject".to_owned(), "Grüße".to_owned())]);
    item.text = Err("nested too deep".to_owned());
    Host::new().settings(settings).answer(ok()).install();
    open().deliver(&item.item()).unwrap();
    let request = requests().remove(0);
    let parts = parts(&request.body, &boundary(&request));
    assert_eq!(parts.len(), 1);
    let envelope: Value = serde_json::from_slice(parts[0].1).unwrap();
    assert_eq!(envelope["headers"], json!([["Subject", "Grüße"]]));
    assert_eq!(envelope["text"], Value::Null);
    assert!(matches!(&logged()[0], (Level::Warn, text) if text.contains("nested too deep")));
}

#[test]
fn the_request_carries_the_configured_headers_and_leaves_time_to_report() {
    let settings = r#"{"url": "https://hook.example/in", "headers": {"X-A": "1"}, "secret": "t", "timeout_seconds": 600}"#;
    Host::new().settings(settings).remaining_ms(20_000).answer(ok()).install();
    open().deliver(&TestItem::new(b"x").item()).unwrap();
    let request = requests().remove(0);
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://hook.example/in"));
    assert_eq!(request.timeout_ms, Some(19_000));
    let header =
        |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(header("X-A"), Some("1"));
    assert_eq!(header("Authorization"), Some("Bearer {secret:t}"));
    assert_eq!(header("Idempotency-Key"), Some("item-1-0"));
}

#[test]
fn the_idempotency_key_is_the_same_for_the_same_recipients_only() {
    let all = [recipient(0, "a@x"), recipient(1, "b@x"), recipient(2, "c@x")];
    let key = |recipients: &[postern_agent_sdk::Recipient]| request::idempotency_key("item-1", recipients);
    assert_eq!(key(&all), key(&all.clone()));
    assert!(key(&all).starts_with("item-1-"));
    assert_ne!(key(&all), key(&all[1..]));
    assert_ne!(key(&all[..2]), key(&all[1..]));
    assert_eq!(key(&all[2..]), "item-1-2");
}

#[test]
fn a_message_above_the_limit_fails_without_a_request() {
    Host::new().settings(r#"{"url": "https://hook.example/in", "max_size": 3}"#).answer(ok()).install();
    assert_eq!(Webhook::describe().max_size, Some(3));
    let report = open().deliver(&TestItem::new(b"1234").item()).unwrap();
    let Outcome::Failed(failure) = &report.outcomes[0].outcome else { panic!("must fail") };
    assert_eq!(
        (failure.response.code, failure.response.status, failure.class.as_str()),
        (552, (5, 3, 4), "too-large")
    );
    assert!(requests().is_empty());
}

#[test]
fn the_limit_is_the_default_while_the_settings_are_wrong() {
    Host::new().settings("{}").install();
    assert_eq!(Webhook::describe().max_size, Some(24 << 20));
    let Refusal::DeferQueue(deferral) = Connection::<Webhook>::new().open(&next_hop()).unwrap_err() else {
        panic!("the queue must not fail")
    };
    assert_eq!(deferral.response.text, "settings: missing field `url`");
    Host::new().settings(r#"{"url": "hook.example"}"#).install();
    assert!(Connection::<Webhook>::new().open(&next_hop()).is_err());
}

#[test]
fn the_label_holds_no_keys_that_stand_in_the_address() {
    Host::new().settings(r#"{"url": "https://hook.example:8443/in?key=geheim"}"#).install();
    assert_eq!(Connection::<Webhook>::new().open(&next_hop()).unwrap(), "https://hook.example:8443");
}

#[test]
fn a_receipt_is_asked_for_where_the_answer_said() {
    let accepted =
        Answer { status: 202, headers: vec![("Location".to_owned(), "/r/1".to_owned())], body: Vec::new() };
    let told = Answer { status: 200, body: br#"{"state": "delivered"}"#.to_vec(), ..Answer::default() };
    Host::new().settings(URL).answer(Ok(accepted)).answer(Ok(told)).install();
    let report = open().deliver(&TestItem::new(b"x").item()).unwrap();
    let Outcome::Accepted(pending) = &report.outcomes[0].outcome else { panic!("must wait") };
    let settings = postern_agent_sdk::settings().unwrap();
    let receipts = Webhook::poll(settings, &pending.receipt_ids).unwrap();
    assert_eq!(requests()[1].url, "https://hook.example/r/1");
    assert!(matches!(receipts[0].state, ReceiptState::Delivered(_)));
    assert_eq!(receipts[0].id, pending.receipt_ids[0]);
}
