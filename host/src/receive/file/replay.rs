//! Replay: the envelope that stands in a block before the message, as Exchange and Postern export it. Pure.
//!
//! Whatever Exchange writes is accepted; what means nothing here (its property blobs, unknown parameters) is passed over.
//! The word of a file beyond its envelope counts as far as `trust` says. The host's own exports carry a token by
//! which it knows that they are unchanged ([`super::import`]): those get their priority and properties back.

use postern_drop::profile::exchange::{Block, Party};
use postern_model::{BodyType, Notify, OriginalRecipient, Priority, Recipient, Return, TypedAddress};
use postern_smtp::{Body, Extensions, MailParams, Mailbox, RcptParams, Ret, ReversePath};
use serde::{Deserialize, Serialize};

use super::header::{Firewall, Header, views};
use super::{Extras, Letter, Refusal, Rules};
use crate::config::{FileDoorKind, Trust};

/// What Exchange 2013 to 2019 call themselves in `X-CreatedBy`.
const EXCHANGE: &str = "MSExchange15";

/// What only this host understands of its own exports; the value of `X-Postern-Properties`, in hex.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnProperties {
    /// The version of this form.
    pub v: u32,
    /// How urgent the message is.
    #[serde(default)]
    pub priority: Priority,
    /// It never expires.
    #[serde(default)]
    pub must_deliver: bool,
    /// Extension properties of the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<(String, String)>,
}

