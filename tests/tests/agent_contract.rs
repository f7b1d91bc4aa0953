//! The optional interfaces of the agent contract in a real host: hand-written components, real mail.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use postern_tests::{Site, SmtpSink, cli, eventually, messages};
use serde_json::json;

const JO: &str = "jo@home.example";

/// A site whose connector `agent` runs a hand-written agent, with a smart host for what goes back.
fn site(agent: &str, lines: &str, sink: &SmtpSink) -> Site {
    let site = Site::new();
    let file = cli::root().join("host/agent/tests").join(agent).with_extension("wat");
    let component = encode::encode_into(&file, site.folder());
    let path = component.display().to_string();
    site.section(&format!(
        "[delivery_agent_connectors.agent]\naddress_spaces = [\"SMTP:agent.example\"]\n\
         agent = {path:?}\nretry = \"1s\"\n{lines}"
    ))
    .send("out", "SMTP:*;50", sink.address(), "")
}

#[test]
fn a_receipt_that_arrives_by_itself_on_an_idle_connection_completes_the_story() {
    let sink = SmtpSink::start();
    let site = site("agents/session", "keep_open = true", &sink);
    let host = site.start();
    let mut client = host.client();
    assert_eq!(client.command("MAIL FROM:<jo@home.example>").code, 250);
    assert_eq!(client.command("RCPT TO:<ann@agent.example> NOTIFY=SUCCESS").code, 250);
    assert_eq!(client.data(&messages::simple("with a receipt")).unwrap().code, 250);
    let events = eventually("the receipt", || {
        let events = site.events("ann@agent.example");
        events.contains(&"deliver".to_owned()).then_some(events)
    });
    assert_eq!(events, ["receive", "accept", "deliver"]);
    // Success is reported only now that it is true.
    let report = String::from_utf8_lossy(&sink.wait_for(1)[0].content).into_owned();
    assert!(report.contains("Action: delivered"), "{report}");
    host.stop();
    assert_eq!(site.audit()["delivered"], 1);
}

