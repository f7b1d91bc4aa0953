//! Quarantine: what is known of messages that broke their agents, in one file each, for as long as they are in their
//! queue.
//!
//! A record begins with the first trap of a message that was alone with its agent, so that it can tell of all of them when
//! the message becomes poison. It says nothing about what is delivered: a host without it loses no mail.

mod record;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use postern_model::{AgentFault, Content, DeliveryReport, DeliveryRequest, ItemId, NextHop};
use sha2::{Digest as _, Sha256};

use crate::private;

pub use record::{MAX_RECORD, QuarantineRecord, Trap};

/// The folder's name in the data directory.
const FOLDER: &str = "quarantine";
/// The ends of the names of records, and of those that are being written.
const END: &str = ".json";
const NEW: &str = ".new";
/// Content that is hashed at once, in bytes.
const CHUNK: usize = 64 << 10;

/// The records of a host.
#[derive(Debug)]
pub struct Quarantine {
    folder: PathBuf,
    /// `host.quarantine_records`.
    most: usize,
    known: Mutex<BTreeSet<ItemId>>,
}

/// A trap that is to be noted.
struct Note {
    item: ItemId,
    hop: NextHop,
    content: Content,
    attempt: u32,
    text: String,
    fault: Option<Arc<AgentFault>>,
    recording: Option<String>,
    poison: bool,
}

impl Quarantine {
    /// The records in a data directory, of which there may be so many. Reads the names of the files.
    #[must_use]
    pub fn open(data: &Path, most: usize) -> Arc<Self> {
        let folder = data.join(FOLDER);
        // A folder that cannot be read is met again, with words, when something is written there.
        let names = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let known = names.filter_map(|name| name.to_str()?.strip_suffix(END)?.parse().ok()).collect();
        Arc::new(Self { folder, most, known: Mutex::new(known) })
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<ItemId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is one of the item.
    #[must_use]
    pub fn has(&self, item: ItemId) -> bool {
        self.known().contains(&item)
    }

    fn path(&self, item: ItemId) -> PathBuf {
        self.folder.join(format!("{item}{END}"))
    }

    /// Notes a trap. The record is on the disk when this returns; where it cannot be written, or there are too many, the
    /// log says so, and the message is settled all the same.
    pub async fn note(self: &Arc<Self>, request: &DeliveryRequest, report: &DeliveryReport, poison: bool) {
        let item = request.item.id;
        let note = Note {
            item,
            hop: request.item.next_hop.clone(),
            content: request.content.clone(),
            attempt: request.attempt,
            text: report.fault.as_ref().map(|fault| fault.response.to_string()).unwrap_or_default(),
            fault: report.trap.clone(),
            recording: report.recording.clone(),
            poison,
        };
        let quarantine = self.clone();
        let written = tokio::task::spawn_blocking(move || quarantine.write(note)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(%item, %error, "what is known of a message that broke its agent could not be kept");
        }
    }

    fn write(&self, note: Note) -> io::Result<()> {
        if !self.has(note.item) && self.len() >= self.most {
            return Err(io::Error::other(format!("there are quarantine_records = {} already", self.most)));
        }
        let mut record = match self.read(note.item) {
            Ok(Some(record)) => record,
            Err(error) if self.is_of_a_later_version(note.item) => return Err(error),
            // One that cannot be read tells nobody anything: it is written anew.
            Ok(None) | Err(_) => {
                QuarantineRecord::new(note.item, sha256(&note.content)?, note.content.size())
            }
        };
        (record.connector, record.destination) =
            (note.hop.connector.to_string(), note.hop.destination.to_string());
        let at = Timestamp::now();
        record.poison_since = note.poison.then_some(at);
        let fault = note.fault.map(Arc::unwrap_or_clone);
        record.add(Trap { at, attempt: note.attempt, text: note.text, recording: note.recording, fault });
        private::make_directory(&self.folder)?;
        let (path, new) = (self.path(note.item), self.folder.join(format!("{}{NEW}", note.item)));
        let mut file = private::create_file(&new)?;
        file.write_all(&record.text())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.folder)?.sync_all()?;
        self.known().insert(note.item);
        Ok(())
    }

    /// The record of an item; `None` when there is none. Blocking.
    ///
    /// # Errors
    /// When its file cannot be read, is too large, or is of a version that this program does not know.
    pub fn read(&self, item: ItemId) -> io::Result<Option<QuarantineRecord>> {
        if !self.has(item) {
            return Ok(None);
        }
        let mut text = Vec::new();
        File::open(self.path(item))?.take(MAX_RECORD as u64 + 1).read_to_end(&mut text)?;
        if text.len() > MAX_RECORD {
            return Err(io::Error::other(format!("it has more than {MAX_RECORD} bytes")));
        }
        QuarantineRecord::parse(&text).map(Some).map_err(io::Error::other)
    }

    /// Whether a record was written by a later postern, which will know what to do with it.
    fn is_of_a_later_version(&self, item: ItemId) -> bool {
        fs::read(self.path(item)).is_ok_and(|text| QuarantineRecord::is_of_a_later_version(&text))
    }

