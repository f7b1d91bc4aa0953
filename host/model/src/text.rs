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

#[cfg(test)]
mod tests {
    use super::one_line;

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
