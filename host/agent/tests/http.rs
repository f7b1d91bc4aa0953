//! HTTP of agents against a server on the loopback: what is granted works, everything else is refused before it leaves.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use postern_agent::{Agent, Grants, Limits, Secret};
use postern_model::Outcome;
use support::network::TestNetwork;
use support::{Bench, logs};

/// A server that answers by path, and tells the heads of the requests that reached it.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    heads: mpsc::Receiver<String>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, heads) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let seen = seen.clone();
                thread::spawn(move || serve(stream.unwrap(), &seen));
            }
        });
        Self { port, connections, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.try_iter().collect()
    }
}

fn serve(stream: TcpStream, seen: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let token = head.lines().find_map(|l| l.strip_prefix("authorization: ")).unwrap_or("none").to_owned();
        seen.send(head).unwrap();
        let answer = match path.as_str() {
            "/v1/big" => format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000)),
            "/v1/endless" => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                while writer.write_all(b"3e8\r\n").is_ok()
                    && writer.write_all(&[b'x'; 1000]).is_ok()
                    && writer.write_all(b"\r\n").is_ok()
                {}
                return;
            }
            // Silent until the client goes.
            "/v1/silent" => {
                let _ = reader.read(&mut [0]);
                return;
            }
            // A chunk of 16 EiB, of which one byte comes.
            "/v1/huge-chunk" => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx";
                let _ = writer.write_all(head.as_bytes());
                return;
            }
            // Answers once and goes.
            "/v1/last" => {
                let _ = writer
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nlast");
                return;
            }
            "/v1/moved" => {
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 5\r\n\r\nmoved"
                    .to_owned()
            }
            _ => format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path} {token}",
                path.len() + 1 + token.len()
            ),
        };
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// What the agent got for a URL: `Ok(body)`, or `Err("<number of the fault> <text>")`.
fn get(bench: &Bench, agent: &Agent) -> Result<String, String> {
    let (report, usable) = bench.deliver(agent, 1);
    assert!(usable, "{report:?}");
    match &report.outcomes[0].outcome {
        Outcome::Delivered(response) => Ok(response.text.clone()),
        Outcome::Deferred(deferral) => Err(deferral.response.text.clone()),
        other => panic!("{other:?}"),
    }
}

struct Case {
    bench: Bench,
    server: Server,
}

impl Case {
    fn new() -> Self {
        Self { bench: Bench::new(), server: Server::start() }
    }

    fn on(network: &Arc<TestNetwork>) -> Self {
        Self { bench: Bench::on(network), server: Server::start() }
    }

    fn agent(&self, grant: &str, url: &str, limits: Limits) -> Agent {
        let mut spec = self.bench.spec("agents/http-get");
        spec.settings = self.with_port(url).into();
        let grants: Vec<String> = if grant.is_empty() { vec![] } else { vec![self.with_port(grant)] };
        spec.grants = Grants::parse(&grants, &[], &["key".to_owned(), "pem".to_owned()]).unwrap();
        let secrets = [("key", "s3cret"), ("pem", "-----BEGIN\nX-Evil: 1"), ("other", "0ther")];
        spec.secrets.extend(secrets.map(|(name, value)| (name.to_owned(), Secret::new(value))));
        spec.limits = limits;
        self.bench.runtime.load(spec).unwrap()
    }

    fn with_port(&self, text: &str) -> String {
        text.replace("PORT", &self.server.port.to_string())
    }

    fn get(&self, grant: &str, url: &str) -> Result<String, String> {
        get(&self.bench, &self.agent(grant, url, Limits::default()))
    }
}

const GRANT: &str = "http://127.0.0.1:PORT/v1/";

#[test]
fn a_granted_url_is_reached_with_the_secret_in_its_header() {
    let case = Case::new();
    let got = case.get(GRANT, "http://127.0.0.1:PORT/v1/faxes?a=b");
    assert_eq!(got.unwrap(), "/v1/faxes?a=b Bearer s3cret");
    let heads = case.server.heads();
    assert!(heads[0].contains(&format!("host: 127.0.0.1:{}", case.server.port)), "{heads:?}");
}

