//! Hostile clients at the door of a real host: whatever they send or do not send, they get an end, others are served, and
//! nothing is taken that was not handed over whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "hostile_clients/raw.rs"]
mod raw;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use postern_tests::{Host, Site, SmtpClient, SmtpSink, eventually, http, messages};
use raw::Raw;
use serde_json::json;

const JO: &str = "jo@home.example";
const ANN: &str = "ann@far.example";

/// Bytes that a client without end sends at most; the host throws away 64 MiB of a command or message before it hangs up.
const ENDLESS: usize = 200 << 20;

/// How often a slow client sends a byte.
const PACE: Duration = Duration::from_millis(200);

/// How much the host may have grown, in KiB, over a client that sends [`ENDLESS`] bytes.
const GROWTH: u64 = 48 << 10;

/// A host with one way out, and what it is expected to have taken.
struct Bench {
    sink: SmtpSink,
    site: Site,
    host: Host,
    good: usize,
}

impl Bench {
    fn new(receive: &str) -> Self {
        Self::with(receive, |_| {})
    }

    fn with(receive: &str, change: impl FnOnce(&mut Site)) -> Self {
        let sink = SmtpSink::start();
        let mut site = Site::with("", receive).send("far", "SMTP:far.example", sink.address(), "");
        change(&mut site);
        let host = site.start();
        Self { sink, site, host, good: 0 }
    }

    fn server(&self) -> SocketAddr {
        self.host.smtp()
    }

    /// A good client is served, and its message comes out.
    fn serves_others(&mut self) {
        self.good += 1;
        self.host.client().submit(JO, &[ANN], &messages::simple(&format!("good-{}", self.good)));
        assert_eq!(self.sink.wait_for(self.good).len(), self.good);
    }

