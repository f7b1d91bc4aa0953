//! DataWriter: content on its way out behind DATA (RFC 5321 4.5.2).

use memchr::memchr3;

/// What is done about a CR or LF that is not part of a CRLF. To send one is never an option: the next server
/// might take it for the end of a line, and content for commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnds {
    /// The content is refused.
    Strict,
    /// It becomes a CRLF. This changes the content and breaks signatures.
    Repair,
}

/// Why content cannot go behind DATA; BDAT may carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A lone CR or LF, where they are not repaired.
    #[error("the content has a bare CR or LF")]
    LineEnd,
    /// A NUL.
    #[error("the content has a NUL")]
    Nul,
}

/// Adds the transparency dots and the end, whatever pieces the content comes in. After an error the connection
/// can only be closed: part of the content was sent already.
#[derive(Debug)]
pub struct DataWriter {
    ends: LineEnds,
    line_start: bool,
    after_cr: bool,
}

impl DataWriter {
    /// A writer at the beginning of the content.
    #[must_use]
    pub fn new(ends: LineEnds) -> Self {
        Self { ends, line_start: true, after_cr: false }
    }

    /// Appends the next piece of content to `out`.
    ///
    /// # Errors
    /// When it cannot go behind DATA.
    pub fn write(&mut self, mut piece: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        out.reserve(piece.len());
        while let Some(&first) = piece.first() {
            if self.after_cr {
                if first == b'\n' {
                    piece = &piece[1..];
                } else if self.ends == LineEnds::Strict {
                    return Err(DataError::LineEnd);
                }
                self.end_line(out);
                continue;
            }
            if self.line_start && first == b'.' {
                out.push(b'.');
            }
            self.line_start = false;
            let length = memchr3(b'\r', b'\n', 0, piece).unwrap_or(piece.len());
            let (run, rest) = piece.split_at(length);
            out.extend_from_slice(run);
            match rest.first() {
                None => {}
                Some(b'\r') => self.after_cr = true,
                Some(b'\n') if self.ends == LineEnds::Repair => self.end_line(out),
                Some(b'\n') => return Err(DataError::LineEnd),
                Some(_) => return Err(DataError::Nul),
            }
            piece = rest.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Appends the end to `out`, with a CRLF before it if the content has none at its end.
    ///
    /// # Errors
    /// When the content ends with a lone CR, where they are not repaired.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if self.after_cr && self.ends == LineEnds::Strict {
            return Err(DataError::LineEnd);
        }
        if !self.line_start {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.after_cr = false;
        self.line_start = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(content: &[u8], ends: LineEnds, piece: usize) -> Result<Vec<u8>, DataError> {
        let (mut writer, mut out) = (DataWriter::new(ends), Vec::new());
        for piece in content.chunks(piece) {
            writer.write(piece, &mut out)?;
        }
        writer.finish(&mut out)?;
        Ok(out)
    }

    #[test]
    fn dots_and_the_end_are_added_in_pieces_of_any_length() {
        for (content, wire) in [
            (&b""[..], &b".\r\n"[..]),
            (b".", b"..\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".\r\n..\r\na.b\r\n.c", b"..\r\n...\r\na.b\r\n..c\r\n.\r\n"),
            (b"\r\n\r\n", b"\r\n\r\n.\r\n"),
        ] {
            for piece in 1..=content.len().max(1) {
                assert_eq!(write(content, LineEnds::Strict, piece).as_deref(), Ok(wire), "{content:?}");
                assert_eq!(write(content, LineEnds::Repair, piece).as_deref(), Ok(wire), "{content:?}");
            }
        }
    }

    #[test]
    fn lone_line_ends_are_refused_or_repaired_but_never_sent() {
        for (content, wire) in [
            (&b"a\n.\nb"[..], &b"a\r\n..\r\nb\r\n.\r\n"[..]),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\n.\n", b"a\r\n..\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"a\r\r\n", b"a\r\n\r\n.\r\n"),
            (b"\n.\r", b"\r\n..\r\n.\r\n"),
        ] {
            for piece in 1..=content.len() {
                assert_eq!(write(content, LineEnds::Strict, piece), Err(DataError::LineEnd), "{content:?}");
                assert_eq!(write(content, LineEnds::Repair, piece).as_deref(), Ok(wire), "{content:?}");
            }
        }
        assert_eq!(write(b"a\0b", LineEnds::Repair, 9), Err(DataError::Nul));
    }
}
