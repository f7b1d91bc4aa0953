//! What an operator makes of an item.

use jiff::Timestamp;
use postern_model::{EventKind, Fate, Item, ItemState, NextHop, RecipientState, Response};

use super::whereabouts::{fate, settle_taken};
use super::{Context, Draft, QueueEffect, Settlement, Told};
use crate::connector::Whereabouts;
use crate::retry;

/// Removes the item: every recipient that is not done ends as removed, or as failed with a DSN when `tell` is set. If the
/// far end has what was handed over of it, or may have it, they end as that instead.
///
/// # Errors
/// Why it cannot be removed now; nothing is settled.
pub fn remove(
    context: Context<'_>,
    item: &Item,
    tell: bool,
    whereabouts: &Whereabouts,
) -> Result<Settlement, String> {
    match whereabouts {
        Whereabouts::Taken(receipt) => return Ok(settle_taken(context, item, receipt)),
        Whereabouts::Claimed { file, new } => {
            return Err(format!(
                "the gateway is at work on {file}, as {new}: it was not withdrawn, and is done when the gateway is"
            ));
        }
        Whereabouts::Unreachable { file, why } => {
            return Err(format!(
                "{file} could not be withdrawn, so the gateway may still send it; bring the drop directory back and \
                 try again: {why}"
            ));
        }
        Whereabouts::Nothing | Whereabouts::Withdrawn { .. } | Whereabouts::Vanished { .. } => {}
    }
    let mut draft = Draft::new(context, item);
    for position in 0..item.recipients.len() {
        if matches!(item.recipients[position].state, RecipientState::Final { .. }) {
            continue;
        }
        let response = Response::new(550, (5, 7, 0), "removed from the queue by an operator");
        let removed = if tell { Fate::Failed } else { Fate::Removed };
        let otherwise = (removed, response, Told::default());
        let (fate, response, told) = fate(context.policy, whereabouts, otherwise);
        // Whether the sender is told is the operator's choice.
        draft.conclude(position, fate, response, Told { reports_itself: !tell, ..told });
    }
    Ok(draft.finish(QueueEffect::None))
}

/// Suspends, resumes or releases an item, or has it tried now. Resuming and retrying make it due at once; an item
/// that comes back from poison starts with a clean slate: without traps, and with its whole time.
pub fn set_state(context: Context<'_>, item: &Item, state: ItemState) -> Settlement {
    let word = match state {
        ItemState::Active => "retry",
        ItemState::Suspended => "suspend",
        ItemState::Poison => "poison",
    };
    changed(Draft::new(context, item), state, vec![("operation".to_owned(), word.to_owned())])
}

/// Releases a poison item: it is due at once, with a clean slate, in its own queue or in the one at `to`, whose policy the
/// context has. An item with pending recipients must stay where it is: their receipts are for its connector.
pub fn release(context: Context<'_>, item: &Item, to: Option<NextHop>) -> Settlement {
    let mut draft = Draft::new(context, item);
    let mut facts = vec![("operation".to_owned(), "release".to_owned())];
    if let Some(to) = to {
        facts.push(("from".to_owned(), item.next_hop.to_string()));
        draft.item.next_hop = to;
    }
    changed(draft, ItemState::Active, facts)
}

fn changed(mut draft: Draft<'_>, state: ItemState, facts: Vec<(String, String)>) -> Settlement {
    let (context, before) = (draft.context, draft.before);
    if before.state == ItemState::Poison && state != ItemState::Poison {
        draft.item.traps = 0;
        draft.item.expires_at = expiry_after_poison(context, before);
    }
    draft.item.state = state;
    if state == ItemState::Active {
        draft.item.next_attempt = context.now;
    }
    let told = Told { facts, ..Told::default() };
    for recipient in before.queued() {
        draft.event(EventKind::Operate, recipient, None, &told);
    }
    draft.finish(QueueEffect::None)
}

/// While it was poison its time stood still: else it would expire before it is tried.
fn expiry_after_poison(context: Context<'_>, item: &Item) -> Option<Timestamp> {
    let whole = context.policy.expire_after.map(|time| retry::after(context.now, time));
    item.expires_at.zip(whole).map(|(before, whole)| before.max(whole))
}
