//! The profiles for real SMS gateways against the real programs: mail comes in by SMTP, the program sends it through a modem
//! (simulated, or its own dummy), and the sender is told what became of it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use postern_tests::far_program::is_installed;
use postern_tests::wait::within;
use postern_tests::{GammuSmsd, Modem, Site, Smsd, SmtpSink, dsn, eventually, gateway};
use serde_json::json;

const JO: &str = "jo@home.example";
/// These programs look every second or two, and try several times before they give up.
const PATIENCE: Duration = Duration::from_secs(90);

/// A site whose text messages go to a gateway with a folder of its own beside the site's files.
fn site(reports: &SmtpSink, profile: &str, outgoing: &str, lines: &str) -> Site {
    let site = Site::new();
    let folder = site.folder().join("far");
    fs::create_dir(&folder).expect("a folder in our own folder");
    let lines = format!(
        "drop_directory = {:?}\nprofile = \"{profile}\"\nsuccess_on = \"result\"\n{lines}",
        folder.join(outgoing).display().to_string()
    );
    site.foreign("sms", "SMS:*", &lines).send("back", "SMTP:home.example", reports.address(), "")
}

fn far(site: &Site) -> PathBuf {
    site.folder().join("far")
}

fn message(subject: &str, text: &str) -> Vec<u8> {
    format!(
        "From: {JO}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

/// The report about a recipient whose number ends so: its action, its status and its text.
fn report(sink: &SmtpSink, count: usize, number: &str) -> (String, String, String) {
    let arrived = within(PATIENCE, "a report", || (sink.arrived().len() >= count).then(|| sink.arrived()));
    let about = |text: &str| dsn::field(&dsn::status_fields(text), "Final-Recipient").contains(number);
    let text = arrived.iter().map(|message| message.text().to_string()).find(|text| about(text));
    let text = text.unwrap_or_else(|| panic!("no report about {number}"));
    let fields = dsn::status_fields(&text);
    let field = |name: &str| dsn::field(&fields, name).to_owned();
    (field("Action"), field("Status"), text)
}

fn rcpt(number: &str, notify: &str) -> String {
    format!("IMCEASMS-{number}@gw.example> NOTIFY={notify}")
}

#[test]
fn smsd_sends_what_it_is_given_and_its_reports_become_dsns() {
    if !is_installed("smsd_sends_what_it_is_given_and_its_reports_become_dsns", "smsd", "smstools") {
        return;
    }
    let reports = SmtpSink::start();
    let site = site(&reports, "smstools", "outgoing", "");
    let folder = far(&site);
    Smsd::folders(&folder);
    let modem = Modem::start(&folder.join("tty"));
    let smsd = Smsd::start(&folder);
    let host = site.start();

    // A status report of the network: delivered.
    host.client().submit(JO, &[&rcpt("+2B15551230001", "SUCCESS,FAILURE")], &message("s", "Hello {1}"));
    let (action, status, _) = report(&reports, 1, "15551230001");
    assert_eq!((action.as_str(), status.as_str()), ("delivered", "2.0.0"), "{}", smsd.log());
    let sent = modem.sent();
    assert_eq!((sent[0].number.as_str(), sent[0].international, sent[0].report), ("15551230001", true, true));

    // A number that the network refuses: failed, with the reason of the modem.
    host.client().submit(JO, &[&rcpt("+2B99955", "SUCCESS,FAILURE")], &message("s", "refused"));
    let (action, status, text) = report(&reports, 2, "99955");
    assert_eq!((action.as_str(), status.as_str()), ("failed", "5.1.1"), "{}", smsd.log());
    assert!(text.contains("CMS ERROR: 28"), "{text}");

    // A negative status report: failed.
    modem.report_as(69);
    host.client().submit(JO, &[&rcpt("+2B15551230002", "SUCCESS,FAILURE")], &message("s", "nobody"));
    let (action, status, _) = report(&reports, 3, "15551230002");
    assert_eq!((action.as_str(), status.as_str()), ("failed", "5.1.1"), "{}", smsd.log());

    // Two recipients without a wish for reports get a message each, in UCS2 with every letter in its place.
    let two = [rcpt("+2B15551230003", "FAILURE"), rcpt("0170555", "FAILURE")];
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    host.client().submit(JO, &two, &message("s", "5 \u{20ac} f\u{fc}r \u{4e2d}"));
    within(PATIENCE, "both are sent", || (modem.sent().len() == 4).then_some(()));
    for sent in &modem.sent()[2..] {
        assert_eq!((sent.ucs2().as_str(), sent.report), ("5 \u{20ac} f\u{fc}r \u{4e2d}", false), "{sent:?}");
    }
    let local = modem.sent().into_iter().find(|sent| sent.number == "0170555").expect("it was sent");
    assert!(!local.international, "a number without a country code is dialled as it is");

    // What is no number, or has no text, never comes near smsd.
    host.client().submit(JO, &[&rcpt("jo", "FAILURE")], &message("s", "x"));
    let (action, status, _) = report(&reports, 4, "jo");
    assert_eq!((action.as_str(), status.as_str()), ("failed", "5.1.3"));
    host.client().submit(JO, &[&rcpt("+2B15551230004", "FAILURE")], &message("", ""));
    let (action, status, _) = report(&reports, 5, "15551230004");
    assert_eq!((action.as_str(), status.as_str()), ("failed", "5.6.1"));

    within(PATIENCE, "an empty queue", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    assert_eq!(modem.sent().len(), 4, "nothing was sent twice");
    for left in ["outgoing", "checked", "sent", "failed", "report"] {
        eventually("empty folders", || gateway::files(&folder.join(left)).is_empty().then_some(()));
    }
    site.audit();
    host.stop();
}

#[test]
fn gammu_smsd_sends_what_it_is_given_and_the_sender_is_told() {
    if !is_installed("gammu_smsd_sends_what_it_is_given_and_the_sender_is_told", "gammu-smsd", "gammu-smsd") {
        return;
    }
    let reports = SmtpSink::start();
    let site = site(&reports, "gammu", "outbox", "");
    let folder = far(&site);
    GammuSmsd::folders(&folder);
    let host = site.start();
    let text = "Gr\u{fc}\u{df}e f\u{fc}r 5 \u{20ac}";
    let mut client = host.client();
    client.submit(JO, &[&rcpt("+2B15551230001", "SUCCESS,FAILURE")], &message("s", text));
    let outbox = folder.join("outbox");
    let name = eventually("a file", || {
        let path = gateway::files(&outbox).pop()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    });
    assert!(name.starts_with("OUTM") && name.contains("_+15551230001_") && name.ends_with(".txtd"), "{name}");
    let gammu = GammuSmsd::start(&folder, &GammuSmsd::dummy(&folder));
    let (action, status, _) = report(&reports, 1, "15551230001");
    assert_eq!((action.as_str(), status.as_str()), ("relayed", "2.0.0"), "{}", gammu.log());
    assert!(gammu.log().contains("15551230001"), "{}", gammu.log());

    // The longest text that it sends arrives whole, and a longer one is refused before it could cut it.
    client.submit(
        JO,
        &[&rcpt("+2B15551230002", "SUCCESS,FAILURE")],
        &message("s", &"0123456789".repeat(800)),
    );
    let (action, _, _) = report(&reports, 2, "15551230002");
    assert_eq!(action, "relayed", "{}", gammu.log());
    client.submit(JO, &[&rcpt("+2B15551230003", "FAILURE")], &message("s", &"0123456789".repeat(801)));
    let (action, status, _) = report(&reports, 3, "15551230003");
    assert_eq!((action.as_str(), status.as_str()), ("failed", "5.2.3"));
    client.submit(JO, &[&rcpt("jo", "FAILURE")], &message("s", "x"));
    assert_eq!(report(&reports, 4, "jo").1, "5.1.3");

    within(PATIENCE, "an empty queue", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    for left in ["outbox", "sent", "error"] {
        eventually("empty folders", || gateway::files(&folder.join(left)).is_empty().then_some(()));
    }
    site.audit();
    host.stop();
}

#[test]
fn a_file_that_blocks_gammu_smsd_is_taken_back_after_a_time_and_the_sender_is_told() {
    // A number that the network refuses stays in the outbox for ever, and everything behind it; nothing else happens to it.
    let reports = SmtpSink::start();
    let site = site(&reports, "gammu", "outbox", "expire_after = \"5s\"\n");
    GammuSmsd::folders(&far(&site));
    let outbox = far(&site).join("outbox");
    let host = site.start();
    host.client().submit(JO, &[&rcpt("+2B99955", "FAILURE")], &message("s", "refused"));
    eventually("a file", || gateway::files(&outbox).pop());
    let (action, _, text) = report(&reports, 1, "99955");
    assert_eq!(action, "failed", "{text}");
    assert!(gateway::files(&outbox).is_empty(), "the rest goes on");
    site.audit();
    host.stop();
}
