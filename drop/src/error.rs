//! DropError: why a file could not be handed over, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::{Quota, Usage};

/// Why a drop directory cannot be used, or a file not be published. Nothing became visible to the gateway, unless
/// the text says that it may have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropError {
    /// The directory is not there (Exchange event 8008).
    #[error("{} does not exist: create it, mount it, or set create = true", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The path names something else.
    #[error("{} is not a directory: point the setting at a directory", path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The service's user may not write there (Exchange event 8009).
    #[error(
        "cannot {doing} in {}: {source}. Give the service's user read, write and search permission on it",
        path.display()
    )]
    NotWritable {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A rename from the temp folder to the drop directory cannot work.
    #[error(
        "{} and {} are on different file systems: choose a temp folder on the drop directory's file system",
        drop.display(), temp.display()
    )]
    OtherFileSystem {
        /// The drop directory.
        drop: PathBuf,
        /// The temp folder.
        temp: PathBuf,
    },
    /// The quota is used up (Exchange event 8005). Goes away when the gateway takes files.
    #[error(
        "the drop directory's quota is used up ({} bytes in {} files of {}; {wanted} more bytes wanted): \
         see whether the gateway still takes files, or raise the quota",
        used.bytes, used.files, limit(quota)
    )]
    Quota {
        /// What lies there.
        used: Usage,
        /// What may lie there.
        quota: Quota,
        /// The size of the file that did not fit.
        wanted: u64,
    },
    /// No space or no inodes left, or a limit of the file system on this user or file.
    #[error("the file system of {} is full ({source}): free space or inodes there", path.display())]
    Full {
        /// The temp folder or the drop directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another file has this name, or it is being published right now.
    #[error("{name} is taken by {by}: look at that file and move it away, or publish under another name")]
    Collision {
        /// The name.
        name: String,
        /// By what.
        by: &'static str,
    },
    /// The directory was there when it was opened and is not any more.
    #[error("{} is gone ({reason}): bring it back; publishing goes on by itself then", path.display())]
    Gone {
        /// The directory.
        path: PathBuf,
        /// What became of it.
        reason: GoneReason,
    },
    /// The caller could not produce the content.
    #[error("the content could not be read: {source}")]
    Content {
        /// What the caller's function returned.
        source: io::Error,
    },
    /// The file became visible, could not be made durable and could not be taken back either.
    #[error(
        "{name} was published but could neither be made durable nor taken back ({source}): \
         the gateway may take it; check the disk"
    )]
    Uncertain {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file that says which drop directory this is makes no sense.
    #[error(
        "{} does not say which drop directory this is ({what}): use the version that wrote it; or delete it, \
         and the directory counts as another one",
        path.display()
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Anything else that the system said.
    #[error("cannot {doing} in {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What became of a directory that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneReason {
    /// Nothing is at its path.
    Missing,
    /// Something else is at its path.
    Replaced,
    /// It was a mount point and its path is one no more: a mount is missing.
    Unmounted,
}

impl std::fmt::Display for GoneReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "removed or renamed",
            Self::Replaced => "replaced by something else",
            Self::Unmounted => "its file system is not mounted",
        })
    }
}

impl DropError {
    /// The error for what the system said while `doing` something at `path`.
    pub(crate) fn from_errno(doing: &'static str, path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        let source = io::Error::from(errno);
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Self::Full { path, source },
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::NotWritable { doing, path, source },
            Errno::NOTDIR => Self::NotDirectory { path },
            Errno::NOENT | Errno::STALE => Self::Gone { path, reason: GoneReason::Missing },
            _ => Self::Io { doing, path, source },
        }
    }

    /// The error for an [`io::Error`] of the system.
    pub(crate) fn from_io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(errno) => Self::from_errno(doing, path, errno),
            None => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    /// Whether it concerns the directory as a whole, so that trying the next file at once is pointless.
    #[must_use]
    pub fn concerns_directory(&self) -> bool {
        !matches!(self, Self::Collision { .. } | Self::Content { .. } | Self::Uncertain { .. })
    }
}

fn limit(quota: &Quota) -> String {
    let size = match (quota.bytes, quota.files) {
        (Some(bytes), Some(files)) => format!("{bytes} bytes in {files} files"),
        (Some(bytes), None) => format!("{bytes} bytes"),
        (None, Some(files)) => format!("{files} files"),
        (None, None) => "any size".to_owned(),
    };
    match quota.oldest {
        Some(oldest) => format!("{size}, none older than {} s", oldest.as_secs()),
        None => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_becomes_the_error_that_helps() {
        let of = |errno| DropError::from_errno("write", Path::new("/d"), errno);
        assert!(matches!(of(Errno::NOSPC), DropError::Full { .. }));
        assert!(matches!(of(Errno::DQUOT), DropError::Full { .. }));
        assert!(matches!(of(Errno::ACCESS), DropError::NotWritable { .. }));
        assert!(matches!(of(Errno::ROFS), DropError::NotWritable { .. }));
        assert!(matches!(of(Errno::STALE), DropError::Gone { .. }));
        assert!(matches!(of(Errno::IO), DropError::Io { .. }));
    }

    #[test]
    fn the_quota_text_has_the_numbers() {
        let error = DropError::Quota {
            used: Usage { bytes: 90, files: 3 },
            quota: Quota { bytes: Some(100), ..Quota::default() },
            wanted: 20,
        };
        let text = error.to_string();
        assert!(text.contains("90 bytes in 3 files of 100 bytes; 20 more"), "{text}");
    }
}
