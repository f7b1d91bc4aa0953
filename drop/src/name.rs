//! FileName: the name of a drop file, safe in every shell, file system and gateway.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes. File systems take 255; the rest is left to suffixes such as `.work` that
/// gateways and our own temp folder append.
pub const MAX_FILE_NAME: usize = 200;

/// A name of `A-Z a-z 0-9 . _ - +`, 1 to [`MAX_FILE_NAME`] bytes, that starts with neither `.` (hidden) nor
/// `-` or `+` (options to careless scripts).
///
/// The caller derives it from the item, so that the same item always gets the same name: a crash between
/// publishing and committing is then recognised instead of becoming a second copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`NameError`] names the rule that is broken.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        match name.as_bytes() {
            [] => Err(NameError::Empty),
            [first @ (b'.' | b'-' | b'+'), ..] => Err(NameError::Start(char::from(*first))),
            bytes if bytes.len() > MAX_FILE_NAME => Err(NameError::TooLong(bytes.len())),
            _ => match name.chars().find(|c| !is_allowed(*c)) {
                Some(c) => Err(NameError::Character(c)),
                None => Ok(Self(name)),
            },
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+')
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FileName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Why a text cannot be the name of a drop file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a drop file needs a name")]
    Empty,
    /// The first character would hide the file or make it look like an option.
    #[error("the name of a drop file must not start with {0:?}")]
    Start(char),
    /// More bytes than [`MAX_FILE_NAME`].
    #[error("the name of a drop file has at most {MAX_FILE_NAME} bytes, not {0}")]
    TooLong(usize),
    /// A character outside `A-Z a-z 0-9 . _ - +`.
    #[error("the name of a drop file has only A-Z a-z 0-9 . _ - +, not {0:?}")]
    Character(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_names_pass() {
        assert!(FileName::new("0192f3c4-aaaa.0.eml").is_ok());
        assert_eq!(FileName::new(""), Err(NameError::Empty));
        assert_eq!(FileName::new(".x"), Err(NameError::Start('.')));
        assert_eq!(FileName::new("-rf"), Err(NameError::Start('-')));
        assert_eq!(FileName::new("+x"), Err(NameError::Start('+')));
        assert!(FileName::new("OUTA_+49170_x.txt").is_ok());
        assert_eq!(FileName::new("a/b"), Err(NameError::Character('/')));
        assert_eq!(FileName::new("a\0b"), Err(NameError::Character('\0')));
        assert_eq!(FileName::new("ä"), Err(NameError::Character('ä')));
        assert!(FileName::new("a".repeat(MAX_FILE_NAME)).is_ok());
        assert_eq!(FileName::new("a".repeat(201)), Err(NameError::TooLong(201)));
    }
}
