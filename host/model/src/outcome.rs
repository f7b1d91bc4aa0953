//! Outcome: what became of one recipient in one attempt.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{Response, text};

/// Why something did not work, in the words of telephony; retry plans are chosen by it.
///
/// Any word of lower-case letters and `-` is carried; the known ones are the constants. The empty word
/// means unspecified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FailureClass(String);

impl FailureClass {
    /// The known words, as the agent contract lists them.
    pub const KNOWN: [&'static str; 14] = [
        "busy",
        "no-answer",
        "no-carrier",
        "not-a-fax",
        "invalid-address",
        "unallocated",
        "throttled",
        "insufficient-credit",
        "blocked",
        "content-rejected",
        "too-large",
        "service-unavailable",
        "timeout",
        "protocol-error",
    ];

    /// Takes a word; what is not of lower-case letters, digits and `-` or is longer than 40 bytes becomes unspecified.
    #[must_use]
    pub fn new(word: &str) -> Self {
        let fits = word.len() <= 40
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        Self(if fits { word.to_owned() } else { String::new() })
    }

    /// The word; empty when unspecified.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "unspecified" } else { &self.0 })
    }
}

/// Not now, perhaps later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// A temporary response (4xx).
    pub response: Response,
    /// Why.
    #[serde(default)]
    pub class: FailureClass,
    /// When the far end wants to be asked again; the connector's policy has the last word.
    #[serde(default)]
    pub retry_after: Option<SignedDuration>,
}

impl Deferral {
    /// A deferral without a wish.
    #[must_use]
    pub fn new(code: u16, status: (u8, u16, u16), text: &str, class: &str) -> Self {
        Self {
            response: Response::new(code, status, text),
            class: FailureClass::new(class),
            retry_after: None,
        }
    }
}

/// Taken by the far end, which will tell later what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The receipts to wait for; the recipient is done when all have come. Never empty.
    pub receipt_ids: Vec<String>,
    /// A success response (2xx).
    pub response: Response,
    /// How long to wait at most.
    #[serde(default)]
    pub expires_after: Option<SignedDuration>,
}

/// What became of one recipient: the action words of RFC 3464, and `accepted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It arrived.
    Delivered(Response),
    /// It went on into a world that does not report back.
    Relayed(Response),
    /// It became several.
    Expanded(Response),
    /// It was taken; success is only reported when the receipts say so.
    Accepted(Pending),
    /// It will be tried again.
    Deferred(Deferral),
    /// It never will arrive.
    Failed {
        /// A permanent response (5xx).
        response: Response,
        /// Why.
        class: FailureClass,
    },
    /// Nobody can tell whether it arrived, and it is not tried again. Only the host says so, never an agent.
    Unknown(Response),
}

impl Outcome {
    /// The response that goes with it.
    #[must_use]
    pub fn response(&self) -> &Response {
        match self {
            Self::Delivered(r) | Self::Relayed(r) | Self::Expanded(r) | Self::Unknown(r) => r,
            Self::Accepted(p) => &p.response,
            Self::Deferred(d) => &d.response,
            Self::Failed { response, .. } => response,
        }
    }

    /// The word for it in reports and tracking.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Relayed(_) => "relayed",
            Self::Expanded(_) => "expanded",
            Self::Accepted(_) => "accepted",
            Self::Deferred(_) => "deferred",
            Self::Failed { .. } => "failed",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the response's code is of the class that this outcome demands.
    #[must_use]
    pub fn code_fits(&self) -> bool {
        let r = self.response();
        match self {
            Self::Deferred(_) => r.is_temporary(),
            Self::Failed { .. } | Self::Unknown(_) => r.is_permanent(),
            _ => r.is_success(),
        }
    }
}

/// The outcome of one recipient with what the far end said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientOutcome {
    /// [`crate::Recipient::index`].
    pub recipient: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// The far end's own id for it.
    #[serde(default)]
    pub remote_id: Option<String>,
    /// Pages, segments, cost: for DSNs and tracking.
    #[serde(default)]
    pub details: Vec<(String, String)>,
    /// The far end took over the duty to report success: it was told what the sender asked for (RFC 3461 5.2.2).
    #[serde(default)]
    pub reports_itself: bool,
}

impl RecipientOutcome {
    /// The longest list of details that is kept; the rest is dropped.
    pub const MAX_DETAILS: usize = 16;
    /// The longest name or value of a detail, or remote id, in bytes; longer ones are cut.
    pub const MAX_DETAIL_TEXT: usize = 256;

    /// An outcome and nothing more.
    #[must_use]
    pub fn new(recipient: u32, outcome: Outcome) -> Self {
        Self { recipient, outcome, remote_id: None, details: Vec::new(), reports_itself: false }
    }

    /// The same with every foreign text on one line and bounded.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        let clean = |s: &str| text::one_line(s, Self::MAX_DETAIL_TEXT);
        self.remote_id = self.remote_id.map(|id| clean(&id));
        self.details.truncate(Self::MAX_DETAILS);
        for (name, value) in &mut self.details {
            *name = clean(name);
            *value = clean(value);
        }
        self
    }
}
