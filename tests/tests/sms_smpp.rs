//! Mail out as short messages: the real component in a real host, against two message centres: the simulator, and npm's
//! `smpp`, which is not ours. What holds must hold with both.

use std::os::unix::fs::PermissionsExt as _;

use postern_tests::message_centre::Faults;
use postern_tests::{Host, MessageCentre, Site, SmtpSink, cli, eventually};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";
const ANN: &str = "4930123456@sms.example";

/// A site whose connector `sms` sends to the message centre; what goes back to senders goes to the sink.
fn site(centre: &MessageCentre, sink: &SmtpSink, settings: &str, lines: &str) -> Site {
    let agent = cli::root().join("plugins/prebuilt/sms-smpp.wasm").display().to_string();
    let address = centre.address();
    let site = Site::new();
    let secret = site.folder().join("smsc");
    std::fs::write(&secret, "let-me-in").expect("a file in our own folder");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    site.section(&format!(
        "[secrets]\nsmsc = {{ file = \"smsc\" }}\n\n\
             [delivery_agent_connectors.sms]\naddress_spaces = [\"SMTP:sms.example\"]\nagent = {agent:?}\n\
             retry = \"1s\"\nmax_concurrent_connections = 1\nkeep_open = true\n{lines}\n\
             grants = {{ tcp = [\"{address}\"], secrets = [\"smsc\"], inbound = true }}\n\
             [delivery_agent_connectors.sms.settings]\naddress = \"{address}\"\nsystem_id = \"postern\"\n\
             password = \"smsc\"\nsource = \"Postern\"\nthrottle_pause_seconds = 1\n{settings}"
    ))
    .send("out", "SMTP:*;50", sink.address(), "")
}

fn text(text: &str) -> Vec<u8> {
    format!(
        "From: {JO}\r\nTo: {ANN}\r\nSubject: page\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

/// Submits a text, and asks for a report of success.
fn submit(host: &Host, content: &[u8]) {
    let mut client = host.client();
    assert_eq!(client.command(&format!("MAIL FROM:<{JO}> BODY=8BITMIME")).code, 250);
    assert_eq!(client.command(&format!("RCPT TO:<{ANN}> NOTIFY=SUCCESS,FAILURE")).code, 250);
    assert_eq!(client.data(content).expect("the server replies").code, 250);
}

/// The one report that the sender gets.
fn report(sink: &SmtpSink) -> String {
    String::from_utf8_lossy(&sink.wait_for(1)[0].content).into_owned()
}

fn a_long_message_is_delivered_when_the_receipts_of_all_its_parts_have_come(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "", "");
    let host = site.start();
    let long = "Grüße für 5 € [x] ".repeat(12);
    submit(&host, &text(long.trim()));
    let report = report(&sink);
    assert!(report.contains("Action: delivered"), "{report}");
    let sent = centre.all("submit");
    assert_eq!(sent.len(), 2, "{sent:?}");
    let mut parts: Vec<(u64, String)> = sent
        .iter()
        .map(|part| {
            assert_eq!((&part["to"], &part["from"]), (&json!("4930123456"), &json!("Postern")));
            assert_eq!((&part["segment"][0], &part["data_coding"]), (&json!(2), &json!(0)));
            (
                part["segment"][1].as_u64().unwrap_or_default(),
                part["text"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    parts.sort();
    assert_eq!(parts.iter().map(|(_, text)| text.as_str()).collect::<String>(), long.trim());
    let bind = &centre.all("bind")[0];
    assert_eq!((&bind["system_id"], &bind["password"]), (&json!("postern"), &json!("let-me-in")));
    // Both were acknowledged, after the host had them.
    centre.wait_for("receipt_taken", 2).iter().for_each(|taken| assert_eq!(taken["status"], 0));
    host.stop();
    assert_eq!(site.audit()["delivered"], 1);
}

fn a_receipt_of_failure_is_told_to_the_sender(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "", "");
    let host = site.start();
    submit(&host, &text("hello"));
    let report = report(&sink);
    assert!(report.contains("Action: failed") && report.contains("UNDELIV"), "{report}");
    host.stop();
    assert_eq!(site.audit()["failed"], 1);
}

fn receipts_meet_their_message_however_they_come(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "", "");
    let host = site.start();
    submit(&host, &text("hello"));
    assert!(report(&sink).contains("Action: delivered"));
    host.stop();
    assert_eq!(site.audit()["delivered"], 1);
}

fn throttling_slows_the_queue_and_fails_no_message(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "", "");
    let host = site.start();
    submit(&host, &text("patience"));
    assert!(report(&sink).contains("Action: delivered"));
    assert_eq!(centre.all("submit").len(), 4, "three were throttled");
    let events = site.events(ANN);
    assert!(events.contains(&"defer".to_owned()) && !events.contains(&"fail".to_owned()), "{events:?}");
    host.stop();
}

fn a_message_whose_answer_was_cut_off_is_tried_again(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "", "");
    let host = site.start();
    submit(&host, &text("again"));
    assert!(report(&sink).contains("Action: delivered"));
    assert_eq!(centre.all("submit").len(), 2);
    let deferred = site.track(&["--recipient", ANN, "--event", "defer"]);
    let response = deferred[0]["response"].as_str().unwrap_or_default();
    assert!(response.contains("may have taken it"), "{response}");
    host.stop();
}

fn a_refused_bind_holds_the_queue_and_fails_no_message(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "", "");
    let host = site.start();
    submit(&host, &text("held"));
    let queue = eventually("the queue is suspended", || {
        site.queue("sms").filter(|queue| queue["state"] == "suspended")
    });
    assert!(queue.to_string().contains("invalid password"), "{queue}");
    assert_eq!(queue["count"], 1, "{queue}");
    assert!(centre.all("submit").is_empty());
    host.stop();
    assert_eq!(site.audit()["failed"], 0);
}

