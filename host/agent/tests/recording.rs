//! Recordings of deliveries, and playing them again without the world that they were made in.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use postern_agent::{
    Access, AgentSpec, AgentStats, BoxFuture, DirectoryGrant, Grants, Inbound, InboundMessage, KeptState,
    Limit, Limits, NotCommitted, Recording, Replay, ReplayError, Secret, replay,
};
use postern_model::{DeliveryReport, DeliveryRequest, StateChange};
use support::network::TestNetwork;
use support::{Bench, encode, hop, request, wat};

const SECRET: &str = "hunter2-and-more";

/// A server whose every connection one function serves; it ends with the world.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    port
}

/// Answers each request on a connection with what its authorization was, in text and in bytes that are none; never, when
/// it asks for `/silent`.
fn echo(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        if head.starts_with("GET /silent") {
            let _ = reader.read(&mut [0]);
            return;
        }
        let token = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("none");
        let end = format!("content-length: {}\r\n\r\ngot {token}", token.len() + 4);
        if writer.write_all(format!("HTTP/1.1 200 OK\r\nx-echo: {token}\r\n{end}").as_bytes()).is_err() {
            return;
        }
    }
}

/// A delivery that was recorded, with what it takes to play it again.
struct Recorded {
    bench: Bench,
    stats: AgentStats,
    report: DeliveryReport,
    text: String,
    component: PathBuf,
}

impl Recorded {
    /// Records the last one of these deliveries over one connection.
    fn of(bench: Bench, spec: AgentSpec, requests: Vec<DeliveryRequest>) -> Self {
        let component = spec.component.clone();
        let agent = bench.runtime.load(spec).unwrap();
        let counted = agent.clone();
        let (report, recording) = bench.run(async move {
            let mut connection = agent.open_recorded(&hop()).await.unwrap();
            let mut last = None;
            for request in &requests {
                let report = connection.deliver(request).await;
                last = Some((report, connection.take_recording().unwrap()));
            }
            last.unwrap()
        });
        let mut text = Vec::new();
        recording.because("a test").write(&mut text).unwrap();
        let stats = counted.stats();
        Self { bench, stats, report, text: String::from_utf8(text).unwrap(), component }
    }

    fn one(bench: Bench, spec: AgentSpec) -> Self {
        Self::of(bench, spec, vec![request(1, b"Subject: x\r\n\r\nbody\r\n")])
    }

    fn read(&self) -> Recording {
        Recording::read(&mut self.text.as_bytes()).unwrap()
    }

    fn replay_to(&self, component: &Path) -> Result<Replay, ReplayError> {
        replay(&self.bench.runtime, &self.read(), component)
    }

    fn replay(&self) -> Replay {
        self.replay_to(&self.component).unwrap()
    }

    /// What the first recipient was told.
    fn said(&self) -> String {
        let said = self.report.outcomes.first().unwrap_or_else(|| panic!("{:?}", self.report));
        said.outcome.response().text.clone()
    }
}

fn same(replay: &Replay) {
    assert!(replay.is_same() && replay.same_agent, "{replay:#?}");
}

/// `http-get` with a secret that the host fills in.
fn http_get(path: &str, limits: Limits) -> Recorded {
    let network = Arc::new(TestNetwork::local());
    let bench = Bench::on(&network);
    let mut spec = bench.spec("agents/http-get");
    let origin = format!("http://far.example:{}/", server(echo));
    spec.settings = format!("{origin}{path}").into();
    spec.grants = Grants::parse(&[format!("{origin} private")], &[], &["key".to_owned()]).unwrap();
    spec.secrets = BTreeMap::from([("key".to_owned(), Secret::new(SECRET))]);
    spec.limits = limits;
    let recorded = Recorded::one(bench, spec);
    assert!(!recorded.text.contains(SECRET), "{}", recorded.text);
    recorded
}

#[test]
fn http_is_answered_from_the_recording_and_no_secret_is_in_it() {
    let recorded = http_get("v1", Limits::default());
    assert_eq!(recorded.said(), format!("got Bearer {SECRET}"), "the far end got it, and told it back");
    assert!(recorded.text.contains("Bearer {secret:key}"), "as the agent wrote it: {}", recorded.text);
    assert!(recorded.text.contains("got Bearer (secret key)"), "{}", recorded.text);
    let replay = recorded.replay();
    same(&replay);
    assert!(replay.now[0].to_string().contains("got Bearer (secret key)"), "{replay:?}");
    let read = recorded.read();
    assert_eq!((read.why(), read.calls(), read.earlier_calls()), ("a test", 1, 0));
}

#[test]
fn a_limit_that_a_call_hit_is_hit_again() {
    let limits = Limits { deadline: Duration::from_millis(300), ..Limits::default() };
    let recorded = http_get("silent", limits);
    assert!(recorded.said().contains("(limit deadline = 300ms in deliver)"), "{}", recorded.said());
    same(&recorded.replay());
}

