//! export: an envelope as the block of fields that Exchange's Replay directory and ours read. Pure.

use postern_drop::profile::exchange::{Block, Party};
use postern_model::{BodyType, Envelope, Notify, Priority, Recipient, Return};
use postern_smtp::xtext;

use crate::receive::file::replay::OwnProperties;

/// What stands in `X-CreatedBy`.
const CREATED_BY: &str = "Postern";

/// Which of a recipient's addresses a block names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Those of the envelope, before rewriting: whoever reads it routes them anew.
    Envelope,
    /// Those that they were routed by, for the gateway behind that route.
    Routed,
}

/// The block of a message for these recipients.
#[must_use]
pub fn block<'a>(
    envelope: &Envelope,
    recipients: impl Iterator<Item = &'a Recipient>,
    addresses: Addresses,
) -> Block {
    let mut parameters = Vec::new();
    match envelope.body {
        BodyType::SevenBit => {}
        BodyType::EightBit => parameters.push("BODY=8BITMIME".to_owned()),
        BodyType::Binary => parameters.push("BODY=BINARYMIME".to_owned()),
    }
    match envelope.ret {
        None => {}
        Some(Return::Full) => parameters.push("RET=FULL".to_owned()),
        Some(Return::Headers) => parameters.push("RET=HDRS".to_owned()),
    }
    parameters.extend(envelope.envelope_id.as_deref().map(|id| format!("ENVID={}", xtext::encode(id))));
    Block {
        sender: Party { address: envelope.reverse_path.clone(), parameters, properties: None },
        receivers: recipients.map(|recipient| receiver(recipient, addresses)).collect(),
        created_by: Some(CREATED_BY.to_owned()),
        helo: envelope.helo.clone().filter(|helo| !helo.is_empty()),
        source: Some(format!("{}:{}", envelope.protocol, envelope.receive_connector)),
        source_address: Some(envelope.client.map_or("0.0.0.0".to_owned(), |client| client.to_string())),
        properties: None,
        own_properties: None,
        token: None,
    }
}

/// What only this host understands of an envelope; `None` where there is nothing beyond the block.
#[must_use]
pub fn own_properties(envelope: &Envelope) -> Option<OwnProperties> {
    let own = OwnProperties {
        v: OwnProperties::VERSION,
        priority: envelope.priority,
        must_deliver: envelope.must_deliver,
        properties: envelope.properties.clone(),
    };
    let says_something = own.priority != Priority::Normal || own.must_deliver || !own.properties.is_empty();
    says_something.then_some(own)
}

fn receiver(recipient: &Recipient, addresses: Addresses) -> Party {
    let before = recipient.envelope_address.as_ref().filter(|_| addresses == Addresses::Envelope);
    let address = before.unwrap_or(&recipient.address);
    let mut parameters = Vec::new();
    parameters.extend(recipient.notify.map(notify));
    if let Some(original) = &recipient.original {
        parameters.push(format!("ORCPT={};{}", original.kind, xtext::encode(&original.address)));
    }
    Party { address: address.display(), parameters, properties: None }
}

fn notify(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let words: Vec<&str> = words.into_iter().filter_map(|(wanted, word)| wanted.then_some(word)).collect();
    if words.is_empty() { "NOTIFY=NEVER".to_owned() } else { format!("NOTIFY={}", words.join(",")) }
}

#[cfg(test)]
mod tests {
    use postern_model::{OriginalRecipient, TypedAddress};

    use super::*;

    #[test]
    fn the_block_has_what_smtp_would_say() {
        let mut envelope = Envelope::generated("jo@a.example", "2026-03-02T12:00:00Z".parse().unwrap());
        envelope.body = BodyType::EightBit;
        envelope.ret = Some(Return::Headers);
        envelope.envelope_id = Some("a b".to_owned());
        envelope.client = Some("192.0.2.1".parse().unwrap());
        let recipient = Recipient {
            notify: Some(Notify { success: true, failure: true, delay: false }),
            original: Some(OriginalRecipient { kind: "rfc822".to_owned(), address: "+49@x".to_owned() }),
            envelope_address: Some(TypedAddress::smtp("before@x.example").unwrap()),
            ..Recipient::new(0, TypedAddress::parse("FAX:+49").unwrap())
        };
        let never = Recipient {
            notify: Some(Notify::NEVER),
            ..Recipient::new(1, TypedAddress::parse("FAX:+49 30").unwrap())
        };
        let routed = block(&envelope, [&recipient].into_iter(), Addresses::Routed);
        assert_eq!(routed.receivers[0].address, "FAX:+49");
        let block = block(&envelope, [&recipient, &never].into_iter(), Addresses::Envelope);
        assert_eq!(block.sender.parameters, ["BODY=8BITMIME", "RET=HDRS", "ENVID=a+20b"]);
        assert_eq!(block.receivers[0].address, "before@x.example");
        assert_eq!(block.receivers[0].parameters, ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;+2B49@x"]);
        assert_eq!(
            (block.receivers[1].address.as_str(), &block.receivers[1].parameters[0]),
            ("FAX:+49 30", &"NOTIFY=NEVER".to_owned())
        );
        let bytes = block.to_bytes();
        assert_eq!(Block::parse(&bytes), Ok((block, bytes.len())));
        assert_eq!(own_properties(&envelope), None);
        envelope.must_deliver = true;
        assert!(own_properties(&envelope).unwrap().must_deliver);
    }
}
