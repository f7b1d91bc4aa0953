//! WASI 0.2 for guests whose language needs it: nothing is open (no environment, arguments or sockets, and no files but
//! those of granted folders, see [`crate::directory`]), output goes to the log, and `wasi:http` goes through the same
//! policy and connections as `http.send`.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::http::{Denied, HttpClient};
use crate::log::{AgentLog, Capability};
use crate::state::{Shared, State};
use crate::{Limit, Limits};

/// Left of the deadline for the guest to make something of a request that timed out.
const REACTION: Duration = Duration::from_millis(50);

/// A context in which everything is denied.
pub(crate) fn closed_context(log: &AgentLog, limits: &Limits) -> WasiCtx {
    WasiCtxBuilder::new()
        .stdout(LogStream::new(log, Level::INFO, limits))
        .stderr(LogStream::new(log, Level::WARN, limits))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits.random_bytes.into())
        .build()
}

/// The header limits of `wasi:http`.
pub(crate) fn http_context(limits: &Limits) -> WasiHttpCtx {
    let mut context = WasiHttpCtx::new();
    // The limit there counts the tables behind the fields too.
    context.set_field_size_limit(limits.http_header_bytes.saturating_mul(4));
    context
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.wasi_http }
    }
}

/// The way out for requests, and how much of it the running call has used.
pub(crate) struct Outbound {
    shared: Arc<Shared>,
    log: AgentLog,
    deadline: Instant,
    sent: u32,
    /// Whether `wasi:http` was ever used.
    by_wasi: bool,
}

impl Outbound {
    pub(crate) fn new(shared: Arc<Shared>, log: AgentLog) -> Self {
        Self { shared, log, deadline: Instant::now(), sent: 0, by_wasi: false }
    }

    pub(crate) fn begin_call(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.sent = 0;
    }

    /// When the running call must be done.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Requests of the running call.
    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    /// Whether the instance has ever sent something by `wasi:http`.
    pub(crate) fn has_sent_by_wasi(&self) -> bool {
        self.by_wasi
    }

    /// How long something outside may take.
    pub(crate) fn patience(&self) -> Patience {
        Patience(self.deadline.saturating_duration_since(Instant::now()).saturating_sub(REACTION))
    }

    /// Counts a request and gives the client to send it with.
    pub(crate) fn next_request(&mut self) -> Result<HttpClient, Denied> {
        self.shared.stats.http_request();
        let max = self.shared.limits.http_requests;
        if self.sent >= max {
            let why = format!("more than http_requests = {max} requests in one call");
            return Err(Denied::over(Limit::HttpRequests, why));
        }
        self.sent += 1;
        self.shared.http.clone().ok_or_else(|| Denied::because("http is not granted"))
    }
}

/// What is left of a call's deadline for something outside, with a moment for the guest to make something of its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Duration);

impl Patience {
    /// How long it may take where the guest asked for so long.
    pub(crate) fn time(self, asked: Option<Duration>) -> Duration {
        asked.map_or(self.0, |asked| asked.min(self.0))
    }

    /// The limit that ended it if it took too long: none where the guest asked for less than there was.
    pub(crate) fn limit(self, asked: Option<Duration>) -> Option<Limit> {
        asked.is_none_or(|asked| asked >= self.0).then_some(Limit::Deadline)
    }
}

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Outbound {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), HttpError>> + Send> {
        self.by_wasi = true;
        let client = self.next_request();
        let (log, target) = (self.log.clone(), shown(request.uri()));
        let asked = options.and_then(|o| o.first_byte_timeout);
        let patience = self.patience();
        Box::new(async move {
            let refused = |denied: Denied| {
                denied.limit.inspect(|limit| log.hit(*limit));
                log.refused(Capability::Http, &target, &denied.why);
                HttpError::HttpRequestDenied
            };
            let client = client.map_err(refused)?;
            let request = checked(&client, request, &log).map_err(refused)?;
            let answer = tokio::time::timeout(patience.time(asked), client.request(request)).await;
            let late = |_| {
                patience.limit(asked).inspect(|limit| log.hit(*limit));
                HttpError::HttpResponseTimeout
            };
            let response = answer.map_err(late)?.map_err(|error| {
                if let Some(why) = crate::http::denied(&error) {
                    log.refused(Capability::Http, &target, why);
                }
                if crate::http::connected_too_slowly(&error) {
                    log.hit(Limit::HttpConnect);
                }
                crate::http::wasi_error(&error)
            })?;
            Ok((limited(response, client.max_response(), log), Box::new(async { Ok(()) }) as Io))
        })
    }
}

