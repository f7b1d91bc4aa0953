//! CallbackListener: HTTP calls of providers, handed to the agents of their connectors.
//!
//! It is a listener of its own, never the admin one. Each connector with the grant `callback` has a URL with a token
//! that cannot be guessed; whatever else a call must prove (a signature) is for the agent to check. The receipts that
//! a call brings are durable before the provider gets its answer.

mod house;
mod rate;
mod reply;
mod serve;
mod tls;
mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use postern_agent::CallbackRequest;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{CallbackConfig, Config};
use crate::connector::{Connector, CurrentConnectors};
use crate::metrics::Metrics;
use crate::receipts::ReceiptDoor;
use crate::topology::CurrentTopology;

use house::{House, Rules};
use rate::Rate;
pub use token::CallbackKey;

/// How long a provider waits for its receipts to be durable before it is told to call again.
const COMMIT_PATIENCE: Duration = Duration::from_secs(20);
/// After how many seconds a provider is asked to call again.
const RETRY_AFTER: &str = "60";

/// The listener, bound.
pub struct CallbackListener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<tokio_rustls::TlsAcceptor>,
    door: Arc<Door>,
}

/// What the URLs of call-backs are made of.
#[derive(Clone)]
pub struct CallbackBase {
    url: String,
    key: CallbackKey,
}

impl CallbackBase {
    /// The URL of a connector.
    #[must_use]
    pub fn url_of(&self, connector: &str) -> String {
        format!("{}/{connector}/{}", self.url, self.key.token_of(connector))
    }
}

struct Door {
    config: CallbackConfig,
    key: CallbackKey,
    topology: Arc<CurrentTopology>,
    connectors: Arc<CurrentConnectors>,
    metrics: Arc<Metrics>,
    receipts: ReceiptDoor,
    rates: Mutex<BTreeMap<String, Rate>>,
}

impl CallbackListener {
    /// Binds it; `None` when the config has none.
    ///
    /// # Errors
    /// When the address cannot be had, or the certificate or its key cannot be used.
    pub async fn bind(
        config: &Config,
        key: CallbackKey,
        topology: Arc<CurrentTopology>,
        connectors: Arc<CurrentConnectors>,
        metrics: Arc<Metrics>,
        receipts: ReceiptDoor,
    ) -> std::io::Result<Option<Self>> {
        let config = config.callback.clone();
        let Some(listen) = config.listen else { return Ok(None) };
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let rates = Mutex::default();
        let door = Door { config, key, topology, connectors, metrics, receipts, rates };
        Ok(Some(Self { listener, address, tls, door: Arc::new(door) }))
    }

    /// What the URLs begin with that agents tell their providers.
    #[must_use]
    pub fn base(&self) -> CallbackBase {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let url = self.door.config.public_url.clone();
        CallbackBase {
            url: url.unwrap_or_else(|| format!("{scheme}://{}", self.address)),
            key: self.door.key.clone(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let config = &self.door.config;
        let house = House::new(Rules {
            max_connections: config.max_connections,
            head: config.head_timeout,
            request: config.request_timeout,
        });
        serve::serve(self.listener, self.tls, house, self.door, stop).await;
    }
}

/// How a call-back ended, as the metric has it.
#[derive(Clone, Copy)]
enum End {
    Answered,
    Refused,
    TooMany,
    TooLarge,
    Slow,
    Failed,
    NotStored,
}

impl End {
    fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::TooMany => "too-many",
            Self::TooLarge => "too-large",
            Self::Slow => "slow",
            Self::Failed => "failed",
            Self::NotStored => "not-stored",
        }
    }

    /// What the provider gets; nothing about what happened inside.
    fn response(self) -> Response {
        let later = [(header::RETRY_AFTER, RETRY_AFTER)];
        match self {
            Self::Refused => (StatusCode::NOT_FOUND, "not found\n").into_response(),
            Self::TooMany => {
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "too many calls\n")
                    .into_response()
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n").into_response(),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "the body took too long\n").into_response(),
            Self::Answered | Self::Failed | Self::NotStored => {
                (StatusCode::SERVICE_UNAVAILABLE, later, "try again later\n").into_response()
            }
        }
    }
}

impl serve::Answers for Door {
    async fn answer(&self, request: Request) -> Response {
        let (name, result) = self.look_into(request).await;
        let end = match &result {
            Ok(_) => End::Answered,
            Err(end) => *end,
        };
        self.metrics.callback(&name, end.word());
        result.unwrap_or_else(End::response)
    }

    fn turned_away(&self, what: &str) {
        self.metrics.callback("", what);
    }
}

impl Door {
    /// The answer, with the connector's name; that is empty where the call named none that takes calls.
    async fn look_into(&self, request: Request) -> (String, Result<Response, End>) {
        let Some((connector, rest)) = self.admit(request.uri().path()) else {
            tracing::info!("a call-back without a right to it was refused");
            return (String::new(), Err(End::Refused));
        };
        let name = connector.name().to_owned();
        let answered = self.serve(&*connector, rest, request).await;
        (name, answered)
    }

    /// The connector that a path leads to, and what follows: `/CONNECTOR/TOKEN/...`.
    fn admit(&self, path: &str) -> Option<(Arc<dyn Connector>, String)> {
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (name, token, rest) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
        let topology = self.topology.get();
        let agents = &topology.config.delivery_agent_connectors;
        let granted = agents.iter().any(|a| &*a.common.name == name && a.grants.callback);
        if !self.key.is_token_of(name, token) || !granted {
            return None;
        }
        Some((self.connectors.get(name)?, format!("/{rest}")))
    }

    async fn serve(
        &self,
        connector: &dyn Connector,
        path: String,
        request: Request,
    ) -> Result<Response, End> {
        let name = connector.name();
        let _place = self.place(name).ok_or(End::TooMany)?;
        let (parts, body) = request.into_parts();
        // A body that dawdles must not keep the place for ever.
        let body = tokio::time::timeout(self.config.body_timeout, to_bytes(body, self.config.max_body)).await;
        let body = body.map_err(|_| End::Slow)?.map_err(|_| End::TooLarge)?;
        let text = |value: &axum::http::HeaderValue| value.to_str().ok().map(str::to_owned);
        let request = CallbackRequest {
            method: parts.method.to_string(),
            path,
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers.iter().filter_map(|(n, v)| Some((n.to_string(), text(v)?))).collect(),
            body: body.into(),
        };
        let reply = connector.callback(request).await.map_err(|deferral| {
            tracing::warn!(connector = name, reason = %deferral.response, "a call-back was not handled");
            End::Failed
        })?;
        if !reply.receipts.is_empty() {
            // The receipts are durable, or nobody waits for them, when this is done: only then may the provider forget.
            let settled = self.receipts.settle(name, reply.receipts.clone());
            let done = tokio::time::timeout(COMMIT_PATIENCE, settled).await;
            if !matches!(done, Ok(Ok(()))) {
                tracing::warn!(
                    connector = name,
                    "receipts of a call-back are not stored yet: it is to come again"
                );
                return Err(End::NotStored);
            }
        }
        Ok(reply::response(reply))
    }

    /// A place among the calls of this connector, if it may have one now.
    fn place(&self, name: &str) -> Option<rate::Place> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Rate::new(self.config.max_requests_per_second, self.config.max_requests_at_once);
        rates.entry(name.to_owned()).or_insert_with(new).enter(Instant::now())
    }
}
