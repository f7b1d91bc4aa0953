//! The gateway: a program that empties a drop directory, as old applications do, with nothing but files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A pause between two looks at the directory.
const PAUSE: Duration = Duration::from_millis(2);

/// A drop file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropFile {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl DropFile {
    /// The lines of the trace header without their line ends (folded ones as they stand), and the message behind it.
    ///
    /// The header is one `Return-Path`, a `Delivered-To` for each recipient, and a `Received` of three lines.
    ///
    /// # Panics
    /// When the file does not begin with such a header.
    #[must_use]
    pub fn split(&self) -> (Vec<String>, &[u8]) {
        let mut rest = self.bytes.as_slice();
        let mut lines = Vec::new();
        let mut received = 0;
        while received < 3 {
            let end = memchr::memmem::find(rest, b"\r\n");
            let end = end.unwrap_or_else(|| panic!("no trace header in {}: {lines:?}", self.name));
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = &rest[end + 2..];
            let expected = match (lines.len(), received) {
                (0, _) => line.starts_with("Return-Path: <"),
                (_, 0) => line.starts_with("Delivered-To: ") || line.starts_with("Received: from "),
                _ => line.starts_with('\t'),
            };
            assert!(expected, "{line:?} in the trace header of {} behind {lines:?}", self.name);
            received += usize::from(received > 0 || line.starts_with("Received: "));
            lines.push(line);
        }
        (lines, rest)
    }

    /// The message below the trace header.
    ///
    /// # Panics
    /// As [`Self::split`].
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.split().1
    }

    /// The addresses of `Delivered-To`.
    ///
    /// # Panics
    /// As [`Self::split`].
    #[must_use]
    pub fn recipients(&self) -> Vec<String> {
        let (lines, _) = self.split();
        lines.iter().filter_map(|line| line.strip_prefix("Delivered-To: ")).map(str::to_owned).collect()
    }
}

/// The files that a gateway sees: it passes over hidden ones. Sorted by name; none when there is no directory.
#[must_use]
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let mut paths: Vec<PathBuf> = visible.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// Reads all files that are there and leaves them.
///
/// # Panics
/// When one goes away meanwhile.
#[must_use]
pub fn read(directory: &Path) -> Vec<DropFile> {
    files(directory).iter().map(|path| read_one(path)).collect()
}

/// Reads and deletes all files that are there.
///
/// # Panics
/// When another gateway takes one meanwhile.
pub fn take(directory: &Path) -> Vec<DropFile> {
    let paths = files(directory);
    let taken = paths.iter().map(|path| read_one(path)).collect();
    for path in paths {
        fs::remove_file(path).expect("only this gateway takes files");
    }
    taken
}

fn read_one(path: &Path) -> DropFile {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    DropFile { name, bytes: fs::read(path).expect("a visible file can be read") }
}

/// A gateway that runs: it reads and deletes each file at once.
pub struct Gateway {
    directory: PathBuf,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<Vec<DropFile>>>,
}

impl Gateway {
    /// Begins to empty a directory, which may come into being later.
    #[must_use]
    pub fn start(directory: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, folder) = (stop.clone(), directory.clone());
        let worker = thread::spawn(move || {
            let mut taken = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                taken.extend(take(&folder));
                thread::sleep(PAUSE);
            }
            taken.extend(take(&folder));
            taken
        });
        Self { directory, stop, worker: Some(worker) }
    }

    /// Ends it, and returns all that it took, in the order in which it took it.
    ///
    /// # Panics
    /// When the gateway itself failed.
    #[must_use]
    pub fn stop(mut self) -> Vec<DropFile> {
        self.stop.store(true, Ordering::Relaxed);
        let worker = self.worker.take().expect("it is stopped once");
        worker.join().unwrap_or_else(|_| panic!("the gateway of {} failed", self.directory.display()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How often each key occurs.
#[must_use]
pub fn counted(keys: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}
