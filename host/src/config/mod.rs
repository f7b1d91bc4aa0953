//! The configuration: one TOML file, read as written, checked as meant, with everything that is wrong told in one go.
//!
//! [`load`] is what `postern check` does and what `postern run` does before it binds anything. The reading is in
//! two layers: `raw` knows tables, values and their places; each kind of table has a file of its own that says which
//! keys it has, their defaults and their ranges. `docs/config.md` is the reference for people.

mod address_space;
mod authenticity;
mod callback;
mod canary;
mod checked;
mod cross;
mod delivery_agent;
mod directories;
mod drop_profile;
mod file_door;
mod foreign;
mod gateway;
mod host;
mod outgoing;
mod raw;
mod receive;
mod report;
mod retry_plan;
mod rewrite;
mod secrets;
mod send;
mod shadow;
mod submitters;
pub mod template;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::de::DeTable;

pub use address_space::{AddressSpace, AddressSpaceError, Specificity};
pub use authenticity::{Authenticity, NotSigned, Signed, TrustedKey, signature_of};
pub use callback::{CallbackConfig, CallbackTls};
pub use canary::CanaryConfig;
pub use checked::Config;
pub use delivery_agent::{DeliveryAgentConfig, Grants, OnReceiptExpiry, OnUnknown, RecordMode, TcpGrant};
pub use file_door::{FileDoorConfig, FileDoorKind, FolderConfig, Trust};
pub use foreign::{ForeignConfig, Quota, SuccessOn, Watch};
pub use gateway::{Gateway, Reader};
pub use host::{AdminConfig, EARLY_RECEIPTS, HostConfig, LogFormat, OnStoreFailure, TrackingConfig};
pub use outgoing::{ConnectorKind, EXPIRE_AFTER, Outgoing};
pub use receive::{Extensions, ReceiveConfig};
pub use report::{Finding, Report, Warning};
pub use retry_plan::{RetryPlan, Schedule};
pub use rewrite::{Rewrite, Rewritten};
pub use secrets::{Environment, Secret, Secrets};
pub use send::{SendConfig, SmartHost};
pub use shadow::ShadowConfig;
pub use submitters::{Submitter, SubmitterRule, Submitters};
pub use values::{parse_duration, show_duration};

use raw::{Document, Excerpt, Wrong};

/// The largest configuration file that is read, in bytes.
pub const MAX_FILE_SIZE: u64 = 8 << 20;

/// Reads and checks a configuration file. Blocking: reads the file, the secret files it names, and looks whether agent
/// files and drop directories are there.
///
/// # Errors
/// With every fault there is, and the warnings beside them.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), Report> {
    load_with(path, Some(&|name| std::env::var(name).ok()))
}

/// As [`load`], but leaves the secrets where they are: for looking at queues and routes, which somebody may do who has
/// not been given the service's secrets.
///
/// # Errors
/// As [`load`].
pub fn load_for_viewing(path: &Path) -> Result<(Config, Vec<Warning>), Report> {
    load_with(path, None)
}

fn load_with(path: &Path, environment: Option<Environment<'_>>) -> Result<(Config, Vec<Warning>), Report> {
    let unreadable = |message: &str, hint: Option<&str>| {
        Report::new(vec![Finding::about_file(path.to_owned(), message, hint)], Vec::new())
    };
    let file = File::open(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = "write one with `postern init`, or name another with --config";
        unreadable(&format!("the configuration file cannot be read: {error}"), missing.then_some(hint))
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&format!("the configuration file cannot be read: {error}"), None))?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(unreadable(
            &format!("the configuration file is larger than {MAX_FILE_SIZE} bytes"),
            None,
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(&format!("line {line} is not UTF-8"), Some("save the file as UTF-8"))
    })?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    check(&text, path, &absolute, environment)
}

/// Checks the text of a configuration file. `shown` is the file's name in findings, `absolute` its full path, from
/// whose folder relative paths count.
///
/// # Errors
/// As [`load`].
pub fn check_text(
    text: &str,
    shown: &Path,
    absolute: &Path,
    environment: Environment<'_>,
) -> Result<(Config, Vec<Warning>), Report> {
    check(text, shown, absolute, Some(environment))
}

fn check(
    text: &str,
    shown: &Path,
    absolute: &Path,
    environment: Option<Environment<'_>>,
) -> Result<(Config, Vec<Warning>), Report> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What the rest of the file means is anyone's guess after a syntax error, so nothing else is reported.
        let faults = errors.iter().map(|error| syntax_fault(error, shown, text)).collect();
        return Err(Report::new(faults, Vec::new()));
    }
    let document = Document::new(shown, absolute, text, root.get_ref());
    let config = Config::read(&document, absolute.to_owned(), environment);
    if let Some(config) = &config {
        cross::check(config, &document);
    }
    let report = document.into_report();
    match config {
        Some(config) if report.faults.is_empty() => Ok((config, report.warnings)),
        _ => Err(report),
    }
}

fn syntax_fault(error: &toml::de::Error, shown: &Path, text: &str) -> Finding {
    let span = error.span().unwrap_or(0..0);
    let start = span.start.min(text.len());
    // The line may be part of the table above it, or of a text that began before it.
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let table = text[..line_end].lines().rev().find(|line| line.trim_start().starts_with('['));
    let secret = table.is_some_and(raw::may_hold_secret);
    let wrong = Wrong::new(format!("this is not TOML: {}", error.message()));
    raw::finding(shown, text, span, "", wrong, if secret { Excerpt::Nothing } else { Excerpt::Line })
}

/// Every key that a configuration file may have, with `NAME` where the file chooses: `host.name`,
/// `receive_connectors.NAME.listen`. For checking that the reference is complete.
#[must_use]
pub fn known_keys() -> BTreeSet<String> {
    const ONE_OF_EACH: &str = "
        [secrets.a]
        [receive_connectors.a]
        [pickup_directories.a.submitters.a]
        [replay_directories.a]
        [delivery_agent_connectors.a]
        [foreign_connectors.a]
        [send_connectors.a]
        [[rewrites]]";
    let (root, _) = DeTable::parse_recoverable(ONE_OF_EACH);
    let document = Document::new(Path::new(""), Path::new(""), ONE_OF_EACH, root.get_ref());
    let _ = Config::read(&document, std::path::PathBuf::new(), None);
    document.asked()
}
