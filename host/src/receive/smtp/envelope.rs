//! From the words of SMTP to the words of the model. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use postern_model::{
    BodyType, Content, Envelope, MessageId, Notify, Origin, OriginalRecipient, Priority, Recipient, Return,
    TypedAddress, text,
};
use postern_smtp::{Body, HeaderFacts, RcptParams, ReceivedMessage, Ret};

use crate::config::ReceiveConfig;
use crate::submit::Submission;

/// The longest Message-ID or subject that is kept for views, in bytes.
const MAX_VIEW: usize = 500;

/// What is known of the client.
pub struct Facts<'a> {
    /// The receive connector.
    pub connector: &'a ReceiveConfig,
    /// The client's address.
    pub client: IpAddr,
    /// What it called itself.
    pub helo: Option<&'a str>,
    /// `SMTP` or `ESMTP`.
    pub protocol: &'static str,
}

/// The submission of a received message.
pub fn submission(
    facts: &Facts<'_>,
    message: &ReceivedMessage,
    recipients: Vec<(TypedAddress, &RcptParams)>,
    content: Content,
) -> Submission {
    let params = &message.mail.params;
    let envelope = Envelope {
        reverse_path: message.mail.reverse_path.to_string(),
        envelope_id: params.envelope_id.clone(),
        ret: params.ret.map(|ret| match ret {
            Ret::Full => Return::Full,
            Ret::Headers => Return::Headers,
        }),
        body: match params.body {
            None | Some(Body::SevenBit) => BodyType::SevenBit,
            Some(Body::EightBit) => BodyType::EightBit,
            Some(Body::Binary) => BodyType::Binary,
        },
        helo: facts.helo.map(str::to_owned),
        client: Some(facts.client),
        submitter: None,
        receive_connector: facts.connector.name.to_string(),
        protocol: facts.protocol.to_owned(),
        received_at: Timestamp::now(),
        priority: priority(facts.connector, &message.header, content.size()),
        must_deliver: facts.connector.must_deliver,
        properties: Vec::new(),
    };
    let recipients =
        (0..).zip(recipients).map(|(index, (address, params))| recipient(index, address, params));
    Submission {
        id: MessageId::generate(),
        origin: Origin::Accepted,
        envelope,
        recipients: recipients.collect(),
        content,
        internet_message_id: message
            .header
            .message_id
            .as_deref()
            .map(|raw| shown(&String::from_utf8_lossy(raw))),
        subject: message.header.subject.as_deref().map(decoded),
        outbox_key: None,
        inbound: None,
        is_ours: false,
    }
}

/// How urgent the sender calls it, where that counts: by `X-Priority` (1 to 5), else by `Priority` or `Importance`
/// (RFC 4021, sections 2.1.54 and 2.1.52). What is not understood is normal, and so is what is urgent but large.
fn priority(config: &ReceiveConfig, header: &HeaderFacts, size: u64) -> Priority {
    let said = [&header.x_priority, &header.priority, &header.importance].into_iter().flatten().next();
    let Some(said) = said.filter(|_| config.sender_priority) else { return Priority::Normal };
    // "1 (Highest)": what stands behind the first word is a remark.
    let word = said.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_ascii_lowercase();
    match word.as_slice() {
        b"1" | b"2" | b"urgent" | b"high" if size <= config.max_high_priority_size => Priority::High,
        b"4" | b"5" | b"non-urgent" | b"low" => Priority::Low,
        _ => Priority::Normal,
    }
}

fn recipient(index: u32, address: TypedAddress, params: &RcptParams) -> Recipient {
    Recipient {
        notify: params.notify.map(|n| Notify { success: n.success, failure: n.failure, delay: n.delay }),
        original: params
            .original
            .as_ref()
            .map(|o| OriginalRecipient { kind: o.kind.clone(), address: o.address.clone() }),
        ..Recipient::new(index, address)
    }
}

/// The subject for people: encoded words decoded, one line.
fn decoded(raw: &[u8]) -> String {
    if !raw.windows(2).any(|pair| pair == b"=?") {
        return shown(&String::from_utf8_lossy(raw));
    }
    let mut field = b"Subject: ".to_vec();
    field.extend_from_slice(raw);
    field.extend_from_slice(b"\r\n\r\n");
    let parsed = mail_parser::MessageParser::default().parse_headers(&field[..]);
    let subject = parsed.as_ref().and_then(|m| m.subject()).map(str::to_owned);
    shown(&subject.unwrap_or_else(|| String::from_utf8_lossy(raw).into_owned()))
}

fn shown(value: &str) -> String {
    text::one_line(value, MAX_VIEW)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use postern_model::Priority;
    use postern_smtp::HeaderFacts;

    use super::{decoded, priority};
    use crate::config::{ReceiveConfig, check_text};

    fn connector(lines: &str) -> ReceiveConfig {
        let text = format!(
            "[host]\nname = \"gw.example\"\n[receive_connectors.in]\nlisten = [\"127.0.0.1:0\"]\n{lines}"
        );
        let checked = check_text(&text, Path::new("x"), Path::new("/x"), &|_| None);
        checked.map_err(|report| report.human()).unwrap().0.receive_connectors.remove(0)
    }

    #[test]
    fn the_sender_says_how_urgent_a_message_is_where_that_counts() {
        let fields = |x_priority: &str, priority: &str, importance: &str| {
            let value = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
            HeaderFacts {
                x_priority: value(x_priority),
                priority: value(priority),
                importance: value(importance),
                ..HeaderFacts::default()
            }
        };
        let cases = [
            (fields("", "", ""), Priority::Normal),
            (fields("1 (Highest)", "", ""), Priority::High),
            (fields("2", "", ""), Priority::High),
            (fields("3", "urgent", "high"), Priority::Normal),
            (fields("5", "urgent", ""), Priority::Low),
            (fields("", "Urgent", "low"), Priority::High),
            (fields("", "non-urgent", ""), Priority::Low),
            (fields("", "normal", "high"), Priority::Normal),
            (fields("", "", "HIGH"), Priority::High),
            (fields("", "", "low"), Priority::Low),
            (fields("eleven", "", ""), Priority::Normal),
        ];
        let (on, off) = (connector("sender_priority = true\n"), connector(""));
        for (header, expected) in cases {
            assert_eq!(priority(&on, &header, 256_000), expected, "{header:?}");
            assert_eq!(priority(&off, &header, 1), Priority::Normal, "{header:?}");
        }
        assert_eq!(priority(&on, &fields("1", "", ""), 256_001), Priority::Normal, "it is too large");
        assert_eq!(priority(&on, &fields("5", "", ""), 256_001), Priority::Low);
    }

    #[test]
    fn encoded_words_are_decoded_and_foreign_bytes_survive() {
        assert_eq!(decoded(b"=?utf-8?q?Gr=C3=BC=C3=9Fe?="), "Grüße");
        assert_eq!(decoded(b"plain"), "plain");
        assert_eq!(decoded(b"broken =?utf-8?q"), "broken =?utf-8?q");
        assert_eq!(decoded(b"\xff"), "\u{fffd}");
    }
}
