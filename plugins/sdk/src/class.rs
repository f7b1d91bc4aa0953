//! Failure classes: why something did not work, in the words of telephony. The host chooses retry plans by them.
//! Any other word is shown and treated as unspecified.

/// The far end is engaged.
pub const BUSY: &str = "busy";
/// Nobody picks up.
pub const NO_ANSWER: &str = "no-answer";
/// The line has no carrier, or lost it.
pub const NO_CARRIER: &str = "no-carrier";
/// A person or another device answered.
pub const NOT_A_FAX: &str = "not-a-fax";
/// The address is not one.
pub const INVALID_ADDRESS: &str = "invalid-address";
/// The address is one, but nobody has it.
pub const UNALLOCATED: &str = "unallocated";
/// Too much in too short a time.
pub const THROTTLED: &str = "throttled";
/// The account at the provider is empty.
pub const INSUFFICIENT_CREDIT: &str = "insufficient-credit";
/// Not allowed: by the far end, or by a grant that is missing.
pub const BLOCKED: &str = "blocked";
/// The far end does not want this content.
pub const CONTENT_REJECTED: &str = "content-rejected";
/// The message is larger than the far end takes.
pub const TOO_LARGE: &str = "too-large";
/// The far end cannot be reached, or is out of order.
pub const SERVICE_UNAVAILABLE: &str = "service-unavailable";
/// The far end did not answer in time.
pub const TIMEOUT: &str = "timeout";
/// The far end answered something that makes no sense.
pub const PROTOCOL_ERROR: &str = "protocol-error";
/// Nothing said.
pub const UNSPECIFIED: &str = "";

/// Whether the host knows this word.
#[must_use]
pub fn is_known(word: &str) -> bool {
    [
        BUSY,
        NO_ANSWER,
        NO_CARRIER,
        NOT_A_FAX,
        INVALID_ADDRESS,
        UNALLOCATED,
        THROTTLED,
        INSUFFICIENT_CREDIT,
        BLOCKED,
        CONTENT_REJECTED,
        TOO_LARGE,
        SERVICE_UNAVAILABLE,
        TIMEOUT,
        PROTOCOL_ERROR,
    ]
    .contains(&word)
}
