//! ResultWord: what a gateway said about a file, in words that are the same for every profile.

/// How a file ended, or how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It arrived.
    Done,
    /// It went on into a world that does not report back.
    Sent,
    /// It will not arrive.
    Failed,
    /// Another attempt may help.
    Retry,
    /// Nothing final yet; the word is only good for the reference in it, and the result stays where it is until a
    /// final one comes.
    Underway,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Retry => "retry",
            Self::Underway => "underway",
        }
    }

    /// The outcome for a word, in any case of letters.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Done, Self::Sent, Self::Failed, Self::Retry, Self::Underway];
        all.into_iter().find(|outcome| outcome.as_str().eq_ignore_ascii_case(word))
    }
}

/// What a result is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// The file that was published under this name.
    File(String),
    /// The job that the gateway calls so. An earlier word about a file said so in [`ResultWord::reference`].
    Reference(String),
}

/// What a gateway said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultWord {
    /// About what.
    pub about: About,
    /// How it ended.
    pub outcome: Outcome,
    /// About whom, if not about all recipients of the file.
    pub recipient: Option<String>,
    /// What the gateway calls the job, if later results call it so.
    pub reference: Option<String>,
    /// What it said, in one line; may be empty.
    pub text: String,
    /// Why it failed: the host's word for it, such as `unallocated`.
    pub class: Option<String>,
    /// An enhanced status code (RFC 3463), such as `5.1.1`.
    pub status: Option<String>,
    /// Pages, segments, cost: whatever else it said.
    pub details: Vec<(String, String)>,
}

/// The longest text, and the longest value of a detail, in characters.
pub const MAX_TEXT: usize = 500;
/// The most details of a word.
pub const MAX_DETAILS: usize = 32;

impl ResultWord {
    /// A word about a file and nothing more.
    #[must_use]
    pub fn about_file(file: &str, outcome: Outcome) -> Self {
        Self {
            about: About::File(file.to_owned()),
            outcome,
            recipient: None,
            reference: None,
            text: String::new(),
            class: None,
            status: None,
            details: Vec::new(),
        }
    }

    /// The same with a text, made harmless by [`one_line`].
    #[must_use]
    pub fn saying(self, text: &str) -> Self {
        Self { text: one_line(text), ..self }
    }
}

/// A foreign text as one line: control characters become blanks, blanks at its ends go, and it is cut at [`MAX_TEXT`].
#[must_use]
pub fn one_line(text: &str) -> String {
    let plain: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect();
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_becomes_one_short_line() {
        assert_eq!(one_line(" a\r\nb\u{0}c\u{85}\n"), "a  b c");
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), MAX_TEXT);
    }

    #[test]
    fn every_outcome_is_found_by_its_word() {
        for outcome in [Outcome::Done, Outcome::Sent, Outcome::Failed, Outcome::Retry, Outcome::Underway] {
            assert_eq!(Outcome::parse(&outcome.as_str().to_uppercase()), Some(outcome));
        }
        assert_eq!(Outcome::parse("perhaps"), None);
    }
}
