//! Foreign text made harmless: one line, no control characters, a bounded length.

/// `input` on one line: line breaks and tabs become single spaces, other control characters vanish,
/// and what goes past `max` bytes is cut at a character boundary and marked with an ellipsis.
#[must_use]
pub fn one_line(input: &str, max: usize) -> String {
    let mut out = String::with_capacity(input.len().min(max));
    let mut space = false;
    for c in input.chars() {
        let c = if matches!(c, '\r' | '\n' | '\t') { ' ' } else { c };
        if is_hidden(c) {
            continue;
        }
        if c == ' ' && (space || out.is_empty()) {
            continue;
        }
        space = c == ' ';
        if out.len() + c.len_utf8() > max {
            cut(&mut out, max);
            return out;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}

/// Control characters, and the marks that turn the direction of writing or hide in it.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn cut(out: &mut String, max: usize) {
    const ELLIPSIS: char = '…';
    while out.len() + ELLIPSIS.len_utf8() > max && out.pop().is_some() {}
    if out.len() + ELLIPSIS.len_utf8() <= max {
        out.push(ELLIPSIS);
    }
}

/// Bytes as a JSON string in which each char up to U+00FF stands for one byte: ASCII stays readable, nothing is lost.
pub mod bytes_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the bytes.
    ///
    /// # Errors
    /// As the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&bytes.iter().map(|b| char::from(*b)).collect::<String>())
    }

    /// Reads them back.
    ///
    /// # Errors
    /// When it is no string, or a char is above U+00FF.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.chars()
            .map(|c| u8::try_from(u32::from(c)))
            .collect::<Result<_, _>>()
            .map_err(|_| serde::de::Error::custom("a char above U+00FF where bytes are kept"))
    }
}

/// As [`bytes_as_text`], for bytes that may be missing.
pub mod optional_bytes_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the bytes or null.
    ///
    /// # Errors
    /// As the serializer.
    #[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::bytes_as_text::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads them back.
    ///
    /// # Errors
    /// As [`super::bytes_as_text::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super::bytes_as_text")] Vec<u8>);
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|w| w.0))
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn bytes_survive_as_json_text() {
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
        struct Kept {
            #[serde(with = "super::bytes_as_text")]
            a: Vec<u8>,
            #[serde(with = "super::optional_bytes_as_text")]
            b: Option<Vec<u8>>,
        }
        let all: Vec<u8> = (0..=255).collect();
        let kept = Kept { a: all.clone(), b: Some(all) };
        let json = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&json).unwrap(), kept);
    }

    #[test]
    fn breaks_become_spaces_and_controls_vanish() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[0m\u{202e}c ", 99), "a b[0mc");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(one_line("ääääää", 8), "ää…");
        assert_eq!(one_line("abc", 1), "");
    }
}
