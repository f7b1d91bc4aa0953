//! NoRoute: why a recipient goes nowhere.

use postern_model::{Response, TypedAddress};

use super::{Candidate, Exclusion, MAX_ROUNDS, Verdict};
use crate::address_forms::FormError;

/// Why a recipient goes nowhere.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoRoute {
    /// No address space matches.
    #[error("no connector has an address space for {0}")]
    NoMatch(TypedAddress),
    /// Address spaces match, but their connectors are off.
    #[error("every connector with an address space for {0} is off")]
    Off(TypedAddress),
    /// Address spaces match, but the message is too large for their connectors.
    #[error("the message of {size} bytes is too large: for {address} at most {limit} bytes are taken")]
    TooLarge {
        /// The address.
        address: TypedAddress,
        /// Bytes of the message.
        size: u64,
        /// The most that one of the connectors takes, in bytes.
        limit: u64,
    },
    /// It looks like an address within an address, but cannot be read.
    #[error("{address} cannot be read: {error}")]
    Malformed {
        /// The address.
        address: TypedAddress,
        /// What is wrong.
        error: FormError,
    },
    /// Rewriting came back to an address where it had been.
    #[error("rewriting goes round in circles at {0}")]
    RewriteLoop(TypedAddress),
    /// Rewriting did not end.
    #[error("rewriting did not end after {MAX_ROUNDS} rounds, at {0}")]
    RewriteLimit(TypedAddress),
}

impl NoRoute {
    /// The reason when all that matches is excluded; `None` when nothing matches.
    pub(super) fn of_excluded(
        address: &TypedAddress,
        candidates: &[Candidate<'_>],
        size: Option<u64>,
    ) -> Option<Self> {
        let excluded = |c: &Candidate<'_>| match c.verdict {
            Verdict::Excluded(exclusion) => Some(exclusion),
            _ => None,
        };
        let (address, all) = (address.clone(), || candidates.iter().filter_map(excluded));
        // A connector that is only off could take it one day; then the refusal is a temporary one.
        if all().any(|e| e == Exclusion::Off) {
            return Some(Self::Off(address));
        }
        let limits = all().filter_map(|e| match e {
            Exclusion::TooLarge { limit } => Some(limit),
            Exclusion::Off => None,
        });
        limits.max().zip(size).map(|(limit, size)| Self::TooLarge { address, size, limit })
    }

    /// Whether a change of the config is likely to mend it, so that a DSN waits in the outbox for it. Mail of clients is
    /// refused in any case. Exchange holds mail addresses only: an address of another type without a connector fails.
    #[must_use]
    pub fn is_worth_waiting(&self) -> bool {
        match self {
            Self::NoMatch(address) => address.kind().is_smtp(),
            Self::Off(_) => true,
            _ => false,
        }
    }

    /// The response that the sender is shown when the recipient fails for it (RFC 3463).
    #[must_use]
    pub fn response(&self) -> Response {
        let (code, status) = match self {
            Self::NoMatch(_) => (550, (5, 4, 4)),
            // Somebody means to switch it on again: the sender may keep the message until then.
            Self::Off(_) => (451, (4, 4, 4)),
            Self::TooLarge { .. } => (552, (5, 3, 4)),
            Self::Malformed { .. } => (553, (5, 1, 3)),
            Self::RewriteLoop(_) | Self::RewriteLimit(_) => (554, (5, 4, 6)),
        };
        Response::new(code, status, &self.to_string())
    }
}
