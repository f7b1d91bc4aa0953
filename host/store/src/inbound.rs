//! Inbound ids: what tells a message that an agent hands in from one that it hands in again.

use crate::StoreError;

/// Names a message at the far side, within the connector whose agent hands it in. The store remembers it from the
/// [`crate::Put`] on until [`crate::Store::forget_inbound`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundId {
    /// The connector.
    pub connector: String,
    /// The far side's id, 1 to [`Self::MAX_REMOTE`] bytes.
    pub remote: String,
}

impl InboundId {
    /// The longest remote id, in bytes.
    pub const MAX_REMOTE: usize = 1024;

    /// Whether it can be kept.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.remote.len() {
            1..=Self::MAX_REMOTE => Ok(()),
            length => {
                let most = Self::MAX_REMOTE;
                Err(StoreError::Invalid(format!("a remote id has {length} bytes (1 to {most})")))
            }
        }
    }
}
