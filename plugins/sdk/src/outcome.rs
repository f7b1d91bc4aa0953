//! Outcome: what became of one recipient in one attempt.

use crate::Response;

/// Not now, perhaps later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// A temporary response (4xx).
    pub response: Response,
    /// A word of [`crate::class`].
    pub class: String,
    /// Seconds until the far end wants to be asked again. A wish: the connector's policy has the last word.
    pub retry_after: Option<u32>,
}

impl Deferral {
    /// A deferral; a response whose codes do not say "temporary" is made to.
    #[must_use]
    pub fn new(response: impl Into<Response>, class: &str) -> Self {
        Self { response: response.into().fitted(4), class: class.to_owned(), retry_after: None }
    }

    /// The same with a wish in seconds; `None` leaves it to the connector's policy.
    #[must_use]
    pub fn retry_after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after = seconds;
        self
    }

    pub(crate) fn fitted(mut self) -> Self {
        self.response = self.response.fitted(4);
        self
    }
}

/// Never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A permanent response (5xx).
    pub response: Response,
    /// A word of [`crate::class`].
    pub class: String,
}

impl Failure {
    /// A failure; a response whose codes do not say "permanent" is made to.
    #[must_use]
    pub fn new(response: impl Into<Response>, class: &str) -> Self {
        Self { response: response.into().fitted(5), class: class.to_owned() }
    }

    pub(crate) fn fitted(mut self) -> Self {
        self.response = self.response.fitted(5);
        self
    }
}

/// The far end has taken it and will tell later whether it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The receipts to wait for, at least one; the recipient is done when all have come.
    pub receipt_ids: Vec<String>,
    /// A success response (2xx).
    pub response: Response,
    /// Seconds to wait at most; `None` leaves it to the connector's policy.
    pub expires_after: Option<u32>,
}

/// What became of one recipient: the action words of RFC 3464, and `accepted`.
///
/// The constructors, and the way to the host, make response codes fit the outcome, so that an agent cannot report a
/// success with the code of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    Failed(Failure),
}

impl Outcome {
    /// It arrived.
    #[must_use]
    pub fn delivered(response: impl Into<Response>) -> Self {
        Self::Delivered(response.into()).fitted()
    }

    /// It went on into a world that does not report back.
    #[must_use]
    pub fn relayed(response: impl Into<Response>) -> Self {
        Self::Relayed(response.into()).fitted()
    }

    /// It became several.
    #[must_use]
    pub fn expanded(response: impl Into<Response>) -> Self {
        Self::Expanded(response.into()).fitted()
    }

    /// It was taken, and one receipt will tell more; the wait is in seconds.
    #[must_use]
    pub fn accepted(response: impl Into<Response>, receipt_id: &str, expires_after: Option<u32>) -> Self {
        let receipt_ids = vec![receipt_id.to_owned()];
        Self::Accepted(Pending { receipt_ids, response: response.into(), expires_after }).fitted()
    }

    /// It will be tried again.
    #[must_use]
    pub fn deferred(response: impl Into<Response>, class: &str) -> Self {
        Self::Deferred(Deferral::new(response, class))
    }

    /// It never will arrive.
    #[must_use]
    pub fn failed(response: impl Into<Response>, class: &str) -> Self {
        Self::Failed(Failure::new(response, class))
    }

    /// The same with codes that fit.
    #[must_use]
    pub(crate) fn fitted(self) -> Self {
        match self {
            Self::Delivered(r) => Self::Delivered(r.fitted(2)),
            Self::Relayed(r) => Self::Relayed(r.fitted(2)),
            Self::Expanded(r) => Self::Expanded(r.fitted(2)),
            Self::Accepted(p) => Self::Accepted(Pending { response: p.response.fitted(2), ..p }),
            Self::Deferred(d) => Self::Deferred(d.fitted()),
            Self::Failed(f) => Self::Failed(f.fitted()),
        }
    }
}

/// The outcome of one recipient with what the far end said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientOutcome {
    /// [`crate::Recipient::index`].
    pub recipient: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// The far end's own id for it.
    pub remote_id: Option<String>,
    /// Pages, segments, cost: for DSNs and tracking. The host keeps 16 of them.
    pub details: Vec<(String, String)>,
}

impl RecipientOutcome {
    /// An outcome and nothing more.
    #[must_use]
    pub fn new(recipient: u32, outcome: Outcome) -> Self {
        Self { recipient, outcome, remote_id: None, details: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_never_carries_a_code_of_another_class() {
        let refused = Response::new(550, (5, 1, 1), "no");
        assert_eq!(
            Outcome::delivered(refused.clone()),
            Outcome::Delivered(Response::new(250, (2, 0, 0), "no"))
        );
        let Outcome::Deferred(d) = Outcome::deferred(refused.clone(), "busy") else { panic!("not deferred") };
        assert_eq!((d.response.code, d.response.status), (451, (4, 0, 0)));
        assert_eq!(Outcome::failed(refused.clone(), ""), Outcome::Failed(Failure::new(refused.clone(), "")));
        // Made without a constructor, it is mended on the way to the host.
        assert_eq!(Outcome::Relayed(refused).fitted(), Outcome::Relayed(Response::new(250, (2, 0, 0), "no")));
    }
}
