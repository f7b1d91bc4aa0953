//! A far end for agents that post plain text: an HTTP server that keeps what it was sent, and answers 200.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::wait::{DEADLINE, eventually};

/// A request that came.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// The request line.
    pub line: String,
    /// Header fields, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// The server. Its port is free again when the process ends.
pub struct TextServer {
    address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl TextServer {
    /// Starts it on a free port of loopback.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let sent = Arc::new(Mutex::new(Vec::new()));
        let all = sent.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = all.clone();
                thread::spawn(move || serve(&stream, &all));
            }
        });
        Self { address, sent }
    }

    /// Where to post.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/send", self.address)
    }

    /// Waits for so many requests, and returns all.
    ///
    /// # Panics
    /// When they do not come in time.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Sent> {
        eventually("the requests", || {
            let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            (sent.len() >= count).then(|| sent.clone())
        })
    }
}

/// One connection, request after request; whatever breaks it ends it.
fn serve(stream: &TcpStream, all: &Mutex<Vec<Sent>>) {
    let _ = stream.set_read_timeout(Some(DEADLINE));
    let mut reader = BufReader::new(stream);
    while let Some(sent) = read(&mut reader) {
        all.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
        let mut answer = stream;
        if answer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Sent> {
    let mut sent = Sent { line: line(reader)?, ..Sent::default() };
    loop {
        let field = line(reader)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        sent.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = sent.headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    sent.body = String::from_utf8_lossy(&body).into_owned();
    Some(sent)
}

fn line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