#[test]
fn a_refusal_of_the_policy_is_part_of_the_recording() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/http-get");
    spec.settings = "http://nobody.example/".into();
    let recorded = Recorded::one(bench, spec);
    assert!(recorded.said().contains("http is not granted"), "{}", recorded.said());
    same(&recorded.replay());
}

#[test]
fn a_secret_that_the_agent_was_told_is_a_name_in_the_recording() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/secret");
    spec.grants.secrets = vec!["key".to_owned()];
    spec.secrets = BTreeMap::from([("key".to_owned(), Secret::new(SECRET))]);
    let recorded = Recorded::one(bench, spec);
    assert_eq!(recorded.said(), SECRET);
    assert!(!recorded.text.contains(SECRET), "{}", recorded.text);
    let replay = recorded.replay();
    same(&replay);
    assert!(replay.now[0].to_string().contains("(secret key)"), "{replay:?}");
}

#[test]
fn tcp_is_answered_from_the_recording_with_what_was_read_and_written() {
    let port = server(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        let _ = writer.write_all(b"220 ready\r\n");
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
            let _ = writer.write_all(&[b"you said ", line.as_bytes(), b"ok"].concat());
            line.clear();
        }
    });
    let network = Arc::new(TestNetwork::local());
    let bench = Bench::on(&network);
    let mut spec = bench.spec("agents/tcp-script");
    let target = format!("smsc.example:{port}");
    spec.grants = Grants::parse(&[], &[format!("{target} private")], &[]).unwrap();
    spec.settings = format!("c {target};l 99;w hello {SECRET};l 99;r 2;x ;l 9;c other.example:1;").into();
    // A secret of the connector that happens to stand in what is said.
    spec.grants.secrets = vec!["key".to_owned()];
    spec.secrets = BTreeMap::from([("key".to_owned(), Secret::new(SECRET))]);
    let recorded = Recorded::one(bench, spec);
    assert!(recorded.said().contains("l220 ready;w;lyou said hello"), "{}", recorded.said());
    assert!(!recorded.text.contains(SECRET), "{}", recorded.text);
    same(&recorded.replay());
}

/// State in memory.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Vec<u8>>>);

impl KeptState for Kept {
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move { Ok(self.0.lock().unwrap().get(&key).cloned()) })
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

struct TakesAll;

impl Inbound for TakesAll {
    fn submit(&self, message: InboundMessage) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move { Ok(format!("id of {}", message.remote_id)) })
    }
}

#[test]
fn state_and_mail_that_is_handed_in_are_answered_from_the_recording() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/state");
    let kept = Kept(Mutex::new(BTreeMap::from([("done".to_owned(), b"xx".to_vec())])));
    spec.doors.state = Some(Arc::new(kept));
    spec.doors.state_quota = 1000;
    let recorded = Recorded::one(bench, spec);
    assert_eq!(recorded.report.outcomes.len(), 1);
    assert!(recorded.text.contains("\"state.swap\"") && recorded.text.contains("\"xxx\""));
    // There is no state at all where it is played.
    same(&recorded.replay());

    let bench = Bench::new();
    let mut spec = bench.spec("agents/inbound");
    spec.doors.inbound = Some(Arc::new(TakesAll));
    let recorded = Recorded::one(bench, spec);
    assert!(recorded.text.contains("hello\\r\\n") && recorded.text.contains("id of done"));
    same(&recorded.replay());
}

#[test]
fn clocks_and_random_numbers_are_those_of_the_recording() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/senses");
    spec.limits = Limits::default();
    // The milliseconds that were left differ each time.
    let message = request(1, b"Subject: x\r\n\r\n#wmhlRbdriHsl;");
    let recorded = Recorded::of(bench, spec, vec![message]);
    for call in ["wall-clock.now", "monotonic-clock.now", "host.now", "host.remaining-ms", "insecure-seed"] {
        assert!(recorded.text.contains(call), "{call}: {}", recorded.text);
    }
    for call in ["random.get-random-u64", "insecure.get-insecure-random-u64", "host.random"] {
        assert!(recorded.text.contains(call), "{call}: {}", recorded.text);
    }
    same(&recorded.replay());
    let bench = Bench::new();
    let spec = bench.spec("agents/wasi-doors");
    same(&Recorded::one(bench, spec).replay());
}

#[test]
fn the_same_trap_comes_again_and_another_version_is_told_apart() {
    let bench = Bench::new();
    let spec = bench.spec("agents/trap-on-large");
    let large = request(2, &b"x".repeat(100_000));
    let recorded = Recorded::of(bench, spec, vec![large]);
    let replay = recorded.replay();
    same(&replay);
    assert_eq!(replay.now[0]["trap"]["kind"], "trap", "{replay:?}");
    assert!(replay.now[0]["trap"]["backtrace"].to_string().contains("choke"), "{replay:?}");

    let mended = encode::encode_into(&wat("agents/deliver-all"), recorded.bench.folder());
    let replay = recorded.replay_to(&mended).unwrap();
    assert!(!replay.is_same() && !replay.same_agent);
    assert!(replay.divergences.is_empty(), "neither calls its host: {replay:?}");
    assert!(replay.differences.iter().any(|text| text.starts_with("trapped: recorded true")), "{replay:?}");
}

