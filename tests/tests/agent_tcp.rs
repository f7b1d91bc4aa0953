//! An agent that speaks TCP, in a real host: it reaches what the config grants and nothing else, and the operator sees both.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use postern_tests::{Site, cli, eventually, http, messages};

#[test]
fn an_agent_reaches_what_is_granted_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, lines) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(b"taken\r\n").unwrap();
            heard.send(line).unwrap();
        }
    });
    let site = Site::new();
    let agent = cli::root().join("host/agent/tests/agents/tcp-script.wat");
    let agent = encode::encode_into(&agent, site.folder());
    let site = site.section(&format!(
        "[delivery_agent_connectors.pager]\naddress_spaces = [\"SMTP:pager.example\"]\nagent = {agent:?}\n\
         settings = {{ script = \"c 127.0.0.1:{port};w a page;l 99;c 127.0.0.1:1;\" }}\n\
         grants = {{ tcp = [\"127.0.0.1:{port}\"] }}\nlimits = {{ tcp_open = 1 }}"
    ));
    let host = site.start();
    host.client().submit("jo@home.example", &["ann@pager.example"], &messages::simple("page"));
    assert_eq!(lines.recv_timeout(Duration::from_secs(20)).unwrap(), "a page\r\n");
    let expected = [
        "postern_agent_tcp_connections_total{connector=\"pager\"} 1",
        "postern_agent_tcp_bytes_total{connector=\"pager\",what=\"written\"} 8",
        "postern_agent_tcp_bytes_total{connector=\"pager\",what=\"read\"} 7",
        "postern_agent_refusals_total{connector=\"pager\",what=\"tcp\"} 1",
        "postern_recipients_total{connector=\"pager\",what=\"delivered\"} 1",
    ];
    eventually("what the agent did in the metrics", || {
        let (_, text) = http::get(host.admin(), "/metrics");
        expected.iter().all(|line| text.lines().any(|found| found == *line)).then_some(())
    });
    let log = host.log();
    let refused = log.lines().find(|line| line.contains("the agent was refused")).unwrap();
    for part in ["pager", "tcp", "127.0.0.1:1"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    host.stop();
}
