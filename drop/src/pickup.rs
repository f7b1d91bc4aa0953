//! PickupEvent: what a gateway was seen to do with a drop file.

use jiff::Timestamp;

use crate::{DropError, Fullness, GoneReason, Usage};

/// Something that happened in a drop directory. `name` is always the name that the file was published under.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PickupEvent {
    /// The file left the directory: deleted, moved elsewhere, or replaced by another file. It comes once per file.
    Taken {
        /// The published name.
        name: String,
        /// When it was noticed.
        at: Timestamp,
        /// How it was noticed.
        seen_by: SeenBy,
    },
    /// Somebody opened the file, for the first time as far as was seen: mostly a gateway that reads it. Only events tell.
    Opened {
        /// The published name.
        name: String,
        /// When it was noticed.
        at: Timestamp,
    },
    /// The file was renamed within the directory, or moved to a claim folder: a gateway is at work on it. Within the
    /// directory it still counts for the quota.
    Claimed {
        /// The published name.
        name: String,
        /// The new name, control characters replaced.
        new: String,
        /// When it was noticed.
        at: Timestamp,
    },
    /// Somebody emptied the file in place. That is no pickup but misuse: its content is lost to the gateway.
    Truncated {
        /// The published name.
        name: String,
        /// When it was noticed.
        at: Timestamp,
    },
    /// The directory was replaced by another one in which the file is not: nobody can tell whether it was taken.
    Vanished {
        /// The published name.
        name: String,
        /// When it was noticed.
        at: Timestamp,
    },
    /// The directory is not there any more.
    DirectoryGone {
        /// What became of it.
        reason: GoneReason,
        /// When it was noticed.
        at: Timestamp,
    },
    /// The directory is back; its files have been compared with those known.
    DirectoryBack {
        /// Whether it is another directory than before.
        replaced: bool,
        /// When it was noticed.
        at: Timestamp,
    },
    /// A mark of the quota was crossed.
    Quota {
        /// How full the directory is now.
        fullness: Fullness,
        /// What lies in it.
        used: Usage,
        /// When it was noticed.
        at: Timestamp,
    },
    /// No events can be had, so that pickups are noticed by comparing names only.
    PollingOnly {
        /// Why.
        reason: String,
        /// When it was noticed.
        at: Timestamp,
    },
}

/// How a pickup was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeenBy {
    /// By an event of the file system, confirmed by a look.
    Event,
    /// By comparing names: polled, after a restart, or because an event was lost.
    Scan,
}

/// What the watching has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounters {
    /// Pickups noticed by an event.
    pub taken_by_event: u64,
    /// Pickups noticed by a scan only.
    pub taken_by_scan: u64,
    /// Scans of the whole directory.
    pub scans: u64,
    /// Scans because the system said that it had lost events.
    pub overflows: u64,
    /// Syncs of the directory.
    pub directory_syncs: u64,
    /// Files published.
    pub published: u64,
}

/// Why a comparison of names could not be made.
pub(crate) type ScanResult = Result<(), DropError>;
