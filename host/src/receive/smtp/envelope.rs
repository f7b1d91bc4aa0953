//! From the words of SMTP to the words of the model. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use postern_model::{
    BodyType, Content, Envelope, MessageId, Notify, Origin, OriginalRecipient, Priority, Recipient, Return,
    TypedAddress, text,
};
use postern_smtp::{Body, RcptParams, ReceivedMessage, Ret};

use crate::submit::Submission;

/// The longest Message-ID or subject that is kept for views, in bytes.
const MAX_VIEW: usize = 500;

/// What is known of the client.
pub struct Facts<'a> {
    /// The receive connector.
    pub connector: &'a str,
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
        receive_connector: facts.connector.to_owned(),
        protocol: facts.protocol.to_owned(),
        received_at: Timestamp::now(),
        priority: Priority::Normal,
        must_deliver: false,
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
    use super::decoded;

    #[test]
    fn encoded_words_are_decoded_and_foreign_bytes_survive() {
        assert_eq!(decoded(b"=?utf-8?q?Gr=C3=BC=C3=9Fe?="), "Grüße");
        assert_eq!(decoded(b"plain"), "plain");
        assert_eq!(decoded(b"broken =?utf-8?q"), "broken =?utf-8?q");
        assert_eq!(decoded(b"\xff"), "\u{fffd}");
    }
}