#[test]
fn localhost_may_be_granted_by_name() {
    let case = Case::new();
    let got = case.get("http://localhost:PORT/", "http://localhost:PORT/v1/x");
    assert_eq!(got.unwrap(), "/v1/x Bearer s3cret");
}

#[test]
fn what_is_not_granted_never_leaves() {
    let case = Case::new();
    let table = [
        ("", "http://127.0.0.1:PORT/v1/"),
        (GRANT, "http://127.0.0.1:PORT/admin"),
        (GRANT, "http://127.0.0.1:PORT/v1/../admin"),
        (GRANT, "http://127.0.0.1:PORT/v1/%2e%2e/admin"),
        (GRANT, "http://127.0.0.1:PORT/v1/..%2fadmin"),
        (GRANT, "http://localhost:PORT/v1/"),
        (GRANT, "http://a@127.0.0.1:PORT/v1/"),
        (GRANT, "https://127.0.0.1:PORT/v1/"),
        ("POST http://127.0.0.1:PORT/v1/", "http://127.0.0.1:PORT/v1/"),
        (GRANT, "http://[::ffff:127.0.0.1]:PORT/v1/"),
        (GRANT, "http://0.0.0.0:PORT/v1/"),
        (GRANT, "http://[::]:PORT/v1/"),
        (GRANT, "http://[::1]:PORT/v1/"),
        (GRANT, "ftp://127.0.0.1:PORT/v1/"),
        (GRANT, "nonsense"),
    ];
    for (grant, url) in table {
        let got = case.get(grant, url);
        assert!(got.as_ref().is_err_and(|text| text.starts_with("0 ")), "{grant} {url}: {got:?}");
    }
    assert_eq!(case.server.heads(), [""; 0]);
}

#[test]
fn a_redirect_is_not_followed() {
    let case = Case::new();
    assert_eq!(case.get(GRANT, "http://127.0.0.1:PORT/v1/moved").unwrap(), "moved");
}

#[test]
fn an_agent_that_follows_a_redirect_itself_is_checked_again() {
    let network = Arc::new(TestNetwork::local());
    let case = Case::on(&network);
    let agent = case.agent(
        "http://fax.example:PORT/v1/ private",
        ">http://fax.example:PORT/v1/moved",
        Limits::default(),
    );
    let refused = get(&case.bench, &agent).unwrap_err();
    assert_eq!(refused, "0 no grant allows GET http://127.0.0.1:1/");
    assert_eq!((network.dialled().len(), agent.stats().http_refused), (1, 1));
}

#[test]
fn a_name_that_changes_its_mind_is_checked_for_each_connection_and_dialled_as_checked() {
    let network = Arc::new(TestNetwork::new(&[&["93.184.216.34"], &["127.0.0.1"]]));
    let case = Case::on(&network);
    let agent =
        case.agent("http://fax.example:PORT/v1/", "http://fax.example:PORT/v1/last", Limits::default());
    assert_eq!(get(&case.bench, &agent).unwrap(), "last");
    let refused = get(&case.bench, &agent).unwrap_err();
    assert!(
        refused.starts_with("0 fax.example leads to 127.0.0.1, which the grant does not allow"),
        "{refused}"
    );
    assert_eq!(network.dialled(), ["93.184.216.34"]);
    assert_eq!(agent.stats().http_refused, 1);
}

