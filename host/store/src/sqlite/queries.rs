//! The reads of the store, as functions of a connection that is in a transaction.

use std::sync::Arc;

use bytes::Bytes;
use postern_model::{Content, DsnRequest, Fate, Item, ItemId, MessageId, MessageInfo, TrackingEvent};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::sqlite::bodies::Bodies;
use crate::sqlite::group::{key, signed};
use crate::sqlite::op::{ACCEPTED, GENERATED};
use crate::sqlite::schema::ROW_VERSION;
use crate::sqlite::sql_error;
use crate::{Counters, Intent, Loaded, LoadedMessage, StoreError};

type Answer<T> = Result<T, StoreError>;

/// An item with its message.
pub(super) fn load(c: &Connection, bodies: &Bodies, row: u64, id: ItemId) -> Answer<Option<Loaded>> {
    let mut statement = c.prepare_cached("SELECT v, item FROM items WHERE key = ?").map_err(sql_error)?;
    let found = statement.query_row([key(row, id.ordinal)], |r| Ok(json(r, 0, 1))).optional();
    let Some(item) = found.map_err(sql_error)? else { return Ok(None) };
    let item = Arc::new(item?);
    let Some((message, content)) = message(c, bodies, row, id.message)? else { return Ok(None) };
    Ok(Some(Loaded { message, item, content }))
}

/// A message with its items.
pub(super) fn load_message(
    c: &Connection,
    bodies: &Bodies,
    row: u64,
    id: MessageId,
) -> Answer<Option<LoadedMessage>> {
    let sql = "SELECT v, item FROM items WHERE key BETWEEN ? AND ? ORDER BY key";
    let items: Vec<Item> = all(c, sql, [key(row, 0), key(row, u16::MAX)], |r| json(r, 0, 1))?;
    if items.is_empty() {
        return Ok(None);
    }
    let found = message(c, bodies, row, id)?;
    Ok(found.map(|(message, content)| LoadedMessage { message, items, content }))
}

fn message(
    c: &Connection,
    bodies: &Bodies,
    row: u64,
    id: MessageId,
) -> Answer<Option<(Arc<MessageInfo>, Content)>> {
    let sql = "SELECT v, info, size, sha256, body FROM messages WHERE seq = ?";
    let mut statement = c.prepare_cached(sql).map_err(sql_error)?;
    let mut rows = statement.query([signed(row)]).map_err(sql_error)?;
    let Some(r) = rows.next().map_err(sql_error)? else { return Ok(None) };
    let info: MessageInfo = json(r, 0, 1)?;
    let size = unsigned(r.get(2).map_err(sql_error)?);
    let sha256 = r.get_ref(3).map_err(sql_error)?.as_blob().map_err(wrong_type)?;
    let body = r.get_ref(4).map_err(sql_error)?.as_blob_or_null().map_err(wrong_type)?;
    let content = if let Some(body) = body {
        if Sha256::digest(body)[..] != *sha256 {
            return Err(StoreError::Damaged(format!("the content of message {id} has changed on the disk")));
        }
        Content::Memory(Bytes::copy_from_slice(body))
    } else {
        let path = bodies.path(id);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() == size => Content::File { path, size },
            Ok(meta) => {
                let text = format!("{} has {} bytes, not {size}", path.display(), meta.len());
                return Err(StoreError::Damaged(text));
            }
            Err(e) => return Err(StoreError::Damaged(format!("{}: {e}", path.display()))),
        }
    };
    Ok(Some((Arc::new(info), content)))
}

/// DSN requests, oldest first.
pub(super) fn outbox(c: &Connection, limit: usize) -> Answer<Vec<DsnRequest>> {
    all(c, "SELECT v, request FROM outbox ORDER BY seq LIMIT ?", [signed(limit as u64)], |r| json(r, 0, 1))
}

/// Intents, those of older messages first.
pub(super) fn intents(c: &Connection) -> Answer<Vec<Intent>> {
    all(c, "SELECT v, intent FROM intents ORDER BY key", [], |r| json(r, 0, 1))
}

/// Events after a number.
pub(super) fn events(c: &Connection, after: u64, limit: usize) -> Answer<Vec<(u64, TrackingEvent)>> {
    let sql = "SELECT v, event, seq FROM events WHERE seq > ? ORDER BY seq LIMIT ?";
    let numbered = |r: &Row<'_>| Ok((unsigned(r.get(2).map_err(sql_error)?), json(r, 0, 1)?));
    all(c, sql, [signed(after), signed(limit as u64)], numbered)
}

/// The counters.
pub(super) fn counters(c: &Connection) -> Answer<Counters> {
    let rows = all(c, "SELECT name, value FROM counters", [], |r| {
        Ok((r.get::<_, String>(0).map_err(sql_error)?, unsigned(r.get(1).map_err(sql_error)?)))
    })?;
    let mut counters = Counters::default();
    for (name, value) in rows {
        match name.as_str() {
            ACCEPTED => counters.accepted = value,
            GENERATED => counters.generated = value,
            word => {
                let fate = Fate::ALL.into_iter().find(|fate| fate.word() == word);
                let fate = fate.ok_or_else(|| StoreError::Damaged(format!("a counter of {word:?}")))?;
                counters.fates.insert(fate, value);
            }
        }
    }
    Ok(counters)
}

/// All rows of a query.
pub(super) fn all<T>(
    c: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Answer<T>,
) -> Answer<Vec<T>> {
    let mut statement = c.prepare_cached(sql).map_err(sql_error)?;
    let mut rows = statement.query(parameters).map_err(sql_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(sql_error)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The JSON in a column, whose version stands in another.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, version: usize, column: usize) -> Answer<T> {
    let found: i64 = row.get(version).map_err(sql_error)?;
    if found != ROW_VERSION {
        return Err(StoreError::Damaged(format!(
            "a row of version {found}, which this postern does not know"
        )));
    }
    let text = row.get_ref(column).map_err(sql_error)?.as_bytes().map_err(wrong_type)?;
    serde_json::from_slice(text)
        .map_err(|e| StoreError::Damaged(format!("a row is not what it should be: {e}")))
}

/// A number as we keep it.
pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A column of a wrong type.
#[allow(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
pub(super) fn wrong_type(error: rusqlite::types::FromSqlError) -> StoreError {
    StoreError::Damaged(format!("a column is not what it should be: {error}"))
}
