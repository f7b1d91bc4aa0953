//! logging: what the host says while it works, on standard error, for a terminal or as JSON lines.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::LogFormat;

/// The variable that sets the level: `warn`, `info`, `postern=debug` ...
pub const LEVEL_VARIABLE: &str = "POSTERN_LOG";

/// Starts the log of this process. A second call changes nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env(LEVEL_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error only says that a log was started before, by a test or an embedding program.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
