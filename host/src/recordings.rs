//! Recordings: deliveries of agents that are kept in files, to be played again with `postern agent replay`.
//!
//! They are made on request, of messages that broke their agent before, and where a connector says so. The oldest go when
//! there are too many. They say nothing about what is delivered: a host without them loses no mail.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use postern_agent::Recording;
use postern_model::ItemId;

use crate::private;

/// The folder's name in the data directory.
const FOLDER: &str = "recordings";
/// The folder in it with the names of items whose next attempt is to be recorded.
const WANTED: &str = "wanted";
/// The ends of the names of recordings, and of those that are being written.
const END: &str = ".jsonl";
const NEW: &str = ".new";

/// Why a recording is made that an operator wished for.
pub const ASKED_FOR: &str = "an operator asked for it";

/// The recordings of a host.
#[derive(Debug)]
pub struct Recordings {
    folder: PathBuf,
    limits: RecordingLimits,
    /// Items whose next attempt is to be recorded.
    wanted: Mutex<BTreeSet<ItemId>>,
    /// How many those are, for those who only ask whether there are any.
    wanting: AtomicUsize,
    /// Files are written and removed by one at a time.
    one_at_a_time: Mutex<()>,
}

/// How many recordings are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordingLimits {
    /// `host.recordings`: files; 0: none are made.
    pub files: usize,
    /// `host.recordings_size`: bytes of all of them. The last one is kept however large it is.
    pub bytes: u64,
}

impl Recordings {
    /// The recordings in a data directory. Reads the names of the items that are to be recorded.
    #[must_use]
    pub fn open(data: &Path, limits: RecordingLimits) -> Arc<Self> {
        let folder = data.join(FOLDER);
        // A folder that cannot be read is met again, with words, when something is written there.
        let names = fs::read_dir(folder.join(WANTED)).into_iter().flatten().flatten();
        let wanted: BTreeSet<ItemId> =
            names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let wanting = AtomicUsize::new(wanted.len());
        Arc::new(Self {
            folder,
            limits,
            wanted: Mutex::new(wanted),
            wanting,
            one_at_a_time: Mutex::default(),
        })
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<ItemId>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any are made.
    #[must_use]
    pub fn are_made(&self) -> bool {
        self.limits.files > 0
    }

    /// Whether the next attempt of an item is to be recorded.
    #[must_use]
    pub fn is_wanted(&self, item: ItemId) -> bool {
        self.wanting.load(Relaxed) > 0 && self.wanted().contains(&item)
    }

    /// Has the next attempt of an item recorded, also after a restart. Durable when it returns. Blocking.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn want(&self, item: ItemId) -> io::Result<()> {
        let folder = self.folder.join(WANTED);
        private::make_directory(&folder)?;
        private::ensure_file(&folder.join(item.to_string()))?;
        File::open(&folder)?.sync_all()?;
        let mut wanted = self.wanted();
        wanted.insert(item);
        self.wanting.store(wanted.len(), Relaxed);
        Ok(())
    }

    /// Takes that back, or says that it is done. Blocking.
    fn unwant(&self, item: ItemId) {
        let mut wanted = self.wanted();
        if wanted.remove(&item) {
            self.wanting.store(wanted.len(), Relaxed);
            drop(wanted);
            // Left behind, it costs one more recording.
            let _ = fs::remove_file(self.folder.join(WANTED).join(item.to_string()));
        }
    }

    /// Where a recording of this name lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Keeps the recording of an attempt, and removes the oldest ones when there are too many. Gives its name, which ends in
    /// `mark`: the shadow's recording of an attempt does not replace that of the attempt itself. It is on the disk when this
    /// returns. Blocking.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, item: ItemId, attempt: u32, mark: &str, recording: &Recording) -> io::Result<String> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{item}-{attempt}{mark}{END}");
        private::make_directory(&self.folder)?;
        let (path, new) = (self.path(&name), self.folder.join(format!("{name}{NEW}")));
        let written = write(&new, recording).and_then(|()| fs::rename(&new, &path));
        if let Err(error) = written {
            // Half of it would only take room, which there may be none of.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        File::open(&self.folder)?.sync_all()?;
        self.prune(&path);
        if recording.why() == ASKED_FOR {
            self.unwant(item);
        }
        Ok(name)
    }

    /// Removes the oldest until there are no more than the limits allow.
    fn prune(&self, newest: &Path) {
        let mut files = self.files();
        files.retain(|file| file.path != newest);
        files.sort_by_key(|file| std::cmp::Reverse(file.at));
        let (mut count, mut bytes) = (1, fs::metadata(newest).map_or(0, |about| about.len()));
        for file in files {
            count += 1;
            bytes = bytes.saturating_add(file.bytes);
            if (count > self.limits.files || bytes > self.limits.bytes)
                && let Err(error) = fs::remove_file(&file.path)
            {
                tracing::warn!(file = %file.path.display(), %error, "an old recording cannot be removed");
            }
        }
    }

