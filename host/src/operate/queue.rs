//! Queues: list, show, suspend, resume, retry.

use jiff::Timestamp;
use postern_model::{ItemState, NextHop, TrackingEvent};
use postern_store::{HopView, ItemView, QueueSetting};
use serde_json::{Value, json};

use super::{OperateError, Operations, QueueAction, outbox};
use crate::breaker::BreakerView;
use crate::dispatch::Settled;
use crate::settle;

/// Queues whose first waiting item is read for its last error; the view of more queues does without.
const MAX_ERRORS_READ: usize = 200;

/// All queues, one object each; the outbox comes last, when something waits in it.
pub async fn list(operations: &Operations) -> Result<Value, OperateError> {
    let mut hops = operations.store().index().hops();
    hops.sort_by(|a, b| a.next_hop.cmp(&b.next_hop));
    let mut read = 0;
    for hop in &mut hops {
        if hop.last_error.is_none() && hop.waiting > 0 && read < MAX_ERRORS_READ {
            read += 1;
            hop.last_error = first_error(operations, &hop.next_hop).await?;
        }
    }
    let outbox = outbox::list(operations).await?;
    Ok(hops.iter().map(|hop| view(operations, hop)).chain(outbox).collect())
}

/// What the last attempt at an item of the queue said: the queue as a whole works, but its items may not.
async fn first_error(operations: &Operations, hop: &NextHop) -> Result<Option<String>, OperateError> {
    let index = operations.store().index();
    let Some(item) = index.item_views(Some(hop), None, 1).into_iter().next() else { return Ok(None) };
    Ok(operations.store().load(item.id).await?.and_then(|loaded| loaded.item.last_error.clone()))
}

/// One queue, or all of a connector, with their items.
pub async fn show(operations: &Operations, queue: &str, limit: usize) -> Result<Value, OperateError> {
    if outbox::is_meant(queue) {
        return outbox::show(operations, limit).await;
    }
    let index = operations.store().index();
    let hops = matching(operations, queue)?;
    let mut shown = Vec::new();
    for hop in hops {
        let mut row = view(operations, &hop);
        let mut items = Vec::new();
        for item in index.item_views(Some(&hop.next_hop), None, limit) {
            items.push(item_row(operations, &item).await?);
        }
        row["items"] = Value::Array(items);
        shown.push(row);
    }
    Ok(Value::Array(shown))
}

/// Suspends, resumes or retries queues; says how many queues and items that was about. A queue that cannot be retried is
/// left as it is, and the answer says why.
pub async fn set(
    operations: &Operations,
    queue: &str,
    action: QueueAction,
    reason: &str,
    dry_run: bool,
) -> Result<Value, OperateError> {
    if outbox::is_meant(queue) {
        return Err(outbox::refusal());
    }
    let hops = matching(operations, queue)?;
    if hops.is_empty() && action == QueueAction::Suspend {
        return Err(OperateError::NotFound(format!(
            "connector {queue} has no queue at this moment: name {queue}/DESTINATION for one that is still to come"
        )));
    }
    let (mut names, mut items, mut left) = (Vec::new(), 0, Vec::new());
    for hop in &hops {
        let name = hop.next_hop.to_string();
        if action == QueueAction::Retry
            && let Some(reason) = held(operations, hop)
        {
            left.push(json!({ "queue": name, "reason": reason }));
            continue;
        }
        items += match action {
            QueueAction::Suspend | QueueAction::Resume => hop.items,
            QueueAction::Retry => hop.due + hop.waiting,
        };
        names.push(name);
        if !dry_run {
            apply(operations, &hop.next_hop, action, reason).await?;
        }
    }
    Ok(json!({ "queues": names, "items": items, "left": left, "action": action, "done": !dry_run }))
}

/// Why nothing comes of a retry.
fn held(operations: &Operations, hop: &HopView) -> Option<String> {
    if let Some(reason) = &hop.suspended {
        return Some(format!("the queue is suspended ({reason}): resume it first"));
    }
    match operations.settler.topology().rules(&hop.next_hop.connector) {
        None => Some("the connector is not in the config".to_owned()),
        Some(rules) if !rules.outgoing.enabled => Some("the connector is off (enabled = false)".to_owned()),
        Some(_) => None,
    }
}

async fn apply(
    operations: &Operations,
    hop: &NextHop,
    action: QueueAction,
    reason: &str,
) -> Result<(), OperateError> {
    let store = operations.store();
    let tracked =
        |operation| vec![TrackingEvent::of_queue(hop, operation, "operator", None, Timestamp::now())];
    // Handed in together, so that they share a commit.
    let commits = match action {
        QueueAction::Suspend => operations.settler.suspend(hop, "operator", reason),
        QueueAction::Resume => {
            [store.set_queue(hop.clone(), QueueSetting::Active), store.record(tracked("resume-queue"))]
        }
        QueueAction::Retry => {
            retry(operations, hop).await?;
            [store.record(tracked("retry-queue")), store.flush()]
        }
    };
    for commit in commits {
        commit.await?;
    }
    Ok(())
}

/// Makes everything due that may be tried.
async fn retry(operations: &Operations, hop: &NextHop) -> Result<(), OperateError> {
    let index = operations.store().index();
    let mut waiting = Vec::new();
    for item in index.item_views(Some(hop), None, usize::MAX) {
        if item.state == ItemState::Active && !item.leased {
            waiting.extend(retry_item(operations, &item).await?);
        }
        if waiting.len() >= RETRY_WINDOW {
            settle_all(&mut waiting).await?;
        }
    }
    settle_all(&mut waiting).await?;
    index.clear_retry(hop);
    let connector = operations.connectors.get(&hop.connector);
    if let Some(breaker) = connector.as_ref().and_then(|connector| connector.breaker()) {
        breaker.end_pause();
    }
    Ok(())
}

