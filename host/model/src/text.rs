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

/// `input` with its lines as they are and nothing hidden in them: for what is printed whole, such as a report of several
/// lines.
#[must_use]
pub fn printable(input: &str) -> String {
    input.chars().filter(|c| *c == '\n' || !is_hidden(*c)).collect()
}

/// Whether a character does something to a screen or a reader instead of being seen: control characters, marks that
/// turn the direction of writing, and characters without width.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
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
    use super::{is_hidden, one_line, printable};

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

    /// Texts that try to be more than a text, and what is left of each.
    const HOSTILE: &[(&str, &str)] = &[
        ("red\u{1b}[31m \u{9b}2J \u{7}bell", "red[31m 2J bell"),
        (
            "\u{1b}]8;;http://evil.example\u{1b}\\click\u{1b}]8;;\u{1b}\\",
            "]8;;http://evil.example\\click]8;;\\",
        ),
        ("ok\r\nBcc: all@evil.example", "ok Bcc: all@evil.example"),
        ("ok\n2026-01-01T00:00:00Z ERROR made up", "ok 2026-01-01T00:00:00Z ERROR made up"),
        ("one\u{2028}two\u{2029}three\u{85}four\u{b}five", "onetwothreefourfive"),
        ("a\0b\u{8}c\u{7f}d", "abcd"),
        ("\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{61c}y\u{200f}", "gnp.exe x y"),
        ("z\u{200b}e\u{ad}r\u{feff}o\u{2060}w\u{180e}i\u{e0041}d\u{fff9}e", "zerowide"),
        ("<script>alert(1)</script> =?utf-8?q?x?=", "<script>alert(1)</script> =?utf-8?q?x?="),
        ("lone \u{fffd}\u{fffd}\u{fffd} surrogate", "lone \u{fffd}\u{fffd}\u{fffd} surrogate"),
    ];

    #[test]
    fn hostile_texts_become_one_line_in_which_nothing_hides() {
        for (hostile, left) in HOSTILE {
            let shown = one_line(hostile, 200);
            assert_eq!(&shown, left, "{hostile:?}");
            assert!(
                !shown.contains(is_hidden) && !printable(hostile).contains(|c| c != '\n' && is_hidden(c))
            );
            for max in 0..hostile.len() {
                assert!(one_line(hostile, max).len() <= max, "{hostile:?} at {max}");
            }
        }
        assert_eq!(one_line(&"x".repeat(1 << 20), 512).len(), 512);
        assert_eq!(printable("one:\n  two\u{1b}[m\r\n"), "one:\n  two[m\n");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(one_line("ääääää", 8), "ää…");
        assert_eq!(one_line("abc", 1), "");
    }
}
