//! Folder: an open directory and the few system calls made relative to it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Statx, StatxFlags, fstat, fsync, linkat, mkdirat,
    open, openat, renameat, renameat_with, stat, statx, unlinkat,
};
use rustix::io::Errno;

use crate::{DropError, FileId, FileSystem, GoneReason};

/// Which directory it is, whatever its path: device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FolderId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl FolderId {
    /// The directory that `path` leads to right now.
    pub(crate) fn at(path: &Path) -> rustix::io::Result<Self> {
        stat(path).map(|s| Self { device: s.st_dev, inode: s.st_ino })
    }
}

/// One entry of a listing. The inode number comes from the directory itself and costs no look at the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) name: OsString,
    pub(crate) inode: u64,
}

/// What a look at a file showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) id: FileId,
    pub(crate) size: u64,
    /// Whether it is a regular file.
    pub(crate) is_file: bool,
    /// When its content was last changed: seconds and nanoseconds since 1970.
    pub(crate) modified: (i64, u32),
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    pub(crate) path: PathBuf,
    pub(crate) id: FolderId,
    pub(crate) file_system: FileSystem,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the directory at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, DropError> {
        let fd = open(path, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => DropError::Missing { path: path.to_owned() },
            errno => DropError::from_errno("open the directory", path, errno),
        })?;
        Self::of(fd, path.to_owned())
    }

    /// Opens the temp folder at `path`, making it first when it is missing. It must not be a symbolic link, since
    /// whoever could plant one would choose where mail is written.
    pub(crate) fn open_temp(path: &Path) -> Result<Self, DropError> {
        let wrap = |errno| DropError::from_errno("open the temp folder", path, errno);
        match mkdirat(rustix::fs::CWD, path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(Errno::NOENT) => return Err(DropError::Missing { path: path.to_owned() }),
            Err(errno) => return Err(DropError::from_errno("make the temp folder", path, errno)),
        }
        let fd = open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(wrap)?;
        Self::of(fd, path.to_owned())
    }

    /// Opens a directory that must not be a symbolic link: it lies where others may put one.
    pub(crate) fn open_itself(path: &Path) -> Result<Self, DropError> {
        let fd = open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => DropError::Missing { path: path.to_owned() },
            errno => DropError::from_errno("open the directory", path, errno),
        })?;
        Self::of(fd, path.to_owned())
    }

    fn of(fd: OwnedFd, path: PathBuf) -> Result<Self, DropError> {
        let wrap = |errno| DropError::from_errno("look at the directory", &path, errno);
        let stat = fstat(&fd).map_err(wrap)?;
        let file_system = FileSystem::of(&fd).map_err(wrap)?;
        let id = FolderId { device: stat.st_dev, inode: stat.st_ino };
        Ok(Self { fd, path, id, file_system })
    }

    /// Whether the path still leads here, and if not, why.
    pub(crate) fn still_there(&self) -> Result<(), GoneReason> {
        match FolderId::at(&self.path) {
            Ok(id) if id == self.id => Ok(()),
            Ok(_) => Err(GoneReason::Replaced),
            Err(_) => Err(GoneReason::Missing),
        }
    }

    /// Whether something is mounted at the path.
    pub(crate) fn is_mount_point(&self) -> bool {
        FolderId::at(&self.path.join("..")).is_ok_and(|parent| parent.device != self.id.device)
    }

    /// Everything in it that is not a directory, hidden files included, in no order.
    pub(crate) fn list(&self) -> rustix::io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." || entry.file_type() == FileType::Directory {
                continue;
            }
            files.push(Listed { name: name.to_owned(), inode: entry.ino() });
        }
        Ok(files)
    }

    /// A look at the file of this name, without following a link; `None` when there is none.
    pub(crate) fn look(&self, name: impl AsRef<OsStr>) -> rustix::io::Result<Option<Looked>> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        match statx(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW, mask) {
            Ok(stat) => Ok(Some(looked(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A look at a file that is open.
    pub(crate) fn look_at(file: &File) -> rustix::io::Result<Looked> {
        statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
            .map(|stat| looked(&stat))
    }

    /// Which directory it is on its file system: its inode number and, where the file system keeps it, its time of birth.
    /// The time of the last change must not stand in for that here: each new file changes it.
    pub(crate) fn place(&self) -> rustix::io::Result<String> {
        let mask = StatxFlags::INO | StatxFlags::BTIME;
        let stat = statx(&self.fd, ".", AtFlags::empty(), mask)?;
        let born = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(if born { FileId::of(&stat).to_string() } else { stat.stx_ino.to_string() })
    }

    /// Creates a file that must not exist yet, readable and writable by the owner only.
    pub(crate) fn create(&self, name: &str) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, Mode::from_raw_mode(0o600)).map(File::from)
    }

    /// Opens a file for reading, without following a link.
    pub(crate) fn read(&self, name: &str) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    /// Gives the file a second name in this folder.
    pub(crate) fn link(&self, old: &str, new: &str) -> rustix::io::Result<()> {
        linkat(&self.fd, old, &self.fd, new, AtFlags::empty())
    }

    /// Moves a file to another folder without ever replacing one there: [`Errno::EXIST`].
    ///
    /// File systems that cannot do that in one call (old NFS) get a look before a plain rename: a stranger who
    /// makes a file of that very name in between would lose it. Linking and unlinking instead would be safe from
    /// that, but a crash between the two looks like a file that was never published, and makes a double.
    pub(crate) fn rename(&self, old: &str, to: &Self, new: &str) -> rustix::io::Result<()> {
        self.rename_os(OsStr::new(old), to, OsStr::new(new))
    }

    /// As [`Self::rename`], for names that strangers chose.
    pub(crate) fn rename_os(&self, old: &OsStr, to: &Self, new: &OsStr) -> rustix::io::Result<()> {
        match renameat_with(&self.fd, old, &to.fd, new, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.look(new)? {
                Some(_) => Err(Errno::EXIST),
                None => renameat(&self.fd, old, &to.fd, new),
            },
            result => result,
        }
    }

    /// Removes a name that a stranger chose; one that is not there is no error.
    pub(crate) fn remove_os(&self, name: &OsStr) -> rustix::io::Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// The open directory itself.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Removes a name; one that is not there is no error. Tells whether it was there.
    pub(crate) fn remove(&self, name: &str) -> rustix::io::Result<bool> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Makes the names in it durable, or says what the system says.
    pub(crate) fn try_sync(&self) -> rustix::io::Result<()> {
        fsync(&self.fd)
    }

    /// Makes the names in it durable. File systems that cannot (some network ones: EINVAL) are taken as having done it.
    pub(crate) fn sync(&self) -> rustix::io::Result<()> {
        match self.try_sync() {
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                tracing::debug!(path = %self.path.display(), "directory syncs are not supported");
                Ok(())
            }
            result => result,
        }
    }

    /// Space and inodes.
    pub(crate) fn space(&self) -> rustix::io::Result<rustix::fs::StatVfs> {
        rustix::fs::fstatvfs(&self.fd)
    }

    /// Owner, group and permission bits.
    pub(crate) fn permissions(&self) -> rustix::io::Result<(u32, u32, u32)> {
        fstat(&self.fd).map(|s| (s.st_uid, s.st_gid, s.st_mode & 0o7777))
    }
}

fn looked(stat: &Statx) -> Looked {
    Looked {
        id: FileId::of(stat),
        size: stat.stx_size,
        is_file: FileType::from_raw_mode(stat.stx_mode.into()) == FileType::RegularFile,
        modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
    }
}

/// A foreign name as text that is safe to show and store.
pub(crate) fn shown(name: &OsStr) -> String {
    name.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
