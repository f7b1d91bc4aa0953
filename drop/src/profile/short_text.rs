//! ShortText: what of a message becomes the text of an SMS or a pager call.

use super::text::plain;
use super::{Letter, Unfit};

/// What becomes of the subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// It is the text where the message has none.
    #[default]
    WhenEmpty,
    /// It stands before the text, on a line of its own.
    Always,
    /// It is not sent.
    Never,
}

impl Subject {
    /// The words for them in the configuration.
    pub const WORDS: &[(&str, Self)] =
        &[("when-empty", Self::WhenEmpty), ("always", Self::Always), ("never", Self::Never)];
}

/// When the far end is asked for a report of the delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Report {
    /// When the sender asked for one (`NOTIFY=SUCCESS`).
    #[default]
    Asked,
    /// For every message.
    Always,
    /// Never.
    Never,
}

impl Report {
    /// The words for them in the configuration.
    pub const WORDS: &[(&str, Self)] =
        &[("asked", Self::Asked), ("always", Self::Always), ("never", Self::Never)];

    /// Whether a letter wants one.
    #[must_use]
    pub fn is_wanted(self, letter: &Letter<'_>) -> bool {
        match self {
            Self::Asked => letter.recipients.iter().any(|recipient| recipient.notify.success),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The text: lines end with LF, without white space around it.
///
/// # Errors
/// [`Unfit`] when there is none, or more than `max` UTF-16 units of it: gateways send nothing, or cut without a word.
pub(super) fn short_text(letter: &Letter<'_>, subject: Subject, max: usize) -> Result<String, Unfit> {
    let view = letter.view.ok_or_else(Unfit::unread)?;
    let (title, body) = (plain(&view.subject).replace('\n', " "), plain(&view.text));
    let (title, body) = (title.trim(), body.trim());
    let text = match subject {
        Subject::Always if !title.is_empty() && !body.is_empty() => format!("{title}\n{body}"),
        Subject::Always | Subject::WhenEmpty if body.is_empty() => title.to_owned(),
        _ => body.to_owned(),
    };
    if text.is_empty() {
        return Err(Unfit { status: Unfit::MEDIA, why: "there is no text in it to be sent".to_owned() });
    }
    let length = text.encode_utf16().count();
    if length > max {
        let why = format!("its text has {length} characters, and at most {max} are sent this way");
        return Err(Unfit { status: Unfit::TOO_LONG, why });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::super::tests::letter;
    use super::*;

    fn text(subject: &str, body: &str, how: Subject, max: usize) -> Result<String, Unfit> {
        letter(|letter| {
            let view = View { subject: subject.to_owned(), text: body.to_owned(), ..View::default() };
            let letter = Letter { view: Some(&view), ..letter };
            short_text(&letter, how, max)
        })
    }

    #[test]
    fn the_subject_is_sent_as_the_setting_says() {
        assert_eq!(text("S", " b\r\nc\r\n", Subject::WhenEmpty, 100).unwrap(), "b\nc");
        assert_eq!(text("S", "\r\n", Subject::WhenEmpty, 100).unwrap(), "S");
        assert_eq!(text("S", "b", Subject::Always, 100).unwrap(), "S\nb");
        assert_eq!(text("S", "", Subject::Always, 100).unwrap(), "S");
        assert_eq!(text("S", "b", Subject::Never, 100).unwrap(), "b");
    }

    #[test]
    fn an_empty_text_is_refused_and_so_is_one_that_would_be_cut() {
        assert_eq!(text("", " \r\n\u{0}", Subject::WhenEmpty, 100).unwrap_err().status, Unfit::MEDIA);
        assert_eq!(text("S", "", Subject::Never, 100).unwrap_err().status, Unfit::MEDIA);
        assert!(text("", "12345", Subject::Never, 5).is_ok());
        assert_eq!(text("", "123456", Subject::Never, 5).unwrap_err().status, Unfit::TOO_LONG);
        assert_eq!(text("", "\u{1f600}", Subject::Never, 1).unwrap_err().status, Unfit::TOO_LONG);
    }
}
