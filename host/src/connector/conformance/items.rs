//! The items of the suite: addresses that every kind of connector can take.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use postern_model::{
    BodyType, Content, DeliveryRequest, Envelope, Fate, Item, ItemId, ItemRecipient, ItemState, MessageId,
    MessageInfo, NextHop, Origin, Priority, Recipient, RecipientState, Response, TypedAddress,
};

pub(super) fn hop() -> NextHop {
    NextHop::new("subject", "far.example")
}

/// A small message for so many recipients.
pub(super) fn small(recipients: u32) -> DeliveryRequest {
    with_content(recipients, Bytes::from_static(b"Subject: hello\r\n\r\nhello\r\n").into())
}

/// A message of five recipients, of whom the second and the fourth are done.
pub(super) fn partly_done() -> DeliveryRequest {
    let mut request = small(5);
    let item = Arc::make_mut(&mut request.item);
    for done in [1, 3] {
        let response = Response::new(250, (2, 0, 0), "done");
        item.recipients[done].state =
            RecipientState::Final { fate: Fate::Delivered, response, at: Timestamp::UNIX_EPOCH };
    }
    request
}

/// A message with this content.
pub(super) fn with_content(recipients: u32, content: Content) -> DeliveryRequest {
    let (id, now) = (MessageId::generate(), Timestamp::now());
    let mut envelope = Envelope::generated("jo@home.example", now);
    envelope.body = BodyType::EightBit;
    let queued = |index| {
        let address = TypedAddress::smtp(&format!("r{index}@far.example")).unwrap();
        ItemRecipient::queued(Recipient::new(index, address))
    };
    let item = Item {
        id: ItemId { message: id, ordinal: 0 },
        next_hop: hop(),
        recipients: (0..recipients).map(queued).collect(),
        priority: Priority::Normal,
        state: ItemState::Active,
        attempts: 0,
        traps: 0,
        settlements: 0,
        enqueued_at: now,
        next_attempt: now,
        expires_at: None,
        delay_dsn_at: None,
        last_error: None,
    };
    let message = MessageInfo {
        id,
        origin: Origin::Accepted,
        envelope,
        size: content.size(),
        internet_message_id: None,
        subject: None,
    };
    DeliveryRequest { message: Arc::new(message), item: Arc::new(item), content, attempt: 1 }
}