#[test]
fn an_agent_gets_no_larger_message_than_it_says_it_takes() {
    let sink = SmtpSink::start();
    let site = site("agents/small", "", &sink);
    let host = site.start();
    let mut client = host.client();
    client.submit(JO, &["ann@agent.example"], &messages::sized("small", 1000));
    client.submit(JO, &["ben@agent.example"], &messages::sized("large", 4000));
    let report = String::from_utf8_lossy(&sink.wait_for(1)[0].content).into_owned();
    assert!(report.contains("Status: 5.3.4"), "{report}");
    assert!(report.contains("the delivery agent takes at most 2000"), "{report}");
    eventually("both", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    host.stop();
    let audit = site.audit();
    assert_eq!((&audit["delivered"], &audit["failed"]), (&json!(1), &json!(1)), "{audit}");
}

#[test]
fn an_agent_gets_no_message_without_a_part_of_a_type_that_it_accepts() {
    let sink = SmtpSink::start();
    let site = site("agents/pictures", "", &sink);
    let host = site.start();
    let mut client = host.client();
    let picture = b"Subject: a map\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nsee below\r\n--b\r\nContent-Type: Image/TIFF\r\n\r\nII*\r\n--b--\r\n";
    client.submit(JO, &["ann@agent.example"], picture);
    client.submit(JO, &["ben@agent.example"], &messages::simple("words only"));
    let report = String::from_utf8_lossy(&sink.wait_for(1)[0].content).into_owned();
    assert!(report.contains("Status: 5.6.1") && report.contains("ben@agent.example"), "{report}");
    assert!(report.contains("the delivery agent takes image/*"), "{report}");
    eventually("both", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    host.stop();
    let audit = site.audit();
    assert_eq!((&audit["delivered"], &audit["failed"]), (&json!(1), &json!(1)), "{audit}");
}

#[test]
fn items_that_are_due_together_reach_the_agent_in_one_call() {
    let sink = SmtpSink::start();
    let site = site("agents/batch", "batch_size = 5\nmax_concurrent_connections = 1", &sink);
    let host = site.start();
    site.order(&["queue", "suspend", "agent/agent.example"]);
    let mut client = host.client();
    for n in 0..10 {
        client.submit(JO, &["ann@agent.example"], &messages::simple(&format!("no. {n}")));
    }
    site.order(&["queue", "resume", "agent/agent.example"]);
    eventually("all deliveries", || (site.audit()["delivered"] == 10).then_some(()));
    let tracked = site.ask(&["track", "--recipient", "ann@agent.example", "--event", "deliver"]);
    let said = tracked.as_array().unwrap().iter().map(|row| row["response"].as_str().unwrap_or_default());
    // Alone it says "test agent".
    assert_eq!(said.filter(|response| response.ends_with("done")).count(), 10, "{tracked}");
    host.stop();
}

#[test]
fn state_is_kept_with_each_delivery_and_over_a_restart() {
    let sink = SmtpSink::start();
    // This agent fails when its state is not what it wrote last.
    let lines = "grants = { state = \"1KiB\" }\nmax_concurrent_connections = 1";
    let site = site("agents/state", lines, &sink);
    let mut delivered = 0;
    for _ in 0..2 {
        let host = site.start();
        for _ in 0..5 {
            delivered += 1;
            host.client().submit(JO, &["ann@agent.example"], &messages::simple("counted"));
        }
        eventually("the deliveries", || (site.audit()["delivered"] == delivered).then_some(()));
        host.kill();
    }
    let state = state_of(&site);
    assert_eq!(state, "x".repeat(10));
}

/// The value that the agent keeps under its one key.
fn state_of(site: &Site) -> String {
    let database = rusqlite::Connection::open(site.data().join("queue.db")).unwrap();
    let value: Vec<u8> =
        database.query_row("SELECT value FROM agent_state WHERE key = 'done'", [], |row| row.get(0)).unwrap();
    String::from_utf8(value).unwrap()
}

#[test]
fn state_that_is_full_defers_what_was_reported_with_it() {
    let sink = SmtpSink::start();
    // Room for the key and one letter.
    let site = site("agents/state", "grants = { state = 5 }\nmax_concurrent_connections = 1", &sink);
    let host = site.start();
    let mut client = host.client();
    client.submit(JO, &["ann@agent.example"], &messages::simple("fits"));
    eventually("the first", || (site.audit()["delivered"] == 1).then_some(()));
    client.submit(JO, &["ben@agent.example"], &messages::simple("does not fit"));
    eventually("a deferral", || site.events("ben@agent.example").contains(&"defer".to_owned()).then_some(()));
    assert_eq!((site.audit()["delivered"].clone(), state_of(&site)), (json!(1), "x".to_owned()));
    host.stop();
}

#[test]
fn mail_from_the_far_side_comes_in_once_for_each_of_its_ids() {
    let sink = SmtpSink::start();
    let site = site("agents/inbound", "grants = { inbound = true }", &sink);
    let host = site.start();
    for n in 1..=2 {
        // The agent hands the same message in at each delivery.
        host.client().submit(JO, &["ann@agent.example"], &messages::simple("out"));
        eventually("the delivery", || (site.audit()["delivered"] == n).then_some(()));
    }
    let arrived = sink.wait_for(1);
    assert_eq!(
        (arrived[0].sender.as_str(), arrived[0].recipients.as_slice()),
        ("", &["ann@inside.example".to_owned()][..])
    );
    assert!(String::from_utf8_lossy(&arrived[0].content).contains("Subject: from outside"));
    eventually("its relay", || (site.audit()["relayed"] == 1).then_some(()));
    assert_eq!(site.audit()["accepted"], 3, "two out, one in");
    host.stop();
}

#[test]
fn an_agent_of_an_unknown_version_is_refused_by_name_wherever_it_comes_from() {
    let sink = SmtpSink::start();
    let site = site("agents/deliver-all", "", &sink);
    let place = site.folder().join("deliver-all.wasm");
    let file = place.to_str().unwrap();
    assert_eq!(site.ask(&["agent", "inspect", file])["contract"], "0.1.0");
    assert_eq!(site.ask(&["check"])["ok"], true);

    let alien = "(component (instance $i)
        (export \"postern:delivery-agent/agent@7.3.0\" (instance $i)))";
    let served = std::fs::read(&place).unwrap();
    std::fs::write(&place, wat::parse_str(alien).unwrap()).unwrap();
    let why = "was built for version 7.3.0 of the delivery agent contract; this host serves 0.1.0";
    let install = ["agent", "install", file, "--connector", "agent"];
    for words in [&["check"][..], &["agent", "inspect", file], &install] {
        let answer = site.cli(words);
        assert!(answer.text().contains(why), "{words:?}: {answer:?}");
        assert!(words == ["check"] || answer.code != 0, "{words:?}: {answer:?}");
    }
    // The host runs all the same; the mail waits until a version lies there that it serves.
    let host = site.start();
    host.client().submit(JO, &["ann@agent.example"], &messages::simple("waits"));
    let row = site.connector("agent");
    assert!(row["reason"].as_str().unwrap_or_default().contains(why), "{row}");
    assert_eq!(site.audit()["delivered"], 0);
    std::fs::write(&place, served).unwrap();
    site.order(&["reload"]);
    eventually("the delivery", || (site.audit()["delivered"] == 1).then_some(()));
    let list = site.ask(&["agent", "list"]);
    assert_eq!(list[0]["versions"][0]["contract"], "0.1.0", "{list}");
    host.stop();
}
