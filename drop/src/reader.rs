//! The reader half: what a gateway does with a drop directory. For gateways written in Rust, samples and tests.
//!
//! The advised habit is to claim before reading: renaming `x.eml` to `x.eml.work` is atomic, so of several readers
//! exactly one gets the file; Postern sees that it is being worked on; and after a crash of the gateway the file is
//! still there, see [`claimed`]. Deleting it when done is the pickup.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a claimed file's name ends with.
pub const CLAIM_SUFFIX: &str = ".work";

/// A file that can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// When its content was last changed: when it was published.
    pub modified: SystemTime,
}

/// The files in `directory` that can be taken, oldest first, at most `max`. Hidden files, claimed files and names that
/// are not UTF-8 are left out.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(directory: &Path, max: usize) -> io::Result<Vec<Entry>> {
    let mut entries = visible(directory, |name| !name.ends_with(CLAIM_SUFFIX))?;
    entries.truncate(max);
    Ok(entries)
}

/// The files in `directory` that were claimed and not finished, oldest first. A gateway that is alone finishes them
/// or gives them back when it starts.
///
/// # Errors
/// When the directory cannot be read.
pub fn claimed(directory: &Path) -> io::Result<Vec<Claim>> {
    let entries = visible(directory, |name| name.ends_with(CLAIM_SUFFIX))?;
    let claim = |entry: Entry| {
        let name = entry.name.strip_suffix(CLAIM_SUFFIX)?.to_owned();
        Some(Claim { path: directory.join(&entry.name), original: directory.join(&name), name })
    };
    Ok(entries.into_iter().filter_map(claim).collect())
}

fn visible(directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || !wanted(&name) {
            continue;
        }
        // Another reader may have taken it since.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            entries.push(Entry { name, size: metadata.len(), modified: metadata.modified()? });
        }
    }
    entries.sort_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
    Ok(entries)
}

/// Claims a file by renaming it; `None` when somebody else was faster.
///
/// # Errors
/// When the file cannot be renamed, for example for want of permission.
pub fn take(directory: &Path, name: &str) -> io::Result<Option<Claim>> {
    let original = directory.join(name);
    let path = directory.join(format!("{name}{CLAIM_SUFFIX}"));
    match fs::rename(&original, &path) {
        Ok(()) => Ok(Some(Claim { name: name.to_owned(), path, original })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that belongs to this reader until it is done or given back.
#[derive(Debug)]
#[must_use = "a claimed file stays until it is done or given back"]
pub struct Claim {
    name: String,
    path: PathBuf,
    original: PathBuf,
}

impl Claim {
    /// The name it was published under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.path)
    }

    /// Says what became of it: a sidecar `ok`, `err`, `retry` or `result` with this text, which appears whole. To be
    /// said before [`done`](Self::done).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn say(&self, suffix: &str, text: &str) -> io::Result<()> {
        let sidecar = |name: String| self.original.with_file_name(name);
        let hidden = sidecar(format!(".{}.{suffix}", self.name));
        fs::write(&hidden, text)?;
        fs::rename(&hidden, sidecar(format!("{}.{suffix}", self.name)))
    }

    /// It has been dealt with: deletes it, which Postern reports as taken.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn done(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// It could not be dealt with: puts it back under its name for a later try.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn give_back(self) -> io::Result<()> {
        fs::rename(&self.path, &self.original)
    }
}
