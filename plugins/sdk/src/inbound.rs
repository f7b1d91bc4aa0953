//! Inbound: mail that comes back from the far side, where the connector grants it.

use crate::imports;

/// A message of the far side, which goes in through the ordinary door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// Recognises a repeat: of two with one id the first counts.
    pub remote_id: String,
    /// Empty for the null reverse-path.
    pub reverse_path: String,
    /// SMTP addresses.
    pub recipients: Vec<String>,
    /// The message in the form of RFC 5322.
    pub content: Vec<u8>,
}

impl Submission {
    /// Hands it in, and gives the new message's id. It is durable then.
    ///
    /// # Errors
    /// When it is not granted or not taken.
    pub fn submit(self) -> Result<String, String> {
        imports::submit(self)
    }
}
