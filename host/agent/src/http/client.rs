//! HttpClient: the pooled client of one agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Connector;
use super::policy::HttpPolicy;
use crate::Limits;
use crate::egress::{Dialler, Trust};
use crate::grants::HttpGrant;

/// Any error of a body, as the client wants it.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections to one host.
const MAX_IDLE: usize = 8;
/// The head of a response.
const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// What an agent sends its requests through. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub(crate) struct HttpClient {
    client: Client<HttpsConnector<Connector>, Body>,
    policy: HttpPolicy,
    max_request: usize,
    max_response: usize,
}

impl HttpClient {
    /// A client for these grants.
    pub(crate) fn new(
        grants: Arc<[HttpGrant]>,
        policy: HttpPolicy,
        limits: &Limits,
        trust: &Trust,
        dialler: Dialler,
    ) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust.client())
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(grants, dialler, limits.http_connect));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_RESPONSE_HEAD)
            .build(connector);
        let (max_request, max_response) = (limits.http_request, limits.http_response);
        Self { client, policy, max_request, max_response }
    }

    /// What may be sent.
    pub(crate) fn policy(&self) -> &HttpPolicy {
        &self.policy
    }

    /// The largest body of a request, in bytes.
    pub(crate) fn max_request(&self) -> usize {
        self.max_request
    }

    /// The largest body of a response, in bytes.
    pub(crate) fn max_response(&self) -> usize {
        self.max_response
    }

    /// Sends a request that the policy has let through.
    pub(crate) fn request(&self, request: http::Request<Body>) -> ResponseFuture {
        self.client.request(request)
    }
}
