//! Compose: from an item to the short messages that it becomes. Pure but for what the item is asked.

use postern_agent_sdk::{Item, Outcome, Recipient, Response, class};
use postern_telecom::segment::{self, Encoded};
use postern_telecom::{Alphabet, Concatenation, Default7, NumberError, coding, gsm7, header, number};

use crate::pdu::{Address, HAS_HEADER, Message};
use crate::settings::{Content, Long, Settings};

/// The most that a `message_payload` holds, in bytes.
const MAX_PAYLOAD: usize = 65_535;

/// The user data of the short messages that a text becomes, whoever gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    data_coding: u8,
    segments: Vec<Vec<u8>>,
    payload: bool,
}

impl Body {
    /// How many short messages are submitted.
    #[must_use]
    pub fn submissions(&self) -> usize {
        self.segments.len()
    }
}

/// The text of an item as short messages; `Err` with what becomes of all its recipients.
///
/// # Errors
/// With an outcome: there is no text, or too much of it, or the host cannot read it.
pub fn body(item: &Item, settings: &Settings) -> Result<Body, Outcome> {
    let unreadable = |text: String| Outcome::deferred(format!("the message could not be read: {text}"), "");
    let text = text(item, settings).map_err(unreadable)?;
    if text.is_empty() {
        let response = Response::new(554, (5, 6, 0), "there is no text to send as a short message");
        return Err(Outcome::failed(response, class::CONTENT_REJECTED));
    }
    let encoded = segment::encode(&text, settings.policy());
    let encoded = match (encoded.alphabet, settings.default7()) {
        // The euro sign and the Greek letters of the GSM alphabet are not in Latin-1.
        (Alphabet::Gsm7, Default7::Latin1) if coding::to_latin1(&encoded.text).is_none() => {
            Encoded { alphabet: Alphabet::Ucs2, ..encoded }
        }
        _ => encoded,
    };
    let count = encoded.count(settings.width());
    if count.segments > settings.max_segments as usize {
        return Err(too_large(&format!(
            "the text takes {} short messages, settings.max_segments allows {}",
            count.segments, settings.max_segments
        )));
    }
    let payload = settings.long == Long::Payload && count.segments > 1;
    let segments = if payload {
        vec![encoded.whole()]
    } else {
        encoded.segments(settings.width()).map_err(|many| too_large(&many.to_string()))?
    };
    if payload && segments.iter().any(|data| data.len() > MAX_PAYLOAD) {
        return Err(too_large("the text is larger than a message_payload"));
    }
    let latin1 = encoded.alphabet == Alphabet::Gsm7 && settings.default7() == Default7::Latin1;
    let in_latin1 = |septets: Vec<u8>| coding::to_latin1(&gsm7::decode(&septets)).unwrap_or(septets);
    let segments = if latin1 { segments.into_iter().map(in_latin1).collect() } else { segments };
    Ok(Body { data_coding: coding::of(encoded.alphabet), segments, payload })
}

fn too_large(text: &str) -> Outcome {
    Outcome::failed(Response::new(552, (5, 3, 4), text), class::TOO_LARGE)
}

/// What of the message is sent.
fn text(item: &Item, settings: &Settings) -> Result<String, String> {
    // A letter has at most four bytes: more letters than these take more segments than are allowed, however it is cut.
    let most = settings.max_segments * 160 * 4 + 4;
    let subject = || -> Result<String, String> {
        let headers = item.headers()?;
        let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("subject"));
        Ok(found.map_or_else(String::new, |(_, value)| tidied(value)))
    };
    let text = || Ok::<_, String>(tidied(&item.text(most)?.unwrap_or_default()));
    Ok(match settings.content {
        Content::Subject => subject()?,
        Content::Text => Some(text()?).filter(|text| !text.is_empty()).map_or_else(subject, Ok)?,
        Content::SubjectAndText => format!("{}\n{}", subject()?, text()?).trim().to_owned(),
    })
}

/// Lines end with LF alone, which is one letter of the GSM alphabet.
fn tidied(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned()
}

/// The number of a recipient, as SMPP has it: without `+`. Of an SMTP address it is what stands before the `@`.
///
/// # Errors
/// When it is none.
pub fn destination(recipient: &Recipient, settings: &Settings) -> Result<Address, NumberError> {
    let written = recipient.address.split_once('@').map_or(&*recipient.address, |(local, _)| local);
    let number = number::normalise(written, &settings.dialling())?;
    Ok(Address {
        ton: settings.destination_ton,
        npi: settings.destination_npi,
        address: number.trim_start_matches('+').to_owned(),
    })
}

/// What becomes of a recipient whose number is none.
#[must_use]
pub fn no_number(why: NumberError) -> Outcome {
    Outcome::failed(Response::new(550, (5, 1, 3), &why.to_string()), class::INVALID_ADDRESS)
}

/// Who the short messages are from: a name (TON 5), a number with `+` (TON 1) or a short code (TON 3), unless the settings say.
#[must_use]
pub fn source(settings: &Settings) -> Address {
    let text = settings.source.as_str();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (ton, npi, address) = match text.strip_prefix('+') {
        Some(number) => (1, 1, number),
        None if text.is_empty() => (0, 0, text),
        None if digits => (3, 0, text),
        None => (5, 0, text),
    };
    Address {
        ton: settings.source_ton.unwrap_or(ton),
        npi: settings.source_npi.unwrap_or(npi),
        address: address.to_owned(),
    }
}

