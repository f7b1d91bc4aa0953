//! Providers call back: what they say is on the disk before they get their answer, and who has no right to call gets none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use postern_tests::{Host, Site, SmtpSink, cli, eventually, http, messages};
use serde_json::json;

const JO: &str = "jo@home.example";
const ANN: &str = "ann@agent.example";

/// A site whose agent accepts with the receipt "done", and takes the body of a call-back as the id of one that came.
fn site(callback: &str, sink: &SmtpSink) -> Site {
    let site = Site::new();
    let agent = |name: &str| {
        let file = cli::root().join("host/agent/tests/agents").join(name).with_extension("wat");
        encode::encode_into(&file, site.folder()).display().to_string()
    };
    let (granted, closed) = (agent("callback"), agent("deliver-all"));
    site.section(&format!("[callback]\nlisten = \"127.0.0.1:0\"\n{callback}"))
        .section(&format!(
            "[delivery_agent_connectors.agent]\naddress_spaces = [\"SMTP:agent.example\"]\nagent = {granted:?}\n\
             retry = \"1s\"\ngrants = {{ callback = true }}"
        ))
        .section(&format!(
            "[delivery_agent_connectors.closed]\naddress_spaces = [\"SMTP:closed.example\"]\nagent = {closed:?}"
        ))
        .send("out", "SMTP:*;50", sink.address(), "")
}

/// The status and body of a POST to a URL of this host.
fn post(url: &str, body: &str) -> (u16, String) {
    let (server, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    let length = body.len();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn url(site: &Site) -> String {
    site.connector("agent")["callback_url"].as_str().unwrap().to_owned()
}

/// A message that the far end has accepted; its receipt has not come.
fn accepted(site: &Site, host: &Host) {
    host.client().submit(JO, &[ANN], &messages::simple("a fax"));
    eventually("the acceptance", || (site.audit()["pending"] == 1).then_some(()));
}

#[test]
fn a_receipt_is_durable_before_the_provider_gets_its_answer() {
    let sink = SmtpSink::start();
    let site = site("", &sink);
    let host = site.start();
    accepted(&site, &host);
    let url = url(&site);
    assert_eq!(post(&format!("{url}/report?x=1"), "done"), (200, "done".to_owned()));
    // No farewell: what the provider was answered for is there all the same.
    host.kill();
    let host = site.start();
    assert_eq!(site.audit()["delivered"], 1);
    assert_eq!(site.events(ANN), ["receive", "accept", "deliver"]);
    assert_eq!(self::url(&site).rsplit('/').next(), url.rsplit('/').next(), "the token is the same");
    // Told again, it changes nothing.
    assert_eq!(post(&self::url(&site), "done").0, 200);
    assert_eq!(site.audit()["delivered"], 1);
    host.stop();
}

#[test]
fn a_forged_call_is_refused_and_counted() {
    let sink = SmtpSink::start();
    let site = site("", &sink);
    let host = site.start();
    accepted(&site, &host);
    let url = url(&site);
    let (base, token) = url.rsplit_once('/').unwrap();
    let (root, _) = base.rsplit_once('/').unwrap();
    let wrong: String = token.chars().map(|c| if c == '0' { '1' } else { '0' }).collect();
    for forged in [
        format!("{base}/{wrong}"),
        format!("{base}/"),
        base.to_owned(),
        format!("{root}/closed/{token}"),
        format!("{root}/nobody/{token}"),
        format!("{root}/agent/../agent/{wrong}"),
    ] {
        assert_eq!(post(&forged, "done").0, 404, "{forged}");
    }
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_callbacks_total{connector=\"\",what=\"refused\"} 6"), "{metrics}");
    assert_eq!(site.connector("closed")["callback_url"], json!(null));
    assert_eq!(site.audit()["pending"], 1);
    host.stop();
}

#[test]
fn what_is_too_much_is_told_to_come_again_and_an_unknown_receipt_changes_nothing() {
    let sink = SmtpSink::start();
    let site = site("max_body = 100\nmax_requests_per_second = 3", &sink);
    let host = site.start();
    accepted(&site, &host);
    let url = url(&site);
    assert_eq!(post(&url, &"x".repeat(101)).0, 413);
    assert_eq!(post(&url, "somebody else's").0, 200);
    let statuses: Vec<u16> = (0..4).map(|_| post(&url, "").0).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(site.audit()["pending"], 1);
    host.stop();
}

/// A connection to the listener that has said this much.
fn half(url: &str, said: &str) -> TcpStream {
    let (server, _) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    stream
}

/// Whether the host has ended a connection, by its end or by a reset.
fn is_over(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

#[test]
fn a_provider_gets_through_while_others_hold_every_connection_open() {
    let sink = SmtpSink::start();
    // By time alone nobody would be ended in this test.
    let site = site("max_connections = 4\nhead_timeout = \"1h\"\nmax_requests_per_second = 1000", &sink);
    let host = site.start();
    accepted(&site, &host);
    let url = url(&site);
    let said = ["", "POST", "POST / HTTP/1.1\r\nHost: x\r\nX-Slow: "];
    let mut held: Vec<TcpStream> = (0..12).map(|n| half(&url, said[n % said.len()])).collect();
    assert_eq!(post(&url, "done"), (200, "done".to_owned()));
    assert_eq!(site.audit()["delivered"], 1);
    // Of twelve and the one that got through four may be there; the first made room.
    for stream in &mut held[..8] {
        assert!(is_over(stream));
    }
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_callbacks_total{connector=\"\",what=\"displaced\"} 9"), "{metrics}");
    drop(held);
    host.stop();
}

#[test]
fn who_dawdles_is_ended_and_counted() {
    let sink = SmtpSink::start();
    let times = "head_timeout = \"300ms\"\nbody_timeout = \"200ms\"\nrequest_timeout = \"1h\"";
    let mut site = site(times, &sink);
    let host = site.start();
    let url = self::url(&site);
    assert!(is_over(&mut half(&url, "")), "who says nothing");
    // A byte now and then does not help.
    let mut drip = half(&url, "POST / HTTP/1.1\r\nX-Slow: ");
    drip.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let ended = |stream: &mut TcpStream| {
        let read = stream.read(&mut [0; 64]);
        matches!(&read, Ok(0)) || read.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
    };
    while drip.write_all(b"a").is_ok() && !ended(&mut drip) {}
    let path = url.splitn(4, '/').last().unwrap();
    let head = format!("POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    let mut answer = String::new();
    half(&url, &head).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_callbacks_total{connector=\"\",what=\"silent\"} 2"), "{metrics}");
    assert!(metrics.contains("postern_callbacks_total{connector=\"agent\",what=\"slow\"} 1"), "{metrics}");
    host.stop();

    // A request that is not answered in time ends with its connection, whatever it waits for.
    site.change("body_timeout = \"200ms\"\nrequest_timeout = \"1h\"", "request_timeout = \"200ms\"");
    let host = site.start();
    let url = self::url(&site);
    let path = url.splitn(4, '/').last().unwrap();
    assert!(is_over(&mut half(&url, &head.replace(head.split(' ').nth(1).unwrap(), &format!("/{path}")))));
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_callbacks_total{connector=\"\",what=\"late\"} 1"), "{metrics}");
    host.stop();
}
