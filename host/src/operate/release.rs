//! Releasing poison: back into its queue, or into that of another connector that serves its address.

use postern_model::{ItemId, ItemState, MessageId, NextHop};
use postern_store::{Lease, Loaded};
use serde::Serialize;
use serde_json::Value;

use super::show::{not_queued, open_recipients};
use super::{OperateError, Operations, json};
use crate::settle;

/// What became of a request to release a message.
#[derive(Debug, Default, Serialize)]
struct Release {
    message_id: String,
    /// Items that are tried again.
    items: Vec<String>,
    /// How many of their recipients are not done.
    recipients: usize,
    /// Items that are being delivered at this moment; left as they are.
    busy: Vec<String>,
    /// Items that are not poison; left as they are.
    left: Vec<String>,
    /// The queue of each released item, and which agent it meets there.
    meets: Vec<Meeting>,
    done: bool,
}

/// Which agent a released item meets.
#[derive(Debug, Serialize)]
struct Meeting {
    item: String,
    connector: String,
    destination: String,
    /// SHA-256 of the agent that broke over it; `None` where there is no record of that.
    then: Option<String>,
    /// SHA-256 of the agent that gets it now; `None` where there is none, or the host is stopped.
    now: Option<String>,
}

/// Releases the poison items of a message, to another connector where one is named.
pub async fn message(
    operations: &Operations,
    id: MessageId,
    to: Option<&str>,
    dry_run: bool,
) -> Result<Value, OperateError> {
    let items = operations.store().index().locate(id);
    if items.is_empty() {
        return Err(not_queued(id));
    }
    let mut poison = Vec::new();
    let mut release = Release { message_id: id.to_string(), done: !dry_run, ..Release::default() };
    for item in items {
        let Some(mut lease) = operations.store().index().lease_item(item) else {
            release.busy.push(item.to_string());
            continue;
        };
        let Some(loaded) = lease.load(&**operations.store()).await? else { continue };
        if loaded.item.state == ItemState::Poison {
            let hop = target(operations, &loaded, to).await?;
            poison.push((lease, loaded, hop));
        } else {
            release.left.push(item.to_string());
        }
    }
    // Nothing is changed before all of it may be.
    for (lease, loaded, hop) in poison {
        release_item(operations, lease, &loaded, hop, &mut release).await?;
    }
    if !release.items.is_empty() {
        return Ok(json(&release));
    }
    if let Some(item) = release.left.first() {
        return Err(OperateError::Failed(format!(
            "message {id} is not poison, so there is nothing to release ({item} is in its queue): `postern message retry` \
             has it tried now"
        )));
    }
    if release.busy.is_empty() {
        return Err(not_queued(id));
    }
    Err(OperateError::Busy(format!("message {id} is being delivered at this moment; try again")))
}

async fn release_item(
    operations: &Operations,
    lease: Lease,
    loaded: &Loaded,
    hop: Option<NextHop>,
    release: &mut Release,
) -> Result<(), OperateError> {
    let (settler, item) = (&operations.settler, &loaded.item);
    let meets = hop.clone().unwrap_or_else(|| item.next_hop.clone());
    release.recipients += open_recipients(loaded);
    release.items.push(item.id.to_string());
    release.meets.push(Meeting {
        item: item.id.to_string(),
        connector: meets.connector.to_string(),
        destination: meets.destination.to_string(),
        then: broke(operations, item.id).await,
        now: operations.connectors.get(&meets.connector).and_then(|connector| connector.agent_digest()),
    });
    if !release.done {
        return Ok(());
    }
    let topology = settler.topology();
    let policy = topology.policy_for(&meets);
    let quoted = settler.quoted(loaded).await;
    let context = quoted.context(&loaded.message, &policy);
    let settlement = settle::release(context, item, hop);
    settler.hand_in(lease, item, settlement).await?;
    let index = settler.store().index();
    if index.failures(&meets) > 0 {
        // It is to be tried now, and its queue with it.
        index.clear_retry(&meets);
    }
    Ok(())
}

/// The agent that broke over an item, as its record says.
async fn broke(operations: &Operations, item: ItemId) -> Option<String> {
    let record = operations.quarantine_record(item).await.ok()??;
    record.agent_sha256().map(str::to_owned)
}

/// The queue that an item is to go to; `None`: its own.
async fn target(
    operations: &Operations,
    loaded: &Loaded,
    to: Option<&str>,
) -> Result<Option<NextHop>, OperateError> {
    let item = &loaded.item;
    let Some(to) = to.filter(|to| *to != &*item.next_hop.connector) else { return Ok(None) };
    let refused = |why: String| OperateError::Failed(format!("item {} cannot go to {to}: {why}", item.id));
    let topology = operations.settler.topology();
    let connector = topology.routes.connectors.iter().find(|connector| *connector.name == *to);
    let Some(connector) = connector else {
        return Err(OperateError::NotFound(format!(
            "there is no connector {to:?}: `postern connector list` has them all"
        )));
    };
    if !connector.enabled {
        return Err(refused("it is off (enabled = false)".to_owned()));
    }
    if let Some(limit) = connector.max_message_size.filter(|limit| loaded.message.size > *limit) {
        return Err(refused(format!("it takes at most {limit} bytes, and this has {}", loaded.message.size)));
    }
    let running = operations.connectors.get(to);
    let agent_takes = running.as_ref().and_then(|connector| connector.as_agent()?.max_size());
    if let Some(limit) = agent_takes.filter(|limit| loaded.message.size > u64::from(*limit)) {
        return Err(refused(format!(
            "its agent takes at most {limit} bytes, and this has {}",
            loaded.message.size
        )));
    }
    if item.pending().next().is_some() {
        // Their receipts are for the connector that handed them over.
        return Err(refused("recipients of it wait for receipts where it is".to_owned()));
    }
    if operations.store().intents().await?.iter().any(|intent| intent.item == item.id) {
        // Only the agent that was cut off can be asked whether it arrived.
        return Err(refused(
            "an attempt was cut off, and only where it is can be asked about that".to_owned(),
        ));
    }
    let mut hops = Vec::new();
    for recipient in item.queued() {
        let address = recipient.address.display();
        let hop = topology.routes.hop_over(to, &recipient.address);
        hops.push(hop.ok_or_else(|| refused(format!("it does not serve {address}")))?);
    }
    hops.dedup();
    match &hops[..] {
        [hop] => Ok(Some(hop.clone())),
        _ => Err(refused("its recipients would be in different queues there".to_owned())),
    }
}
