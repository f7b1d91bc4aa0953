//! DataReader: the content behind DATA, up to the line with a single dot (RFC 5321 4.1.1.4 and 4.5.2).

use memchr::memchr3;

/// What is wrong with the content, though its end was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFlaw {
    /// A CR or LF that is not part of a CRLF. Other servers take such a thing for the end of a line, and the
    /// bytes behind it for commands (SMTP smuggling); RFC 5321 2.3.8 forbids it.
    LineEnd,
    /// A NUL (RFC 5321 4.5.2 with RFC 6152).
    Nul,
}

/// Where in a line the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind a CRLF, or at the very beginning.
    LineStart,
    /// Within a line.
    Middle,
    /// Behind a CR, which was handed on already.
    AfterCr,
    /// Behind a dot at the start of a line; it is never part of the content.
    AfterDot,
    /// Behind such a dot and a CR, which was not handed on: it may belong to the end.
    AfterDotCr,
}

/// Removes the transparency dots and finds the end, whatever pieces the content comes in. Only CRLF `.` CRLF
/// ends it; the very first line counts as if a CRLF stood before it.
#[derive(Debug)]
pub struct DataReader {
    place: Place,
    flaw: Option<DataFlaw>,
}

impl Default for DataReader {
    fn default() -> Self {
        Self::new()
    }
}

impl DataReader {
    /// A reader at the beginning of the content.
    #[must_use]
    pub fn new() -> Self {
        Self { place: Place::LineStart, flaw: None }
    }

    /// The worst that was found wrong so far.
    #[must_use]
    pub fn flaw(&self) -> Option<DataFlaw> {
        self.flaw
    }

    /// Takes all of `input`, or all up to and with the end, and hands the content on in runs as long as
    /// possible. Returns whether the end was reached.
    pub fn read(&mut self, input: &mut &[u8], mut sink: impl FnMut(&[u8])) -> bool {
        let bytes = *input;
        // bytes[run..at] is content that was looked at but not yet handed on.
        let (mut run, mut at) = (0, 0);
        while at < bytes.len() {
            let byte = bytes[at];
            match self.place {
                Place::LineStart if byte == b'.' => {
                    sink(&bytes[run..at]);
                    at += 1;
                    run = at;
                    self.place = Place::AfterDot;
                }
                Place::AfterDot if byte == b'\r' => {
                    at += 1;
                    run = at;
                    self.place = Place::AfterDotCr;
                }
                Place::AfterDotCr if byte == b'\n' => {
                    *input = &bytes[at + 1..];
                    self.place = Place::LineStart;
                    return true;
                }
                Place::AfterDotCr => {
                    sink(b"\r");
                    self.find(DataFlaw::LineEnd);
                    self.place = Place::Middle;
                }
                Place::AfterCr if byte == b'\n' => {
                    at += 1;
                    self.place = Place::LineStart;
                }
                Place::AfterCr => {
                    self.find(DataFlaw::LineEnd);
                    self.place = Place::Middle;
                }
                Place::LineStart | Place::AfterDot => self.place = Place::Middle,
                Place::Middle => at = self.middle(bytes, at),
            }
        }
        sink(&bytes[run..]);
        *input = &[];
        false
    }

    /// Goes on behind the next CR, LF or NUL.
    fn middle(&mut self, bytes: &[u8], at: usize) -> usize {
        let Some(length) = memchr3(b'\r', b'\n', 0, &bytes[at..]) else { return bytes.len() };
        match bytes[at + length] {
            b'\r' => self.place = Place::AfterCr,
            b'\n' => self.find(DataFlaw::LineEnd),
            _ => self.find(DataFlaw::Nul),
        }
        at + length + 1
    }

    /// A wrong line end outweighs a NUL, so that the order in which they come does not matter.
    fn find(&mut self, flaw: DataFlaw) {
        if self.flaw != Some(DataFlaw::LineEnd) {
            self.flaw = Some(flaw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content, whether it ended, what is left, and the flaw.
    fn read(wire: &[u8]) -> (Vec<u8>, bool, Vec<u8>, Option<DataFlaw>) {
        let (mut reader, mut content, mut input) = (DataReader::new(), Vec::new(), wire);
        let ended = reader.read(&mut input, |run| content.extend_from_slice(run));
        (content, ended, input.to_vec(), reader.flaw())
    }

    #[test]
    fn dots_are_removed_and_the_end_is_found() {
        for (wire, content) in [
            (&b".\r\n"[..], &b""[..]),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..a\r\n...\r\n.b\r\n.\r\n", b".a\r\n..\r\nb\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
        ] {
            let with_more = [wire, b"QUIT\r\n"].concat();
            assert_eq!(read(&with_more), (content.to_vec(), true, b"QUIT\r\n".to_vec(), None));
        }
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_the_content() {
        for wire in [
            &b"a\n.\n"[..],
            b"a\r.\r",
            b"a\r\n.\n",
            b"a\n.\r\n",
            b"a\r\n.\r",
            b"a\r\n.\r\rX",
            b"a\r\n\r.\r\n",
            b"a\r\r\n.\r",
            b".\n",
            b"\r.\r\n",
        ] {
            let (_, ended, rest, _) = read(wire);
            assert_eq!((ended, rest.len()), (false, 0), "{wire:?}");
            let closed = [wire, b"x\r\n.\r\n"].concat();
            let (_, ended, _, flaw) = read(&closed);
            assert_eq!((ended, flaw), (true, Some(DataFlaw::LineEnd)), "{wire:?}");
        }
    }

    #[test]
    fn a_nul_is_a_flaw_and_a_wrong_line_end_a_worse_one() {
        assert_eq!(read(b"a\0b\r\n.\r\n").3, Some(DataFlaw::Nul));
        assert_eq!(read(b"a\0b\n\0\r\n.\r\n").3, Some(DataFlaw::LineEnd));
        assert_eq!(read(b"a\nb\0\r\n.\r\n").3, Some(DataFlaw::LineEnd));
    }
}
