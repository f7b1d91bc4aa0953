//! Mail out through the webhook agent: a real component in the sandbox, a real HTTP server at the far end.

use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Site, SmtpSink, WebhookServer, dsn, eventually, messages};
use serde_json::json;

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";

/// A site with the webhook connector, and a smart host for what goes back to senders.
fn site(server: &WebhookServer, sink: &SmtpSink, settings: &str, lines: &str) -> Site {
    Site::new().webhook("hook", "SMTP:hook.example", &server.url(), settings, lines).send(
        "out",
        "SMTP:*;50",
        sink.address(),
        "",
    )
}

fn wait_for_event(site: &Site, recipient: &str, event: &str) -> Vec<String> {
    eventually(&format!("the event {event} of {recipient}"), || {
        let events = site.events(recipient);
        events.iter().any(|e| e == event).then_some(events)
    })
}

#[test]
fn a_message_is_posted_with_its_envelope_byte_for_byte() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "include_headers = true\ninclude_text = \"64KiB\"", "");
    let host = site.start();
    let mut client = host.client();
    let id = client.submit(JO, &[ANN, "ben@hook.example"], &messages::simple("text"));
    let posted = server.wait_for(1);
    assert_eq!(posted[0].message, messages::simple("text"));
    assert_eq!(posted[0].message_id(), id);
    assert_eq!(posted[0].recipients(), [ANN, "ben@hook.example"]);
    let envelope = &posted[0].envelope;
    assert_eq!(
        (&envelope["connector"], &envelope["destination"], &envelope["reverse_path"], &envelope["attempt"]),
        (&json!("hook"), &json!("hook.example"), &json!(JO), &json!(1))
    );
    assert!(envelope["text"].as_str().is_some_and(|text| text.starts_with("Hello,")), "{envelope}");
    assert_eq!(envelope["headers"][2], json!(["Subject", "text"]));

    for content in [messages::binary("binary"), messages::sized("large", 1_500_000)] {
        let before = server.posted().len();
        client.submit_binary(JO, &[ANN], &content);
        assert!(server.wait_for(before + 1)[before].message == content, "a changed message was posted");
    }
    assert_eq!(wait_for_event(&site, "ben@hook.example", "deliver"), ["receive", "deliver"]);
    let audit = eventually("the last settlement", || {
        let audit = site.audit();
        (audit["delivered"] == 4).then_some(audit)
    });
    assert_eq!(audit["accepted"], 4);
    host.stop();
}

#[test]
fn busy_now_is_tried_again_with_the_same_key_until_it_is_delivered() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "", "");
    server.answer(HttpAnswer::status(503).header("Retry-After", "1"));
    server.answer(HttpAnswer::json(429, &json!({ "text": "slow down", "retry_after": 1 })));
    let host = site.start();
    host.client().submit(JO, &[ANN], &messages::simple("again"));
    let posted = server.wait_for(3);
    let keys: Vec<&String> = posted.iter().map(|p| &p.headers["idempotency-key"]).collect();
    assert!(keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");
    let attempts: Vec<_> = posted.iter().map(|p| p.envelope["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(wait_for_event(&site, ANN, "deliver"), ["receive", "defer", "defer", "deliver"]);
    let rows = site.track(&["--recipient", ANN, "--event", "defer"]);
    assert!(rows[1]["response"].as_str().is_some_and(|r| r.contains("slow down")), "{rows:?}");
    site.audit();
    host.stop();
}

#[test]
fn what_the_far_end_refuses_for_good_is_told_to_its_sender_once() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "", "");
    for _ in 0..2 {
        let body =
            json!({ "text": "no such customer", "code": 550, "status": "5.1.1", "class": "unallocated" });
        server.answer(HttpAnswer::json(422, &body));
    }
    let host = site.start();
    let mut client = host.client();
    // A message without a sender may itself be a report: nobody is told about it (RFC 5321 4.5.5).
    client.submit("", &["nobody@hook.example"], &messages::simple("report"));
    wait_for_event(&site, "nobody@hook.example", "fail");
    let recipient = "ann@hook.example> ORCPT=rfc822;ann+40old.example";
    client.submit("jo@home.example> RET=HDRS ENVID=envelope-7", &[recipient], &messages::simple("refused"));
    let arrived = sink.wait_for(1);
    let report = arrived[0].text();
    assert_eq!((arrived[0].sender.as_str(), &arrived[0].recipients[..]), ("", &[JO.to_owned()][..]));
    let fields = dsn::status_fields(&report);
    for (name, value) in [
        ("Original-Envelope-Id", "envelope-7"),
        ("Reporting-MTA", "dns; gw.example"),
        ("Original-Recipient", "rfc822; ann+40old.example"),
        ("Final-Recipient", "rfc822; ann@hook.example"),
        ("Action", "failed"),
        ("Status", "5.1.1"),
    ] {
        let found = dsn::field(&fields, name);
        let found = if name == "Original-Recipient" { found.replace('@', "+40") } else { found.to_owned() };
        assert_eq!(found, value, "{name} in {fields:?}");
    }
    assert!(dsn::field(&fields, "Diagnostic-Code").starts_with("smtp; 550 5.1.1"), "{fields:?}");
    assert!(
        report.contains("no such customer") && report.contains("Auto-Submitted: auto-replied"),
        "{report}"
    );
    assert!(
        report.contains("Subject: refused") && !report.contains("this line begins"),
        "headers only: {report}"
    );

    let audit = eventually("the report in the books", || {
        let audit = site.audit();
        (audit["relayed"] == 1).then_some(audit)
    });
    assert_eq!(
        (&audit["accepted"], &audit["generated"], &audit["failed"]),
        (&2.into(), &1.into(), &2.into())
    );
    assert_eq!(sink.arrived().len(), 1, "only one of two senders can be told");
    host.stop();
}

