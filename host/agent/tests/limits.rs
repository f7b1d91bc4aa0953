//! Every limit is hit by a real component: it is counted under its name, and the reason that the recipients are deferred
//! with names it with its value and the call.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use postern_agent::{
    Access, Agent, AgentSpec, AgentStats, BoxFuture, CallbackRequest, DirectoryGrant, Grants, Inbound,
    InboundMessage, KeptState, Limit, Network, NetworkFuture, NotCommitted, Secret,
};
use postern_model::{DeliveryReport, Outcome, Refusal, StateChange};
use support::{Bench, hop, open, request};

/// What is asked of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Loading it fails.
    Load,
    Open,
    Deliver,
    Close,
    Tick,
    Poll,
    Callback,
    Probe,
}

/// An agent that hits a limit when it is set to this value.
struct Case {
    limit: Limit,
    value: u64,
    agent: &'static str,
    call: Call,
    /// The settings; `PORT` stands for that of the server.
    settings: &'static str,
    /// The content; empty for any.
    content: &'static str,
}

const fn case(limit: Limit, value: u64, agent: &'static str, call: Call) -> Case {
    Case { limit, value, agent, call, settings: "", content: "" }
}

const fn with(limit: Limit, value: u64, agent: &'static str, settings: &'static str) -> Case {
    Case { limit, value, agent, call: Call::Deliver, settings, content: "" }
}

const fn parsing(limit: Limit, value: u64, content: &'static str) -> Case {
    Case { limit, value, agent: "limits/views", call: Call::Deliver, settings: "fails", content }
}

const fn filing(limit: Limit, value: u64, content: &'static str) -> Case {
    Case { limit, value, agent: "agents/files-script", call: Call::Deliver, settings: "", content }
}

const HTTP: &str = "http://127.0.0.1:PORT/";
const TWO_PARTS: &str =
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n\r\ny\r\n--b--\r\n";
const NESTED: &str = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n";

/// [`Limit::ParseBudget`] is shown beside the views, where it can be seen that somebody waits; [`Limit::Instances`] and
/// [`Limit::SlotWait`] below, since it takes two; [`Limit::Recording`] beside the recordings.
const ELSEWHERE: [Limit; 5] =
    [Limit::ParseBudget, Limit::Instances, Limit::LargeInstances, Limit::SlotWait, Limit::Recording];

const CASES: &[Case] = &[
    case(Limit::Memory, 8 << 20, "hostile/memory-bomb", Call::Deliver),
    case(Limit::TableElements, 5000, "limits/table-bomb", Call::Deliver),
    case(Limit::CoreInstances, 1, "agents/deliver-all", Call::Load),
    case(Limit::Memories, 0, "agents/deliver-all", Call::Load),
    case(Limit::Tables, 0, "agents/deliver-all", Call::Load),
    case(Limit::Handles, 0, "agents/deliver-all", Call::Deliver),
    with(Limit::Resources, 0, "agents/tcp-script", "c 127.0.0.1:PORT;"),
    case(Limit::Cpu, 50, "hostile/loop-deliver", Call::Deliver),
    case(Limit::Deadline, 50, "hostile/loop-deliver", Call::Deliver),
    case(Limit::DescribeDeadline, 50, "hostile/loop-describe", Call::Load),
    case(Limit::OpenDeadline, 50, "hostile/loop-open", Call::Open),
    case(Limit::CloseDeadline, 50, "hostile/loop-close", Call::Close),
    case(Limit::TickDeadline, 50, "hostile/tick-loop", Call::Tick),
    case(Limit::PollDeadline, 50, "limits/loop-poll", Call::Poll),
    case(Limit::CallbackDeadline, 50, "limits/loop-callback", Call::Callback),
    case(Limit::ProbeDeadline, 50, "limits/loop-probe", Call::Probe),
    case(Limit::HostCallBytes, 1 << 20, "hostile/huge-host-call", Call::Deliver),
    case(Limit::ComponentBytes, 100, "agents/deliver-all", Call::Load),
    case(Limit::RandomBytes, 100, "hostile/greedy-random", Call::Deliver),
    case(Limit::LogLine, 4, "hostile/log-flood", Call::Deliver),
    case(Limit::LogLines, 3, "hostile/log-flood", Call::Deliver),
    case(Limit::LogLinesPerSecond, 3, "hostile/log-flood", Call::Deliver),
    case(Limit::Label, 20, "hostile/long-label", Call::Open),
    case(Limit::Text, 100, "hostile/huge-text", Call::Deliver),
    case(Limit::Details, 1, "limits/details", Call::Deliver),
    case(Limit::DetailText, 9, "limits/details", Call::Deliver),
    case(Limit::Outcomes, 5, "hostile/many-outcomes", Call::Deliver),
    case(Limit::Receipts, 0, "agents/receipts", Call::Poll),
    case(Limit::ReceiptIds, 0, "agents/callback", Call::Deliver),
    case(Limit::ReceiptId, 3, "agents/callback", Call::Deliver),
    with(Limit::HttpRequests, 0, "limits/http-post", HTTP),
    with(Limit::HttpRequest, 9, "limits/http-post", HTTP),
    with(Limit::HttpResponse, 9, "limits/http-post", HTTP),
    with(Limit::HttpHeaderBytes, 9, "agents/http-get", HTTP),
    with(Limit::HttpFields, 0, "agents/http-get", HTTP),
    with(Limit::HttpUrl, 9, "limits/http-post", HTTP),
    with(Limit::HttpConnect, 50, "limits/http-post", "http://silent.example:PORT/"),
    with(Limit::TcpOpen, 1, "agents/tcp-script", "c 127.0.0.1:PORT;c 127.0.0.1:PORT;f;"),
    with(Limit::TcpConnects, 0, "agents/tcp-script", "c 127.0.0.1:PORT;f;"),
    with(Limit::TcpRead, 0, "agents/tcp-script", "c 127.0.0.1:PORT;r 10;f;"),
    with(Limit::TcpWritten, 9, "agents/tcp-script", "c 127.0.0.1:PORT;n 10;f;"),
    with(Limit::TcpLine, 3, "agents/tcp-script", "c 127.0.0.1:PORT;w GET / HTTP/1.1;w ;l 100;f;"),
    filing(Limit::DirectoryOpen, 0, "\r\n#o0 letter;X0 ;"),
    filing(Limit::DirectoryMade, 0, "\r\n#w1 a=x;X0 ;"),
    filing(Limit::DirectoryRead, 3, "\r\n#R0 letter;X0 ;"),
    filing(Limit::DirectoryWritten, 3, "\r\n#z1 a=5;X0 ;"),
    filing(Limit::DirectoryFile, 3, "\r\n#z1 a=5;X0 ;"),
    filing(Limit::DirectoryEntries, 0, "\r\n#d0 .;X0 ;"),
    filing(Limit::DirectoryPath, 3, "\r\n#r0 letter;X0 ;"),
    case(Limit::InboundRecipients, 0, "agents/inbound", Call::Deliver),
    case(Limit::InboundBytes, 9, "agents/inbound", Call::Deliver),
    parsing(Limit::ParseBytes, 9, TWO_PARTS),
    parsing(Limit::ParseMemory, 100, TWO_PARTS),
    parsing(Limit::ParseNesting, 0, NESTED),
    parsing(Limit::Parts, 2, TWO_PARTS),
    parsing(Limit::HeaderViewBytes, 9, TWO_PARTS),
    parsing(Limit::TextViewBytes, 1, "Subject: x\r\n\r\nmore than that\r\n"),
    case(Limit::State, 3, "agents/state", Call::Deliver),
];

