//! The drop directory: a folder through which Postern hands files to a program that can only read files.
//!
//! [`DropDirectory`] publishes files so that the gateway sees each one whole, once, and only when it is safely
//! on disk; [`Watcher`] tells when the gateway took it. [`check`](check::check) says in words whether a folder is
//! fit for that. [`profile`] holds the file formats, [`reader`] the other half: what a gateway does.
//!
//! The crate stands alone: it knows nothing of the mail host, uses no async runtime and blocks its caller.
//! A network file system may block for ever, so call it from threads that can be given up.
//!
//! The protocol, step by step, and why a crash makes neither a loss nor a double, is told in [`publish`]; how a file
//! is taken back so that host and gateway never both own it, in [`withdraw`].

pub mod check;
mod claims;
mod directory;
mod error;
mod file_id;
mod file_system;
mod folder;
mod group_sync;
pub mod habits;
mod identity;
pub mod intake;
mod ledger;
mod leftovers;
mod name;
mod pickup;
pub mod profile;
pub mod publish;
pub mod quota;
pub mod reader;
pub mod results;
mod set;
mod settings;
pub mod status;
pub mod step;
mod watch;
pub mod withdraw;

#[cfg(test)]
mod tests;

pub use check::{Finding, Level, check};
pub use directory::DropDirectory;
pub use error::{DropError, GoneReason};
pub use file_id::{FileId, FileIdError};
pub use file_system::FileSystem;
pub use habits::{Claim, EndFolder, Habits, Sidecar};
pub use identity::DirectoryId;
pub use leftovers::{Leftover, LeftoverState};
pub use name::{FileName, MAX_FILE_NAME, NameError};
pub use pickup::{PickupEvent, SeenBy, WatchCounters};
pub use profile::Profile;
pub use publish::{How, Published};
pub use quota::{Fullness, Quota, Usage};
pub use results::{About, Collected, Found, Interest, Outcome, ResultFile, ResultWord, Results};
pub use settings::{DEFAULT_EVENTS_SCAN, DEFAULT_FILE_MODE, DEFAULT_POLL_SCAN, DropSettings, WatchMode};
pub use watch::{Known, Watcher};
pub use withdraw::Withdrawn;
