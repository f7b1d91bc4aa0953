//! `[foreign_connectors.NAME]`: a drop directory that a legacy program, the gateway, empties.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use postern_drop::Profile;

use super::drop_profile;
use super::gateway::Gateway;
use super::outgoing::{ConnectorKind, Outgoing};
use super::raw::{Section, Wrong};
use super::values::{
    MAX_DURATION, boolean, choice, duration_or_never, file_mode, limit, line, number, quoted, timer,
};
use crate::account;

/// `file_mode`: the gateway's group may read, others may not.
pub const FILE_MODE: u32 = 0o640;
/// `quota.low_percent`: how far a full directory is emptied before it takes files again.
pub const LOW_PERCENT: u8 = 90;
/// `unclaimed_warn_after`: how long a file may lie before the gateway counts as dead.
pub const UNCLAIMED_WARN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// When a message counts as handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuccessOn {
    /// When the file is in the directory: reported as relayed, as Exchange does.
    Published,
    /// When the gateway has taken it away.
    Taken,
    /// When the gateway has said what became of it.
    Result,
}

/// How pickups are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// By events where the file system has them, by listing elsewhere.
    Auto,
    /// By events, and by listing now and then.
    Events,
    /// By listing only: for network file systems.
    Poll,
}

/// How much may lie in a drop directory; when it is full, the queue waits (Exchange: `DropDirectoryQuota`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all files together; `None`: unlimited.
    pub bytes: Option<u64>,
    /// Number of files; `None`: unlimited.
    pub files: Option<u64>,
    /// Age of the oldest file of ours; `None`: unlimited.
    pub oldest: Option<SignedDuration>,
    /// From this share on, in percent, a warning is given.
    pub warn_percent: u8,
    /// A directory that was full takes files again at this share or less, in percent.
    pub low_percent: u8,
}

/// One foreign connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignConfig {
    /// What every outgoing connector has.
    pub common: Outgoing,
    /// Where the files go.
    pub drop_directory: PathBuf,
    /// Where they are written first; on the same file system. `None`: `.tmp` in the drop directory.
    pub temp_directory: Option<PathBuf>,
    /// Whether a missing drop directory is made.
    pub create_directory: bool,
    /// The gateway's file format, with its settings.
    pub profile: Profile,
    /// How much may lie there.
    pub quota: Quota,
    /// Permission bits of the files.
    pub file_mode: u32,
    /// The number of the group that files and a directory that is made get; `None`: what the system gives them.
    pub group: Option<u32>,
    /// Permission bits of a directory that is made.
    pub dir_mode: Option<u32>,
    /// What the gateway does with files.
    pub gateway: Gateway,
    /// When a message counts as handed over.
    pub success_on: SuccessOn,
    /// Whether senders are told that a message was relayed even when they did not ask (Exchange: `RelayDsnRequired`).
    pub relay_dsn: bool,
    /// How long a file may lie before a warning; `None`: never a warning.
    pub unclaimed_warn_after: Option<SignedDuration>,
    /// How pickups are noticed.
    pub watch: Watch,
    /// How often the directory is listed; `None`: every 30 seconds beside events, every 2 seconds without.
    pub poll_interval: Option<Duration>,
}

