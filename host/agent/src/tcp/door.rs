//! TcpDoor: what one agent may connect to, and how the host connects there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use postern_model::text::one_line;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::connection::BoxStream;
use crate::bindings::imported::tcp::Fault;
use crate::egress::{self, ConnectError, Dialler, Identity, Trust};
use crate::grants::{Endpoint, TcpGrant, host_and_port};
use crate::{LoadError, Secret};

/// The longest text of a fault, in bytes.
const MAX_TEXT: usize = 300;

/// The granted endpoints of one agent.
pub(crate) struct TcpDoor {
    openings: Vec<Opening>,
    dialler: Dialler,
}

struct Opening {
    endpoint: Endpoint,
    /// TLS, and the name that the far end's certificate must be for.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl TcpDoor {
    /// Opens these grants. `secrets` holds those that the grants name for their client certificates.
    pub(crate) fn new(
        grants: &[TcpGrant],
        trust: &Trust,
        secrets: &BTreeMap<String, Secret>,
        dialler: Dialler,
    ) -> Result<Self, LoadError> {
        let opening = |grant: &TcpGrant| {
            let endpoint = grant.endpoint().clone();
            let tls = match grant.server_name() {
                None => None,
                Some(name) => Some((connector(grant, trust, secrets)?, name.clone())),
            };
            Ok(Opening { endpoint, tls })
        };
        Ok(Self { openings: grants.iter().map(opening).collect::<Result<_, _>>()?, dialler })
    }

    /// Connects to a granted `host:port`. `patience` covers looking the name up, dialling and the TLS handshake.
    pub(crate) async fn connect(&self, target: &str, patience: Duration) -> Result<BoxStream, Fault> {
        let opening = self.opening(target)?;
        let connected = tokio::time::timeout(patience, self.open(opening, patience)).await;
        connected.unwrap_or(Err(Fault::Timeout))
    }

    fn opening(&self, target: &str) -> Result<&Opening, Fault> {
        let (host, port) = host_and_port(target).ok_or_else(|| {
            let shown = one_line(target, 60);
            let hint = "the target must read HOST:PORT, and the grant says whether TLS is spoken";
            Fault::Denied(format!("{shown:?} is no target: {hint}"))
        })?;
        let granted = self.openings.iter().find(|opening| opening.endpoint.is_at(&host, port));
        granted.ok_or_else(|| Fault::Denied(format!("no grant allows tcp to {host}:{port}")))
    }

    async fn open(&self, opening: &Opening, patience: Duration) -> Result<BoxStream, Fault> {
        let endpoint = &opening.endpoint;
        let may = |address| endpoint.may_reach(address);
        let dialled = self.dialler.dial(endpoint.host(), endpoint.port(), may, patience).await;
        let stream = dialled.map_err(|error| match error {
            ConnectError::Denied(why) => Fault::Denied(one_line(&why, MAX_TEXT)),
            ConnectError::Timeout(_) => Fault::Timeout,
            error => Fault::Connect(one_line(&error.to_string(), MAX_TEXT)),
        })?;
        let Some((connector, name)) = &opening.tls else { return Ok(Box::new(stream)) };
        let stream =
            connector.connect(name.clone(), stream).await.map_err(|error| handshake_fault(&error))?;
        Ok(Box::new(stream))
    }
}

fn handshake_fault(error: &io::Error) -> Fault {
    let text = egress::error_in(error)
        .map_or_else(|| format!("the far end gave up the handshake: {error}"), egress::in_words);
    Fault::Tls(one_line(&text, MAX_TEXT))
}

/// TLS as this grant wants it.
fn connector(
    grant: &TcpGrant,
    trust: &Trust,
    secrets: &BTreeMap<String, Secret>,
) -> Result<TlsConnector, LoadError> {
    let config = match grant.client() {
        None => trust.client(),
        Some(secret) => {
            let failed = |why: String| LoadError::ClientCertificate { secret: secret.to_owned(), why };
            let text = secrets.get(secret).ok_or_else(|| failed("it is not defined".to_owned()))?;
            let identity = Identity::from_pem(text.reveal()).map_err(|why| failed(why.to_owned()))?;
            trust.client_as(identity).map_err(|error| failed(egress::in_words(&error)))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}
