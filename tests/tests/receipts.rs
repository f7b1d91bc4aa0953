//! What the far end says later: again, otherwise, in any order, about the wrong address or not at all. A real agent in the
//! sandbox asks a real HTTP server (`host/agent/tests/agents/far-words.wat` says how it answers).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Host, Site, SmtpSink, WebhookServer, cli, dsn, eventually, http, messages};
use serde_json::json;

const JO: &str = "jo@home.example";

/// The name under which the server is asked for its words.
const WORDS: &str = "words";

/// A site with the agent for `words.example`, and a smart host for reports.
fn site(server: &WebhookServer, sink: &SmtpSink) -> Site {
    let site = Site::new().send("out", "SMTP:*;50", sink.address(), "");
    let agent = cli::root().join("host/agent/tests/agents/far-words.wat");
    let path = encode::encode_into(&agent, site.folder());
    let origin = format!("http://{}/", server.address());
    site.section(&format!(
        "[delivery_agent_connectors.words]\naddress_spaces = [\"SMTP:words.example\"]\nagent = {path:?}\n\
         grants = {{ http = [\"{origin}\"] }}\nreceipt_poll_interval = \"1s\"\n\
         settings = {{ url = \"{origin}receipts/{WORDS}\" }}"
    ))
}

/// How many receipts did this, by the metrics of this run of the host.
fn counted(host: &Host, what: &str) -> u64 {
    let (_, text) = http::get(host.admin(), "/metrics");
    let start = format!("postern_receipts_total{{connector=\"words\",what=\"{what}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |value| value.parse().unwrap())
}

fn wait_for_count(host: &Host, what: &str, least: u64) {
    eventually(&format!("{least} receipts that are {what}"), || (counted(host, what) >= least).then_some(()));
}

/// Sends a message of its own, asking for every report.
fn send(host: &Host, user: &str) -> String {
    let recipient = format!("{user}@words.example> NOTIFY=SUCCESS,FAILURE,DELAY");
    host.client().submit(JO, &[&recipient], &messages::simple(user))
}

fn wait_for_event(site: &Site, user: &str, event: &str) -> Vec<String> {
    let address = format!("{user}@words.example");
    eventually(&format!("the event {event} of {user}"), || {
        let events = site.events(&address);
        events.iter().any(|e| e == event).then_some(events)
    })
}

/// Waits for the answers of two more polls to be settled.
fn wait_for_polls(server: &WebhookServer, host: &Host) {
    let before = server.asked(WORDS);
    eventually("two more polls", || (server.asked(WORDS) >= before + 2).then_some(()));
    // The first of them is settled when something that comes with every poll has been counted twice more.
    let pending = counted(host, "pending");
    wait_for_count(host, "pending", pending + 2);
}

/// What the reports that arrived say: the action and whom it is about.
fn reports(sink: &SmtpSink) -> Vec<(String, String)> {
    let read = |text: String| {
        let fields = dsn::status_fields(&text);
        let about = dsn::field(&fields, "Final-Recipient").trim_start_matches("rfc822; ").to_owned();
        (dsn::field(&fields, "Action").to_owned(), about)
    };
    let mut all: Vec<_> = sink.arrived().iter().map(|arrived| read(arrived.text())).collect();
    all.sort();
    all
}

#[test]
fn whatever_is_said_again_otherwise_or_about_others_changes_nothing_over_a_restart() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink);
    let host = site.start();
    // One id for two messages, one of its own, and one that is never told of, so that the polls go on.
    for user in ["r1-ann", "r1-ben", "r2-cat", "r9-zoe"] {
        send(&host, user);
        wait_for_event(&site, user, "accept");
    }

    // Without an address nobody knows which of the two is meant, and a stranger's address is nobody's. In every answer
    // there is also a word that is not final.
    let eve = "r1-eve@words.example";
    server.receipt(WORDS, json!(format!("r1d00r1d{:02}{eve}r9p00", eve.len())));
    wait_for_count(&host, "ambiguous", 2);
    wait_for_count(&host, "unknown", 1);
    for user in ["r1-ann", "r1-ben"] {
        assert_eq!(site.events(&format!("{user}@words.example")), ["receive", "accept"]);
    }
    assert_eq!((site.audit()["pending"].clone(), sink.arrived().len()), (json!(4), 0));

    // The later message is told of before the earlier, the first word about it counts, and the others come again with
    // every poll.
    let ben = "r1-ben@words.example";
    server.receipt(WORDS, json!(format!("r2d00r1f{n}{ben}r1d{n}{ben}r1f{n}{ben}r9p00", n = ben.len())));
    wait_for_event(&site, "r1-ben", "fail");
    wait_for_event(&site, "r2-cat", "deliver");
    wait_for_count(&host, "contradicts", 3);
    wait_for_count(&host, "repeated", 3);
    host.kill();

    let audit = site.audit();
    assert_eq!((&audit["pending"], &audit["failed"]), (&json!(2), &json!(1)), "{audit}");
    let host = site.start();
    wait_for_count(&host, "contradicts", 2);
    wait_for_polls(&server, &host);
    let events = ["receive", "accept", "fail", "receipt"];
    assert_eq!(site.events(ben), events, "the contradiction is told once, and the outcome stands");
    let told = site.ask(&["track", "--recipient", ben, "--event", "receipt"]);
    assert_eq!(told[0]["response"], "250 2.0.0 done", "{told}");
    assert_eq!(site.events("r1-ann@words.example"), ["receive", "accept"]);

    // Now only one waits for the id, and it needs no address.
    server.receipt(WORDS, json!("r1d00r2f00r9p00"));
    wait_for_event(&site, "r1-ann", "deliver");
    wait_for_polls(&server, &host);
    let expected = [("delivered", "r1-ann"), ("delivered", "r2-cat"), ("failed", "r1-ben")];
    let expected = expected.map(|(action, user)| (action.to_owned(), format!("{user}@words.example")));
    eventually("the reports", || (reports(&sink).len() >= expected.len()).then_some(()));
    wait_for_polls(&server, &host);
    assert_eq!(reports(&sink), expected, "each sender was told once");
    let audit = site.audit();
    assert_eq!((&audit["pending"], &audit["failed"]), (&json!(1), &json!(1)), "{audit}");
    host.stop();
    site.audit();
}

