//! HTTP through the host: pooled connections, checked TLS, within the connector's `http` grants.

use std::fmt;

use crate::imports;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Names and values; the host replaces `{secret:NAME}` in a value by a granted secret.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body.
    pub body: Vec<u8>,
    /// Milliseconds; `None`: what is left of the call's deadline.
    pub timeout_ms: Option<u32>,
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        let (method, url) = (method.to_owned(), url.to_owned());
        Self { method, url, headers: Vec::new(), body: Vec::new(), timeout_ms: None }
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// The same with a limit on its time, in milliseconds.
    #[must_use]
    pub fn timeout_ms(mut self, milliseconds: u32) -> Self {
        self.timeout_ms = Some(milliseconds);
        self
    }

    /// Sends it. The body is handed over without another copy in the agent's memory.
    ///
    /// # Errors
    /// When no answer came; an answer with an error status is an answer.
    pub fn send(self) -> Result<Answer, Fault> {
        imports::send(self)
    }
}

/// An answer, of whatever status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name, in any case, without white space around it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No grant allows it; the text names what is missing.
    Denied(String),
    /// The time ran out.
    Timeout,
    /// No connection.
    Connect(String),
    /// A connection without trust.
    Tls(String),
    /// Larger than the host carries.
    TooLarge,
    /// Anything else.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Connect(text) => write!(f, "no connection: {text}"),
            Self::Tls(text) => write!(f, "TLS: {text}"),
            Self::TooLarge => f.write_str("larger than the host carries"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_in_any_case() {
        let answer =
            Answer { headers: vec![("Retry-AFTER".to_owned(), " 7 ".to_owned())], ..Answer::default() };
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert_eq!(answer.header("retry"), None);
    }
}
