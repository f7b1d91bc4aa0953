//! TcpGrant: a host and port that an agent may connect to, and what the host does on that connection.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::ServerName;
use serde::{Deserialize, Deserializer};
use url::Host;

use super::{Endpoint, GrantError};

/// A destination of TCP connections, written `[tls://]HOST:PORT [private] [client=SECRET]`:
///
/// - `smsc.example:2775` allows plain connections to that name and port,
/// - `tls://smsc.example:3550` allows them too, and the host speaks TLS on them and checks the certificate,
/// - `tls://smsc.example:3550 client=smsc-certificate` also shows a certificate of ours: the secret holds the chain and
///   its private key, both in PEM. The agent needs no grant for that secret and does not see it,
/// - `pbx.example:5038 private` also allows the name to lead to a private or loopback address.
///
/// A host that is written as an IP address or as `localhost` needs no `private`.
#[derive(Clone, PartialEq, Eq)]
pub struct TcpGrant {
    text: String,
    endpoint: Endpoint,
    /// Some where TLS is spoken.
    server_name: Option<ServerName<'static>>,
    client: Option<String>,
}

impl TcpGrant {
    /// The host and port, and where they may lead.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether the host speaks TLS on it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.server_name.is_some()
    }

    /// Where TLS is spoken, the name that the far end's certificate must be for.
    pub(crate) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }

    /// The secret with the certificate and key that the host shows, if any.
    #[must_use]
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }
}

/// `HOST:PORT`, IPv6 addresses in brackets, as grants and agents write it.
pub(crate) fn host_and_port(text: &str) -> Option<(Host<String>, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let port = port?.parse().ok().filter(|port| *port > 0)?;
    Some((Host::parse(host).ok()?, port))
}

impl FromStr for TcpGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why: &str| GrantError { text: text.to_owned(), why: why.to_owned() };
        let form = || fail("it must read [tls://]HOST:PORT [private] [client=SECRET]");
        let mut words = text.split_whitespace();
        let address = words.next().ok_or_else(form)?;
        let (mut private, mut client) = (false, None);
        for word in words {
            match word.strip_prefix("client=").filter(|name| !name.is_empty()) {
                Some(name) if client.is_none() => client = Some(name.to_owned()),
                None if word == "private" && !private => private = true,
                _ => return Err(form()),
            }
        }
        let tls = address.strip_prefix("tls://");
        if client.is_some() && tls.is_none() {
            return Err(fail("a client certificate needs tls://"));
        }
        let (host, port) = host_and_port(tls.unwrap_or(address)).ok_or_else(form)?;
        let server_name = match &host {
            _ if tls.is_none() => None,
            Host::Ipv4(address) => Some(ServerName::from(IpAddr::V4(*address))),
            Host::Ipv6(address) => Some(ServerName::from(IpAddr::V6(*address))),
            Host::Domain(name) => {
                let name = ServerName::try_from(name.clone());
                Some(name.map_err(|_| fail("no certificate can be for that name"))?)
            }
        };
        let endpoint = Endpoint::new(host, port, private).map_err(fail)?;
        Ok(Self { text: text.to_owned(), endpoint, server_name, client })
    }
}

impl fmt::Display for TcpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TcpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpGrant({})", self.text)
    }
}

impl<'de> Deserialize<'de> for TcpGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> TcpGrant {
        text.parse().unwrap()
    }

    #[test]
    fn a_grant_says_where_and_how() {
        let plain = grant("SMSC.example:2775");
        assert_eq!(host_and_port("smsc.EXAMPLE:02775").unwrap(), (plain.endpoint().host().clone(), 2775));
        assert!(!plain.is_tls() && plain.client().is_none());
        assert!(!plain.endpoint().may_reach("10.0.0.1".parse().unwrap()));
        let full = grant("tls://[fd00::1]:3550 client=smsc-certificate private");
        assert!(full.is_tls() && full.endpoint().port() == 3550);
        assert_eq!(full.client(), Some("smsc-certificate"));
        assert!(grant("a.example:1 private").endpoint().may_reach("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_grant_is_refused_with_the_reason() {
        let why = |text: &str| text.parse::<TcpGrant>().unwrap_err().why;
        for text in [
            "",
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:+1",
            "a.example:65536",
            ":1",
            "fd00::1:1",
            "http://a.example:1",
            "user@a.example:1",
            "a.example:1 public",
            "a.example:1 private private",
            "tls://a.example:1 client=",
            "tls://a.example:1 client=a client=b",
        ] {
            assert!(why(text).contains("must read"), "{text}: {}", why(text));
        }
        assert!(why("a.example:1 client=a").contains("needs tls://"));
        assert!(why("*.example:1").contains("patterns"));
        assert!(why("tls://a..example:1").contains("no certificate"));
        assert!(why("[::ffff:0.0.0.0]:1").contains("unspecified"));
    }
}
