//! What an operator makes of an item.

use postern_model::{EventKind, Fate, Item, ItemRecipient, ItemState, NextHop, RecipientState, Response};

use super::whereabouts::{fate, settle_taken};
use super::{Context, Draft, QueueEffect, Settlement, Told};
use crate::connector::Whereabouts;

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
        draft.decide(position, fate, response, Told { reports_itself: !tell, ..told });
    }
    Ok(draft.finish(QueueEffect::None))
}

/// Suspends, resumes or releases an item, or has it tried now. Resuming and retrying make it due at once; an item
/// that comes back from poison starts with a clean slate.
pub fn set_state(context: Context<'_>, item: &Item, state: ItemState) -> Settlement {
    let mut draft = Draft::new(context, item);
    if item.state == ItemState::Poison && state != ItemState::Poison {
        draft.item.traps = 0;
    }
    draft.item.state = state;
    if state == ItemState::Active {
        draft.item.next_attempt = context.now;
    }
    let word = match state {
        ItemState::Active => "retry",
        ItemState::Suspended => "suspend",
        ItemState::Poison => "poison",
    };
    let told = Told { facts: vec![("operation".to_owned(), word.to_owned())], ..Told::default() };
    let queued: Vec<_> = item.queued().cloned().collect();
    for recipient in &queued {
        draft.event(EventKind::Operate, recipient, None, &told);
    }
    draft.finish(QueueEffect::None)
}

/// Moves queued recipients of an item to other queues; each target names its recipients by their index and has an
/// ordinal that the message has not used. Who is not queued stays, who is named twice goes to the first target, and a
/// target that nobody goes to gets no item.
pub fn redirect(
    context: Context<'_>,
    item: &Item,
    targets: &[(NextHop, u16, Vec<ItemRecipient>)],
) -> Settlement {
    let mut draft = Draft::new(context, item);
    for (next_hop, ordinal, recipients) in targets {
        let recipients = take_queued(&mut draft.item, recipients);
        if recipients.is_empty() {
            continue;
        }
        let mut moved = item.clone();
        moved.id.ordinal = *ordinal;
        moved.next_hop = next_hop.clone();
        moved.recipients = recipients.iter().map(|r| ItemRecipient::queued(r.recipient.clone())).collect();
        moved.state = ItemState::Active;
        moved.attempts = 0;
        moved.traps = 0;
        moved.settlements = 0;
        moved.next_attempt = context.now;
        moved.last_error = None;
        let told = Told { facts: vec![("to".to_owned(), next_hop.to_string())], ..Told::default() };
        for recipient in &recipients {
            draft.event(EventKind::Redirect, &recipient.recipient, None, &told);
        }
        draft.write.new_items.push(moved);
    }
    draft.finish(QueueEffect::None)
}

/// Takes those of the named recipients that are queued out of the item.
fn take_queued<'a>(item: &mut Item, named: &'a [ItemRecipient]) -> Vec<&'a ItemRecipient> {
    let mut taken = Vec::new();
    for entry in named {
        let index = entry.recipient.index;
        if let Some(at) = item.recipients.iter().position(|r| r.recipient.index == index && r.is_queued()) {
            item.recipients.remove(at);
            taken.push(entry);
        }
    }
    taken
}
