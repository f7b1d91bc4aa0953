//! DirectoryUse: what one instance has open in its folders, and what its running call may still use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use crate::limits::Limit;
use crate::log::{AgentLog, Capability};
use crate::state::Shared;

/// Where an open file or folder lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the granted folders it lies in.
    pub(crate) grant: usize,
    /// How the agent sees it.
    pub(crate) path: String,
}

/// A limit that would be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverLimit {
    #[error("more than directory_open = {0} files and folders at once")]
    Open(usize),
    #[error("more than directory_made = {0} files and folders made in one call")]
    Made(u32),
    #[error("more than directory_read = {0} bytes in one call")]
    Read(u64),
    #[error("more than directory_written = {0} bytes in one call")]
    Written(u64),
    #[error("a file of more than directory_file = {0} bytes")]
    File(u64),
    #[error("listings of more than directory_entries = {0} entries")]
    Entries(usize),
    #[error("a path of more than directory_path = {0} bytes")]
    Path(usize),
}

impl OverLimit {
    /// Which it is.
    fn limit(self) -> Limit {
        match self {
            Self::Open(_) => Limit::DirectoryOpen,
            Self::Made(_) => Limit::DirectoryMade,
            Self::Read(_) => Limit::DirectoryRead,
            Self::Written(_) => Limit::DirectoryWritten,
            Self::File(_) => Limit::DirectoryFile,
            Self::Entries(_) => Limit::DirectoryEntries,
            Self::Path(_) => Limit::DirectoryPath,
        }
    }

    /// What the agent is told.
    pub(crate) fn code(self) -> ErrorCode {
        match self {
            Self::File(_) => ErrorCode::FileTooLarge,
            Self::Path(_) => ErrorCode::NameTooLong,
            Self::Open(_) | Self::Made(_) | Self::Read(_) | Self::Written(_) | Self::Entries(_) => {
                ErrorCode::Quota
            }
        }
    }
}

/// What one instance has open, and how much of each limit its running call has used.
pub(crate) struct DirectoryUse {
    /// By the numbers that the instance's table gives.
    open: BTreeMap<u32, Place>,
    /// How many entries each open listing has.
    listings: BTreeMap<u32, usize>,
    /// One for each stream of a file. Such a stream keeps its file open, whatever becomes of the descriptor.
    streams: Arc<()>,
    made: u32,
    /// Whether anything was ever looked for in the granted folders.
    used: AtomicBool,
    meter: Meter,
}