#[test]
fn no_header_field_smuggles_another_one_in() {
    let case = Case::new();
    let url = "http://127.0.0.1:PORT/v1/x";
    // "~", "^" and "`" stand for CR, LF and NUL.
    let table = [
        ("x-a=a~^x-evil: 1", "holds bytes that a header must not hold"),
        ("x-a=a^x-evil: 1", "holds bytes that a header must not hold"),
        ("x-a=a~x-evil: 1", "holds bytes that a header must not hold"),
        ("x-a=a`b", "holds bytes that a header must not hold"),
        ("x-a: 1~^x-evil=1", "is no header name"),
        ("x-a:=1", "is no header name"),
        ("x a=1", "is no header name"),
        ("=1", "is no header name"),
        ("Host=evil.example", "is set by the host"),
        ("Transfer-Encoding=chunked", "is set by the host"),
        ("x-key={secret:pem}", "the secret \"pem\" holds line breaks"),
        ("x-key={secret:other}", "the secret \"other\" is not granted"),
        ("x-key={secret:pem~^}", "is not granted"),
    ];
    for (field, why) in table {
        let refused = case.get(GRANT, &format!("{url} {field}")).unwrap_err();
        assert!(refused.starts_with("0 ") && refused.contains(why), "{field}: {refused}");
    }
    assert_eq!(case.server.heads(), [""; 0]);
    case.get(GRANT, &format!("{url} x-key=a {{secret:key}} b")).unwrap();
    let heads = case.server.heads();
    assert!(heads.len() == 1 && heads[0].contains("\r\nx-key: a s3cret b\r\n"), "{heads:?}");
}

#[test]
fn no_log_line_tells_a_secret() {
    logs::keep();
    let case = Case::new();
    case.get(GRANT, "http://127.0.0.1:PORT/v1/x").unwrap();
    case.get(GRANT, "http://127.0.0.1:PORT/s3cret").unwrap_err();
    let log = logs::all();
    assert!(log.contains("/(secret key)"), "the refusal is logged");
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_response_above_the_limit_is_too_large() {
    let case = Case::new();
    for path in ["big", "endless"] {
        let limits = Limits { http_response: 50_000, ..Limits::default() };
        let agent = case.agent(GRANT, &format!("http://127.0.0.1:PORT/v1/{path}"), limits);
        let told = get(&case.bench, &agent).unwrap_err();
        assert_eq!(told, "4 (limit http_response = 50000 bytes in deliver)", "{path}");
    }
}

#[test]
fn a_chunk_is_believed_when_it_is_there() {
    let case = Case::new();
    let got = case.get(GRANT, "http://127.0.0.1:PORT/v1/huge-chunk").unwrap_err();
    assert!(got.starts_with("5 "), "{got}");
}

#[test]
fn a_silent_server_is_a_timeout_that_the_agent_can_tell_of() {
    let case = Case::new();
    let limits = Limits { deadline: Duration::from_millis(500), ..Limits::default() };
    let agent = case.agent(GRANT, "http://127.0.0.1:PORT/v1/silent", limits);
    assert_eq!(get(&case.bench, &agent).unwrap_err(), "1 (limit deadline = 500ms in deliver)");
}

#[test]
fn a_refused_connection_says_so() {
    let case = Case::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    drop(listener);
    let got = case.get(&closed, &closed).unwrap_err();
    assert!(got.starts_with("2 no connection to 127.0.0.1:"), "{got}");
}

#[test]
fn requests_of_one_call_are_counted() {
    let case = Case::new();
    let agent =
        case.agent(GRANT, "http://127.0.0.1:PORT/v1/x", Limits { http_requests: 0, ..Limits::default() });
    assert!(get(&case.bench, &agent).unwrap_err().contains("http_requests = 0"));
}

#[test]
fn connections_are_kept_for_the_next_request() {
    let case = Case::new();
    let agent = case.agent(GRANT, "http://127.0.0.1:PORT/v1/x", Limits::default());
    for _ in 0..3 {
        get(&case.bench, &agent).unwrap();
    }
    assert_eq!(agent.stats().http_requests, 3);
    assert_eq!(
        case.server.connections.load(Ordering::SeqCst),
        1,
        "three deliveries over three agent connections"
    );
}
