//! The tables of agents' state: changes, as part of a group, and reads.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::sqlite::group::signed;
use crate::sqlite::queries::{all, unsigned};
use crate::sqlite::sql_error;
use crate::{AgentStateChange, AgentStateWrite, StoreError};

type Answer<T> = Result<T, StoreError>;

/// The writes, prepared once.
pub(super) struct AgentStateStatements<'c> {
    get: Statement<'c>,
    size: Statement<'c>,
    set: Statement<'c>,
    delete: Statement<'c>,
    usage: Statement<'c>,
    set_usage: Statement<'c>,
}

/// A change that may be made: the bytes of its connector afterwards.
pub(super) struct Admitted(u64);

impl<'c> AgentStateStatements<'c> {
    pub(super) fn prepare(c: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            get: c.prepare("SELECT value FROM agent_state WHERE connector = ? AND key = ?")?,
            size: c.prepare("SELECT length(value) FROM agent_state WHERE connector = ? AND key = ?")?,
            set: c.prepare(
                "INSERT INTO agent_state(connector, key, updated, value) VALUES(?,?,?,?)
                 ON CONFLICT(connector, key) DO UPDATE SET updated = excluded.updated, value = excluded.value",
            )?,
            delete: c.prepare("DELETE FROM agent_state WHERE connector = ? AND key = ?")?,
            usage: c.prepare("SELECT bytes FROM agent_state_usage WHERE connector = ?")?,
            set_usage: c.prepare("INSERT OR REPLACE INTO agent_state_usage(connector, bytes) VALUES(?,?)")?,
        })
    }

    /// Looks whether a change may be made, without making it.
    pub(super) fn admit(&mut self, change: &AgentStateChange) -> rusqlite::Result<Answer<Admitted>> {
        let connector = &change.connector;
        for check in &change.checks {
            let found: Option<Vec<u8>> =
                self.get.query_row([connector, &check.key], |r| r.get(0)).optional()?;
            if found != check.expected {
                let (connector, key) = (connector.clone(), check.key.clone());
                return Ok(Err(StoreError::StateConflict { connector, key }));
            }
        }
        let before = self.usage.query_row([connector], |r| r.get(0)).optional()?.map_or(0, unsigned);
        let after = self.after(change, before)?;
        if after > change.quota && after > before {
            let (connector, quota) = (connector.clone(), change.quota);
            return Ok(Err(StoreError::StateFull { connector, bytes: after, quota }));
        }
        Ok(Ok(Admitted(after)))
    }

    /// The bytes of the connector after a change. Only the last write of a key leaves something.
    fn after(&mut self, change: &AgentStateChange, before: u64) -> rusqlite::Result<u64> {
        let last = change.writes.iter().map(|write| match write {
            AgentStateWrite::Set { key, value } => (key, Some(value.len() as u64)),
            AgentStateWrite::Delete { key } => (key, None),
        });
        let mut after = before;
        for (key, new) in last.collect::<BTreeMap<_, _>>() {
            let old: Option<i64> = self.size.query_row([&change.connector, key], |r| r.get(0)).optional()?;
            let bytes = |value: u64| key.len() as u64 + value;
            after = after.saturating_sub(old.map_or(0, |size| bytes(unsigned(size))));
            after = after.saturating_add(new.map_or(0, bytes));
        }
        Ok(after)
    }

    /// Makes a change that was admitted.
    pub(super) fn make(&mut self, change: &AgentStateChange, admitted: &Admitted) -> rusqlite::Result<()> {
        let connector = &change.connector;
        for write in &change.writes {
            match write {
                AgentStateWrite::Set { key, value } => {
                    self.set.execute(params![connector, key, change.at.as_microsecond(), value])?;
                }
                AgentStateWrite::Delete { key } => {
                    self.delete.execute([connector, key])?;
                }
            }
        }
        self.set_usage.execute(params![connector, signed(admitted.0)])?;
        Ok(())
    }
}

/// A value.
pub(super) fn get(c: &Connection, connector: &str, key: &str) -> Answer<Option<Vec<u8>>> {
    let sql = "SELECT value FROM agent_state WHERE connector = ? AND key = ?";
    let mut statement = c.prepare_cached(sql).map_err(sql_error)?;
    statement.query_row([connector, key], |r| r.get(0)).optional().map_err(sql_error)
}

/// The keys of a connector that begin so, in their order.
pub(super) fn keys(c: &Connection, connector: &str, prefix: &str, limit: usize) -> Answer<Vec<String>> {
    // Texts are compared byte by byte, so those with the prefix lie together, from the prefix on.
    let sql = "SELECT key FROM agent_state WHERE connector = ? AND key >= ? ORDER BY key LIMIT ?";
    let limit = signed(limit as u64);
    let found = all(c, sql, params![connector, prefix, limit], |r| r.get::<_, String>(0).map_err(sql_error))?;
    Ok(found.into_iter().take_while(|key| key.starts_with(prefix)).collect())
}

/// The bytes of keys and values of a connector.
pub(super) fn usage(c: &Connection, connector: &str) -> Answer<u64> {
    let sql = "SELECT bytes FROM agent_state_usage WHERE connector = ?";
    let mut statement = c.prepare_cached(sql).map_err(sql_error)?;
    let bytes = statement.query_row([connector], |r| r.get::<_, i64>(0)).optional().map_err(sql_error)?;
    Ok(bytes.map_or(0, unsigned))
}
