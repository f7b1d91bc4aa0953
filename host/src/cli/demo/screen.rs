//! Screen: the demo's lines on the terminal. Silent when the answer is to be JSON.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use postern_model::text;

/// The width that is written for when nothing says how wide the terminal is, in characters.
const WIDTH: usize = 80;
/// The least width that is written for.
const LEAST_WIDTH: usize = 60;
/// Where sentences begin: behind the time and who it is about.
const MARGIN: usize = 17;
/// Where quoted lines begin.
const QUOTE: &str = "  | ";
/// The longest text that is shown in one place, in bytes.
const MAX_TEXT: usize = 600;

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// The demo itself does something.
    Action,
    /// It arrived.
    Good,
    /// It is on its way.
    Waiting,
    /// It will not arrive.
    Bad,
    /// Beside the point.
    Quiet,
}

/// Where the lines go.
pub struct Screen {
    silent: bool,
    colour: bool,
    width: usize,
}

impl Screen {
    /// Standard output; in colour when it is a terminal and nobody minds (<https://no-color.org>).
    pub fn new(silent: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb;
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Self { silent, colour, width: columns.unwrap_or(WIDTH).max(LEAST_WIDTH) }
    }

    /// A line as it is: paths and commands are never broken, so that they can be copied.
    pub fn line(&self, tone: Tone, line: &str) {
        self.write(tone, line);
    }

    /// Our own sentences, broken at spaces.
    pub fn paragraph(&self, sentences: &str) {
        for line in wrapped(sentences, self.width) {
            self.write(Tone::Plain, &line);
        }
    }

    /// Something that happened: when (in seconds), who it is about, what it was (of clean texts), and the fine print.
    pub fn step(&self, seconds: f64, who: &str, tone: Tone, what: &str, fine_print: &[String]) {
        let room = self.width - MARGIN;
        for (number, line) in wrapped(what, room).into_iter().enumerate() {
            if number == 0 {
                self.write(tone, &format!("{:>5.1}s  {who:<8} {line}", seconds.max(0.0)));
            } else {
                self.write(tone, &format!("{:MARGIN$}{line}", ""));
            }
        }
        for line in fine_print.iter().flat_map(|foreign| wrapped(&text::one_line(foreign, MAX_TEXT), room)) {
            self.write(Tone::Quiet, &format!("{:MARGIN$}{line}", ""));
        }
    }

    /// A text of several lines, quoted; its indentation is kept.
    pub fn quote(&self, lines: &[String]) {
        for line in lines {
            let clean = text::one_line(line, MAX_TEXT);
            let indent = line.len() - line.trim_start_matches(' ').len();
            let indent = " ".repeat(indent.min(8));
            for piece in wrapped(&clean, self.width - QUOTE.len() - indent.len()) {
                self.write(Tone::Quiet, &format!("{QUOTE}{indent}{piece}"));
            }
        }
    }

    fn write(&self, tone: Tone, line: &str) {
        if self.silent {
            return;
        }
        let code = match tone {
            Tone::Plain => "",
            Tone::Action => "1",
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
        };
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = if self.colour && !code.is_empty() {
            writeln!(out, "\u{1b}[{code}m{line}\u{1b}[0m")
        } else {
            writeln!(out, "{}", line.trim_end())
        };
        // A reader that has gone away, such as `head`, is no reason to stop the host in the middle.
        let _ = std::io::stdout().write_all(out.as_bytes());
    }
}

/// A text in lines of at most `width` characters, broken at spaces; a longer word is cut. At least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for (number, word) in text.split(' ').enumerate() {
        let mut letters: Vec<char> = word.chars().collect();
        let fits = used + 1 + letters.len() <= width;
        if number > 0 && fits {
            line.push(' ');
            used += 1;
        } else if number > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while letters.len() > width {
            let rest = letters.split_off(width);
            lines.push(letters.into_iter().collect());
            letters = rest;
        }
        used += letters.len();
        line.extend(letters);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_at_spaces_and_never_wider_than_asked() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("äöüäöüäö x", 3), ["äöü", "äöü", "äö", "x"]);
        assert_eq!(wrapped("ab abcdefg h", 3), ["ab", "abc", "def", "g h"]);
        assert_eq!(wrapped("", 3), [""]);
        assert_eq!(wrapped("   indented", 20), ["   indented"]);
    }
}
