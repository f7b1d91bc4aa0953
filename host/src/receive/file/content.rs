//! Content: a taken file as the content of a message: with its mended header, and CRLF line ends.
//!
//! Files are never dot-stuffed: a line `..` is a line of two dots. Lines that end in LF get a CR; everything else stays as
//! it is, byte for byte. A CR that ends no line and a NUL cannot be mended, and are refused, but where the envelope says
//! that the content is binary.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use postern_drop::intake::TakenFile;
use postern_model::{BodyType, Content};
use postern_store::sqlite::IncomingFile;
use postern_store::{InboundId, StoreError};
use sha2::{Digest as _, Sha256};

use super::import::ImportKey;
use super::{Letter, Refusal, Rules, pickup, replay};
use crate::config::FileDoorKind;

/// Files up to this many bytes are handled in memory.
const IN_MEMORY: u64 = 256 * 1024;
/// Bytes read at once of larger ones.
const PIECE: usize = 256 * 1024;

/// A file that was read whole.
#[derive(Debug)]
pub struct ReadFile {
    /// What tells it from every other file, also after a crash.
    pub inbound: InboundId,
    /// The message, or why it is none.
    pub result: Result<(Letter, Content), Refusal>,
}

/// Why a file could not be read now.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Somebody still writes to it.
    #[error("it changed while it was read: somebody still writes to it")]
    Changed,
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is no room for its content.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads a taken file. Blocking.
///
/// # Errors
/// [`ReadError`]; the file is to be tried again.
pub fn read(
    file: &mut TakenFile,
    rules: Rules<'_>,
    key: Option<&ImportKey>,
    incoming: &Path,
) -> Result<ReadFile, ReadError> {
    let room = usize::try_from(rules.door.max_header_size.saturating_add(1)).unwrap_or(usize::MAX);
    let length = if file.size <= IN_MEMORY { file.size } else { file.size.min(room as u64) };
    let mut head = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.file.read_exact_at(&mut head, 0).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Changed,
        _ => ReadError::Io(error),
    })?;
    let is_whole = length == file.size;
    let too_large = file.size > rules.folder.max_message_size;
    // What is too large is not read for the sake of its hash: its beginning and its size tell it from others as well.
    let digest = if is_whole || too_large { Sha256::digest(&head) } else { digest_from(&mut file.file, 0)? };
    let letter = match rules.door.kind {
        FileDoorKind::Pickup => pickup::read(&head, file.size, rules),
        FileDoorKind::Replay(_) => match replay::block(&head) {
            Ok((block, at)) => {
                let is_own = match (&block.token, key) {
                    (Some(token), Some(key)) if !too_large => {
                        let message = digest_from(&mut file.file, at as u64)?;
                        key.is_token(&block.fields(), &message, token)
                    }
                    _ => false,
                };
                replay::read(&block, at, is_own, &head, file.size, rules)
            }
            Err(refusal) => Err(refusal),
        },
    };
    let result = match letter {
        Ok(letter) => content(file, &letter, head, is_whole, incoming)?.map(|content| (letter, content)),
        Err(refusal) => Err(refusal),
    };
    if !file.is_unchanged()? {
        discard(result);
        return Err(ReadError::Changed);
    }
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let inbound = InboundId {
        connector: door_id(rules.door.kind, &rules.door.name),
        remote: format!("{}/{}/{hex}", file.id, file.size),
    };
    Ok(ReadFile { inbound, result })
}

/// Whose files they are, for the store. No connector has such a name.
fn door_id(kind: FileDoorKind, name: &str) -> String {
    format!("{}/{name}", kind.table())
}

/// Removes what was written of a content that will not be handed in.
pub fn discard(result: Result<(Letter, Content), Refusal>) {
    if let Ok((_, Content::File { path, .. })) = result {
        let _ = std::fs::remove_file(path);
    }
}

fn digest_from(file: &mut File, at: u64) -> io::Result<sha2::digest::Output<Sha256>> {
    file.seek(SeekFrom::Start(at))?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digest.finalize()),
            length => digest.update(&piece[..length]),
        }
    }
}

