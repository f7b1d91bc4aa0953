//! Writing replies, and the enhanced status code within them (RFC 5321 4.2, RFC 2034, RFC 3463).

use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

/// Bytes of text in one reply line: RFC 5321 4.5.3.1.5 allows 512 with code, enhanced code and CRLF.
pub(crate) const MAX_REPLY_TEXT: usize = 480;

/// An enhanced status code such as `5.1.1` (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What it is about, 0 to 999: 1 addressing, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// What precisely, 0 to 999.
    pub detail: u16,
}

impl EnhancedCode {
    /// The code `class.subject.detail`, taken as it is.
    #[must_use]
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Whether its numbers are in the range of RFC 3463 and its class goes with the reply code.
    pub(crate) fn fits(self, code: u16) -> bool {
        matches!(self.class, 2 | 4 | 5)
            && u16::from(self.class) == code / 100
            && self.subject <= 999
            && self.detail <= 999
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A text that is no enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code (class 2, 4 or 5, then two numbers of up to three digits)")]
pub struct EnhancedCodeError;

impl FromStr for EnhancedCode {
    type Err = EnhancedCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: &str| {
            let fits = matches!(part.len(), 1..=3) && part.bytes().all(|b| b.is_ascii_digit());
            if fits { part.parse::<u16>().ok() } else { None }
        };
        let mut parts = text.split('.');
        let class = match parts.next() {
            Some("2") => 2,
            Some("4") => 4,
            Some("5") => 5,
            _ => return Err(EnhancedCodeError),
        };
        match (parts.next().and_then(number), parts.next().and_then(number), parts.next()) {
            (Some(subject), Some(detail), None) => Ok(Self { class, subject, detail }),
            _ => Err(EnhancedCodeError),
        }
    }
}

/// Appends a reply of one line. `text` must be clean already ([`clean`]).
pub(crate) fn write_line(output: &mut Vec<u8>, code: u16, enhanced: Option<EnhancedCode>, text: &str) {
    match enhanced {
        Some(enhanced) => write!(output, "{code} {enhanced} {text}\r\n"),
        None => write!(output, "{code} {text}\r\n"),
    }
    .expect("writing to a Vec does not fail");
}

/// Appends a reply of several lines without enhanced codes, as the answer to EHLO must be (RFC 2034 section 3).
pub(crate) fn write_lines(output: &mut Vec<u8>, code: u16, lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        let mark = if index + 1 == lines.len() { ' ' } else { '-' };
        write!(output, "{code}{mark}{line}\r\n").expect("writing to a Vec does not fail");
    }
}

/// `text` as it may stand in a reply line: printable ASCII, one line, at most [`MAX_REPLY_TEXT`] bytes. Runs of
/// line breaks and other controls become one space; anything beyond ASCII a question mark.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_REPLY_TEXT));
    for c in text.chars() {
        if out.len() == MAX_REPLY_TEXT {
            break;
        }
        match c {
            ' '..='~' => out.push(c),
            c if c.is_control() && (out.is_empty() || out.ends_with(' ')) => {}
            c if c.is_control() => out.push(' '),
            _ => out.push('?'),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_read_strictly() {
        assert_eq!("5.6.11".parse(), Ok(EnhancedCode::new(5, 6, 11)));
        for text in ["", "5", "5.1", "5.1.1.1", "3.0.0", "1.0.0", "5.+1.0", "5.1.1000", "5..1", "5.1.1 "] {
            assert!(text.parse::<EnhancedCode>().is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_one_printable_line_of_bounded_length() {
        assert_eq!(clean("\r\nno\r\n250 ok\u{0}\u{7f}\tmore \n"), "no 250 ok more");
        assert_eq!(clean("größer"), "gr??er");
        assert_eq!(clean(&"x".repeat(5000)).len(), MAX_REPLY_TEXT);
    }

    #[test]
    fn the_last_of_several_lines_has_a_space_after_its_code() {
        let mut out = Vec::new();
        write_lines(&mut out, 250, &["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        assert_eq!(out, b"250-a\r\n250-b\r\n250 c\r\n");
    }
}
