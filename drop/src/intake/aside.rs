//! Setting aside: what cannot be taken keeps its place under a name that ends in `.bad`, with the reason beside it.
//!
//! The reason comes first, so that whoever finds `NAME.bad` finds `NAME.reason.txt` as well. After a crash between the
//! two there is a reason without a file; the next try chooses other names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Intake, MAX_NAME, TakenFile};
use crate::DropError;
use crate::folder::Folder;

/// How many names are tried before a file is left where it is.
const TRIES: u32 = 1000;
/// What a bad file's name ends with.
const BAD: &str = ".bad";
/// What the name of its reason ends with.
const REASON: &str = ".reason.txt";

impl Intake {
    /// Sets a taken file aside, with the reason in words. Returns the name that it has now.
    ///
    /// # Errors
    /// When it cannot be moved; it stays a leftover then.
    pub fn set_aside(&self, file: &TakenFile, reason: &str) -> Result<OsString, DropError> {
        self.move_aside(&self.taken, &file.name, &file.original, reason)
    }

    /// Sets aside what lies in the directory and can never be taken. It is not opened.
    ///
    /// # Errors
    /// When it cannot be moved; it stays where it is then.
    pub fn set_aside_in_place(&self, name: &OsStr, reason: &str) -> Result<OsString, DropError> {
        self.move_aside(&self.folder, name, name, reason)
    }

    fn move_aside(
        &self,
        from: &Folder,
        name: &OsStr,
        original: &OsStr,
        reason: &str,
    ) -> Result<OsString, DropError> {
        let wrap = |errno| DropError::from_errno("set a bad file aside", &self.folder.path, errno);
        let stem = self.stem(original);
        for number in 0..TRIES {
            let bad = numbered(&stem, number, BAD);
            if self.folder.look(&bad).map_err(wrap)?.is_some() {
                continue;
            }
            let reason_name = numbered(&stem, number, REASON);
            let mut file = match self.create_reason(&reason_name) {
                Err(Errno::EXIST) => continue,
                created => created.map_err(wrap)?,
            };
            let written = file.write_all(format!("{reason}\n").as_bytes());
            written.map_err(|e| DropError::from_io("write a reason", &self.folder.path, e))?;
            match from.rename_os(name, &self.folder, &bad) {
                Ok(()) => return Ok(bad),
                Err(errno) => {
                    // A reason without its file would only be a riddle.
                    let _ = self.folder.remove_os(&reason_name);
                    if errno != Errno::EXIST {
                        return Err(wrap(errno));
                    }
                }
            }
        }
        Err(wrap(Errno::EXIST))
    }

    fn create_reason(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.folder.fd(), name, flags, Mode::from_raw_mode(0o644)).map(File::from)
    }

    /// The name without its extension.
    fn stem(&self, original: &OsStr) -> Vec<u8> {
        let bytes = original.as_bytes();
        bytes[..bytes.len().saturating_sub(self.extension.len() + 1)].to_vec()
    }
}

/// `STEM.bad`, `STEM.2.bad`, ..., the stem cut where the whole is too long.
fn numbered(stem: &[u8], number: u32, ending: &str) -> OsString {
    let tail = if number == 0 { ending.to_owned() } else { format!(".{}{ending}", number + 1) };
    // Both names of a pair are cut alike, so that they stay a pair.
    let room = MAX_NAME - tail.len().max(REASON.len() + 5);
    let mut name = stem[..stem.len().min(room)].to_vec();
    name.extend_from_slice(tail.as_bytes());
    OsString::from_vec(name)
}
