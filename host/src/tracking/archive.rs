//! Archive: what the day files said that retention has deleted, so that the audit still adds up.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use postern_model::{EventKind, Fate};
use serde::{Deserialize, Serialize};

use super::day_file::{DayFile, TrackingError, kind_of};

/// The version of the file's format.
const VERSION: u32 = 1;
/// The file's name in the tracking folder.
const NAME: &str = "archive.json";

/// Sums over deleted days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    v: u32,
    /// Every day up to and with this one is summed up here; a file of such a day is a leftover.
    pub until: Option<Date>,
    /// Recipients that arrived through a door.
    pub accepted: u64,
    /// Recipients of messages that we made.
    pub generated: u64,
    /// Recipients by fate.
    pub fates: BTreeMap<Fate, u64>,
}

impl Archive {
    /// Reads the archive of a tracking folder; an empty one when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, TrackingError> {
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(io_error(&path)(source)),
        };
        let archive: Self = serde_json::from_slice(&bytes).map_err(|e| io_error(&path)(e.into()))?;
        if archive.v > VERSION {
            return Err(TrackingError::Version { path: path.display().to_string(), found: archive.v });
        }
        Ok(archive)
    }

    /// Whether the file of this day is summed up here already.
    #[must_use]
    pub fn covers(&self, day: Date) -> bool {
        self.until.is_some_and(|until| day <= until)
    }

    fn add(&mut self, kind: EventKind, count: u64) {
        match kind {
            EventKind::Receive => self.accepted += count,
            EventKind::Generate => self.generated += count,
            _ => {
                if let Some(fate) = fate_of(kind) {
                    *self.fates.entry(fate).or_default() += count;
                }
            }
        }
    }

    fn write(&self, folder: &Path) -> Result<(), TrackingError> {
        let (path, temporary) = (folder.join(NAME), folder.join("archive.tmp"));
        let bytes = serde_json::to_vec(self).expect("sums are plain data");
        let write = || -> std::io::Result<()> {
            let mut file = crate::private::create_file(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().map_err(io_error(&path))
    }
}

/// The fate that an event of this kind records.
#[must_use]
pub fn fate_of(kind: EventKind) -> Option<Fate> {
    Some(match kind {
        EventKind::Deliver => Fate::Delivered,
        EventKind::Relay => Fate::Relayed,
        EventKind::Expand => Fate::Expanded,
        EventKind::Fail => Fate::Failed,
        EventKind::Expire => Fate::Expired,
        EventKind::Remove => Fate::Removed,
        EventKind::Unknown => Fate::Unknown,
        _ => return None,
    })
}

/// Deletes the day files that are older than `retention`, oldest first, each after its sums are safe in the archive.
/// Returns how many were deleted.
///
/// # Errors
/// When a file cannot be read, summed up or deleted; what was deleted by then is in the archive.
pub fn expire(folder: &Path, retention: SignedDuration, now: Timestamp) -> Result<usize, TrackingError> {
    let Ok(oldest) = now.checked_sub(retention) else { return Ok(0) };
    let oldest = oldest.to_zoned(jiff::tz::TimeZone::UTC).date();
    let mut archive = Archive::read(folder)?;
    let mut deleted = 0;
    for (day, path) in DayFile::list(folder)? {
        if day >= oldest {
            break;
        }
        if !archive.covers(day) {
            sum_up(&mut archive, &path)?;
            archive.v = VERSION;
            archive.until = Some(day);
            // The sums are synced before the file goes; if the host dies in between, the file is a leftover.
            archive.write(folder)?;
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            remove(&PathBuf::from(file))?;
        }
        deleted += 1;
    }
    Ok(deleted)
}

fn sum_up(archive: &mut Archive, path: &Path) -> Result<(), TrackingError> {
    let Some(file) = DayFile::open_read_only(path)? else { return Ok(()) };
    let mut read = || -> rusqlite::Result<()> {
        let mut statement = file
            .connection()
            .prepare("SELECT event, count(*) FROM events WHERE recipient_index IS NOT NULL GROUP BY event")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (word, count): (String, i64) = (row.get(0)?, row.get(1)?);
            if let Some(kind) = kind_of(&word) {
                archive.add(kind, u64::try_from(count).unwrap_or(0));
            }
        }
        Ok(())
    };
    read().map_err(|e| file.fault(e))
}

fn remove(path: &Path) -> Result<(), TrackingError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(path)(e)),
        _ => Ok(()),
    }
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> TrackingError + use<> {
    let path = path.display().to_string();
    move |source| TrackingError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_model::{EventRecipient, MessageId, TrackingEvent};

    fn event(time: &str, kind: EventKind) -> TrackingEvent {
        TrackingEvent {
            time: time.parse().unwrap(),
            kind,
            message: MessageId::from_name("m"),
            item: None,
            connector: "c".into(),
            destination: None,
            sender: String::new(),
            recipients: vec![EventRecipient::new(0, "a@b.example")],
            internet_message_id: None,
            subject: None,
            size: None,
            attempt: None,
            details: Vec::new(),
        }
    }

    #[test]
    fn old_days_go_and_their_sums_stay() {
        let folder = tempfile::tempdir().unwrap();
        let days = ["2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z", "2026-02-01T10:00:00Z"];
        for (seq, day) in (1..).zip(days) {
            let (a, b) = (event(day, EventKind::Receive), event(day, EventKind::Deliver));
            let mut file = DayFile::open(&folder.path().join(DayFile::name_for(a.time))).unwrap();
            file.append(&[(seq * 2, &a), (seq * 2 + 1, &b)]).unwrap();
        }
        let now = "2026-02-02T10:00:00Z".parse().unwrap();
        let month = SignedDuration::from_hours(24 * 30);
        assert_eq!(expire(folder.path(), month, now).unwrap(), 2);
        assert_eq!(expire(folder.path(), month, now).unwrap(), 0);
        let archive = Archive::read(folder.path()).unwrap();
        assert_eq!((archive.accepted, archive.fates.get(&Fate::Delivered)), (2, Some(&2)));
        assert_eq!(DayFile::list(folder.path()).unwrap().len(), 1);
    }
}
