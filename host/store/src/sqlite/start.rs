//! What is read at start: the index, the numbers that rows get next, and whether the big bodies are there.

use std::collections::HashSet;

use postern_model::{Item, MessageId, NextHop};
use rusqlite::Connection;

use crate::index::Change;
use crate::sqlite::bodies::Bodies;
use crate::sqlite::group::{EVENTS_DROPPED, Numbers};
use crate::sqlite::queries::{all, json, unsigned, wrong_type};
use crate::sqlite::sql_error;
use crate::{QueueIndex, QueueSetting, StoreError};

/// What the writer and the store need to know.
pub(super) struct Found {
    pub(super) numbers: Numbers,
    /// Rows of messages whose body is a file.
    pub(super) files: HashSet<u64>,
    /// One line for each thing that cannot be read. The rest is served.
    pub(super) faults: Vec<String>,
}

/// Reads everything that is kept in memory.
pub(super) fn read(c: &Connection, index: &QueueIndex, bodies: &Bodies) -> Result<Found, StoreError> {
    let mut faults = Vec::new();
    read_queues(c, index)?;
    read_items(c, index, &mut faults)?;
    let files = read_files(c, bodies, &mut faults)?;
    for fault in &faults {
        tracing::error!("the store: {fault}");
    }
    Ok(Found { numbers: read_numbers(c)?, files, faults })
}

fn read_queues(c: &Connection, index: &QueueIndex) -> Result<(), StoreError> {
    let changes = all(c, "SELECT v, setting, connector, destination FROM queues", [], |r| {
        let text = |n| r.get::<_, String>(n).map_err(sql_error);
        let setting: QueueSetting = json(r, 0, 1)?;
        Ok(Change::Queue { next_hop: NextHop::new(&text(2)?, &text(3)?), setting })
    })?;
    index.apply(changes);
    Ok(())
}

fn read_items(c: &Connection, index: &QueueIndex, faults: &mut Vec<String>) -> Result<(), StoreError> {
    let mut statement = c.prepare("SELECT v, item, key, size FROM items ORDER BY key").map_err(sql_error)?;
    let mut rows = statement.query([]).map_err(sql_error)?;
    while let Some(row) = rows.next().map_err(sql_error)? {
        let key = unsigned(row.get(2).map_err(sql_error)?);
        let size = unsigned(row.get(3).map_err(sql_error)?);
        match json::<Item>(row, 0, 1) {
            Ok(item) if u64::from(item.id.ordinal) == key & 0xffff => index.restore(&item, key >> 16, size),
            Ok(item) => faults.push(format!("item {} lies in the row of another (key {key})", item.id)),
            Err(error) => faults.push(format!("the item with key {key} is not served: {error}")),
        }
    }
    Ok(())
}

/// Compares the rows of big bodies with the files. A file without a row is removed at once: we hold the lock of the
/// directory, so nobody is about to write its row.
fn read_files(c: &Connection, bodies: &Bodies, faults: &mut Vec<String>) -> Result<HashSet<u64>, StoreError> {
    let mut rows = HashSet::new();
    let mut named = HashSet::new();
    for (seq, id, size) in file_rows(c)? {
        rows.insert(seq);
        named.insert(id);
        let path = bodies.path(id);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() == size => {}
            Ok(meta) => faults.push(format!("{} has {} bytes, not {size}", path.display(), meta.len())),
            Err(error) => {
                faults.push(format!("the content of message {id} is missing: {}: {error}", path.display()))
            }
        }
    }
    for file in bodies.list()? {
        match file {
            Ok(id) if named.contains(&id) => {}
            Ok(id) => {
                tracing::info!("removing the content of {id}, which was never accepted or is done");
                bodies.remove(id);
            }
            Err(path) => faults.push(format!("{} is none of our files, and is left alone", path.display())),
        }
    }
    Ok(rows)
}

/// Rows of messages whose body is a file: row, id, size.
pub(super) fn file_rows(c: &Connection) -> Result<Vec<(u64, MessageId, u64)>, StoreError> {
    all(c, "SELECT seq, id, size FROM files", [], |r| {
        let number = |n| r.get(n).map(unsigned).map_err(sql_error);
        Ok((number(0)?, message_id(r, 1)?, number(2)?))
    })
}

/// A message id in a column.
pub(super) fn message_id(row: &rusqlite::Row<'_>, column: usize) -> Result<MessageId, StoreError> {
    let bytes = row.get_ref(column).map_err(sql_error)?.as_blob().map_err(wrong_type)?;
    let bytes =
        bytes.try_into().map_err(|_| StoreError::Damaged("a message id is not 16 bytes long".to_owned()))?;
    Ok(MessageId::from_bytes(bytes))
}

fn read_numbers(c: &Connection) -> Result<Numbers, StoreError> {
    let next = |sql: &str| {
        let last: Option<i64> = c.query_row(sql, [], |row| row.get(0)).map_err(sql_error)?;
        Ok::<_, StoreError>(unsigned(last.unwrap_or(0)) + 1)
    };
    let dropped = all(c, "SELECT value FROM meta WHERE name = ?", [EVENTS_DROPPED], |r| {
        r.get::<_, String>(0).map_err(sql_error)
    })?;
    let dropped = dropped.first().map_or(Ok(0), |text| text.parse::<u64>());
    let dropped = dropped.map_err(|e| StoreError::Damaged(format!("the number of dropped events: {e}")))?;
    Ok(Numbers {
        message: next("SELECT max(seq) FROM messages")?,
        event: next("SELECT max(seq) FROM events")?.max(dropped + 1),
        past_receipt: next("SELECT max(seq) FROM past_receipts")?,
        intents: c
            .query_row("SELECT EXISTS(SELECT 1 FROM intents)", [], |row| row.get(0))
            .map_err(sql_error)?,
    })
}
