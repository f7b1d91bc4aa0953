//! DropSettings: where a drop directory lies and how it is used.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Habits, Profile, Quota};

/// The mode of a drop file: the owner may write it, the gateway's group may read it.
pub const DEFAULT_FILE_MODE: u32 = 0o640;

/// How often names are compared when events are available too.
pub const DEFAULT_EVENTS_SCAN: Duration = Duration::from_secs(30);

/// How often names are compared when there are no events (network file systems).
pub const DEFAULT_POLL_SCAN: Duration = Duration::from_secs(2);

/// The name of the temp folder inside the drop directory.
pub(crate) const TEMP_FOLDER: &str = ".tmp";

/// The settings of one drop directory. Make one with [`DropSettings::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct DropSettings {
    /// The directory that the gateway empties. May be a symbolic link to one.
    pub path: PathBuf,
    /// The folder in which files are written before they are published; on the same file system, used by this
    /// drop directory alone, made when missing. Default: `.tmp` inside the drop directory. Set it for gateways
    /// that descend into hidden folders.
    pub temp: Option<PathBuf>,
    /// Whether a missing drop directory is made. Default: no, since a missing one mostly means a missing mount.
    pub create: bool,
    /// The permission bits of each file. Default: [`DEFAULT_FILE_MODE`].
    pub file_mode: u32,
    /// The group of each file, and of a drop directory that is made. Default: what the file system gives them.
    pub group: Option<u32>,
    /// The permission bits of a drop directory that is made. Default: what the system gives it.
    pub dir_mode: Option<u32>,
    /// How much may lie in the directory. Default: no limit, as Exchange's `DropDirectoryQuota`.
    pub quota: Quota,
    /// The file format.
    pub profile: Profile,
    /// What the gateway does with files. Default: what the default profile says.
    pub habits: Habits,
    /// How pickups are noticed.
    pub watch: WatchMode,
    /// How often the names in the directory are compared with those known; the truth behind the events.
    /// Default: [`DEFAULT_EVENTS_SCAN`] with events, [`DEFAULT_POLL_SCAN`] without.
    pub scan_interval: Option<Duration>,
}

impl DropSettings {
    /// The defaults for the drop directory at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            temp: None,
            create: false,
            file_mode: DEFAULT_FILE_MODE,
            group: None,
            dir_mode: None,
            quota: Quota::default(),
            profile: Profile::default(),
            habits: Profile::default().habits(),
            watch: WatchMode::default(),
            scan_interval: None,
        }
    }

    /// Where the temp folder lies.
    #[must_use]
    pub fn temp_path(&self) -> PathBuf {
        self.temp.clone().unwrap_or_else(|| self.path.join(TEMP_FOLDER))
    }
}

/// How pickups are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// Events where the file system reports them, polling on network file systems and when no events can be had.
    #[default]
    Auto,
    /// Events, whatever the file system. Names are still compared now and then.
    Events,
    /// Only compare names.
    Poll,
}
