//! Gsm7: the default alphabet of GSM 03.38 (3GPP TS 23.038 6.2.1) with its extension table (6.2.1.1).
//!
//! "Septets" are unpacked here, one to a byte, as SMPP carries them; [`pack`] and [`unpack`] lead to and from the form
//! that goes over the air.

use alloc::string::String;
use alloc::vec::Vec;

/// What announces a letter of the extension table.
pub const ESCAPE: u8 = 0x1B;

/// The 128 letters by their septets; 0x1B is the escape, which no text holds.
const LETTERS: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', 'Δ', '_', 'Φ', 'Γ',
    'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1B}', 'Æ', 'æ', 'ß', 'É', ' ', '!', '"', '#', '¤', '%', '&', '\'',
    '(', ')', '*', '+', ',', '-', '.', '/', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<',
    '=', '>', '?', '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q',
    'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', '¿', 'a', 'b', 'c', 'd', 'e', 'f',
    'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä',
    'ö', 'ñ', 'ü', 'à',
];

/// The letters of the extension table.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{0C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// One letter as one septet, or as the escape and another; `None` when the alphabet does not have it.
#[must_use]
pub fn letter(letter: char) -> Option<(u8, Option<u8>)> {
    if letter == char::from(ESCAPE) {
        return None;
    }
    let basic = LETTERS.iter().zip(0_u8..).find(|(one, _)| **one == letter);
    let extended =
        || EXTENSION.iter().find(|(_, one)| *one == letter).map(|(septet, _)| (ESCAPE, Some(*septet)));
    basic.map(|(_, septet)| (septet, None)).or_else(extended)
}

/// Whether the alphabet has every letter of the text.
#[must_use]
pub fn fits(text: &str) -> bool {
    text.chars().all(|one| letter(one).is_some())
}

/// A text as septets, one to a byte; `None` when the alphabet does not have one of its letters.
#[must_use]
pub fn encode(text: &str) -> Option<Vec<u8>> {
    let mut septets = Vec::with_capacity(text.len());
    for one in text.chars() {
        let (first, second) = letter(one)?;
        septets.push(first);
        septets.extend(second);
    }
    Some(septets)
}

/// The text of septets, one to a byte. What is no letter becomes one that shows it: an escape before a septet that the
/// extension table does not have is left out (23.038 6.2.1.1), one at the end is a space, and a byte above 0x7F is U+FFFD.
#[must_use]
pub fn decode(septets: &[u8]) -> String {
    let basic = |septet: u8| LETTERS.get(usize::from(septet)).copied().unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut text = String::with_capacity(septets.len());
    let mut left = septets.iter().copied();
    while let Some(septet) = left.next() {
        if septet != ESCAPE {
            text.push(basic(septet));
            continue;
        }
        text.push(match left.next() {
            None | Some(ESCAPE) => ' ',
            Some(next) => {
                EXTENSION.iter().find(|(one, _)| *one == next).map_or_else(|| basic(next), |(_, l)| *l)
            }
        });
    }
    text
}

/// Septets as they go over the air, seven bits each from the lowest, after `fill` (0 to 6) empty bits that a user data
/// header leaves before the next septet begins (23.040 9.2.3.24).
#[must_use]
pub fn pack(septets: &[u8], fill: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(septets.len() * 7 / 8 + 2);
    let (mut bits, mut held) = (0_u32, u32::from(fill % 7));
    for septet in septets {
        bits |= u32::from(septet & 0x7F) << held;
        held += 7;
        while held >= 8 {
            bytes.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        bytes.push(bits.to_le_bytes()[0]);
    }
    bytes
}

/// The first `count` septets of what [`pack`] made with the same `fill`; fewer where the bytes end before.
#[must_use]
pub fn unpack(bytes: &[u8], count: usize, fill: u8) -> Vec<u8> {
    let mut septets = Vec::with_capacity(count.min(bytes.len() * 8 / 7));
    let (mut bits, mut held, mut skip) = (0_u32, 0_u32, u32::from(fill % 7));
    for byte in bytes {
        if septets.len() == count {
            break;
        }
        bits |= u32::from(*byte) << held;
        held += 8;
        if skip > 0 {
            (bits, held, skip) = (bits >> skip, held - skip, 0);
        }
        while held >= 7 && septets.len() < count {
            septets.push(bits.to_le_bytes()[0] & 0x7F);
            bits >>= 7;
            held -= 7;
        }
    }
    septets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_letters_have_the_septets_of_the_standard() {
        for (one, septets) in [
            ('@', &[0x00][..]),
            ('\n', &[0x0A]),
            ('\r', &[0x0D]),
            ('Δ', &[0x10]),
            ('_', &[0x11]),
            ('Ξ', &[0x1A]),
            ('ß', &[0x1E]),
            (' ', &[0x20]),
            ('¤', &[0x24]),
            ('?', &[0x3F]),
            ('¡', &[0x40]),
            ('A', &[0x41]),
            ('Z', &[0x5A]),
            ('§', &[0x5F]),
            ('¿', &[0x60]),
            ('a', &[0x61]),
            ('z', &[0x7A]),
            ('à', &[0x7F]),
            ('€', &[0x1B, 0x65]),
            ('[', &[0x1B, 0x3C]),
            ('|', &[0x1B, 0x40]),
            ('\u{0C}', &[0x1B, 0x0A]),
        ] {
            assert_eq!(encode(&String::from(one)).as_deref(), Some(septets), "{one}");
        }
        for none in ['\u{1B}', '`', 'ç', 'á', '\t', '\u{2019}', 'Ђ', '😀'] {
            assert_eq!(letter(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_letter_is_shown_and_never_lost_silently() {
        assert_eq!(decode(&[0x1B, 0x41]), "A", "the letter of the basic table");
        assert_eq!(decode(&[0x41, 0x1B]), "A ");
        assert_eq!(decode(&[0x1B, 0x1B]), " ");
        assert_eq!(decode(&[0x80, 0xFF]), "\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn septets_are_packed_as_the_standard_shows() {
        let septets = encode("hellohello").unwrap();
        let packed = [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37];
        assert_eq!(pack(&septets, 0), packed);
        assert_eq!(unpack(&packed, 10, 0), septets);
        // Seven septets end one bit before the byte does: without a count an eighth, '@', would appear.
        assert_eq!(unpack(&pack(&septets[..7], 0), 7, 0), &septets[..7]);
    }

    proptest! {
        #[test]
        fn every_text_of_the_alphabet_comes_back(septets in proptest::collection::vec(0_u8..128, 0..200)) {
            let text = decode(&septets);
            prop_assert_eq!(decode(&encode(&text).unwrap()), text);
        }

        #[test]
        fn packed_septets_come_back_after_any_header(
            septets in proptest::collection::vec(0_u8..128, 0..200), fill in 0_u8..7,
        ) {
            let packed = pack(&septets, fill);
            prop_assert_eq!(packed.len(), (septets.len() * 7 + usize::from(fill)).div_ceil(8));
            prop_assert_eq!(unpack(&packed, septets.len(), fill), septets);
        }

        #[test]
        fn no_bytes_are_too_odd_to_decode(bytes: Vec<u8>, count in 0_usize..300, fill: u8) {
            let _ = decode(&bytes);
            prop_assert!(unpack(&bytes, count, fill).len() <= count);
        }
    }
}
