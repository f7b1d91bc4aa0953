//! Header: user data headers (3GPP TS 23.040 9.2.3.24), which tell a telephone how segments belong together.

use alloc::vec;
use alloc::vec::Vec;

/// The element for a segment of several, with a reference of 8 bits (9.2.3.24.1).
const CONCATENATED_8: u8 = 0x00;
/// The same with a reference of 16 bits (9.2.3.24.8).
const CONCATENATED_16: u8 = 0x08;

/// How many bits the reference has that segments of one message share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    /// Every telephone knows it: 153 letters or 67 units a segment.
    #[default]
    Eight,
    /// Repeats only after 65,536 messages: 152 letters or 66 units a segment.
    Sixteen,
}

impl Width {
    /// The bytes of a header with nothing but this, its own length included.
    #[must_use]
    pub fn header_length(self) -> usize {
        match self {
            Self::Eight => 6,
            Self::Sixteen => 7,
        }
    }
}

/// What says which segment of which message this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concatenation {
    /// The same for all segments of a message; at most 255 with [`Width::Eight`].
    pub reference: u16,
    /// How many segments there are, from 1.
    pub total: u8,
    /// Which one this is, from 1.
    pub number: u8,
}

/// A header with one element: a segment of several. Of a reference that is wider than its field the low bits are taken.
#[must_use]
pub fn write(concatenation: Concatenation, width: Width) -> Vec<u8> {
    let Concatenation { reference, total, number } = concatenation;
    let [high, low] = reference.to_be_bytes();
    match width {
        Width::Eight => vec![5, CONCATENATED_8, 3, low, total, number],
        Width::Sixteen => vec![6, CONCATENATED_16, 4, high, low, total, number],
    }
}

/// Divides user data that begins with a header: what the header says of segments, and the data behind it. `None` when the
/// header is longer than the data. Elements that are not known or do not fit are left alone, as 9.2.3.24 demands; so is a
/// segment number that is 0 or above the total.
#[must_use]
pub fn read(data: &[u8]) -> Option<(Option<Concatenation>, &[u8])> {
    let (&length, rest) = data.split_first()?;
    let (mut elements, text) = rest.split_at_checked(usize::from(length))?;
    let mut found = None;
    while let [kind, length, rest @ ..] = elements {
        let Some((value, next)) = rest.split_at_checked(usize::from(*length)) else { break };
        let concatenation = match (*kind, value) {
            (CONCATENATED_8, &[low, total, number]) => {
                Some(Concatenation { reference: low.into(), total, number })
            }
            (CONCATENATED_16, &[high, low, total, number]) => {
                Some(Concatenation { reference: u16::from_be_bytes([high, low]), total, number })
            }
            _ => None,
        };
        // Of repeated elements the last counts (9.2.3.24).
        found = concatenation.filter(|c| c.number > 0 && c.number <= c.total).or(found);
        elements = next;
    }
    Some((found, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_OF_THREE: Concatenation = Concatenation { reference: 0x1234, total: 3, number: 2 };

    #[test]
    fn headers_have_the_bytes_of_the_standard() {
        assert_eq!(write(SECOND_OF_THREE, Width::Eight), [0x05, 0x00, 0x03, 0x34, 0x03, 0x02]);
        assert_eq!(write(SECOND_OF_THREE, Width::Sixteen), [0x06, 0x08, 0x04, 0x12, 0x34, 0x03, 0x02]);
        for width in [Width::Eight, Width::Sixteen] {
            assert_eq!(write(SECOND_OF_THREE, width).len(), width.header_length());
        }
    }

    #[test]
    fn other_elements_and_broken_ones_do_not_hide_what_is_there() {
        // An application port (0x05) before it.
        let data = [0x0B, 0x05, 0x04, 0x0B, 0x84, 0, 0, 0x00, 0x03, 0x34, 0x03, 0x02, b'x'];
        let segment = Concatenation { reference: 0x34, ..SECOND_OF_THREE };
        assert_eq!(read(&data), Some((Some(segment), &b"x"[..])));
        // An element that is cut off, a number of none, a number above the total.
        assert_eq!(read(&[0x03, 0x00, 0x03, 0x34, b'x']), Some((None, &b"x"[..])));
        assert_eq!(read(&[0x05, 0x00, 0x03, 1, 3, 0, b'x']), Some((None, &b"x"[..])));
        assert_eq!(read(&[0x05, 0x00, 0x03, 1, 3, 4, b'x']), Some((None, &b"x"[..])));
        assert_eq!(read(&[0x05, 0x00, 0x03]), None);
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(reference: u16, total in 1_u8.., number: u8, text: Vec<u8>, wide: bool) {
            let number = number % total + 1;
            let width = if wide { Width::Sixteen } else { Width::Eight };
            let reference = if wide { reference } else { reference % 256 };
            let concatenation = Concatenation { reference, total, number };
            let mut data = write(concatenation, width);
            data.extend_from_slice(&text);
            prop_assert_eq!(read(&data), Some((Some(concatenation), &text[..])));
        }

        #[test]
        fn no_bytes_are_too_odd_to_read(data: Vec<u8>) {
            if let Some((_, text)) = read(&data) {
                prop_assert!(data.ends_with(text));
            }
        }
    }
}
