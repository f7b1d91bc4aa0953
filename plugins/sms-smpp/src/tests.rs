//! The agent as the host sees it, over a message centre that a test plays.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use postern_agent_sdk::testing::{FarEnd, Host, TestItem, logged, next_hop, pass_ms, submissions};
use postern_agent_sdk::{Connection, Outcome, ReceiptState};

use super::*;
use crate::pdu::{Frames, Message, Pdu, command};

/// A message centre. Its answers to submissions are taken from `plan`; without one each is taken.
#[derive(Default)]
struct Centre {
    frames: Frames,
    said: Vec<u8>,
    heard: Vec<Pdu>,
    plan: VecDeque<Plan>,
    bind_status: u32,
    closed: bool,
    is_mute: bool,
    binds: u32,
    messages: Vec<Message>,
    /// Submissions that it got before it was asked what it has to say: the window as it was used.
    at_once: Vec<usize>,
    since_asked: usize,
}

#[derive(Clone, Copy)]
enum Plan {
    Answer(u32),
    Cut,
    Silence,
    ReceiptFirst,
}

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Centre>>);

impl Centre {
    fn say(&mut self, pdu: &Pdu) {
        pdu.write(&mut self.said);
    }

    fn take(&mut self, pdu: Pdu) {
        match pdu.command {
            command::BIND_TRANSCEIVER => {
                self.binds += 1;
                let status = self.bind_status;
                self.say(&Pdu { body: b"centre\0".to_vec(), ..pdu.response(status) });
            }
            command::SUBMIT_SM => {
                self.since_asked += 1;
                self.messages.push(Message::read(&pdu.body).expect("what the agent sends can be read"));
                let id = format!("M{}", self.messages.len());
                match self.plan.pop_front().unwrap_or(Plan::Answer(0)) {
                    Plan::Answer(0) => {
                        self.say(&Pdu { body: format!("{id}\0").into_bytes(), ..pdu.response(0) })
                    }
                    Plan::Answer(status) => self.say(&pdu.response(status)),
                    Plan::Cut => self.closed = true,
                    Plan::Silence => {}
                    Plan::ReceiptFirst => {
                        self.receipt(&id, "DELIVRD");
                        self.say(&Pdu { body: format!("{id}\0").into_bytes(), ..pdu.response(0) });
                    }
                }
            }
            command::ENQUIRE_LINK | command::UNBIND if !self.is_mute => self.say(&pdu.response(0)),
            _ => {}
        }
        self.heard.push(pdu);
    }

    fn receipt(&mut self, id: &str, stat: &str) {
        let text = format!("id:{id} sub:001 dlvrd:001 stat:{stat} err:000 text:");
        let message = Message { esm_class: 0x04, data: text.into_bytes(), ..Message::default() };
        self.say(&Pdu::new(command::DELIVER_SM, 77, message.body()));
    }

    fn heard(&self, command: u32) -> usize {
        self.heard.iter().filter(|pdu| pdu.command == command).count()
    }
}

impl FarEnd for Shared {
    fn connected(&mut self, target: &str) -> Result<(), String> {
        assert_eq!(target, "smsc.example:2775");
        let mut centre = self.0.borrow_mut();
        centre.closed = false;
        centre.frames = Frames::default();
        Ok(())
    }

    fn written(&mut self, data: &[u8]) {
        let mut centre = self.0.borrow_mut();
        centre.frames.push(data);
        while let Some(pdu) = centre.frames.next().unwrap() {
            centre.take(pdu);
        }
    }

    fn said(&mut self) -> Option<Vec<u8>> {
        let mut centre = self.0.borrow_mut();
        let at_once = std::mem::take(&mut centre.since_asked);
        if at_once > 0 {
            centre.at_once.push(at_once);
        }
        let said = std::mem::take(&mut centre.said);
        if said.is_empty() && centre.closed { None } else { Some(said) }
    }
}

