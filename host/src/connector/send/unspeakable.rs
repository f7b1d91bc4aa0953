//! Unspeakable: what cannot be said to this peer in SMTP, now or ever.

use postern_model::{FailureClass, Outcome, Response};
use postern_smtp::ClientError;

/// A reason to fail that needs no answer of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unspeakable {
    code: u16,
    status: (u8, u16, u16),
    text: &'static str,
    class: &'static str,
}

/// The reverse-path.
pub const BAD_SENDER: Unspeakable = Unspeakable {
    code: 553,
    status: (5, 1, 7),
    text: "the reverse-path cannot be written in SMTP",
    class: "invalid-address",
};
/// A recipient.
pub const BAD_RECIPIENT: Unspeakable = Unspeakable {
    code: 553,
    status: (5, 1, 3),
    text: "the address cannot be written in SMTP: a send connector takes SMTP only",
    class: "invalid-address",
};
/// A content with a NUL for a peer without BDAT.
pub const BAD_CONTENT: Unspeakable = Unspeakable {
    code: 554,
    status: (5, 6, 0),
    text: "the content has a NUL, which the smart host does not take (it does not offer CHUNKING)",
    class: "content-rejected",
};
/// A content that is binary, for a peer without BINARYMIME.
pub const BINARY: Unspeakable = Unspeakable {
    code: 554,
    status: (5, 6, 1),
    text: "the content is binary, which the smart host does not take (it does not offer BINARYMIME)",
    class: "content-rejected",
};
const TOO_LARGE: Unspeakable = Unspeakable {
    code: 552,
    status: (5, 3, 4),
    text: "the message is larger than the smart host takes",
    class: "too-large",
};

impl Unspeakable {
    /// What a refusal by the grammar means; `None` when it does not concern the message.
    pub fn of(error: ClientError) -> Option<Self> {
        match error {
            ClientError::TooLarge(_) => Some(TOO_LARGE),
            ClientError::BinaryNotOffered => Some(BINARY),
            ClientError::Name | ClientError::DsnParam => None,
        }
    }

    /// The outcome for whom it concerns.
    pub fn outcome(self) -> Outcome {
        let response = Response::new(self.code, self.status, self.text);
        Outcome::Failed { response, class: FailureClass::new(self.class) }
    }
}