    /// Removes the record of an item that has left its queue. To be called when that is durable. One that cannot be removed
    /// is still there, and counts: it is tried again at the next start.
    pub fn forget(&self, item: ItemId) {
        if !self.has(item) {
            return;
        }
        match fs::remove_file(self.path(item)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%item, %error, "the quarantine record of a message that is gone cannot be removed");
            }
            // Known for as long as it lies there: who looks in between finds both or neither.
            _ => {
                self.known().remove(&item);
            }
        }
    }

    /// Removes the records of items that are not in their queue any more, and what was never written to its end: a crash
    /// came between that and their removal. To be called before anything is delivered.
    pub fn sweep(&self, is_queued: impl Fn(ItemId) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(NEW)) {
                // Left behind, it costs its place; it is tried again at the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
        let known: Vec<ItemId> = self.known().iter().copied().collect();
        for item in known.into_iter().filter(|item| !is_queued(*item)) {
            self.forget(item);
        }
    }
}

fn sha256(content: &Content) -> io::Result<String> {
    let (mut reader, mut hash, mut chunk) = (content.reader()?, Sha256::new(), vec![0; CHUNK]);
    loop {
        match reader.read(&mut chunk)? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bytes::Bytes;
    use postern_model::{Deferral, MessageId};
    use postern_store::conformance::sample;

    use super::*;

    fn request(name: &str, attempt: u32) -> DeliveryRequest {
        let put = sample::small(&NextHop::new("fax", "FAX:*"));
        let mut item = put.items[0].clone();
        item.id = ItemId { message: MessageId::from_name(name), ordinal: 0 };
        let content = Content::from(Bytes::from_static(b"abc"));
        DeliveryRequest { message: put.message, item: Arc::new(item), content, attempt }
    }

    fn trap(text: &str) -> DeliveryReport {
        DeliveryReport { trapped: true, ..DeliveryReport::broken(Deferral::new(451, (4, 3, 0), text, "")) }
    }

    #[tokio::test]
    async fn a_record_grows_with_each_trap_outlives_a_restart_and_goes_with_its_item() {
        let data = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(data.path(), 10);
        let item = request("a", 1).item.id;
        assert_eq!(quarantine.read(item).unwrap(), None);
        quarantine.note(&request("a", 1), &trap("first"), false).await;
        assert_eq!(quarantine.read(item).unwrap().unwrap().poison_since, None);

        let quarantine = Quarantine::open(data.path(), 10);
        quarantine.note(&request("a", 2), &trap("second"), true).await;
        let record = quarantine.read(item).unwrap().unwrap();
        let texts: Vec<_> = record.traps.iter().map(|trap| (trap.attempt, &*trap.text)).collect();
        assert_eq!(texts, [(1, "451 4.3.0 first"), (2, "451 4.3.0 second")]);
        assert!(record.poison_since.is_some());
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((&*record.content_sha256, record.content_size), (of_abc, 3));
        let file = data.path().join(FOLDER).join(format!("{item}.json"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        quarantine.forget(item);
        quarantine.forget(item);
        assert!(!file.exists() && quarantine.is_empty() && Quarantine::open(data.path(), 10).is_empty());
    }

    #[tokio::test]
    async fn there_are_no_more_records_than_the_limit_and_those_that_are_there_still_grow() {
        let data = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(data.path(), 1);
        for name in ["a", "b", "a"] {
            quarantine.note(&request(name, 1), &trap("x"), false).await;
        }
        assert_eq!(quarantine.len(), 1);
        assert_eq!(fs::read_dir(data.path().join(FOLDER)).unwrap().count(), 1);
        assert_eq!(quarantine.read(request("a", 1).item.id).unwrap().unwrap().traps.len(), 2);
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_removed_at_the_start() {
        let data = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(data.path(), 10);
        let (gone, queued) = (request("gone", 1), request("queued", 1));
        for request in [&gone, &queued] {
            quarantine.note(request, &trap("x"), true).await;
        }
        let half = data.path().join(FOLDER).join("x.new");
        fs::write(&half, "{").unwrap();
        let quarantine = Quarantine::open(data.path(), 10);
        quarantine.sweep(|item| item == queued.item.id);
        assert!(!half.exists());
        assert!(!quarantine.has(gone.item.id) && quarantine.read(queued.item.id).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_says_so_and_is_written_anew() {
        let data = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(data.path(), 10);
        let item = request("a", 1).item.id;
        quarantine.note(&request("a", 1), &trap("x"), false).await;
        fs::write(quarantine.path(item), "{").unwrap();
        assert!(quarantine.read(item).is_err());
        quarantine.note(&request("a", 2), &trap("y"), false).await;
        assert_eq!(quarantine.read(item).unwrap().unwrap().traps.len(), 1);
    }

    #[tokio::test]
    async fn a_record_of_a_later_version_is_not_overwritten() {
        let data = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(data.path(), 10);
        let item = request("a", 1).item.id;
        quarantine.note(&request("a", 1), &trap("x"), false).await;
        let later = r#"{"v":9,"what":"only a later one knows"}"#;
        fs::write(quarantine.path(item), later).unwrap();
        assert!(quarantine.read(item).is_err());
        quarantine.note(&request("a", 2), &trap("y"), true).await;
        assert_eq!(fs::read_to_string(quarantine.path(item)).unwrap(), later);
        // It goes with its message all the same.
        quarantine.forget(item);
        assert!(!quarantine.path(item).exists() && !quarantine.has(item));
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_removed_is_still_known() {
        let data = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(data.path(), 10);
        let item = request("a", 1).item.id;
        quarantine.note(&request("a", 1), &trap("x"), false).await;
        // A folder in its place: nobody may unlink that, root neither.
        fs::remove_file(quarantine.path(item)).unwrap();
        fs::create_dir(quarantine.path(item)).unwrap();
        quarantine.forget(item);
        assert!(quarantine.has(item));
        fs::remove_dir(quarantine.path(item)).unwrap();
        quarantine.forget(item);
        assert!(!quarantine.has(item));
    }
}
