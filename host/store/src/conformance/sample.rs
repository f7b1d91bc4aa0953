//! Messages, items and other things to fill a store with, for the suite and for tests of backends.

use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Content, DsnKind, DsnRecipient, DsnRequest, Envelope, EventKind, EventRecipient, Fate, Item, ItemId,
    ItemRecipient, ItemState, MessageId, MessageInfo, NextHop, Origin, Priority, ReceiptWord, Recipient,
    RecipientState, Response, TrackingEvent, TypedAddress,
};

use crate::{PastReceipt, Put, Settle, StoredReceipt};

/// This many seconds after the time in which all samples live.
#[must_use]
pub fn time(seconds: i64) -> Timestamp {
    let start = Timestamp::from_second(1_800_000_000).expect("a year in range");
    start.checked_add(SignedDuration::from_secs(seconds)).expect("a year in range")
}

/// A queue of the connector `fax`.
#[must_use]
pub fn hop(destination: &str) -> NextHop {
    NextHop::new("fax", destination)
}

/// A content of this size.
#[must_use]
pub fn content(size: usize) -> Content {
    let line = b"From the quick brown fox to the lazy dog, with regards.\r\n";
    Content::Memory(line.iter().copied().cycle().take(size).collect::<Vec<u8>>().into())
}

/// A message with one item for each hop, each with one recipient, due at [`time`]`(0)`.
#[must_use]
pub fn put(hops: &[NextHop], content: Content) -> Put {
    put_as(MessageId::generate(), Origin::Accepted, hops, content)
}

/// A small message for one hop.
#[must_use]
pub fn small(hop: &NextHop) -> Put {
    put(std::slice::from_ref(hop), Content::Memory(Bytes::from_static(b"Subject: hello\r\n\r\nhello\r\n")))
}

/// As [`put`], with an id and an origin.
#[must_use]
pub fn put_as(id: MessageId, origin: Origin, hops: &[NextHop], content: Content) -> Put {
    let info = MessageInfo {
        id,
        origin,
        envelope: Envelope::generated("sender@a.example", time(0)),
        size: content.size(),
        internet_message_id: Some(format!("<{id}@a.example>")),
        subject: Some("hello".to_owned()),
    };
    let items =
        hops.iter().zip(0..).map(|(hop, ordinal)| item(ItemId { message: id, ordinal }, hop, 1)).collect();
    let kind = match origin {
        Origin::Accepted => EventKind::Receive,
        Origin::Generated => EventKind::Generate,
    };
    Put { message: Arc::new(info), content, items, event: event(id, kind), outbox_key: None, inbound: None }
}

/// An item with this many queued recipients.
#[must_use]
pub fn item(id: ItemId, hop: &NextHop, recipients: u32) -> Item {
    let first = u32::from(id.ordinal) * 100;
    Item {
        id,
        next_hop: hop.clone(),
        recipients: (first..first + recipients).map(|n| ItemRecipient::queued(recipient(n))).collect(),
        priority: Priority::Normal,
        state: ItemState::Active,
        attempts: 0,
        traps: 0,
        settlements: 0,
        enqueued_at: time(0),
        next_attempt: time(0),
        expires_at: Some(time(172_800)),
        delay_dsn_at: Some(time(14_400)),
        last_error: None,
    }
}

/// A recipient.
#[must_use]
pub fn recipient(index: u32) -> Recipient {
    let address = TypedAddress::parse(&format!("FAX:+4930{index}")).expect("a good address");
    Recipient::new(index, address)
}

/// An event.
#[must_use]
pub fn event(message: MessageId, kind: EventKind) -> TrackingEvent {
    TrackingEvent {
        time: time(0),
        kind,
        message,
        item: None,
        connector: "fax".to_owned(),
        destination: None,
        sender: "sender@a.example".to_owned(),
        recipients: vec![EventRecipient::new(0, "FAX:+49300")],
        internet_message_id: None,
        subject: None,
        size: None,
        attempt: None,
        details: Vec::new(),
    }
}

/// A settlement in which all recipients of an item arrived.
#[must_use]
pub fn delivered(item: &Item) -> Settle {
    let mut settle = Settle::gone_silently(item.id);
    for _ in &item.recipients {
        settle.fates.add(Fate::Delivered);
    }
    settle.events.push(event(item.id.message, EventKind::Deliver));
    settle
}

/// A settlement in which all recipients of an item are to be tried again at this time.
#[must_use]
pub fn deferred(mut item: Item, at: Timestamp) -> Settle {
    item.attempts += 1;
    item.next_attempt = at;
    item.last_error = Some("451 4.4.1 no answer".to_owned());
    let event = event(item.id.message, EventKind::Defer);
    Settle { events: vec![event], ..Settle::replace(item) }
}

/// The item with all its queued recipients waiting for receipts until this time.
#[must_use]
pub fn pending(mut item: Item, until: Timestamp) -> Item {
    for recipient in &mut item.recipients {
        recipient.state = RecipientState::Pending {
            receipt_ids: vec![format!("job-{}", recipient.recipient.index)],
            response: Response::new(250, (2, 0, 0), "queued at the far end"),
            expires_at: until,
            call: None,
        };
    }
    item
}

/// A DSN that is owed.
#[must_use]
pub fn dsn(item: &Item, message: &MessageInfo, kind: DsnKind) -> DsnRequest {
    DsnRequest {
        key: format!("{}-{}", item.id, kind.action()),
        kind,
        item: item.id,
        connector: item.next_hop.connector.to_string(),
        message: message.clone(),
        headers: b"Subject: hello\r\n".to_vec(),
        content: None,
        recipients: item
            .recipients
            .iter()
            .map(|r| DsnRecipient {
                recipient: r.recipient.clone(),
                response: Response::new(550, (5, 1, 1), "no such number"),
                remote_id: None,
                details: Vec::new(),
                unconfirmed: false,
            })
            .collect(),
        at: time(1),
        retry_until: None,
    }
}

/// A receipt to wait for.
#[must_use]
pub fn receipt(item: &Item, id: &str) -> StoredReceipt {
    StoredReceipt {
        connector: item.next_hop.connector.to_string(),
        id: id.to_owned(),
        item: item.id,
        destination: item.next_hop.destination.to_string(),
        sender: "sender@a.example".to_owned(),
        recipients: vec![EventRecipient::new(0, "FAX:+49300")],
        decides: true,
        at: time(1),
        expires_at: time(600),
        call: None,
    }
}

/// A receipt that nobody waits for any longer.
#[must_use]
pub fn past_receipt(item: &Item, id: &str, word: Option<ReceiptWord>) -> PastReceipt {
    let StoredReceipt { connector, id, item, destination, sender, recipients, .. } = receipt(item, id);
    PastReceipt { connector, id, item, destination, sender, recipients, word, at: time(2) }
}