/// A URI without what is behind the question mark, which may be nobody's business.
fn shown(uri: &http::Uri) -> String {
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

/// The request as it may leave.
fn checked(
    client: &HttpClient,
    request: http::Request<WasiBody>,
    log: &AgentLog,
) -> Result<http::Request<crate::http::Body>, Denied> {
    let (head, body) = request.into_parts();
    let uri = client.policy().uri(&head.method, &head.uri.to_string())?;
    let fields = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let headers = client.policy().headers(fields)?;
    let log = log.clone();
    let body = Limited::new(body, client.max_request())
        .map_err(move |error| {
            if error.is::<LengthLimitError>() {
                log.hit(Limit::HttpRequest);
            }
            error
        })
        .boxed_unsync();
    let mut checked = http::Request::new(body);
    *checked.method_mut() = head.method;
    *checked.uri_mut() = uri;
    *checked.headers_mut() = headers;
    Ok(checked)
}

/// The response, whose body ends in an error when it is longer than `max` bytes.
fn limited(
    response: http::Response<hyper::body::Incoming>,
    max: usize,
    log: AgentLog,
) -> http::Response<WasiBody> {
    response.map(|body| {
        Limited::new(body, max)
            .map_err(move |error| {
                if error.is::<LengthLimitError>() {
                    log.hit(Limit::HttpResponse);
                    HttpError::HttpResponseBodySize(Some(max as u64))
                } else {
                    HttpError::HttpResponseIncomplete
                }
            })
            .boxed_unsync()
    })
}

/// Standard output or error of a guest: lines that go to the log.
#[derive(Clone)]
struct LogStream(Arc<Mutex<Lines>>);

struct Lines {
    log: AgentLog,
    level: Level,
    max: usize,
    open: Vec<u8>,
    cut: bool,
}

impl LogStream {
    fn new(log: &AgentLog, level: Level, limits: &Limits) -> Self {
        let lines = Lines { log: log.clone(), level, max: limits.log_line, open: Vec::new(), cut: false };
        Self(Arc::new(Mutex::new(lines)))
    }

    fn write(&self, bytes: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            lines.add(piece);
        }
    }
}

