//! A TLS server for tests, on threads of its own, with the kept certificates of `tests/certificates`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// What the far end of a test speaks on.
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// The path of a kept certificate.
pub fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// The text of a kept file.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(certificate(name)).unwrap()
}

/// Starts a server that shows `<name>.pem` and serves each connection, handshake done or not, with `serve`. Gives its
/// port.
pub fn server(name: &str, client: bool, serve: impl Fn(TlsStream) + Send + Sync + 'static) -> u16 {
    let config = Arc::new(config(name, client));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, serve) = (config.clone(), serve.clone());
            thread::spawn(move || {
                let session = ServerConnection::new(config).unwrap();
                serve(StreamOwned::new(session, stream.unwrap()));
            });
        }
    });
    port
}

fn config(name: &str, client: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let read = |file: &str| CertificateDer::from_pem_file(certificate(file)).unwrap();
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = if client {
        let mut roots = RootCertStore::empty();
        roots.add(read("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(certificate(&format!("{name}.key"))).unwrap();
    builder.with_single_cert(vec![read(&format!("{name}.pem"))], key).unwrap()
}

/// Answers each line with `you said LINE`.
pub fn echo_lines(mut stream: TlsStream) {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|n| n > 0) {
        line.push(byte[0]);
        if byte == *b"\n" {
            let answer = [b"you said ", line.as_slice()].concat();
            if stream.write_all(&answer).is_err() {
                return;
            }
            line.clear();
        }
    }
}

/// Answers one HTTP request.
pub fn hello(mut stream: TlsStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !stream.read(&mut byte).is_ok_and(|n| n > 0) {
            return;
        }
        head.push(byte[0]);
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    stream.write_all(answer).unwrap();
    stream.conn.send_close_notify();
    let _ = stream.flush();
}
