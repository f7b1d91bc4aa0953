//! WASI for agents: clocks and random numbers are there, sockets and name look-up are not.

#![allow(clippy::unwrap_used)]

mod support;

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
