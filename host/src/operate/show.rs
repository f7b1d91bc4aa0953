//! Messages: show, suspend, resume, retry.

use postern_model::{Item, ItemId, ItemState, MessageId, RecipientState};
use postern_store::Loaded;
use serde_json::{Value, json};

use super::{OperateError, Operations};
use crate::settle;

/// A message with its items and recipients.
pub async fn message(operations: &Operations, id: MessageId) -> Result<Value, OperateError> {
    let loaded = operations.store().load_message(id).await?.ok_or_else(|| not_queued(id))?;
    let mut items = Vec::new();
    for item in &loaded.items {
        let mut view = item_view(item);
        view["quarantine"] = quarantine_view(operations, item.id).await;
        view["recordings"] = recordings(operations, item.id).await;
        view["to_be_recorded"] = operations.settler.recordings().is_wanted(item.id).into();
        items.push(view);
    }
    Ok(json!({
        "message_id": id.to_string(),
        "origin": loaded.message.origin,
        "envelope": loaded.message.envelope,
        "internet_message_id": loaded.message.internet_message_id,
        "subject": loaded.message.subject,
        "size": loaded.message.size,
        "items": items,
    }))
}

/// Suspends, resumes or retries every item of a message.
pub async fn set_state(
    operations: &Operations,
    id: MessageId,
    state: ItemState,
    dry_run: bool,
) -> Result<Value, OperateError> {
    let items: Vec<ItemId> = operations.store().index().locate(id);
    if items.is_empty() {
        return Err(not_queued(id));
    }
    let (mut changed, mut busy, mut recipients) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let store = operations.store();
        let Some(mut lease) = store.index().lease_item(item) else {
            busy.push(item.to_string());
            continue;
        };
        let Some(loaded) = lease.load(&**store).await? else { continue };
        recipients += open_recipients(&loaded);
        changed.push(item.to_string());
        if dry_run {
            continue;
        }
        let topology = operations.settler.topology();
        let policy = topology.policy_for(&loaded.item.next_hop);
        let quoted = operations.settler.quoted(&loaded).await;
        let context = quoted.context(&loaded.message, &policy);
        let settlement = settle::set_state(context, &loaded.item, state);
        let retried = settlement.write.after.as_ref().is_some_and(|item| item.state == ItemState::Active);
        operations.settler.hand_in(lease, &loaded.item, settlement).await?;
        if retried && store.index().failures(&loaded.item.next_hop) > 0 {
            // Who wants a message tried now wants its queue tried, too.
            store.index().clear_retry(&loaded.item.next_hop);
        }
    }
    if changed.is_empty() && busy.is_empty() {
        return Err(not_queued(id));
    }
    if changed.is_empty() {
        return Err(OperateError::Busy(format!("message {id} is being delivered at this moment; try again")));
    }
    Ok(
        json!({ "message_id": id.to_string(), "items": changed, "busy": busy, "recipients": recipients, "done": !dry_run }),
    )
}

/// What is known of an item that broke its agent, or why that cannot be told; null when it never did.
async fn quarantine_view(operations: &Operations, item: ItemId) -> Value {
    match operations.quarantine_record(item).await {
        Ok(record) => json!(record),
        Err(error) => json!({ "unreadable": error.to_string() }),
    }
}

/// The files in which attempts of an item are recorded.
async fn recordings(operations: &Operations, item: ItemId) -> Value {
    let recordings = operations.settler.recordings().clone();
    let found = tokio::task::spawn_blocking(move || recordings.of(item)).await.unwrap_or_default();
    found.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

pub(super) fn open_recipients(loaded: &Loaded) -> usize {
    loaded.item.queued().count() + loaded.item.pending().count()
}

pub(super) fn not_queued(id: MessageId) -> OperateError {
    OperateError::NotFound(format!(
        "message {id} is not in the queue: `postern track --message {id}` tells what became of it"
    ))
}

fn item_view(item: &Item) -> Value {
    let recipients: Vec<Value> = item
        .recipients
        .iter()
        .map(|r| {
            let (state, response) = match &r.state {
                RecipientState::Queued { last } => ("queued", last.as_ref().map(ToString::to_string)),
                RecipientState::Pending { response, .. } => ("pending", Some(response.to_string())),
                RecipientState::Final { fate, response, .. } => (fate.word(), Some(response.to_string())),
            };
            json!({ "recipient": r.recipient.address.display(), "state": state, "response": response })
        })
        .collect();
    json!({
        "item": item.id.to_string(),
        "connector": &*item.next_hop.connector,
        "destination": &*item.next_hop.destination,
        "state": item.state,
        "attempts": item.attempts,
        "traps": item.traps,
        "enqueued": item.enqueued_at,
        "next_retry": item.wake_at(),
        "expires": item.expires_at,
        "last_error": item.last_error,
        "recipients": recipients,
    })
}
