//! The optional interfaces of the contract: batch, session, probe, callback.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postern_agent::CallbackRequest;
use postern_model::{Arrival, DeliveryReport, DeliveryRequest, Outcome, ReceiptState, Refusal, Response};
use support::{Bench, fault, open, request};

fn requests(count: usize) -> Vec<DeliveryRequest> {
    (0..count).map(|_| request(2, b"Subject: x\r\n\r\nbody\r\n")).collect()
}

/// One batch over a fresh connection, and whether the connection survived it.
fn batch(agent: &str, count: usize) -> (Vec<DeliveryReport>, bool) {
    let bench = Bench::new();
    let agent = bench.load(agent);
    bench.run(async move {
        let mut connection = open(&agent).await;
        let reports = connection.deliver_batch(&requests(count)).await;
        (reports, connection.is_usable())
    })
}

#[test]
fn a_batch_has_one_report_for_each_item_in_their_order() {
    let (reports, usable) = batch("agents/batch", 7);
    assert_eq!((reports.len(), usable), (7, true));
    for report in reports {
        let said: Vec<_> = report.outcomes.iter().map(|o| (o.recipient, o.outcome.word())).collect();
        assert_eq!(said, [(0, "delivered")]);
        assert_eq!(report.outcomes[0].outcome.response().to_string(), "250 2.0.0 done");
    }
}

#[test]
fn a_batch_of_one_is_delivered_as_a_single_item() {
    let (reports, _) = batch("agents/batch", 1);
    assert_eq!(reports[0].outcomes[0].outcome.response().to_string(), "250 2.0.0 test agent");
}

#[test]
fn an_agent_without_batch_gets_the_items_of_a_batch_one_by_one() {
    let (reports, usable) = batch("agents/deliver-all", 3);
    assert_eq!((reports.len(), usable), (3, true));
    assert!(reports.iter().all(|report| report.outcomes.len() == 2));
}

#[test]
fn what_was_reported_in_a_batch_stands_when_it_traps() {
    let (reports, usable) = batch("hostile/batch-trap", 3);
    assert!(!usable);
    assert_eq!(reports[0].outcomes.len(), 1);
    for report in &reports {
        assert!(report.trapped && report.broken, "{report:?}");
        assert!(fault(report).contains("delivery agent, batch: trapped"), "{}", fault(report));
    }
    assert!(reports[1].outcomes.is_empty() && reports[2].outcomes.is_empty());
}

#[test]
fn items_without_a_report_have_no_outcome() {
    let (reports, usable) = batch("hostile/batch-short", 2);
    assert_eq!((reports.len(), usable), (2, true));
    assert!(reports.iter().all(|report| report.outcomes.is_empty() && !report.trapped));
}

#[test]
fn a_tick_brings_receipts_and_never_comes_more_often_than_allowed() {
    let bench = Bench::new();
    let agent = bench.load("agents/session");
    let (first, second) = bench.run(async move {
        let mut connection = open(&agent).await;
        assert!(connection.has_tick() && !connection.has_batch());
        let report = connection.deliver(&request(1, b"x")).await;
        assert!(matches!(&report.outcomes[0].outcome, Outcome::Accepted(p) if p.receipt_ids == ["done"]));
        (connection.tick().await.unwrap(), connection.tick().await.unwrap())
    });
    assert_eq!(first.receipts[0].id, "done");
    assert!(matches!(first.receipts[0].state, ReceiptState::Delivered(_)));
    // It wished for one millisecond.
    assert_eq!((second.receipts.len(), second.next), (0, Duration::from_millis(100)));
}

#[test]
fn a_tick_that_never_ends_ends_the_connection() {
    let bench = Bench::new();
    let agent = bench.load("hostile/tick-loop");
    let (refusal, usable) = bench.run(async move {
        let mut connection = open(&agent).await;
        (connection.tick().await.unwrap_err(), connection.is_usable())
    });
    let Refusal::DeferQueue(deferral) = refusal else { panic!("{refusal:?}") };
    assert!(deferral.response.to_string().contains("tick: over its processor time of 200ms"));
    assert!(!usable);
}

#[test]
fn a_probe_tells_or_cannot_tell() {
    let bench = Bench::new();
    let agent = bench.load("agents/probe");
    let without = bench.load("agents/deliver-all");
    let ask = |agent: &postern_agent::Agent, key: &'static str| {
        let agent = agent.clone();
        bench.run(async move { agent.did_it_arrive(key).await })
    };
    let done = Outcome::Delivered(Response::new(250, (2, 0, 0), "done"));
    assert_eq!(ask(&agent, "key-0"), Ok(Arrival::Known(done)));
    assert_eq!(ask(&agent, "key-1"), Ok(Arrival::NeverSeen));
    assert_eq!(ask(&agent, "key-2"), Ok(Arrival::CannotTell));
    let error = ask(&agent, "key-3").unwrap_err();
    assert_eq!(error.response.to_string(), "451 4.3.0 delivery agent, probe: test agent");
    assert_eq!(ask(&without, "key-0"), Ok(Arrival::CannotTell));
}

#[test]
fn a_call_back_is_answered_and_its_receipts_are_given_on() {
    let bench = Bench::new();
    let call = |agent: &str| {
        let agent = bench.load(agent);
        let request = CallbackRequest {
            method: "POST".to_owned(),
            path: "/report".to_owned(),
            query: Some("x=1".to_owned()),
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: b"fax-17".to_vec(),
        };
        bench.run(async move { agent.handle_callback(request).await })
    };
    let reply = call("agents/callback").unwrap();
    assert_eq!((reply.status, &*reply.body), (200, &b"fax-17"[..]));
    assert_eq!(reply.receipts[0].id, "fax-17");
    assert!(call("agents/deliver-all").unwrap_err().response.to_string().contains("takes no call-backs"));
}
