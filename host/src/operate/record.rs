//! Recording: the next attempt of a message is kept in a file, so that it can be played again.

use postern_model::{ItemId, MessageId};
use serde_json::{Value, json};

use super::show::not_queued;
use super::{OperateError, Operations};
use crate::config::ConnectorKind;

/// Has the next attempt of each item of a message recorded that goes to an agent.
pub async fn message(operations: &Operations, id: MessageId, dry_run: bool) -> Result<Value, OperateError> {
    let items = operations.store().index().locate(id);
    if items.is_empty() {
        return Err(not_queued(id));
    }
    let recordings = operations.settler.recordings().clone();
    if !recordings.are_made() {
        return Err(OperateError::Failed("no recordings are made: host.recordings is 0".to_owned()));
    }
    let (wanted, left): (Vec<ItemId>, Vec<ItemId>) =
        items.into_iter().partition(|item| goes_to_an_agent(operations, *item));
    if wanted.is_empty() {
        let why = format!("message {id} goes to no delivery agent: there is nothing to record");
        return Err(OperateError::Failed(why));
    }
    if !dry_run {
        let items = wanted.clone();
        // It is on the disk when this is answered.
        let written =
            tokio::task::spawn_blocking(move || items.into_iter().try_for_each(|item| recordings.want(item)));
        let written = written.await.map_err(|error| OperateError::Failed(error.to_string()))?;
        written.map_err(|error| OperateError::Failed(format!("it could not be written down: {error}")))?;
    }
    let names = |items: Vec<ItemId>| items.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(json!({
        "message_id": id.to_string(), "items": names(wanted), "left": names(left), "done": !dry_run,
    }))
}

fn goes_to_an_agent(operations: &Operations, item: ItemId) -> bool {
    let Some(view) = operations.store().index().item_view(item) else { return false };
    let topology = operations.settler.topology();
    let mut ways_out = topology.config.outgoing();
    ways_out.any(|way| way.name == view.next_hop.connector && way.kind == ConnectorKind::DeliveryAgent)
}
