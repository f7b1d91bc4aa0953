//! The form of a recording's file: lines of JSON. The first is the head with the version, then come the items with their
//! contents, the calls of the host in their order, and the end with what each item came to.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use bytes::Bytes;
use postern_model::{Content, DeliveryRequest, Item, MessageInfo};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::tape::Entry;
use super::taped::{bytes, bytes_of};
use super::{Head, Recording, VERSION};

/// The longest line: a message of the largest size that a recording may have, as base64 in a text.
const MAX_LINE: u64 = 2 << 30;

/// Why a file is no recording that can be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is of a later version.
    #[error("it has version {found}, and this postern knows {VERSION}: use a later postern")]
    Version {
        /// Its version.
        found: u64,
    },
    /// It is none, or was changed.
    #[error("line {line} is not what stands there in a recording: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It has no end.
    #[error(
        "it ends after line {lines} without its last line: it was not written to its end, or was cut off"
    )]
    NoEnd {
        /// Lines that are there.
        lines: usize,
    },
}

/// A line behind the head.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Item(Box<RecordedItem>),
    Call(Entry),
    End { reports: Vec<Value> },
}

#[derive(Serialize, Deserialize)]
struct RecordedItem {
    message: Value,
    item: Value,
    attempt: u32,
    /// Of the message as it was, also where it is not here.
    content_size: u64,
    content_sha256: String,
    /// The message without secrets; `None` where there was no room for it.
    content: Option<Value>,
}

impl Recording {
    /// Writes it. Blocking: contents may lie in files.
    ///
    /// # Errors
    /// When it cannot be written, or a content cannot be read.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        line(to, &self.head)?;
        for request in &self.items {
            line(to, &Line::Item(Box::new(self.item(request)?)))?;
        }
        for entry in &self.entries {
            serde_json::to_writer(&mut *to, &json!({ "call": entry }))?;
            to.write_all(b"\n")?;
        }
        line(to, &Line::End { reports: self.reports.clone() })
    }

    fn item(&self, request: &DeliveryRequest) -> io::Result<RecordedItem> {
        let (mut hash, mut reader) = (Sha256::new(), request.content.reader()?);
        io::copy(&mut reader, &mut HashWriter(&mut hash))?;
        let content = match self.without_contents {
            true => None,
            false => Some(bytes(&self.masks.apply(&request.content.read_all()?))),
        };
        Ok(RecordedItem {
            message: self.masks.value(serde_json::to_value(&*request.message)?),
            item: self.masks.value(serde_json::to_value(&*request.item)?),
            attempt: request.attempt,
            content_size: request.content.size(),
            content_sha256: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            content,
        })
    }

    /// Reads one. Blocking.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn read(from: &mut dyn BufRead) -> Result<Self, RecordingError> {
        let mut lines = Lines { from, read: 0 };
        let head = lines.next()?.ok_or(RecordingError::NoEnd { lines: 0 })?;
        let head: Value = parsed(&head, 1)?;
        match head.get("v").and_then(Value::as_u64) {
            Some(found) if found > u64::from(VERSION) => return Err(RecordingError::Version { found }),
            Some(_) => {}
            None => return Err(wrong(1, "it has no version \"v\"")),
        }
        let head: Head = serde_json::from_value(head).map_err(|error| wrong(1, error))?;
        let without_contents = false;
        let mut recording = Self {
            head,
            items: Vec::new(),
            entries: Vec::new(),
            reports: Vec::new(),
            masks: Arc::default(),
            without_contents,
        };
        while let Some(text) = lines.next()? {
            match parsed(&text, lines.read)? {
                Line::Item(item) => {
                    let request = item.request().map_err(|why| wrong(lines.read, why))?;
                    recording.without_contents |= item.content.is_none();
                    recording.items.push(request);
                }
                Line::Call(entry) => recording.entries.push(entry),
                Line::End { reports } if reports.len() == recording.items.len() => {
                    recording.reports = reports;
                    return Ok(recording);
                }
                Line::End { .. } => return Err(wrong(lines.read, "there is not one report for each item")),
            }
        }
        Err(RecordingError::NoEnd { lines: lines.read })
    }
}

impl RecordedItem {
    fn request(&self) -> Result<DeliveryRequest, String> {
        let message: MessageInfo = read(&self.message)?;
        let item: Item = read(&self.item)?;
        let content = match &self.content {
            Some(content) => bytes_of(content).ok_or("its content is neither text nor base64")?,
            None => Vec::new(),
        };
        let content = Content::from(Bytes::from(content));
        Ok(DeliveryRequest { message: message.into(), item: item.into(), content, attempt: self.attempt })
    }
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

fn line(to: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.write_all(b"\n")
}

fn parsed<T: serde::de::DeserializeOwned>(text: &[u8], line: usize) -> Result<T, RecordingError> {
    serde_json::from_slice(text).map_err(|error| wrong(line, error))
}

fn wrong(line: usize, why: impl std::fmt::Display) -> RecordingError {
    RecordingError::Line { line, why: postern_model::text::one_line(&why.to_string(), 200) }
}

/// The lines of a file, none longer than [`MAX_LINE`].
struct Lines<'f> {
    from: &'f mut dyn BufRead,
    read: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        let mut text = Vec::new();
        let read = io::Read::take(&mut *self.from, MAX_LINE).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        self.read += 1;
        // A last line without its end is one that was cut off.
        if text.pop() != Some(b'\n') {
            return Err(RecordingError::NoEnd { lines: self.read - 1 });
        }
        Ok(Some(text))
    }
}

struct HashWriter<'h>(&'h mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let read = Recording::read(&mut text.as_bytes());
        read.map(|recording| recording.calls()).unwrap_err().to_string()
    }

    fn head() -> String {
        serde_json::to_string(&Head { v: VERSION, ..Head::default() }).unwrap()
    }

    #[test]
    fn what_is_no_recording_says_in_which_line() {
        assert!(error("").contains("without its last line"));
        assert!(error("hello\n").contains("line 1 is not"));
        assert!(error("{}\n").contains("no version"));
        assert!(error("{\"v\": 2}\n").contains("it has version 2"));
        assert!(error("{\"v\": 1}\n").contains("line 1 is not"));
        let head = head();
        assert!(error(&format!("{head}\n")).contains("after line 1"));
        assert!(error(&format!("{head}\n{{\"x\": 1}}\n")).contains("line 2 is not"));
        assert!(error(&format!("{head}\n{{\"end\": {{\"reports\": [")).contains("after line 1"));
        assert!(
            error(&format!("{head}\n{{\"end\": {{\"reports\": [1]}}}}\n")).contains("one report for each")
        );
        let whole = format!("{head}\n{{\"end\": {{\"reports\": []}}}}\n");
        assert_eq!(Recording::read(&mut whole.as_bytes()).unwrap().calls(), 0);
    }
}
