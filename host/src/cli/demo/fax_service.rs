//! FaxService: plays the provider of a fax service. It speaks HTTP as the webhook agent's README describes it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mail_parser::MessageParser;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A number that always answers.
pub const GOOD: &str = "FAX:+4930456";
/// A number whose line is busy at the first call.
pub const BUSY: &str = "FAX:+4930123";
/// A number whose fax machine takes its time: the service says later what became of it.
pub const SLOW: &str = "FAX:+4930100";
/// A number that does not exist.
pub const UNKNOWN: &str = "FAX:+4930999";

/// How long the slow machine prints.
const PRINTING: Duration = Duration::from_millis(2500);

/// The service, running.
pub struct FaxService {
    /// Where faxes are posted to.
    pub url: String,
    /// What clients must show.
    pub token: String,
    task: JoinHandle<()>,
}

struct Service {
    token: String,
    /// Where it keeps what it sent.
    folder: PathBuf,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    calls: HashMap<String, u32>,
    jobs: u32,
    /// Receipts, with when the machine is done and how many pages it prints.
    printing: BTreeMap<String, (Instant, usize)>,
}

impl FaxService {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(folder: PathBuf) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address: SocketAddr = listener.local_addr()?;
        let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(24).collect();
        let service = Arc::new(Service { token: token.clone(), folder, book: Mutex::default() });
        let router = Router::new()
            .route("/v1/faxes", post(take))
            .route("/v1/faxes/{receipt}", get(tell))
            .with_state(service);
        let task = tokio::spawn(async move {
            // Ends with the demo; a client that cannot connect says so in the host's log.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url: format!("http://{address}/v1/faxes"), token, task })
    }
}

impl Drop for FaxService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Deserialize)]
struct Envelope {
    recipients: Vec<Called>,
}

#[derive(Deserialize)]
struct Called {
    index: u32,
    address_type: String,
    address: String,
}

/// Takes a message and calls each of its numbers.
async fn take(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = service.refused(&headers) {
        return refused;
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let boundary =
        kind.split_once("boundary=").map(|(_, boundary)| boundary.trim_matches('"')).unwrap_or_default();
    let (Some(envelope), Some(message)) =
        (part(&body, boundary, "envelope"), part(&body, boundary, "message"))
    else {
        return (StatusCode::BAD_REQUEST, "an envelope and a message are wanted").into_response();
    };
    let envelope: Envelope = match serde_json::from_slice(envelope) {
        Ok(envelope) => envelope,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("the envelope: {error}")).into_response(),
    };
    let pages = MessageParser::default().parse(message).map_or(1, |m| 1 + m.attachment_count());
    let answers: Vec<Value> =
        envelope.recipients.iter().map(|called| service.call(called, message, pages)).collect();
    let waits = answers.iter().all(|answer| answer["outcome"] == "accepted");
    let status = if waits { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(json!({ "recipients": answers }))).into_response()
}

/// Tells what became of a fax that was accepted.
async fn tell(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path(receipt): Path<String>,
) -> Response {
    if let Some(refused) = service.refused(&headers) {
        return refused;
    }
    let book = service.book.lock().unwrap_or_else(PoisonError::into_inner);
    match book.printing.get(&receipt) {
        Some((done, pages)) if *done <= Instant::now() => {
            Json(json!({ "state": "delivered", "text": printed(*pages), "details": { "pages": pages } }))
                .into_response()
        }
        Some(_) => Json(json!({ "state": "pending", "text": "printing" })).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Service {
    fn refused(&self, headers: &HeaderMap) -> Option<Response> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let known = shown == Some(&format!("Bearer {}", self.token));
        (!known).then(|| (StatusCode::UNAUTHORIZED, "who are you?").into_response())
    }

    /// What comes of calling one number.
    fn call(&self, called: &Called, message: &[u8], pages: usize) -> Value {
        let number = format!("{}:{}", called.address_type, called.address);
        let index = called.index;
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = book.calls.entry(number.clone()).or_default();
        *calls += 1;
        if number == UNKNOWN {
            return json!({ "index": index, "outcome": "failed", "code": 550, "status": "5.1.1",
                "class": "unallocated", "text": "no such number" });
        }
        if number == BUSY && *calls == 1 {
            return json!({ "index": index, "outcome": "deferred", "code": 451, "status": "4.4.1",
                "class": "busy", "text": "the line is busy" });
        }
        book.jobs += 1;
        let job = format!("fax-{}", book.jobs);
        if let Err(error) = std::fs::write(self.folder.join(format!("{job}-{}.eml", called.address)), message)
        {
            return json!({ "index": index, "outcome": "deferred", "class": "service-unavailable",
                "text": error.to_string() });
        }
        if number == SLOW {
            book.printing.insert(job.clone(), (Instant::now() + PRINTING, pages));
            return json!({ "index": index, "outcome": "accepted", "receipt": job, "text": "the machine is printing" });
        }
        json!({ "index": index, "outcome": "delivered", "remote_id": job, "text": printed(pages) })
    }
}

fn printed(pages: usize) -> String {
    if pages == 1 { "1 page printed".to_owned() } else { format!("{pages} pages printed") }
}

/// The part of this name in a `multipart/form-data` body (RFC 7578).
fn part<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let (delimiter, wanted) = (format!("\r\n--{boundary}"), format!("name=\"{name}\""));
    // The first delimiter has no line break before it.
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..])?;
    while !rest.starts_with(b"--") {
        let head = find(rest, b"\r\n\r\n")?;
        let end = head + 4 + find(&rest[head + 4..], delimiter.as_bytes())?;
        if find(&rest[..head], wanted.as_bytes()).is_some() {
            return Some(&rest[head + 4..end]);
        }
        rest = &rest[end + delimiter.len()..];
    }
    None
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_names_and_kept_byte_for_byte() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"envelope\"\r\n\r\n{}\r\n--b\r\n\
            Content-Disposition: form-data; name=\"message\"; filename=\"m\"\r\n\r\na\r\n\r\n\xff--b\r\n--b--\r\n";
        assert_eq!(part(body, "b", "envelope"), Some(&b"{}"[..]));
        assert_eq!(part(body, "b", "message"), Some(&b"a\r\n\r\n\xff--b"[..]));
        assert_eq!(part(body, "b", "other"), None);
        assert_eq!(part(body, "c", "envelope"), None);
        assert_eq!(part(b"--b\r\nname=\"x\"\r\n\r\ncut", "b", "x"), None);
    }

    #[test]
    fn a_busy_line_is_free_at_the_second_call() {
        let folder = tempfile::tempdir().unwrap();
        let service =
            Service { token: String::new(), folder: folder.path().to_owned(), book: Mutex::default() };
        let called = Called { index: 0, address_type: "FAX".into(), address: "+4930123".into() };
        assert_eq!(service.call(&called, b"m", 1)["class"], "busy");
        assert_eq!(service.call(&called, b"m", 1)["outcome"], "delivered");
        assert_eq!(std::fs::read(folder.path().join("fax-1-+4930123.eml")).unwrap(), b"m");
    }
}
