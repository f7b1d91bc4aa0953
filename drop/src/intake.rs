//! Intake: takes files out of a directory that others write to, each of them once.
//!
//! The directory belongs to strangers: whoever may write there can put anything under any name, and change it while it
//! is looked at. So nothing is opened before it is known to be a regular file with one name, and nothing is read before it
//! was moved out of reach:
//!
//! | step | if the process dies behind it | at the next start |
//! |---|---|---|
//! | `NAME.eml` is renamed into the private folder `.taken`, under a name that is made of its [`FileId`] | it lies in `.taken` | it is a leftover: read as if it had just been taken |
//! | it is read whole, and has not changed meanwhile | the same | the same |
//! | the caller makes durable what it says, under an id made of [`TakenFile::id`] and the content | the same | read again; the caller knows the id and does nothing |
//! | it is removed | nothing is left | - |
//!
//! No rename and no removal has to be durable: where a power cut undoes them, the file comes back as the same one, with
//! the same id, for the caller to recognise.
//!
//! **When is a file whole?** A file that is renamed into the directory is whole at once. One that is written in place is
//! taken when its writer has closed it, as far as the file system tells that, or else when it has not changed for a time;
//! a writer that pauses for longer than that and has not been seen at work loses the rest. Whoever can, renames.

mod aside;
#[cfg(test)]
mod tests;
mod watch;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, Statx, StatxFlags, flock, fstat, openat, statx,
};
use rustix::io::Errno;

use crate::folder::Folder;
use crate::{DropError, FileId};

pub use watch::{Hint, IntakeWatch};

/// The private folder within the directory.
pub const TAKEN: &str = ".taken";

/// How long a file may have a second name before it is refused: programs that link a finished file to its place and then
/// remove its first name take a moment for that.
pub const LINKED_PATIENCE: Duration = Duration::from_secs(60);

/// How long a file that a writer was seen at, and that was not closed, may stay as it is before it is taken all the same.
pub const OPEN_PATIENCE: Duration = Duration::from_secs(600);

/// The longest file name, in bytes.
const MAX_NAME: usize = 255;

/// What is asked of a file besides its content.
const LOOK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// A directory that files are taken from. One at a time, for each directory, on this machine.
#[derive(Debug)]
pub struct Intake {
    folder: Folder,
    taken: Folder,
    extension: &'static str,
}

/// What is known of a name from events of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    #[default]
    Nothing,
    /// It was renamed to its place, or its writer closed it.
    Whole,
    /// Somebody writes to it.
    Open,
}

/// What came of an attempt to take a file.
#[derive(Debug)]
pub enum Take {
    /// It is in the private folder, and open.
    Taken(TakenFile),
    /// It stays for now.
    Waits(Wait),
    /// It can never be taken.
    Unfit(Unfit),
    /// There is nothing of that name, or no longer.
    Gone,
}

/// Why a file stays for now.
#[derive(Debug, thiserror::Error)]
pub enum Wait {
    /// It changed a moment ago, or somebody writes to it.
    #[error("it is still being written")]
    Growing,
    /// It has another name, under which it could be changed.
    #[error("it has a second name (a hard link)")]
    Linked,
    /// It cannot be opened or moved.
    #[error("the service's user cannot take it: {0}")]
    Unreadable(std::io::Error),
}

/// Why a thing can never be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// A symbolic link, wherever it leads.
    #[error("it is a symbolic link; put the file itself here")]
    Link,
    /// A directory.
    #[error("it is a directory; only files are taken")]
    Directory,
    /// A pipe, a socket or a device.
    #[error("it is neither a file nor a directory (a pipe, socket or device)")]
    Special,
    /// A file with more than one name, for longer than [`LINKED_PATIENCE`].
    #[error(
        "it has a second name (a hard link), under which it could be changed; copy it or rename it to here"
    )]
    Linked,
}

/// A file that was taken: nobody reaches it by a name any more. Dropping it leaves it where it is.
#[derive(Debug)]
pub struct TakenFile {
    /// Its name in the private folder.
    name: OsString,
    /// The name that it had.
    pub original: OsString,
    /// Which file it is: the same after a crash, whatever its name is then.
    pub id: FileId,
    /// Bytes when it was taken.
    pub size: u64,
    /// The number of the user who owns it.
    pub owner: u32,
    /// Its content, for reading.
    pub file: File,
    changed: (i64, u32),
}

/// A taken file that is closed, and only has to be removed.
#[derive(Debug)]
pub struct Finished(OsString);

impl TakenFile {
    /// Closes it. What it says is safe elsewhere.
    #[must_use]
    pub fn finish(self) -> Finished {
        Finished(self.name)
    }

    /// Whether it is still as it was when it was taken: a writer that had it open could go on.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn is_unchanged(&self) -> std::io::Result<bool> {
        let now = fstat(&self.file)?;
        let mtime = (now.st_mtime, u32::try_from(now.st_mtime_nsec).unwrap_or(u32::MAX));
        Ok(u64::try_from(now.st_size).ok() == Some(self.size) && mtime == self.changed)
    }
}