#[test]
fn silence_is_told_by_the_rule_of_the_connector() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let rules = [("failure-dsn", "failed"), ("delay-dsn", "delayed"), ("success", "relayed")];
    let mut site = Site::new().send("out", "SMTP:*;50", sink.address(), "");
    for (rule, _) in rules {
        let lines = format!("receipt_expires_after = \"1s\"\non_receipt_expiry = \"{rule}\"");
        let space = format!("SMTP:{rule}.example");
        site = site.webhook(rule, &space, &server.url(), &server.receipt_setting(), &lines);
        server.answer(HttpAnswer::json(202, &json!({ "receipt": rule })));
    }
    let host = site.start();
    for (rule, action) in rules {
        let recipient = format!("ann@{rule}.example");
        let asking = format!("{recipient}> NOTIFY=SUCCESS,FAILURE,DELAY");
        let before = sink.arrived().len();
        host.client().submit(JO, &[&asking], &messages::simple(rule));
        let report = sink.wait_for(before + 1)[before].text();
        let fields = dsn::status_fields(&report);
        assert_eq!(dsn::field(&fields, "Action"), action, "{fields:?}");
        assert!(fields.iter().all(|(name, _)| name != "Will-Retry-Until"), "{fields:?}");
        assert!(report.contains("Subject: Not confirmed: "), "{report}");
        let reason = dsn::field(&fields, "Diagnostic-Code");
        assert!(reason.contains("which never said what became of it"), "{reason}");
        eventually("the end of the wait in tracking", || {
            (site.events(&recipient) == ["receive", "accept", "unknown"]).then_some(())
        });
    }
    let audit = eventually("the reports in the books", || {
        let audit = site.audit();
        (audit["queued"] == 0).then_some(audit)
    });
    assert_eq!(audit["unknown"], 3, "{audit}");
    host.stop();
}
