//! xtext: how arbitrary text travels in an SMTP parameter (RFC 3461 section 4).

use std::fmt::Write as _;

/// Why a text is not xtext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XtextError {
    /// A character outside `!` to `~`, or a bare `=`.
    #[error("a character that xtext must encode")]
    Character,
    /// `+` must be followed by two hexadecimal digits in upper case.
    #[error("'+' without two upper-case hexadecimal digits")]
    Escape,
    /// It decodes to a control character.
    #[error("an encoded control character")]
    Control,
    /// It does not decode to UTF-8.
    #[error("encoded bytes that are not UTF-8")]
    Utf8,
}

/// `text` as xtext: everything but `!` to `~` without `+` and `=` becomes `+HH`, byte by byte.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "+{byte:02X}").expect("writing to a String does not fail");
        }
    }
    out
}

/// Decodes xtext. What it holds must be UTF-8 without control characters: it is shown to people and written
/// into header fields.
///
/// # Errors
/// When `text` is not xtext, or decodes to something else than that.
pub fn decode(text: &str) -> Result<String, XtextError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(XtextError::Escape),
            },
            byte if is_plain(byte) => byte,
            _ => return Err(XtextError::Character),
        });
    }
    let out = String::from_utf8(out).map_err(|_| XtextError::Utf8)?;
    if out.chars().any(char::is_control) { Err(XtextError::Control) } else { Ok(out) }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'+' && byte != b'='
}

/// RFC 3461 allows upper-case digits only.
fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_encoded_is_encoded_and_comes_back() {
        assert_eq!(encode("+49 30=1"), "+2B49+2030+3D1");
        for text in ["", "plain", "+49 30 / a=b", "Jürgen", "\"a b\"@c.example"] {
            assert_eq!(decode(&encode(text)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_not_xtext_is_refused() {
        for (text, error) in [
            ("a b", XtextError::Character),
            ("a=b", XtextError::Character),
            ("ü", XtextError::Character),
            ("a+", XtextError::Escape),
            ("a+2", XtextError::Escape),
            ("a+2b", XtextError::Escape),
            ("a+GG", XtextError::Escape),
            ("a+0D+0A", XtextError::Control),
            ("a+00", XtextError::Control),
            ("a+7F", XtextError::Control),
            ("a+FF", XtextError::Utf8),
        ] {
            assert_eq!(decode(text), Err(error), "{text}");
        }
    }
}
