//! ContentForm: what a content asks of the way it is sent. Pure, but for reading the content.

use std::io::Read as _;

use postern_model::{BodyType, Content};
use postern_smtp::{Body, Capabilities};

use super::unspeakable::{BAD_CONTENT, BINARY, Unspeakable};

/// Bytes of content looked at once.
const CHUNK: usize = 64 * 1024;
/// Bytes of the longest line that every server takes, without its line end (RFC 5321 4.5.3.1.6).
const MAX_LINE: usize = 998;

/// What of a content DATA cannot carry unchanged, and what a server without 8BITMIME may not expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentForm {
    nul: bool,
    lone_line_end: bool,
    long_line: bool,
    eight_bit: bool,
    after_cr: bool,
    /// Bytes of the line so far.
    length: usize,
}

/// How a content goes to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriage {
    /// By BDAT; else by DATA.
    pub by_bdat: bool,
    /// What it is declared as in MAIL; `None`: as nothing, which means 7-bit lines.
    pub body: Option<Body>,
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
            self.eight_bit |= !byte.is_ascii();
            self.lone_line_end |= self.after_cr != (byte == b'\n');
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' => self.length = 0,
                b'\r' => {}
                _ => self.length += 1,
            }
            self.long_line |= self.length > MAX_LINE;
        }
    }

    fn ended(self) -> Self {
        Self { lone_line_end: self.lone_line_end || self.after_cr, after_cr: false, length: 0, ..self }
    }

    /// Whether it is made of lines such as every server takes.
    fn has_lines_only(self) -> bool {
        !(self.nul || self.lone_line_end || self.long_line)
    }

    /// How the content goes to this peer.
    ///
    /// By BDAT when it is declared binary or has what DATA cannot carry, and the peer takes BDAT; for other peers lone
    /// line ends are mended, which is what a relay of lines has always done. What is declared binary and is not, goes to a
    /// peer without BINARYMIME as what it is: no conversion is needed for it (RFC 3030 3).
    ///
    /// # Errors
    /// When there is no way to carry it.
    pub fn carriage(self, declared: BodyType, peer: &Capabilities) -> Result<Carriage, Unspeakable> {
        if self.nul && !peer.chunking {
            return Err(BAD_CONTENT);
        }
        let takes_binary = peer.chunking && peer.binary_mime;
        let declared = match declared {
            BodyType::Binary if !takes_binary && !self.has_lines_only() => return Err(BINARY),
            BodyType::Binary if !takes_binary && self.eight_bit => BodyType::EightBit,
            BodyType::Binary if !takes_binary => BodyType::SevenBit,
            other => other,
        };
        let by_bdat = peer.chunking && (declared == BodyType::Binary || self.nul || self.lone_line_end);
        let body = match declared {
            // Content that is no sequence of lines is declared as such where the peer has a word for it.
            _ if by_bdat && peer.binary_mime => Some(Body::Binary),
            BodyType::SevenBit => None,
            BodyType::EightBit => Some(Body::EightBit),
            BodyType::Binary => Some(Body::Binary),
        };
        Ok(Carriage { by_bdat, body })
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
                let expected = ContentForm { nul, lone_line_end, ..ContentForm::default() };
                assert_eq!(form(content, piece), expected, "{content:?}");
            }
        }
    }

    #[test]
    fn long_lines_and_high_bits_are_seen_in_pieces_of_any_length() {
        for (length, long_line) in [(MAX_LINE, false), (MAX_LINE + 1, true)] {
            let content: &'static [u8] =
                ["x".repeat(length), "y".repeat(length)].join("\r\n").leak().as_bytes();
            for piece in [1, 7, 1000, 4096] {
                assert_eq!(form(content, piece).long_line, long_line, "{length} in pieces of {piece}");
            }
        }
        assert!(form("für\r\n".as_bytes(), 2).eight_bit);
        assert!(!form(b"fuer\r\n", 2).eight_bit);
    }

    const DATA: bool = false;
    const BDAT: bool = true;

    fn peer(chunking: bool, binary_mime: bool) -> Capabilities {
        Capabilities { chunking, binary_mime, eight_bit_mime: true, ..Capabilities::default() }
    }

    #[test]
    fn bdat_is_for_what_data_cannot_carry() {
        let (lines, mended, nul) = (form(b"a\r\n", 9), form(b"a\n", 9), form(b"\0", 9));
        let (old, chunks) = (peer(false, false), peer(true, false));
        let by_bdat = |form: ContentForm, declared, peer| form.carriage(declared, peer).map(|c| c.by_bdat);
        assert_eq!(by_bdat(lines, BodyType::EightBit, &chunks), Ok(DATA));
        assert_eq!(by_bdat(mended, BodyType::SevenBit, &chunks), Ok(BDAT));
        assert_eq!(by_bdat(mended, BodyType::SevenBit, &old), Ok(DATA));
        assert_eq!(by_bdat(nul, BodyType::EightBit, &chunks), Ok(BDAT));
        assert_eq!(by_bdat(nul, BodyType::EightBit, &old), Err(BAD_CONTENT));
        let binary = Carriage { by_bdat: BDAT, body: Some(Body::Binary) };
        assert_eq!(lines.carriage(BodyType::Binary, &peer(true, true)), Ok(binary));
        assert_eq!(mended.carriage(BodyType::SevenBit, &peer(true, true)), Ok(binary));
    }

    #[test]
    fn what_is_declared_binary_and_is_not_goes_as_what_it_is() {
        let (seven, eight) = (form(b"a\r\n", 9), form("ä\r\n".as_bytes(), 9));
        let long: &'static [u8] = "x".repeat(MAX_LINE + 1).leak().as_bytes();
        // Without CHUNKING there is no way to say BINARYMIME either.
        for peer in [peer(false, false), peer(true, false), peer(false, true)] {
            let as_seven = Carriage { by_bdat: DATA, body: None };
            assert_eq!(seven.carriage(BodyType::Binary, &peer), Ok(as_seven));
            let as_eight = Carriage { by_bdat: DATA, body: Some(Body::EightBit) };
            assert_eq!(eight.carriage(BodyType::Binary, &peer), Ok(as_eight));
            assert_eq!(form(b"a\n", 9).carriage(BodyType::Binary, &peer), Err(BINARY));
            assert_eq!(form(long, 9).carriage(BodyType::Binary, &peer), Err(BINARY));
        }
    }
}
