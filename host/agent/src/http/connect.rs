//! The connector below the HTTP client: connects to the host of a URL, as far as some grant for that URL allows.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

use crate::egress::{ConnectError, Dialler};
use crate::grants::HttpGrant;

/// Dials for one agent.
#[derive(Clone)]
pub(crate) struct Connector {
    grants: Arc<[HttpGrant]>,
    dialler: Dialler,
    timeout: Duration,
}

impl Connector {
    /// A connector for these grants; `timeout` covers resolving and dialling.
    pub(crate) fn new(grants: Arc<[HttpGrant]>, dialler: Dialler, timeout: Duration) -> Self {
        Self { grants, dialler, timeout }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        // The client above pools by scheme and authority, so the question here is about those alone: the path was
        // checked when the request was.
        let url = Url::parse(&uri.to_string()).map_err(|error| ConnectError::Denied(error.to_string()))?;
        let host = url.host().ok_or_else(|| ConnectError::Denied("the URL has no host".to_owned()))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let may = |address: IpAddr| self.grants.iter().any(|g| g.is_for(&url) && g.may_reach(address));
        let stream = self.dialler.dial(&host.to_owned(), port, may, self.timeout).await?;
        Ok(TokioIo::new(stream))
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
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::egress::{Network, NetworkFuture};

    /// A network in which every name is on this machine, and nothing answers.
    #[derive(Debug)]
    struct Nowhere;

    impl Network for Nowhere {
        fn resolve<'a>(&'a self, _: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
            Box::pin(async move { Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]) })
        }

        fn connect(&self, _: SocketAddr) -> NetworkFuture<'_, TcpStream> {
            Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    async fn connect(grants: &[&str], url: &'static str) -> ConnectError {
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        let connector = Connector::new(grants, Dialler::new(Arc::new(Nowhere)), Duration::from_secs(1));
        connector.connect(Uri::from_static(url)).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_private_grant_for_one_port_opens_no_other() {
        let grants = ["http://a.example/", "http://a.example:81/ private"];
        let refused = connect(&grants, "http://a.example/").await;
        assert!(matches!(refused, ConnectError::Denied(_)), "{refused}");
        let dialled = connect(&grants, "http://a.example:81/").await;
        assert!(matches!(dialled, ConnectError::Connect { .. }), "{dialled}");
    }
}