fn json(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!(r#"{{"address": "smsc.example:2775", "system_id": "postern", "source": "Postern"{comma}{more}}}"#)
}

/// A bound connection with these settings, and its message centre.
fn open(more: &str) -> (Connection<Smpp>, Shared) {
    let centre = Shared::default();
    Host::new().settings(&json(more)).far_end(centre.clone()).install();
    let mut connection = Connection::new();
    connection.open(&next_hop()).unwrap();
    (connection, centre)
}

fn item(text: &str, to: &[&str]) -> Item {
    let mut item = TestItem::new(b"").recipients(to);
    item.text = Ok(Some(text.to_owned()));
    item.item()
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(pending) => format!("accepted {}", pending.receipt_ids.join(" ")),
        Outcome::Relayed(_) => "relayed".to_owned(),
        Outcome::Deferred(deferral) => format!("deferred {}", deferral.class),
        Outcome::Failed(failure) => format!("failed {}", failure.class),
        other => panic!("{other:?}"),
    }
}

fn words(report: &Report) -> Vec<String> {
    report.outcomes.iter().map(|outcome| word(&outcome.outcome)).collect()
}

const TO: [&str; 1] = ["+4930123456"];

#[test]
fn a_message_is_taken_and_waits_for_its_receipt() {
    let (mut connection, centre) = open("");
    let report = connection.deliver(&item("hello", &TO)).unwrap();
    assert_eq!((words(&report), report.refusal), (vec!["accepted M1".to_owned()], None));
    assert_eq!(report.outcomes[0].remote_id.as_deref(), Some("M1"));
    let message = centre.0.borrow().messages[0].clone();
    assert_eq!((message.destination.address.as_str(), &*message.data), ("4930123456", &b"hello"[..]));
    connection.close().unwrap();
    assert_eq!(centre.0.borrow().heard(command::UNBIND), 1);
}

#[test]
fn all_parts_of_a_long_message_must_arrive() {
    let (mut connection, centre) = open("");
    let report = connection.deliver(&item(&"x".repeat(400), &TO)).unwrap();
    assert_eq!(words(&report), ["accepted M1 M2 M3"]);
    assert!(report.outcomes[0].details.contains(&("segments".to_owned(), "3".to_owned())));
    let (mut connection, second) = open("");
    second.0.borrow_mut().plan.extend([Plan::Answer(0), Plan::Answer(0x08), Plan::Answer(0)]);
    let report = connection.deliver(&item(&"x".repeat(400), &TO)).unwrap();
    assert_eq!(words(&report), ["deferred service-unavailable"]);
    // The next attempt has the same reference: a telephone takes it for the same message.
    let references: Vec<_> = [&centre, &second].iter().map(|c| c.0.borrow().messages[0].data[3]).collect();
    assert_eq!(references[0], references[1]);
}

#[test]
fn each_recipient_gets_its_own_outcome() {
    let (mut connection, centre) = open("");
    centre.0.borrow_mut().plan.extend([Plan::Answer(0x0B), Plan::Answer(0), Plan::Answer(0x08)]);
    let report =
        connection.deliver(&item("hello", &["+4930000001", "+4930000002", "+4930000003", "nobody"])).unwrap();
    let mut all = words(&report);
    all.sort();
    assert_eq!(
        all,
        ["accepted M2", "deferred service-unavailable", "failed invalid-address", "failed invalid-address"]
    );
    assert_eq!(report.refusal, None);
}