/// A host's state without anything in it, and its door for mail, which takes all.
struct Empty;

impl KeptState for Empty {
    fn get(&self, _: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async { Ok(None) })
    }

    fn keys(&self, _: String, _: usize) -> BoxFuture<'_, Result<Vec<String>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn usage(&self) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async { Ok(0) })
    }

    fn commit(&self, _: StateChange) -> BoxFuture<'_, Result<(), NotCommitted>> {
        Box::pin(async { Ok(()) })
    }
}

impl Inbound for Empty {
    fn submit(&self, _: InboundMessage) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Ok("id".to_owned()) })
    }
}

/// This machine, and a host that swallows packets.
#[derive(Debug)]
struct Loopback;

const SILENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 216, 34));

impl Network for Loopback {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(vec![SocketAddr::new(SILENT, port)]) })
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, tokio::net::TcpStream> {
        if address.ip() == SILENT {
            return Box::pin(std::future::pending());
        }
        Box::pin(tokio::net::TcpStream::connect(address))
    }
}

/// Answers every request with a body of ten bytes.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let (mut buffer, mut read) = ([0; 1000], Vec::new());
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    read.extend_from_slice(&buffer[..n]);
                    if read.windows(4).any(|end| end == b"\r\n\r\n") {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789");
                        read.clear();
                    }
                }
            });
        }
    });
    port
}

fn spec(bench: &Bench, case: &Case, port: u16) -> AgentSpec {
    let mut spec = bench.spec(case.agent);
    // So that nothing but the limit in question ends a call within the time of a test.
    spec.limits.cpu = Duration::from_secs(60);
    spec.limits.deadline = Duration::from_secs(60);
    if case.agent == "hostile/log-flood" {
        spec.limits.cpu = Duration::from_millis(50);
    }
    let port = port.to_string();
    let http = [format!("http://127.0.0.1:{port}/"), format!("http://silent.example:{port}/")];
    let tcp = [format!("127.0.0.1:{port}")];
    spec.grants = Grants::parse(&http, &tcp, &["key".to_owned()]).unwrap();
    let folders = [("in", Access::Read), ("spool", Access::Write)];
    for (name, access) in folders.into_iter().filter(|_| case.agent == "agents/files-script") {
        let path = bench.folder().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("letter"), "inside").unwrap();
        spec.grants.directories.push(DirectoryGrant::new(path, None, access).unwrap());
    }
    spec.secrets = [("key".to_owned(), Secret::new("s3cret"))].into();
    spec.settings = case.settings.replace("PORT", &port).into();
    spec.doors.state = Some(Arc::new(Empty));
    spec.doors.state_quota = if case.limit == Limit::State { case.value } else { 1000 };
    spec.doors.inbound = Some(Arc::new(Empty));
    spec.limits.set(case.limit, case.value);
    spec
}

