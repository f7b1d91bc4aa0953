//! TextStyle: how text is laid out and encoded in a file.

use super::{CodePage, Unfit, Unmappable};

/// How text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStyle {
    /// The code page.
    pub code_page: CodePage,
    /// What becomes of characters that it does not have.
    pub unmappable: Unmappable,
    /// How lines end.
    pub line_end: LineEnd,
    /// Lines are broken after at most so many characters, at a space where there is one; `None`: never.
    pub line_width: Option<usize>,
}

/// How lines end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// Carriage return and line feed, as on DOS.
    #[default]
    CrLf,
    /// Line feed, as on Unix.
    Lf,
    /// Next line (U+0085), which in EBCDIC is the byte 15: what mainframes call new line.
    Nel,
}

impl LineEnd {
    /// The words for them in the configuration.
    pub const WORDS: &[(&str, Self)] = &[("crlf", Self::CrLf), ("lf", Self::Lf), ("nel", Self::Nel)];

    /// The characters.
    #[must_use]
    pub fn characters(self) -> &'static str {
        match self {
            Self::CrLf => "\r\n",
            Self::Lf => "\n",
            Self::Nel => "\u{85}",
        }
    }
}

impl TextStyle {
    /// The text as bytes. Whatever its line ends are, they come out in this style.
    ///
    /// # Errors
    /// As [`CodePage::encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u8>, Unfit> {
        let lines = plain(text);
        let broken = self.line_width.map(|width| wrapped(&lines, width));
        let lines = broken.as_deref().unwrap_or(&lines);
        match self.line_end {
            LineEnd::Lf => self.code_page.encode(lines, self.unmappable),
            other => {
                let ended = lines.replace('\n', other.characters());
                self.code_page.encode(&ended, self.unmappable)
            }
        }
    }
}

/// The text with LF at the end of its lines, and without control characters but tabs: they could mean something to the
/// gateway (an end of file, an end of the message to a modem).
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {
                characters.next_if_eq(&'\n');
                out.push('\n');
            }
            '\n' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\t' => out.push('\t'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The text with no line longer than `width` characters. A line is broken at its last space that fits, which goes, or
/// else in the middle of a word.
fn wrapped(text: &str, width: usize) -> String {
    let width = width.max(1);
    let mut out = String::with_capacity(text.len() + text.len() / width);
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let mut rest = line;
        while let Some((limit, after)) = rest.char_indices().nth(width) {
            let (head, tail) = match rest[..limit].rfind(' ').filter(|at| *at > 0) {
                _ if after == ' ' => (&rest[..limit], &rest[limit + 1..]),
                Some(at) => (&rest[..at], &rest[at + 1..]),
                None => rest.split_at(limit),
            };
            out.push_str(head.trim_end_matches(' '));
            out.push('\n');
            rest = tail;
        }
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_wanted_whatever_they_ended_with() {
        let style = |line_end| TextStyle { line_end, ..TextStyle::default() };
        let text = "a\r\nb\nc\rd\u{2028}e\n";
        assert_eq!(style(LineEnd::CrLf).encode(text).unwrap(), b"a\r\nb\r\nc\r\nd\r\ne\r\n");
        assert_eq!(style(LineEnd::Lf).encode(text).unwrap(), b"a\nb\nc\nd\ne\n");
        let ebcdic = TextStyle { code_page: CodePage::Cp037, ..style(LineEnd::Nel) };
        assert_eq!(ebcdic.encode("1\n2").unwrap(), b"\xf1\x15\xf2");
    }

    #[test]
    fn control_characters_do_not_reach_the_gateway() {
        assert_eq!(plain("a\u{1a}b\u{0}c\u{1b}d\te\u{7f}\u{9b}"), "abcd\te");
    }

    #[test]
    fn no_line_is_longer_than_the_width() {
        assert_eq!(wrapped("one two three", 7), "one two\nthree");
        assert_eq!(wrapped("one two three", 8), "one two\nthree");
        assert_eq!(wrapped("one two three", 13), "one two three");
        assert_eq!(wrapped("überlang\n\nx", 4), "über\nlang\n\nx");
        assert_eq!(wrapped(" indented words", 6), " inden\nted\nwords");
        let text = "Der Zug fährt um sieben Uhr zwanzig von Gleis vier. ".repeat(20);
        assert!(wrapped(&text, 40).lines().all(|line| line.chars().count() <= 40));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&wrapped(&text, 40)), words(&text), "no word is lost");
    }
}
