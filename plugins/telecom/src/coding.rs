//! Coding: what `data_coding` says about the bytes of a text (SMPP 3.4 5.2.19, 3GPP TS 23.038 4), in both directions.

use alloc::string::String;
use alloc::vec::Vec;

use crate::gsm7;
use crate::segment::Alphabet;

/// The value for the default alphabet of the message centre.
pub const DEFAULT: u8 = 0x00;
/// The value for UCS-2.
pub const UCS2: u8 = 0x08;

/// What a message centre means by `data_coding` 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Default7 {
    /// GSM 03.38, one septet to a byte: what most mean.
    #[default]
    Gsm7,
    /// Latin-1.
    Latin1,
}

/// The value that says a text is written in this alphabet.
#[must_use]
pub fn of(alphabet: Alphabet) -> u8 {
    match alphabet {
        Alphabet::Gsm7 => DEFAULT,
        Alphabet::Ucs2 => UCS2,
    }
}

/// What the bytes of a text are, by its `data_coding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Default,
    Ascii,
    Latin1,
    Ucs2,
    Binary,
}

/// SMPP's own values first; the groups of 23.038 where SMPP hands them through.
fn kind(data_coding: u8) -> Kind {
    match data_coding {
        0x00 => Kind::Default,
        0x01 => Kind::Ascii,
        0x03 => Kind::Latin1,
        0x08 => Kind::Ucs2,
        // General groups with a message class or compression: bits 2 and 3 name the alphabet; compressed text is not read.
        0x10..=0x1F | 0x40..=0x5F => match data_coding >> 2 & 0b11 {
            0 => Kind::Default,
            2 => Kind::Ucs2,
            _ => Kind::Binary,
        },
        // Message waiting: discard and store in the default alphabet, store in UCS-2.
        0xC0..=0xDF => Kind::Default,
        0xE0..=0xEF => Kind::Ucs2,
        // Data coding and message class: bit 2 names the alphabet.
        0xF0..=0xFF if data_coding & 0b100 == 0 => Kind::Default,
        _ => Kind::Binary,
    }
}

/// The text of bytes without a header; `None` when they are no text, or in an alphabet that is not read here.
#[must_use]
pub fn decode(data_coding: u8, bytes: &[u8], default: Default7) -> Option<String> {
    Some(match (kind(data_coding), default) {
        (Kind::Default, Default7::Gsm7) => gsm7::decode(bytes),
        (Kind::Default, Default7::Latin1) | (Kind::Latin1 | Kind::Ascii, _) => latin1(bytes),
        (Kind::Ucs2, _) => ucs2(bytes),
        (Kind::Binary, _) => return None,
    })
}

/// A text in Latin-1; `None` when that does not have one of its letters.
#[must_use]
pub fn to_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

/// The text of bytes in Latin-1.
#[must_use]
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The text of UTF-16 with its big end first, which is what telephones send as UCS-2. Half a pair or half a unit becomes
/// U+FFFD.
#[must_use]
pub fn ucs2(bytes: &[u8]) -> String {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    let mut text: String =
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.extend((!odd.is_empty()).then_some(char::REPLACEMENT_CHARACTER));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_value_names_an_alphabet_or_none() {
        for (value, bytes, text) in [
            (0x00, &b"\x00a\x1b\x65"[..], Some("@a€")),
            (0x01, b"a@", Some("a@")),
            (0x03, b"gr\xfc\xdfe", Some("grüße")),
            (0x08, &[0x04, 0x1F, 0xD8, 0x3D, 0xDE, 0x00], Some("П😀")),
            (0x10, b"\x00", Some("@")),
            (0x18, &[0x04, 0x1F], Some("П")),
            (0xC8, b"\x00", Some("@")),
            (0xE0, &[0x04, 0x1F], Some("П")),
            (0xF0, b"\x00", Some("@")),
            (0xF4, b"\x00", None),
            (0x02, b"\x00", None),
            (0x04, b"\x00", None),
            (0x14, b"\x00", None),
        ] {
            assert_eq!(decode(value, bytes, Default7::Gsm7).as_deref(), text, "{value:#04x}");
        }
        assert_eq!(decode(0, b"@\xfc", Default7::Latin1).as_deref(), Some("@ü"));
    }

    #[test]
    fn half_a_letter_is_shown() {
        assert_eq!(ucs2(&[0xD8, 0x3D]), "\u{FFFD}");
        assert_eq!(ucs2(&[0x00, 0x41, 0x00]), "A\u{FFFD}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_decode(value: u8, bytes: Vec<u8>) {
            let _ = decode(value, &bytes, Default7::Gsm7);
        }

        #[test]
        fn latin1_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(to_latin1(&latin1(&bytes)), Some(bytes));
        }
    }
}
