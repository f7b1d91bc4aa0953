//! HttpClient: the pooled client of one agent.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::connect::Connector;
use super::policy::HttpPolicy;
use crate::Limits;
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

/// The system's trusted certificates, read when the first agent with an `https://` grant is loaded.
#[derive(Default)]
pub(crate) struct TlsRoots(OnceLock<ClientConfig>);

impl TlsRoots {
    fn config(&self) -> io::Result<ClientConfig> {
        if let Some(config) = self.0.get() {
            return Ok(config.clone());
        }
        let config = builder()?.with_native_roots()?.with_no_client_auth();
        Ok(self.0.get_or_init(|| config).clone())
    }
}

fn builder() -> io::Result<ConfigBuilder<ClientConfig, WantsVerifier>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)
}

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
        roots: &TlsRoots,
    ) -> io::Result<Self> {
        // A machine without certificates can still serve agents that only speak plain HTTP.
        let tls = if grants.iter().any(HttpGrant::is_tls) {
            roots.config()?
        } else {
            builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(grants, limits.http_connect));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_RESPONSE_HEAD)
            .build(connector);
        let (max_request, max_response) = (limits.http_request_bytes, limits.http_response_bytes);
        Ok(Self { client, policy, max_request, max_response })
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
