//! Call-backs: what a provider sends to an agent over HTTP, and what the agent answers.

use std::fmt;

use postern_model::Receipt;

use crate::bindings::exported::callback as wit;

/// What the provider sent.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackRequest {
    /// `POST`.
    pub method: String,
    /// What follows the connector's own part of the path; begins with `/`.
    pub path: String,
    /// What follows the `?`, undecoded.
    pub query: Option<String>,
    /// Header fields in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for CallbackRequest {
    /// Neither header fields nor body: they may hold secrets and mail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackRequest({} {})", self.method, self.path)
    }
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackReply {
    /// The HTTP status, unchecked.
    pub status: u16,
    /// Header fields, unchecked.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Receipts that came in, to be committed before the provider gets its answer.
    pub receipts: Vec<Receipt>,
}

impl From<CallbackRequest> for wit::Request {
    fn from(from: CallbackRequest) -> Self {
        let CallbackRequest { method, path, query, headers, body } = from;
        Self { method, path, query, headers, body }
    }
}