#[test]
fn several_items_share_the_window() {
    let (mut connection, centre) = open(r#""window": 4"#);
    let items: Vec<_> = (0..10).map(|n| item(&format!("no. {n}"), &TO)).collect();
    let reports = connection.deliver_batch(&items).unwrap();
    assert!(
        reports.iter().enumerate().all(|(n, r)| words(r) == [format!("accepted M{}", n + 1)]),
        "{reports:?}"
    );
    assert_eq!(centre.0.borrow().at_once, [4, 4, 2]);
}

#[test]
fn throttling_slows_the_queue_and_fails_nobody() {
    for status in [0x58, 0x14] {
        let (mut connection, centre) = open(r#""window": 2, "permanent": [88, 20]"#);
        centre.0.borrow_mut().plan.extend([Plan::Answer(0), Plan::Answer(status)]);
        let items: Vec<_> = (0..6).map(|_| item("hello", &TO)).collect();
        let reports = connection.deliver_batch(&items).unwrap();
        assert_eq!(words(&reports[0]), ["accepted M1"]);
        for report in &reports[1..] {
            assert_eq!(words(report)[0], "deferred throttled");
        }
        let Some(Refusal::DeferQueue(deferral)) = &reports[5].refusal else { panic!("the queue must wait") };
        assert_eq!((deferral.class.as_str(), deferral.retry_after), ("throttled", Some(10)));
        assert!(centre.0.borrow().messages.len() <= 3, "what is throttled is left in peace");
    }
}

#[test]
fn a_connection_cut_before_the_answer_leaves_what_was_sent_unknown_and_the_rest_unsent() {
    let (mut connection, centre) = open(r#""window": 2"#);
    centre.0.borrow_mut().plan.extend([Plan::Cut, Plan::Cut]);
    let items: Vec<_> = (0..3).map(|_| item("hello", &TO)).collect();
    let reports = connection.deliver_batch(&items).unwrap();
    assert_eq!(words(&reports[0]), ["deferred timeout"]);
    assert_eq!(words(&reports[2]), ["deferred service-unavailable"]);
    assert!(
        matches!(&reports[0].refusal, Some(Refusal::DeferQueue(d)) if d.class == class::SERVICE_UNAVAILABLE)
    );
    // The next attempt is made over a new session.
    centre.0.borrow_mut().plan.clear();
    let report = connection.deliver(&items[2]).unwrap();
    assert_eq!((words(&report)[0].as_str(), centre.0.borrow().binds), ("accepted M3", 2));
}

#[test]
fn where_a_second_copy_is_worse_a_message_without_an_answer_waits_and_is_not_sent_again() {
    let (mut connection, centre) = open(r#""on_no_answer": "wait", "response_timeout_seconds": 5"#);
    centre.0.borrow_mut().plan.push_back(Plan::Silence);
    let report = connection.deliver(&item("hello", &TO)).unwrap();
    assert_eq!(words(&report), ["accepted no-answer/item-1-0"]);
}

#[test]
fn a_receipt_is_acknowledged_in_the_call_after_the_one_that_reported_it() {
    let (mut connection, centre) = open("");
    centre.0.borrow_mut().plan.push_back(Plan::ReceiptFirst);
    let report = connection.deliver(&item("hello", &TO)).unwrap();
    // It came before the answer to the submission.
    assert_eq!(words(&report), ["accepted M1"]);
    assert_eq!(report.receipts.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["M1"]);
    let answered = command::DELIVER_SM | command::RESPONSE;
    assert_eq!(centre.0.borrow().heard(answered), 0);
    centre.0.borrow_mut().receipt("M0", "UNDELIV");
    let next = connection.tick().unwrap();
    assert_eq!(centre.0.borrow().heard(answered), 1);
    assert!(matches!(&next.receipts[..], [one] if matches!(one.state, ReceiptState::Failed(_))));
    assert_eq!(next.tick_after_ms, BUSY_TICK_MS);
    connection.tick().unwrap();
    assert_eq!(centre.0.borrow().heard(answered), 2);
}

#[test]
fn a_receipt_behind_the_bind_is_reported_before_it_is_acknowledged() {
    let centre = Shared::default();
    centre.0.borrow_mut().receipt("M9", "DELIVRD");
    Host::new().settings(&json("")).far_end(centre.clone()).install();
    let mut connection = Connection::<Smpp>::new();
    connection.open(&next_hop()).unwrap();
    let next = connection.tick().unwrap();
    assert_eq!(
        (next.receipts.len(), centre.0.borrow().heard(command::DELIVER_SM | command::RESPONSE)),
        (1, 0)
    );
    connection.close().unwrap();
    assert_eq!(centre.0.borrow().heard(command::DELIVER_SM | command::RESPONSE), 1);
}

#[test]
fn the_bind_is_alive_after_ten_idle_minutes() {
    let (mut connection, centre) = open("");
    for _ in 0..1200 {
        let next = connection.tick().unwrap();
        pass_ms(u64::from(next.tick_after_ms));
    }
    let asked = centre.0.borrow().heard(command::ENQUIRE_LINK);
    assert!((18..=22).contains(&asked), "{asked} in ten minutes, of one each 30 s");
    assert_eq!(centre.0.borrow().binds, 1);
    assert_eq!(words(&connection.deliver(&item("hello", &TO)).unwrap()), ["accepted M1"]);
}

#[test]
fn a_message_centre_that_does_not_answer_any_more_is_bound_again() {
    let (mut connection, centre) = open("");
    centre.0.borrow_mut().is_mute = true;
    for _ in 0..140 {
        connection.tick().unwrap();
        pass_ms(500);
    }
    assert_eq!(centre.0.borrow().binds, 2);
}

#[test]
fn a_session_that_was_closed_while_idle_costs_no_message() {
    let (mut connection, centre) = open("");
    centre.0.borrow_mut().closed = true;
    assert_eq!(words(&connection.deliver(&item("hello", &TO)).unwrap()), ["accepted M1"]);
    assert_eq!(centre.0.borrow().binds, 2);
}

#[test]
fn wrong_credentials_hold_the_queue_and_a_full_centre_defers_it() {
    for (status, holds) in [(0x0E, true), (0x0F, true), (0x0D, false), (0x08, false)] {
        let centre = Shared::default();
        centre.0.borrow_mut().bind_status = status;
        Host::new().settings(&json("")).far_end(centre).install();
        let refusal = Connection::<Smpp>::new().open(&next_hop()).unwrap_err();
        assert_eq!(matches!(refusal, Refusal::FailQueue(_)), holds, "{status:#x}");
    }
    Host::new().settings(&json(r#""password": "smsc""#)).install();
    let refusal = Connection::<Smpp>::new().open(&next_hop()).unwrap_err();
    assert!(matches!(refusal, Refusal::DeferQueue(d) if d.response.text.contains("settings.password")));
}

#[test]
fn an_incoming_message_is_acknowledged_only_when_the_host_has_it() {
    let incoming = Message { data: b"yes".to_vec(), ..Message::default() };
    for granted in [true, false] {
        let centre = Shared::default();
        let host = Host::new().settings(&json(r#""inbound_to": "desk@inside.example""#));
        let host = if granted { host.inbound() } else { host };
        host.far_end(centre.clone()).install();
        let mut connection = Connection::<Smpp>::new();
        connection.open(&next_hop()).unwrap();
        centre.0.borrow_mut().say(&Pdu::new(command::DELIVER_SM, 5, incoming.body()));
        connection.tick().unwrap();
        let heard = centre.0.borrow().heard.last().cloned().unwrap();
        assert_eq!((heard.sequence, heard.status), (5, if granted { 0 } else { 0x64 }));
        assert_eq!((submissions().len(), logged().len()), if granted { (1, 0) } else { (0, 1) });
    }
}

#[test]
fn garbage_ends_the_session_and_not_the_agent() {
    let (mut connection, centre) = open("");
    centre.0.borrow_mut().said = vec![0xFF; 100];
    connection.tick().unwrap();
    assert_eq!(centre.0.borrow().binds, 2);
    // What is no request that is known is answered, and the session goes on.
    centre.0.borrow_mut().say(&Pdu::new(0x0102, 9, Vec::new()));
    connection.tick().unwrap();
    let nack = centre.0.borrow().heard.last().cloned().unwrap();
    assert_eq!((nack.command, nack.status, nack.sequence), (command::GENERIC_NACK, 3, 9));
}

#[test]
fn without_receipts_a_message_is_relayed() {
    let (mut connection, centre) = open(r#""receipts": false"#);
    assert_eq!(words(&connection.deliver(&item("hello", &TO)).unwrap()), ["relayed"]);
    assert_eq!(centre.0.borrow().messages[0].registered_delivery, 0);
}
