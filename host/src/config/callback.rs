//! `[callback]`: where providers call agents back over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;

use super::raw::{Section, Wrong};
use super::values::{boolean, count, line, number, quoted, size, socket, timer};

/// `callback.max_body`: body of one call, in bytes.
pub const MAX_BODY: u64 = 1 << 20;
/// `callback.max_requests_per_second`, for each connector.
pub const MAX_REQUESTS_PER_SECOND: u32 = 50;
/// `callback.max_requests_at_once`, for each connector.
pub const MAX_REQUESTS_AT_ONCE: usize = 8;

/// `callback.max_connections`.
pub const MAX_CONNECTIONS: usize = 256;
/// `callback.head_timeout`.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// `callback.body_timeout`.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// `callback.request_timeout`: longer than an agent may take by default and its receipts until they are on the disk.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// `[callback]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackConfig {
    /// Where it listens; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// How providers reach that address: what agents tell them begins with it. No `/` at its end.
    pub public_url: Option<String>,
    /// Its certificate; `None`: it speaks plain HTTP, on loopback or behind a proxy.
    pub tls: Option<CallbackTls>,
    /// Body of one call, in bytes.
    pub max_body: usize,
    /// Calls of one connector in a second; the rest is told to come again.
    pub max_requests_per_second: u32,
    /// Calls of one connector at once.
    pub max_requests_at_once: usize,
    /// Open connections, of all callers together. One more takes the place of the one that has been silent longest.
    pub max_connections: usize,
    /// From the connection, or the answer before, to the end of a request's head, a TLS handshake included.
    pub head_timeout: Duration,
    /// From there to the end of its body.
    pub body_timeout: Duration,
    /// From the end of its head to its answer.
    pub request_timeout: Duration,
}

/// The files that TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackTls {
    /// The certificate and its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
}

impl CallbackConfig {
    pub(super) fn read(root: &Section<'_>) -> Self {
        let section = root.table("callback");
        let listen = section.optional("listen", socket);
        let public_url = section.optional("public_url", |value| {
            let found = line(value)?;
            let good = found.starts_with("https://") || found.starts_with("http://");
            match good && !found.contains(['?', '#', '@', ' ']) {
                true => Ok(found.trim_end_matches('/').to_owned()),
                false => Err(Wrong::hinted(
                    format!("{} is not the beginning of a URL", quoted(&found)),
                    "write how providers reach it: \"https://gw.example/callback\"",
                )),
            }
        });
        let certificate = section.optional("certificate", line);
        let private_key = section.optional("private_key", line);
        let behind_proxy = section.or("behind_proxy", boolean, false);
        let max_body = section.or("max_body", size(1, 64 << 20), MAX_BODY);
        let per_second = section.or("max_requests_per_second", number(1, 10_000), MAX_REQUESTS_PER_SECOND);
        let max_requests_at_once = section.or("max_requests_at_once", count(1, 1000), MAX_REQUESTS_AT_ONCE);
        let timeout = || timer(SignedDuration::from_millis(100), SignedDuration::from_hours(1));
        let max_connections = section.or("max_connections", count(1, 10_000), MAX_CONNECTIONS);
        let head_timeout = section.or("head_timeout", timeout(), HEAD_TIMEOUT);
        let body_timeout = section.or("body_timeout", timeout(), BODY_TIMEOUT);
        let request_timeout = section.or("request_timeout", timeout(), REQUEST_TIMEOUT);
        section.finish();
        let document = section.document();
        let tls = match (certificate, private_key) {
            (Some(certificate), Some(key)) => Some(CallbackTls {
                certificate: document.resolve(&certificate),
                private_key: document.resolve(&key),
            }),
            (None, None) => None,
            _ => {
                let hint = "write certificate = \"gw.pem\" and private_key = \"gw.key\", or neither";
                section.fault(Wrong::hinted("certificate and private_key go together", hint));
                None
            }
        };
        if let Some(address) = listen
            && !address.ip().is_loopback()
            && tls.is_none()
            && !behind_proxy
        {
            section.fault(Wrong::hinted(
                format!("{address} can be reached from other machines, and without TLS"),
                "add certificate and private_key, or behind_proxy = true where a proxy in front speaks TLS",
            ));
        }
        Self {
            listen,
            public_url,
            tls,
            max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
            max_requests_per_second: per_second,
            max_requests_at_once,
            max_connections,
            head_timeout,
            body_timeout,
            request_timeout,
        }
    }
}