    fn files(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let kept = entries.filter_map(|entry| {
            let path = entry.path();
            path.to_str()?.strip_suffix(END)?;
            let about = entry.metadata().ok()?;
            let at = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Kept { path, bytes: about.len(), at })
        });
        kept.collect()
    }

    /// The recordings that there are of an item, the oldest first. Blocking.
    #[must_use]
    pub fn of(&self, item: ItemId) -> Vec<PathBuf> {
        let start = format!("{item}-");
        let is_its = |file: &Kept| {
            file.path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&start))
        };
        let mut files: Vec<Kept> = self.files().into_iter().filter(is_its).collect();
        files.sort_by_key(|file| file.at);
        files.into_iter().map(|file| file.path).collect()
    }

    /// Removes what a crash left half written, and wishes about items that are not in their queue any more. To be called
    /// before anything is delivered.
    pub fn sweep(&self, is_queued: impl Fn(ItemId) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(NEW)) {
                // Left behind, it costs its place; it is tried again at the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
        let wanted: Vec<ItemId> = self.wanted().iter().copied().collect();
        for item in wanted.into_iter().filter(|item| !is_queued(*item)) {
            self.unwant(item);
        }
    }
}

/// One of them on the disk.
struct Kept {
    path: PathBuf,
    bytes: u64,
    at: SystemTime,
}

fn write(path: &Path, recording: &Recording) -> io::Result<()> {
    let mut file = BufWriter::new(private::create_file(path)?);
    recording.write(&mut file)?;
    file.flush()?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use postern_model::MessageId;

    use super::*;

    const LIMITS: RecordingLimits = RecordingLimits { files: 2, bytes: 1 << 20 };

    fn item(name: &str) -> ItemId {
        ItemId { message: MessageId::from_name(name), ordinal: 0 }
    }

    fn recording() -> Recording {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/samples/recording-v1.jsonl");
        Recording::read(&mut &fs::read(sample).unwrap()[..]).unwrap()
    }

    #[test]
    fn a_wish_outlives_a_restart_and_ends_with_the_recording() {
        let data = tempfile::tempdir().unwrap();
        let recordings = Recordings::open(data.path(), LIMITS);
        assert!(!recordings.is_wanted(item("a")));
        recordings.want(item("a")).unwrap();
        recordings.want(item("b")).unwrap();
        let recordings = Recordings::open(data.path(), LIMITS);
        assert!(recordings.is_wanted(item("a")) && !recordings.is_wanted(item("c")));
        let name = recordings.keep(item("a"), 2, "", &recording()).unwrap();
        assert!(recordings.is_wanted(item("a")), "that one was made for another reason");
        fs::remove_file(recordings.path(&name)).unwrap();
        let name = recordings.keep(item("a"), 3, "", &recording().because(ASKED_FOR)).unwrap();
        assert_eq!(name, format!("{}-3.jsonl", item("a")));
        assert_eq!(recordings.of(item("a")), [recordings.path(&name)]);
        let mode = fs::metadata(recordings.path(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let half = recordings.path("x.jsonl.new");
        fs::write(&half, "{").unwrap();
        recordings.sweep(|item| item != self::item("b"));
        assert!(!half.exists());
        let recordings = Recordings::open(data.path(), LIMITS);
        assert!(!recordings.is_wanted(item("a")) && !recordings.is_wanted(item("b")));
    }

    #[test]
    fn there_are_no_more_than_the_limits_and_the_oldest_go() {
        let data = tempfile::tempdir().unwrap();
        let recordings = Recordings::open(data.path(), LIMITS);
        let keep = |recordings: &Recordings, attempt: u32| {
            let name = recordings.keep(item("a"), attempt, "", &recording()).unwrap();
            let file = File::options().write(true).open(recordings.path(&name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(attempt.into()))
                .unwrap();
        };
        (1..=3).for_each(|attempt| keep(&recordings, attempt));
        let names = |recordings: &Recordings| -> Vec<String> {
            let name = |path: &PathBuf| {
                path.file_name().unwrap().to_str().unwrap().rsplit('-').next().unwrap().to_owned()
            };
            recordings.of(item("a")).iter().map(name).collect()
        };
        assert_eq!(names(&recordings), ["2.jsonl", "3.jsonl"]);
        let small = Recordings::open(data.path(), RecordingLimits { files: 9, bytes: 10 });
        keep(&small, 4);
        assert_eq!(names(&small), ["4.jsonl"], "the last one is kept however large it is");
    }
}
