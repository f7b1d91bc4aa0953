//! Content: the RFC 5322 bytes of a message, in memory or in a file of the store.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

/// The bytes of one message, exactly as they were received. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Content {
    /// Held in memory.
    Memory(Bytes),
    /// In a file that nobody changes (large bodies, see the store).
    File {
        /// Where it lies.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
}

impl Content {
    /// The length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// A reader over the whole content. Blocking when it is a file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
            Self::File { path, .. } => Box::new(File::open(path)?),
        })
    }

    /// At most `length` bytes from `offset`; short only at the end. Blocking when it is a file.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn read_range(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = offset.min(self.size());
        let end = start.saturating_add(length as u64).min(self.size());
        match self {
            Self::Memory(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(bytes.len());
                Ok(bytes.slice(at(start)..at(end)))
            }
            Self::File { path, .. } => {
                let mut buffer = vec![0; usize::try_from(end - start).unwrap_or(length)];
                File::open(path)?.read_exact_at(&mut buffer, start)?;
                Ok(buffer.into())
            }
        }
    }

    /// The whole content in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_all(&self) -> io::Result<Bytes> {
        self.read_range(0, usize::try_from(self.size()).unwrap_or(usize::MAX))
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_to_the_content() {
        let c = Content::from(Bytes::from_static(b"0123456789"));
        assert_eq!(c.read_range(8, 5).unwrap(), "89");
        assert_eq!(c.read_range(20, 5).unwrap(), "");
        assert_eq!(c.read_all().unwrap(), "0123456789");
    }
}
