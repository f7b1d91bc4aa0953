//! Agents: the delivery agents with their versions, and which of these delivers.

use serde_json::{Value, json};

use super::{AgentAction, OperateError, Operations};
use crate::agents::Event;
use crate::config::DeliveryAgentConfig;

/// Every delivery-agent connector of the config, one object each.
pub fn list(operations: &Operations) -> Value {
    let topology = operations.settler.topology();
    topology.config.delivery_agent_connectors.iter().map(|agent| row(operations, agent)).collect()
}

fn row(operations: &Operations, agent: &DeliveryAgentConfig) -> Value {
    let name = &agent.common.name;
    let running = operations.connectors.get(name);
    let view = running.as_ref().and_then(|running| running.as_agent()).map(|agent| agent.versions());
    let mut row = match view {
        Some(Ok(view)) => super::json(&view),
        Some(Err(reason)) => json!({ "state": "disabled", "reason": reason }),
        None if !agent.common.enabled => json!({ "state": "off", "reason": null }),
        None if operations.is_running() => json!({ "state": "stopped", "reason": null }),
        None => json!({ "state": "stopped", "reason": "the host does not run" }),
    };
    row["connector"] = json!(&**name);
    row["component"] = json!(agent.agent);
    if row["versions"].is_null() {
        row["versions"] = json!([]);
    }
    row
}

/// Promotes or rolls back a version; says what came of it.
pub async fn set(
    operations: &Operations,
    connector: &str,
    action: AgentAction,
) -> Result<Value, OperateError> {
    if !operations.is_running() {
        return Err(OperateError::Failed("no host is running: start it first".to_owned()));
    }
    let found = operations.connectors.get(connector);
    let agent = found.as_ref().and_then(|found| found.as_agent()).ok_or_else(|| {
        OperateError::NotFound(format!("no delivery agent {connector:?}: see postern agent list"))
    })?;
    let event = match action {
        AgentAction::Promote => Event::Promote,
        AgentAction::Rollback => Event::RollBack,
    };
    let change = agent.order(event).await.map_err(OperateError::NotFound)?;
    let versions = agent.versions().map(|view| super::json(&view)).unwrap_or_default();
    Ok(json!({ "connector": connector, "change": change.word(), "state": versions["state"],
        "versions": versions["versions"] }))
}
