//! The check of all bodies: each can be read, has its hash and belongs to a message that waits.

use std::collections::HashSet;
use std::path::Path;

use postern_model::MessageId;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::sqlite::bodies::{Bodies, hash_file};
use crate::sqlite::queries::{all, unsigned, wrong_type};
use crate::sqlite::start::{file_rows, message_id};
use crate::sqlite::{schema, sql_error};

/// Messages that are looked at in one transaction: a long one would keep the log from being begun anew.
const BATCH: i64 = 64;

struct Checked {
    seq: i64,
    id: MessageId,
    size: u64,
    sha256: [u8; 32],
    /// Whether the hash of a body in the row is right; `None` when it is in a file.
    inline: Option<bool>,
    has_items: bool,
}

/// Reads every body, over a connection of its own; one line for each fault.
pub(super) fn check_bodies(database: &Path, bodies: &Bodies) -> Result<Vec<String>, StoreError> {
    let c = schema::open_reader(database)?;
    let mut faults = Vec::new();
    let mut last = 0;
    loop {
        let batch = batch(&c, last)?;
        let Some(end) = batch.last() else { break };
        last = end.seq;
        for message in &batch {
            check(&c, bodies, message, &mut faults)?;
        }
    }
    let listed = bodies.list()?;
    let named: HashSet<MessageId> = file_rows(&c)?.into_iter().map(|(_, id, _)| id).collect();
    for file in listed {
        match file {
            // One that was listed and has gone since then is not a fault.
            Ok(id) if named.contains(&id) || bodies.is_in_transit(id) || !bodies.path(id).exists() => {}
            Ok(id) => faults.push(format!("the file {} belongs to no message", bodies.path(id).display())),
            Err(path) => faults.push(format!("the file {} is none of ours", path.display())),
        }
    }
    Ok(faults)
}

fn batch(c: &Connection, after: i64) -> Result<Vec<Checked>, StoreError> {
    let sql = "SELECT seq, id, size, sha256, body,
            EXISTS(SELECT 1 FROM items WHERE key BETWEEN seq * 65536 AND seq * 65536 + 65535)
        FROM messages WHERE seq > ? ORDER BY seq LIMIT ?";
    all(c, sql, [after, BATCH], |r| {
        let sha256 = r.get_ref(3).map_err(sql_error)?.as_blob().map_err(wrong_type)?;
        let body = r.get_ref(4).map_err(sql_error)?.as_blob_or_null().map_err(wrong_type)?;
        let size = unsigned(r.get(2).map_err(sql_error)?);
        Ok(Checked {
            seq: r.get(0).map_err(sql_error)?,
            id: message_id(r, 1)?,
            size,
            inline: body.map(|body| body.len() as u64 == size && Sha256::digest(body)[..] == *sha256),
            sha256: sha256.try_into().unwrap_or([0; 32]),
            has_items: r.get(5).map_err(sql_error)?,
        })
    })
}

fn check(
    c: &Connection,
    bodies: &Bodies,
    message: &Checked,
    faults: &mut Vec<String>,
) -> Result<(), StoreError> {
    let id = message.id;
    if !message.has_items {
        faults.push(format!("message {id} has no items"));
    }
    match message.inline {
        Some(true) => {}
        Some(false) => faults.push(format!("the content of message {id} has changed on the disk")),
        None => {
            let path = bodies.path(id);
            let fault = match hash_file(&path, message.size) {
                Ok(hash) if hash == message.sha256 => return Ok(()),
                Ok(_) => format!("the content of message {id} has changed on the disk"),
                Err(error) => format!("the content of message {id} cannot be read: {error}"),
            };
            // It may have been delivered and removed while we read.
            let sql = "SELECT EXISTS(SELECT 1 FROM messages WHERE seq = ?)";
            if c.query_row(sql, [message.seq], |r| r.get(0)).map_err(sql_error)? {
                faults.push(fault);
            }
        }
    }
    Ok(())
}
