//! The `gammu` profile: files for gammu-smsd with `service = files`: the options are in the name, the text is the content.
//!
//! The habits of the program that this guards against: it takes anything as a number and is blocked by one that the network
//! refuses, sends only the first 8,000 characters without a word and dies of more than that, sends empty files, replaces a
//! file of the same name in its folder of sent ones, and in the C locale cuts UTF-8 at the first letter that is not ASCII.

use std::path::{Path, PathBuf};

use super::name_pattern::checked;
use super::short_text::{Report, Subject, short_text};
use super::{CodePage, Content, FileSet, Letter, TelephoneNumber, Unfit, Unmappable, Urgency};
use crate::Habits;
use crate::habits::EndFolder;
use crate::results::{Outcome, Place, ResultFile, ResultWord};

/// The most characters that gammu-smsd sends: 50 parts of 160.
pub const MAX_CHARACTERS: usize = 8000;

/// How the profile writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gammu {
    /// UTF-16 with a mark, which is understood in every locale, or UTF-8, which needs one of UTF-8.
    pub code_page: CodePage,
    /// When a delivery report is asked for.
    pub report: Report,
    /// What becomes of the subject.
    pub subject: Subject,
    /// Longer texts are refused; at most [`MAX_CHARACTERS`].
    pub max_characters: usize,
    /// Where gammu-smsd moves what it sent; absolute, or from the drop directory on.
    pub sent: PathBuf,
    /// Where it moves what it gave up.
    pub error: PathBuf,
}

impl Default for Gammu {
    fn default() -> Self {
        Self {
            code_page: CodePage::Utf16,
            report: Report::default(),
            subject: Subject::default(),
            max_characters: MAX_CHARACTERS,
            sent: "../sent".into(),
            error: "../error".into(),
        }
    }
}

impl Gammu {
    /// What gammu-smsd does with files: it moves them when they are sent. It claims nothing, and its reports of deliveries
    /// do not say which file they are about.
    pub(super) fn habits(&self) -> Habits {
        let folder = |path: &Path, outcome| EndFolder { path: path.to_owned(), outcome };
        Habits {
            claims: Vec::new(),
            folders: vec![folder(&self.sent, Outcome::Sent), folder(&self.error, Outcome::Failed)],
            sidecars: Vec::new(),
            read: moved,
            ..Habits::default()
        }
    }

    /// The name of the file: `OUT<priority><date>_<time>_<serial>_<number>_<note>.txt<options>`. The note is the letter's id,
    /// so that no name is ever used twice.
    pub(super) fn main_name(&self, letter: &Letter<'_>) -> Result<String, Unfit> {
        let recipient = letter.recipients.first().ok_or_else(Unfit::nobody)?;
        let number = TelephoneNumber::of(recipient)?;
        // Sorted by name, and sent in that order.
        let priority = match letter.urgency {
            Urgency::High => 'A',
            Urgency::Normal => 'M',
            Urgency::Low => 'Z',
        };
        let time = letter.queued_at.strftime("%Y%m%d_%H%M%S");
        let note = letter.id.replace('.', "-");
        let options = if self.report.is_wanted(letter) { "d" } else { "" };
        Ok(format!("OUT{priority}{time}_00_{number}_{note}.txt{options}"))
    }

    /// The file of a letter.
    pub(super) fn render(&self, letter: &Letter<'_>) -> Result<FileSet, Unfit> {
        let name = checked(self.main_name(letter)?)?;
        let text = short_text(letter, self.subject, self.max_characters.min(MAX_CHARACTERS))?;
        let bytes = self.code_page.encode(&text, Unmappable::default())?;
        Ok(FileSet::single(name, Content::Bytes(bytes)))
    }
}

/// What it means that a file lies in one of the folders. Its content is the text of a user, which says nothing to us.
fn moved(file: &ResultFile<'_>) -> Vec<ResultWord> {
    let Place::Folder { outcome } = file.place else { return Vec::new() };
    let text = match outcome {
        Outcome::Failed => "gammu-smsd gave it up",
        _ => "sent by gammu-smsd",
    };
    vec![ResultWord::about_file(file.of, outcome).saying(text)]
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::super::{Addressee, Notify, View};
    use super::*;

    fn file(settings: Gammu, to: &str, text: &str, report: bool) -> Result<(String, Vec<u8>), Unfit> {
        letter(|letter| {
            let view = View { text: text.to_owned(), ..View::default() };
            let notify = Notify { success: report, ..Notify::default() };
            let recipients = [Addressee { local: to.to_owned(), notify, ..Addressee::default() }];
            let letter = Letter { view: Some(&view), recipients: &recipients, ..letter };
            settings.render(&letter).map(|set| match set.main.content {
                Content::Bytes(bytes) => (set.main.name.to_string(), bytes),
                Content::Message { .. } => panic!("a text is held in memory"),
            })
        })
    }

    #[test]
    fn the_name_carries_the_options() {
        let (name, bytes) = file(Gammu::default(), "+491701234567", "Grüße", false).unwrap();
        let id = "0192f3c4-0000-7000-8000-000000000001-0";
        assert_eq!(name, format!("OUTM20251006_093002_00_+491701234567_{id}.txt"));
        assert_eq!(bytes, b"\xff\xfeG\0r\0\xfc\0\xdf\0e\0");
        let utf8 = Gammu { code_page: CodePage::Utf8, ..Gammu::default() };
        let (name, bytes) = file(utf8, "110", "Grüße", true).unwrap();
        assert_eq!(name, format!("OUTM20251006_093002_00_110_{id}.txtd"));
        assert_eq!(bytes, "Grüße".as_bytes());
    }

    #[test]
    fn what_gammu_would_choke_on_is_refused() {
        let status = |to: &str, text: &str| file(Gammu::default(), to, text, false).unwrap_err().status;
        assert_eq!(status("jo", "x"), Unfit::ADDRESS_SYNTAX);
        assert_eq!(status("1_2", "x"), Unfit::ADDRESS_SYNTAX);
        assert_eq!(status("1", " "), Unfit::MEDIA);
        assert_eq!(status("1", &"x".repeat(8001)), Unfit::TOO_LONG);
        assert!(file(Gammu::default(), "1", &"x".repeat(8000), false).is_ok());
    }
}
