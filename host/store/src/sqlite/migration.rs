//! Migration: brings a database of an older format up to date when it is opened, whole or not at all.

use rusqlite::Connection;

use crate::StoreError;
use crate::sqlite::schema::{FORMAT, TABLES_OF_2};
use crate::sqlite::sql_error;

/// Brings a database of this format to [`FORMAT`]; nothing when it is there. Its kept samples are tested in
/// `tests/sample_database.rs`.
///
/// # Errors
/// When the database does not take it; then everything in it is as it was.
pub(super) fn bring_up(connection: &Connection, format: u32) -> Result<(), StoreError> {
    if format == FORMAT {
        return Ok(());
    }
    let steps: String = (format..FORMAT).map(step).collect();
    // One transaction: a crash in the middle leaves the old format.
    let sql = format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version = {FORMAT}; COMMIT;");
    if let Err(error) = connection.execute_batch(&sql) {
        // Some errors end the transaction by themselves.
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK").map_err(sql_error)?;
        }
        tracing::error!(format, %error, "the store was not brought from format {format} to {FORMAT}; it is as it was");
        return Err(sql_error(error));
    }
    tracing::info!("the store was brought from format {format} to {FORMAT}");
    Ok(())
}

/// From this format to the next.
fn step(from: u32) -> String {
    match from {
        1 => format!("ALTER TABLE receipts RENAME TO receipts_of_1; {TABLES_OF_2} {RECEIPTS_OF_1}"),
        _ => String::new(),
    }
}

/// Format 1 had one receipt for each connector and id; which item it was for stands in its JSON. One that cannot be
/// read goes along as it is, and is found when it is asked for.
const RECEIPTS_OF_1: &str = "
INSERT INTO receipts(connector, id, item, v, receipt)
    SELECT connector, id, iif(json_valid(receipt), coalesce(json_extract(receipt, '$.item'), ''), ''), v, receipt
    FROM receipts_of_1;
DROP TABLE receipts_of_1;
";
