//! Host: what the host offers beside the message.

use crate::imports;

/// A granted secret; `None` when it is not granted or not set.
///
/// For HTTP headers there is no need to see it: the host replaces `{secret:NAME}` in their values.
#[must_use]
pub fn secret(name: &str) -> Option<String> {
    imports::secret(name)
}

/// Seconds since 1970-01-01T00:00:00Z, and nanoseconds. WebAssembly has no clock of its own.
#[must_use]
pub fn now() -> (u32, u32) {
    imports::now()
}

/// Random bytes that nobody can predict.
#[must_use]
pub fn random(length: u32) -> Vec<u8> {
    imports::random(length)
}

/// What is left of this call's deadline, in milliseconds.
#[must_use]
pub fn remaining_ms() -> u32 {
    imports::remaining_ms()
}

/// Where the provider can reach this agent's call-back, if that is granted.
#[must_use]
pub fn callback_url() -> Option<String> {
    imports::callback_url()
}
