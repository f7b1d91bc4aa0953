//! Segment: which alphabet a text needs, how many short messages it takes, and what stands in each.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::header::Width;
use crate::{gsm7, transliterate};

/// Bytes of user data in one short message over the air (3GPP TS 23.040 9.2.3.24).
const USER_DATA: usize = 140;

/// The most segments that a header can count.
pub const MAX_SEGMENTS: usize = 255;

/// How the letters of a text are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// GSM 03.38: 160 letters in one message, those of the extension table count twice.
    Gsm7,
    /// UCS-2, big end first: 70 units in one message; a letter beyond U+FFFF takes two, as UTF-16 writes it.
    Ucs2,
}

/// What is done with a text that the GSM alphabet does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The text stays as it is: GSM where every letter fits, else UCS-2.
    #[default]
    Exact,
    /// Letters are replaced by others that look alike, where that makes the whole text fit the GSM alphabet; where it does
    /// not, the text stays as it is.
    Transliterate,
    /// UCS-2, whatever the text is.
    Ucs2,
}

/// A text with the alphabet that it is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded<'a> {
    /// The alphabet.
    pub alphabet: Alphabet,
    /// The text; after a transliteration another one.
    pub text: Cow<'a, str>,
}

/// What a text takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The alphabet.
    pub alphabet: Alphabet,
    /// Septets or UTF-16 units of the whole text.
    pub units: usize,
    /// Short messages; 1 for an empty text.
    pub segments: usize,
    /// Units that the last one still has room for.
    pub left: usize,
}

/// The text takes more segments than a header can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySegments {
    /// How many it takes.
    pub segments: usize,
}

impl fmt::Display for TooManySegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the text takes {} segments; one message has at most {MAX_SEGMENTS}", self.segments)
    }
}

impl core::error::Error for TooManySegments {}

impl Alphabet {
    /// Units in a message that is alone.
    #[must_use]
    pub fn alone(self) -> usize {
        self.units_in(USER_DATA)
    }

    /// Units in each of several messages.
    #[must_use]
    pub fn of_several(self, width: Width) -> usize {
        self.units_in(USER_DATA - width.header_length())
    }

    fn units_in(self, bytes: usize) -> usize {
        match self {
            Self::Gsm7 => bytes * 8 / 7,
            Self::Ucs2 => bytes / 2,
        }
    }

    /// How many units a letter takes.
    fn units(self, letter: char) -> usize {
        match self {
            Self::Gsm7 => gsm7::letter(letter).map_or(1, |(_, second)| 1 + usize::from(second.is_some())),
            Self::Ucs2 => letter.len_utf16(),
        }
    }

    /// Appends a letter to user data: septets one to a byte, or UTF-16 with its big end first.
    fn write(self, letter: char, data: &mut Vec<u8>) {
        match self {
            Self::Gsm7 => {
                // What the alphabet does not have was sent to UCS-2 by `encode`.
                let (first, second) = gsm7::letter(letter).unwrap_or((0x3F, None));
                data.push(first);
                data.extend(second);
            }
            Self::Ucs2 => {
                data.extend(letter.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()))
            }
        }
    }
}

/// Chooses the alphabet of a text.
#[must_use]
pub fn encode(text: &str, policy: Policy) -> Encoded<'_> {
    let as_is = |alphabet| Encoded { alphabet, text: Cow::Borrowed(text) };
    match policy {
        Policy::Ucs2 => as_is(Alphabet::Ucs2),
        _ if gsm7::fits(text) => as_is(Alphabet::Gsm7),
        Policy::Exact => as_is(Alphabet::Ucs2),
        Policy::Transliterate => match transliterate::to_gsm7(text) {
            Some(plain) => Encoded { alphabet: Alphabet::Gsm7, text: Cow::Owned(plain) },
            None => as_is(Alphabet::Ucs2),
        },
    }
}

