//! ContentForm: what a content asks of the way it is sent. Pure, but for reading the content.

use std::io::Read as _;

use postern_model::{BodyType, Content};
use postern_smtp::Capabilities;

use super::unspeakable::{BAD_CONTENT, Unspeakable};

/// Bytes of content looked at once.
const CHUNK: usize = 64 * 1024;

/// What of a content DATA cannot carry unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentForm {
    nul: bool,
    lone_line_end: bool,
    after_cr: bool,
}

impl ContentForm {
    /// Looks through a content. Blocking when it is a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(content: &Content) -> std::io::Result<Self> {
        let (mut form, mut reader, mut buffer) = (Self::default(), content.reader()?, vec![0; CHUNK]);
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(form.ended()),
                length => form.take(&buffer[..length]),
            }
        }
    }

    fn take(&mut self, piece: &[u8]) {
        for &byte in piece {
            self.nul |= byte == 0;
            self.lone_line_end |= self.after_cr != (byte == b'\n');
            self.after_cr = byte == b'\r';
        }
    }

    fn ended(self) -> Self {
        Self { lone_line_end: self.lone_line_end || self.after_cr, after_cr: false, ..self }
    }

    /// Whether the content goes by BDAT: when it is declared binary or has what DATA cannot carry, and the peer takes
    /// BDAT. For other peers lone line ends are mended, which is what a relay of lines has always done.
    ///
    /// # Errors
    /// When there is no way to carry it.
    pub fn goes_by_bdat(self, body: BodyType, peer: &Capabilities) -> Result<bool, Unspeakable> {
        if self.nul && !peer.chunking {
            return Err(BAD_CONTENT);
        }
        Ok(peer.chunking && (body == BodyType::Binary || self.nul || self.lone_line_end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(content: &'static [u8], piece: usize) -> ContentForm {
        let mut form = ContentForm::default();
        content.chunks(piece).for_each(|piece| form.take(piece));
        let whole = ContentForm::of(&Content::from(bytes::Bytes::from_static(content))).unwrap();
        assert_eq!(form.ended(), whole);
        whole
    }

    #[test]
    fn lone_line_ends_and_nuls_are_seen_in_pieces_of_any_length() {
        for (content, nul, lone_line_end) in [
            (&b""[..], false, false),
            (b"a\r\n\r\nb\r\n", false, false),
            (b"no line end", false, false),
            (b"a\nb\r\n", false, true),
            (b"a\rb\r\n", false, true),
            (b"a\r\r\n", false, true),
            (b"a\r\n\n", false, true),
            (b"ends with CR\r", false, true),
            (b"a\0\r\n", true, false),
        ] {
            for piece in 1..=content.len().max(1) {
                let expected = ContentForm { nul, lone_line_end, after_cr: false };
                assert_eq!(form(content, piece), expected, "{content:?}");
            }
        }
    }

    #[test]
    fn bdat_is_for_what_data_cannot_carry() {
        let (lines, mended, nul) = (form(b"a\r\n", 9), form(b"a\n", 9), form(b"\0", 9));
        let (old, new) =
            (Capabilities::default(), Capabilities { chunking: true, ..Capabilities::default() });
        assert_eq!(lines.goes_by_bdat(BodyType::EightBit, &new), Ok(false));
        assert_eq!(lines.goes_by_bdat(BodyType::Binary, &new), Ok(true));
        assert_eq!(mended.goes_by_bdat(BodyType::SevenBit, &new), Ok(true));
        assert_eq!(mended.goes_by_bdat(BodyType::SevenBit, &old), Ok(false));
        assert_eq!(nul.goes_by_bdat(BodyType::EightBit, &new), Ok(true));
        assert_eq!(nul.goes_by_bdat(BodyType::EightBit, &old), Err(BAD_CONTENT));
    }
}
