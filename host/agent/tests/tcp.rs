//! TCP of agents against servers on the loopback: what is granted works, everything else is refused before it leaves.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use postern_agent::{Agent, Grants, Limits, Secret};
use support::network::TestNetwork;
use support::{Bench, logs, open, request};

/// Serves each connection on a thread of its own. Gives the port.
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

/// Greets, then answers each line, until the client ends the stream or says `bye`.
fn talk(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let _ = writer.write_all(b"220 ready\r\n");
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) && line != "bye\r\n" {
        if writer.write_all(format!("you said {line}").as_bytes()).is_err() {
            return;
        }
        line.clear();
    }
}

/// Says one thing and ends the stream.
fn say(what: &'static [u8]) -> u16 {
    server(move |mut stream| {
        let _ = stream.write_all(what);
    })
}

struct Case {
    bench: Bench,
    network: Arc<TestNetwork>,
    port: u16,
}

impl Case {
    fn new(port: u16) -> Self {
        Self::on(TestNetwork::local(), port)
    }

    fn on(network: TestNetwork, port: u16) -> Self {
        let network = Arc::new(network);
        Self { bench: Bench::on(&network), network, port }
    }

    /// An agent that acts out a script (`agents/tcp-script.wat`). `PORT` stands for the server's port.
    fn agent(&self, grants: &[&str], script: &str, limits: Limits) -> Agent {
        let mut spec = self.bench.spec("agents/tcp-script");
        let with_port = |text: &str| text.replace("PORT", &self.port.to_string());
        let grants: Vec<String> = grants.iter().map(|grant| with_port(grant)).collect();
        spec.settings = with_port(script).into();
        spec.grants = Grants::parse(&[], &grants, &[]).unwrap();
        spec.limits = limits;
        self.bench.runtime.load(spec).unwrap()
    }

    /// What one call of a script with the usual grant says.
    fn play(&self, script: &str) -> String {
        let agent = self.agent(&[GRANT], script, Limits::default());
        self.bench.texts(&agent, 1).remove(0)
    }
}

const GRANT: &str = "smsc.example:PORT private";

#[test]
fn a_granted_name_is_reached_and_lines_go_both_ways() {
    let case = Case::new(server(talk));
    let said = case.play("c SMSC.example:PORT;l 99;w hello;l 99;w again;r 3;r 99;x;");
    assert_eq!(said, "c;l220 ready;w;lyou said hello;w;ryou;r said again ;x;");
    assert_eq!(case.network.asked(), ["smsc.example"]);
}

#[test]
fn a_connection_lives_over_deliveries_and_ends_with_the_agents_own() {
    let (ended, end) = mpsc::channel();
    let case = Case::new(server(move |stream| {
        talk(stream);
        ended.send(()).unwrap();
    }));
    let agent = case.agent(&[GRANT], "c smsc.example:PORT;l 99;|w one;l 99;|w two;l 99;", Limits::default());
    let said = case.bench.texts(&agent, 3);
    assert_eq!(said, ["c;l220 ready;", "w;lyou said one;", "w;lyou said two;"]);
    end.recv_timeout(Duration::from_secs(20)).expect("the far end sees the end of the stream");
    assert_eq!(case.network.dialled().len(), 1);
    let stats = agent.stats();
    assert_eq!((stats.tcp_connections, stats.tcp_open, stats.tcp_refused), (1, 0, 0));
    // "220 ready", "you said one", "you said two" and what ended them; "one" and "two" with CRLF.
    assert_eq!((stats.tcp_read, stats.tcp_written), (11 + 14 + 14, 5 + 5));
}

#[test]
fn a_connection_lives_over_ticks() {
    let case = Case::new(server(talk));
    let agent = case.agent(&[GRANT], "c smsc.example:PORT;l 99;|w ping;l 99;|w two;l 99;", Limits::default());
    case.bench.run(async move {
        let mut connection = open(&agent).await;
        connection.deliver(&request(1, b"")).await;
        connection.tick().await.unwrap();
        let report = connection.deliver(&request(1, b"")).await;
        let said = &report.outcomes[0].outcome.response().text;
        assert_eq!(said, "w;lyou said ping;w;lyou said two;");
        assert_eq!(agent.stats().tcp_connections, 1);
    });
}

