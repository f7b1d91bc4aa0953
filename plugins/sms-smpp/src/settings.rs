//! Settings: the connector's `settings` table, and what is checked before the first message.

use postern_telecom::{Default7, Dialling, Policy, Width};
use serde::Deserialize;

/// The connector's `settings` table. The README says what each means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the README beside this crate is their reference")]
pub struct Settings {
    pub address: String,
    pub system_id: String,
    /// The name of a granted secret.
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
    pub system_type: String,
    pub source: String,
    #[serde(default)]
    pub source_ton: Option<u8>,
    #[serde(default)]
    pub source_npi: Option<u8>,
    #[serde(default = "one_byte")]
    pub destination_ton: u8,
    #[serde(default = "one_byte")]
    pub destination_npi: u8,
    #[serde(default = "ten")]
    pub window: u32,
    #[serde(default)]
    pub content: Content,
    #[serde(default)]
    pub alphabet: AlphabetPolicy,
    #[serde(default)]
    pub default_alphabet: DefaultAlphabet,
    #[serde(default)]
    pub long: Long,
    #[serde(default = "ten")]
    pub max_segments: u32,
    #[serde(default = "yes")]
    pub receipts: bool,
    #[serde(default)]
    pub receipt_ids: ReceiptIds,
    #[serde(default)]
    pub receipt_expires_after_seconds: Option<u32>,
    #[serde(default)]
    pub country: Option<String>,
    #[serde(default = "zero_digit")]
    pub national_prefix: String,
    #[serde(default = "zero_zero")]
    pub international_prefix: String,
    #[serde(default = "thirty")]
    pub response_timeout_seconds: u32,
    #[serde(default = "thirty")]
    pub enquire_link_seconds: u32,
    #[serde(default = "ten")]
    pub throttle_pause_seconds: u32,
    #[serde(default)]
    pub on_no_answer: OnNoAnswer,
    #[serde(default)]
    pub permanent: Vec<u32>,
    #[serde(default)]
    pub temporary: Vec<u32>,
    #[serde(default)]
    pub inbound_to: Option<String>,
    #[serde(default)]
    pub inbound_domain: Option<String>,
}

fn one_byte() -> u8 {
    1
}
fn ten() -> u32 {
    10
}
fn thirty() -> u32 {
    30
}
fn yes() -> bool {
    true
}
fn zero_digit() -> String {
    "0".to_owned()
}
fn zero_zero() -> String {
    "00".to_owned()
}

/// What of the message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Its text; the subject where there is none.
    #[default]
    Text,
    /// The subject alone.
    Subject,
    /// Both, on lines of their own.
    SubjectAndText,
}

/// What is done with letters that the GSM alphabet does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlphabetPolicy {
    /// See [`Policy::Exact`].
    #[default]
    Exact,
    /// See [`Policy::Transliterate`].
    Transliterate,
    /// See [`Policy::Ucs2`].
    Ucs2,
}

/// What the message centre means by `data_coding` 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultAlphabet {
    /// GSM 03.38.
    #[default]
    Gsm,
    /// Latin-1.
    Latin1,
}

/// How a text goes that one short message does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Long {
    /// In segments with a header, whose reference has 8 bits.
    #[default]
    Udh,
    /// The same with 16 bits.
    Udh16,
    /// In one `message_payload`; the message centre divides it.
    Payload,
}

/// How the ids in receipts relate to those in answers to submissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptIds {
    /// Learnt from the first receipt that fits what was sent over this connection.
    #[default]
    Auto,
    /// The same text.
    Same,
    /// Decimal in receipts, hexadecimal in answers.
    Decimal,
    /// Hexadecimal in receipts, decimal in answers.
    Hexadecimal,
}

/// What is reported when nobody knows whether the message centre has taken it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNoAnswer {
    /// It is tried again: perhaps a second copy.
    #[default]
    Retry,
    /// It is not: it waits for a receipt that cannot be known, and then is what `on_receipt_expiry` says.
    Wait,
}

