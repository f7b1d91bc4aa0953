//! HttpPolicy: which requests an agent may send, and what they may carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use url::Url;

use crate::grants::HttpGrant;
use crate::limits::Limit;
use crate::{Limits, Secret};

/// A request that is not allowed, with the reason for the agent's author and the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Denied {
    pub(crate) why: String,
    /// The limit that it would break, if it is one.
    pub(crate) limit: Option<Limit>,
}

impl Denied {
    /// Not allowed, for this reason.
    pub(crate) fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), limit: None }
    }

    /// Over a limit.
    pub(crate) fn over(limit: Limit, why: impl Into<String>) -> Self {
        Self { why: why.into(), limit: Some(limit) }
    }
}

/// Header fields that belong to the connection, which is the host's.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::EXPECT,
];
const OF_THE_CONNECTION_TOO: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// What one agent may send. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpPolicy {
    grants: Arc<[HttpGrant]>,
    secrets: Arc<BTreeMap<String, Secret>>,
    max_url: usize,
    max_headers: usize,
    max_fields: usize,
}

impl HttpPolicy {
    /// `secrets` holds the granted ones only.
    pub(crate) fn new(
        grants: Arc<[HttpGrant]>,
        secrets: Arc<BTreeMap<String, Secret>>,
        limits: &Limits,
    ) -> Self {
        let (max_url, max_headers) = (limits.http_url, limits.http_header_bytes);
        Self { grants, secrets, max_url, max_headers, max_fields: limits.http_fields }
    }

