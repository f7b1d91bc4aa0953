//! Directories: the folders that an agent was granted, open.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use wasmtime_wasi::filesystem::Dir;
use wasmtime_wasi::{FsPerms, OpenMode};

use crate::{DirectoryGrant, LoadError};

/// The granted folders. They are opened once, when the agent is loaded: what is put in their place later is not reached.
#[derive(Default)]
pub(crate) struct Directories(Vec<Directory>);

/// One of them.
pub(crate) struct Directory {
    /// The folder, with what may be done in it.
    pub(crate) dir: Dir,
    /// How the agent sees it.
    pub(crate) name: String,
    /// Whether the agent may write there.
    pub(crate) writable: bool,
    path: PathBuf,
}

impl Directories {
    /// Opens them. Blocking.
    ///
    /// # Errors
    /// [`LoadError::Directory`] of the first that cannot be opened.
    pub(crate) fn open(grants: &[DirectoryGrant]) -> Result<Self, LoadError> {
        grants.iter().map(Directory::open).collect::<Result<_, _>>().map(Self)
    }

    /// Each, in the order of the config.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Directory> {
        self.0.iter()
    }

    /// The one with this place in the order.
    pub(crate) fn get(&self, index: usize) -> Option<&Directory> {
        self.0.get(index)
    }

    /// Whether other folders lie there by now: another one was put in the place of one, or something was mounted over it.
    /// One that is not there at all is none. Blocking.
    pub(crate) fn have_changed(&self) -> bool {
        self.0.iter().any(|directory| {
            let (now, then) = (fs::metadata(&directory.path), directory.dir.dir.metadata());
            matches!((now, then), (Ok(now), Ok(then)) if (now.dev(), now.ino()) != (then.dev(), then.ino()))
        })
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Directory {
    fn open(grant: &DirectoryGrant) -> Result<Self, LoadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(grant.path(), flags, Mode::empty());
        let opened = opened.map_err(|error| LoadError::Directory {
            path: grant.path().to_owned(),
            why: error.to_string(),
        })?;
        let writable = grant.is_writable();
        let (may, mode) = if writable {
            (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE)
        } else {
            (FsPerms::ReadOnly, OpenMode::READ)
        };
        // Never on the threads that run guests: a network file system may take its time.
        let dir = Dir::new(File::from(opened), may, mode, false);
        Ok(Self { dir, name: grant.name().to_owned(), writable, path: grant.path().to_owned() })
    }
}
