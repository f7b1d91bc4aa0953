//! LineReader: takes whole command lines off the input and gets past those that are none.

use memchr::memchr;

/// What stands at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line, without its CRLF.
    Complete(&'a [u8]),
    /// Nothing complete.
    Partial,
    /// A line that is too long; from now on it is skipped.
    TooLong,
    /// A line with a bare LF; from now on it is skipped.
    BareLf,
}

/// Only CRLF ends a line. A client whose line is broken gets its answer at once, and whatever follows up to the
/// next CRLF still belongs to that line: a bare LF must not begin a second command (RFC 5321 2.3.8).
#[derive(Debug)]
pub(super) struct LineReader {
    max_length: usize,
    skipping: bool,
    /// While skipping: whether the last byte was a CR.
    after_cr: bool,
    skipped: u64,
}

impl LineReader {
    pub(super) fn new(max_length: usize) -> Self {
        Self { max_length, skipping: false, after_cr: false, skipped: 0 }
    }

    /// Bytes of the broken line that were skipped so far.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Line<'a> {
        if self.skipping && !self.skip(input) {
            return Line::Partial;
        }
        let window = &input[..input.len().min(self.max_length)];
        match memchr(b'\n', window) {
            Some(end) => {
                let line = &window[..end];
                *input = &input[end + 1..];
                match line.strip_suffix(b"\r") {
                    Some(line) => Line::Complete(line),
                    None => self.start_skipping(false, Line::BareLf),
                }
            }
            None if window.len() == self.max_length => {
                let after_cr = window.ends_with(b"\r");
                *input = &input[window.len()..];
                self.start_skipping(after_cr, Line::TooLong)
            }
            None => Line::Partial,
        }
    }

    fn start_skipping<'a>(&mut self, after_cr: bool, line: Line<'a>) -> Line<'a> {
        self.skipping = true;
        self.after_cr = after_cr;
        self.skipped = 0;
        line
    }

    /// Skips to behind the next CRLF; false if it did not come yet.
    fn skip(&mut self, input: &mut &[u8]) -> bool {
        while let Some(end) = memchr(b'\n', input) {
            let ends = if end == 0 { self.after_cr } else { input[end - 1] == b'\r' };
            self.skipped += end as u64 + 1;
            self.after_cr = false;
            *input = &input[end + 1..];
            if ends {
                self.skipping = false;
                return true;
            }
        }
        if let Some(last) = input.last() {
            self.after_cr = *last == b'\r';
            self.skipped += input.len() as u64;
            *input = &[];
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_reported_once_and_skipped_to_its_crlf_in_pieces_of_any_length() {
        for (wire, broken) in [
            (&b"0123456789\r\nNOOP\r\n"[..], Line::TooLong),
            (b"01234567890123456789\n0123\r0\r\nNOOP\r\n", Line::TooLong),
            (b"0123456\r\nNOOP\r\n", Line::TooLong),
            (b"RSET\nQUIT\r\nNOOP\r\n", Line::BareLf),
            (b"\n\n\r\nNOOP\r\n", Line::BareLf),
        ] {
            for piece in 1..=wire.len() {
                let mut reader = LineReader::new(8);
                let mut buffer = Vec::new();
                let mut seen = Vec::new();
                for bytes in wire.chunks(piece) {
                    buffer.extend_from_slice(bytes);
                    let mut input = &buffer[..];
                    loop {
                        match reader.next(&mut input) {
                            Line::Partial => break,
                            Line::Complete(line) => seen.push(line.to_vec()),
                            line => {
                                assert_eq!(line, broken);
                                seen.push(b"broken".to_vec());
                            }
                        }
                    }
                    buffer = input.to_vec();
                }
                assert_eq!(seen, [b"broken".to_vec(), b"NOOP".to_vec()], "{wire:?} in pieces of {piece}");
            }
        }
    }
}
