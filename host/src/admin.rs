//! admin: metrics and health over HTTP, on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use postern_store::StoreHealth;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Secret;
use crate::metrics::Metrics;
use crate::operate::Operations;

/// The admin interface, bound.
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<AdminState>,
}

struct AdminState {
    /// Asked for in `Authorization: Bearer`, where one is configured.
    token: Option<Secret>,
    operations: Arc<Operations>,
    metrics: Arc<Metrics>,
}

impl AdminServer {
    /// Binds it.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn bind(
        address: SocketAddr,
        token: Option<Secret>,
        operations: Arc<Operations>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, state: Arc::new(AdminState { token, operations, metrics }) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .layer(middleware::from_fn_with_state(self.state.clone(), authorize))
            .with_state(self.state);
        let served = axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the admin interface ended");
        }
    }
}

/// Lets only those through who know the token. The health checks say nothing worth hiding and need none.
async fn authorize(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let open = matches!(request.uri().path(), "/livez" | "/readyz");
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    match &state.token {
        Some(token) if !open && !same(token.expose(), given) => {
            (StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer ...\n").into_response()
        }
        _ => next.run(request).await,
    }
}

/// Compares in a time that does not tell how much of the token was right.
fn same(token: &str, given: &str) -> bool {
    let (token, given) = (Sha256::digest(token), Sha256::digest(given));
    token == given
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    let store = state.operations.settler.store();
    let mut queued: BTreeMap<String, i64> = BTreeMap::new();
    for outgoing in state.operations.settler.topology().config.outgoing() {
        queued.insert(outgoing.name.to_string(), 0);
    }
    for hop in store.index().hops() {
        *queued.entry(hop.next_hop.connector.to_string()).or_default() +=
            i64::try_from(hop.items).unwrap_or(i64::MAX);
    }
    let queued: Vec<_> = queued.into_iter().collect();
    for (name, stats) in state.operations.connectors.agent_stats() {
        state.metrics.agent(&name, &stats);
    }
    for (name, breaker) in state.operations.connectors.breakers() {
        state.metrics.breaker(&name, &breaker);
    }
    state.metrics.quarantine_records(state.operations.settler.quarantine().len());
    let text = state.metrics.render(&queued, store.health() == StoreHealth::Ready);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

async fn live() -> &'static str {
    "ok\n"
}

async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    match state.operations.settler.store().health() {
        StoreHealth::Ready => (StatusCode::OK, "ready\n".to_owned()),
        StoreHealth::Full(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("the store is full: {why}\n")),
        StoreHealth::Poisoned(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("the store has stopped: {why}\n"))
        }
    }
    .into_response()
}