    fn incoming(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.site.data().join("incoming")).expect("the folder of the host");
        entries.map(|entry| entry.expect("a readable folder").path()).collect()
    }

    /// Waits until no client is connected any more.
    fn all_gone(&self) {
        eventually("the end of all connections", || {
            let (_, text) = http::get(self.host.admin(), "/metrics");
            text.contains("postern_client_connections{connector=\"default\"} 0\n").then_some(())
        });
    }

    /// The host serves others, and has taken nothing but their mail.
    fn nothing_else_was_taken(mut self) {
        self.serves_others();
        self.all_gone();
        assert!(self.incoming().is_empty(), "left behind in incoming/: {:?}", self.incoming());
        eventually("empty queues", || (self.site.ask(&["queue", "list"]) == json!([])).then_some(()));
        let audit = self.site.audit();
        assert_eq!(
            (&audit["accepted"], &audit["relayed"]),
            (&self.good.into(), &self.good.into()),
            "{audit}"
        );
        self.host.stop();
        let audit = self.site.audit();
        assert_eq!(audit["accepted"], self.good, "{audit}");
        assert_eq!(self.sink.arrived().len(), self.good);
    }

    /// The most memory that the host has used so far, in KiB.
    fn peak(&self) -> u64 {
        let path = format!("/proc/{}/status", self.host.pid());
        let status = fs::read_to_string(path).expect("the host runs, on Linux");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak of its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// Sends a piece again and again until the server closes the connection; returns what it said.
fn send_without_end(mut client: Raw, piece: &[u8]) -> Vec<String> {
    let said = client.listen();
    let mut sent = 0;
    while client.send(piece).is_ok() {
        sent += piece.len();
        assert!(sent < ENDLESS, "{sent} bytes were taken without a word");
    }
    println!("the server closed the connection after {sent} bytes");
    said.join().expect("a reader")
}

fn code(line: &str) -> &str {
    line.get(..3).unwrap_or(line)
}

fn codes(lines: &[String]) -> Vec<&str> {
    lines.iter().filter(|line| line.as_bytes().get(3) != Some(&b'-')).map(|line| code(line)).collect()
}

#[test]
fn clients_that_fall_silent_anywhere_are_told_so_and_closed() {
    let bench = Bench::new("inactivity_timeout = \"1s\"");
    let server = bench.server();
    let mut greeted = Raw::connect(server);
    assert!(greeted.reply().starts_with("220 "));
    let mut in_command = Raw::connect(server);
    assert!(in_command.reply().starts_with("220 "));
    in_command.send(b"EHLO half.exam").unwrap();
    let in_transaction = Raw::begin(server, &[ANN], false);
    let mut in_data = Raw::begin(server, &[ANN], true);
    in_data.send(b"Subject: half\r\n\r\nthis message has no").unwrap();
    let mut in_chunk = Raw::begin(server, &[ANN], false);
    in_chunk.send(b"BDAT 1000 LAST\r\nSubject: half\r\n\r\n").unwrap();
    for mut client in [greeted, in_command, in_transaction, in_data, in_chunk] {
        let rest = client.rest();
        assert!(rest.len() == 1 && rest[0].starts_with("421 4.4.2 "), "{rest:?}");
    }
    bench.nothing_else_was_taken();
}

#[test]
fn a_client_that_sends_one_byte_now_and_then_is_closed_by_the_limit_of_a_connection() {
    let bench = Bench::new("inactivity_timeout = \"1s\"\nconnection_timeout = \"2s\"");
    let mut client = Raw::connect(bench.server());
    assert!(client.reply().starts_with("220 "));
    // Each byte comes within the inactivity timeout, so that only the other limit can end this.
    let mut sent = 0;
    while client.hears_nothing_for(PACE) && client.send(b"N").is_ok() {
        sent += 1;
        assert!(sent < 200, "{sent} bytes, one in {PACE:?}, and the connection is still open");
    }
    assert!(sent > 2, "closed after {sent} bytes, before its time");
    bench.nothing_else_was_taken();
}

#[test]
fn more_connections_than_one_source_may_have_are_refused_and_the_others_work_on() {
    let mut bench = Bench::with("", |site| {
        site.change("max_connections_per_source = 1000", "max_connections_per_source = 3");
    });
    let mut clients: Vec<SmtpClient> = (0..3).map(|_| bench.host.client()).collect();
    for _ in 0..50 {
        let rest = Raw::connect(bench.server()).rest();
        assert!(rest.len() == 1 && rest[0].starts_with("421 "), "{rest:?}");
        assert!(rest[0].contains("max_connections_per_source"), "{rest:?}");
    }
    for client in &mut clients {
        bench.good += 1;
        client.submit(JO, &[ANN], &messages::simple("good"));
    }
    assert_eq!(bench.sink.wait_for(3).len(), 3);
    // The place of one that leaves is free again.
    assert_eq!(clients.pop().unwrap().command("QUIT").code, 221);
    let admitted = eventually("a free place", || {
        let mut client = Raw::connect(bench.server());
        client.reply().starts_with("220 ").then_some(client)
    });
    drop((clients, admitted));
    bench.all_gone();
    bench.nothing_else_was_taken();
}

#[test]
fn more_connections_than_there_may_be_are_refused() {
    let bench = Bench::new("max_connections = 2");
    let mut clients: Vec<SmtpClient> = (0..2).map(|_| bench.host.client()).collect();
    let rest = Raw::connect(bench.server()).rest();
    assert!(
        rest.len() == 1 && rest[0].starts_with("421 ") && rest[0].contains("max_connections"),
        "{rest:?}"
    );
    for client in &mut clients {
        assert_eq!(client.command("NOOP").code, 250);
    }
    drop(clients);
    bench.all_gone();
    bench.nothing_else_was_taken();
}

#[test]
fn a_command_line_without_end_is_refused_at_once_and_cut_off_without_being_kept() {
    let mut bench = Bench::new("");
    bench.serves_others();
    let before = bench.peak();
    let client = Raw::connect(bench.server());
    let said = send_without_end(client, &[b'A'; 64 << 10]);
    assert_eq!(codes(&said), ["220", "500", "421"], "{said:?}");
    let grown = bench.peak() - before;
    assert!(grown < GROWTH, "{grown} KiB more than before");
    bench.nothing_else_was_taken();
}

#[test]
fn a_header_without_end_is_cut_off_without_being_kept() {
    let mut bench = Bench::new("");
    bench.serves_others();
    let before = bench.peak();
    let fields = b"X-Field: a field like any other, but there is no end of them\r\n".repeat(1_000);
    for piece in [&fields[..], &[b'a'; 64 << 10]] {
        let said = send_without_end(Raw::begin(bench.server(), &[ANN], true), piece);
        assert_eq!(codes(&said), ["552"], "{said:?}");
    }
    let grown = bench.peak() - before;
    assert!(grown < GROWTH, "{grown} KiB more than before");
    bench.nothing_else_was_taken();
}

#[test]
fn a_header_that_is_too_large_is_refused_at_its_end_and_the_conversation_goes_on() {
    let bench = Bench::new("");
    let mut client = Raw::begin(bench.server(), &[ANN], true);
    client.send(&b"X-Field: one of too many\r\n".repeat(40_000)).unwrap();
    let reply = client.command("\r\nbody\r\n.");
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    assert!(client.command("NOOP").starts_with("250 "));
    drop(client);
    bench.nothing_else_was_taken();
}

#[test]
fn a_message_without_end_is_cut_off_and_leaves_no_file() {
    let bench = Bench::new("max_message_size = \"4MiB\"");
    let body = b"a line of a message that has no end at all\r\n".repeat(1_000);
    let mut client = Raw::begin(bench.server(), &[ANN], true);
    client.send(b"Subject: endless\r\n\r\n").unwrap();
    let said = send_without_end(client, &body);
    assert_eq!(codes(&said), ["552"], "{said:?}");
    let mut client = Raw::begin(bench.server(), &[ANN], false);
    client.send(b"BDAT 18446744073709551615 LAST\r\nSubject: endless\r\n\r\n").unwrap();
    let said = send_without_end(client, &body);
    assert!(matches!(codes(&said)[..], ["552" | "501" | "421", ..]), "{said:?}");
    bench.nothing_else_was_taken();
}

#[test]
fn a_message_that_turns_out_too_large_for_its_connector_is_refused_and_leaves_no_file() {
    let bench = Bench::with("", |site| {
        site.change("retry = \"1s\"", "retry = \"1s\"\nmax_message_size = \"100KiB\"")
    });
    let mut client = bench.host.client();
    // Its size was not announced, so that it is known at its end only.
    client.envelope(JO, &[ANN]).unwrap();
    let reply = client.data(&messages::sized("large", 2_000_000)).unwrap();
    assert!((500..600).contains(&reply.code), "{reply:?}");
    drop(client);
    bench.nothing_else_was_taken();
}

#[test]
fn floods_of_mail_and_rcpt_are_limited_and_lead_to_nothing() {
    let bench = Bench::new("");
    // Begun and given up, ten thousand times.
    let mut client = Raw::connect(bench.server());
    assert!(client.reply().starts_with("220 ") && client.command("EHLO flood.example").starts_with("250 "));
    let said = client.listen();
    client.send(&b"MAIL FROM:<jo@home.example>\r\nRSET\r\n".repeat(10_000)).unwrap();
    client.send(b"QUIT\r\n").unwrap();
    let said = said.join().unwrap();
    assert_eq!(said.iter().filter(|line| code(line) == "250").count(), 20_000);
    assert_eq!(code(&said[20_000]), "221");

    // More recipients than a message may have: the surplus is told to come later.
    let mut client = Raw::begin(bench.server(), &[ANN], false);
    let said = client.listen();
    client.send(&b"RCPT TO:<ann@far.example>\r\n".repeat(10_000)).unwrap();
    client.send(b"RSET\r\nQUIT\r\n").unwrap();
    let said = said.join().unwrap();
    let count = |wanted: &str| said.iter().filter(|line| code(line) == wanted).count();
    assert_eq!((count("250"), count("452"), count("221")), (199 + 1, 10_000 - 199, 1));

    // MAIL within MAIL is an error each time, and errors have an end.
    let mut client = Raw::begin(bench.server(), &[ANN], false);
    let said = client.listen();
    let _ = client.send(&b"MAIL FROM:<jo@home.example>\r\n".repeat(10_000));
    let said = said.join().unwrap();
    assert_eq!(codes(&said), ["503", "503", "503", "503", "503", "421"], "{said:?}");

    // Unknown recipients: the client is told each time, and those who try which addresses there are find an end.
    let mut client = Raw::begin(bench.server(), &[], false);
    let said = client.listen();
    let _ = client.send(&b"RCPT TO:<ann@nowhere.example>\r\n".repeat(5_000));
    let said = said.join().unwrap();
    let (last, refused) = codes(&said).split_last().map(|(last, rest)| (*last, rest.to_vec())).unwrap();
    assert_eq!((last, refused), ("421", vec!["550"; 100]));
    bench.nothing_else_was_taken();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_message_hands_nothing_in() {
    let bench = Bench::new("");
    for size in [0, 1, 1_000, 300_000, 3_000_000] {
        let message = messages::sized("half", size);
        let mut data = Raw::begin(bench.server(), &[ANN], true);
        data.send(&message).unwrap();
        drop(data);
        // Almost the end: a dot, and no line end behind it.
        let mut dot = Raw::begin(bench.server(), &[ANN], true);
        dot.send(&message).unwrap();
        dot.send(b".").unwrap();
        drop(dot);
        let mut chunk = Raw::begin(bench.server(), &[ANN], false);
        chunk.send(format!("BDAT {} LAST\r\n", message.len() + 1).as_bytes()).unwrap();
        chunk.send(&message).unwrap();
        drop(chunk);
        // All chunks but the last.
        let mut chunks = Raw::begin(bench.server(), &[ANN], false);
        for _ in 0..3 {
            chunks.send(format!("BDAT {}\r\n", message.len()).as_bytes()).unwrap();
            chunks.send(&message).unwrap();
            assert!(chunks.reply().starts_with("250 "));
        }
        drop(chunks);
        // No more is sent, but the client still listens: nothing is promised.
        let mut deaf = Raw::begin(bench.server(), &[ANN], true);
        deaf.send(&message).unwrap();
        deaf.finish();
        let rest = deaf.rest();
        assert!(rest.iter().all(|line| !line.starts_with('2')), "{rest:?}");
    }
    bench.nothing_else_was_taken();
}

#[test]
fn a_large_message_on_its_way_in_is_a_file_that_goes_away_with_its_client() {
    let bench = Bench::new("");
    let mut client = Raw::begin(bench.server(), &[ANN], true);
    client.send(&messages::sized("half", 3_000_000)).unwrap();
    eventually("the file of the message", || (bench.incoming().len() == 1).then_some(()));
    drop(client);
    eventually("the end of the file", || bench.incoming().is_empty().then_some(()));
    bench.nothing_else_was_taken();
}

#[test]
fn a_client_that_never_reads_its_replies_is_closed() {
    let mut bench = Bench::new("inactivity_timeout = \"1s\"");
    bench.serves_others();
    let before = bench.peak();
    let mut client = Raw::connect(bench.server());
    let pieces = b"EHLO deaf.example\r\n".repeat(3_000);
    let mut sent = 0;
    let error = loop {
        match client.send(&pieces) {
            Ok(()) => sent += pieces.len(),
            Err(error) => break error,
        }
        assert!(sent < ENDLESS, "{sent} bytes were taken without one reply being read");
    };
    println!("{error} after {sent} bytes");
    assert!(
        !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
        "not closed: {error}"
    );
    let grown = bench.peak() - before;
    assert!(grown < GROWTH, "{grown} KiB more than before");
    drop(client);
    bench.nothing_else_was_taken();
}

#[test]
fn ten_thousand_pipelined_commands_get_ten_thousand_replies() {
    let bench = Bench::new("");
    let mut client = Raw::connect(bench.server());
    let said = client.listen();
    client.send(b"EHLO pipe.example\r\n").unwrap();
    client.send(&b"NOOP\r\n".repeat(10_000)).unwrap();
    client.send(b"QUIT\r\n").unwrap();
    let said = said.join().unwrap();
    let codes = codes(&said);
    assert_eq!((codes.len(), codes[0], codes[10_002]), (10_003, "220", "221"));
    assert!(codes[1..10_002].iter().all(|code| *code == "250"));
    bench.nothing_else_was_taken();
}

#[test]
fn garbage_is_refused_and_ends() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new("");
    let valid = b"EHLO a.example\r\nMAIL FROM:<jo@home.example>\r\nRCPT TO:<ann@far.example>\r\nRCPT TO:<x";
    for round in 0..200 {
        let mut client = Raw::connect(bench.server());
        let said = client.listen();
        let size = rng.usize(1..20_000);
        let bytes: Vec<u8> = match round % 3 {
            // Anything.
            0 => (0..size).map(|_| rng.u8(..)).collect(),
            // Lines of anything.
            1 => (0..size)
                .map(|_| if rng.u8(0..20) == 0 { b'\n' } else { rng.u8(..) })
                .flat_map(line)
                .collect(),
            // A conversation that goes wrong.
            _ => {
                let mut bytes = valid[..rng.usize(1..=valid.len())].to_vec();
                for _ in 0..rng.usize(1..4) {
                    let at = rng.usize(0..bytes.len());
                    bytes[at] = rng.u8(..);
                }
                bytes
            }
        };
        // It may be closed on before all is sent.
        let _ = client.send(&bytes);
        client.finish();
        let said = said.join().unwrap();
        assert_eq!(said.first().map(|line| code(line)), Some("220"), "round {round}, seed {seed}: {said:?}");
        let strange: Vec<&String> = said.iter().filter(|line| !is_reply(line)).collect();
        assert!(strange.is_empty(), "round {round}, seed {seed}: {strange:?}");
    }
    // A TLS hello and an HTTP request, as port scanners send them.
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n"]
    {
        let mut client = Raw::connect(bench.server());
        let _ = client.send(bytes);
        client.finish();
        let rest = client.rest();
        assert!(rest.iter().all(|line| is_reply(line)), "{rest:?}");
    }
    bench.serves_others();
    bench.nothing_else_was_taken();
}

/// A byte, or a line end for a line feed.
fn line(byte: u8) -> Vec<u8> {
    if byte == b'\n' { b"\r\n".to_vec() } else { vec![byte] }
}

/// Whether a line is one of an SMTP reply: a code, a space or a hyphen, and printable text.
fn is_reply(line: &str) -> bool {
    let (code, rest) = line.split_at_checked(3).unwrap_or((line, ""));
    code.bytes().all(|b| b.is_ascii_digit())
        && (rest.is_empty() || rest.starts_with([' ', '-']))
        && rest.bytes().all(|b| (0x20..0x7f).contains(&b))
}
