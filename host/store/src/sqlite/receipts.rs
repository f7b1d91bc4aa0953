//! The tables of receipts: their writes, as part of a group, and their reads.

use rusqlite::{Connection, Statement, params};

use crate::sqlite::group::signed;
use crate::sqlite::op::{EarlyKey, ReceiptsOp, SettleOp};
use crate::sqlite::queries::{all, json, unsigned};
use crate::sqlite::schema::ROW_VERSION;
use crate::sqlite::sql_error;
use crate::{EarlyReceipt, FoundReceipts, ReceiptKey, RememberedReceipt, StoreError, StoredReceipt};

type Answer<T> = Result<T, StoreError>;

/// The writes, prepared once.
pub(super) struct ReceiptStatements<'c> {
    put: Statement<'c>,
    remove: Statement<'c>,
    remember: Statement<'c>,
    forget: Statement<'c>,
    note: Statement<'c>,
    put_early: Statement<'c>,
    remove_early: Statement<'c>,
}

impl<'c> ReceiptStatements<'c> {
    pub(super) fn prepare(c: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            put: c.prepare(
                "INSERT OR REPLACE INTO receipts(connector, id, item, v, receipt) VALUES(?,?,?,?,?)",
            )?,
            remove: c.prepare("DELETE FROM receipts WHERE connector = ? AND id = ? AND item = ?")?,
            remember: c.prepare(
                "INSERT INTO past_receipts(seq, v, connector, id, noted, receipt) VALUES(?,?,?,?,0,?)",
            )?,
            forget: c.prepare("DELETE FROM past_receipts WHERE seq <= ?")?,
            note: c.prepare("UPDATE past_receipts SET noted = 1 WHERE seq = ?")?,
            put_early: c.prepare(
                "INSERT OR IGNORE INTO early_receipts(connector, id, address, v, receipt) VALUES(?,?,?,?,?)",
            )?,
            remove_early: c
                .prepare("DELETE FROM early_receipts WHERE connector = ? AND id = ? AND address = ?")?,
        })
    }

    /// What a settlement waits for from now on, and what no longer.
    pub(super) fn settle(&mut self, settle: &SettleOp) -> rusqlite::Result<()> {
        if settle.receipts.is_empty() && settle.finished_receipts.is_empty() {
            return Ok(());
        }
        let item = settle.item.to_string();
        for (connector, id, receipt) in &settle.receipts {
            self.put.execute(params![connector, id, item, ROW_VERSION, receipt])?;
        }
        for (connector, id) in &settle.finished_receipts {
            self.remove.execute([connector, id, &item])?;
        }
        Ok(())
    }

    /// Keeps a past receipt under this number, and forgets the one that is `memory` numbers older.
    pub(super) fn remember(
        &mut self,
        (connector, id, receipt): &(String, String, String),
        number: u64,
        memory: u64,
    ) -> rusqlite::Result<()> {
        self.remember.execute(params![signed(number), ROW_VERSION, connector, id, receipt])?;
        if number > memory {
            self.forget.execute([signed(number - memory)])?;
        }
        Ok(())
    }

    pub(super) fn change(&mut self, change: &ReceiptsOp) -> rusqlite::Result<()> {
        for (connector, id, item) in &change.finished {
            self.remove.execute([connector, id, &item.to_string()])?;
        }
        for number in &change.noted {
            self.note.execute([signed(*number)])?;
        }
        for EarlyKey { connector, id, address } in &change.no_longer_early {
            self.remove_early.execute([connector, id, address])?;
        }
        for (EarlyKey { connector, id, address }, receipt) in &change.early {
            self.put_early.execute(params![connector, id, address, ROW_VERSION, receipt])?;
        }
        Ok(())
    }
}

/// Receipts of a connector in the order of their keys.
pub(super) fn receipts(
    c: &Connection,
    connector: &str,
    after: Option<&ReceiptKey>,
    limit: usize,
) -> Answer<Vec<StoredReceipt>> {
    // No id and no item has an empty text, so this is before all of them.
    let (id, item) =
        after.map_or((String::new(), String::new()), |key| (key.id.clone(), key.item.to_string()));
    let sql = "SELECT v, receipt FROM receipts WHERE connector = ? AND (id, item) > (?, ?)
        ORDER BY id, item LIMIT ?";
    all(c, sql, params![connector, id, item, signed(limit as u64)], |r| json(r, 0, 1))
}

/// What is known about one id.
pub(super) fn find(c: &Connection, connector: &str, id: &str) -> Answer<FoundReceipts> {
    let most = |n: usize| signed(n as u64);
    let sql = "SELECT v, receipt FROM receipts WHERE connector = ? AND id = ? ORDER BY item LIMIT ?";
    let waiting = all(c, sql, params![connector, id, most(FoundReceipts::MAX_WAITING)], |r| json(r, 0, 1))?;
    let sql = "SELECT v, receipt, seq, noted FROM past_receipts WHERE connector = ? AND id = ?
        ORDER BY seq DESC LIMIT ?";
    let past = all(c, sql, params![connector, id, most(FoundReceipts::MAX_PAST)], |r| {
        Ok(RememberedReceipt {
            number: unsigned(r.get(2).map_err(sql_error)?),
            noted: r.get(3).map_err(sql_error)?,
            receipt: json(r, 0, 1)?,
        })
    })?;
    Ok(FoundReceipts { waiting, past })
}

/// Receipts that came early.
pub(super) fn early(c: &Connection, limit: usize) -> Answer<Vec<EarlyReceipt>> {
    all(c, "SELECT v, receipt FROM early_receipts LIMIT ?", [signed(limit as u64)], |r| json(r, 0, 1))
}