/// Settlements on their way to the disk at once.
const RETRY_WINDOW: usize = 256;

async fn settle_all(waiting: &mut Vec<Settled>) -> Result<(), OperateError> {
    for settled in waiting.drain(..) {
        settled.await?;
    }
    Ok(())
}

/// Makes an item due at once; `None` when it is due, or nothing of it is queued.
async fn retry_item(operations: &Operations, item: &ItemView) -> Result<Option<Settled>, OperateError> {
    let store = operations.store();
    let Some(mut lease) = store.index().lease_item(item.id) else { return Ok(None) };
    let Some(loaded) = lease.load(&**store).await? else { return Ok(None) };
    if loaded.item.next_attempt <= Timestamp::now() || loaded.item.queued().next().is_none() {
        return Ok(None);
    }
    let topology = operations.settler.topology();
    let policy = topology.policy_for(&loaded.item.next_hop);
    let quoted = operations.settler.quoted(&loaded).await;
    let context = quoted.context(&loaded.message, &policy);
    let settlement = settle::set_state(context, &loaded.item, ItemState::Active);
    Ok(Some(operations.settler.hand_in(lease, &loaded.item, settlement)))
}

/// The queues that a text names: a connector, or `connector/destination`.
fn matching(operations: &Operations, queue: &str) -> Result<Vec<HopView>, OperateError> {
    let (connector, destination) = match queue.split_once('/') {
        Some((connector, destination)) => (connector, Some(destination)),
        None => (queue, None),
    };
    let mut hops = operations.store().index().hops();
    hops.retain(|h| {
        &*h.next_hop.connector == connector && destination.is_none_or(|d| &*h.next_hop.destination == d)
    });
    hops.sort_by(|a, b| a.next_hop.cmp(&b.next_hop));
    if hops.is_empty() {
        // A queue that has no item yet may be suspended by its whole name.
        let known = operations.settler.topology().rules(connector).is_some();
        return match (known, destination) {
            (true, Some(destination)) => Ok(vec![empty(NextHop::new(connector, destination))]),
            (true, None) => Ok(Vec::new()),
            (false, _) => Err(OperateError::NotFound(format!(
                "no queue {queue:?}: name a connector, or connector/destination as `postern queue list` shows it"
            ))),
        };
    }
    Ok(hops)
}

fn empty(next_hop: NextHop) -> HopView {
    HopView {
        next_hop,
        items: 0,
        due: 0,
        leased: 0,
        waiting: 0,
        pending: 0,
        suspended_items: 0,
        poison: 0,
        bytes: 0,
        suspended: None,
        retry_at: None,
        failures: 0,
        last_error: None,
        next_attempt: None,
        oldest: None,
    }
}

fn state(hop: &HopView, breaker: Option<&BreakerView>) -> &'static str {
    if hop.suspended.is_some() {
        "suspended"
    } else if breaker.is_some() && hop.due > 0 {
        "breaker"
    } else if hop.retry_at.is_some() {
        "retry"
    } else if hop.leased > 0 {
        "active"
    } else if hop.due > 0 {
        "ready"
    } else if hop.waiting > 0 {
        "waiting"
    } else if hop.pending > 0 {
        "pending"
    } else if hop.poison > 0 {
        "poison"
    } else {
        "idle"
    }
}

/// The open breaker of a queue's connector.
fn open_breaker(operations: &Operations, hop: &HopView) -> Option<BreakerView> {
    let connector = operations.connectors.get(&hop.next_hop.connector)?;
    connector.breaker().map(|breaker| breaker.view()).filter(|breaker| breaker.until.is_some())
}

fn view(operations: &Operations, hop: &HopView) -> Value {
    let breaker = open_breaker(operations, hop);
    let next = match (hop.retry_at, hop.next_attempt) {
        (Some(retry), Some(next)) => Some(retry.max(next)),
        (retry, next) => retry.or(next),
    };
    // What is due waits for the breaker, and all else at least as long.
    let next = next.max(breaker.as_ref().and_then(|breaker| breaker.until));
    let broke = breaker.as_ref().and_then(|breaker| breaker.reason.as_ref());
    json!({
        "connector": &*hop.next_hop.connector,
        "destination": &*hop.next_hop.destination,
        "state": state(hop, breaker.as_ref()),
        "count": hop.items,
        "due": hop.due,
        "active": hop.leased,
        "waiting": hop.waiting,
        "pending": hop.pending,
        "suspended": hop.suspended_items,
        "poison": hop.poison,
        "bytes": hop.bytes,
        "next_retry": next,
        "oldest": hop.oldest,
        "last_error": hop.suspended.as_ref().or(broke).or(hop.last_error.as_ref()),
    })
}

async fn item_row(operations: &Operations, item: &ItemView) -> Result<Value, OperateError> {
    let loaded = operations.store().load(item.id).await?;
    let (sender, subject, error) = loaded.map_or((None, None, None), |l| {
        (Some(l.message.envelope.reverse_path.clone()), l.message.subject.clone(), l.item.last_error.clone())
    });
    Ok(json!({
        "item": item.id.to_string(),
        "message_id": item.id.message.to_string(),
        "sender": sender,
        "subject": subject,
        "size": item.size,
        "recipients": item.queued + item.pending,
        "pending": item.pending,
        "attempts": item.attempts,
        "state": item.state,
        "enqueued": item.enqueued_at,
        "next_retry": item.next_attempt,
        "last_error": error,
    }))
}