impl Settings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// With a text that names the setting.
    pub fn check(&self) -> Result<(), String> {
        let port = self
            .address
            .rsplit_once(':')
            .and_then(|(host, port)| port.parse::<u16>().ok().filter(|port| *port > 0 && !host.is_empty()));
        if port.is_none() {
            return Err(format!("settings.address: {:?} is not host:port", self.address));
        }
        for (name, text, most) in [
            ("system_id", &self.system_id, 15),
            ("system_type", &self.system_type, 12),
            ("source", &self.source, 20),
        ] {
            if text.len() > most || !text.bytes().all(|b| (0x20..0x7F).contains(&b)) {
                return Err(format!("settings.{name}: {text:?} is not at most {most} letters of ASCII"));
            }
        }
        for (name, number, min, max) in [
            ("window", self.window, 1, 1000),
            ("max_segments", self.max_segments, 1, 255),
            ("response_timeout_seconds", self.response_timeout_seconds, 1, 600),
            ("enquire_link_seconds", self.enquire_link_seconds, 1, 3600),
            ("throttle_pause_seconds", self.throttle_pause_seconds, 1, 3600),
        ] {
            if !(min..=max).contains(&number) {
                return Err(format!("settings.{name}: {number} is not within {min} to {max}"));
            }
        }
        let digits = |text: &str| text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
        for (name, text) in [
            ("country", self.country.as_deref().unwrap_or("1")),
            ("national_prefix", &self.national_prefix),
            ("international_prefix", &self.international_prefix),
        ] {
            if !digits(text) || (name == "country" && (text.is_empty() || text.starts_with('0'))) {
                return Err(format!("settings.{name}: {text:?} is not made of a few digits"));
            }
        }
        let told = |text: &Option<String>| {
            text.as_ref()
                .is_some_and(|text| text.is_empty() || text.contains(|c: char| c.is_control() || c == ' '))
        };
        if told(&self.inbound_to) || self.inbound_to.as_ref().is_some_and(|to| !to.contains('@')) {
            return Err("settings.inbound_to: it is not a mail address".to_owned());
        }
        if told(&self.inbound_domain) {
            return Err("settings.inbound_domain: it is not a domain".to_owned());
        }
        Ok(())
    }

    /// How numbers are written where the mail comes from.
    #[must_use]
    pub fn dialling(&self) -> Dialling {
        Dialling {
            country: self.country.clone(),
            national_prefix: self.national_prefix.clone(),
            international_prefix: self.international_prefix.clone(),
        }
    }

    /// The alphabet policy, as the telecom crate has it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        match self.alphabet {
            AlphabetPolicy::Exact => Policy::Exact,
            AlphabetPolicy::Transliterate => Policy::Transliterate,
            AlphabetPolicy::Ucs2 => Policy::Ucs2,
        }
    }

    /// What `data_coding` 0 means.
    #[must_use]
    pub fn default7(&self) -> Default7 {
        match self.default_alphabet {
            DefaultAlphabet::Gsm => Default7::Gsm7,
            DefaultAlphabet::Latin1 => Default7::Latin1,
        }
    }

    /// How wide the reference of segments is.
    #[must_use]
    pub fn width(&self) -> Width {
        if self.long == Long::Udh16 { Width::Sixteen } else { Width::Eight }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings with only what is required, and these besides.
    pub(crate) fn settings(more: &str) -> Settings {
        let base = r#"{"address": "smsc.example:2775", "system_id": "postern", "source": "Postern""#;
        let comma = if more.is_empty() { "" } else { ", " };
        serde_json::from_str(&format!("{base}{comma}{more}}}")).unwrap()
    }

    #[test]
    fn what_cannot_work_is_told_before_the_first_message() {
        assert_eq!(settings("").check(), Ok(()));
        for (more, told) in [
            (r#""window": 0"#, "settings.window"),
            (r#""max_segments": 256"#, "settings.max_segments"),
            (r#""system_type": "much too long a text""#, "settings.system_type"),
            (r#""country": "+49""#, "settings.country"),
            (r#""country": "049""#, "settings.country"),
            (r#""national_prefix": "x""#, "settings.national_prefix"),
            (r#""inbound_to": "nobody""#, "settings.inbound_to"),
            (r#""inbound_domain": """#, "settings.inbound_domain"),
        ] {
            let error = settings(more).check().expect_err(more);
            assert!(error.contains(told), "{more}: {error}");
        }
        for address in ["smsc.example", ":2775", "smsc.example:0", "smsc.example:x"] {
            let wrong = Settings { address: address.to_owned(), ..settings("") };
            assert!(wrong.check().unwrap_err().contains("settings.address"), "{address}");
        }
    }
}
