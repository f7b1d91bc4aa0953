//! The `smstools` profile: files for the SMS Server Tools 3 (`smsd`): header lines, an empty line, the text.
//!
//! The habits of the program that this guards against: it takes any number as a destination and fails what is none after
//! three tries, it leaves a file without text in `outgoing` for ever, and it takes every name that is not hidden.

mod result;

use std::path::{Path, PathBuf};

use super::name_pattern::checked;
use super::short_text::{Report, Subject, short_text};
use super::{CodePage, Content, FileSet, Letter, TelephoneNumber, Unfit, Unmappable, Urgency};
use crate::Habits;
use crate::habits::{Claim, EndFolder};
use crate::results::Outcome;

/// The most characters that one file may have: 255 parts of 67, the most that a phone puts together.
pub const MAX_CHARACTERS: usize = 255 * 67;

/// How the profile writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smstools {
    /// The alphabet.
    pub alphabet: Alphabet,
    /// When a status report is asked for.
    pub report: Report,
    /// What becomes of the subject.
    pub subject: Subject,
    /// Longer texts are refused.
    pub max_characters: usize,
    /// Where smsd moves files while it works on them; absolute, or from the drop directory on, as all of these.
    pub checked: PathBuf,
    /// Where it moves what it sent.
    pub sent: PathBuf,
    /// Where it moves what it could not send.
    pub failed: PathBuf,
    /// Where it writes status reports.
    pub reports: PathBuf,
}

/// The alphabet of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alphabet {
    /// `ISO` where all characters are of GSM 03.38 and ISO 8859-1, else `UCS2`: nothing is lost, and as many characters as
    /// possible go into one part.
    #[default]
    Auto,
    /// Always `ISO`; other characters are translated.
    Iso,
    /// Always `UCS2`.
    Ucs2,
}

impl Alphabet {
    /// The words for them in the configuration.
    pub const WORDS: &[(&str, Self)] = &[("auto", Self::Auto), ("iso", Self::Iso), ("ucs2", Self::Ucs2)];
}

impl Default for Smstools {
    fn default() -> Self {
        Self {
            alphabet: Alphabet::default(),
            report: Report::default(),
            subject: Subject::default(),
            max_characters: 1530,
            checked: "../checked".into(),
            sent: "../sent".into(),
            failed: "../failed".into(),
            reports: "../report".into(),
        }
    }
}

impl Smstools {
    /// What smsd does with files. It says in a sent file how the network calls the message, and a later report calls it
    /// so.
    pub(super) fn habits(&self) -> Habits {
        let folder = |path: &Path, outcome| EndFolder { path: path.to_owned(), outcome };
        Habits {
            claims: vec![Claim::moved(&self.checked)],
            folders: vec![folder(&self.sent, Outcome::Sent), folder(&self.failed, Outcome::Failed)],
            sidecars: Vec::new(),
            reports: vec![self.reports.clone()],
            read: result::read,
            ..Habits::default()
        }
    }

    /// The name of the file.
    pub(super) fn main_name(id: &str) -> String {
        format!("{id}.sms")
    }

    /// The file of a letter.
    pub(super) fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        let recipient = letter.recipients.first().ok_or_else(Unfit::nobody)?;
        let number = TelephoneNumber::of(recipient)?;
        let text = short_text(letter, self.subject, self.max_characters)?;
        let ucs2 = match self.alphabet {
            Alphabet::Auto => !text.chars().all(is_plain),
            Alphabet::Iso => false,
            Alphabet::Ucs2 => true,
        };
        // Without a country code the number goes out as it is dialled: `s` keeps smsd from taking it for international.
        let short = if number.is_international() { "" } else { "s" };
        let mut header = format!("To: {short}{}\n", number.digits());
        header.push_str(if ucs2 { "Alphabet: UCS2\n" } else { "Alphabet: ISO\n" });
        if self.report.is_wanted(letter) {
            header.push_str("Report: yes\n");
        }
        if letter.urgency == Urgency::High {
            header.push_str("Priority: high\n");
        }
        header.push('\n');
        let body = if ucs2 {
            text.encode_utf16().flat_map(u16::to_be_bytes).collect()
        } else {
            CodePage::Latin1.encode(&text, Unmappable::Translate('?'))?
        };
        let bytes = [header.into_bytes(), body].concat();
        Ok(FileSet::single(checked(Self::main_name(letter.id))?, Content::Bytes(bytes)))
    }
}

