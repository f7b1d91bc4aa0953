//! Room: whether there is space for another message, so that settlements always find some.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::sqlite::SqliteOptions;

/// How old the last look at the file system may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Watches the free space and the pages of the database.
pub(super) struct Room {
    folder: PathBuf,
    reserve: u64,
    max_pages: Option<u32>,
    last: Option<(Instant, Result<(), String>)>,
}

impl Room {
    pub(super) fn new(database: &Path, options: &SqliteOptions) -> Self {
        let folder = database.parent().unwrap_or(Path::new(".")).to_owned();
        Self { folder, reserve: options.reserve, max_pages: options.max_pages, last: None }
    }

    /// Why there is no room for a message.
    pub(super) fn look(&mut self, connection: &Connection) -> Result<(), String> {
        if let Some(max) = self.max_pages {
            let used = used_pages(connection).map_err(|e| format!("its pages cannot be counted: {e}"))?;
            if used >= i64::from(max) {
                return Err(format!("{used} pages of {max} are used"));
            }
        }
        match &self.last {
            Some((at, seen)) if at.elapsed() < MAX_AGE => seen.clone(),
            _ => {
                let seen = check_space(&self.folder, self.reserve);
                self.last = Some((Instant::now(), seen.clone()));
                seen
            }
        }
    }
}

/// Why a file system has fewer than this many bytes free.
pub(super) fn check_space(folder: &Path, wanted: u64) -> Result<(), String> {
    let stat = rustix::fs::statvfs(folder);
    let stat = stat.map_err(|e| format!("the free space of {} is not known: {e}", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= wanted {
        return Ok(());
    }
    Err(format!("{} has {free} bytes free, and {wanted} are needed with the reserve", folder.display()))
}

fn used_pages(connection: &Connection) -> rusqlite::Result<i64> {
    let read = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    Ok(read("page_count")? - read("freelist_count")?)
}
