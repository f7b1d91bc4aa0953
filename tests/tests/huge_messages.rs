//! Messages of 35 MB that are made to hurt whoever parses them: thousands of parts, within one another or side by side.
//! The agent that asks for their headers, text and parts is told which limit they break; the host needs bounded memory, and
//! everybody else's mail goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

use postern_tests::{Host, Site, cli, eventually, http, messages};

/// Bytes of each message, within the 35 MiB that a receive connector takes.
const SIZE: usize = 35_000_000;
/// Parts of each.
const PARTS: usize = 10_000;

/// Memory that is parsed in, all messages together, in MiB.
const BUDGET: u64 = 192;
/// What the host may need beyond what it needed before, in MiB: what may be parsed at once, and the messages that wait in
/// memory for their first attempt (`content_cache`). Four such messages and their copies are more than twice that.
const MOST_GROWTH: u64 = BUDGET + 64;

/// Long enough that the estimate of what parsing needs lets all of it through: what is refused by that is not parsed.
const LINE: &str = "The quick brown fox jumps over the lazy dog, and over the next one, too, and then it lies down beside \
                    a third one, which sleeps, and waits for whoever comes along.\r\n";

/// Lines of text up to the size of a message.
fn fill(mut message: String) -> String {
    while message.len() + LINE.len() < SIZE {
        message.push_str(LINE);
    }
    message
}

/// Multiparts within multiparts, the text in the innermost.
fn nested_parts() -> Vec<u8> {
    let mut message = "Subject: nested\r\nMIME-Version: 1.0\r\n".to_owned();
    for n in 0..PARTS {
        let _ = write!(message, "Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    }
    message.push_str("Content-Type: text/plain\r\n\r\n");
    fill(message).into_bytes()
}

/// Messages within messages.
fn nested_messages() -> Vec<u8> {
    let mut message = "Subject: nested\r\nMIME-Version: 1.0\r\n".to_owned();
    for _ in 0..PARTS {
        message.push_str("Content-Type: message/rfc822\r\n\r\n");
    }
    message.push_str("Content-Type: text/plain\r\n\r\n");
    fill(message).into_bytes()
}

/// Parts side by side.
fn flat_parts() -> Vec<u8> {
    let mut message =
        "Subject: flat\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned();
    for n in 0..PARTS {
        let _ = write!(message, "--b\r\nContent-Type: text/plain; name=p{n}\r\n\r\n");
        let end = message.len() + SIZE / PARTS - 170;
        while message.len() < end {
            message.push_str(LINE);
        }
    }
    message.push_str("--b--\r\n");
    message.into_bytes()
}

/// A field of the process's own account, in KiB.
fn memory(host: &Host, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn site() -> Site {
    let mut site = Site::with(&format!("agent_parse_budget = \"{BUDGET}MiB\""), "");
    for (name, agent) in [("views", "limits/views"), ("good", "agents/deliver-all")] {
        let path = encode::encode_into(
            &cli::root().join("host/agent/tests").join(agent).with_extension("wat"),
            site.folder(),
        );
        site = site.section(&format!(
            "[delivery_agent_connectors.{name}]\naddress_spaces = [\"SMTP:*.{name}.example\"]\nagent = {path:?}\n\
             retry = \"1h\""
        ));
    }
    site
}

/// Sends a message to a queue of its own.
fn send(host: &Host, to: &str, content: &[u8]) -> String {
    let recipient = format!("ann@{to}.example");
    host.client().submit("jo@home.example", &[&recipient], content);
    recipient
}

fn has(site: &Site, recipient: &str, event: &str) -> bool {
    site.events(recipient).iter().any(|e| e == event)
}

#[test]
fn ten_thousand_parts_hurt_nobody_and_the_agent_is_told_which_limit_they_break() {
    let site = site();
    let host = site.start();
    let (nested, flat, within) = (nested_parts(), flat_parts(), nested_messages());
    for message in [&nested, &flat, &within] {
        assert!((SIZE - 1_000_000..=SIZE + 500_000).contains(&message.len()), "{} bytes", message.len());
    }
    // One small message through each, so that what is needed once is there.
    for to in ["first.good", "first.views"] {
        let recipient = send(&host, to, &messages::simple("first"));
        eventually("the first delivery", || has(&site, &recipient, "deliver").then_some(()));
    }
    let before = memory(&host, "VmRSS");
    // From here on the greatest use is noted anew.
    fs::write(format!("/proc/{}/clear_refs", host.pid()), "5").unwrap();

    // Each to a queue of its own, and so at once.
    let expected = [
        (send(&host, "nested.views", &nested), "parts = 1000"),
        (send(&host, "flat.views", &flat), "parts = 1000"),
        (send(&host, "within.views", &within), "parse_nesting = 100"),
        (send(&host, "again.views", &nested), "parts = 1000"),
    ];
    let mut sent = 0;
    loop {
        let asked = Instant::now();
        let recipient = send(&host, &format!("n{sent}.good"), &messages::simple("meanwhile"));
        eventually("a delivery meanwhile", || has(&site, &recipient, "deliver").then_some(()));
        assert!(asked.elapsed().as_secs() < 10, "somebody else's mail took {:?}", asked.elapsed());
        sent += 1;
        let deferred = expected.iter().filter(|(recipient, _)| has(&site, recipient, "defer")).count();
        if deferred == expected.len() {
            break;
        }
        assert!(sent < 1000, "{deferred} of {} are done", expected.len());
    }

    for (recipient, limit) in &expected {
        let events = site.track(&["--recipient", recipient, "--event", "defer"]);
        let reason = events[0]["response"].as_str().unwrap();
        // The agent asked for all four, was told each time, and says what it was told; the host says so too.
        assert!(reason.contains("451 4.0.0 eeee ") && reason.contains("views end at "), "{reason}");
        // Two of them at once may also have waited for the memory that there is for parsing, which is told before.
        let alone = format!("(limit {limit} in deliver)");
        let after_waiting =
            format!("(limits host.agent_parse_budget = {} bytes, {limit} in deliver)", BUDGET << 20);
        assert!(reason.contains(&alone) || reason.contains(&after_waiting), "{reason}");
    }
    let growth = memory(&host, "VmHWM").saturating_sub(before) / 1024;
    assert!(growth <= MOST_GROWTH, "the host grew by {growth} MiB, more than {MOST_GROWTH}");
    let (_, metrics) = http::get(host.admin(), "/metrics");
    for counted in ["what=\"parts\"} 3\n", "what=\"parse_nesting\"} 1\n"] {
        let line = format!("postern_agent_limits_total{{connector=\"views\",{counted}");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    site.audit();
    host.stop();
}
