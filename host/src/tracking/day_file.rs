//! DayFile: the tracking events of one day (UTC), one row for each event and recipient.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use postern_model::{EventKind, EventRecipient, TrackingEvent};
use rusqlite::{Connection, OpenFlags, Transaction, params};

/// The version of the files' format, kept in `user_version`.
pub const FORMAT: u32 = 1;

const SCHEMA: &str = "
CREATE TABLE events (
    seq INTEGER NOT NULL,
    time INTEGER NOT NULL,
    event TEXT NOT NULL,
    message_id TEXT NOT NULL,
    item TEXT,
    connector TEXT NOT NULL,
    destination TEXT,
    sender TEXT NOT NULL,
    recipient_index INTEGER,
    recipient TEXT,
    envelope_recipient TEXT,
    response TEXT,
    internet_message_id TEXT,
    subject TEXT,
    size INTEGER,
    attempt INTEGER,
    details TEXT
);
CREATE INDEX events_message ON events (message_id);
CREATE INDEX events_recipient ON events (recipient);
CREATE INDEX events_envelope_recipient ON events (envelope_recipient) WHERE envelope_recipient IS NOT NULL;
CREATE INDEX events_sender ON events (sender);
CREATE INDEX events_time ON events (time);
CREATE TABLE moved (up_to INTEGER NOT NULL);
INSERT INTO moved VALUES (0);
";

/// Why tracking files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// The database said no.
    #[error("tracking file {path}: {source}")]
    Database {
        /// Which file.
        path: String,
        /// What it said.
        source: rusqlite::Error,
    },
    /// The file system said no.
    #[error("tracking folder {path}: {source}")]
    Io {
        /// Which folder or file.
        path: String,
        /// What it said.
        source: std::io::Error,
    },
    /// The file was written by a newer version.
    #[error("tracking file {path} has format {found}, this postern knows {FORMAT}")]
    Version {
        /// Which file.
        path: String,
        /// Its version.
        found: u32,
    },
}

/// One day's file, open.
pub struct DayFile {
    path: PathBuf,
    connection: Connection,
}

impl DayFile {
    /// The name of the file that holds events of this moment, such as `2026-11-24.db`.
    #[must_use]
    pub fn name_for(time: Timestamp) -> String {
        format!("{}.db", time.to_zoned(TimeZone::UTC).date())
    }

    /// Opens the file for writing; makes it and its folder when they are missing.
    ///
    /// # Errors
    /// When the folder or file cannot be made, opened, or is of a newer format.
    pub fn open(path: &Path) -> Result<Self, TrackingError> {
        if let Some(folder) = path.parent() {
            crate::private::make_directory(folder)
                .map_err(|source| TrackingError::Io { path: folder.display().to_string(), source })?;
        }
        // SQLite would make it for everybody to read; the log beside it gets the mode of the database.
        crate::private::ensure_file(path)
            .map_err(|source| TrackingError::Io { path: path.display().to_string(), source })?;
        let fail = |source| TrackingError::Database { path: path.display().to_string(), source };
        let mut connection = Connection::open(path).map_err(fail)?;
        // FULL, as in the queue: an event leaves the queue's own table only after it is durable here.
        connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;").map_err(fail)?;
        let version: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(fail)?;
        if version > FORMAT {
            return Err(TrackingError::Version { path: path.display().to_string(), found: version });
        }
        if version == 0 {
            let transaction = connection.transaction().map_err(fail)?;
            transaction.execute_batch(SCHEMA).map_err(fail)?;
            transaction.pragma_update(None, "user_version", FORMAT).map_err(fail)?;
            transaction.commit().map_err(fail)?;
        }
        Ok(Self { path: path.to_owned(), connection })
    }

    /// Opens an existing file to be read; nothing can be changed. `None`: it is just being made and has no tables yet.
    ///
    /// # Errors
    /// When it cannot be opened or is of a newer format.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, TrackingError> {
        let fail = |source| TrackingError::Database { path: path.display().to_string(), source };
        // A connection that may only read makes a log and leaves it behind; one that may write takes it away again when it
        // is the last. Where the file itself is read-only, SQLite falls back to reading by itself.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        connection.execute_batch("PRAGMA query_only = ON").map_err(fail)?;
        let version: u32 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(fail)?;
        if version > FORMAT {
            return Err(TrackingError::Version { path: path.display().to_string(), found: version });
        }
        Ok((version > 0).then(|| Self { path: path.to_owned(), connection }))
    }

    /// All day files in a folder, oldest first; empty when there is no folder.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn list(folder: &Path) -> Result<Vec<(Date, PathBuf)>, TrackingError> {
        let fail = |source| TrackingError::Io { path: folder.display().to_string(), source };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(fail(e)),
        };
        let mut days = Vec::new();
        for entry in entries {
            let path = entry.map_err(fail)?.path();
            let is_database = path.extension().is_some_and(|e| e == "db");
            let day = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<Date>().ok());
            if let (true, Some(day)) = (is_database, day) {
                days.push((day, path));
            }
        }
        days.sort();
        Ok(days)
    }

    /// Appends events; those up to the highest sequence number that the file has seen are left out, so that a move
    /// that was cut short can be repeated.
    ///
    /// # Errors
    /// When the database refuses; nothing is appended then.
    pub fn append(&mut self, events: &[(u64, &TrackingEvent)]) -> Result<(), TrackingError> {
        let path = self.path.display().to_string();
        self.append_inner(events).map_err(|source| TrackingError::Database { path, source })
    }

    fn append_inner(&mut self, events: &[(u64, &TrackingEvent)]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let seen: i64 = transaction.query_row("SELECT up_to FROM moved", [], |r| r.get(0))?;
        let mut last = seen;
        for (seq, event) in events {
            let seq = i64::try_from(*seq).unwrap_or(i64::MAX);
            if seq <= seen {
                continue;
            }
            insert(&transaction, seq, event)?;
            last = last.max(seq);
        }
        transaction.execute("UPDATE moved SET up_to = ?1", [last])?;
        transaction.commit()
    }

    /// The connection, for queries.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Wraps a database error with the file's name.
    #[must_use]
    pub fn fault(&self, source: rusqlite::Error) -> TrackingError {
        TrackingError::Database { path: self.path.display().to_string(), source }
    }
}

fn insert(transaction: &Transaction<'_>, seq: i64, event: &TrackingEvent) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO events VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
    )?;
    let details = (!event.details.is_empty())
        .then(|| serde_json::to_string(&event.details).expect("pairs of strings are always JSON"));
    // An event about no recipient at all still is one row.
    let nobody = [EventRecipient::new(0, "")];
    let rows = if event.recipients.is_empty() { &nobody[..] } else { &event.recipients };
    for row in rows {
        let real = !event.recipients.is_empty();
        statement.execute(params![
            seq,
            event.time.as_microsecond(),
            event.kind.word(),
            event.message_text(),
            event.item.map(|i| i.to_string()),
            event.connector,
            event.destination,
            event.sender,
            real.then_some(row.index),
            real.then_some(&row.address),
            row.envelope_address,
            row.response,
            event.internet_message_id,
            event.subject,
            event.size.map(|s| i64::try_from(s).unwrap_or(i64::MAX)),
            event.attempt,
            details,
        ])?;
    }
    Ok(())
}

/// The kind that a word in a file stands for.
#[must_use]
pub fn kind_of(word: &str) -> Option<EventKind> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}
