//! Number: E.164 numbers, and how people write them.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

/// The most digits of a number with its country code (E.164 6.2).
pub const MAX_DIGITS: usize = 15;
/// The fewest: shorter ones are short codes, which mean something in one network only.
pub const MIN_DIGITS: usize = 7;

/// How people dial where a number was written: what turns it into an international one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialling {
    /// The country code that national numbers get, without `+`; `None`: there are no national numbers.
    pub country: Option<String>,
    /// What stands before a national number, `0` in most countries. Empty where nothing does: digits alone are a national
    /// number there, where a country is set.
    pub national_prefix: String,
    /// What stands before a country code beside `+`: `00`, `011`, ...
    pub international_prefix: String,
}

impl Default for Dialling {
    fn default() -> Self {
        Self { country: None, national_prefix: "0".to_owned(), international_prefix: "00".to_owned() }
    }
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// There is no digit in it.
    Empty,
    /// It holds something that is neither a digit nor a mark between digits.
    Letter(char),
    /// It is a national number, and no country is set.
    National,
    /// It has fewer than [`MIN_DIGITS`] digits.
    TooShort,
    /// It has more than [`MAX_DIGITS`] digits.
    TooLong,
    /// Country codes do not begin with 0.
    NoCountry,
}

impl fmt::Display for NumberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no digit in the number"),
            Self::Letter(letter) => write!(f, "{letter:?} does not belong in a number"),
            Self::National => f.write_str("the number has no country code, and no country is set"),
            Self::TooShort => write!(f, "the number has fewer than {MIN_DIGITS} digits"),
            Self::TooLong => write!(f, "the number has more than {MAX_DIGITS} digits"),
            Self::NoCountry => f.write_str("no country code begins with 0"),
        }
    }
}

impl core::error::Error for NumberError {}

/// Whether the text is `+` and the digits of an international number, and nothing else.
#[must_use]
pub fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
            && (MIN_DIGITS..=MAX_DIGITS).contains(&digits.len())
    })
}

/// The number as `+` and digits, from what a person wrote: `+49 (0)30 123-456`, `0049 30 123456`, `030/123456` with the
/// country set, or `4930123456`, as message centres write it. Spaces and the marks `-./()` between digits do not count.
///
/// # Errors
/// With what is wrong with it.
pub fn normalise(text: &str, dialling: &Dialling) -> Result<String, NumberError> {
    let (digits, is_international) = digits(text)?;
    let international = if is_international {
        Some(digits.as_str())
    } else {
        digits
            .strip_prefix(&*dialling.international_prefix)
            .filter(|_| !dialling.international_prefix.is_empty())
    };
    let national = || {
        let is_national = match (&*dialling.national_prefix, &dialling.country) {
            ("", country) => country.is_some().then_some(&*digits),
            (prefix, _) => digits.strip_prefix(prefix),
        };
        is_national.map(|number| dialling.country.as_ref().map(|country| country.clone() + number))
    };
    let whole = match international {
        Some(number) => number.to_owned(),
        None => match national() {
            Some(Some(number)) => number,
            Some(None) => return Err(NumberError::National),
            None => digits,
        },
    };
    match whole.len() {
        _ if whole.starts_with('0') => Err(NumberError::NoCountry),
        ..MIN_DIGITS => Err(NumberError::TooShort),
        MIN_DIGITS..=MAX_DIGITS => Ok("+".to_owned() + &whole),
        _ => Err(NumberError::TooLong),
    }
}

/// The digits of a number, and whether a `+` stood before them.
fn digits(text: &str) -> Result<(String, bool), NumberError> {
    let text = text.trim();
    let (is_international, mut rest) = match text.strip_prefix(['+', '＋']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut digits = String::new();
    while let Some(letter) = rest.chars().next() {
        // "+49 (0)30": the zero is dialled within the country only.
        if is_international && let Some(behind) = rest.strip_prefix("(0)") {
            rest = behind;
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match letter {
            '0'..='9' => digits.push(letter),
            ' ' | '\u{A0}' | '-' | '‐' | '‑' | '–' | '.' | '/' | '(' | ')' => {}
            other => return Err(NumberError::Letter(other)),
        }
    }
    if digits.is_empty() { Err(NumberError::Empty) } else { Ok((digits, is_international)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn german() -> Dialling {
        Dialling { country: Some("49".to_owned()), ..Dialling::default() }
    }

    #[test]
    fn what_people_write_becomes_one_number() {
        for text in [
            "+4930123456",
            "+49 (0)30 123-456",
            "+49 30/123456",
            "0049 30 123456",
            "030 123456",
            "(030) 123.456",
            "4930123456",
            " +49\u{A0}30\u{A0}123456 ",
        ] {
            assert_eq!(normalise(text, &german()).as_deref(), Ok("+4930123456"), "{text}");
        }
    }

    #[test]
    fn other_countries_dial_in_other_ways() {
        let america = Dialling {
            country: Some("1".to_owned()),
            national_prefix: String::new(),
            international_prefix: "011".to_owned(),
        };
        assert_eq!(normalise("(212) 555-0100", &america).as_deref(), Ok("+12125550100"));
        assert_eq!(normalise("011 49 30 123456", &america).as_deref(), Ok("+4930123456"));
        assert_eq!(normalise("+49 30 123456", &america).as_deref(), Ok("+4930123456"));
        // Where no country is set, digits alone have a country code.
        let nowhere = Dialling { country: None, ..america };
        assert_eq!(normalise("12125550100", &nowhere).as_deref(), Ok("+12125550100"));
    }

    #[test]
    fn what_is_no_number_says_why() {
        for (text, error) in [
            ("", NumberError::Empty),
            ("+", NumberError::Empty),
            ("--", NumberError::Empty),
            ("+49 30 CALL", NumberError::Letter('C')),
            ("+49+30", NumberError::Letter('+')),
            ("030 123456", NumberError::National),
            ("+030123456", NumberError::NoCountry),
            ("000123456", NumberError::NoCountry),
            ("80111", NumberError::TooShort),
            ("+123456", NumberError::TooShort),
            ("+1234567890123456", NumberError::TooLong),
        ] {
            assert_eq!(normalise(text, &Dialling::default()), Err(error), "{text}");
        }
    }

    #[test]
    fn only_the_plain_form_is_e164() {
        for (text, is) in [
            ("+4930123456", true),
            ("+123456789012345", true),
            ("4930123456", false),
            ("+49 30", false),
            ("+0301234567", false),
            ("+1234567890123456", false),
        ] {
            assert_eq!(is_e164(text), is, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_e164_and_stays_as_it_is(text in "[+0-9 ()./-]{0,24}", country in "[1-9][0-9]{0,2}") {
            let dialling = Dialling { country: Some(country), ..Dialling::default() };
            if let Ok(number) = normalise(&text, &dialling) {
                prop_assert!(is_e164(&number), "{}", number);
                prop_assert_eq!(normalise(&number, &dialling), Ok(number.clone()));
            }
        }

        #[test]
        fn no_text_is_too_odd(text: String) {
            let _ = normalise(&text, &Dialling::default());
        }
    }
}
