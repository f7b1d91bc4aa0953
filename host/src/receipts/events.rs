//! The tracking events that receipts leave where no settlement does.

use jiff::Timestamp;
use postern_model::{EventKind, EventRecipient, ItemId, Receipt, ReceiptWord, TrackingEvent, TypedAddress};
use postern_store::{PastReceipt, StoredReceipt};

/// What an event says of a past receipt whose wait ended without a word.
pub(super) const NO_WORD: &str = "nothing";

/// A drop file was taken.
pub(super) fn taken(known: &StoredReceipt, receipt: &Receipt) -> TrackingEvent {
    let mut details = vec![("receipt".to_owned(), known.id.clone())];
    details.extend(receipt.details.iter().cloned());
    TrackingEvent {
        connector: known.connector.clone(),
        destination: Some(known.destination.clone()),
        sender: known.sender.clone(),
        recipients: known.recipients.clone(),
        details,
        ..event(EventKind::Taken, known.item)
    }
}

/// Something is wrong with a drop file that lies there.
pub(super) fn stage(known: &StoredReceipt, receipt: &Receipt) -> TrackingEvent {
    let response = Some(receipt.state.response().to_string());
    let recipients = known.recipients.iter();
    TrackingEvent {
        recipients: recipients.map(|r| EventRecipient { response: response.clone(), ..r.clone() }).collect(),
        ..TrackingEvent { kind: EventKind::Receipt, ..taken(known, receipt) }
    }
}

/// A word came that changes nothing: another one had been believed, or the wait was over.
pub(super) fn afterthought(past: &PastReceipt, receipt: &Receipt) -> TrackingEvent {
    let said = receipt.state.word().as_str();
    let before = past.word.map_or(NO_WORD, ReceiptWord::as_str);
    let facts = [("receipt", past.id.as_str()), ("says", said), ("after", before)];
    let mut details: Vec<_> = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    details.extend(receipt.details.iter().cloned());
    let about = |r: &&EventRecipient| {
        receipt.address.is_none() || TypedAddress::parse(&r.address).is_ok_and(|a| receipt.is_about(&a))
    };
    let response = Some(receipt.state.response().to_string());
    let recipients = past.recipients.iter().filter(about);
    TrackingEvent {
        connector: past.connector.clone(),
        destination: Some(past.destination.clone()),
        sender: past.sender.clone(),
        recipients: recipients.map(|r| EventRecipient { response: response.clone(), ..r.clone() }).collect(),
        details,
        ..event(EventKind::Receipt, past.item)
    }
}

fn event(kind: EventKind, item: ItemId) -> TrackingEvent {
    TrackingEvent {
        time: Timestamp::now(),
        kind,
        message: item.message,
        item: Some(item),
        connector: String::new(),
        destination: None,
        sender: String::new(),
        recipients: Vec::new(),
        internet_message_id: None,
        subject: None,
        size: None,
        attempt: None,
        details: Vec::new(),
    }
}
