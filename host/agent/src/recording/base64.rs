//! Base64 (RFC 4648), for bytes in a recording that are no text, and for secrets that are looked for in that form.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text for these bytes, with its padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n > group.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// The bytes of a text with its padding; `None` when it is no such text.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|letter| **letter == b'=').count();
    let letters = &text[..text.len() - padding];
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in letters.chunks(4) {
        let mut bits = 0;
        for n in 0..4 {
            bits = bits << 6 | group.get(n).map_or(Some(0), |letter| value(*letter))?;
        }
        let [_, found @ ..] = bits.to_be_bytes();
        bytes.extend_from_slice(&found[..group.len() - 1]);
    }
    Some(bytes)
}

fn value(letter: u8) -> Option<u32> {
    let at = ALPHABET.iter().position(|known| *known == letter)?;
    u32::try_from(at).ok()
}

/// The texts that bytes are part of wherever they stand among others: one for each of the three places in a group, as far
/// as their neighbours have no part in it.
pub(super) fn within(bytes: &[u8]) -> [String; 3] {
    std::array::from_fn(|before| {
        let text = encode(&[&vec![0; before], bytes].concat());
        // Letters whose six bits are all of the bytes'.
        let (from, to) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
        text[from.min(to)..to].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        for text in ["Z", "Zm9v=", "====", "Zm9*", "Z===", "=Zm9"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_are_found_wherever_they_stand() {
        let found = within(b"hunter22");
        for before in ["", "u", "u:", "user:", "us"] {
            let text = encode(format!("{before}hunter22!").as_bytes());
            assert!(found.iter().any(|part| text.contains(part)), "{text}");
        }
        assert!(found.iter().all(|part| part.len() >= 9));
    }
}