impl Intake {
    /// Opens the directory at `path` to take files whose names end in a dot and `extension`, and makes its private folder.
    /// `create`: makes the directory first if it is missing.
    ///
    /// # Errors
    /// When it cannot be used, when another process takes files from it already, or when the private folder is a
    /// stranger's.
    pub fn open(path: &Path, create: bool, extension: &'static str) -> Result<Self, DropError> {
        if create && !path.exists() {
            std::fs::create_dir_all(path).map_err(|e| DropError::from_io("make the directory", path, e))?;
        }
        let folder = Folder::open(path)?;
        let private = path.join(TAKEN);
        let taken = Folder::open_temp(&private)?;
        if taken.id.device != folder.id.device {
            return Err(DropError::OtherFileSystem { drop: path.to_owned(), temp: private });
        }
        let wrap = |errno| DropError::from_errno("look at the private folder", &private, errno);
        let (owner, _, mode) = taken.permissions().map_err(wrap)?;
        // Whoever may write there could put mail before us as if it had been taken and checked.
        if owner != rustix::process::geteuid().as_raw() || mode & 0o077 != 0 {
            let source = std::io::Error::other("it is not ours alone; remove it");
            return Err(DropError::Io { doing: "use the private folder", path: private, source });
        }
        match flock(taken.fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { folder, taken, extension }),
            Err(Errno::WOULDBLOCK) => {
                let source = std::io::Error::other("another process takes files from this directory");
                Err(DropError::Io { doing: "lock the private folder", path: private, source })
            }
            Err(errno) => Err(DropError::from_errno("lock the private folder", &private, errno)),
        }
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// Whether the path still leads to the directory that was opened.
    ///
    /// # Errors
    /// [`DropError::Gone`].
    pub fn check_still_there(&self) -> Result<(), DropError> {
        let gone = |reason| DropError::Gone { path: self.folder.path.clone(), reason };
        self.folder.still_there().map_err(gone)?;
        self.taken.still_there().map_err(gone)
    }