impl ForeignConfig {
    pub(super) fn read(name: &str, section: &Section<'_>) -> Option<Self> {
        let document = section.document();
        let common = Outgoing::read(ConnectorKind::Foreign, name, section);
        let drop_directory = section.required("drop_directory", line, "write drop_directory = \"drop/NAME\"");
        let temp_directory = section.optional("temp_directory", line).map(|path| document.resolve(&path));
        let create_directory = section.or("create_directory", boolean, false);
        let profile = drop_profile::read(section);
        let quota = Quota::read(&section.table("quota"));
        let file_mode = section.or("file_mode", file_mode, FILE_MODE);
        let group = section.optional("group", group);
        let dir_mode = section.optional("dir_mode", dir_mode);
        if dir_mode.is_some() && !create_directory {
            let hint = "write create_directory = true, or chmod it yourself and leave dir_mode out";
            let wrong = Wrong::hinted("the mode of a directory that is not made here", hint);
            section.entry("dir_mode").inspect(|entry| entry.fault(wrong));
        }
        let gateway = Gateway::read(section);
        let success = choice(&[
            ("published", SuccessOn::Published),
            ("taken", SuccessOn::Taken),
            ("result", SuccessOn::Result),
        ]);
        let success_on = section.or("success_on", success, SuccessOn::Published);
        let relay_dsn = section.or("relay_dsn", boolean, false);
        let unclaimed = duration_or_never(SignedDuration::from_secs(1), MAX_DURATION);
        let unclaimed_warn_after = section.or("unclaimed_warn_after", unclaimed, Some(UNCLAIMED_WARN_AFTER));
        let watch = choice(&[("auto", Watch::Auto), ("events", Watch::Events), ("poll", Watch::Poll)]);
        let watch = section.or("watch", watch, Watch::Auto);
        let poll = timer(SignedDuration::from_millis(100), SignedDuration::from_hours(1));
        let poll_interval = section.optional("poll_interval", poll);
        section.finish();
        let drop_directory = document.resolve(&drop_directory?);
        if common.enabled && !create_directory && !drop_directory.is_dir() {
            let shown = quoted(&drop_directory.to_string_lossy());
            let hint = "make it, or write create_directory = true; until then messages for it wait";
            let wrong = Wrong::hinted(format!("the directory {shown} is missing"), hint);
            section.entry("drop_directory").inspect(|entry| entry.warn(wrong));
        }
        if temp_directory.as_ref() == Some(&drop_directory) {
            section.fault(Wrong::hinted(
                "temp_directory is the drop directory itself, so the gateway would see half-written files",
                "leave temp_directory out, or name another folder on the same file system",
            ));
        }
        Some(Self {
            common,
            drop_directory,
            temp_directory,
            create_directory,
            profile,
            quota,
            file_mode,
            group,
            dir_mode,
            gateway,
            success_on,
            relay_dsn,
            unclaimed_warn_after,
            watch,
            poll_interval,
        })
    }
}

/// A group of this machine, by name or number.
fn group(value: &toml::de::DeValue<'_>) -> Result<u32, Wrong> {
    let name = line(value)?;
    account::group_number(&name).ok_or_else(|| {
        let message = format!("there is no group {} on this machine", quoted(&name));
        Wrong::hinted(message, "make it, or write its number: group = \"1005\"")
    })
}

/// Permission bits of a folder in octal text: `"2770"`.
fn dir_mode(value: &toml::de::DeValue<'_>) -> Result<u32, Wrong> {
    let found = line(value)?;
    let bits = u32::from_str_radix(found.trim_start_matches("0o"), 8).ok();
    bits.filter(|bits| *bits <= 0o7777 && bits & 0o700 == 0o700).ok_or_else(|| {
        let message = format!("{} are no permission bits for a folder of ours", quoted(&found));
        Wrong::hinted(message, "write the bits in octal, with all rights for the host: \"2770\"")
    })
}

impl Quota {
    fn read(section: &Section<'_>) -> Self {
        let files = |value: &toml::de::DeValue<'_>| match value.as_str() {
            Some("unlimited") => Ok(None),
            _ => number(1, u32::MAX)(value).map(|files| Some(u64::from(files))),
        };
        let age = duration_or_never(SignedDuration::from_secs(1), MAX_DURATION);
        let percent = |key, default: u8| {
            let found = section.or(key, number(1, 100), default.into());
            u8::try_from(found).expect("a percentage is at most 100")
        };
        let quota = Self {
            bytes: section.or("bytes", limit(1, 1 << 50), None),
            files: section.or("files", files, None),
            oldest: section.or("oldest", age, None),
            warn_percent: percent("warn_percent", postern_drop::quota::DEFAULT_WARN_PERCENT),
            low_percent: percent("low_percent", LOW_PERCENT),
        };
        section.finish();
        quota
    }
}
