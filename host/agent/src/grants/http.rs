//! HttpGrant: a URL prefix that an agent may send requests to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Method;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::{Endpoint, GrantError};
use crate::http::climbs;

/// A URL prefix that an agent may send requests to, written `[METHOD,...] URL [private]`:
///
/// - `https://fax.example/v1/` allows every method below `/v1/`,
/// - `POST,GET https://fax.example/v1/faxes` allows two methods for that path and what lies below it,
/// - `http://intranet.example/ private` also allows the name to lead to a private or loopback address.
///
/// A host that is written as an IP address or as `localhost` needs no `private`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpGrant {
    text: String,
    methods: Vec<Method>,
    scheme: String,
    endpoint: Endpoint,
    path: String,
}

impl HttpGrant {
    /// Whether a request with this method may go to this (normalised) URL.
    #[must_use]
    pub fn allows(&self, method: &Method, url: &Url) -> bool {
        self.is_for(url)
            && (self.methods.is_empty() || self.methods.contains(method))
            && self.covers_path(url.path())
    }

    /// Whether it is about the URL's scheme, host and port.
    pub(crate) fn is_for(&self, url: &Url) -> bool {
        let (host, port) = (url.host().map(|host| host.to_owned()), url.port_or_known_default());
        url.scheme() == self.scheme
            && host.zip(port).is_some_and(|(host, port)| self.endpoint.is_at(&host, port))
    }

    /// Whether it needs TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether a connection to this address may serve it.
    pub(crate) fn may_reach(&self, address: IpAddr) -> bool {
        self.endpoint.may_reach(address)
    }

    fn covers_path(&self, path: &str) -> bool {
        if self.path == "/" {
            return true;
        }
        let Some(rest) = path.strip_prefix(self.path.as_str()) else { return false };
        (self.path.ends_with('/') || rest.is_empty() || rest.starts_with('/')) && !climbs(path)
    }
}

impl FromStr for HttpGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why: &str| GrantError { text: text.to_owned(), why: why.to_owned() };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let private = words.len() > 1 && words.last() == Some(&"private");
        if private {
            words.pop();
        }
        let (methods, address) = match words[..] {
            [address] => ("", address),
            [methods, address] => (methods, address),
            _ => return Err(fail("it must read [METHOD,...] URL [private]")),
        };
        let methods = methods.split(',').filter(|m| !m.is_empty()).map(|m| {
            let upper = m.bytes().all(|b| b.is_ascii_uppercase());
            Method::from_bytes(m.as_bytes())
                .ok()
                .filter(|_| upper)
                .ok_or_else(|| fail("methods are words in upper case"))
        });
        let methods = methods.collect::<Result<_, _>>()?;
        let url = Url::parse(address).map_err(|error| fail(&format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fail("only http:// and https:// can be granted"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fail("a user name or password does not belong here"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fail("a query or fragment cannot be granted, only a path prefix"));
        }
        if climbs(url.path()) {
            return Err(fail("its path climbs"));
        }
        let host = url.host().ok_or_else(|| fail("it has no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| fail("it has no port"))?;
        let endpoint = Endpoint::new(host, port, private).map_err(fail)?;
        let (scheme, path) = (url.scheme().to_owned(), url.path().to_owned());
        Ok(Self { text: text.to_owned(), methods, scheme, endpoint, path })
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpGrant({})", self.text)
    }
}

impl<'de> Deserialize<'de> for HttpGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(grant: &str, method: Method, url: &str) -> bool {
        grant.parse::<HttpGrant>().unwrap().allows(&method, &Url::parse(url).unwrap())
    }

    #[test]
    fn a_grant_opens_its_prefix_and_nothing_beside_it() {
        let table = [
            ("https://fax.example/v1/", "https://fax.example/v1/faxes?x=1", true),
            ("https://fax.example/v1/", "https://FAX.example:443/v1/", true),
            ("https://fax.example/v1", "https://fax.example/v1", true),
            ("https://fax.example/v1", "https://fax.example/v1/a", true),
            ("https://fax.example/v1", "https://fax.example/v1evil", false),
            ("https://fax.example/v1/", "https://fax.example/v1", false),
            ("https://fax.example/v1/", "http://fax.example/v1/", false),
            ("https://fax.example/v1/", "https://fax.example:8443/v1/", false),
            ("https://fax.example/v1/", "https://fax.example.evil.example/v1/", false),
            ("https://fax.example/v1/", "https://fax.example@evil.example/v1/", false),
            ("https://fax.example/v1/", "https://fax.example\\@evil.example/v1/", false),
            ("https://fax.example/v1/", "https://fax.example/v1/../admin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/%2e%2E/admin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/.%2e/admin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/..%2fadmin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/%252e%252e/admin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/..%5cadmin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/..;/admin", false),
            ("https://fax.example/v1/", "https://fax.example/v1\\..\\admin", false),
            ("https://fax.example/v1/", "https://fax.example/v1/a%2fb..c", true),
            ("http://127.0.0.1/", "http://2130706433/", true),
            ("http://127.0.0.1/", "http://127.0.0.2/", false),
        ];
        for (grant, url, allowed) in table {
            assert_eq!(allows(grant, Method::POST, url), allowed, "{grant} for {url}");
        }
    }

    #[test]
    fn methods_limit_a_grant() {
        assert!(allows("POST,PUT https://a.example/", Method::PUT, "https://a.example/x"));
        assert!(!allows("POST,PUT https://a.example/", Method::DELETE, "https://a.example/x"));
    }

    #[test]
    fn what_is_no_grant_is_refused_with_the_reason() {
        let why = |text: &str| text.parse::<HttpGrant>().unwrap_err().why;
        assert!(why("ftp://a.example/").contains("only http"));
        assert!(why("https://u:p@a.example/").contains("user name"));
        assert!(why("https://a.example/?q").contains("query"));
        assert!(why("https://*.example/").contains("pattern"));
        assert!(why("post https://a.example/").contains("upper case"));
        assert!(why("http://0.0.0.0/").contains("unspecified"));
        assert!(why("").contains("must read"));
        assert!(why("http://[::ffff:0.0.0.0]/").contains("unspecified"));
    }
}
