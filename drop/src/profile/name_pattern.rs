//! NamePattern: names of files as old programs want them: counted, short, in capitals.

use std::str::FromStr;

use super::{Letter, TelephoneNumber, Unfit};
use crate::FileName;

/// The most digits of a counter.
const MAX_DIGITS: u32 = 18;

/// A pattern such as `%08d` or `FAX{date}-%04d`, without the extension.
///
/// `%d`, `%04d` stand for the counter, `{id}` for the letter's id, `{date}` and `{time}` for when it was queued (UTC,
/// `20251006`, `093002`), `{number}` for the digits of the first recipient's number. All else stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The counter, with at least so many digits; 0: as many as it has.
    Counter(u32),
    Id,
    Date,
    Time,
    Number,
}

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `%` or `{` that begins nothing known.
    #[error(
        "{0:?} is nothing that a name pattern knows: write %d, %08d, {{id}}, {{date}}, {{time}} or {{number}}"
    )]
    Unknown(String),
    /// A character that a file name must not have.
    #[error("a file name has only A-Z a-z 0-9 . _ -, not {0:?}")]
    Character(char),
    /// Two letters could get the same name.
    #[error("every file needs a name of its own: put a counter (%08d) or {{id}} into the pattern")]
    NotUnique,
    /// There is more than one counter.
    #[error("a name pattern has one counter")]
    Counters,
}

impl NamePattern {
    /// The counter's largest value whose digits fit the pattern; `None` when the pattern sets no bound, or has no counter.
    #[must_use]
    pub fn counter_limit(&self) -> Option<u64> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Counter(digits @ 1..) => Some(10_u64.pow(*digits) - 1),
            _ => None,
        })
    }

    /// Whether there is a counter in it.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Counter(_)))
    }

    /// Whether the number of a recipient is in it.
    #[must_use]
    pub fn names_a_recipient(&self) -> bool {
        self.pieces.contains(&Piece::Number)
    }

    /// Whether there is a dot in it.
    #[must_use]
    pub fn has_dots(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('.')))
    }

    /// The most characters that a name may have by it, as far as that is bounded.
    #[must_use]
    pub fn longest(&self) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Counter(0) => 20,
            Piece::Counter(digits) => *digits as usize,
            Piece::Id => 42,
            Piece::Date => 8,
            Piece::Time => 6,
            Piece::Number => super::number::MAX_DIGITS,
        };
        self.pieces.iter().map(length).sum()
    }

    /// The name for a letter, without extension.
    ///
    /// # Errors
    /// When a number is wanted and the recipient has none.
    pub fn name(&self, letter: &Letter<'_>) -> Result<String, Unfit> {
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Counter(digits) => {
                    let number = letter.number.unwrap_or_default();
                    name.push_str(&format!("{number:0width$}", width = *digits as usize));
                }
                Piece::Id => name.push_str(letter.id),
                Piece::Date => name.push_str(&letter.queued_at.strftime("%Y%m%d").to_string()),
                Piece::Time => name.push_str(&letter.queued_at.strftime("%H%M%S").to_string()),
                Piece::Number => {
                    let recipient = letter.recipients.first().ok_or_else(Unfit::nobody)?;
                    name.push_str(TelephoneNumber::of(recipient)?.digits());
                }
            }
        }
        Ok(name)
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (piece, length) = match c {
                '%' => counter(rest)?,
                '{' => word(rest)?,
                c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => {
                    (Piece::Text(c.to_string()), 1)
                }
                c => return Err(PatternError::Character(c)),
            };
            rest = &rest[length..];
            match (pieces.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(more)) => before.push_str(&more),
                (_, piece) => pieces.push(piece),
            }
        }
        let counters = pieces.iter().filter(|piece| matches!(piece, Piece::Counter(_))).count();
        match counters {
            0 if !pieces.contains(&Piece::Id) => Err(PatternError::NotUnique),
            0 | 1 => Ok(Self { pieces }),
            _ => Err(PatternError::Counters),
        }
    }
}

/// `%d`, `%08d` or `%8d` at the beginning of a text, and its length.
fn counter(text: &str) -> Result<(Piece, usize), PatternError> {
    let unknown = || PatternError::Unknown(text.chars().take(8).collect());
    let end = text.find('d').ok_or_else(unknown)?;
    let digits = &text[1..end];
    let count: u32 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| unknown())? };
    if count > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(unknown());
    }
    Ok((Piece::Counter(count), end + 1))
}

/// `{id}` and the like at the beginning of a text, and its length.
fn word(text: &str) -> Result<(Piece, usize), PatternError> {
    let unknown = || PatternError::Unknown(text.chars().take(12).collect());
    let end = text.find('}').ok_or_else(unknown)?;
    let piece = match &text[1..end] {
        "id" => Piece::Id,
        "date" => Piece::Date,
        "time" => Piece::Time,
        "number" => Piece::Number,
        _ => return Err(unknown()),
    };
    Ok((piece, end + 1))
}

/// A checked name of a file.
///
/// # Errors
/// When it breaks a rule for names; patterns and ids that were checked do so only by their length.
pub(super) fn checked(name: String) -> Result<FileName, Unfit> {
    let why = |error: crate::NameError| format!("its file would be called {name:?}: {error}");
    FileName::new(name.clone()).map_err(|error| Unfit { status: Unfit::SYSTEM, why: why(error) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    fn named(pattern: &str, number: u64) -> String {
        letter(|letter| {
            let letter = Letter { number: Some(number), ..letter };
            pattern.parse::<NamePattern>().unwrap().name(&letter).unwrap()
        })
    }

    #[test]
    fn a_pattern_names_files_as_it_says() {
        assert_eq!(named("%08d", 42), "00000042");
        assert_eq!(named("FAX%d", 7), "FAX7");
        assert_eq!(named("{date}_{time}-%03d", 1000), "20251006_093002-1000");
        assert_eq!(named("{id}.{number}", 0), "0192f3c4-0000-7000-8000-000000000001.0.491701234567");
    }

    #[test]
    fn a_pattern_knows_how_far_it_counts() {
        let limit = |pattern: &str| pattern.parse::<NamePattern>().unwrap().counter_limit();
        assert_eq!((limit("%08d"), limit("%d"), limit("{id}")), (Some(99_999_999), None, None));
        assert_eq!("F%05d".parse::<NamePattern>().unwrap().longest(), 6);
    }

    #[test]
    fn a_pattern_that_cannot_work_is_refused_with_the_reason() {
        let error = |pattern: &str| pattern.parse::<NamePattern>().unwrap_err();
        assert_eq!(error("FAX"), PatternError::NotUnique);
        assert_eq!(error("{date}"), PatternError::NotUnique);
        assert_eq!(error("a/%d"), PatternError::Character('/'));
        assert_eq!(error("%d%d"), PatternError::Counters);
        for unknown in ["%x", "%-8d", "%99d", "{subject}%d", "{id", "%", "%+3d"] {
            assert!(matches!(error(unknown), PatternError::Unknown(_)), "{unknown}");
        }
    }
}
