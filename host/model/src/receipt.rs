//! Receipt: the far end's later word on something it accepted.

use serde::{Deserialize, Serialize};

use crate::{Deferral, FailureClass, Response};

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptState {
    /// Nothing final yet.
    Pending(Response),
    /// It arrived.
    Delivered(Response),
    /// The gateway took the file; what it does with it is not known.
    Relayed(Response),
    /// It will not arrive.
    Failed {
        /// A permanent response (5xx).
        response: Response,
        /// Why.
        class: FailureClass,
    },
    /// The far end gave up in a way that another attempt may mend.
    Retry(Deferral),
}

/// A receipt as it came from an agent, a call-back or a drop directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The id given with `accepted`.
    pub id: String,
    /// What it says.
    pub state: ReceiptState,
    /// Pages, segments, cost.
    #[serde(default)]
    pub details: Vec<(String, String)>,
}
