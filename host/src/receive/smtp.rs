//! SmtpListener: a receive connector that speaks SMTP.
//!
//! The grammar and the order of commands are `postern_smtp`'s; here are the sockets, the clock and the door.

mod connection;
mod envelope;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_smtp::{EnhancedCode, Extensions, Limits, SessionConfig, Verdict};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::ReceiveConfig;
use crate::metrics::{ByConnector, Metrics};
use crate::submit::Submitter;
use connection::ClientConnection;

/// Pause after `accept` failed (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A receive connector, bound to its addresses.
pub struct SmtpListener {
    door: Arc<Door>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// What all connections of a receive connector share.
struct Door {
    config: ReceiveConfig,
    session: Arc<SessionConfig>,
    submitter: Arc<Submitter>,
    metrics: Arc<Metrics>,
    /// Where large contents are written while they come in.
    incoming: PathBuf,
    /// Open connections by client.
    clients: Mutex<HashMap<IpAddr, usize>>,
}

impl SmtpListener {
    /// Binds all addresses of a receive connector.
    ///
    /// # Errors
    /// When one cannot be had; none is bound then.
    pub async fn bind(
        config: &ReceiveConfig,
        host_name: &str,
        submitter: Arc<Submitter>,
        metrics: Arc<Metrics>,
        incoming: PathBuf,
    ) -> std::io::Result<Self> {
        let mut listeners = Vec::new();
        for address in &config.listen {
            let bound = TcpListener::bind(address).await;
            listeners.push(bound.map_err(|e| std::io::Error::new(e.kind(), format!("{address}: {e}")))?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
        let door = Door {
            config: config.clone(),
            session: Arc::new(session_config(config, host_name)),
            submitter,
            metrics,
            incoming,
            clients: Mutex::default(),
        };
        Ok(Self { door: Arc::new(door), listeners, addresses })
    }

    /// The connector's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.door.config.name
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Serves clients until told to stop; those inside a transaction are told to come again.
    pub async fn run(self, stop: CancellationToken) {
        let mut loops = JoinSet::new();
        for listener in self.listeners {
            loops.spawn(accept_loop(listener, self.door.clone(), stop.clone()));
        }
        while loops.join_next().await.is_some() {}
    }
}

fn session_config(config: &ReceiveConfig, host_name: &str) -> SessionConfig {
    let mut session = SessionConfig::new(host_name);
    session.banner.clone_from(&config.banner);
    session.limits = Limits {
        max_message_size: config.max_message_size,
        max_header_size: usize::try_from(config.max_header_size).unwrap_or(usize::MAX),
        max_recipients: config.max_recipients,
        max_command_length: config.max_command_length,
        max_hops: config.max_hops,
        max_protocol_errors: usize::try_from(config.max_protocol_errors).unwrap_or(usize::MAX),
        ..session.limits
    };
    session.extensions = Extensions {
        pipelining: config.extensions.pipelining,
        eight_bit_mime: config.extensions.eight_bit_mime,
        dsn: config.extensions.dsn,
        chunking: config.extensions.chunking,
        binary_mime: config.extensions.binary_mime,
        ..Extensions::default()
    };
    session
}

async fn accept_loop(listener: TcpListener, door: Arc<Door>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a client connection's task failed");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    connections.spawn(serve(stream, client, door.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(connector = %door.config.name, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, client: SocketAddr, door: Arc<Door>, stop: CancellationToken) {
    let ip = client.ip().to_canonical();
    let counted = Counted::new(&door, ip);
    let refusal = door.refusal(ip, &counted);
    let label = ByConnector { connector: door.config.name.to_string() };
    door.metrics.client_connections.get_or_create(&label).inc();
    let connection = ClientConnection::new(stream, ip, door.clone(), refusal);
    match tokio::time::timeout(door.config.connection_timeout, connection.serve(&stop)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(connector = %door.config.name, %client, %error, "a client connection broke");
        }
        Err(_) => tracing::info!(
            connector = %door.config.name, %client, limit = ?door.config.connection_timeout,
            "a client connection reached connection_timeout and was closed"
        ),
    }
    door.metrics.client_connections.get_or_create(&label).dec();
}

impl Door {
    /// Why a client is not served at all.
    fn refusal(&self, client: IpAddr, counted: &Counted<'_>) -> Option<Verdict> {
        if !self.config.admits(client) {
            let text = "this host does not serve your network (remote_networks)";
            return Some(Verdict::new(554, EnhancedCode::new(5, 7, 1), text));
        }
        if counted.total > self.config.max_connections {
            let text = "too many connections (max_connections), try again later";
            return Some(Verdict::new(421, EnhancedCode::new(4, 3, 2), text));
        }
        if counted.own > self.config.max_connections_per_source {
            let text = "too many connections from your address (max_connections_per_source)";
            return Some(Verdict::new(421, EnhancedCode::new(4, 7, 0), text));
        }
        None
    }
}

/// A connection in the count, for as long as it lives.
struct Counted<'a> {
    door: &'a Door,
    client: IpAddr,
    own: usize,
    total: usize,
}

impl<'a> Counted<'a> {
    fn new(door: &'a Door, client: IpAddr) -> Self {
        let mut clients = door.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let own = clients.entry(client).or_default();
        *own += 1;
        let own = *own;
        Self { door, client, own, total: clients.values().sum() }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut clients = self.door.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = clients.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                clients.remove(&self.client);
            }
        }
    }
}
