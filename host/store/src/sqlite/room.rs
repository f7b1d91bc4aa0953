//! Room: whether there is space for another message, so that settlements always find some.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::sqlite::SqliteOptions;

/// How old the last look at the file system may be.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Bytes that are written to find out whether a disk that was full takes some again.
const PROBE: usize = 1 << 20;
/// Where they are written: a folder that is emptied at start.
const PROBE_FILE: &str = "incoming/room.probe";

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

    /// As [`Self::look`], after a write found no room: then only a write can show that there is some again, since a quota
    /// or somebody else's limit does not show in the free space.
    pub(super) fn look_again(&mut self, connection: &Connection) -> Result<(), String> {
        self.look(connection)?;
        probe(&self.folder.join(PROBE_FILE)).map_err(|e| format!("{PROBE} bytes cannot be written: {e}"))
    }
}

/// Writes a file, and takes it away again whatever comes of it.
fn probe(path: &Path) -> io::Result<()> {
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = written.and_then(|mut file| {
        file.write_all(&vec![0; PROBE])?;
        file.sync_all()
    });
    let removed = fs::remove_file(path);
    written.and(removed)
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
