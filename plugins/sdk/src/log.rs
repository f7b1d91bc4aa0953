//! Log: lines for the host's log, with the connector and the item added by the host. The host limits their rate.

use crate::imports;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something is odd.
    Warn,
    /// Worth knowing.
    Info,
    /// For the search for faults.
    Debug,
    /// Every step.
    Trace,
}

/// Writes one line.
pub fn write(level: Level, text: &str) {
    imports::log(level, text);
}

/// Something is broken.
pub fn error(text: &str) {
    write(Level::Error, text);
}

/// Something is odd.
pub fn warn(text: &str) {
    write(Level::Warn, text);
}

/// Worth knowing.
pub fn info(text: &str) {
    write(Level::Info, text);
}

/// For the search for faults.
pub fn debug(text: &str) {
    write(Level::Debug, text);
}

/// Every step.
pub fn trace(text: &str) {
    write(Level::Trace, text);
}