    /// The names that are to be taken: those with the extension, in letters of either case, that do not begin with a dot. In
    /// the order of the names, which is that of their making where they begin with a time or a number.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> Result<Vec<OsString>, DropError> {
        let mut names = self.names(&self.folder)?;
        let ending = self.extension.as_bytes();
        names.retain(|name| {
            let bytes = name.as_bytes();
            let stem = bytes.len().checked_sub(ending.len() + 1);
            !bytes.starts_with(b".")
                && stem.is_some_and(|at| bytes[at] == b'.' && bytes[at + 1..].eq_ignore_ascii_case(ending))
        });
        names.sort_unstable();
        Ok(names)
    }

    /// Names in the private folder: files that an earlier run took and did not finish with. For [`Self::resume`].
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn leftovers(&self) -> Result<Vec<OsString>, DropError> {
        let mut names = self.names(&self.taken)?;
        names.sort_unstable();
        Ok(names)
    }

    fn names(&self, folder: &Folder) -> Result<Vec<OsString>, DropError> {
        let wrap = |errno| DropError::from_errno("list the files", &folder.path, errno);
        // A descriptor of its own: several listings must not share a place.
        let listing: OwnedFd =
            openat(folder.fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(wrap)?;
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut directory = RawDir::new(listing.as_fd(), buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = directory.next() {
            let entry = entry.map_err(wrap)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name.to_vec()));
            }
        }
        Ok(names)
    }

    /// Takes a file, if it is one and is whole. `settle`: how long it must not have changed where nothing was heard of it.
    ///
    /// # Errors
    /// A fault of the directory, not of the file.
    pub fn take(
        &self,
        name: &OsStr,
        settle: Duration,
        heard: Heard,
        now: SystemTime,
    ) -> Result<Take, DropError> {
        let looked = match self.look(name)? {
            None => return Ok(Take::Gone),
            Some(looked) => looked,
        };
        if let Some(unfit) = unfit(&looked) {
            return Ok(Take::Unfit(unfit));
        }
        let still = unchanged_for(&looked, now);
        if looked.stx_nlink > 1 {
            let stays = still.is_some_and(|age| age < LINKED_PATIENCE);
            return Ok(if stays { Take::Waits(Wait::Linked) } else { Take::Unfit(Unfit::Linked) });
        }
        let patience = match heard {
            Heard::Whole => Duration::ZERO,
            Heard::Nothing => settle,
            Heard::Open => OPEN_PATIENCE,
        };
        // A change that lies in the future is one of a clock that was set back since.
        if still.is_some_and(|age| age < patience) {
            return Ok(Take::Waits(Wait::Growing));
        }
        let file = match self.open_file(&self.folder, name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Take::Gone),
            Err(Errno::LOOP) => return Ok(Take::Unfit(Unfit::Link)),
            Err(errno) => return Ok(Take::Waits(Wait::Unreadable(errno.into()))),
        };
        let id = FileId::of(&looked);
        let private = taken_name(id, name);
        match self.folder.rename_os(name, &self.taken, &private) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(Take::Gone),
            Err(Errno::EXIST) => return Ok(Take::Waits(Wait::Linked)),
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                return Ok(Take::Waits(Wait::Unreadable(errno.into())));
            }
            Err(errno) => return Err(DropError::from_errno("take a file", &self.folder.path, errno)),
        }
        // What was opened must be what was looked at; where it was exchanged in between, what was moved is a leftover, and
        // is opened anew.
        let opened = self.opened(private, name.to_owned(), file)?.filter(|file| file.id == id);
        Ok(opened.map_or(Take::Waits(Wait::Linked), Take::Taken))
    }

    /// Opens a leftover again.
    ///
    /// # Errors
    /// A fault of the folder.
    pub fn resume(&self, leftover: &OsStr) -> Result<Take, DropError> {
        let original = original_name(leftover, self.extension);
        let file = match self.open_file(&self.taken, leftover) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Take::Gone),
            Err(errno) => return Ok(Take::Waits(Wait::Unreadable(errno.into()))),
        };
        Ok(self.opened(leftover.to_owned(), original, file)?.map_or(Take::Waits(Wait::Linked), Take::Taken))
    }

    /// A file of the private folder as it is now; `None` when it has a second name.
    fn opened(&self, name: OsString, original: OsString, file: File) -> Result<Option<TakenFile>, DropError> {
        let Some(about) = Self::about(&file)? else { return Ok(None) };
        if about.stx_nlink != 1 || unfit(&about).is_some() {
            return Ok(None);
        }
        Ok(Some(TakenFile {
            name,
            original,
            id: FileId::of(&about),
            size: about.stx_size,
            owner: about.stx_uid,
            changed: (about.stx_mtime.tv_sec, about.stx_mtime.tv_nsec),
            file,
        }))
    }

    /// Gives a file its place and name back, for a later try. Where the name is taken meanwhile it stays a leftover; then
    /// `false`.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn put_back(&self, file: &TakenFile) -> Result<bool, DropError> {
        match self.taken.rename_os(&file.name, &self.folder, &file.original) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(DropError::from_errno("put a file back", &self.folder.path, errno)),
        }
    }

    /// Removes a taken file, for good. One that is gone already is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &Finished) -> Result<(), DropError> {
        let removed = self.taken.remove_os(&file.0);
        removed.map_err(|errno| DropError::from_errno("remove a file", &self.taken.path, errno))
    }

    fn look(&self, name: &OsStr) -> Result<Option<Statx>, DropError> {
        match statx(self.folder.fd(), name, AtFlags::SYMLINK_NOFOLLOW, LOOK) {
            Ok(looked) => Ok(Some(looked)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(DropError::from_errno("look at a file", &self.folder.path, errno)),
        }
    }

    fn about(file: &File) -> Result<Option<Statx>, DropError> {
        match statx(file, "", AtFlags::EMPTY_PATH, LOOK) {
            Ok(about) => Ok(Some(about)),
            Err(errno) => Err(DropError::from_errno("look at an open file", Path::new(""), errno)),
        }
    }

    /// Opens for reading, without following a link and without waiting for anybody.
    fn open_file(&self, folder: &Folder, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat(folder.fd(), name, flags, Mode::empty()).map(File::from)
    }

    /// The path that people know a file by.
    #[must_use]
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        self.folder.path.join(crate::folder::shown(name))
    }
}

/// What is wrong with a thing that is no plain file.
fn unfit(looked: &Statx) -> Option<Unfit> {
    match FileType::from_raw_mode(looked.stx_mode.into()) {
        FileType::RegularFile => None,
        FileType::Symlink => Some(Unfit::Link),
        FileType::Directory => Some(Unfit::Directory),
        _ => Some(Unfit::Special),
    }
}

/// How long nothing about the file has changed, its name included; `None` where its last change lies in the future. The
/// time of the last change of the inode is what no program can set.
fn unchanged_for(looked: &Statx, now: SystemTime) -> Option<Duration> {
    let seconds = u64::try_from(looked.stx_ctime.tv_sec).ok()?;
    let changed = UNIX_EPOCH + Duration::new(seconds, looked.stx_ctime.tv_nsec.min(999_999_999));
    now.duration_since(changed).ok()
}

/// The name in the private folder: which file it is, and what it was called, cut where that is too long.
fn taken_name(id: FileId, original: &OsStr) -> OsString {
    let mut name = format!("{id}~").into_bytes();
    let room = MAX_NAME - name.len();
    name.extend_from_slice(&original.as_bytes()[..original.len().min(room)]);
    OsString::from_vec(name)
}

/// What a file in the private folder was called, as far as its name there says.
fn original_name(taken: &OsStr, extension: &str) -> OsString {
    let bytes = taken.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'~').map_or(0, |at| at + 1);
    let mut name = bytes[at..].to_vec();
    let ending = format!(".{extension}");
    // A name that had to be cut has lost its ending.
    let has_ending = name.len() > ending.len() && {
        let tail = &name[name.len() - ending.len()..];
        tail.eq_ignore_ascii_case(ending.as_bytes())
    };
    if !has_ending {
        name.extend_from_slice(ending.as_bytes());
    }
    OsString::from_vec(name)
}
