//! DirectoryLock: one host for one data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::StoreError;
use crate::sqlite::io_error;

/// Holds the file `LOCK` of a data directory; the operating system lets go of it when the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock and writes our process id into it.
    pub(super) fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("LOCK");
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(|e| io_error("open", &path, &e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // It has not been written yet when the other one is just starting.
                let read = file.read_to_string(&mut pid);
                let known = read.is_ok() && !pid.trim().is_empty();
                let pid = if known { postern_model::text::one_line(&pid, 20) } else { "unknown".to_owned() };
                return Err(StoreError::Locked { directory: directory.display().to_string(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &path, &e)),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|e| io_error("write", &path, &e))?;
        Ok(Self { _file: file })
    }
}
