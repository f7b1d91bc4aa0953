//! TLS for call-backs: a listener that hands over connections once their handshake is done.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::CallbackTls;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once; further connections wait in the system's queue.
const HANDSHAKES: usize = 64;
/// Pause after `accept` failed (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What turns connections into TLS ones.
///
/// # Errors
/// When the certificate or the key cannot be read, or do not belong together; the text names the file.
pub fn acceptor(tls: &CallbackTls) -> io::Result<TlsAcceptor> {
    let fail = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .map_err(|e| fail(&tls.certificate, &e))?;
    let key = PrivateKeyDer::from_pem_file(&tls.private_key).map_err(|e| fail(&tls.private_key, &e))?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(&tls.certificate, &e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| fail(&tls.certificate, &e))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections whose handshake is done. One that dawdles does not hold up the others.
pub struct TlsListener {
    address: io::Result<SocketAddr>,
    done: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: tokio::task::JoinHandle<()>,
}

impl TlsListener {
    /// Accepts from now on.
    pub fn new(listener: TcpListener, acceptor: TlsAcceptor) -> Self {
        let address = listener.local_addr();
        let (sender, done) = mpsc::channel(HANDSHAKES);
        let accepting = tokio::spawn(accept(listener, acceptor, sender));
        Self { address, done, accepting }
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the call-back listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    // Nobody takes it any more: the listener is gone.
                    let _ = done.send((stream, client)).await;
                }
                Ok(Err(error)) => tracing::debug!(%client, %error, "a call-back's TLS handshake failed"),
                Err(_) => tracing::debug!(%client, "a call-back's TLS handshake took too long"),
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.done.recv().await {
            Some(accepted) => accepted,
            // The task ends only with the runtime.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// The kept samples of the agents' tests; `server.pem` is for `fax.example`.
    fn sample(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("agent/tests/certificates").join(name)
    }

    fn files(certificate: &str, key: &str) -> CallbackTls {
        CallbackTls { certificate: sample(certificate), private_key: sample(key) }
    }

    fn client() -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(sample("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        TlsConnector::from(Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth()))
    }

    #[tokio::test]
    async fn a_provider_that_trusts_the_authority_gets_through_and_one_that_dawdles_holds_nobody_up() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let acceptor = acceptor(&files("server.pem", "server.key")).unwrap();
        let mut listener = TlsListener::new(socket, acceptor);
        assert_eq!(listener.local_addr().unwrap(), address);
        let _dawdler = TcpStream::connect(address).await.unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await;
            let mut said = [0; 5];
            stream.read_exact(&mut said).await.unwrap();
            stream.write_all(&said).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("fax.example").unwrap();
        let mut stream = client().connect(name, stream).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).await.unwrap();
        assert_eq!(echo, b"hello");
        served.await.unwrap();
    }

    #[test]
    fn a_certificate_that_cannot_be_used_names_its_file() {
        let why = |certificate, key| acceptor(&files(certificate, key)).err().unwrap().to_string();
        assert!(why("none.pem", "server.key").contains("none.pem"));
        assert!(why("server.pem", "none.key").contains("none.key"));
        assert!(why("server.pem", "client.key").contains("server.pem"), "the key of another");
        assert!(why("server.key", "server.key").contains("server.key"), "no certificate in it");
    }
}
