//! Drop directories: what lies in them, how far their files are, and what their gateways do.

use std::time::Duration;

use postern_drop::DropSettings;
use postern_drop::status::{Lying, lying};
use serde_json::{Value, json};

use super::{OperateError, Operations};
use crate::config::ForeignConfig;
use crate::connector::ConnectorState;
use crate::connector::foreign::{self, RESULT_SUFFIX};

/// Receipts read at once.
const BATCH: usize = 1_000;
/// How long a look at a directory may take: a network file system may hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// The drop directory of one foreign connector, or those of all.
pub async fn status(operations: &Operations, connector: Option<&str>) -> Result<Value, OperateError> {
    let topology = operations.settler.topology();
    let wanted = |f: &&ForeignConfig| connector.is_none_or(|name| &*f.common.name == name);
    let all: Vec<&ForeignConfig> = topology.config.foreign_connectors.iter().filter(wanted).collect();
    if let (Some(name), true) = (connector, all.is_empty()) {
        return Err(OperateError::NotFound(format!("there is no foreign connector {name} in the config")));
    }
    let mut rows = Vec::new();
    for config in all {
        rows.push(row(operations, config).await?);
    }
    Ok(Value::Array(rows))
}

async fn row(operations: &Operations, config: &ForeignConfig) -> Result<Value, OperateError> {
    let name = &*config.common.name;
    let running = operations.connectors.get(name);
    let (state, reason) = match (config.common.enabled, running.as_ref().map(|c| c.state())) {
        (false, _) => ("off", None),
        (true, Some(ConnectorState::Ready)) => ("ready", None),
        (true, Some(ConnectorState::Disabled(reason))) => ("disabled", Some(reason)),
        (true, None) => ("stopped", None),
    };
    let activity = running.and_then(|connector| connector.drop_activity());
    let (published, taken) = waiting(operations, name).await?;
    let (lying, fault) = match look(foreign::settings(config)).await {
        Ok(lying) => (Some(lying), None),
        Err(fault) => (None, Some(fault)),
    };
    let claimed = lying.as_ref().map(|l| l.claimed + l.away);
    Ok(json!({
        "connector": name,
        "directory": config.drop_directory,
        "state": state,
        "reason": reason.or(fault),
        "files": lying.as_ref().map(|l| l.files),
        "bytes": lying.as_ref().map(|l| l.bytes),
        "oldest": lying.as_ref().and_then(|l| l.oldest),
        "results": lying.as_ref().map(|l| l.results),
        "hidden": lying.as_ref().map(|l| l.hidden),
        "states": {
            "published": published,
            "seen": activity.as_ref().map(|a| a.seen),
            "claimed": claimed,
            "taken": taken,
            "stale": activity.as_ref().map(|a| a.stale),
        },
        "quota": { "bytes": config.quota.bytes, "files": config.quota.files },
        "last_pickup": activity.as_ref().and_then(|a| a.last_pickup),
        "taken_per_minute": activity.as_ref().map(|a| a.taken_per_minute),
        "since": activity.as_ref().map(|a| a.since),
        "counts": activity.as_ref().map(|a| &a.counts),
    }))
}

/// By the queue's record: how many files are published and not taken, and how many were taken and have no result yet.
async fn waiting(operations: &Operations, connector: &str) -> Result<(u64, u64), OperateError> {
    let (mut published, mut results, mut after) = (0_u64, 0_u64, None);
    loop {
        let batch = operations.store().receipts(connector.to_owned(), after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.key());
        let whole = batch.len() < BATCH;
        for receipt in batch {
            match receipt.id.ends_with(RESULT_SUFFIX) {
                true => results += 1,
                false => published += 1,
            }
        }
        if whole {
            break;
        }
    }
    // With `success_on = "result"` each file has two receipts until it is taken.
    Ok((published, results.saturating_sub(published)))
}

/// A look at the directory; what hindered it, in words.
async fn look(settings: DropSettings) -> Result<Lying, String> {
    let looked = tokio::task::spawn_blocking(move || lying(&settings));
    match tokio::time::timeout(PATIENCE, looked).await {
        Ok(Ok(looked)) => looked.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the directory does not answer".to_owned()),
    }
}
