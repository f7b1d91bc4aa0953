//! Removing messages. What was handed over as a drop file is taken back first, so that nothing is called removed that a
//! gateway may still send.

use postern_model::{ItemId, MessageId};
use serde::Serialize;
use serde_json::Value;

use super::show::{not_queued, open_recipients};
use super::{OperateError, Operations, json};
use crate::connector::{Whereabouts, Withdrawal};
use crate::settle;

/// What became of a request to remove a message.
#[derive(Debug, Default, Serialize)]
struct Removal {
    message_id: String,
    /// Items that are gone.
    items: Vec<String>,
    /// How many of their recipients were not done.
    recipients: usize,
    /// Items that are being delivered at this moment; left as they are.
    busy: Vec<String>,
    /// Items that the gateway had taken already: their recipients were settled as relayed.
    taken: Vec<String>,
    /// Items of which nobody can tell whether the gateway took them: their recipients were settled as unknown.
    unknown: Vec<String>,
    /// Items that could not be removed; left as they are.
    refused: Vec<Refused>,
    done: bool,
}

/// An item that could not be removed.
#[derive(Debug, Serialize)]
struct Refused {
    item: String,
    reason: String,
}

/// Removes every item of a message, with a failure DSN to its sender or without.
pub async fn message(
    operations: &Operations,
    id: MessageId,
    notify: bool,
    dry_run: bool,
) -> Result<Value, OperateError> {
    let items = operations.store().index().locate(id);
    if items.is_empty() {
        return Err(not_queued(id));
    }
    let mut removal = Removal { message_id: id.to_string(), done: !dry_run, ..Removal::default() };
    for item in items {
        remove(operations, item, notify, &mut removal).await?;
    }
    let Removal { items, busy, taken, unknown, refused, .. } = &removal;
    if !(items.is_empty() && taken.is_empty() && unknown.is_empty()) {
        return Ok(json(&removal));
    }
    // Nothing was done.
    if let Some(Refused { item, reason }) = refused.first() {
        return Err(OperateError::Failed(format!("item {item} was not removed: {reason}")));
    }
    if busy.is_empty() {
        return Err(not_queued(id));
    }
    Err(OperateError::Busy(format!("message {id} is being delivered at this moment; try again")))
}

async fn remove(
    operations: &Operations,
    item: ItemId,
    notify: bool,
    removal: &mut Removal,
) -> Result<(), OperateError> {
    let (store, settler) = (operations.store(), &operations.settler);
    let Some(mut lease) = store.index().lease_item(item) else {
        removal.busy.push(item.to_string());
        return Ok(());
    };
    let Some(loaded) = lease.load(&**store).await? else { return Ok(()) };
    let open = open_recipients(&loaded);
    if !removal.done {
        removal.items.push(item.to_string());
        removal.recipients += open;
        return Ok(());
    }
    let Withdrawal { whereabouts, held } = settler.withdraw(&loaded.item).await;
    let topology = settler.topology();
    let policy = topology.policy_for(&loaded.item.next_hop);
    let quoted = settler.quoted(&loaded).await;
    let context = quoted.context(&loaded.message, &policy);
    let settlement = match settle::remove(context, &loaded.item, notify, &whereabouts) {
        Ok(settlement) => settlement,
        Err(reason) => {
            removal.refused.push(Refused { item: item.to_string(), reason });
            return Ok(());
        }
    };
    settler.hand_in(lease, &loaded.item, settlement).holding(held).await?;
    match whereabouts {
        Whereabouts::Taken(_) => removal.taken.push(item.to_string()),
        Whereabouts::Vanished { .. } => removal.unknown.push(item.to_string()),
        _ => {
            removal.items.push(item.to_string());
            removal.recipients += open;
        }
    }
    Ok(())
}