#[test]
fn what_is_not_granted_never_leaves() {
    let case = Case::new(server(talk));
    let table: &[(&[&str], &str, &str)] = &[
        (&[], "smsc.example:PORT", "tcp is not granted"),
        (&[GRANT], "smsc.example:1", "no grant allows tcp to smsc.example:1"),
        (&[GRANT], "evil.example:PORT", "no grant allows tcp to evil.example:"),
        (&[GRANT], "smsc.example.evil.example:PORT", "no grant allows"),
        (&[GRANT], "127.0.0.1:PORT", "no grant allows tcp to 127.0.0.1:"),
        (&[GRANT], "[::ffff:127.0.0.1]:PORT", "no grant allows tcp to [::ffff:"),
        (&["127.0.0.1:PORT"], "127.0.0.2:PORT", "no grant allows"),
        (&["127.0.0.1:PORT"], "localhost:PORT", "no grant allows"),
        (&[GRANT], "tls://smsc.example:PORT", "must read HOST:PORT"),
        (&[GRANT], "smsc.example", "must read HOST:PORT"),
        (&[GRANT], "smsc.example:PORT/x", "must read HOST:PORT"),
        (&[GRANT], "u@smsc.example:PORT", "must read HOST:PORT"),
        (&[GRANT], "", "must read HOST:PORT"),
    ];
    for (grants, target, why) in table {
        let agent = case.agent(grants, &format!("c {target};"), Limits::default());
        let said = case.bench.texts(&agent, 1).remove(0);
        assert!(said.starts_with("c!0 ") && said.contains(why), "{target}: {said}");
        assert_eq!(agent.stats().tcp_refused, 1, "{target}");
    }
    assert_eq!((case.network.asked(), case.network.dialled()), (vec![], vec![]));
}

#[test]
fn a_name_leads_inside_only_where_that_is_granted() {
    let port = server(talk);
    let table = [
        ("93.184.216.34", true, true),
        ("127.0.0.1", false, true),
        ("::1", false, true),
        ("::ffff:127.0.0.1", false, true),
        ("10.1.2.3", false, true),
        ("192.168.1.1", false, true),
        ("::ffff:172.16.0.1", false, true),
        ("fd00::1", false, true),
        ("64:ff9b::7f00:1", false, true),
        ("169.254.169.254", false, false),
        ("::ffff:169.254.169.254", false, false),
        ("fe80::1", false, false),
        ("0.0.0.0", false, false),
        ("::", false, false),
        ("::ffff:0.0.0.0", false, false),
        ("255.255.255.255", false, false),
        ("224.0.0.1", false, false),
    ];
    for (address, plain, private) in table {
        let case = Case::on(TestNetwork::new(&[&[address]]), port);
        for (grant, allowed) in [("a.example:PORT", plain), ("a.example:PORT private", private)] {
            let before = case.network.dialled().len();
            let agent = case.agent(&[grant], "c a.example:PORT;", Limits::default());
            let said = case.bench.texts(&agent, 1).remove(0);
            assert_eq!(said == "c;", allowed, "{grant} at {address}: {said}");
            assert_eq!(case.network.dialled().len() - before, usize::from(allowed), "{grant} at {address}");
        }
    }
}

#[test]
fn a_name_that_changes_its_mind_is_checked_for_each_connection_and_dialled_as_checked() {
    let case = Case::on(TestNetwork::new(&[&["93.184.216.34"], &["127.0.0.1"]]), server(talk));
    let agent =
        case.agent(&["a.example:PORT"], "c a.example:PORT;l 99;d;c a.example:PORT;", Limits::default());
    let said = case.bench.texts(&agent, 1).remove(0);
    assert!(said.starts_with("c;l220 ready;d;c!0 a.example leads to 127.0.0.1, which"), "{said}");
    assert_eq!(case.network.dialled(), ["93.184.216.34"]);
    assert_eq!(case.network.asked().len(), 2, "one look-up for each connection");
}

#[test]
fn what_was_closed_stays_closed() {
    let case = Case::new(server(talk));
    let said = case.play("c smsc.example:PORT;x;l 9;r 9;w x;x;l 9;d;");
    assert_eq!(said, "c;x;l!4;r!4;w!4;x;l!4;d;");
}

