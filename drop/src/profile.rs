//! Profile: a gateway's file format and habits. One profile, one file below.
//!
//! A profile is a pure renderer: from a [`Letter`] it makes a [`FileSet`], and always the same one from the same letter.
//! docs/drop-protocol.md describes what gateways find.

mod code_page;
mod custom;
pub mod eml;
pub mod exchange;
mod file_set;
mod gammu;
mod json;
mod letter;
mod manifest;
mod name_pattern;
mod number;
mod parts;
mod short_text;
mod smstools;
mod template;
mod text;

pub use code_page::{CodePage, Unmappable};
pub use custom::{Custom, Marker};
pub use eml::Eml;
pub use file_set::{Content, FileSet, MessageLines, MessageSource, Rendered};
pub use gammu::{Gammu, MAX_CHARACTERS as GAMMU_MAX_CHARACTERS};
pub use json::Json;
pub use letter::{Addressee, Envelope, Letter, Notify, Part, Urgency, View};
pub use name_pattern::{NamePattern, PatternError};
pub use number::TelephoneNumber;
pub use parts::Parts;
pub use short_text::{Report, Subject};
pub use smstools::{Alphabet, MAX_CHARACTERS as SMSTOOLS_MAX_CHARACTERS, Smstools};
pub use template::{Field, Template, TemplateError};
pub use text::{LineEnd, TextStyle};

use crate::{FileName, Habits};

/// A file format that a gateway reads, with its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// A trace header, then the message exactly as it was received. See [`eml`].
    Eml(Eml),
    /// The message, and a manifest in JSON.
    Json(Json),
    /// Text and attachments as files of their own, and a manifest.
    Parts(Parts),
    /// For the SMS Server Tools 3.
    Smstools(Smstools),
    /// The envelope as Exchange writes it, then the message behind the header firewall. See [`exchange`].
    Exchange,
    /// For gammu-smsd.
    Gammu(Gammu),
    /// As the settings say.
    Custom(Box<Custom>),
}

impl Default for Profile {
    fn default() -> Self {
        Self::Eml(Eml::default())
    }
}

/// What a profile wants to know of a letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// [`Letter::view`] with what the header says.
    pub header: bool,
    /// [`View::text`].
    pub text: bool,
    /// [`View::parts`].
    pub parts: bool,
    /// [`Letter::sha256`].
    pub checksum: bool,
    /// [`Letter::number`].
    pub number: bool,
    /// [`Letter::block`].
    pub block: bool,
}

impl Profile {
    /// The words in the configuration.
    pub const NAMES: &[&str] = &["eml", "json", "parts", "smstools", "gammu", "custom", "exchange"];

    /// The word in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Eml(_) => "eml",
            Self::Json(_) => "json",
            Self::Parts(_) => "parts",
            Self::Smstools(_) => "smstools",
            Self::Gammu(_) => "gammu",
            Self::Custom(_) => "custom",
            Self::Exchange => "exchange",
        }
    }

    /// What its gateways do with a file, and how their results are read.
    #[must_use]
    pub fn habits(&self) -> Habits {
        match self {
            Self::Smstools(smstools) => smstools.habits(),
            Self::Gammu(gammu) => gammu.habits(),
            _ => Habits::default(),
        }
    }

    /// What it wants to know of a letter.
    #[must_use]
    pub fn wishes(&self) -> Wishes {
        let none = Wishes::default();
        match self {
            Self::Eml(_) => none,
            Self::Exchange => Wishes { block: true, ..none },
            Self::Json(_) => Wishes { header: true, checksum: true, ..none },
            Self::Parts(_) => Wishes { header: true, text: true, parts: true, checksum: true, ..none },
            Self::Smstools(_) | Self::Gammu(_) => Wishes { header: true, text: true, ..none },
            Self::Custom(custom) => Wishes { header: true, text: true, number: custom.counts(), ..none },
        }
    }

    /// Whether each recipient gets a file of its own: then a letter has one recipient.
    #[must_use]
    pub fn is_per_recipient(&self) -> bool {
        match self {
            Self::Smstools(_) | Self::Gammu(_) => true,
            Self::Custom(custom) => custom.per_recipient,
            _ => false,
        }
    }

    /// The largest value of [`Letter::number`]; after it the counter begins again at 1.
    #[must_use]
    pub fn number_limit(&self) -> u64 {
        match self {
            Self::Custom(custom) => custom.counter_limit.or(custom.name.counter_limit()).unwrap_or(u64::MAX),
            _ => u64::MAX,
        }
    }

    /// The name of the main file of a letter, whose content is not looked at.
    ///
    /// # Errors
    /// When the letter cannot become a file, for example since the recipient has no number.
    pub fn main_name(&self, letter: &Letter<'_>) -> Result<FileName, Unfit> {
        let name = match self {
            Self::Eml(_) | Self::Exchange => Eml::main_name(letter.id),
            Self::Json(_) => Json::main_name(letter.id),
            Self::Parts(_) => Parts::main_name(letter.id),
            Self::Smstools(_) => Smstools::main_name(letter.id),
            Self::Gammu(gammu) => gammu.main_name(letter)?,
            Self::Custom(custom) => custom.main_name(letter)?,
        };
        name_pattern::checked(name)
    }

    /// The files of a letter.
    ///
    /// # Errors
    /// [`Unfit`] when this gateway can never take it; the sender has to be told.
    pub fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        match self {
            Self::Eml(eml) => eml.render(letter),
            Self::Exchange => exchange::render(letter),
            Self::Json(json) => json.render(letter),
            Self::Parts(parts) => parts.render(letter),
            Self::Smstools(smstools) => smstools.render(letter),
            Self::Gammu(gammu) => gammu.render(letter),
            Self::Custom(custom) => custom.render(letter),
        }
    }
}