impl Lines {
    fn add(&mut self, piece: &[u8]) {
        let text = piece.strip_suffix(b"\n").unwrap_or(piece);
        let room = self.max.saturating_sub(self.open.len()).min(text.len());
        self.open.extend_from_slice(&text[..room]);
        self.cut |= room < text.len();
        if text.len() < piece.len() {
            let mark = if self.cut { " ..." } else { "" };
            self.log.line(self.level, &format!("{}{mark}", String::from_utf8_lossy(&self.open)));
            self.open.clear();
            self.cut = false;
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Self::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Self::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::egress::{Dialler, SystemNetwork, Trust};
    use crate::http::HttpPolicy;
    use crate::stats::Stats;
    use crate::views::ParseBudget;
    use crate::{Grants, Secret};

    fn outbound(grant: &str, limits: Limits) -> Outbound {
        let grants: Arc<[_]> = Grants::parse(&[grant.to_owned()], &[], &[]).unwrap().http.into();
        let secrets = Arc::new(BTreeMap::from([("key".to_owned(), Secret::new("s3cret"))]));
        let policy = HttpPolicy::new(grants.clone(), secrets.clone(), &limits);
        let dialler = Dialler::new(Arc::new(SystemNetwork));
        let http = HttpClient::new(grants, policy, &limits, &Trust::nobody(), dialler);
        let stats = Arc::new(Stats::default());
        let log = AgentLog::new("test".into(), &limits, stats.clone(), Arc::default());
        let shared = Shared {
            connector: "test".into(),
            settings: "{}".to_owned(),
            secrets,
            limits,
            masks: Arc::default(),
            http: Some(http),
            tcp: None,
            directories: crate::directory::Directories::default(),
            clocks: crate::Clocks::Exact,
            random: true,
            state: None,
            inbound: None,
            callback_url: None,
            stats,
            parse_budget: ParseBudget::new(1 << 20),
            clock: crate::epoch::EpochClock::new(Duration::from_millis(1)),
        };
        let mut outbound = Outbound::new(Arc::new(shared), log);
        outbound.begin_call(Instant::now() + Duration::from_secs(20));
        outbound
    }

    async fn post(outbound: &mut Outbound, url: &str) -> Result<(u16, Bytes), HttpError> {
        let body = Full::new(Bytes::from_static(b"hello")).map_err(|never| match never {}).boxed_unsync();
        let request =
            http::Request::post(url).header("authorization", "Bearer {secret:key}").body(body).unwrap();
        let (response, _) =
            Pin::from(outbound.send_request(request, None, Box::new(async { Ok(()) }))).await?;
        Ok((response.status().as_u16(), response.into_body().collect().await?.to_bytes()))
    }

    /// Answers each request on one connection with what it read.
    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while let Ok(n) = stream.read_buf(&mut read).await {
                if n == 0 {
                    return;
                }
                if read.ends_with(b"hello") || read.ends_with(b"0\r\n\r\n") {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", read.len());
                    stream.write_all(&[head.as_bytes(), &read].concat()).await.unwrap();
                    read.clear();
                }
            }
        });
        port
    }

    #[tokio::test]
    async fn wasi_http_goes_through_the_same_policy_and_pool() {
        let port = echo().await;
        let mut out = outbound(&format!("http://127.0.0.1:{port}/v1/"), Limits::default());
        // The server takes one connection only: the second request must use it again.
        for _ in 0..2 {
            let (status, seen) = post(&mut out, &format!("http://127.0.0.1:{port}/v1/a/../b")).await.unwrap();
            let seen = String::from_utf8_lossy(&seen).into_owned();
            assert!(status == 200 && seen.starts_with("POST /v1/b HTTP/1.1"), "{seen}");
            assert!(seen.contains("authorization: Bearer s3cret"), "{seen}");
        }
        for denied in ["/admin", "/v1/%2e%2e/admin"] {
            let got = post(&mut out, &format!("http://127.0.0.1:{port}{denied}")).await;
            assert!(matches!(got, Err(HttpError::HttpRequestDenied)), "{got:?}");
        }
        assert_eq!(out.shared.stats.snapshot().http_refused, 2);
    }

    #[tokio::test]
    async fn wasi_http_keeps_to_the_limits() {
        let port = echo().await;
        let limits = Limits { http_response: 10, http_requests: 1, ..Limits::default() };
        let mut out = outbound(&format!("http://127.0.0.1:{port}/"), limits);
        let url = format!("http://127.0.0.1:{port}/");
        let got = post(&mut out, &url).await;
        assert!(matches!(got, Err(HttpError::HttpResponseBodySize(Some(10)))), "{got:?}");
        let got = post(&mut out, &url).await;
        assert!(matches!(got, Err(HttpError::HttpRequestDenied)), "{got:?}");
        let stats = out.shared.stats.snapshot();
        assert_eq!((stats.http_requests, stats.http_refused), (2, 1));
    }

    #[test]
    fn output_is_logged_by_lines_and_cut() {
        let stats = Arc::new(Stats::default());
        let limits = Limits { log_line: 8, log_lines: 2, ..Limits::default() };
        let log = AgentLog::new("test".into(), &limits, stats.clone(), Arc::default());
        let stream = LogStream::new(&log, Level::INFO, &limits);
        stream.write(b"one\ntwo");
        stream.write(b" and far more than fits\nthree\n");
        stream.write(&[b'x'; 100_000]);
        assert_eq!(stream.0.lock().unwrap().open.len(), 8, "an endless line takes no memory");
        log.end_call();
        assert_eq!(stats.snapshot().log_lines_dropped, 1);
    }
}
