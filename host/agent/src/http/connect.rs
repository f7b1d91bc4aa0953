//! The connector below the HTTP client: resolves a name, keeps the addresses that a grant allows, and dials exactly those.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use url::{Host, Url};

use crate::grants::HttpGrant;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The policy does not allow it.
    #[error("{0}")]
    Denied(String),
    /// The name does not resolve.
    #[error("{host} cannot be resolved: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// No address answered.
    #[error("no connection to {address}: {error}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// It took too long.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
}

/// Dials for one agent.
#[derive(Clone)]
pub(crate) struct Connector {
    grants: Arc<[HttpGrant]>,
    timeout: Duration,
}

impl Connector {
    /// A connector for these grants; `timeout` covers resolving and dialling.
    pub(crate) fn new(grants: Arc<[HttpGrant]>, timeout: Duration) -> Self {
        Self { grants, timeout }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        // The client above pools by scheme and authority, so the question here is about those alone: the path was
        // checked when the request was.
        let url = Url::parse(&uri.to_string()).map_err(|error| ConnectError::Denied(error.to_string()))?;
        let addresses = self.resolve(&url).await?;
        let allowed = self.allowed(&url, &addresses)?;
        let mut failure = None;
        for address in allowed {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Requests are written whole; waiting for more would only delay them.
                    let _ = stream.set_nodelay(true);
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => failure = Some(ConnectError::Connect { address, error }),
            }
        }
        Err(failure.unwrap_or_else(|| ConnectError::Denied("no address is left".to_owned())))
    }

    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, ConnectError> {
        let port = url.port_or_known_default().unwrap_or(80);
        Ok(match url.host() {
            Some(Host::Ipv4(host)) => vec![SocketAddr::new(host.into(), port)],
            Some(Host::Ipv6(host)) => vec![SocketAddr::new(host.into(), port)],
            Some(Host::Domain(host)) => tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| ConnectError::Resolve { host: host.to_owned(), error })?
                .collect(),
            None => return Err(ConnectError::Denied("the URL has no host".to_owned())),
        })
    }

    /// The addresses that some grant for this host allows. At least one, or the reason why there is none.
    fn allowed(&self, url: &Url, addresses: &[SocketAddr]) -> Result<Vec<SocketAddr>, ConnectError> {
        let may = |address: IpAddr| self.grants.iter().any(|g| g.is_for(url) && g.may_reach(address));
        let allowed: Vec<_> = addresses.iter().copied().filter(|a| may(a.ip())).collect();
        if !allowed.is_empty() {
            return Ok(allowed);
        }
        let host = url.host_str().unwrap_or_default();
        let found: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
        Err(ConnectError::Denied(format!(
            "{host} leads to {}, which the grant does not allow (a grant with the word `private` would)",
            found.join(", ")
        )))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let timeout = connector.timeout;
            match tokio::time::timeout(timeout, connector.connect(uri)).await {
                Ok(result) => result,
                Err(_) => Err(ConnectError::Timeout(timeout)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(grant: &str, url: &str, addresses: &[&str]) -> Result<Vec<String>, ConnectError> {
        let connector = Connector::new(vec![grant.parse().unwrap()].into(), Duration::from_secs(1));
        let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
        let allowed = connector.allowed(&Url::parse(url).unwrap(), &addresses)?;
        Ok(allowed.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_with_a_public_and_a_private_address_is_dialled_at_the_public_one() {
        let addresses = ["127.0.0.1:80", "93.184.216.34:80", "[::ffff:10.0.0.1]:80"];
        let got = allowed("http://a.example/", "http://a.example/", &addresses).unwrap();
        assert_eq!(got, ["93.184.216.34:80"]);
    }

    #[test]
    fn a_name_that_only_leads_inside_is_refused_unless_the_grant_says_private() {
        let refused = allowed("http://a.example/", "http://a.example/", &["10.0.0.1:80"]).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("a.example leads to 10.0.0.1") && text.contains("does not allow"), "{text}");
        let got = allowed("http://a.example/ private", "http://a.example/", &["10.0.0.1:80"]).unwrap();
        assert_eq!(got, ["10.0.0.1:80"]);
        let metadata = allowed("http://a.example/ private", "http://a.example/", &["169.254.169.254:80"]);
        assert!(metadata.is_err(), "link-local stays closed");
    }

    #[test]
    fn a_private_grant_for_one_port_opens_no_other() {
        let refused = allowed("http://a.example:81/ private", "http://a.example/", &["10.0.0.1:80"]);
        assert!(refused.is_err());
    }
}