#[test]
fn a_dropped_connection_ends_at_the_far_end() {
    let (ended, end) = mpsc::channel();
    let case = Case::new(server(move |mut stream| {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        ended.send(said).unwrap();
    }));
    let agent = case.agent(&[GRANT], "c smsc.example:PORT;w all of it;d;|", Limits::default());
    let opened = agent.clone();
    case.bench.run(async move {
        let mut connection = open(&opened).await;
        connection.deliver(&request(1, b"")).await;
        // The agent's own connection is still open.
        assert_eq!(end.recv_timeout(Duration::from_secs(20)).unwrap(), b"all of it\r\n");
        assert_eq!(opened.stats().tcp_open, 0);
        connection.close().await.unwrap();
    });
}

#[test]
fn a_silent_far_end_is_a_timeout_after_which_the_connection_goes_on() {
    let case = Case::new(server(talk));
    let said = case.play("c smsc.example:PORT;l 99;t 30;l 99;r 9;t 5000;w go;l 99;");
    assert_eq!(said, "c;l220 ready;t;l!1;r!1;t;w;lyou said go;");
}

#[test]
fn no_step_outlasts_the_deadline_of_the_call() {
    let case = Case::new(server(talk));
    let limits = Limits { deadline: Duration::from_millis(500), ..Limits::default() };
    let agent = case.agent(&[GRANT], "c smsc.example:PORT;l 99;t 3600000;l 99;", limits);
    assert_eq!(case.bench.texts(&agent, 1), ["c;l220 ready;t;l!1;"]);
    assert_eq!(agent.stats().deadlines, 0);
}

#[test]
fn a_call_cut_off_in_a_read_leaves_nothing_behind() {
    let (told, events) = mpsc::channel();
    let case = Case::new(server(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        told.send(line).unwrap();
        let rest = reader.read(&mut [0]);
        told.send(format!("{:?}", rest.ok())).unwrap();
        let _ = stream.write_all(b"too late\r\n");
    }));
    let agent = case.agent(&[GRANT], "c smsc.example:PORT;w waiting;l 99;", Limits::default());
    let runner = agent.clone();
    let wait = Duration::from_secs(20);
    case.bench.run(async move {
        let mut connection = open(&runner).await;
        let request = request(1, b"");
        let (reached, mut waiting) = tokio::sync::oneshot::channel();
        let listener = thread::spawn(move || {
            assert_eq!(events.recv_timeout(wait).unwrap(), "waiting\r\n");
            reached.send(()).unwrap();
            events.recv_timeout(wait).unwrap()
        });
        tokio::select! {
            report = connection.deliver(&request) => panic!("{report:?}"),
            _ = &mut waiting => {}
        }
        assert!(!connection.is_usable());
        let seen = tokio::task::spawn_blocking(move || listener.join().unwrap()).await.unwrap();
        assert_eq!(seen, "Some(0)", "the far end sees the end of the stream");
        assert!(connection.deliver(&request).await.broken);
    });
    assert_eq!((agent.stats().live, agent.stats().tcp_open, case.bench.runtime.free_instances()), (0, 0, 16));
}

#[test]
fn connections_are_limited_at_once_and_in_one_call() {
    let case = Case::new(server(talk));
    let connect = "c smsc.example:PORT;";
    let limits = Limits { tcp_open: 2, ..Limits::default() };
    let script = format!("{connect}{connect}{connect}d;{connect}{connect}|{connect}");
    let agent = case.agent(&[GRANT], &script, limits);
    let refused = "c!0 more than tcp_open = 2 connections at once;";
    let said = case.bench.texts(&agent, 2);
    assert_eq!(said, [format!("c;c;{refused}d;c;{refused}"), refused.to_owned()]);
    assert_eq!((agent.stats().tcp_connections, agent.stats().tcp_refused), (3, 3));

    let limits = Limits { tcp_connects: 1, ..Limits::default() };
    let agent = case.agent(&[GRANT], &format!("{connect}d;{connect}|{connect}"), limits);
    let said = case.bench.texts(&agent, 2);
    assert_eq!(said, ["c;d;c!0 more than tcp_connects = 1 attempts in one call;", "c;"]);
}

