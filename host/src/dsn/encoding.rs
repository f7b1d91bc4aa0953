//! Encoding: foreign text made fit for header fields, MIME parts and HTML.

use std::fmt::Write;

/// Where a header field is folded, in bytes (RFC 5322 2.1.1).
const FOLD_AT: usize = 78;

/// The longest value of a field, in bytes; longer ones are cut. Below the 998 of a line, since a value without a
/// space cannot be folded.
const MAX_VALUE: usize = 900;

/// Writes one header field, folded at spaces; nothing when there is no value. Whatever `value` holds, it stays one
/// field: control characters become spaces.
pub(super) fn push_field(out: &mut String, name: &str, value: &str) {
    let clean: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value = cut(clean.trim(), MAX_VALUE);
    if value.is_empty() {
        return;
    }
    out.push_str(name);
    out.push(':');
    let mut column = name.len() + 1;
    for (i, word) in value.split(' ').enumerate() {
        // A fold needs something after it, or the next line would look like the end of the header.
        if i > 0 && !word.is_empty() && column + 1 + word.len() > FOLD_AT {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.len();
    }
    out.push_str("\r\n");
}

/// `text` for an unstructured field: as it is when it is plain ASCII, else as encoded words (RFC 2047).
pub(super) fn encoded_words(text: &str) -> String {
    const PREFIX: &str = "=?utf-8?Q?";
    const MAX_PAYLOAD: usize = 75 - PREFIX.len() - "?=".len();
    if text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        let encoded = match c {
            ' ' => "_".to_owned(),
            _ if c.is_ascii_alphanumeric() || "!*+-/".contains(c) => c.to_string(),
            _ => c.encode_utf8(&mut [0; 4]).bytes().fold(String::new(), |mut all, b| {
                let _ = write!(all, "={b:02X}");
                all
            }),
        };
        // A character is never divided between two words.
        if words.last().is_some_and(|w| w.len() + encoded.len() > MAX_PAYLOAD) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push_str(&encoded);
        }
    }
    words.iter().map(|w| format!("{PREFIX}{w}?=")).collect::<Vec<_>>().join(" ")
}

/// `text` in ASCII: each character that is not ASCII, and each of `also`, becomes `\x{...}` with its code point
/// (the form that RFC 6533 3 defines for addresses in fields that must be ASCII).
pub(super) fn ascii(text: &str, also: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !also.contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    out
}

/// `text` with all but letters, digits and the `others` turned into `-`; at most 255 bytes.
pub(super) fn token(text: &str, others: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    text.chars().take(255).map(|c| if fits(c) { c } else { '-' }).collect()
}

/// `text` with its first letter, when that is ASCII, in upper case.
pub(super) fn capitalized(text: &str) -> String {
    let mut out = text.to_owned();
    if let Some(first) = out.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    out
}

/// `text` for HTML, within elements and quoted attributes.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Quoted-printable (RFC 2045 6.7). Lines of `input` end in LF or CRLF, those of the result in CRLF.
pub(super) fn quoted_printable(input: &[u8]) -> Vec<u8> {
    const MAX_LINE: usize = 76;
    let mut out = Vec::with_capacity(input.len() + input.len() / 8);
    for line in lines(input) {
        let mut column = 0;
        for (i, byte) in line.iter().enumerate() {
            let last = i + 1 == line.len();
            let plain = byte.is_ascii_graphic() && *byte != b'=' || *byte == b' ' && !last;
            let width = if plain { 1 } else { 3 };
            // A full line needs no room for the mark of a soft break when nothing follows.
            if column + width > MAX_LINE - usize::from(!last) {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if plain {
                out.push(*byte);
            } else {
                out.extend_from_slice(format!("={byte:02X}").as_bytes());
            }
            column += width;
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The lines of `input` without their ends, be they CRLF, LF or CR. A last line without an end counts too.
pub(super) fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        let line = &rest[..end];
        let after = if rest[end..].starts_with(b"\r\n") { end + 2 } else { (end + 1).min(rest.len()) };
        rest = &rest[after..];
        Some(line)
    })
}

/// At most `max` bytes of `text`, cut at a character and marked with three dots.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max - 3;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(value: &str) -> String {
        let mut out = String::new();
        push_field(&mut out, "X", value);
        out
    }

    #[test]
    fn no_value_starts_a_field_of_its_own() {
        assert_eq!(field("a\r\nBcc: b\r\n\r\nbody\0"), "X: a  Bcc: b    body\r\n");
        assert_eq!(field("\u{85}a"), "X: a\r\n");
        assert_eq!(field(" \r\n"), "");
    }

    #[test]
    fn long_values_are_folded_at_spaces_or_cut() {
        let folded = field(&"word ".repeat(100));
        assert!(folded.lines().all(|l| l.len() <= FOLD_AT && !l.trim().is_empty()));
        assert_eq!(folded.lines().skip(1).filter(|l| !l.starts_with(' ')).count(), 0);
        assert_eq!(folded.replace("\r\n", ""), format!("X: {}", "word ".repeat(100).trim()));
        let spaces = field(&format!("a{}b", " ".repeat(500)));
        assert!(spaces.lines().all(|l| !l.trim().is_empty()));
        assert_eq!(field(&"ä".repeat(900)).len(), "X: ".len() + 896 + "...".len() + 2);
    }

    #[test]
    fn encoded_words_are_short_and_keep_characters_whole() {
        assert_eq!(encoded_words("plain: text"), "plain: text");
        assert_eq!(encoded_words("=?x"), "=?utf-8?Q?=3D=3Fx?=");
        let long = encoded_words(&"Grüße ".repeat(30));
        assert!(long.split(' ').all(|w| w.len() <= 75 && w.ends_with("?=")));
        assert!(!long.contains("=C3?="));
    }

    #[test]
    fn quoted_printable_lines_are_short_and_read_back() {
        let text = format!("{}\nend \n{}\r\n\nä=\n", "x".repeat(76), "ö ".repeat(60));
        let encoded = String::from_utf8(quoted_printable(text.as_bytes())).unwrap();
        assert!(encoded.is_ascii());
        assert!(encoded.split("\r\n").all(|l| l.len() <= 76 && !l.ends_with(' ')));
        let decoded =
            mail_parser::decoders::quoted_printable::quoted_printable_decode(encoded.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), text.replace("\r\n", "\n").replace('\n', "\r\n"));
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        let all: Vec<_> = lines(b"a\r\nb\nc\rd\n\ne").collect();
        assert_eq!(all, [&b"a"[..], b"b", b"c", b"d", b"", b"e"]);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn what_is_not_ascii_is_written_as_code_points() {
        assert_eq!(ascii("Köln +1", ""), "K\\x{F6}ln +1");
        assert_eq!(ascii("ö+a@b", "+ =\\"), "\\x{F6}\\x{2B}a@b");
    }
}
