//! SmtpListener: a receive connector that speaks SMTP.
//!
//! The grammar and the order of commands are `postern_smtp`'s; here are the sockets, the clock and the door.

mod connection;
mod envelope;
mod guests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_smtp::{Extensions, Limits, Session, SessionConfig, Verdict};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::ReceiveConfig;
use crate::metrics::{ByConnector, Metrics};
use crate::submit::Submitter;
use connection::ClientConnection;
use guests::Guests;

/// Pause after `accept` failed (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client that is not served may take to hear so.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A receive connector on its sockets.
pub struct SmtpListener {
    door: Arc<Door>,
    sockets: Vec<Arc<TcpListener>>,
}

/// What all connections of a receive connector share.
struct Door {
    config: ReceiveConfig,
    session: Arc<SessionConfig>,
    submitter: Arc<Submitter>,
    metrics: Arc<Metrics>,
    /// Where large contents are written while they come in.
    incoming: PathBuf,
    guests: Guests,
}

impl SmtpListener {
    /// A receive connector on sockets that are bound.
    #[must_use]
    pub fn new(
        config: &ReceiveConfig,
        host_name: &str,
        submitter: Arc<Submitter>,
        metrics: Arc<Metrics>,
        incoming: PathBuf,
        sockets: Vec<Arc<TcpListener>>,
    ) -> Self {
        let door = Door {
            config: config.clone(),
            session: Arc::new(session_config(config, host_name)),
            submitter,
            metrics,
            incoming,
            guests: Guests::default(),
        };
        Self { door: Arc::new(door), sockets }
    }

    /// Serves clients until told to stop; those inside a transaction are told to come again then. When only `accepting`
    /// is cancelled it takes no new clients, and ends when the last one has left.
    pub async fn run(self, accepting: CancellationToken, stop: CancellationToken) {
        let mut loops = JoinSet::new();
        for socket in self.sockets {
            loops.spawn(accept_loop(socket, self.door.clone(), accepting.clone(), stop.clone()));
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

async fn accept_loop(
    socket: Arc<TcpListener>,
    door: Arc<Door>,
    accepting: CancellationToken,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = accepting.cancelled() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a client connection's task failed");
                }
            }
            accepted = socket.accept() => match accepted {
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
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, client: SocketAddr, door: Arc<Door>, stop: CancellationToken) {
    let ip = client.ip().to_canonical();
    let guest = door.guests.enter(ip, &door.config);
    // Replies are small and waited for: they must not wait for more.
    let _ = stream.set_nodelay(true);
    let ended = match &guest.refusal {
        Some(verdict) => {
            door.metrics.refused(&door.config.name, verdict.code());
            turn_away(stream, &door.session, verdict.clone()).await
        }
        None => {
            let label = ByConnector { connector: door.config.name.to_string() };
            door.metrics.client_connections.get_or_create(&label).inc();
            let ended = ClientConnection::new(stream, ip, door.clone()).serve(&stop).await;
            door.metrics.client_connections.get_or_create(&label).dec();
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(connector = %door.config.name, %client, %error, "a client connection broke");
    }
}

/// Says why a client is not served, and closes without waiting for its QUIT: one that is not served has no claim to a
/// socket.
async fn turn_away(
    mut stream: TcpStream,
    session: &Arc<SessionConfig>,
    verdict: Verdict,
) -> std::io::Result<()> {
    let mut greeting = Vec::new();
    Session::refusing(session.clone(), verdict).advance(&mut &[][..], &mut greeting, &mut Vec::new());
    let telling = async {
        stream.write_all(&greeting).await?;
        stream.shutdown().await
    };
    let told = tokio::time::timeout(REFUSAL_TIMEOUT, telling).await;
    told.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