impl Encoded<'_> {
    /// The whole text in one piece: septets one to a byte, or UTF-16 with its big end first.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.text.len());
        self.text.chars().for_each(|letter| self.alphabet.write(letter, &mut data));
        data
    }

    /// The text in the segments that it takes, each as [`Self::whole`] writes it and without a header. One, perhaps empty,
    /// where it fits into one message; neither an escape sequence nor a surrogate pair is ever divided.
    ///
    /// # Errors
    /// When there are more than [`MAX_SEGMENTS`].
    pub fn segments(&self, width: Width) -> Result<Vec<Vec<u8>>, TooManySegments> {
        let mut segments = Vec::new();
        let mut last = Vec::new();
        let fill = |starts_new: bool, letter: char| {
            if starts_new {
                segments.push(core::mem::take(&mut last));
            }
            self.alphabet.write(letter, &mut last);
        };
        self.walk(width, fill);
        segments.push(last);
        let count = segments.len();
        if count > MAX_SEGMENTS { Err(TooManySegments { segments: count }) } else { Ok(segments) }
    }

    /// What the text takes, however long it is.
    #[must_use]
    pub fn count(&self, width: Width) -> Count {
        let mut segments = 1;
        let (last, room) = self.walk(width, |starts_new, _| segments += usize::from(starts_new));
        let units = self.text.chars().map(|letter| self.alphabet.units(letter)).sum();
        Count { alphabet: self.alphabet, units, segments, left: room - last }
    }

    /// Goes over the letters and says of each whether a new segment starts with it. Gives the units in the last segment and
    /// the room of a segment.
    fn walk(&self, width: Width, mut each: impl FnMut(bool, char)) -> (usize, usize) {
        let all: usize = self.text.chars().map(|letter| self.alphabet.units(letter)).sum();
        let alone = self.alphabet.alone();
        let room = if all <= alone { alone } else { self.alphabet.of_several(width) };
        let mut used = 0;
        for letter in self.text.chars() {
            let units = self.alphabet.units(letter);
            let starts_new = used + units > room;
            used = if starts_new { units } else { used + units };
            each(starts_new, letter);
        }
        (used, room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coding;
    use alloc::string::String;
    use proptest::prelude::*;

    fn sizes(text: &str, policy: Policy, width: Width) -> Vec<usize> {
        encode(text, policy).segments(width).unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn a_message_has_160_letters_and_each_of_several_153() {
        let (exact, eight) = (Policy::Exact, Width::Eight);
        assert_eq!(sizes(&"a".repeat(160), exact, eight), [160]);
        assert_eq!(sizes(&"a".repeat(161), exact, eight), [153, 8]);
        assert_eq!(sizes(&"a".repeat(307), exact, eight), [153, 153, 1]);
        assert_eq!(sizes(&"a".repeat(161), exact, Width::Sixteen), [152, 9]);
        assert_eq!(sizes("", exact, eight), [0]);
    }

    #[test]
    fn a_message_in_ucs2_has_70_units_and_each_of_several_67() {
        let (exact, eight) = (Policy::Exact, Width::Eight);
        assert_eq!(sizes(&"я".repeat(70), exact, eight), [140]);
        assert_eq!(sizes(&"я".repeat(71), exact, eight), [134, 8]);
        assert_eq!(sizes(&"я".repeat(71), exact, Width::Sixteen), [132, 10]);
        assert_eq!(sizes(&"a".repeat(71), Policy::Ucs2, eight), [134, 8]);
    }

    #[test]
    fn neither_an_escape_sequence_nor_a_surrogate_pair_is_divided() {
        let text = "a".repeat(152) + "€" + &"a".repeat(20);
        assert_eq!(sizes(&text, Policy::Exact, Width::Eight), [152, 22]);
        let text = "я".repeat(66) + "😀" + &"я".repeat(20);
        assert_eq!(sizes(&text, Policy::Exact, Width::Eight), [132, 44]);
        // 80 of the extension table fill a message.
        assert_eq!(sizes(&"€".repeat(80), Policy::Exact, Width::Eight), [160]);
        assert_eq!(sizes(&"€".repeat(81), Policy::Exact, Width::Eight), [152, 10]);
    }

    #[test]
    fn the_policy_chooses_the_alphabet_and_loses_nothing() {
        for (text, policy, alphabet, sent) in [
            ("Grüße", Policy::Exact, Alphabet::Gsm7, "Grüße"),
            ("it’s", Policy::Exact, Alphabet::Ucs2, "it’s"),
            ("it’s", Policy::Transliterate, Alphabet::Gsm7, "it's"),
            ("it’s 😀", Policy::Transliterate, Alphabet::Ucs2, "it’s 😀"),
            ("plain", Policy::Ucs2, Alphabet::Ucs2, "plain"),
        ] {
            assert_eq!(encode(text, policy), Encoded { alphabet, text: Cow::Borrowed(sent) }, "{text}");
        }
    }

    #[test]
    fn a_text_is_counted_as_it_is_divided_and_too_long_ones_are_told() {
        let encoded = encode("ab€", Policy::Exact);
        let count = encoded.count(Width::Eight);
        assert_eq!(count, Count { alphabet: Alphabet::Gsm7, units: 4, segments: 1, left: 156 });
        let long = "a".repeat(153 * 256);
        let encoded = encode(&long, Policy::Exact);
        assert_eq!(encoded.count(Width::Eight).segments, 256);
        assert_eq!(encoded.segments(Width::Eight), Err(TooManySegments { segments: 256 }));
        assert_eq!(encode(&long[153..], Policy::Exact).segments(Width::Eight).map(|s| s.len()), Ok(255));
    }

    proptest! {
        #[test]
        fn segments_together_are_the_text_and_each_can_be_read_alone(
            text in "[a-z€\\[àя😀\u{10FFFF}]{0,700}", ucs2: bool, wide: bool,
        ) {
            let width = if wide { Width::Sixteen } else { Width::Eight };
            let encoded = encode(&text, if ucs2 { Policy::Ucs2 } else { Policy::Exact });
            let Ok(segments) = encoded.segments(width) else { return Ok(()) };
            prop_assert_eq!(segments.concat(), encoded.whole());
            let count = encoded.count(width);
            prop_assert_eq!(count.segments, segments.len());
            let (bytes, room) = match encoded.alphabet {
                Alphabet::Gsm7 => (1, if segments.len() == 1 { 160 } else if wide { 152 } else { 153 }),
                Alphabet::Ucs2 => (2, if segments.len() == 1 { 70 } else if wide { 66 } else { 67 }),
            };
            let read: String = segments.iter().map(|segment| match encoded.alphabet {
                Alphabet::Gsm7 => gsm7::decode(segment),
                Alphabet::Ucs2 => coding::ucs2(segment),
            }).collect();
            prop_assert_eq!(read, &*encoded.text);
            for segment in &segments {
                prop_assert!(segment.len() / bytes <= room);
            }
            prop_assert_eq!(count.left, room - segments.last().map_or(0, Vec::len) / bytes);
        }
    }
}
