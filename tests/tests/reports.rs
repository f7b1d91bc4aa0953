//! What senders are told, and what is left to a smart host that reports by itself (RFC 3461).

use std::fs;

use postern_tests::{Site, SmtpSink, dsn, eventually, gateway, http, messages};
use serde_json::json;

const JO: &str = "jo@home.example";

/// A site whose mail goes to one smart host, and whose reports go to another.
fn site(smart_host: &SmtpSink, reports: &SmtpSink) -> Site {
    Site::new().send("far", "SMTP:far.example", smart_host.address(), "").send(
        "back",
        "SMTP:home.example",
        reports.address(),
        "",
    )
}

fn empty(site: &Site) {
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
}

#[test]
fn a_smart_host_gets_the_envelope_with_its_parameters_and_the_message_below_one_trace_field() {
    let (sink, reports) = (SmtpSink::start(), SmtpSink::start());
    let site = site(&sink, &reports);
    let host = site.start();
    let message = messages::simple("onward");
    let sender = "jo@home.example> RET=HDRS ENVID=env+2B1 BODY=8BITMIME";
    let recipient = "ann@far.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old@far.example";
    let id = host.client().submit(sender, &[recipient, "ben@far.example> NOTIFY=NEVER"], &message);
    let arrived = sink.wait_for(1).remove(0);
    assert_eq!((arrived.sender.as_str(), arrived.recipients.len()), (JO, 2));
    let (mail, rcpt) = (&arrived.received.mail.params, &arrived.received.recipients);
    assert_eq!(mail.envelope_id.as_deref(), Some("env+1"));
    assert_eq!(mail.ret, Some(postern_smtp::Ret::Headers));
    let notify = rcpt[0].params.notify.expect("NOTIFY was passed on");
    assert_eq!((notify.success, notify.failure, notify.delay), (true, false, true));
    assert_eq!(rcpt[0].params.original.as_ref().map(|o| o.address.as_str()), Some("old@far.example"));
    let never = rcpt[1].params.notify.expect("NOTIFY=NEVER was passed on");
    assert!(!never.success && !never.failure && !never.delay);
    let text = arrived.text();
    let trace =
        text.strip_suffix(&*String::from_utf8_lossy(&message)).expect("the message is as it was sent");
    assert!(trace.starts_with("Received: from client.example ([127.0.0.1])\r\n\tby gw.example"), "{trace}");
    assert!(
        trace.contains(&id) && trace.matches("Received:").count() == 1 && trace.ends_with("\r\n"),
        "{trace}"
    );
    empty(&site);
    site.audit();
    host.stop();
    assert!(reports.arrived().is_empty(), "the smart host reports by itself");
}

#[test]
fn dsns_that_wait_are_shown_with_their_reason_and_leave_when_a_connector_takes_them() {
    let (sink, reports) = (SmtpSink::start(), SmtpSink::start());
    let mut site = Site::new().send("far", "SMTP:far.example", sink.address(), "");
    let host = site.start();
    let id = host.client().submit(JO, &["nobody@far.example"], &messages::simple("lost"));
    let waits =
        |site: &Site| site.queue("(outbox)").filter(|row| row["count"] == 1 && row["last_error"].is_string());
    let row = eventually("a row for the outbox", || waits(&site));
    assert_eq!((&row["state"], &row["destination"]), (&json!("waiting"), &json!("DSN")));
    let reason = "no connector has an address space for SMTP:jo@home.example";
    assert_eq!(row["last_error"], reason);
    assert!(row["next_retry"].is_string() && row["oldest"].is_string(), "{row}");
    let shown = site.ask(&["queue", "show", "(outbox)"]);
    let dsn = &shown[0]["items"][0];
    assert_eq!(
        (&dsn["message_id"], &dsn["recipient"], &dsn["kind"]),
        (&json!(id), &json!(JO), &json!("failed"))
    );
    assert_eq!(site.cli(&["queue", "suspend", "(outbox)"]).code, 3);
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_waiting_dsns 1\n"), "{metrics}");
    host.stop();
    let row = waits(&site).expect("it waits while the host is stopped");
    assert_eq!((&row["last_error"], &row["next_retry"]), (&json!(reason), &json!(null)));

    let host = site.start();
    eventually("the outbox after the start", || waits(&site));
    site = site.send("back", "SMTP:home.example", reports.address(), "");
    site.order(&["reload"]);
    assert!(reports.wait_for(1)[0].text().contains("Subject: lost"));
    empty(&site);
    site.audit();
    host.stop();
}

#[test]
fn a_dsn_that_the_smart_host_refuses_lies_in_bad_mail_and_is_counted() {
    let (sink, reports) = (SmtpSink::start(), SmtpSink::start());
    let site = site(&sink, &reports);
    let host = site.start();
    // The sink knows nobody of this name: neither as the recipient, nor as the sender who is told so.
    let id = host.client().submit("nobody@home.example", &["nobody@far.example"], &messages::simple("lost"));
    let file = eventually("a file in BadMail", || {
        fs::read_dir(site.data().join("badmail")).ok()?.next().map(|entry| entry.unwrap().path())
    });
    empty(&site);
    let report = fs::read_to_string(&file).unwrap();
    assert_eq!(dsn::field(&dsn::status_fields(&report), "Action"), "failed");
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let failed = site.track(&["--event", "fail", "--recipient", "nobody@home.example"]);
    assert!(failed.len() == 1 && failed[0]["details"].to_string().contains(&name), "{failed:?}");
    assert_eq!(site.track(&["--message", &id]).len(), 2);
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_bad_mail_total 1\n"), "{metrics}");
    let audit = site.audit();
    assert_eq!((&audit["generated"], &audit["failed"]), (&1.into(), &2.into()));
    host.stop();
}

