//! FileId: tells one file from another, even when it is renamed or its inode number is used again.

use std::fmt;
use std::str::FromStr;

use rustix::fs::{Statx, StatxFlags};

/// Which file it is, whatever its name: the inode number and the time of birth.
///
/// The number alone is not enough, since file systems give the number of a deleted file to the next new one.
/// Where the file system keeps no time of birth, the time of the last change of content stands in.
/// Written `inode:seconds.nanoseconds`, so that it can be kept and read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    inode: u64,
    seconds: i64,
    nanoseconds: u32,
}

impl FileId {
    /// The inode number.
    #[must_use]
    pub fn inode(self) -> u64 {
        self.inode
    }

    /// When the file was born, or last changed where no birth is kept, in seconds since 1970.
    pub(crate) fn since(self) -> i64 {
        self.seconds
    }

    pub(crate) fn of(stat: &Statx) -> Self {
        let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let time = if born { stat.stx_btime } else { stat.stx_mtime };
        Self { inode: stat.stx_ino, seconds: time.tv_sec, nanoseconds: time.tv_nsec }
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}.{:09}", self.inode, self.seconds, self.nanoseconds)
    }
}

impl FromStr for FileId {
    type Err = FileIdError;

    fn from_str(text: &str) -> Result<Self, FileIdError> {
        let parse = || {
            let (inode, time) = text.split_once(':')?;
            let (seconds, nanoseconds) = time.split_once('.')?;
            Some(Self {
                inode: inode.parse().ok()?,
                seconds: seconds.parse().ok()?,
                nanoseconds: nanoseconds.parse().ok()?,
            })
        };
        parse().ok_or(FileIdError)
    }
}

/// The text is not a file id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file id is written inode:seconds.nanoseconds")]
pub struct FileIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = FileId { inode: 42, seconds: -1, nanoseconds: 5 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("42".parse::<FileId>(), Err(FileIdError));
    }
}
