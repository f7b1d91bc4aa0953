//! TLS that the host speaks for agents: good certificates are accepted, bad ones refused in words.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use postern_agent::{Agent, AgentSpec, Grants, LoadError, Secret};
use postern_model::Outcome;
use support::Bench;
use support::network::TestNetwork;
use support::tls::{self, certificate};

struct Case {
    bench: Bench,
}

impl Case {
    fn new() -> Self {
        Self { bench: Bench::on(&Arc::new(TestNetwork::local())) }
    }

    fn load(&self, agent: &str, settings: String, trusts: &str, grant: impl FnOnce(&mut AgentSpec)) -> Agent {
        let mut spec = self.bench.spec(agent);
        spec.settings = settings.into();
        spec.trusted_certificates = Some(certificate(trusts));
        grant(&mut spec);
        self.bench.runtime.load(spec).unwrap()
    }

    /// What `http.send` gives: the body, or the number and text of the fault.
    fn https(&self, host: &str, port: u16, trusts: &str) -> Result<String, String> {
        let url = format!("https://{host}:{port}/");
        let agent = self.load("agents/http-get", format!("{url} x-a=b"), trusts, |spec| {
            spec.grants = Grants::parse(&[format!("{url} private")], &[], &[]).unwrap();
        });
        let (report, _) = self.bench.deliver(&agent, 1);
        match &report.outcomes[0].outcome {
            Outcome::Delivered(response) => Ok(response.text.clone()),
            other => Err(other.response().text.clone()),
        }
    }

    /// What a script over `tls://` says; `client` is the PEM text of a client certificate.
    fn tls(&self, host: &str, port: u16, trusts: &str, client: Option<String>, steps: &str) -> String {
        let script = format!("c {host}:{port};{steps}");
        let agent = self.load("agents/tcp-script", script, trusts, |spec| {
            let client_word = if client.is_some() { " client=mine" } else { "" };
            let grant = format!("tls://{host}:{port} private{client_word}");
            spec.grants = Grants::parse(&[], &[grant], &[]).unwrap();
            spec.secrets.extend(client.map(|pem| ("mine".to_owned(), Secret::new(pem))));
        });
        self.bench.texts(&agent, 1).remove(0)
    }
}

/// Server's certificate, the name that is asked for, whom the agent trusts, and what refuses it.
const REFUSED: [(&str, &str, &str, &str); 5] = [
    ("server", "other.example", "ca.pem", "the certificate is not for other.example: it is for "),
    ("expired", "smsc.example", "ca.pem", "the certificate expired at 2020-01-01T00:00:00Z"),
    ("self-signed", "smsc.example", "ca.pem", "the certificate is signed by nobody whom this host trusts"),
    (
        "server",
        "smsc.example",
        "self-signed.pem",
        "the certificate is signed by nobody whom this host trusts",
    ),
    ("ca", "smsc.example", "ca.pem", "the certificate is an authority's own (CA:TRUE)"),
];

#[test]
fn https_works_with_a_certificate_of_a_trusted_authority() {
    let case = Case::new();
    let port = tls::server("server", false, tls::hello);
    assert_eq!(case.https("fax.example", port, "ca.pem").unwrap(), "hello");
    let port = tls::server("self-signed", false, tls::hello);
    assert_eq!(case.https("fax.example", port, "self-signed.pem").unwrap(), "hello");
}

#[test]
fn https_refuses_other_certificates_and_says_why() {
    let case = Case::new();
    for (server, host, trusts, why) in REFUSED {
        let (reached, requests) = mpsc::channel();
        let port = tls::server(server, false, move |mut stream| {
            let _ = reached.send(stream.read(&mut [0]).unwrap_or(0));
        });
        let got = case.https(host, port, trusts).unwrap_err();
        assert!(got.starts_with(&format!("3 {why}")), "{server} for {host}: {got}");
        let read = requests.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(read, 0, "nothing of the request reached {server}");
    }
}

#[test]
fn tls_over_tcp_works_with_a_certificate_of_a_trusted_authority() {
    let case = Case::new();
    let port = tls::server("server", false, tls::echo_lines);
    let said = case.tls("smsc.example", port, "ca.pem", None, "w hello;l 99;x;l 9;");
    assert_eq!(said, "c;w;lyou said hello;x;l!4;");
}

#[test]
fn tls_over_tcp_refuses_other_certificates_and_says_why() {
    let case = Case::new();
    for (server, host, trusts, why) in REFUSED {
        let port = tls::server(server, false, tls::echo_lines);
        let said = case.tls(host, port, trusts, None, "");
        assert!(said.starts_with(&format!("c!3 {why}")), "{server} for {host}: {said}");
    }
}

#[test]
fn a_client_certificate_is_shown_where_the_grant_names_one() {
    let case = Case::new();
    let port = tls::server("server", true, tls::echo_lines);
    let both = || format!("{}{}", tls::text("client.pem"), tls::text("client.key"));
    let said = case.tls("smsc.example", port, "ca.pem", Some(both()), "w hello;l 99;");
    assert_eq!(said, "c;w;lyou said hello;");
    // In TLS 1.3 the far end says that it wants one after the handshake, on the first read.
    let said = case.tls("smsc.example", port, "ca.pem", None, "l 99;");
    assert!(said.starts_with("c;l!3 ") && said.contains("CertificateRequired"), "{said}");
}

