//! Receipt: the far end's later word on something it accepted.

use crate::{Deferral, Failure, Response};

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptState {
    /// Nothing final yet.
    Pending(Response),
    /// It arrived.
    Delivered(Response),
    /// It will not arrive.
    Failed(Failure),
    /// The far end gave up in a way that another attempt may mend.
    Retry(Deferral),
}

impl ReceiptState {
    /// Nothing final yet.
    #[must_use]
    pub fn pending(response: impl Into<Response>) -> Self {
        Self::Pending(response.into()).fitted()
    }

    /// It arrived.
    #[must_use]
    pub fn delivered(response: impl Into<Response>) -> Self {
        Self::Delivered(response.into()).fitted()
    }

    /// It will not arrive.
    #[must_use]
    pub fn failed(response: impl Into<Response>, class: &str) -> Self {
        Self::Failed(Failure::new(response, class))
    }

    /// The far end gave up in a way that another attempt may mend.
    #[must_use]
    pub fn retry(response: impl Into<Response>, class: &str) -> Self {
        Self::Retry(Deferral::new(response, class))
    }

    pub(crate) fn fitted(self) -> Self {
        match self {
            Self::Pending(r) => Self::Pending(r.fitted(2)),
            Self::Delivered(r) => Self::Delivered(r.fitted(2)),
            Self::Failed(f) => Self::Failed(f.fitted()),
            Self::Retry(d) => Self::Retry(d.fitted()),
        }
    }
}

/// A receipt as the far end gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The id that was reported with `accepted`.
    pub id: String,
    /// Where ids repeat at the far end, the address makes them unique.
    pub address: Option<String>,
    /// What it says.
    pub state: ReceiptState,
    /// Pages, segments, cost.
    pub details: Vec<(String, String)>,
}

impl Receipt {
    /// A receipt and nothing more.
    #[must_use]
    pub fn new(id: &str, state: ReceiptState) -> Self {
        Self { id: id.to_owned(), address: None, state, details: Vec::new() }
    }

    /// Makes its codes fit its state.
    pub(crate) fn fit(&mut self) {
        self.state = self.state.clone().fitted();
    }
}