impl OwnProperties {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// As the value of a field.
    #[must_use]
    pub fn to_value(&self) -> String {
        let json = serde_json::to_vec(self).expect("plain data is JSON");
        json.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse(value: &str) -> Option<Self> {
        let digits: Vec<u8> = value.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let own: Self = serde_json::from_slice(&bytes?).ok()?;
        (own.v == Self::VERSION).then_some(own)
    }
}

/// The block at the beginning of a file, and where the message begins behind it.
///
/// # Errors
/// That there is none that could be used.
pub fn block(head: &[u8]) -> Result<(Block, usize), Refusal> {
    Block::parse(head).map_err(|error| Refusal::bad(&error.to_string()))
}

/// Reads a file's header behind the block. `is_own`: the block's token was checked against the whole file. The rest is as
/// in [`super::pickup::read`].
///
/// # Errors
/// Why the file is not taken as a message.
pub fn read(
    block: &Block,
    at: usize,
    is_own: bool,
    head: &[u8],
    size: u64,
    rules: Rules<'_>,
) -> Result<Letter, Refusal> {
    let limit = usize::try_from(rules.door.max_header_size).unwrap_or(usize::MAX);
    let rest = limit.saturating_sub(at);
    let header = Header::parse(&head[at..], rest).map_err(|error| Refusal::bad(&error.to_string()))?;
    let own = block.own_properties.as_deref().filter(|_| is_own).and_then(OwnProperties::parse);
    let mut extras = extras(block).map_err(|text| Refusal::bad(&text))?;
    let sender: ReversePath = block
        .sender
        .address
        .parse()
        .map_err(|error| Refusal::bad(&format!("X-Sender {:?} is {error}", block.sender.address)))?;
    let sender = sender.to_string();
    if !rules.folder.admits_sender(&sender) {
        return Err(Refusal::bad(&format!("<{sender}> may not send from this directory (senders)")));
    }
    let mut recipients = Vec::with_capacity(block.receivers.len());
    for (index, receiver) in (0..).zip(&block.receivers) {
        recipients.push(recipient(index, receiver).map_err(|text| Refusal::bad(&text))?);
    }
    if let Some(own) = own {
        extras.priority = own.priority;
        extras.must_deliver = own.must_deliver;
        extras.properties = own.properties;
    }
    let firewall = if is_trusted(block, is_own, rules) { Firewall::Trusted } else { Firewall::Untrusted };
    let mended = header.mended(firewall, rules.host_name, rules.now);
    let (internet_message_id, subject) = views(&mended);
    let letter = Letter {
        sender,
        recipients,
        header: mended,
        body_at: at + header.size,
        internet_message_id,
        subject,
        extras,
    };
    super::submission::check_limits(letter, header.hops(), size, rules)
}

fn is_trusted(block: &Block, is_own: bool, rules: Rules<'_>) -> bool {
    let created_by_exchange =
        || block.created_by.as_deref().is_some_and(|by| by.eq_ignore_ascii_case(EXCHANGE));
    is_own
        || match rules.door.kind {
            FileDoorKind::Replay(Trust::All) => true,
            FileDoorKind::Replay(Trust::CreatedBy) => created_by_exchange(),
            FileDoorKind::Replay(Trust::Own) | FileDoorKind::Pickup => false,
        }
}

fn extensions() -> Extensions {
    Extensions {
        size: true,
        dsn: true,
        eight_bit_mime: true,
        chunking: true,
        binary_mime: true,
        ..Extensions::default()
    }
}

/// The parameters that are known, in SMTP's own notation; an `auth=<>` and the like is passed over.
fn known(party: &Party, keywords: &[&str]) -> String {
    let is_known = |parameter: &&String| {
        let keyword = parameter.split('=').next().unwrap_or_default();
        keywords.iter().any(|known| keyword.eq_ignore_ascii_case(known))
    };
    party.parameters.iter().filter(is_known).map(|parameter| format!(" {parameter}")).collect()
}

fn extras(block: &Block) -> Result<Extras, String> {
    let text = known(&block.sender, &["BODY", "RET", "ENVID"]);
    let params = MailParams::parse(&text, &extensions())
        .map_err(|error| format!("the parameters of X-Sender ({}) cannot be read: {error}", text.trim()))?;
    Ok(Extras {
        envelope_id: params.envelope_id,
        ret: params.ret.map(|ret| match ret {
            Ret::Full => Return::Full,
            Ret::Headers => Return::Headers,
        }),
        body: params.body.map(|body| match body {
            Body::SevenBit => BodyType::SevenBit,
            Body::EightBit => BodyType::EightBit,
            Body::Binary => BodyType::Binary,
        }),
        helo: block.helo.as_deref().map(|helo| postern_model::text::one_line(helo, 255)),
        ..Extras::default()
    })
}

fn recipient(index: u32, receiver: &Party) -> Result<Recipient, String> {
    let wrong =
        |what: &dyn std::fmt::Display| format!("X-Receiver {:?} cannot be used: {what}", receiver.address);
    // Addresses of other types have a colon, which no mailbox has outside of quotes.
    let address = match receiver.address.parse::<Mailbox>() {
        Ok(mailbox) => TypedAddress::smtp(mailbox.as_str()),
        Err(error) => match TypedAddress::parse(&receiver.address) {
            Ok(address) if !address.kind().is_smtp() => Ok(address),
            _ => return Err(wrong(&error)),
        },
    };
    let text = known(receiver, &["NOTIFY", "ORCPT"]);
    let params = RcptParams::parse(&text, &extensions()).map_err(|error| wrong(&error))?;
    Ok(Recipient {
        notify: params.notify.map(|n| Notify { success: n.success, failure: n.failure, delay: n.delay }),
        original: params.original.map(|o| OriginalRecipient { kind: o.kind, address: o.address }),
        ..Recipient::new(index, address.map_err(|error| wrong(&error))?)
    })
}

#[cfg(test)]
mod tests {
    use super::super::submission::tests::door;
    use super::*;

    fn read(text: &str, lines: &str, is_own: bool) -> Result<Letter, Refusal> {
        let door = door("replay_directories", lines);
        let now = "2026-03-02T12:00:00Z".parse().unwrap();
        let rules = Rules { door: &door, folder: &door.folders[0], host_name: "gw.example", now };
        let (block, at) = block(text.as_bytes())?;
        super::read(&block, at, is_own, text.as_bytes(), text.len() as u64, rules)
    }

    const EXPORT: &str = "X-Sender: <jo@corp.example> BODY=8bitmime RET=FULL ENVID=a+2Bb auth=<>\r\n\
        X-Receiver: <x@fax.example> ORCPT=rfc822;X@fax.example NOTIFY=SUCCESS,DELAY; X-ExtendedProps=AA==\r\n\
        X-Receiver: <FAX:+4930123>\r\nX-CreatedBy: MSExchange15\r\nX-HeloDomain: ex1\r\nX-ExtendedProps: BB==\r\n\
        X-Source: SMTP:Default\r\nX-EndOfInjectedXHeaders: 50610\r\n\
        From: jo@corp.example\r\nTo: list@z.example\r\nBcc: s@z.example\r\nX-MS-Exchange-Organization-SCL: -1\r\n\r\nbody";