/// The content of a letter; a refusal where it cannot be one.
fn content(
    file: &mut TakenFile,
    letter: &Letter,
    head: Vec<u8>,
    is_whole: bool,
    incoming: &Path,
) -> Result<Result<Content, Refusal>, ReadError> {
    let mut lines = LineEnds::new(letter.extras.body == Some(BodyType::Binary));
    let refused = |flaw: Flaw| Ok(Err(Refusal::bad(&flaw.to_string())));
    if is_whole {
        let mut out = letter.header.clone();
        out.reserve(head.len());
        if let Err(flaw) = lines.write(&head[letter.body_at..], &mut out).and_then(|()| lines.finish()) {
            return refused(flaw);
        }
        return Ok(Ok(Content::from(Bytes::from(out))));
    }
    let mut stored = IncomingFile::create(incoming)?;
    stored.write(&letter.header)?;
    file.file.seek(SeekFrom::Start(letter.body_at as u64))?;
    let (mut piece, mut out) = (head, Vec::new());
    piece.resize(PIECE, 0);
    loop {
        let length = file.file.read(&mut piece)?;
        let written = if length == 0 { lines.finish() } else { lines.write(&piece[..length], &mut out) };
        if let Err(flaw) = written {
            return refused(flaw);
        }
        if length == 0 {
            return Ok(Ok(stored.finish()));
        }
        stored.write(&out)?;
        out.clear();
    }
}

/// What a body cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Flaw {
    /// A NUL.
    #[error("the body has a NUL in line {0}; encode what is binary (base64)")]
    Nul(usize),
    /// A CR that ends no line.
    #[error("the body has a CR that ends no line, in line {0}; lines end in CRLF or in LF")]
    BareCr(usize),
}

/// Makes every line end in CRLF, whatever pieces the body comes in.
struct LineEnds {
    exact: bool,
    after_cr: bool,
    line: usize,
}

impl LineEnds {
    /// `exact`: the body is binary, and stays as it is.
    fn new(exact: bool) -> Self {
        Self { exact, after_cr: false, line: 1 }
    }

    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Flaw> {
        if self.exact {
            out.extend_from_slice(piece);
            return Ok(());
        }
        let mut start = 0;
        for (at, &byte) in piece.iter().enumerate() {
            match byte {
                b'\n' => {
                    if !self.after_cr {
                        out.extend_from_slice(&piece[start..at]);
                        out.push(b'\r');
                        start = at;
                    }
                    self.line += 1;
                }
                _ if self.after_cr => return Err(Flaw::BareCr(self.line)),
                0 => return Err(Flaw::Nul(self.line)),
                _ => {}
            }
            self.after_cr = byte == b'\r';
        }
        out.extend_from_slice(&piece[start..]);
        Ok(())
    }

    fn finish(&self) -> Result<(), Flaw> {
        if self.after_cr { Err(Flaw::BareCr(self.line)) } else { Ok(()) }
    }
}

/// What a content has, where its envelope does not say: 8-bit text or 7-bit text.
#[must_use]
pub fn body_of(content: &Content) -> BodyType {
    match content {
        Content::Memory(bytes) if bytes.is_ascii() => BodyType::SevenBit,
        // A large file is not read once more for this: 8-bit is the more careful word.
        Content::Memory(_) | Content::File { .. } => BodyType::EightBit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(body: &[u8], piece: usize) -> Result<Vec<u8>, Flaw> {
        let (mut lines, mut out) = (LineEnds::new(false), Vec::new());
        for piece in body.chunks(piece) {
            lines.write(piece, &mut out)?;
        }
        lines.finish().map(|()| out)
    }

    #[test]
    fn lines_end_in_crlf_and_the_rest_stays_in_pieces_of_any_length() {
        let body = b"a\nb\r\n\r\n\n.\n..\r\nGr\xfc\xdfe\nno end";
        for piece in 1..=body.len() {
            assert_eq!(
                mended(body, piece).unwrap(),
                b"a\r\nb\r\n\r\n\r\n.\r\n..\r\nGr\xfc\xdfe\r\nno end",
                "{piece}"
            );
        }
        let crlf = b"a\r\n.\r\n\r\nb";
        assert_eq!(mended(crlf, 100).unwrap(), crlf, "byte for byte");
    }

    #[test]
    fn what_cannot_be_mended_is_refused_with_its_line() {
        for piece in [1, 3, 100] {
            assert_eq!(mended(b"a\nb\0c", piece), Err(Flaw::Nul(2)));
            assert_eq!(mended(b"a\nb\rc", piece), Err(Flaw::BareCr(2)));
            assert_eq!(mended(b"a\r\r\n", piece), Err(Flaw::BareCr(1)));
            assert_eq!(mended(b"a\r", piece), Err(Flaw::BareCr(1)));
        }
    }

    #[test]
    fn a_binary_body_stays_as_it_is() {
        let (mut lines, mut out) = (LineEnds::new(true), Vec::new());
        lines.write(b"a\0\r\n\n\rb", &mut out).and_then(|()| lines.finish()).unwrap();
        assert_eq!(out, b"a\0\r\n\n\rb");
    }
}