fn an_incoming_message_becomes_mail_and_is_acknowledged(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let settings = "inbound_to = \"desk@inside.example\"\ninbound_domain = \"sms.example\"";
    let site = site(centre, &sink, settings, "");
    let host = site.start();
    host.client().submit(JO, &[ANN], &text("hello"));
    let arrived = sink.wait_for(1);
    assert_eq!(arrived[0].recipients, ["desk@inside.example"]);
    let mail = arrived[0].text();
    assert!(mail.contains("eWVzLCBwbGVhc2U="), "{mail}");
    assert_eq!(centre.wait_for("incoming_taken", 1)[0]["status"], 0);
    host.stop();
}

fn an_idle_bind_is_kept_alive(centre: &MessageCentre) {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, "enquire_link_seconds = 1", "");
    let host = site.start();
    submit(&host, &text("no receipt comes"));
    let _ = centre.wait_for("enquire_link", 3);
    assert_eq!((centre.all("bind").len(), centre.all("submit").len()), (1, 1));
    host.stop();
    let _ = centre.wait_for("unbind", 1);
}

/// How long 20 messages take from the first to the last, in milliseconds, where each answer takes 100.
fn time_of_twenty(centre: &MessageCentre, window: u32) -> u64 {
    let sink = SmtpSink::start();
    let site = site(centre, &sink, &format!("window = {window}\nreceipts = false"), "batch_size = 20");
    let host = site.start();
    site.order(&["queue", "suspend", "sms/sms.example"]);
    let mut client = host.client();
    for n in 0..20 {
        client.submit(JO, &[ANN], &text(&format!("no. {n}")));
    }
    site.order(&["queue", "resume", "sms/sms.example"]);
    let sent = centre.wait_for("submit", 20);
    let at = |event: &Value| event["at_ms"].as_u64().expect("each event has its time");
    host.stop();
    at(&sent[19]) - at(&sent[0])
}

fn a_window_of_ten_is_at_least_five_times_as_fast(one: &MessageCentre, ten: &MessageCentre) {
    let (slow, fast) = (time_of_twenty(one, 1), time_of_twenty(ten, 10));
    assert!(slow >= 1900, "{slow} ms: each answer takes 100");
    assert!(slow >= 5 * fast, "window 1: {slow} ms, window 10: {fast} ms");
}

