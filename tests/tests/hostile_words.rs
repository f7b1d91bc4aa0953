//! Texts that try to be more than texts, said by a far end through a real agent wherever an agent can say something, and
//! looked at wherever people and programs are shown them: nothing hides, no line, field, tag or escape of its own begins.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use postern_tests::{Host, Site, SmtpSink, cli, dsn, eventually, http, messages};
use serde_json::Value;

/// What each text begins with, so that it is known when it is seen.
const MARK: &str = "said";

/// What the far end says, without the mark. Two are no text at all.
fn table() -> Vec<Vec<u8>> {
    let texts = [
        "\x1b[2J\x1b[31mred \u{9b}31m \x07 \x1b]0;title\x07",
        "\x1b]8;;http://evil.example\x1b\\click me\x1b]8;;\x1b\\",
        "\r\nX-Forged: 1\r\n\r\nFORGED body\r\n.\r\nMAIL FROM:<x@y.example>\r\n",
        "\nX-Forged: 1\n\nFORGED\r.\n",
        "\n2026-01-01T00:00:00.000000Z ERROR FORGED line\n{\"level\":\"ERROR\",\"FORGED\":1}",
        "a\0b\x08\x08\x7f\u{85}\u{b}\u{c}c",
        "\u{202e}exe.gpj\u{202c} \u{2066}in\u{2069} \u{61c}\u{200f}x\u{200b}y\u{ad}z\u{feff}\u{e0041}",
        "<script>alert(1)</script><a href='http://evil.example'>x</a>\"><img src=x onerror=alert(1)> &amp; <!-- ",
        "--=_r.0.\r\nContent-Type: text/html\r\n\r\nFORGED =?utf-8?q?=0D=0AX-Forged:_1?=",
        "\u{2028}FORGED\u{2029}FORGED =cmd|' /C calc'!A0 {secret:key} %s %n ${jndi:ldap://x}",
        "äöü \u{10ffff} 漢字 \u{1f468}\u{200d}\u{1f469} a\u{301}\u{301}\u{301}",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push(vec![b'x'; 1 << 20]);
    all.push("\u{1f600}".repeat(1 << 16).into_bytes());
    all.push(b"\xff\xfe not \xc3 utf-8".to_vec());
    all.push(b"lone \xed\xa0\x80 and \xed\xbf\xbf surrogates".to_vec());
    all
}

fn row(at: usize, said: &[u8]) -> Vec<u8> {
    [format!("{MARK}{at} ").as_bytes(), said].concat()
}

/// Where the agent says it, by the first letter of the destination, and the event that comes of it.
const PLACES: [(char, &str); 6] =
    [('f', "fail"), ('d', "defer"), ('e', "defer"), ('q', "defer"), ('r', "defer"), ('l', "deliver")];

/// Answers every request with what is to be said now.
fn far_end(said: &Arc<Mutex<Vec<u8>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let said = said.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, said) = (stream.unwrap(), said.clone());
            thread::spawn(move || {
                let (mut buffer, mut read) = ([0; 1000], Vec::new());
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    read.extend_from_slice(&buffer[..n]);
                    if !read.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    read.clear();
                    let body = said.lock().unwrap().clone();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn agent() -> PathBuf {
    cli::root().join("host/agent/tests/words/said.wat")
}

fn site(host: &str, far_end: SocketAddr, sink: &SmtpSink) -> Site {
    let site = Site::with(host, "").send("out", "SMTP:*;50", sink.address(), "");
    let path = encode::encode_into(&agent(), site.folder());
    site.section(&format!(
        "[delivery_agent_connectors.words]\naddress_spaces = [\"SMTP:*.words.example\"]\nagent = {path:?}\n\
         retry = \"1h\"\nconnection_idle = \"0s\"\npoison_after = 1000\nbreaker_after = 0\n\
         grants = {{ http = [\"http://{far_end}/\"] }}\nsettings = {{ url = \"http://{far_end}/\" }}\n\
         limits = {{ log_lines_per_second = 1000 }}"
    ))
}

/// Sends a message for each place where this may be said, and waits for what becomes of it. Gives their ids.
fn send(site: &Site, host: &Host, at: usize, is_text: bool) -> Vec<String> {
    let ids = PLACES.map(|(place, _)| {
        let recipient = format!("ann@{place}{at}.words.example");
        host.client().submit("jo@home.example", &[&recipient], &messages::simple("words"))
    });
    for (place, event) in PLACES {
        let recipient = format!("ann@{place}{at}.words.example");
        // What is not UTF-8 is no text, and an agent that hands it over has trapped.
        let event = if is_text { event } else { "defer" };
        eventually(&format!("{event} of {recipient}"), || {
            site.events(&recipient).iter().any(|e| e == event).then_some(())
        });
    }
    ids.to_vec()
}

/// What is not seen but does something; written down once more, since the host's own list may be wrong.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c as u32, 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff)
        || matches!(c as u32, 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// A text that is shown somewhere: nothing hides in it, no line of it was begun by the far end, and none is endless.
fn harmless(place: &str, text: &str, longest: usize) {
    for line in text.lines() {
        let hidden = line.chars().find(|c| *c != '\t' && hides(*c));
        assert!(hidden.is_none(), "{place}: {hidden:?} in {line:?}");
        let start = line.trim_start();
        for forged in
            ["X-Forged", "FORGED", "MAIL FROM", "2026-01-01T00:00:00", "{\"level\":\"ERROR\",\"FORGED"]
        {
            assert!(!start.starts_with(forged), "{place}: {line:?}");
        }
        assert!(line.len() <= longest, "{place}: a line of {} bytes: {:.200}", line.len(), line);
    }
}

/// Every string in an answer.
fn harmless_json(place: &str, value: &Value) {
    match value {
        Value::String(text) => {
            assert!(!text.contains('\n'), "{place}: {text:?}");
            harmless(place, text, 2000);
        }
        Value::Array(list) => list.iter().for_each(|value| harmless_json(place, value)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            harmless(place, name, 300);
            harmless_json(place, value);
        }),
        _ => {}
    }
}

/// What a command shows people.
fn for_people(site: &Site, words: &[&str]) -> cli::Answer {
    let config = site.config();
    cli::run(&[words, &["--config", config.to_str().unwrap()]].concat())
}

/// What a command shows people and programs; the marks of these rows must be in it.
fn looked_at(site: &Site, words: &[&str], marks: &[String]) {
    let place = words.join(" ");
    let shown = for_people(site, words);
    harmless(&place, &shown.text(), 1000);
    let json = site.cli(words);
    harmless(&place, &json.text(), 1000);
    harmless_json(&place, &json.json());
    for mark in marks {
        assert!(shown.stdout.contains(mark), "{place} does not show {mark:?}: {}", shown.stdout);
        assert!(json.stdout.contains(mark), "{place} --json does not show {mark:?}");
    }
}

/// The names of header fields, folded lines left out.
fn field_names(header: &str) -> Vec<&str> {
    let lines = header.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split(':').next().unwrap_or_default()).collect()
}

/// A notification: its header, its parts for people and for programs.
fn notification(text: &str, mark: &str) {
    let place = format!("the DSN about {mark}");
    for line in text.split("\r\n") {
        assert!(line.len() <= 998 && !line.contains(['\r', '\n', '\0', '\x1b']), "{place}: {line:?}");
    }
    let (header, _) = text.split_once("\r\n\r\n").unwrap();
    let known = [
        "Received",
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "In-Reply-To",
        "References",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
        "Return-Path",
    ];
    for name in field_names(header) {
        assert!(known.iter().any(|known| known.eq_ignore_ascii_case(name)), "{place}: the field {name:?}");
    }
    let fields = dsn::status_fields(text);
    for name in ["Diagnostic-Code", "Remote-MTA", "X-Postern-Remote-Id"] {
        let value = dsn::field(&fields, name);
        assert!(value.contains(mark), "{place}: {name}: {value:?}");
        assert!(value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{place}: {name}: {value:?}");
    }
    let known = [
        "Reporting-MTA",
        "Arrival-Date",
        "Original-Recipient",
        "Final-Recipient",
        "Action",
        "Status",
        "Remote-MTA",
        "Diagnostic-Code",
        "Last-Attempt-Date",
    ];
    for (name, _) in &fields {
        assert!(known.contains(&&name[..]) || name.starts_with("X-Postern-"), "{place}: the field {name:?}");
    }
    let (_, html) = text.split_once("Content-Type: text/html").unwrap();
    let (html, _) = html.split_once("\r\n--").unwrap();
    for tag in ["<script", "<a ", "<img", "<!--"] {
        assert!(!html.contains(tag), "{place}: {html}");
    }
    // As it is read: folded fields and lines that the encoding has broken are whole again.
    let read = text.replace("\r\n ", " ").replace("=\r\n", "").replace("\r\n", "\n");
    harmless(&place, &read, 100_000);
}

#[test]
fn whatever_the_far_end_says_is_one_harmless_line_wherever_it_is_shown() {
    let (said, sink) = (Arc::new(Mutex::new(Vec::new())), SmtpSink::start());
    let site = site("", far_end(&said), &sink);
    let host = site.start();
    let (mut texts, mut no_texts, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (at, words) in table().iter().enumerate() {
        let is_text = std::str::from_utf8(words).is_ok();
        *said.lock().unwrap() = row(at, words);
        ids.extend(send(&site, &host, at, is_text));
        let mark = format!("{MARK}{at}");
        if is_text { texts.push(mark) } else { no_texts.push(at) }
    }
    assert_eq!((texts.len(), no_texts.len()), (table().len() - 2, 2));

    looked_at(&site, &["track"], &texts);
    looked_at(&site, &["queue", "list"], &texts);
    looked_at(&site, &["queue", "show", "words"], &texts);
    looked_at(&site, &["connector", "list"], &[]);
    for id in &ids {
        // Those that have failed or were delivered are in no queue any more, which is said harmlessly too.
        harmless("message show", &for_people(&site, &["message", "show", id]).text(), 1000);
        harmless("message show --json", &site.cli(&["message", "show", id]).text(), 1000);
    }
    let deferred = site.track(&["--event", "defer"]);
    for at in no_texts {
        let recipient = format!("ann@d{at}.words.example");
        let event = deferred.iter().find(|event| event["recipient"] == *recipient).unwrap();
        assert!(event["response"].as_str().unwrap().contains("trapped: "), "{event}");
    }

    let arrived = sink.wait_for(texts.len());
    assert_eq!(arrived.len(), texts.len());
    for mark in &texts {
        let about = arrived.iter().find(|a| a.text().contains(&format!("{mark} ")));
        notification(&about.unwrap_or_else(|| panic!("no DSN about {mark}")).text(), mark);
    }

    let mut client = host.client();
    for command in
        ["MAIL FROM:<jo@home.example>", "RCPT TO:<ann@r0.words.example>", "RCPT TO:<ann@d1.words.example>"]
    {
        let reply = format!("{:?}", client.command(command));
        assert!(!reply.contains(MARK) && !reply.contains("FORGED"), "{command}: {reply}");
    }

    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("connector=\"words\"") && !metrics.contains(MARK), "{metrics}");
    let log = host.log();
    harmless("the log", &log, 3000);
    for mark in &texts {
        assert!(log.contains(mark), "the log does not show {mark}");
    }
    site.audit();
    host.stop();
}

#[test]
fn a_log_of_json_has_one_object_a_line_whatever_the_far_end_says() {
    let (said, sink) = (Arc::new(Mutex::new(Vec::new())), SmtpSink::start());
    let site = site("log_format = \"json\"", far_end(&said), &sink);
    let host = site.start();
    for (at, words) in table().iter().enumerate() {
        *said.lock().unwrap() = row(at, words);
        send(&site, &host, at, std::str::from_utf8(words).is_ok());
    }
    let log = host.log();
    harmless("the log", &log, 8000);
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        harmless_json("the log", &line);
        assert!(line["FORGED"].is_null());
    }
    assert!(log.contains(MARK));
    host.stop();
}

/// A component that calls itself so, whatever that is.
fn described(folder: &Path, at: usize, name: &[u8]) -> PathBuf {
    let mut bytes = String::new();
    for byte in name {
        let _ = write!(bytes, "\\{byte:02x}");
    }
    let length = name.len();
    let wat = folder.join(format!("described{at}.wat"));
    let text = format!(
        "  (data (i32.const 4096) \"{bytes}\")\n  \
         (func (export \"postern:delivery-agent/agent@0.1.0#describe\") (result i32)\n    \
         (memory.fill (i32.const 128) (i32.const 0) (i32.const 64))\n    \
         (i32.store (i32.const 128) (i32.const 4096)) (i32.store (i32.const 132) (i32.const {length}))\n    \
         (i32.store (i32.const 136) (i32.const 4096)) (i32.store (i32.const 140) (i32.const {length}))\n    \
         (i32.store (i32.const 144) (i32.const 4096)) (i32.store (i32.const 148) (i32.const {length}))\n    \
         (i32.const 128))\n"
    );
    fs::write(&wat, text).unwrap();
    encode::encode_into(&wat, folder)
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    format!("\"{out}\"")
}

#[test]
fn what_a_component_and_its_manifest_say_of_themselves_is_harmless_where_it_is_inspected_and_installed() {
    let (said, sink) = (Arc::new(Mutex::new(Vec::new())), SmtpSink::start());
    let site = site("", far_end(&said), &sink);
    // Something that is agreed to, beyond which the others want more.
    let plain = described(site.folder(), table().len(), b"plain");
    let installed = for_people(&site, &["agent", "install", plain.to_str().unwrap(), "--connector", "words"]);
    assert_eq!(installed.code, 0, "{}", installed.text());
    for (at, words) in table().iter().enumerate() {
        // A manifest has at most 64 KiB, and holds it three times.
        let said = row(at, &words[..words.len().min(15_000)]);
        let component = described(site.folder(), at, &said);
        let text = String::from_utf8(said);
        if let Ok(text) = &text {
            let asks = format!("v = 1\nabout = {0}\n[asks]\nhttp = [{0}]\nsecrets = [{0}]\n", quoted(text));
            fs::write(component.with_extension("toml"), asks).unwrap();
        }
        let file = component.to_str().unwrap();
        for words in [vec!["agent", "inspect", file], vec!["agent", "install", file, "--connector", "words"]]
        {
            for shown in [for_people(&site, &words), site.cli(&words)] {
                harmless(&words[1..2].concat(), &shown.text(), 2000);
                let expected = if text.is_err() { 3 } else { i32::from(words[1] == "install") };
                assert_eq!(shown.code, expected, "{words:?}: {}", shown.text());
                if text.is_ok() {
                    assert!(shown.text().contains(&format!("{MARK}{at}")), "{words:?}: {}", shown.text());
                }
            }
        }
    }
}