#[test]
fn bytes_of_one_call_are_limited_both_ways() {
    let case = Case::new(server(talk));
    let limits = Limits { tcp_read: 12, tcp_written: 8, ..Limits::default() };
    let script = "c smsc.example:PORT;l 99;|w one;n 4;w two;|n 8;n 1;|";
    let agent = case.agent(&[GRANT], script, limits.clone());
    let said = case.bench.texts(&agent, 3);
    assert_eq!(
        said[1],
        "w;n!0 more than tcp_written = 8 bytes in one call;w!0 more than tcp_written = 8 bytes in one call;"
    );
    assert_eq!(said[2], "n;n!0 more than tcp_written = 8 bytes in one call;");
    assert_eq!((agent.stats().tcp_written, agent.stats().tcp_refused), (5 + 8, 3));

    let case = Case::new(say(b"0123456789\r\nabcdefghijklmnop\r\nrest"));
    let script = "c smsc.example:PORT;r 9;r 9;r 9;|r 1;l 99;l 99;|r 99;r 99;";
    let agent = case.agent(&[GRANT], script, limits);
    let refused = "!0 more than tcp_read = 12 bytes in one call;";
    let said = case.bench.texts(&agent, 3);
    assert_eq!(said[0], format!("c;r012345678;r9 ;r{refused}"));
    // What is too much for this call is still there for the next.
    assert_eq!(said[1], format!("ra;l{refused}l{refused}"));
    assert_eq!(said[2], format!("rbcdefghijklm;r{refused}"));
}

#[test]
fn a_line_is_limited_and_stays_readable() {
    let case = Case::new(say(b"12345\r\n1234567\r\nlast"));
    let agent = case.agent(
        &[GRANT],
        "c smsc.example:PORT;l 99;l 99;r 4;l 99;l 99;r 99;l 99;r 99;",
        Limits { tcp_line: 6, ..Limits::default() },
    );
    let said = case.bench.texts(&agent, 1).remove(0);
    assert_eq!(
        said,
        "c;l12345;l!5 no end of line within 6 bytes;r1234;l567;l!5 the stream ended within a line;rlast;l-;r;"
    );
}

#[test]
fn a_read_of_nothing_is_not_taken_for_the_end() {
    let case = Case::new(server(talk));
    let said = case.play("c smsc.example:PORT;r 0;l 99;");
    assert_eq!(said, "c;r!5 a read of 0 bytes would look like the end of the stream;l220 ready;");
}

#[test]
fn a_refused_connection_and_an_unknown_name_say_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let case = Case::new(listener.local_addr().unwrap().port());
    drop(listener);
    let said = case.play("c smsc.example:PORT;");
    assert!(said.starts_with("c!2 no connection to 127.0.0.1:"), "{said}");
    let nowhere = Case::on(TestNetwork::new(&[]), case.port);
    assert_eq!(
        nowhere.play("c smsc.example:PORT;"),
        "c!2 smsc.example cannot be resolved: the name has no address;"
    );
}

#[test]
fn every_refusal_is_logged_with_connector_capability_and_target_and_without_secrets() {
    logs::keep();
    let case = Case::new(server(talk));
    let mut spec = case.bench.spec("agents/tcp-script");
    spec.connector = "logged".to_owned();
    spec.settings = "c evil.example:25;c s3cret.evil.example:25;".into();
    spec.grants = Grants::parse(&[], &["smsc.example:2775".to_owned()], &["key".to_owned()]).unwrap();
    spec.secrets.insert("key".to_owned(), Secret::new("s3cret"));
    let agent = case.bench.runtime.load(spec).unwrap();
    case.bench.texts(&agent, 1);
    let lines = logs::of("logged");
    let refused: Vec<_> = lines.iter().filter(|line| line.contains("the agent was refused")).collect();
    assert_eq!(refused.len(), 2, "{lines:#?}");
    for part in ["WARN", "capability=tcp", "to=\"evil.example:25\"", "no grant allows tcp to evil.example:25"]
    {
        assert!(refused[0].contains(part), "{part}: {}", refused[0]);
    }
    assert!(refused[1].contains("to=\"(secret key).evil.example:25\""), "{}", refused[1]);
    assert!(!refused[1].contains("s3cret"), "{}", refused[1]);
}
