//! FileSet: the files that one letter becomes. They are published as one, or not at all.

use std::io::{self, Read, Write};

use super::exchange::copy_behind_firewall;
use crate::FileName;

/// What one letter becomes: files that belong together, and the one that says that all of them are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSet {
    /// The files without a meaning of their own, published before the main one.
    pub members: Vec<Rendered>,
    /// The file that the gateway waits for. Its name is the receipt id, and its going away the pickup.
    pub main: Rendered,
}

/// A file and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Its name.
    pub name: FileName,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, then the message, which is too large to be held in memory.
    Message {
        /// What stands before it.
        before: Vec<u8>,
        /// How its lines end.
        line_end: MessageLines,
    },
}

/// How the lines of a message end in a file. It is never dot-stuffed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageLines {
    /// Byte for byte as it was received: with CRLF, and whatever else it holds.
    #[default]
    AsReceived,
    /// Each CRLF is one LF; single CRs stay.
    Lf,
    /// As it was received, but for the header fields that [`super::exchange::is_walled`] names.
    BehindFirewall,
}

impl FileSet {
    /// A set of one file.
    #[must_use]
    pub fn single(name: FileName, content: Content) -> Self {
        Self { members: Vec::new(), main: Rendered { name, content } }
    }

    /// About how many bytes its files will have, with a message of `message` bytes.
    #[must_use]
    pub fn size(&self, message: u64) -> u64 {
        self.members.iter().chain([&self.main]).map(|file| file.size(message)).sum()
    }
}

impl Rendered {
    /// About how many bytes it will have, with a message of `message` bytes; never less than it will.
    #[must_use]
    pub fn size(&self, message: u64) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Message { before, .. } => before.len() as u64 + message,
        }
    }

    /// Writes it; `message` opens the message.
    ///
    /// # Errors
    /// When the message cannot be read, or what was written not be taken.
    pub fn write(&self, out: &mut dyn Write, message: &dyn MessageSource) -> io::Result<()> {
        match &self.content {
            Content::Bytes(bytes) => out.write_all(bytes),
            Content::Message { before, line_end } => {
                out.write_all(before)?;
                let mut reader = message.open()?;
                match line_end {
                    MessageLines::AsReceived => io::copy(&mut reader, out).map(drop),
                    MessageLines::Lf => copy_with_lf(&mut *reader, out),
                    MessageLines::BehindFirewall => copy_behind_firewall(&mut *reader, out),
                }
            }
        }
    }
}

/// Where the bytes of the message come from.
pub trait MessageSource {
    /// Opens it for one reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn open(&self) -> io::Result<Box<dyn Read + '_>>;
}

impl MessageSource for &[u8] {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(*self))
    }
}

fn copy_with_lf(reader: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut piece = vec![0; 32 * 1024];
    // A CR at the end of a piece is held back until it is known what follows it.
    let mut held = false;
    loop {
        let count = match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut kept = Vec::with_capacity(count + 1);
        for byte in &piece[..count] {
            if held && *byte != b'\n' {
                kept.push(b'\r');
            }
            held = *byte == b'\r';
            if !held {
                kept.push(*byte);
            }
        }
        out.write_all(&kept)?;
    }
    if held { out.write_all(b"\r") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of a fixed length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn crlf_becomes_lf_wherever_the_pieces_end() {
        for length in 1..12 {
            let mut out = Vec::new();
            copy_with_lf(&mut Pieces(b"a\r\n.\r\n\r\r\nb\rc\n\r", length), &mut out).unwrap();
            assert_eq!(out, b"a\n.\n\r\nb\rc\n\r", "pieces of {length}");
        }
    }

    #[test]
    fn a_message_is_written_byte_for_byte_behind_what_stands_before_it() {
        let message: &[u8] = b"A: b\r\n\r\n.\r\n..\r\n\0\xff\n\r";
        let before = b"X: y\r\n".to_vec();
        let content = Content::Message { before, line_end: MessageLines::AsReceived };
        let set = FileSet::single(FileName::new("a.eml").unwrap(), content);
        let mut out = Vec::new();
        set.main.write(&mut out, &message).unwrap();
        assert_eq!(out, [b"X: y\r\n", message].concat());
        assert_eq!(set.size(message.len() as u64), out.len() as u64);
    }
}