    /// The normalised form of a URL that this method may be used on.
    pub(crate) fn uri(&self, method: &Method, url: &str) -> Result<Uri, Denied> {
        if url.len() > self.max_url {
            let why = format!("the URL is longer than http_url = {} bytes", self.max_url);
            return Err(Denied::over(Limit::HttpUrl, why));
        }
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(Denied::because(format!("the method {method} is never allowed")));
        }
        let mut url =
            Url::parse(url).map_err(|error| Denied::because(format!("the URL is not valid: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::because("a user name in a URL is not allowed"));
        }
        url.set_fragment(None);
        if !self.grants.iter().any(|grant| grant.allows(method, &url)) {
            url.set_query(None);
            let shown = postern_model::text::one_line(url.as_str(), 200);
            return Err(Denied::because(format!("no grant allows {method} {shown}")));
        }
        url.as_str().parse().map_err(|error| Denied::because(format!("the URL is not valid: {error}")))
    }

    /// The header of a request: validated, without what is the host's, with secrets put in.
    pub(crate) fn headers<'a>(
        &self,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<HeaderMap, Denied> {
        let mut headers = HeaderMap::new();
        let mut size = 0;
        let too_much = || {
            let why = format!("more than http_header_bytes = {} bytes of header", self.max_headers);
            Denied::over(Limit::HttpHeaderBytes, why)
        };
        for (name, value) in fields {
            let room = self.max_headers.saturating_sub(size + name.len());
            if headers.len() >= self.max_fields {
                let why = format!("more than http_fields = {} fields of header", self.max_fields);
                return Err(Denied::over(Limit::HttpFields, why));
            }
            if value.len() > room {
                return Err(too_much());
            }
            let (name, value) = self.field(name, value, room)?.ok_or_else(too_much)?;
            // Secrets count with their full length.
            size += name.as_str().len() + value.len();
            // The host counts the body itself.
            if name != header::CONTENT_LENGTH {
                headers.append(name, value);
            }
        }
        Ok(headers)
    }

    /// A field with its secrets put in; `None` when its value is then longer than `room`.
    fn field(
        &self,
        name: &[u8],
        value: &[u8],
        room: usize,
    ) -> Result<Option<(HeaderName, HeaderValue)>, Denied> {
        let shown = || postern_model::text::one_line(&String::from_utf8_lossy(name), 60);
        let name = HeaderName::from_bytes(name)
            .map_err(|_| Denied::because(format!("{:?} is no header name", shown())))?;
        if OF_THE_CONNECTION.contains(&name) || OF_THE_CONNECTION_TOO.contains(&name.as_str()) {
            return Err(Denied::because(format!("the header field {name} is set by the host")));
        }
        let Some(filled) = self.with_secrets(value, room)? else { return Ok(None) };
        let mut field = HeaderValue::from_bytes(&filled).map_err(|_| {
            Denied::because(format!("the value of {name} holds bytes that a header must not hold"))
        })?;
        // Keeps it out of debug output below us.
        let secret = filled != value || matches!(name, header::AUTHORIZATION | header::COOKIE);
        field.set_sensitive(secret);
        Ok(Some((name, field)))
    }

    /// Replaces every `{secret:NAME}`. `None` when that makes more than `room` bytes: a short value could else ask for a
    /// long secret a thousand times.
    fn with_secrets(&self, value: &[u8], room: usize) -> Result<Option<Vec<u8>>, Denied> {
        const OPEN: &[u8] = b"{secret:";
        let mut out = Vec::with_capacity(value.len());
        let mut rest = value;
        while let Some(start) = memchr::memmem::find(rest, OPEN) {
            let after = &rest[start + OPEN.len()..];
            let Some(end) = memchr::memchr(b'}', after) else { break };
            out.extend_from_slice(&rest[..start]);
            let name = String::from_utf8_lossy(&after[..end]);
            let shown = || postern_model::text::one_line(&name, 60);
            let secret = self
                .secrets
                .get(name.as_ref())
                .ok_or_else(|| Denied::because(format!("the secret {:?} is not granted", shown())))?
                .reveal();
            if secret.bytes().any(|b| b.is_ascii_control()) {
                // A line break would let the secret's owner write header fields, by mistake or not.
                let why = format!("the secret {:?} holds line breaks or control characters", shown());
                return Err(Denied::because(format!("{why}, which cannot stand in a header")));
            }
            out.extend_from_slice(secret.as_bytes());
            if out.len() > room {
                return Ok(None);
            }
            rest = &after[end + 1..];
        }
        out.extend_from_slice(rest);
        Ok((out.len() <= room).then_some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789012345678901234567890123456789";

    fn policy() -> HttpPolicy {
        let grants: Vec<HttpGrant> = vec!["https://a.example/v1/".parse().unwrap()];
        let secrets = [("key", "s3cret"), ("long", LONG), ("pem", "-----BEGIN\nMII"), ("cr", "a\rb")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let secrets = BTreeMap::from(secrets);
        let limits = Limits { http_url: 200, http_header_bytes: 200, http_fields: 3, ..Limits::default() };
        HttpPolicy::new(grants.into(), Arc::new(secrets), &limits)
    }

    fn headers(fields: &[(&str, &str)]) -> Result<HeaderMap, Denied> {
        policy().headers(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    #[test]
    fn a_secret_is_put_into_a_header_value_and_only_if_granted() {
        let got = headers(&[("Authorization", "Bearer {secret:key}.{secret:key}")]).unwrap();
        assert_eq!(got["authorization"], "Bearer s3cret.s3cret");
        let denied = headers(&[("X", "{secret:other}")]).unwrap_err();
        assert!(denied.why.contains("\"other\" is not granted"), "{denied}");
        assert_eq!(headers(&[("X", "{secret:open")]).unwrap()["x"], "{secret:open");
    }

    #[test]
    fn a_header_cannot_be_split_nor_the_connection_taken_over() {
        assert!(headers(&[("X", "a\r\nHost: evil")]).is_err());
        assert!(headers(&[("X: y\r\nZ", "a")]).is_err());
        for name in ["Host", "Connection", "Transfer-Encoding", "Upgrade", "Keep-Alive", "TE"] {
            assert!(headers(&[(name, "x")]).unwrap_err().why.contains("set by the host"), "{name}");
        }
        assert!(headers(&[("Content-Length", "999")]).unwrap().is_empty());
    }

    #[test]
    fn a_secret_with_a_line_break_is_refused_by_its_name_alone() {
        for name in ["pem", "cr"] {
            let denied = headers(&[("X", &format!("{{secret:{name}}}"))]).unwrap_err().why;
            assert!(denied.contains(&format!("{name:?} holds line breaks")), "{denied}");
            assert!(!denied.contains("BEGIN"), "{denied}");
        }
    }

    #[test]
    fn a_value_with_a_secret_in_it_does_not_show_itself() {
        let got = headers(&[("X-Key", "{secret:key}"), ("X-Plain", "plain")]).unwrap();
        let shown = format!("{got:?}");
        assert!(!shown.contains("s3cret") && shown.contains("plain"), "{shown}");
    }

    #[test]
    fn header_and_url_are_bounded() {
        assert!(headers(&[("X", &"x".repeat(300))]).is_err());
        assert!(headers(&[("X", &"x".repeat(150)), ("Y", &"y".repeat(100))]).is_err());
        // A secret counts with its full length: 40 bytes for the 13 of its name.
        assert!(headers(&[("X", &"{secret:long}".repeat(4))]).is_ok());
        let denied = headers(&[("X", &"{secret:long}".repeat(5))]);
        assert!(denied.unwrap_err().why.contains("http_header_bytes = 200 bytes"));
        let many = headers(&[("A", ""), ("B", ""), ("C", ""), ("D", "")]);
        assert_eq!(many.unwrap_err().limit, Some(Limit::HttpFields));
        let url = format!("https://a.example/v1/{}", "x".repeat(300));
        assert!(policy().uri(&Method::GET, &url).is_err());
    }

    #[test]
    fn what_is_sent_is_the_normalised_url() {
        let uri = policy().uri(&Method::GET, "https://A.EXAMPLE:443/v1/a/../b?q=%20#frag").unwrap();
        assert_eq!(uri.to_string(), "https://a.example/v1/b?q=%20");
        assert!(policy().uri(&Method::GET, "https://u@a.example/v1/").is_err());
        assert!(policy().uri(&Method::CONNECT, "https://a.example/v1/").is_err());
        assert!(policy().uri(&Method::GET, "file:///etc/passwd").is_err());
    }
}
