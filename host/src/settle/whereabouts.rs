//! What the whereabouts of an item's drop file decide, whoever wants to settle the item: nothing may be said of its
//! recipients that the file gives the lie to.

use postern_model::{EventKind, EventRecipient, Fate, Item, Receipt, ReceiptState, Response, TrackingEvent};

use super::{Context, Draft, Policy, QueueEffect, Settlement, Told, settle_receipt};
use crate::config::OnReceiptExpiry;
use crate::connector::Whereabouts;

/// What becomes of a recipient, with what its event and its DSN say beside.
type Decision = (Fate, Response, Told);

/// Nobody knows what became of a recipient; the class of the response fits what the connector's rule tells the sender.
/// RFC 3463: x.4.7 is "delivery time expired".
pub(super) fn unknown(policy: &Policy, text: &str) -> Decision {
    let (code, status) = match policy.on_receipt_expiry {
        OnReceiptExpiry::FailureDsn => (550, (5, 4, 7)),
        OnReceiptExpiry::DelayDsn => (451, (4, 4, 7)),
        OnReceiptExpiry::Success => (250, (2, 0, 0)),
    };
    (Fate::Unknown, Response::new(code, status, text), Told { unconfirmed: true, ..Told::default() })
}

/// The fate of a recipient that is to end now: `otherwise` where the far end never had the file, and where it may have
/// it, that nobody knows.
pub(super) fn fate(policy: &Policy, whereabouts: &Whereabouts, otherwise: Decision) -> Decision {
    match whereabouts {
        Whereabouts::Nothing => otherwise,
        Whereabouts::Withdrawn { file } => {
            let (fate, response, told) = otherwise;
            (fate, response, Told { facts: vec![("withdrawn".to_owned(), file.clone())], ..told })
        }
        Whereabouts::Taken(receipt) => relayed(receipt),
        Whereabouts::Claimed { file, new } => unknown(
            policy,
            &format!("the gateway began to work on {file}, as {new}, and never said that it was done"),
        ),
        Whereabouts::Vanished { file } => unknown(
            policy,
            &format!("{file} went away with its drop directory: nobody can tell whether the gateway took it"),
        ),
        Whereabouts::Unreachable { file, why } => unknown(
            policy,
            &format!(
                "the drop directory with {file} cannot be reached ({why}): nobody can tell whether the gateway took it"
            ),
        ),
    }
}

fn relayed(receipt: &Receipt) -> Decision {
    let response = match &receipt.state {
        ReceiptState::Relayed(response) => response.clone(),
        _ => Response::new(250, (2, 0, 0), "taken by the gateway"),
    };
    (Fate::Relayed, response, Told { facts: receipt.details.clone(), ..Told::default() })
}

/// Settles an item whose file turns out to be taken, as the receipt does that is on its way.
pub(super) fn settle_taken(context: Context<'_>, item: &Item, receipt: &Receipt) -> Settlement {
    // Only a retry leaves something to chance, and a pickup is none.
    let mut rng = fastrand::Rng::with_seed(0);
    let mut settlement = settle_receipt(context, item, receipt, &mut rng)
        .unwrap_or_else(|| settle_unrecorded(context, item, receipt));
    settlement.write.events.push(taken(context, item, receipt));
    settlement
}

/// Of a hand-over that nobody had recorded, the recipients are still queued.
fn settle_unrecorded(context: Context<'_>, item: &Item, receipt: &Receipt) -> Settlement {
    let mut draft = Draft::new(context, item);
    let queued = (0..item.recipients.len()).filter(|position| item.recipients[*position].is_queued());
    for position in queued {
        let (fate, response, told) = relayed(receipt);
        draft.decide(position, fate, response, told);
    }
    draft.finish(QueueEffect::None)
}

fn taken(context: Context<'_>, item: &Item, receipt: &Receipt) -> TrackingEvent {
    let open = item.queued().chain(item.pending());
    let mut details = vec![("receipt".to_owned(), receipt.id.clone())];
    details.extend(receipt.details.iter().cloned());
    TrackingEvent {
        time: context.now,
        kind: EventKind::Taken,
        message: item.id.message,
        item: Some(item.id),
        connector: item.next_hop.connector.to_string(),
        destination: Some(item.next_hop.destination.to_string()),
        sender: context.message.envelope.reverse_path.clone(),
        recipients: open.map(|recipient| EventRecipient::of(recipient, None)).collect(),
        internet_message_id: None,
        subject: None,
        size: None,
        attempt: None,
        details,
    }
}
