//! Dialler: looks a name up once, keeps the addresses that the caller allows, and dials exactly those.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use url::Host;

use super::Network;

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

/// Dials for agents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dialler {
    network: Arc<dyn Network>,
}

impl Dialler {
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        Self { network }
    }

    /// Connects to a host. `may` says of each address whether it is allowed; `patience` covers looking the name up and
    /// dialling every address.
    pub(crate) async fn dial(
        &self,
        host: &Host<String>,
        port: u16,
        may: impl Fn(IpAddr) -> bool,
        patience: Duration,
    ) -> Result<TcpStream, ConnectError> {
        let end = Instant::now() + patience;
        let late = || ConnectError::Timeout(patience);
        let addresses = timeout_at(end, self.resolve(host, port)).await.map_err(|_| late())??;
        // What is dialled is what was checked: the name is not looked up again.
        let allowed = allowed(host, &addresses, may)?;
        let mut failure = late();
        for (left, address) in (1..=allowed.len()).rev().zip(&allowed) {
            // An equal share of the time for each, so that one that swallows packets does not use up all of it.
            let share = (end - Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
            failure = match timeout(share, self.network.connect(*address)).await {
                Ok(Ok(stream)) => {
                    // What is written is written whole; waiting for more would only delay it.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => ConnectError::Connect { address: *address, error },
                Err(_) => late(),
            };
        }
        Err(failure)
    }

    async fn resolve(&self, host: &Host<String>, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        match host {
            Host::Ipv4(host) => Ok(vec![SocketAddr::new((*host).into(), port)]),
            Host::Ipv6(host) => Ok(vec![SocketAddr::new((*host).into(), port)]),
            Host::Domain(host) => self
                .network
                .resolve(host, port)
                .await
                .map_err(|error| ConnectError::Resolve { host: host.clone(), error }),
        }
    }
}

/// The addresses that are allowed. At least one, or the reason why there is none.
fn allowed(
    host: &Host<String>,
    addresses: &[SocketAddr],
    may: impl Fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let allowed: Vec<_> = addresses.iter().copied().filter(|address| may(address.ip())).collect();
    if !allowed.is_empty() {
        return Ok(allowed);
    }
    if addresses.is_empty() {
        let error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        return Err(ConnectError::Resolve { host: host.to_string(), error });
    }
    let found: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    Err(ConnectError::Denied(format!(
        "{host} leads to {}, which the grant does not allow (a grant with the word `private` would allow private and \
         loopback addresses)",
        found.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::net::TcpListener;

    use super::super::NetworkFuture;
    use super::*;
    use crate::grants::Endpoint;

    /// A network that gives its answers in turn, the last one for ever, and takes every dialled address to one listener.
    #[derive(Debug)]
    struct Staged {
        answers: Mutex<Vec<Vec<SocketAddr>>>,
        dialled: Mutex<Vec<SocketAddr>>,
        listener: SocketAddr,
    }

    impl Network for Staged {
        fn resolve<'a>(&'a self, _: &'a str, _: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
            let mut answers = self.answers.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            Box::pin(async move { Ok(answer) })
        }

        fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, TcpStream> {
            self.dialled.lock().unwrap().push(address);
            Box::pin(TcpStream::connect(self.listener))
        }
    }

    struct Stage {
        network: Arc<Staged>,
        _listener: TcpListener,
    }

    impl Stage {
        async fn new(answers: &[&[&str]]) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let answers = answers.iter().map(|answer| answer.iter().map(|a| a.parse().unwrap()).collect());
            let network = Staged {
                answers: Mutex::new(answers.collect()),
                dialled: Mutex::default(),
                listener: listener.local_addr().unwrap(),
            };
            Self { network: Arc::new(network), _listener: listener }
        }

        async fn dial(&self, host: &str, private: bool) -> Result<TcpStream, ConnectError> {
            let endpoint = Endpoint::new(Host::parse(host).unwrap(), 80, private).unwrap();
            let dialler = Dialler::new(self.network.clone());
            let may = |address| endpoint.may_reach(address);
            dialler.dial(endpoint.host(), 80, may, Duration::from_secs(20)).await
        }

        fn dialled(&self) -> Vec<String> {
            self.network.dialled.lock().unwrap().iter().map(ToString::to_string).collect()
        }
    }

    #[tokio::test]
    async fn a_name_with_a_public_and_a_private_address_is_dialled_at_the_public_one() {
        let stage = Stage::new(&[&["127.0.0.1:80", "93.184.216.34:80", "[::ffff:10.0.0.1]:80"]]).await;
        stage.dial("a.example", false).await.unwrap();
        assert_eq!(stage.dialled(), ["93.184.216.34:80"]);
    }

    #[tokio::test]
    async fn an_answer_that_changes_after_the_check_changes_nothing() {
        let stage = Stage::new(&[&["93.184.216.34:80"], &["127.0.0.1:80"]]).await;
        stage.dial("a.example", false).await.unwrap();
        assert_eq!(stage.dialled(), ["93.184.216.34:80"], "the checked address and no other");
        // The next connection looks the name up anew, and is checked anew.
        let refused = stage.dial("a.example", false).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Denied(_)), "{refused}");
        assert_eq!(stage.dialled().len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_only_leads_inside_is_refused_unless_the_grant_says_private() {
        for inside in ["10.0.0.1:80", "127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[fd00::1]:80"] {
            let stage = Stage::new(&[&[inside]]).await;
            let text = stage.dial("a.example", false).await.unwrap_err().to_string();
            assert!(text.contains("a.example leads to ") && text.contains("does not allow"), "{text}");
            assert_eq!(stage.dialled(), [""; 0]);
            stage.dial("a.example", true).await.unwrap();
            assert_eq!(stage.dialled(), [inside]);
        }
        for never in ["169.254.169.254:80", "[fe80::1]:80", "0.0.0.0:80", "[::]:80", "[::ffff:0.0.0.0]:80"] {
            let stage = Stage::new(&[&[never]]).await;
            let refused = stage.dial("a.example", true).await.unwrap_err();
            assert!(matches!(refused, ConnectError::Denied(_)), "{never}: {refused}");
            assert_eq!(stage.dialled(), [""; 0]);
        }
    }

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let stage = Stage::new(&[&["127.0.0.1:80"]]).await;
        stage.dial("10.0.0.1", false).await.unwrap();
        assert_eq!(stage.dialled(), ["10.0.0.1:80"]);
    }

    #[tokio::test]
    async fn a_name_without_addresses_does_not_resolve() {
        let stage = Stage::new(&[&[]]).await;
        let text = stage.dial("a.example", false).await.unwrap_err().to_string();
        assert_eq!(text, "a.example cannot be resolved: the name has no address");
    }

    /// A network in which one address never answers.
    #[derive(Debug)]
    struct Swallows(SocketAddr);

    impl Network for Swallows {
        fn resolve<'a>(&'a self, _: &'a str, _: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
            let answer = vec!["198.50.0.1:80".parse().unwrap(), "198.50.0.2:80".parse().unwrap()];
            Box::pin(async move { Ok(answer) })
        }

        fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, TcpStream> {
            if address.ip().to_string().ends_with(".1") {
                return Box::pin(std::future::pending());
            }
            Box::pin(TcpStream::connect(self.0))
        }
    }

    #[tokio::test]
    async fn an_address_that_swallows_packets_leaves_time_for_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialler = Dialler::new(Arc::new(Swallows(listener.local_addr().unwrap())));
        let host = Host::parse("a.example").unwrap();
        dialler.dial(&host, 80, |_| true, Duration::from_millis(500)).await.unwrap();
    }
}
