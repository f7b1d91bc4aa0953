//! Upkeep: copies the write-ahead log into the database and gives free pages back, when that disturbs least.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::sqlite::SqliteOptions;

/// How long nothing must come before idle work begins.
const IDLE: Duration = Duration::from_secs(1);
/// Rest between two steps of idle work.
const STEP: Duration = Duration::from_millis(20);
/// Pages given back in one step.
const VACUUM_PAGES: u32 = 128;
/// The log is copied in any case once it has this many times the size from which it is copied in a quiet moment.
const HARD_FACTOR: u64 = 4;

/// What the writer knows of its database's condition.
pub(super) struct Upkeep {
    log: PathBuf,
    log_bytes: u64,
    spare_pages: u32,
    page_size: u64,
    /// Pages in the log after the last commit, told by SQLite.
    pages: Arc<AtomicU64>,
    /// Pages of the log that are in the database already.
    copied: u64,
    /// There may be pages to give back.
    vacuum: bool,
    /// Idle work has begun, and no commit came since.
    resting: bool,
}

impl Upkeep {
    pub(super) fn install(
        connection: &mut Connection,
        database: &Path,
        options: &SqliteOptions,
    ) -> rusqlite::Result<Self> {
        let page_size: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut _, n: i32| {
            told.store(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self {
            log: log.into(),
            log_bytes: options.log_bytes,
            spare_pages: options.spare_pages,
            page_size: page_size.into(),
            pages,
            copied: 0,
            vacuum: true,
            resting: false,
        })
    }

    /// Bytes of the log that are not in the database yet.
    fn uncopied(&mut self) -> u64 {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.copied {
            // SQLite began the log anew.
            self.copied = 0;
        }
        (pages - self.copied) * self.page_size
    }

    /// To be called after each commit: keeps the log from growing without an end under steady load.
    pub(super) fn after_commit(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.vacuum = true;
        self.resting = false;
        if self.uncopied() >= self.log_bytes.saturating_mul(HARD_FACTOR) {
            self.copy(connection)
        } else {
            Ok(())
        }
    }

    /// To be called when nothing waits.
    pub(super) fn quiet(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.uncopied() >= self.log_bytes { self.copy(connection) } else { Ok(()) }
    }

    /// How long to wait for writes before [`Self::idle`] has something to do; `None`: for ever.
    pub(super) fn patience(&mut self) -> Option<Duration> {
        let work = self.vacuum || self.uncopied() > 0;
        work.then_some(if self.resting { STEP } else { IDLE })
    }

    /// To be called when nothing came for that long: one small step.
    pub(super) fn idle(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.resting = true;
        if self.vacuum {
            self.give_back(connection)?;
            return self.quiet(connection);
        }
        self.copy(connection)?;
        self.shorten_log(connection)
    }

    fn give_back(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let free: u32 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        let surplus = free.saturating_sub(self.spare_pages);
        self.vacuum = surplus > VACUUM_PAGES;
        if surplus == 0 {
            return Ok(());
        }
        let pages = surplus.min(VACUUM_PAGES);
        let sql = format!("PRAGMA incremental_vacuum({pages})");
        let run = || {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            // Each row is a page given back, so all must be asked for.
            while rows.next()?.is_some() {}
            Ok(())
        };
        forgive(run())
    }

    /// Copies the log without waiting for readers.
    fn copy(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        forgive(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())))?;
        self.copied = pages;
        Ok(())
    }

    /// The log file keeps its size, since overwriting is faster than growing; only a very large one is cut.
    fn shorten_log(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let size = std::fs::metadata(&self.log).map_or(0, |m| m.len());
        if size > self.log_bytes.saturating_mul(2 * HARD_FACTOR) {
            forgive(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))?;
        }
        Ok(())
    }

    /// Leaves everything in the database when the store is closed.
    pub(super) fn close(&mut self, connection: &Connection) {
        let copied = forgive(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        if let Err(error) = copied {
            tracing::warn!("the log stays beside the database, and is read at the next start: {error}");
        }
    }
}

/// A reader in the way or a full disk only puts upkeep off.
fn forgive(result: rusqlite::Result<()>) -> rusqlite::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
            ) =>
        {
            tracing::debug!("upkeep of the store is put off: {error}");
            Ok(())
        }
        other => other,
    }
}