/// The short messages to one number. All attempts at a recipient share the reference of their segments, so that a telephone
/// which got some of them before takes the others for the rest.
#[must_use]
pub fn messages(body: &Body, destination: &Address, key: &str, settings: &Settings) -> Vec<Message> {
    let total = u8::try_from(body.segments.len()).expect("the settings allow at most 255 segments");
    let one = |(data, number): (&Vec<u8>, u8)| {
        let mut message = Message {
            source: source(settings),
            destination: destination.clone(),
            registered_delivery: u8::from(settings.receipts),
            data_coding: body.data_coding,
            payload: body.payload,
            ..Message::default()
        };
        if total > 1 {
            let concatenation = Concatenation { reference: reference(key), total, number };
            message.esm_class = HAS_HEADER;
            message.data = header::write(concatenation, settings.width());
        }
        message.data.extend_from_slice(data);
        message
    };
    body.segments.iter().zip(1..=total).map(one).collect()
}

/// FNV-1a, folded: the same for one key, and different for most others.
fn reference(key: &str) -> u16 {
    let hash =
        key.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;
    use postern_agent_sdk::testing::{TestItem, recipient};

    fn item(text: &str) -> Item {
        let mut item = TestItem::new(b"");
        item.text = Ok(Some(text.to_owned()));
        item.headers = Ok(vec![("Subject".to_owned(), "a subject".to_owned())]);
        item.item()
    }

    fn sent(text: &str, more: &str) -> Vec<Message> {
        let settings = settings(more);
        let body = body(&item(text), &settings).unwrap();
        messages(&body, &Address::default(), "key", &settings)
    }

    #[test]
    fn a_long_text_goes_in_segments_or_in_one_payload() {
        let long = "x".repeat(200);
        let parts = sent(&long, "");
        assert_eq!(
            parts.iter().map(|m| (m.esm_class, m.data.len())).collect::<Vec<_>>(),
            [(0x40, 159), (0x40, 53)]
        );
        assert_eq!(parts[0].data[..3], [5, 0, 3]);
        assert_eq!(parts[0].data[3], parts[1].data[3], "one reference");
        assert_eq!((&parts[0].data[4..6], &parts[1].data[4..6]), (&[2, 1][..], &[2, 2][..]));
        let parts = sent(&long, r#""long": "payload""#);
        assert_eq!((parts.len(), parts[0].payload, parts[0].data.len()), (1, true, 200));
        let parts = sent(&long, r#""long": "udh16""#);
        assert_eq!((parts.len(), parts[0].data.len()), (2, 7 + 152));
        assert!(!sent("short", r#""long": "payload""#)[0].payload);
    }

    #[test]
    fn the_alphabet_follows_the_text_and_the_settings() {
        assert_eq!((sent("Grüße", "")[0].data_coding, &*sent("ü", "")[0].data), (0, &[0x7E][..]));
        assert_eq!((sent("Привет", "")[0].data_coding, sent("П", "")[0].data.len()), (8, 2));
        assert_eq!(sent("it’s", r#""alphabet": "transliterate""#)[0].data, b"it's");
        assert_eq!(sent("ü", r#""default_alphabet": "latin1""#)[0].data, [0xFC]);
        assert_eq!(sent("5 €", r#""default_alphabet": "latin1""#)[0].data_coding, 8);
    }

    #[test]
    fn what_of_the_message_is_sent_is_a_setting_and_nothing_is_no_message() {
        let subject_only = r#""content": "subject""#;
        assert_eq!(sent("text", subject_only)[0].data, b"a subject");
        assert_eq!(
            sent("text\r\nmore", r#""content": "subject-and-text""#)[0].data,
            b"a subject\ntext\nmore"
        );
        assert_eq!(sent(" \r\n", "")[0].data, b"a subject", "without a text the subject");
        let mut empty = TestItem::new(b"");
        empty.text = Ok(None);
        let outcome = body(&empty.item(), &settings("")).unwrap_err();
        assert!(matches!(outcome, Outcome::Failed(f) if f.class == class::CONTENT_REJECTED));
    }

    #[test]
    fn a_text_above_the_limit_fails_and_is_never_cut() {
        let outcome = body(&item(&"x".repeat(400)), &settings(r#""max_segments": 2"#)).unwrap_err();
        assert!(
            matches!(outcome, Outcome::Failed(f) if f.class == class::TOO_LARGE && f.response.code == 552)
        );
    }

    #[test]
    fn numbers_are_written_as_the_message_centre_has_them() {
        let settings = settings(r#""country": "49""#);
        for address in ["+4930123456", "030 123456", "0049 30 123456", "030123456@sms.example"] {
            let found = destination(&recipient(0, address), &settings).unwrap();
            assert_eq!((found.ton, found.npi, found.address.as_str()), (1, 1, "4930123456"), "{address}");
        }
        assert!(destination(&recipient(0, "ann@sms.example"), &settings).is_err());
    }

    #[test]
    fn the_sender_is_a_name_a_number_or_a_code() {
        for (text, ton, npi, address) in [
            ("Postern", 5, 0, "Postern"),
            ("+4930123456", 1, 1, "4930123456"),
            ("80111", 3, 0, "80111"),
            ("", 0, 0, ""),
        ] {
            let settings = Settings { source: text.to_owned(), ..settings("") };
            assert_eq!(source(&settings), Address { ton, npi, address: address.to_owned() });
        }
    }
}