/// What the recipient of a report is deferred with; empty when it is not.
fn reason(report: &DeliveryReport) -> String {
    match report.outcomes.first().map(|said| &said.outcome) {
        Some(Outcome::Deferred(deferral)) => deferral.response.to_string(),
        Some(_) => String::new(),
        None => support::fault(report),
    }
}

fn refused(refusal: &Refusal) -> String {
    match refusal {
        Refusal::DeferQueue(deferral) => deferral.response.to_string(),
        Refusal::FailQueue { response, .. } => response.to_string(),
    }
}

/// Calls the agent and gives the reason for what went wrong.
async fn call(agent: Agent, call: Call, content: &'static str) -> String {
    let ids = ["one".to_owned()];
    let content = if content.is_empty() { "Subject: x\r\n\r\nbody\r\n" } else { content };
    let callback = CallbackRequest {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        body: Vec::new(),
    };
    let failed = |error: postern_model::Deferral| error.response.to_string();
    match call {
        Call::Load => unreachable!("it was to fail when it was loaded"),
        Call::Open => agent.open(&hop()).await.err().map(|no| refused(&no.refusal)).unwrap_or_default(),
        Call::Deliver => reason(&open(&agent).await.deliver(&request(1, content.as_bytes())).await),
        Call::Close => open(&agent).await.close().await.err().map(failed).unwrap_or_default(),
        Call::Tick => open(&agent).await.tick().await.err().as_ref().map(refused).unwrap_or_default(),
        Call::Poll => agent.poll_receipts(&ids).await.err().map(failed).unwrap_or_default(),
        Call::Callback => agent.handle_callback(callback).await.err().map(failed).unwrap_or_default(),
        Call::Probe => agent.did_it_arrive("key").await.err().map(failed).unwrap_or_default(),
    }
}

/// The words for the calls that a reason may name.
fn phases(call: Call) -> &'static [&'static str] {
    match call {
        Call::Load => &["start: ", "describe: ", "component_bytes"],
        Call::Open => &["open: ", " in open)"],
        Call::Deliver => &["deliver: ", " in deliver)"],
        Call::Close => &["close: "],
        Call::Tick => &["tick: "],
        Call::Poll => &["receipts.poll: "],
        Call::Callback => &["callback: "],
        Call::Probe => &["probe: "],
    }
}

fn check(case: &Case, reason: &str, stats: &AgentStats) {
    let (limit, shown) = (case.limit, case.limit.with(case.value).to_string());
    assert!(stats.limits.of(limit) > 0, "{limit:?} is not counted: {:?}; {reason}", stats.limits);
    if limit.only_cuts() {
        assert!(!reason.contains(&shown), "{limit:?} is no reason: {reason}");
        return;
    }
    // Receipts that are too many are no delivery's.
    if limit == Limit::Receipts {
        return;
    }
    let named = reason.contains(&format!("limit {shown}")) || reason.contains(&format!(", {shown}"));
    assert!(named, "{shown} is not named: {reason:?}");
    assert!(phases(case.call).iter().any(|phase| reason.contains(phase)), "{limit:?}: no phase: {reason}");
}

#[test]
fn every_limit_is_counted_and_named_with_its_value_and_the_call_that_hit_it() {
    let port = server();
    for case in CASES {
        let bench = Bench::with(|config| config.network = Arc::new(Loopback));
        let spec = spec(&bench, case, port);
        match bench.runtime.load(spec) {
            Err(error) => {
                assert_eq!(case.call, Call::Load, "{:?}: {error}", case.limit);
                let stats =
                    AgentStats { limits: bench.runtime.limits_at_load("test"), ..AgentStats::default() };
                check(case, &error.to_string(), &stats);
            }
            Ok(agent) => {
                let reason = bench.run(call(agent.clone(), case.call, case.content));
                check(case, &reason, &agent.stats());
            }
        }
    }
}

#[test]
fn the_table_has_every_limit() {
    let shown: BTreeSet<Limit> = CASES.iter().map(|case| case.limit).chain(ELSEWHERE).collect();
    let missing: Vec<_> = Limit::ALL.iter().filter(|limit| !shown.contains(limit)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn waiting_for_an_instance_is_counted_and_giving_up_names_both_limits() {
    let bench = Bench::with(|config| config.max_instances = 1);
    let mut spec = bench.spec("agents/deliver-all");
    spec.limits.slot_wait = Duration::from_millis(50);
    let agent = bench.runtime.load(spec).unwrap();
    bench.run(async move {
        let held = open(&agent).await;
        let told = refused(&agent.open(&hop()).await.err().unwrap().refusal);
        assert!(told.contains("open: ") && told.contains("slot_wait = 50ms"), "{told}");
        assert!(told.contains("host.max_agent_instances = 1"), "{told}");
        let limits = agent.stats().limits;
        assert_eq!((limits.of(Limit::SlotWait), limits.of(Limit::Instances)), (1, 1));
        held.close().await.unwrap();
    });
}
