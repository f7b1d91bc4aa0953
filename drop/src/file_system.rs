//! FileSystem: what kind of file system a folder lies on, and what may be expected of it.

use std::os::fd::AsFd;

use rustix::fs::fstatfs;

/// A file system, by the magic number that `statfs(2)` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem(u64);

/// Magic number, name, whether other machines change it unseen, whether its journal keeps the order of changes.
const KINDS: &[(u64, &str, bool, bool)] = &[
    (0xef53, "ext4", false, true),
    (0x5846_5342, "xfs", false, true),
    (0x0102_1994, "tmpfs", false, true),
    (0x9123_683e, "btrfs", false, false),
    (0x2fc1_2fc1, "zfs", false, false),
    (0xf2f5_2010, "f2fs", false, false),
    (0x794c_7630, "overlayfs", false, false),
    (0x4d44, "fat", false, false),
    (0x6969, "nfs", true, false),
    (0x517b, "smb", true, false),
    (0xff53_4d42, "cifs", true, false),
    (0xfe53_4d42, "smb2", true, false),
    (0x6573_5546, "fuse", true, false),
    (0x0102_1997, "9p", true, false),
    (0x00c3_6400, "ceph", true, false),
];

impl FileSystem {
    /// The file system that the open folder lies on.
    pub(crate) fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        // Some platforms sign-extend the number; only its low 32 bits mean something.
        fstatfs(fd).map(|stat| Self(stat.f_type as u64 & 0xffff_ffff))
    }

    /// Its name, or `other`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.kind().map_or("other", |kind| kind.1)
    }

    /// Whether other machines may change it without this one's kernel reporting an event.
    #[must_use]
    pub fn is_remote(self) -> bool {
        self.kind().is_some_and(|kind| kind.2)
    }

    /// Whether a power cut keeps changes of names in the order in which they were made, so that syncing the last
    /// one makes the earlier ones durable too.
    #[must_use]
    pub fn keeps_order(self) -> bool {
        self.kind().is_some_and(|kind| kind.3)
    }

    fn kind(self) -> Option<&'static (u64, &'static str, bool, bool)> {
        KINDS.iter().find(|kind| kind.0 == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_as_such() {
        assert!(FileSystem(0x6969).is_remote());
        assert!(!FileSystem(0xef53).is_remote());
        assert!(FileSystem(0xef53).keeps_order());
        assert_eq!(FileSystem(1).name(), "other");
        assert!(!FileSystem(1).keeps_order());
    }
}