#[test]
fn a_client_certificate_that_is_none_disables_the_agent_and_stays_secret() {
    let case = Case::new();
    let load = |pem: Option<String>| {
        let mut spec = case.bench.spec("agents/tcp-script");
        spec.trusted_certificates = Some(certificate("ca.pem"));
        spec.grants = Grants::parse(&[], &["tls://a.example:1 client=mine".to_owned()], &[]).unwrap();
        spec.secrets.extend(pem.map(|pem| ("mine".to_owned(), Secret::new(pem))));
        case.bench.runtime.load(spec).err().unwrap()
    };
    let (chain, key) = (tls::text("client.pem"), tls::text("client.key"));
    let table = [
        (None, "it is not defined"),
        (Some("hunter2".to_owned()), "it holds no certificate in PEM"),
        (Some(chain.clone()), "it holds no private key in PEM"),
        (Some(key), "it holds no certificate in PEM"),
        (Some(format!("{chain}-----BEGIN PRIVATE KEY-----\nhunter2\n")), "not well-formed PEM"),
        (Some(format!("{chain}{}", tls::text("server.key"))), "KeyMismatch"),
    ];
    for (pem, why) in table {
        let error = load(pem);
        assert!(matches!(&error, LoadError::ClientCertificate { secret, .. } if secret == "mine"), "{error}");
        let text = error.to_string();
        assert!(text.contains(why) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn trusted_certificates_that_are_none_disable_the_agent() {
    let bench = Bench::new();
    let load = |text: Option<&str>| {
        let path = bench.folder().join("trusted.pem");
        let _ = std::fs::remove_file(&path);
        text.inspect(|text| std::fs::write(&path, text).unwrap());
        let mut spec = bench.spec("agents/tcp-script");
        spec.trusted_certificates = Some(path);
        bench.runtime.load(spec).err().unwrap().to_string()
    };
    let table = [
        (None, "No such file"),
        (Some("hello"), "it holds no certificate in PEM"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate 1: "),
    ];
    for (text, why) in table {
        let error = load(text);
        assert!(error.contains("trusted.pem: ") && error.contains(why), "{error}");
    }
}

#[test]
fn trusted_certificates_that_change_are_noticed() {
    let bench = Bench::new();
    let path = bench.folder().join("trusted.pem");
    std::fs::write(&path, tls::text("ca.pem")).unwrap();
    let mut spec = bench.spec("agents/tcp-script");
    spec.trusted_certificates = Some(path.clone());
    let agent = bench.runtime.load(spec).unwrap();
    assert!(!agent.trusts_others_by_now());
    std::fs::write(&path, tls::text("self-signed.pem")).unwrap();
    assert!(agent.trusts_others_by_now());
    std::fs::remove_file(&path).unwrap();
    assert!(!agent.trusts_others_by_now(), "a file that is away for a moment changes nothing");
}

#[test]
fn a_far_end_that_speaks_no_tls_is_told_apart() {
    let case = Case::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (at, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            if at == 0 {
                stream.write_all(b"220 plain text here\r\n").unwrap();
            }
            // The second one is silent.
            kept.push(stream);
        }
    });
    let said = case.tls("smsc.example", port, "ca.pem", None, "");
    assert!(said.starts_with("c!3 "), "{said}");
    let agent = case.load("agents/tcp-script", format!("t 50;c smsc.example:{port};"), "ca.pem", |spec| {
        let grant = format!("tls://smsc.example:{port} private");
        spec.grants = Grants::parse(&[], &[grant], &[]).unwrap();
    });
    assert_eq!(case.bench.texts(&agent, 1), ["t;c!1;"]);
}

#[test]
fn a_close_says_so_in_tls() {
    let case = Case::new();
    for step in ["x;", "d;"] {
        let (ended, end) = mpsc::channel();
        let port = tls::server("server", false, move |mut stream| {
            let mut said = Vec::new();
            let kind = stream.read_to_end(&mut said).err().map(|error| error.kind());
            ended.send((said, kind)).unwrap();
        });
        case.tls("smsc.example", port, "ca.pem", None, &format!("w bye;{step}"));
        let (said, error) = end.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((said.as_slice(), error), (&b"bye\r\n"[..], None), "{step}");
    }
}

#[test]
fn a_stream_that_is_cut_short_is_not_taken_for_its_end() {
    let case = Case::new();
    let port = tls::server("server", false, |mut stream| {
        let _ = stream.read(&mut [0; 16]);
        stream.write_all(b"whole\r\n").unwrap();
        // Without TLS's closing word, as somebody on the way could do it.
        stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let said = case.tls("smsc.example", port, "ca.pem", None, "w x;l 99;l 99;l 99;");
    assert_eq!(said, "c;w;lwhole;l!4;l!4;");
}