/// Whether a character is of GSM 03.38 (3GPP TS 23.038 section 6.2.1, with the extension table) and of ISO 8859-1: then
/// it arrives as it was written.
fn is_plain(c: char) -> bool {
    match c {
        '`' => false,
        ' '..='~' | '\n' => true,
        '£' | '¥' | '§' | '¡' | '¿' | 'Ä' | 'Å' | 'Æ' | 'Ç' | 'É' | 'Ñ' | 'Ö' | 'Ø' | 'Ü' | 'ß' | 'à'
        | 'ä' | 'å' | 'æ' | 'è' | 'é' | 'ì' | 'ñ' | 'ò' | 'ö' | 'ø' | 'ù' | 'ü' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::super::{Addressee, Notify, View};
    use super::*;

    fn file(settings: Smstools, to: &str, text: &str, report: bool) -> Result<Vec<u8>, Unfit> {
        letter(|letter| {
            let view = View { text: text.to_owned(), ..View::default() };
            let notify = Notify { success: report, ..Notify::default() };
            let recipients = [Addressee { local: to.to_owned(), notify, ..Addressee::default() }];
            let letter = Letter { view: Some(&view), recipients: &recipients, ..letter };
            settings.render(&letter).map(|set| match set.main.content {
                Content::Bytes(bytes) => bytes,
                Content::Message { .. } => panic!("a text is held in memory"),
            })
        })
    }

    #[test]
    fn a_plain_text_is_iso_and_others_are_ucs2() {
        let settings = Smstools::default();
        let iso = file(settings.clone(), "+4917012", "Grüße [ok]\r\n.\r\n", false).unwrap();
        assert_eq!(iso, b"To: 4917012\nAlphabet: ISO\n\nGr\xfc\xdfe [ok]\n.");
        let ucs2 = file(settings, "110", "5 \u{20ac}", true).unwrap();
        assert_eq!(ucs2, b"To: s110\nAlphabet: UCS2\nReport: yes\n\n\x005\x00 \x20\xac");
    }

    #[test]
    fn the_alphabet_can_be_forced() {
        let iso = Smstools { alphabet: Alphabet::Iso, ..Smstools::default() };
        assert!(file(iso, "1", "5 € – x", false).unwrap().ends_with(b"\n\n5 EUR - x"));
        let ucs2 = Smstools { alphabet: Alphabet::Ucs2, ..Smstools::default() };
        assert!(file(ucs2, "1", "a", false).unwrap().ends_with(b"Alphabet: UCS2\n\n\x00a"));
    }

    #[test]
    fn no_text_of_a_sender_becomes_a_header_line() {
        let evil = file(Smstools::default(), "1", "\r\n\r\nTo: 666\r\nReport: yes\r\n\r\nx", false).unwrap();
        let text = String::from_utf8(evil).unwrap();
        assert_eq!(text, "To: s1\nAlphabet: ISO\n\nTo: 666\nReport: yes\n\nx");
    }

    #[test]
    fn what_smsd_would_choke_on_is_refused() {
        let status = |to: &str, text: &str| file(Smstools::default(), to, text, false).unwrap_err().status;
        assert_eq!(status("jo", "x"), Unfit::ADDRESS_SYNTAX);
        assert_eq!(status("1\nAlphabet: UCS2", "x"), Unfit::ADDRESS_SYNTAX);
        assert_eq!(status("1", ""), Unfit::MEDIA);
        assert_eq!(status("1", &"x".repeat(1531)), Unfit::TOO_LONG);
    }
}
