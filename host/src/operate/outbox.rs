//! The outbox among the queues: DSNs that wait because nothing takes them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{OperateError, Operations};
use crate::outbox::{WaitingDsn, WaitingDsns};

/// What stands for a connector in its name; no connector can be called so.
const CONNECTOR: &str = "(outbox)";
/// What stands for a destination.
const DESTINATION: &str = "DSN";

/// Whether a queue that was asked for is the outbox.
pub fn is_meant(queue: &str) -> bool {
    let destination = queue.strip_prefix(CONNECTOR);
    destination.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('/') == Some(DESTINATION))
}

/// Why it cannot be suspended, resumed or retried.
pub fn refusal() -> OperateError {
    OperateError::Failed(
        "the outbox cannot be suspended, resumed or retried: it is tried every minute, and after a reload"
            .into(),
    )
}

/// Its row in the list of queues; `None` when nothing waits.
pub async fn list(operations: &Operations) -> Result<Option<Value>, OperateError> {
    let waiting = waiting(operations).await?;
    Ok(waiting.dsns.first().map(|oldest| row(&waiting, oldest)))
}

/// Its row with at most so many DSNs, in the form of the other queues.
pub async fn show(operations: &Operations, limit: usize) -> Result<Value, OperateError> {
    let waiting = waiting(operations).await?;
    let Some(oldest) = waiting.dsns.first() else { return Ok(json!([])) };
    let mut row = row(&waiting, oldest);
    row["items"] = waiting.dsns.iter().take(limit).map(|dsn| item(&waiting, dsn)).collect();
    Ok(json!([row]))
}

async fn waiting(operations: &Operations) -> Result<Arc<WaitingDsns>, OperateError> {
    if let Some(running) = &operations.running {
        return Ok(running.waiting_dsns.get());
    }
    let topology = operations.settler.topology();
    Ok(Arc::new(WaitingDsns::read(operations.store(), &topology).await?))
}

fn row(waiting: &WaitingDsns, oldest: &WaitingDsn) -> Value {
    json!({
        "connector": CONNECTOR,
        "destination": DESTINATION,
        "state": "waiting",
        "count": waiting.dsns.len(),
        "due": 0,
        "active": 0,
        "waiting": waiting.dsns.len(),
        "pending": 0,
        "suspended": 0,
        "poison": 0,
        "bytes": 0,
        "next_retry": waiting.next_try,
        "oldest": oldest.at,
        "last_error": oldest.reason,
    })
}

/// A DSN as an item: it has no id of its own yet, so it is called by what it is about.
fn item(waiting: &WaitingDsns, dsn: &WaitingDsn) -> Value {
    json!({
        "item": dsn.item.to_string(),
        "message_id": dsn.item.message.to_string(),
        "kind": dsn.kind.action(),
        "sender": "",
        "recipient": dsn.to,
        "recipients": 1,
        "state": "waiting",
        "enqueued": dsn.at,
        "next_retry": waiting.next_try,
        "last_error": dsn.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn the_outbox_is_meant_by_its_name_alone() {
        for name in ["(outbox)", "(outbox)/DSN"] {
            assert!(is_meant(name), "{name}");
        }
        for name in ["outbox", "outbox/DSN", "(outbox)/", "(outbox)x"] {
            assert!(!is_meant(name), "{name}");
        }
    }
}