#[test]
fn what_was_accepted_is_delivered_only_when_the_receipt_says_so() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, &server.receipt_setting(), "");
    server.answer(HttpAnswer::json(202, &json!({ "receipt": "R-17" })));
    server.receipt("R-17", json!({ "state": "pending" }));
    let host = site.start();
    host.client().submit(JO, &["ann@hook.example> NOTIFY=SUCCESS,FAILURE"], &messages::simple("later"));
    eventually("two questions about the receipt", || (server.asked("R-17") >= 2).then_some(()));
    assert_eq!(site.events(ANN), ["receive", "accept"]);
    let queue = site.queue("hook").expect("its item is pending in its queue");
    assert_eq!(queue["pending"], 1, "{queue}");
    assert_eq!(site.audit()["pending"], 1);
    assert_eq!(sink.arrived().len(), 0, "no success before its time");

    server.receipt("R-17", json!({ "state": "delivered", "text": "two pages", "details": { "pages": 2 } }));
    let report = sink.wait_for(1)[0].text();
    let fields = dsn::status_fields(&report);
    assert_eq!(dsn::field(&fields, "Action"), "delivered");
    assert_eq!(dsn::field(&fields, "Final-Recipient"), "rfc822; ann@hook.example");
    assert_eq!(dsn::field(&fields, "X-Postern-Pages"), "2");
    assert_eq!(site.events(ANN), ["receive", "accept", "deliver"]);
    eventually("an empty queue", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    site.audit();
    host.stop();
}

#[test]
fn a_receipt_survives_a_kill_of_the_host() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, &server.receipt_setting(), "");
    server.answer(HttpAnswer::json(202, &json!({ "receipt": "R-18" })));
    let host = site.start();
    host.client().submit(JO, &[ANN], &messages::simple("later"));
    wait_for_event(&site, ANN, "accept");
    host.kill();
    assert_eq!(site.audit()["pending"], 1, "while the host is stopped");
    server.receipt("R-18", json!({ "state": "failed", "status": "5.1.1", "text": "no such line" }));
    let host = site.start();
    let report = sink.wait_for(1)[0].text();
    assert_eq!(dsn::field(&dsn::status_fields(&report), "Action"), "failed");
    assert_eq!(server.posted().len(), 1, "an accepted message is not posted again");
    site.audit();
    host.stop();
}

#[test]
fn a_provider_that_is_down_makes_its_queue_wait_with_the_reason_and_gets_it_when_it_is_back() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "", "");
    let address = server.address();
    drop(server);
    let host = site.start();
    host.client().submit(JO, &[ANN], &messages::simple("patience"));
    let queue =
        eventually("a queue in retry", || site.queue("hook").filter(|queue| queue["state"] == "retry"));
    assert!(queue["last_error"].as_str().is_some_and(|e| e.contains("4.4.1")), "{queue}");
    assert!(queue["next_retry"].is_string(), "{queue}");
    let server = WebhookServer::start_on(address);
    assert_eq!(server.wait_for(1)[0].message, messages::simple("patience"));
    wait_for_event(&site, ANN, "deliver");
    assert_eq!(site.ask(&["queue", "list"]), json!([]));
    site.audit();
    host.stop();
}

#[test]
fn an_address_that_was_not_granted_is_not_asked_and_the_reason_says_what_to_grant() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "", "grants = { http = [\"https://hook.example/\"] }");
    let host = site.start();
    let id = host.client().submit(JO, &[ANN], &messages::simple("denied"));
    let queue =
        eventually("a queue in retry", || site.queue("hook").filter(|queue| queue["state"] == "retry"));
    let reason = queue["last_error"].as_str().unwrap_or_default();
    let needed = format!("http = [\"http://{}/\"]", server.address());
    assert!(reason.contains("not granted") && reason.contains(&needed), "{queue}");
    let shown = site.ask(&["message", "show", &id]);
    assert_eq!(shown["items"][0]["recipients"][0]["state"], "queued", "{shown}");
    assert!(server.posted().is_empty());
    assert_eq!(site.audit()["queued"], 1);
    host.stop();
}
