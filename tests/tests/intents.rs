//! At most once where it costs money: a provider that counts what it was given, a host that is killed again and again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Site, SmtpSink, WebhookServer, eventually, messages};

const JO: &str = "jo@home.example";
/// Rounds of kill -9 in CI. `POSTERN_KILL_ROUNDS` asks for more.
const ROUNDS: u64 = 6;
/// Messages of a round.
const MESSAGES: u64 = 12;

fn site(server: &WebhookServer, sink: &SmtpSink, on_unknown: &str) -> Site {
    let lines = format!("idempotency = \"intent\"\non_unknown = \"{on_unknown}\"\nretry = \"1s\"");
    Site::new().webhook("fax", "SMTP:fax.example", &server.url(), "", &lines).send(
        "out",
        "SMTP:*;50",
        sink.address(),
        "",
    )
}

/// How often each message was given to the provider.
fn copies(server: &WebhookServer) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for posted in server.posted() {
        *copies.entry(posted.message_id()).or_default() += 1;
    }
    copies
}

/// Submits, kills and starts again, at moments that differ from round to round; then lets everything come to its end.
/// Gives the ids of all messages that were accepted.
fn rounds(site: &Site, seed: u64) -> Vec<String> {
    let rounds = std::env::var("POSTERN_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    println!("seed {seed}, {rounds} rounds");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut accepted = Vec::new();
    for _ in 0..rounds {
        let host = site.start();
        let mut client = host.client();
        for n in 0..MESSAGES {
            accepted.push(client.submit(JO, &["4930@fax.example"], &messages::simple(&format!("page {n}"))));
        }
        // Not a wait for something: the moment of the kill is what is tried.
        thread::sleep(Duration::from_millis(random.u64(0..60)));
        host.kill();
    }
    let host = site.start();
    eventually("the end of everything", || {
        let audit = site.audit();
        (audit["queued"] == 0 && audit["pending"] == 0).then_some(())
    });
    host.stop();
    accepted
}

#[test]
fn nothing_is_handed_over_twice_where_the_sender_is_told_instead() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "report");
    let accepted = rounds(&site, fastrand::u64(..));
    let copies = copies(&server);
    let doubles: Vec<_> = copies.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubles.is_empty(), "{doubles:?}");
    let audit = site.audit();
    let (delivered, unknown) = (audit["delivered"].as_u64().unwrap(), audit["unknown"].as_u64().unwrap());
    assert_eq!(delivered + unknown, accepted.len() as u64, "{audit}");
    println!("{audit}");
    // Whoever is not known to have it was perhaps never given to the provider; everybody else was, once.
    assert!(copies.len() as u64 >= delivered, "{audit}");
}

#[test]
fn nothing_is_lost_where_it_is_tried_again() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "retry");
    let accepted = rounds(&site, fastrand::u64(..));
    let copies = copies(&server);
    let missing: Vec<_> = accepted.iter().filter(|id| !copies.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(site.audit()["delivered"], accepted.len() as u64);
}

#[test]
fn an_attempt_that_was_cut_off_is_reported_as_unknown_and_not_made_again() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = site(&server, &sink, "report");
    let host = site.start();
    // The provider has it, and its answer never comes.
    server.answer(HttpAnswer::never());
    host.client().submit(JO, &["4930@fax.example"], &messages::simple("one page"));
    let _ = server.wait_for(1);
    host.kill();
    let host = site.start();
    eventually("the word on it", || (site.audit()["unknown"] == 1).then_some(()));
    let report = String::from_utf8_lossy(&sink.wait_for(1)[0].content).into_owned();
    assert!(report.contains("nobody can tell whether it arrived"), "{report}");
    assert_eq!(server.posted().len(), 1);
    host.stop();
}
