//! The far end of a delivery agent: the webhook agent in its sandbox, and a web server in this process.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Connector, FarEnd, Fixture, connector, folder};

pub(super) struct AgentSite {
    connector: Arc<dyn Connector>,
    service: Arc<Service>,
    _folder: TempDir,
    /// The server; or a port on which nobody answers.
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Service {
    refuses: AtomicBool,
    arrived: Mutex<Vec<Vec<u8>>>,
    keys: Mutex<BTreeSet<String>>,
}

impl Fixture for AgentSite {
    async fn start(far_end: FarEnd) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}/", listener.local_addr().unwrap());
        let service = Arc::new(Service::default());
        service.refuses.store(far_end == FarEnd::Refusing, Ordering::Relaxed);
        let mut server = JoinSet::new();
        match far_end {
            FarEnd::Dead => drop(listener),
            FarEnd::Silent => drop(server.spawn(async move {
                // Connections are made by the system, and nobody takes them.
                std::future::pending::<()>().await;
                drop(listener);
            })),
            _ => {
                let router = Router::new().route("/in", post(take)).layer(DefaultBodyLimit::disable());
                let router = router.with_state(service.clone());
                server.spawn(async move { axum::serve(listener, router).await.unwrap() });
            }
        }
        let (folder, path) = folder();
        let webhook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/prebuilt/webhook.wasm");
        let agent = if far_end == FarEnd::Unusable { path.join("postern.toml") } else { webhook };
        let section = format!(
            "[delivery_agent_connectors.subject]\naddress_spaces = [\"FAX:*\"]\nagent = {agent:?}\n\
             settings = {{ url = \"{origin}in\", timeout_seconds = 1 }}\ngrants = {{ http = [\"{origin}\"] }}\n"
        );
        let connector = connector(&path, &section).await;
        Some(Self { connector, service, _folder: folder, _server: server })
    }

    fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        self.service.arrived.lock().unwrap().clone()
    }

    fn distinct(&self) -> Option<usize> {
        Some(self.service.keys.lock().unwrap().len())
    }

    fn mend(&self) {
        self.service.refuses.store(false, Ordering::Relaxed);
    }
}

/// Takes the part called `message` of a request (RFC 7578), or refuses it for ever.
async fn take(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    if service.refuses.load(Ordering::Relaxed) {
        return (StatusCode::UNPROCESSABLE_ENTITY, "not this one");
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let kind = text(header::CONTENT_TYPE);
    let boundary = kind.split_once("boundary=").map(|(_, boundary)| boundary).unwrap();
    let message = message(&body, boundary).expect("the webhook agent sends a message");
    service.arrived.lock().unwrap().push(message.to_vec());
    service.keys.lock().unwrap().insert(text(header::HeaderName::from_static("idempotency-key")));
    (StatusCode::OK, "")
}

/// The last part, which is the message.
fn message<'a>(body: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    let body = body.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())?;
    let part =
        body.windows(4 + boundary.len()).rposition(|at| at == format!("\r\n--{boundary}").as_bytes())?;
    let head = body[part..].windows(4).position(|at| at == b"\r\n\r\n")?;
    Some(&body[part + head + 4..])
}
