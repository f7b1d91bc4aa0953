//! The optional interfaces of the agent contract in a real host: hand-written components, real mail.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use postern_tests::{Site, SmtpSink, cli, eventually, messages};

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
