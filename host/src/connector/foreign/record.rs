//! Record: in which drop directory a connector's files lie, kept over restarts.
//!
//! A file that is gone was taken only if its directory is still there. So the host remembers which directory it publishes
//! to, and which files it has left behind in others. The record is on the disk before the first file of another
//! directory is reported as published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of the format.
const VERSION: u32 = 1;
/// The folder in the data directory that holds the records.
const FOLDER: &str = "drop-directories";

/// Where a connector's files lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    v: u32,
    /// The directory that files are published to; `None` before the first one.
    directory: Option<String>,
    /// Files that lie in other directories, by directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    elsewhere: BTreeMap<String, BTreeSet<String>>,
}

impl Record {
    /// A record of this directory, and of these files in others: each with its directory.
    pub(super) fn new<'a>(directory: &str, elsewhere: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut record =
            Self { v: VERSION, directory: Some(directory.to_owned()), elsewhere: BTreeMap::new() };
        for (name, directory) in elsewhere {
            record.elsewhere.entry(directory.to_owned()).or_default().insert(name.to_owned());
        }
        record
    }

    /// Where the record of a connector lies.
    #[must_use]
    pub fn path(data_directory: &Path, connector: &str) -> PathBuf {
        data_directory.join(FOLDER).join(format!("{connector}.json"))
    }

    /// Reads a record; an empty one when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read, or a later version wrote it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let strange = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let record: Self = serde_json::from_slice(&bytes).map_err(|e| strange(e.to_string()))?;
        if record.v > VERSION {
            let what = format!("it has format version {}, and this postern knows {VERSION}", record.v);
            return Err(strange(what));
        }
        Ok(record)
    }

    /// Writes it durably: it is whole, or the old one stays.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().expect("a record lies in a folder");
        crate::private::make_directory(folder)?;
        let temporary = path.with_extension("tmp");
        let mut file = crate::private::create_file(&temporary)?;
        file.write_all(&serde_json::to_vec(self).expect("names are plain data"))?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    }

    /// The directory that a file of this name was published to, if any was used before.
    #[must_use]
    pub fn directory_of(&self, name: &str) -> Option<&str> {
        let left = self.elsewhere.iter().find(|(_, names)| names.contains(name));
        left.map(|(directory, _)| directory.as_str()).or(self.directory.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 wrote.
    const SAMPLE: &str = r#"{"v":1,"directory":"b2","elsewhere":{"a1":["x.0.eml","y.0.eml"]}}"#;

    #[test]
    fn a_kept_record_is_still_understood_and_written_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = Record::path(folder.path(), "pbx");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        assert_eq!(Record::default().directory_of("x.0.eml"), None);
        let record = Record::new("b2", [("y.0.eml", "a1"), ("x.0.eml", "a1")].into_iter());
        record.write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), SAMPLE);
        let read = Record::read(&path).unwrap();
        assert_eq!(read, record);
        assert_eq!((read.directory_of("x.0.eml"), read.directory_of("z.0.eml")), (Some("a1"), Some("b2")));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-written is left");
    }

    #[test]
    fn a_record_of_a_later_version_or_one_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pbx.json");
        for text in [r#"{"v":2,"directory":"b2"}"#, "", "{"] {
            fs::write(&path, text).unwrap();
            assert_eq!(Record::read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }
}
