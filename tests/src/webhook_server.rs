//! The far end of the webhook agent: a real HTTP server that reads its wire format (plugins/webhook/README.md) to the
//! byte and answers as the test has scripted.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use crate::multipart;
use crate::wait::DEADLINE;

/// A message that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    /// The request's header fields, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The part `envelope`.
    pub envelope: Value,
    /// The part `message`.
    pub message: Vec<u8>,
}

impl Posted {
    /// The id of the message, from the item's.
    #[must_use]
    pub fn message_id(&self) -> String {
        let item = self.envelope["item_id"].as_str().unwrap_or_default();
        item.rsplit_once('.').map_or(item, |(message, _)| message).to_owned()
    }

    /// The addresses of the recipients.
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        let all = self.envelope["recipients"].as_array().into_iter().flatten();
        all.map(|r| r["address"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// What the server answers to a POST.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    held: bool,
}

impl HttpAnswer {
    /// A status without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), held: false }
    }

    /// A status without a body, which is given only after [`WebhookServer::release`].
    #[must_use]
    pub fn held(status: u16) -> Self {
        Self { held: true, ..Self::status(status) }
    }

    /// No answer at all: the client waits.
    #[must_use]
    pub fn never() -> Self {
        Self::status(0)
    }

    /// A status with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status).body(&body.to_string()).header("Content-Type", "application/json")
    }

    /// With a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    fn write(&self, stream: &mut TcpStream) -> io::Result<()> {
        if self.status == 0 {
            return Ok(());
        }
        let mut head = format!("HTTP/1.1 {} Answer\r\nContent-Length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{}", self.body).as_bytes())
    }
}

/// The server. It ends, with its connections, when the value is dropped.
pub struct WebhookServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    posted: Vec<Posted>,
    script: VecDeque<HttpAnswer>,
    receipts: BTreeMap<String, Value>,
    /// Receipts that were asked for.
    asked: Vec<String>,
    /// Requests that could not be read: the agent's fault or the server's, the test fails for both.
    faults: Vec<String>,
    connections: Vec<TcpStream>,
    /// Held answers may go.
    released: bool,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebhookServer {
    /// Starts it on a free port. It answers 200 to what is not scripted.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().expect("an address"))
    }

    /// Starts it on this address: a server that was down and comes back.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let common = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = common.state();
                if state.closed {
                    return;
                }
                state.connections.extend(stream.try_clone());
                let common = common.clone();
                thread::spawn(move || serve(stream, &common));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for messages.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mail", self.address)
    }

    /// The setting `receipt_url`.
    #[must_use]
    pub fn receipt_setting(&self) -> String {
        format!("receipt_url = \"http://{}/receipts/{{receipt}}\"", self.address)
    }

    /// The next POST that is not yet spoken for is answered so.
    pub fn answer(&self, answer: HttpAnswer) {
        self.shared.state().script.push_back(answer);
    }

    /// Lets the held answers go, and those that would be held from now on.
    pub fn release(&self) {
        self.shared.state().released = true;
        self.shared.news.notify_all();
    }

    /// From now on a question for this receipt is answered so.
    pub fn receipt(&self, id: &str, answer: Value) {
        self.shared.state().receipts.insert(id.to_owned(), answer);
    }

    /// How often this receipt was asked for.
    #[must_use]
    pub fn asked(&self, id: &str) -> usize {
        self.shared.state().asked.iter().filter(|asked| *asked == id).count()
    }

    /// What was posted so far.
    ///
    /// # Panics
    /// When a request could not be read.
    #[must_use]
    pub fn posted(&self) -> Vec<Posted> {
        let state = self.shared.state();
        assert!(state.faults.is_empty(), "requests that are not in the wire format: {:?}", state.faults);
        state.posted.clone()
    }

    /// Waits until so many messages were posted, and returns all.
    ///
    /// # Panics
    /// When they do not come in time, or a request could not be read.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Posted> {
        let missing = |state: &mut State| state.posted.len() < count && state.faults.is_empty();
        let waited = self.shared.news.wait_timeout_while(self.shared.state(), DEADLINE, missing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        let posted = self.posted();
        assert!(posted.len() >= count, "{} of {count} messages were posted", posted.len());
        posted
    }
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        for connection in state.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.news.notify_all();
        // A connection to ourselves, so that the listening thread sees that it is over and gives the port back.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request.
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A connection with requests one after the other; whatever breaks it ends it.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut input = Vec::new();
    loop {
        let request = match read_request(&mut stream, &mut input) {
            Ok(Some(request)) => request,
            // A host that is killed breaks off in the middle: that is no fault of the wire format.
            Ok(None) | Err(_) => return,
        };
        let Some(answer) = answer(request, shared) else { return };
        if answer.held {
            let waits = |state: &mut State| !state.released && !state.closed;
            drop(shared.news.wait_while(shared.state(), waits).unwrap_or_else(PoisonError::into_inner));
        }
        if answer.write(&mut stream).is_err() {
            return;
        }
    }
}

