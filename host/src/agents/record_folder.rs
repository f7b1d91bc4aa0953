//! RecordFolder: a file in the data directory that says something about agents, with copies of the components that it
//! names.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::leftovers;
use crate::private;

/// The file that whoever changes a record has locked.
const LOCK: &str = ".lock";

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the record of {of}, {}: {why}", path.display())]
pub struct RecordError {
    of: &'static str,
    path: PathBuf,
    why: String,
}

/// One file and the copies beside it.
#[derive(Clone, Debug)]
pub(super) struct RecordFolder {
    /// What the file says something of, for errors.
    pub(super) of: &'static str,
    pub(super) folder: PathBuf,
    pub(super) file: &'static str,
    /// The version of the file's format, which stands in it as `v`.
    pub(super) version: u32,
}

#[derive(Deserialize)]
struct Format {
    v: u32,
}

impl RecordFolder {
    /// Where the copy of a component lies, if it does.
    pub(super) fn copy(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.wasm"))
    }

    /// Lets nobody else change the record, in this process or another one, as long as the answer is kept. Blocking.
    pub(super) fn lock(&self) -> Result<fs::File, RecordError> {
        let lock = || {
            private::make_directory(&self.folder)?;
            let file = private::create_file(&self.folder.join(LOCK))?;
            file.lock().map(|()| file)
        };
        lock().map_err(|error| self.error(&error))
    }

    /// What the file says; the default where there is none.
    pub(super) fn read<T: DeserializeOwned + Default>(&self) -> Result<T, RecordError> {
        let text = match fs::read(self.path()) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
            Err(error) => return Err(self.error(&error)),
        };
        let Format { v } = serde_json::from_slice(&text).map_err(|error| self.error(&error))?;
        if v > self.version {
            let why = format!("it is of version {v}, this postern knows {}", self.version);
            return Err(self.error(&why));
        }
        serde_json::from_slice(&text).map_err(|error| self.error(&error))
    }

    /// Writes the file. Durable when it returns.
    pub(super) fn write(&self, record: &impl Serialize) -> Result<(), RecordError> {
        let text = serde_json::to_vec_pretty(record).expect("the record is plain data");
        self.put(&self.path(), &text)
    }

    /// Keeps a copy of a component. Durable when it returns.
    pub(super) fn keep(&self, sha256: &str, component: &[u8]) -> Result<(), RecordError> {
        self.put(&self.copy(sha256), component)
    }

    /// Removes the copies that are not needed.
    pub(super) fn forget(&self, is_needed: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let sha256 = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|e| e == "wasm") && !is_needed(sha256) {
                // One that stays only takes up room.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Removes what a crash left: files that were never written to their end, and copies that are not needed. Only old ones
    /// are taken, so that an installation that is under way loses nothing.
    pub(super) fn sweep(&self, now: SystemTime, is_needed: impl Fn(&str) -> bool) -> usize {
        leftovers::sweep_folder(&self.folder, now, |name| {
            let copy = name.strip_suffix(".wasm").filter(|stem| stem.len() == 64);
            copy.is_some_and(|sha256| !is_needed(sha256))
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.file)
    }

    /// Whole or not at all, and closed to others: the name appears after the bytes are synced.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
        let put = || {
            private::make_directory(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            fs::File::open(&self.folder)?.sync_all()
        };
        put().map_err(|error| self.error(&error))
    }

    fn error(&self, why: &dyn std::fmt::Display) -> RecordError {
        RecordError { of: self.of, path: self.path(), why: why.to_string() }
    }
}
