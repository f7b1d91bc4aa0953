//! Response: an SMTP-style reply that says what happened, in DSNs, queue views and tracking.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text;

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnhancedStatus(pub u8, pub u16, pub u16);

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply code, an enhanced status code and a text of one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// 200 to 599.
    pub code: u16,
    /// RFC 3463.
    pub status: EnhancedStatus,
    /// One line without control characters, at most [`Response::MAX_TEXT`] bytes.
    pub text: String,
}

impl Response {
    /// The longest text that is kept, in bytes; longer ones are cut.
    pub const MAX_TEXT: usize = 512;

    /// Makes a response; the text is cleaned of control characters and cut at [`Self::MAX_TEXT`].
    #[must_use]
    pub fn new(code: u16, status: (u8, u16, u16), text: &str) -> Self {
        Self {
            code,
            status: EnhancedStatus(status.0, status.1, status.2),
            text: text::one_line(text, Self::MAX_TEXT),
        }
    }

    /// Whether it reports success (2xx), with an enhanced code of the same class.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2 && self.status.0 == 2
    }

    /// Whether it reports a temporary failure (4xx), with an enhanced code of the same class.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4 && self.status.0 == 4
    }

    /// Whether it reports a permanent failure (5xx), with an enhanced code of the same class.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5 && self.status.0 == 5
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.status, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_is_cut() {
        let r = Response::new(550, (5, 1, 1), &format!("no\r\nsuch\x1b[31m user{}", "x".repeat(600)));
        assert!(r.text.starts_with("no such[31m user"));
        assert!(r.text.len() <= Response::MAX_TEXT);
        assert!(r.is_permanent() && !r.is_temporary());
    }
}
