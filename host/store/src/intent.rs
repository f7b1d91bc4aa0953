//! Intent: the record that an attempt is about to hand something over, for what must not be done twice unseen.

use jiff::Timestamp;
use postern_model::ItemId;
use serde::{Deserialize, Serialize};

/// An attempt that may have reached the far end, and of whose end nothing is known. There is at most one for an item.
///
/// It is durable before the first byte leaves; the settlement that ends the attempt takes it away. One that is found
/// at start belongs to an attempt that a crash cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The item.
    pub item: ItemId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// When it began.
    pub at: Timestamp,
    /// The keys by which the far end can recognise what it was given, one for each recipient of the attempt.
    pub idempotency_keys: Vec<String>,
}