fn answer(request: Request, shared: &Shared) -> Option<HttpAnswer> {
    let mut state = shared.state();
    if state.closed {
        return None;
    }
    let words: Vec<&str> = request.line.split(' ').collect();
    let answer = match words[..] {
        ["POST", "/mail", "HTTP/1.1"] => match posted(&request) {
            Ok(posted) => {
                state.posted.push(posted);
                state.script.pop_front().unwrap_or_else(|| HttpAnswer::status(200))
            }
            Err(fault) => {
                state.faults.push(fault);
                HttpAnswer::status(400)
            }
        },
        ["GET", path, "HTTP/1.1"] if path.starts_with("/receipts/") => {
            let id = path["/receipts/".len()..].to_owned();
            let answer = state.receipts.get(&id).map(|value| HttpAnswer::json(200, value));
            state.asked.push(id);
            answer.unwrap_or_else(|| HttpAnswer::status(404))
        }
        _ => {
            state.faults.push(format!("unexpected request {:?}", request.line));
            HttpAnswer::status(400)
        }
    };
    drop(state);
    shared.news.notify_all();
    Some(answer)
}

/// The message in a request, with everything in its place.
fn posted(request: &Request) -> Result<Posted, String> {
    let content_type = request.headers.get("content-type").map_or("", String::as_str);
    let parts = multipart::parts(content_type, &request.body)?;
    let [(first, envelope), (second, message)] = &parts[..] else {
        return Err(format!("{} parts", parts.len()));
    };
    if first != "envelope" || second != "message" {
        return Err(format!("the parts {first} and {second}"));
    }
    let envelope: Value =
        serde_json::from_slice(envelope).map_err(|error| format!("the envelope: {error}"))?;
    if envelope["size"].as_u64() != Some(message.len() as u64) || envelope["version"] != 1 {
        return Err(format!("{} bytes of message with the envelope {envelope}", message.len()));
    }
    if !request.headers.contains_key("idempotency-key") {
        return Err(format!("no Idempotency-Key in {:?}", request.headers));
    }
    Ok(Posted { headers: request.headers.clone(), envelope, message: message.clone() })
}

/// The next request; `None` when the client has gone between two.
fn read_request(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") {
            break end;
        }
        if !read_more(stream, input)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&input[..end]).into_owned();
    input.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let fields = lines.filter_map(|l| l.split_once(':'));
    let headers: BTreeMap<_, _> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if chunked {
        read_chunks(stream, input)?
    } else {
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        read_exactly(stream, input, length)?
    };
    Ok(Some(Request { line, headers, body }))
}

fn read_chunks(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = memchr::memmem::find(input, b"\r\n") {
                break end;
            }
            if !read_more(stream, input)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let size =
            std::str::from_utf8(&input[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        input.drain(..end + 2);
        body.extend(read_exactly(stream, input, size)?);
        read_exactly(stream, input, 2)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn read_exactly(stream: &mut TcpStream, input: &mut Vec<u8>, count: usize) -> io::Result<Vec<u8>> {
    while input.len() < count {
        if !read_more(stream, input)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(input.drain(..count).collect())
}

fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 16 * 1024];
    let count = stream.read(&mut buffer)?;
    input.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}
