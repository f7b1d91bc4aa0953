//! What a receipt makes of an item.

use postern_model::{EventKind, Fate, Item, ItemRecipient, Receipt, ReceiptState, RecipientState, Response};

use super::{Context, Draft, QueueEffect, Settlement, Told, retry_at};

/// Settles a receipt that recipients of the item wait for. It is about all of them, or about those with the address
/// that it names. `None` when it changes nothing: it says that nothing is final yet, or no recipient that it is about
/// waits for it (a final outcome is never rewritten).
pub fn settle_receipt(
    context: Context<'_>,
    item: &Item,
    receipt: &Receipt,
    rng: &mut fastrand::Rng,
) -> Option<Settlement> {
    if matches!(receipt.state, ReceiptState::Pending(_)) {
        return None;
    }
    let waits = |entry: &ItemRecipient| match &entry.state {
        RecipientState::Pending { receipt_ids, .. } => {
            receipt_ids.contains(&receipt.id) && receipt.is_about(&entry.recipient.address)
        }
        _ => false,
    };
    let waiting: Vec<usize> = (0..item.recipients.len()).filter(|p| waits(&item.recipients[*p])).collect();
    if waiting.is_empty() {
        return None;
    }
    let mut draft = Draft::new(context, item);
    draft.word = Some((receipt.id.clone(), receipt.state.word()));
    // Who was queued before keeps its time.
    let mut earliest = item.queued().next().map(|_| item.next_attempt);
    let told = Told { facts: receipt.details.clone(), ..Told::default() };
    for position in waiting {
        let RecipientState::Pending { receipt_ids, response: accepted, expires_at, call } =
            draft.item.recipients[position].state.clone()
        else {
            continue;
        };
        let others: Vec<String> = receipt_ids.into_iter().filter(|id| *id != receipt.id).collect();
        // One bad word decides; a good one decides when it is the last (a message of several segments).
        let decided = !matches!(receipt.state, ReceiptState::Delivered(_) | ReceiptState::Relayed(_));
        if !others.is_empty() && !decided {
            draft.item.recipients[position].state =
                RecipientState::Pending { receipt_ids: others, response: accepted, expires_at, call };
            continue;
        }
        apply(&mut draft, position, receipt, &told);
        if let ReceiptState::Retry(deferral) = &receipt.state {
            let at = retry_at(context, deferral, item.attempts.max(1), rng);
            earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
        }
    }
    if let Some(at) = earliest {
        draft.try_again_at(at);
    }
    Some(draft.finish(QueueEffect::None))
}

fn apply(draft: &mut Draft<'_>, position: usize, receipt: &Receipt, told: &Told) {
    match &receipt.state {
        ReceiptState::Pending(_) => {}
        ReceiptState::Delivered(r) => draft.decide(position, Fate::Delivered, fit(r, 2), told.clone()),
        ReceiptState::Relayed(r) => draft.decide(position, Fate::Relayed, fit(r, 2), told.clone()),
        ReceiptState::Failed { response, .. } => {
            draft.decide(position, Fate::Failed, fit(response, 5), told.clone());
        }
        ReceiptState::Retry(deferral) => {
            let response = fit(&deferral.response, 4);
            let recipient = draft.item.recipients[position].recipient.clone();
            draft.item.last_error = Some(response.to_string());
            draft.item.recipients[position].state = RecipientState::Queued { last: Some(response.clone()) };
            draft.event(EventKind::Defer, &recipient, Some(&response), told);
        }
    }
}

/// A receipt's state decides, not its code: a response of another class is shown behind one that fits.
fn fit(response: &Response, class: u8) -> Response {
    let fits = response.code / 100 == u16::from(class) && response.status.0 == class;
    if fits {
        return response.clone();
    }
    let code = match class {
        2 => 250,
        4 => 451,
        _ => 550,
    };
    Response::new(code, (class, 0, 0), &format!("the far end said: {response}"))
}
