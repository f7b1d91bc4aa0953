//! TLS for call-backs: the certificate and key that the listener shows.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::CallbackTls;

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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use std::time::Duration;

    use axum::extract::Request;
    use axum::response::Response;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;
    use tokio_util::sync::CancellationToken;

    use super::super::house::{House, Rules};
    use super::super::serve::{Answers, serve};
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

    /// Gives the body of each request back.
    struct Echo;

    impl Answers for Echo {
        async fn answer(&self, request: Request) -> Response {
            Response::new(request.into_body())
        }

        fn turned_away(&self, _what: &str) {}
    }

    #[tokio::test]
    async fn a_provider_that_trusts_the_authority_gets_through_and_those_that_dawdle_hold_nobody_up() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let acceptor = acceptor(&files("server.pem", "server.key")).unwrap();
        let hour = Duration::from_secs(3600);
        let house = House::new(Rules { max_connections: 2, head: hour, request: hour });
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(socket, Some(acceptor), house, Arc::new(Echo), stop.clone()));
        // They connect, and never begin their handshakes.
        let mut dawdlers = Vec::new();
        for _ in 0..2 {
            dawdlers.push(TcpStream::connect(address).await.unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("fax.example").unwrap();
        let mut stream = client().connect(name, stream).await.unwrap();
        let call =
            b"POST / HTTP/1.1\r\nhost: fax.example\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
        stream.write_all(call).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        // The first dawdler had to make room.
        assert_eq!(dawdlers[0].read(&mut [0; 8]).await.unwrap_or(0), 0);
        stop.cancel();
        drop(dawdlers);
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