/// Each story with both message centres.
macro_rules! stories {
    ($($story:ident: $faults:expr;)*) => {
        mod simulated {
            use super::*;
            $(#[test] fn $story() { super::$story(&MessageCentre::simulated($faults)); })*

            #[test]
            fn a_window_of_ten_is_at_least_five_times_as_fast() {
                let [one, ten] = [(), ()].map(|()| MessageCentre::simulated(slow()));
                super::a_window_of_ten_is_at_least_five_times_as_fast(&one, &ten);
            }
        }

        mod third_party {
            use super::*;
            $(#[test] fn $story() {
                let test = concat!("third_party::", stringify!($story));
                if let Some(centre) = MessageCentre::third_party(test, $faults) {
                    super::$story(&centre);
                }
            })*

            #[test]
            fn a_window_of_ten_is_at_least_five_times_as_fast() {
                let start = || {
                    let test = "third_party::a_window_of_ten_is_at_least_five_times_as_fast";
                    MessageCentre::third_party(test, slow())
                };
                if let (Some(one), Some(ten)) = (start(), start()) {
                    super::a_window_of_ten_is_at_least_five_times_as_fast(&one, &ten);
                }
            }
        }
    };
}

stories! {
    a_long_message_is_delivered_when_the_receipts_of_all_its_parts_have_come: &[];
    a_receipt_of_failure_is_told_to_the_sender: &[("receipt", json!("failed"))];
    throttling_slows_the_queue_and_fails_no_message: &[("throttle", json!(3))];
    a_message_whose_answer_was_cut_off_is_tried_again: &[("cut", json!("submit")), ("cut_times", json!(1))];
    a_refused_bind_holds_the_queue_and_fails_no_message: &[("bind_status", json!(0x0E))];
    an_incoming_message_becomes_mail_and_is_acknowledged: &[("incoming", json!(["yes, please"]))];
    an_idle_bind_is_kept_alive: &[("receipt", json!("none"))];
    receipts_meet_their_message_however_they_come: &[("receipt_ids", json!("decimal")), ("receipt_order", json!("late"))];
}

/// Answers that take 100 ms each.
fn slow() -> Faults<'static> {
    Box::leak(Box::new([("delay_ms", json!(100)), ("receipt", json!("none"))]))
}

#[test]
fn a_receipt_before_its_answer_and_one_that_comes_twice_tell_the_sender_once() {
    for order in ["early", "twice"] {
        let centre = MessageCentre::simulated(&[("receipt_order", json!(order))]);
        receipts_meet_their_message_however_they_come(&centre);
    }
}

#[test]
fn a_centre_that_cuts_the_connection_in_any_phase_loses_no_message() {
    for cut in ["connect", "bind", "answer"] {
        let centre = MessageCentre::simulated(&[("cut", json!(cut)), ("cut_times", json!(2))]);
        receipts_meet_their_message_however_they_come(&centre);
    }
}

#[test]
fn the_agent_keeps_every_rule_of_the_contract() {
    let (centre, sink) = (MessageCentre::simulated(&[]), SmtpSink::start());
    let site = site(&centre, &sink, "", "");
    let agent = cli::root().join("plugins/prebuilt/sms-smpp.wasm").display().to_string();
    let words = ["agent", "test", &agent, "--connector", "sms", "--with-grants", "--calls", "500"];
    let answer = site.cli(&words);
    let said = answer.json();
    assert_eq!((answer.code, &said["failed"]), (0, &json!(0)), "{said}");
    // What needs an open connection was tried: outcomes, memory, items, batch and tick.
    let rules = said["rules"].as_array().unwrap();
    for id in ["AGT-05", "AGT-07", "AGT-20", "AGT-23", "AGT-32", "AGT-33", "AGT-34"] {
        assert!(rules.iter().any(|rule| rule["id"] == id && rule["finding"] == "passed"), "{id}: {said}");
    }
}