#[test]
fn a_version_that_asks_something_else_is_told_call_by_call() {
    let recorded = http_get("v1", Limits::default());
    let other = encode::encode_into(&wat("agents/deliver-all"), recorded.bench.folder());
    let replay = recorded.replay_to(&other).unwrap();
    let [unasked] = &replay.divergences[..] else { panic!("{replay:?}") };
    assert_eq!((&*unasked.call, &*unasked.phase, &unasked.came), ("http.send", "deliver", &None));
    assert!(!replay.differences.is_empty());
    // One that asks what was never recorded gets no answer, from nowhere.
    let other = encode::encode_into(&wat("agents/state"), recorded.bench.folder());
    let replay = recorded.replay_to(&other).unwrap();
    assert_eq!((&*replay.divergences[0].call, &replay.divergences[0].expected), ("state.get", &None));
    assert!(replay.now[0].to_string().contains("the recording has no answer to state.get"), "{replay:?}");
}

#[test]
fn several_deliveries_of_a_connection_are_recorded_one_by_one() {
    let bench = Bench::new();
    let spec = bench.spec("agents/deliver-all");
    let requests = (1..=3).map(|n| request(n, b"x")).collect();
    let recorded = Recorded::of(bench, spec, requests);
    assert_eq!(recorded.read().earlier_calls(), 2);
    assert_eq!(recorded.text.matches("\"item\":{\"message\"").count(), 1);
    same(&recorded.replay());
}

#[test]
fn items_of_a_batch_are_recorded_together() {
    let bench = Bench::new();
    let spec = bench.spec("agents/batch");
    let (component, agent) = (spec.component.clone(), bench.runtime.load(spec).unwrap());
    let recording = bench.run(async move {
        let mut connection = agent.open_recorded(&hop()).await.unwrap();
        connection.deliver_batch(&[request(1, b"a"), request(2, b"b")]).await;
        connection.take_recording().unwrap()
    });
    let replay = replay(&bench.runtime, &recording, &component).unwrap();
    same(&replay);
    assert_eq!(replay.now.len(), 2);
}

#[test]
fn what_is_too_large_is_cut_and_says_so() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/deliver-all");
    spec.limits.recording = 10_000;
    let recorded = Recorded::of(bench, spec, vec![request(1, &[b'x'; 20_000])]);
    assert!(recorded.text.len() < 10_000 && recorded.read().is_cut(), "{}", recorded.text.len());
    assert_eq!(recorded.stats.limits.of(Limit::Recording), 1);
    let error = recorded.replay_to(&recorded.component).unwrap_err().to_string();
    assert!(error.contains("20000 bytes: limit recording = 10000 bytes"), "{error}");
}

#[test]
fn an_agent_that_used_files_is_not_replayable() {
    let bench = Bench::new();
    let folder = bench.folder().join("in");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("letter"), "inside").unwrap();
    let mut spec = bench.spec("agents/files-script");
    spec.grants.directories = vec![DirectoryGrant::new(folder, None, Access::Read).unwrap()];
    let idle = Recorded::of(bench, spec, vec![request(1, b"Subject: x\r\n\r\n#;")]);
    assert!(idle.read().not_replayable().is_empty(), "a grant that is not used does no harm");

    let Recorded { bench, component, .. } = idle;
    let mut spec = AgentSpec::new(component, "test");
    let folder = bench.folder().join("in");
    spec.grants.directories = vec![DirectoryGrant::new(folder, None, Access::Read).unwrap()];
    let used = Recorded::of(bench, spec, vec![request(1, b"Subject: x\r\n\r\n#o0letter;")]);
    assert!(
        used.read().not_replayable()[0].contains("wasi:filesystem"),
        "{:?}",
        used.read().not_replayable()
    );
    assert!(matches!(used.replay_to(&used.component), Err(ReplayError::NotReplayable(_))));
}

#[test]
fn nothing_is_recorded_where_nobody_asked() {
    let bench = Bench::new();
    let agent = bench.load("agents/deliver-all");
    bench.run(async move {
        let mut connection = support::open(&agent).await;
        connection.deliver(&request(1, b"x")).await;
        assert!(connection.take_recording().is_none());
    });
}

#[test]
fn a_recording_of_every_version_that_was_released_can_be_played() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/samples/recording-v1.jsonl");
    let text = std::fs::read(samples).unwrap();
    let recording = Recording::read(&mut &text[..]).unwrap();
    let bench = Bench::new();
    let component = encode::encode_into(&wat("agents/http-get"), bench.folder());
    let replay = replay(&bench.runtime, &recording, &component).unwrap();
    // The component may have been built by another tool since.
    assert!(replay.is_same(), "{replay:#?}");
}