/// A stream that is open; it counts for as long as this lives.
pub(crate) struct Held(#[expect(dead_code, reason = "it is there to be counted")] Arc<()>);

impl DirectoryUse {
    pub(crate) fn new(shared: &Arc<Shared>, log: &AgentLog) -> Self {
        let bytes = Bytes { read: AtomicU64::new(0), written: AtomicU64::new(0) };
        let meter = Meter { bytes: Arc::new(bytes), shared: shared.clone(), log: log.clone() };
        let used = AtomicBool::new(false);
        Self {
            open: BTreeMap::new(),
            listings: BTreeMap::new(),
            streams: Arc::default(),
            made: 0,
            used,
            meter,
        }
    }

    /// Starts the allowance of a call. What is open stays open.
    pub(crate) fn begin_call(&mut self) {
        self.made = 0;
        self.meter.bytes.read.store(0, Relaxed);
        self.meter.bytes.written.store(0, Relaxed);
    }

    /// Something is looked for in a granted folder.
    pub(crate) fn uses(&self) {
        self.used.store(true, Relaxed);
    }

    /// Whether anything ever was.
    pub(crate) fn has_been_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// What counts the bytes, for streams.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Whether so many more may be open. The granted folders come on top of the limit.
    pub(crate) fn may_open(&self, more: usize) -> Result<(), OverLimit> {
        let max = self.meter.shared.limits.directory_open;
        // All but our own are streams.
        let streams = Arc::strong_count(&self.streams) - 1;
        let open = self.open.len() + self.listings.len() + streams + more;
        if open > max.saturating_add(self.meter.shared.directories.len()) {
            return Err(OverLimit::Open(max));
        }
        Ok(())
    }

    /// What counts a stream.
    pub(crate) fn held(&self) -> Held {
        Held(self.streams.clone())
    }

    /// Something was opened.
    pub(crate) fn opened(&mut self, number: u32, place: Place) {
        self.open.insert(number, place);
    }

    /// Where something open lies.
    pub(crate) fn place(&self, number: u32) -> Option<&Place> {
        self.open.get(&number)
    }

    /// Something was closed.
    pub(crate) fn closed(&mut self, number: u32) {
        self.open.remove(&number);
    }

    /// How many entries one more listing may have.
    pub(crate) fn listable(&self) -> usize {
        let listed: usize = self.listings.values().sum();
        self.meter.shared.limits.directory_entries.saturating_sub(listed)
    }

    /// A listing was opened.
    pub(crate) fn listed(&mut self, number: u32, entries: usize) {
        self.listings.insert(number, entries);
    }

    /// A listing was closed.
    pub(crate) fn unlisted(&mut self, number: u32) {
        self.listings.remove(&number);
    }

    /// Whether one more file or folder may be made.
    pub(crate) fn may_make(&self) -> Result<(), OverLimit> {
        let max = self.meter.shared.limits.directory_made;
        if self.made >= max { Err(OverLimit::Made(max)) } else { Ok(()) }
    }

    /// A file or folder was made.
    pub(crate) fn made(&mut self) {
        self.made += 1;
        self.meter.shared.stats.directory_made();
    }
}

struct Bytes {
    read: AtomicU64,
    written: AtomicU64,
}

/// Counts the bytes of the running call. Clones share the count.
#[derive(Clone)]
pub(crate) struct Meter {
    bytes: Arc<Bytes>,
    shared: Arc<Shared>,
    log: AgentLog,
}

impl Meter {
    /// How many bytes may still be read.
    pub(crate) fn readable(&self) -> u64 {
        self.shared.limits.directory_read.saturating_sub(self.bytes.read.load(Relaxed))
    }

    /// So many bytes were read.
    ///
    /// # Errors
    /// When they are more than may be read: the agent must not get them.
    pub(crate) fn was_read(&self, count: usize) -> Result<(), OverLimit> {
        let count = count as u64;
        if count > self.readable() {
            return Err(OverLimit::Read(self.shared.limits.directory_read));
        }
        self.bytes.read.fetch_add(count, Relaxed);
        self.shared.stats.directory_read(count);
        Ok(())
    }

    /// Takes the right to write `count` bytes at an offset.
    ///
    /// # Errors
    /// When they are more than may be written, or would make the file larger than files may be.
    pub(crate) fn will_write(&self, count: usize, offset: u64) -> Result<(), OverLimit> {
        let count = count as u64;
        self.may_grow_to(offset.saturating_add(count))?;
        let max = self.shared.limits.directory_written;
        if count > max.saturating_sub(self.bytes.written.load(Relaxed)) {
            return Err(OverLimit::Written(max));
        }
        self.bytes.written.fetch_add(count, Relaxed);
        self.shared.stats.directory_written(count);
        Ok(())
    }

    /// Whether a file may be so large.
    ///
    /// # Errors
    /// When files must be smaller.
    pub(crate) fn may_grow_to(&self, size: u64) -> Result<(), OverLimit> {
        let max = self.shared.limits.directory_file;
        if size > max { Err(OverLimit::File(max)) } else { Ok(()) }
    }

    /// Counts and logs that a limit would be passed.
    pub(crate) fn over(&self, target: &str, over: OverLimit) {
        self.log.hit(over.limit());
        self.refused(target, &over.to_string());
    }

    /// Counts and logs a refusal.
    pub(crate) fn refused(&self, target: &str, why: &str) {
        self.log.refused(Capability::Directory, target, why);
    }
}
