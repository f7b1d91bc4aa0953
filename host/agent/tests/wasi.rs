//! WASI for agents: clocks and random numbers are there, sockets and name look-up are not.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use postern_agent::Grants;
use support::{Bench, logs};

#[test]
fn no_name_is_looked_up_and_no_socket_is_made_and_each_attempt_is_counted() {
    logs::keep();
    let bench = Bench::new();
    let mut spec = bench.spec("agents/wasi-doors");
    spec.connector = "wasi-doors".to_owned();
    let agent = bench.runtime.load(spec).unwrap();
    assert_eq!(bench.texts(&agent, 1), ["BBB"], "access-denied, three times");
    assert_eq!(agent.stats().sockets_refused, 3);
    let lines = logs::of("wasi-doors");
    for target in ["leak.example", "a TCP socket", "a UDP socket"] {
        let told = |line: &&String| {
            line.contains("capability=sockets") && line.contains(&format!("to=\"{target}\""))
        };
        assert_eq!(lines.iter().filter(told).count(), 1, "{target}: {lines:#?}");
    }
}

#[test]
fn a_component_that_speaks_wasi_http_reaches_what_is_granted_over_one_connection_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It accepts once: every request must come over the connection of the first.
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut heads, mut input) = (String::new(), [0; 4096]);
        for _ in 0..3 {
            while !heads.ends_with("\r\n\r\n") {
                let read = stream.read(&mut input).unwrap();
                heads.push_str(std::str::from_utf8(&input[..read]).unwrap());
            }
            heads.push('.');
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsent").unwrap();
        }
        heads
    });
    let bench = Bench::new();
    let mut spec = bench.spec("agents/wasi-http-get");
    spec.settings = format!("{address}/fax").into();
    let denied = bench.runtime.load(spec.clone()).unwrap();
    let (report, usable) = bench.deliver(&denied, 1);
    assert!(report.outcomes.is_empty() && usable, "{report:?}");
    assert_eq!(denied.stats().http_refused, 1);

    spec.grants = Grants::parse(&[format!("http://{address}/")], &[], &[]).unwrap();
    let agent = bench.runtime.load(spec).unwrap();
    assert_eq!(bench.texts(&agent, 3), ["sent"; 3]);
    assert_eq!(agent.stats().http_refused, 0);
    let heads = server.join().unwrap();
    assert_eq!(heads.matches("GET /fax HTTP/1.1\r\n").count(), 3, "{heads}");
    assert_eq!(heads.matches("x-bench: 1\r\n").count(), 3, "{heads}");
}