    #[test]
    fn the_envelope_is_that_of_the_block_and_not_of_the_header() {
        let letter = read(EXPORT, "", false).unwrap();
        assert_eq!(letter.sender, "jo@corp.example");
        let to: Vec<_> = letter.recipients.iter().map(|r| r.address.display()).collect();
        assert_eq!(to, ["x@fax.example", "FAX:+4930123"]);
        assert_eq!(letter.recipients[0].original.as_ref().unwrap().address, "X@fax.example");
        let notify = Notify { success: true, failure: false, delay: true };
        assert_eq!(letter.recipients[0].notify, Some(notify));
        assert_eq!(letter.extras.envelope_id.as_deref(), Some("a+b"));
        assert_eq!((letter.extras.ret, letter.extras.body), (Some(Return::Full), Some(BodyType::EightBit)));
        assert_eq!(letter.extras.helo.as_deref(), Some("ex1"));
        assert_eq!(&EXPORT.as_bytes()[letter.body_at..], b"body");
    }

    #[test]
    fn the_word_of_a_file_counts_as_far_as_trust_says() {
        let keeps = |lines: &str, is_own| {
            let header = String::from_utf8(read(EXPORT, lines, is_own).unwrap().header).unwrap();
            assert!(!header.contains("Bcc") && header.contains("To: list@z.example"), "{header}");
            header.contains("Organization-SCL")
        };
        assert!(!keeps("", false));
        assert!(keeps("", true));
        assert!(keeps("trust = \"created-by\"", false));
        assert!(keeps("trust = \"all\"", false));
        let other = EXPORT.replace("MSExchange15", "Notes");
        let letter = read(&other, "trust = \"created-by\"", false).unwrap();
        assert!(!String::from_utf8(letter.header).unwrap().contains("Organization-SCL"));
    }

    #[test]
    fn our_own_exports_get_back_what_only_we_understand() {
        let own = OwnProperties {
            v: 1,
            priority: Priority::High,
            must_deliver: true,
            properties: vec![("a".into(), "b\r\nc".into())],
        };
        let text = format!(
            "X-Sender: <>\r\nX-Receiver: <x@y.example>\r\nX-Postern-Properties: {}\r\nX-EndOfInjectedXHeaders: 1\r\nTo: z@z\r\n\r\n",
            own.to_value()
        );
        let letter = read(&text, "", true).unwrap();
        assert_eq!((letter.extras.priority, letter.extras.must_deliver), (Priority::High, true));
        assert_eq!(letter.extras.properties, own.properties);
        let forged = read(&text, "trust = \"all\"", false).unwrap();
        assert_eq!(forged.extras, Extras::default());
    }

    #[test]
    fn what_cannot_be_an_envelope_is_refused() {
        let bad = |text: &str, expected: &str| {
            let refusal = read(text, "", false).unwrap_err();
            assert!(
                refusal.tell.is_none() && refusal.response.text.contains(expected),
                "{text}: {refusal:?}"
            );
        };
        bad("From: a@b\r\nTo: c@d\r\n\r\n", "does not begin with X-Sender");
        bad("X-Sender: <a b>\r\nX-Receiver: <c@d>\r\nFrom: x\r\n\r\n", "X-Sender");
        bad("X-Sender: <a@b>\r\nX-Receiver: <c>\r\nFrom: x\r\n\r\n", "X-Receiver");
        bad("X-Sender: <a@b> RET=ALL\r\nX-Receiver: <c@d>\r\nFrom: x\r\n\r\n", "RET=ALL");
        bad("X-Sender: <a@b>\r\nX-Receiver: <c@d> NOTIFY=NEVER,DELAY\r\nFrom: x\r\n\r\n", "X-Receiver");
        bad("X-Sender: <a@b>\r\nX-Receiver: <c@d>\r\n", "no header");
    }
}
