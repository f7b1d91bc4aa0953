//! The database: its tables, its settings, its format version.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::StoreError;
use crate::sqlite::{SqliteOptions, io_error, migration, sql_error};

/// The format that this version writes, in `user_version`. A database of a newer one is refused; an older one is
/// brought up to date when it is opened.
pub(super) const FORMAT: u32 = 2;

/// The version of the JSON in each row, in its column `v`: a row can be read by whoever knows its version. One takes
/// no space in SQLite.
pub(super) const ROW_VERSION: i64 = 1;

/// "Post" as a big-endian number: what `file` and others recognise the database by.
const APPLICATION_ID: i32 = 0x506f_7374;

/// No table that every message touches has a secondary index: the index in memory finds rows. Those of the outbox, of
/// past receipts and of inbound mail are reached by failures and by what comes back from the far side.
///
/// `items.key` and `intents.key` are `seq * 65536 + ordinal`. A message whose `body` is null has a row in `files` and a
/// file in `big/`.
const TABLES: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE messages(seq INTEGER PRIMARY KEY, v INTEGER NOT NULL, id BLOB NOT NULL, info TEXT NOT NULL,
    size INTEGER NOT NULL, sha256 BLOB NOT NULL, body BLOB);
CREATE TABLE items(key INTEGER PRIMARY KEY, v INTEGER NOT NULL, size INTEGER NOT NULL, item TEXT NOT NULL);
CREATE TABLE files(seq INTEGER PRIMARY KEY, id BLOB NOT NULL, size INTEGER NOT NULL);
CREATE TABLE queues(connector TEXT NOT NULL, destination TEXT NOT NULL, v INTEGER NOT NULL, setting TEXT NOT NULL,
    PRIMARY KEY(connector, destination)) WITHOUT ROWID;
CREATE TABLE outbox(seq INTEGER PRIMARY KEY, v INTEGER NOT NULL, key TEXT NOT NULL UNIQUE, request TEXT NOT NULL);
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events(seq INTEGER PRIMARY KEY, v INTEGER NOT NULL, event TEXT NOT NULL);
";

/// What came with format 2: receipts by connector, id and item (far ends use ids again), what is remembered of them;
/// the state of agents with its size, the intents of attempts under way, and the ids of inbound mail.
///
/// `updated` and `at` are microseconds since 1970.
pub(super) const TABLES_OF_2: &str = "
CREATE TABLE receipts(connector TEXT NOT NULL, id TEXT NOT NULL, item TEXT NOT NULL, v INTEGER NOT NULL,
    receipt TEXT NOT NULL, PRIMARY KEY(connector, id, item)) WITHOUT ROWID;
CREATE TABLE past_receipts(seq INTEGER PRIMARY KEY, v INTEGER NOT NULL, connector TEXT NOT NULL, id TEXT NOT NULL,
    noted INTEGER NOT NULL, receipt TEXT NOT NULL);
CREATE INDEX past_receipts_by_id ON past_receipts(connector, id);
CREATE TABLE early_receipts(connector TEXT NOT NULL, id TEXT NOT NULL, address TEXT NOT NULL, v INTEGER NOT NULL,
    receipt TEXT NOT NULL, PRIMARY KEY(connector, id, address)) WITHOUT ROWID;
CREATE TABLE agent_state(connector TEXT NOT NULL, key TEXT NOT NULL, updated INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY(connector, key));
CREATE TABLE agent_state_usage(connector TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE intents(key INTEGER PRIMARY KEY, v INTEGER NOT NULL, intent TEXT NOT NULL);
CREATE TABLE inbound_ids(connector TEXT NOT NULL, remote_id TEXT NOT NULL, message BLOB NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY(connector, remote_id)) WITHOUT ROWID;
CREATE INDEX inbound_ids_by_time ON inbound_ids(at);
";

/// Opens the one connection that writes, and makes the database when it is new.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    // SQLite would make it for everybody to read; the log beside it gets the mode of the database.
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|e| io_error("open", path, &e))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql_error)?;
    connection.set_prepared_statement_cache_capacity(0);
    let found = check_format(&connection)?;
    if found.is_none() {
        // Both must be said before the first table is made.
        pragma(&connection, &format!("page_size = {}", SqliteOptions::PAGE_SIZE))?;
        pragma(&connection, "auto_vacuum = INCREMENTAL")?;
    }
    pragma(&connection, "journal_mode = WAL")?;
    pragma(&connection, "synchronous = FULL")?;
    pragma(&connection, &format!("cache_size = -{}", options.cache_bytes / 1024))?;
    // The writer checkpoints by itself, when nothing waits.
    pragma(&connection, "wal_autocheckpoint = 0")?;
    pragma(&connection, "temp_store = MEMORY")?;
    match found {
        None => make(&connection).map_err(sql_error)?,
        Some(format) => migration::bring_up(&connection, format)?,
    }
    expect(&connection, "journal_mode", "wal")?;
    expect(&connection, "synchronous", "2")?;
    expect(&connection, "auto_vacuum", "2")?;
    if let Some(pages) = options.max_pages {
        pragma(&connection, &format!("max_page_count = {}", pages.saturating_add(options.settle_pages)))?;
    }
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql_error)?;
    pragma(&connection, "cache_size = -2048")?;
    Ok(connection)
}

/// The format of the database, `None` when it is empty; an error when it is not one of ours, or newer than we are.
fn check_format(connection: &Connection) -> Result<Option<u32>, StoreError> {
    let read = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let found = read("user_version").map_err(sql_error)?;
    let tables = "SELECT count(*) FROM sqlite_master";
    let tables: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(sql_error)?;
    if found == 0 && tables == 0 {
        return Ok(None);
    }
    if read("application_id").map_err(sql_error)? != i64::from(APPLICATION_ID) {
        return Err(StoreError::Damaged("queue.db is a database, but not one of postern".to_owned()));
    }
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found > FORMAT {
        return Err(StoreError::Version { found, known: FORMAT });
    }
    Ok(Some(found))
}

fn make(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} {TABLES_OF_2} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};
         INSERT INTO meta VALUES('created_by', 'postern {}'); COMMIT;",
        env!("CARGO_PKG_VERSION")
    ))
}

/// Sets something; what it answers is checked by [`expect`] where it matters.
fn pragma(connection: &Connection, text: &str) -> Result<(), StoreError> {
    connection.execute_batch(&format!("PRAGMA {text};")).map_err(sql_error)
}

/// Durability rests on these settings: refuse to run without them.
fn expect(connection: &Connection, name: &str, wanted: &str) -> Result<(), StoreError> {
    use rusqlite::types::Value;
    let found = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, Value>(0));
    let found = match found.map_err(sql_error)? {
        Value::Integer(n) => n.to_string(),
        Value::Text(text) => text,
        other => format!("{other:?}"),
    };
    if found == wanted {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "SQLite keeps {name} at {found} where {wanted} is needed to lose nothing"
    )))
}
