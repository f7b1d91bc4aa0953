//! Inbound: a short message that somebody sent, as mail. It is acknowledged when the host has it, never before.

use postern_agent_sdk::host;
use postern_agent_sdk::inbound::Submission;
use postern_telecom::{coding, header};

use crate::pdu::{HAS_HEADER, Message};
use crate::settings::Settings;

/// Hands it in.
///
/// # Errors
/// With the reason why it is not taken; the message centre then keeps it.
pub fn hand_in(message: &Message, settings: &Settings) -> Result<(), String> {
    let to = settings.inbound_to.as_deref().ok_or("settings.inbound_to names nobody to give it to")?;
    // A short message has no id of its own, and two with the same text may both be meant.
    let remote_id: String = host::random(16).iter().map(|byte| format!("{byte:02x}")).collect();
    let content = mail(message, settings, to, &remote_id);
    let sender = address(message, settings);
    Submission { remote_id, reverse_path: sender, recipients: vec![to.to_owned()], content }
        .submit()
        .map(drop)
}

/// The address of the sender; empty where an answer would lead nowhere.
fn address(message: &Message, settings: &Settings) -> String {
    let from = &message.source.address;
    let is_number = !from.is_empty() && from.bytes().all(|b| b.is_ascii_digit() || b == b'+');
    match &settings.inbound_domain {
        Some(domain) if is_number => format!("{}{}@{domain}", plus(message), from.trim_start_matches('+')),
        _ => String::new(),
    }
}

/// `+` before an international number.
fn plus(message: &Message) -> &'static str {
    if message.source.ton == 1 { "+" } else { "" }
}

fn mail(message: &Message, settings: &Settings, to: &str, id: &str) -> Vec<u8> {
    let (segment, data) = match message.esm_class & HAS_HEADER {
        0 => (None, &*message.data),
        _ => header::read(&message.data).unwrap_or((None, &message.data)),
    };
    let text = coding::decode(message.data_coding, data, settings.default7());
    let of = segment.map_or_else(String::new, |part| format!(" ({}/{})", part.number, part.total));
    let visible = |text: &str| -> String { text.chars().filter(|c| ('\x20'..'\x7F').contains(c)).collect() };
    let from = visible(&message.source.address).replace(['<', '>', '"', '\\', '@', ',', ';', ':'], "");
    let sender = address(message, settings);
    // Without an address of its own it still says in its name who it is from.
    let sender = if sender.is_empty() { "postmaster@localhost" } else { &sender };
    let mut mail = format!(
        "From: \"{from}\" <{sender}>\r\nTo: <{to}>\r\nSubject: Short message from {from}{of}\r\nDate: {}\r\n\
         Message-ID: <{id}.sms@localhost>\r\nX-SMS-To: {}\r\nMIME-Version: 1.0\r\n",
        date(host::now().0),
        visible(&message.destination.address),
    );
    if let Some(part) = segment {
        mail.push_str(&format!("X-SMS-Reference: {}\r\n", part.reference));
    }
    let (kind, bytes) = match &text {
        Some(text) => ("text/plain; charset=utf-8", text.replace('\r', "").into_bytes()),
        None => ("application/octet-stream", data.to_owned()),
    };
    mail.push_str(&format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n"));
    mail.push_str(&base64(&bytes));
    mail.into_bytes()
}

/// RFC 2045 6.8, in lines of 76 letters.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for line in bytes.chunks(57) {
        for three in line.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - three.len()));
            for n in 0..4_usize {
                let letter = LETTERS[(bits >> (18 - 6 * n) & 63) as usize];
                text.push(if n <= three.len() { char::from(letter) } else { '=' });
            }
        }
        text.push_str("\r\n");
    }
    text
}

/// RFC 5322 3.3, in UTC, from seconds since 1970.
fn date(seconds: u32) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their leap day at the end (Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12;
    let year = era * 400 + year_of_era + u32::from(month < 2);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize]);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdu::Address;
    use crate::settings::tests::settings;
    use postern_agent_sdk::testing::{Host, submissions};

    fn answer(text: &[u8]) -> Message {
        Message {
            source: Address { ton: 1, npi: 1, address: "4930123456".to_owned() },
            destination: Address { ton: 3, npi: 0, address: "80111".to_owned() },
            data: text.to_owned(),
            ..Message::default()
        }
    }

    #[test]
    fn an_answer_becomes_a_mail_that_can_be_answered() {
        Host::new().inbound().install();
        let settings = settings(r#""inbound_to": "desk@inside.example", "inbound_domain": "sms.example""#);
        hand_in(&answer(b"yes\x00"), &settings).unwrap();
        hand_in(&answer(b"yes\x00"), &settings).unwrap();
        let all = submissions();
        assert_ne!(all[0].remote_id, all[1].remote_id, "both may be meant");
        assert_eq!(all[0].reverse_path, "+4930123456@sms.example");
        let text = String::from_utf8(all[0].content.clone()).unwrap();
        assert!(text.contains("From: \"4930123456\" <+4930123456@sms.example>\r\n"), "{text}");
        assert!(text.contains("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\neWVzQA==\r\n"), "{text}");
    }

    #[test]
    fn without_a_grant_or_an_address_it_stays_where_it_is() {
        Host::new().install();
        assert!(hand_in(&answer(b"yes"), &settings("")).unwrap_err().contains("inbound_to"));
        let granted = settings(r#""inbound_to": "desk@inside.example""#);
        assert!(hand_in(&answer(b"yes"), &granted).unwrap_err().contains("granted"));
    }

    #[test]
    fn what_stands_in_an_address_writes_no_header() {
        Host::new().inbound().install();
        let mut evil = answer(b"x");
        evil.source.address = "a\r\nBcc: x@y\"<".to_owned();
        hand_in(&evil, &settings(r#""inbound_to": "desk@inside.example""#)).unwrap();
        let text = String::from_utf8(submissions()[0].content.clone()).unwrap();
        assert!(!text.contains("\nBcc"), "{text}");
        assert_eq!(submissions()[0].reverse_path, "");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(date(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert_eq!(date(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 +0000");
    }
}