#[test]
fn a_smart_host_that_does_not_report_makes_us_say_that_we_relayed() {
    let (sink, reports) = (SmtpSink::start_without_dsn(), SmtpSink::start());
    let site = site(&sink, &reports);
    let host = site.start();
    let asked = "ann@far.example> NOTIFY=SUCCESS";
    host.client().submit(JO, &[asked, "ben@far.example"], &messages::simple("onward"));
    let report = reports.wait_for(1).remove(0);
    assert_eq!((report.sender.as_str(), report.recipients), ("", vec![JO.to_owned()]));
    let fields = dsn::status_fields(&String::from_utf8_lossy(&report.content));
    assert_eq!(dsn::field(&fields, "Action"), "relayed");
    let told: Vec<_> =
        fields.iter().filter(|(name, _)| name == "Final-Recipient").map(|(_, who)| who).collect();
    assert_eq!(told, ["rfc822; ann@far.example"], "only who was asked about");
    empty(&site);
    site.audit();
    host.stop();
}

#[test]
fn one_recipient_that_the_smart_host_refuses_is_reported_and_the_other_gets_the_message() {
    let (sink, reports) = (SmtpSink::start(), SmtpSink::start());
    let site = site(&sink, &reports);
    let host = site.start();
    let to = ["nobody@far.example", "ann@far.example", "nobody@far.example> NOTIFY=NEVER"];
    host.client().submit(&format!("{JO}> RET=FULL"), &to, &messages::simple("half"));
    assert_eq!(sink.wait_for(1)[0].recipients, ["ann@far.example"]);
    let report = reports.wait_for(1)[0].text();
    let fields = dsn::status_fields(&report);
    assert_eq!(fields.iter().filter(|(name, _)| name == "Final-Recipient").count(), 1, "{fields:?}");
    assert_eq!((dsn::field(&fields, "Action"), dsn::field(&fields, "Status")), ("failed", "5.1.1"));
    assert!(dsn::field(&fields, "Diagnostic-Code").contains("there is nobody"), "{fields:?}");
    assert!(dsn::field(&fields, "Remote-MTA").starts_with("dns; "), "{fields:?}");
    assert!(report.contains(".this line begins with a dot"), "RET=FULL gives the message back: {report}");
    empty(&site);
    site.audit();
    host.stop();
    assert_eq!(reports.arrived().len(), 1);
}

#[test]
fn a_drop_directory_is_reported_as_relayed_when_published_or_when_taken() {
    let reports = SmtpSink::start();
    let site = Site::new()
        .foreign("pbx", "SMTP:pbx.example", "")
        .foreign("fax", "SMTP:fax.example", "success_on = \"taken\"")
        .send("back", "SMTP:home.example", reports.address(), "");
    let host = site.start();
    let mut client = host.client();
    client.submit(JO, &["ann@fax.example> NOTIFY=SUCCESS"], &messages::simple("fax"));
    eventually("the file", || (!gateway::files(&site.drop_directory("fax")).is_empty()).then_some(()));
    client.submit(JO, &["ann@pbx.example> NOTIFY=SUCCESS"], &messages::simple("pbx"));
    let first = dsn::status_fields(&reports.wait_for(1)[0].text());
    assert_eq!(dsn::field(&first, "Final-Recipient"), "rfc822; ann@pbx.example");
    assert_eq!(dsn::field(&first, "Action"), "relayed");
    assert_eq!(site.events("ann@fax.example"), ["receive", "accept"]);
    assert_eq!(site.audit()["pending"], 1);

    assert_eq!(gateway::take(&site.drop_directory("fax")).len(), 1);
    let second = dsn::status_fields(&reports.wait_for(2)[1].text());
    assert_eq!(dsn::field(&second, "Final-Recipient"), "rfc822; ann@fax.example");
    assert_eq!(dsn::field(&second, "Action"), "relayed");
    assert_eq!(site.events("ann@fax.example"), ["receive", "accept", "relay", "taken"]);
    empty(&site);
    host.stop();
}

#[test]
fn a_message_that_expires_is_reported_and_one_that_is_late_before_that() {
    let (reports, nowhere) = (SmtpSink::start(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let dead = nowhere.local_addr().unwrap();
    drop(nowhere);
    let lines = "expire_after = \"6s\"\ndelay_dsn_after = \"2s\"";
    let site = Site::new().send("far", "SMTP:far.example", dead, lines).send(
        "back",
        "SMTP:home.example",
        reports.address(),
        "",
    );
    let host = site.start();
    host.client().submit(JO, &["ann@far.example> NOTIFY=FAILURE,DELAY"], &messages::simple("too late"));
    let told = reports.wait_for(2);
    let [late, failed] = [0, 1].map(|n| dsn::status_fields(&told[n].text()));
    assert_eq!(dsn::field(&late, "Action"), "delayed");
    assert!(!dsn::field(&late, "Will-Retry-Until").is_empty());
    assert_eq!(dsn::field(&failed, "Action"), "failed");
    assert_eq!(dsn::field(&failed, "Status"), "5.4.7", "RFC 3463: the delivery time expired");
    empty(&site);
    assert_eq!(site.audit()["expired"], 1);
    host.stop();
}