/// Why a letter can never become a file of this profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unfit {
    /// The enhanced status code (RFC 3463), a permanent one.
    pub status: (u8, u16, u16),
    /// Why, in words for the sender.
    pub why: String,
}

impl Unfit {
    /// Bad destination mailbox address syntax.
    pub const ADDRESS_SYNTAX: (u8, u16, u16) = (5, 1, 3);
    /// Message length exceeds administrative limit.
    pub const TOO_LONG: (u8, u16, u16) = (5, 2, 3);
    /// Message too big for system.
    pub const TOO_LARGE: (u8, u16, u16) = (5, 3, 4);
    /// System not capable of selected features.
    pub const SYSTEM: (u8, u16, u16) = (5, 3, 3);
    /// Media not supported.
    pub const MEDIA: (u8, u16, u16) = (5, 6, 1);
    /// Conversion required and prohibited: characters would be lost.
    pub const CONVERSION: (u8, u16, u16) = (5, 6, 2);

    /// A letter to nobody, which hosts do not make.
    fn nobody() -> Self {
        Self { status: Self::SYSTEM, why: "there is no recipient".to_owned() }
    }

    /// A letter without a view although the profile wishes for one.
    fn unread() -> Self {
        Self { status: Self::MEDIA, why: "its content could not be read".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `with` with a letter that has everything, to change what matters.
    pub(super) fn letter<R>(with: impl FnOnce(Letter<'_>) -> R) -> R {
        let view = View {
            subject: "Grüße".to_owned(),
            from: "Jo <jo@x.example>".to_owned(),
            text: "Hallo\r\n".to_owned(),
            not_before: Some("2025-10-07T06:00:00Z".parse().unwrap()),
            parts: Vec::new(),
        };
        let recipients = [Addressee {
            index: 3,
            address: "SMS:+49 170 1234567".to_owned(),
            kind: "SMS".to_owned(),
            local: "+49 170 1234567".to_owned(),
            original: Some("rfc822;SMS=+491701234567@gw.example".to_owned()),
            notify: Notify { success: true, failure: true, delay: false },
            properties: vec![("country".to_owned(), "49".to_owned())],
        }];
        let letter = Letter {
            id: "0192f3c4-0000-7000-8000-000000000001.0",
            message_id: "0192f3c4-0000-7000-8000-000000000001",
            number: None,
            host: "gw1.example",
            queued_at: "2025-10-06T09:30:02Z".parse().unwrap(),
            expires_at: Some("2025-10-08T09:30:02Z".parse().unwrap()),
            urgency: Urgency::Normal,
            envelope: Envelope {
                return_path: "a@b.example",
                envelope_id: Some("QQ+314159"),
                ret: Some("headers"),
                client: "client.example ([192.0.2.1])".to_owned(),
                submitter: None,
                protocol: "ESMTP",
                received_at: "2025-10-06T09:30:01.5Z".parse().unwrap(),
            },
            recipients: &recipients,
            size: 1234,
            sha256: Some("00ff".repeat(16)),
            view: Some(&view),
            block: None,
        };
        with(letter)
    }

    fn all() -> Vec<Profile> {
        let custom = Custom {
            name: "%08d".parse().unwrap(),
            extension: "TXT".to_owned(),
            upper_case: true,
            counter_limit: None,
            per_recipient: true,
            content: "{text}".parse().unwrap(),
            text: TextStyle::default(),
            marker: Some(Marker { extension: "RDY".to_owned(), content: Template::default() }),
        };
        vec![
            Profile::default(),
            Profile::Json(Json::default()),
            Profile::Parts(Parts::default()),
            Profile::Smstools(Smstools::default()),
            Profile::Gammu(Gammu::default()),
            Profile::Custom(Box::new(custom)),
            Profile::Exchange,
        ]
    }

    #[test]
    fn the_main_file_is_called_what_it_is_said_to_be_called() {
        assert_eq!(all().iter().map(Profile::name).collect::<Vec<_>>(), Profile::NAMES);
        for profile in all() {
            let (set, name) = letter(|letter| {
                let letter = Letter { number: Some(7), ..letter };
                (profile.render(&letter).unwrap(), profile.main_name(&letter).unwrap())
            });
            assert_eq!(set.main.name, name, "{}", profile.name());
        }
    }

    #[test]
    fn a_letter_becomes_the_same_files_each_time() {
        for profile in all() {
            let render = || letter(|letter| profile.render(&letter).unwrap());
            assert_eq!(render(), render(), "{}", profile.name());
        }
    }
}
