//! Waiting for an event, with an end and with words for what did not come.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take to happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at something that cannot call us.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something, and returns it.
///
/// # Panics
/// When there is nothing after [`DEADLINE`]; `what` says what was waited for.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, look)
}

/// As [`eventually`], with a deadline of its own.
///
/// # Panics
/// When there is nothing after `deadline`.
pub fn within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        thread::sleep(LOOK);
    }
}
