//! Template: the layout of a text file, with fields that the letter fills.

use std::str::FromStr;

use super::Unfit;
use super::custom::Facts;

/// A text with fields as `{subject}`. Braces that are meant as such are doubled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// What a template can be filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The text of the message.
    Text,
    /// Its subject.
    Subject,
    /// Its `From` field.
    HeaderFrom,
    /// The reverse-path.
    From,
    /// The addresses of the recipients.
    To,
    /// The first recipient without type and domain.
    Local,
    /// The digits of the first recipient's telephone number.
    Number,
    /// The counter.
    Counter,
    /// The letter's id.
    Id,
    /// The host's name.
    Host,
    /// The name of the data file.
    File,
    /// When it was queued: the day, `2025-10-06` (UTC).
    Date,
    /// When it was queued: the time, `09:30:02` (UTC).
    Time,
    /// `low`, `normal` or `high`.
    Priority,
}

impl Field {
    /// The words for them.
    pub const WORDS: &[(&str, Self)] = &[
        ("text", Self::Text),
        ("subject", Self::Subject),
        ("header_from", Self::HeaderFrom),
        ("from", Self::From),
        ("to", Self::To),
        ("local", Self::Local),
        ("number", Self::Number),
        ("counter", Self::Counter),
        ("id", Self::Id),
        ("host", Self::Host),
        ("file", Self::File),
        ("date", Self::Date),
        ("time", Self::Time),
        ("priority", Self::Priority),
    ];
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such field.
    #[error("there is no field {{{0}}}; known: {known}", known = known())]
    Unknown(String),
    /// A brace alone.
    #[error("a brace that begins or ends no field is written twice: {{{{ or }}}}")]
    Brace,
}

fn known() -> String {
    Field::WORDS.iter().map(|(word, _)| format!("{{{word}}}")).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Whether the counter is in it.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.0.contains(&Piece::Field(Field::Counter))
    }

    /// The text with its fields filled.
    pub(super) fn filled(&self, facts: &Facts<'_>) -> Result<String, Unfit> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(field) => out.push_str(&facts.value(*field)?),
            }
        }
        Ok(out)
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = after.find(['{', '}']).filter(|end| brace == "{" && after[*end..].starts_with('}'));
            let (word, after) = after.split_at(end.ok_or(TemplateError::Brace)?);
            let field = Field::WORDS.iter().find(|(known, _)| *known == word).map(|(_, field)| *field);
            let field = field.ok_or_else(|| TemplateError::Unknown(word.to_owned()))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(field));
            rest = &after[1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_doubled_braces_are_told_apart() {
        let Template(pieces) = "a{{b}}{to}{{{text}}}".parse().unwrap();
        let text = |text: &str| Piece::Text(text.to_owned());
        let expected =
            [text("a{b}"), Piece::Field(Field::To), text("{"), Piece::Field(Field::Text), text("}")];
        assert_eq!(pieces, expected);
        assert_eq!("".parse(), Ok(Template::default()));
    }

    #[test]
    fn a_template_that_makes_no_sense_is_refused() {
        let error = |text: &str| text.parse::<Template>().unwrap_err();
        assert_eq!(error("{body}"), TemplateError::Unknown("body".to_owned()));
        assert!(error("{body}").to_string().contains("{text}"));
        for brace in ["{", "}", "{to", "a}b", "{to{"] {
            assert_eq!(error(brace), TemplateError::Brace, "{brace}");
        }
    }
}
