//! Consent: the version of each connector's agent that the operator has agreed to, kept in the data directory.
//!
//! The first version that a connector is given is agreed to by writing it into the config. A later one is agreed to by
//! itself when it wants nothing more; else by `postern agent install`. Until then the version before runs on, from the
//! copy that is kept here.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Wishes;
use crate::private;

/// The version of the file's format.
const VERSION: u32 = 1;
/// The folder in the data directory.
const FOLDER: &str = "agents";
/// The file in it.
const FILE: &str = "accepted.json";

/// What the operator has agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// SHA-256 of the component, in lower-case hex.
    pub sha256: String,
    /// What it wants.
    pub wishes: Wishes,
    /// Since when.
    pub at: Timestamp,
}

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    v: u32,
    /// By connector.
    accepted: BTreeMap<String, Accepted>,
}

/// Whether a component may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one that was agreed to.
    Known,
    /// It is another one, and wants nothing that was not agreed to.
    Agreed,
    /// It wants this beyond what was agreed to.
    Wider(Vec<String>),
}

/// Judges a component by what was agreed to. Pure.
#[must_use]
pub fn judge(accepted: Option<&Accepted>, sha256: &str, wishes: &Wishes) -> Verdict {
    let Some(accepted) = accepted else { return Verdict::Agreed };
    if accepted.sha256 == sha256 {
        return Verdict::Known;
    }
    match wishes.beyond(&accepted.wishes) {
        more if more.is_empty() => Verdict::Agreed,
        more => Verdict::Wider(more),
    }
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the record of accepted agents, {}: {why}", path.display())]
pub struct ConsentError {
    path: PathBuf,
    why: String,
}

/// The record of a data directory.
#[derive(Clone, Debug)]
pub struct Consents {
    folder: PathBuf,
}

impl Consents {
    /// The record of this data directory; nothing is read yet.
    #[must_use]
    pub fn of(data_directory: &Path) -> Self {
        Self { folder: data_directory.join(FOLDER) }
    }

    /// What was agreed to for a connector.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn accepted(&self, connector: &str) -> Result<Option<Accepted>, ConsentError> {
        Ok(self.read()?.accepted.remove(connector))
    }

    /// Where the copy of an accepted component lies, if it does.
    #[must_use]
    pub fn copy(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.wasm"))
    }

    /// Records that a connector's component is agreed to, keeps a copy of it, and forgets those that no connector needs.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When something cannot be written. The record is as it was then.
    pub fn accept(&self, connector: &str, accepted: Accepted, component: &[u8]) -> Result<(), ConsentError> {
        let mut record = self.read()?;
        let copy = self.copy(&accepted.sha256);
        record.v = VERSION;
        record.accepted.insert(connector.to_owned(), accepted);
        let text = serde_json::to_vec_pretty(&record).expect("the record is plain data");
        private::make_directory(&self.folder)
            .and_then(|()| if copy.exists() { Ok(()) } else { self.write(&copy, component) })
            .and_then(|()| self.write(&self.folder.join(FILE), &text))
            .map_err(|error| self.error(&error))?;
        self.forget(&record);
        Ok(())
    }

    /// Whole or not at all: the name appears after the bytes are synced.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn forget(&self, record: &Record) {
        let needed = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            record.accepted.values().any(|accepted| accepted.sha256 == stem)
        };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "wasm") && !needed(&path) {
                // One that stays only takes up room.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn read(&self) -> Result<Record, ConsentError> {
        let text = match fs::read(self.folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(error) => return Err(self.error(&error)),
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| self.error(&error))?;
        if record.v > VERSION {
            let why = format!("it is of version {}, this postern knows {VERSION}", record.v);
            return Err(self.error(&why));
        }
        Ok(record)
    }

    fn error(&self, why: &dyn std::fmt::Display) -> ConsentError {
        ConsentError { path: self.folder.join(FILE), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(lines: &[&str]) -> Wishes {
        Wishes { lines: lines.iter().map(|line| (*line).to_owned()).collect(), state: 0 }
    }

    fn accepted(sha256: &str, lines: &[&str]) -> Accepted {
        Accepted { sha256: sha256.to_owned(), wishes: wishes(lines), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_version_that_wants_more_is_not_agreed_to() {
        let old = accepted("a", &["imports http"]);
        assert_eq!(judge(None, "a", &wishes(&["imports tcp"])), Verdict::Agreed);
        assert_eq!(judge(Some(&old), "a", &wishes(&["imports http"])), Verdict::Known);
        assert_eq!(judge(Some(&old), "b", &wishes(&[])), Verdict::Agreed);
        let wider = wishes(&["imports http", "imports tcp"]);
        assert_eq!(judge(Some(&old), "b", &wider), Verdict::Wider(vec!["imports tcp".to_owned()]));
    }

    #[test]
    fn what_is_accepted_is_kept_and_what_nobody_needs_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let consents = Consents::of(folder.path());
        assert_eq!(consents.accepted("fax").unwrap(), None);
        consents.accept("fax", accepted("one", &["imports http"]), b"first").unwrap();
        consents.accept("sms", accepted("one", &[]), b"first").unwrap();
        consents.accept("fax", accepted("two", &[]), b"second").unwrap();
        assert_eq!(consents.accepted("fax").unwrap(), Some(accepted("two", &[])));
        assert_eq!(fs::read(consents.copy("one")).unwrap(), b"first", "sms still needs it");
        consents.accept("sms", accepted("two", &[]), b"second").unwrap();
        assert!(!consents.copy("one").exists() && consents.copy("two").exists());
    }

    #[test]
    fn a_record_of_a_newer_version_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let consents = Consents::of(folder.path());
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let text = r#"{"v":9,"accepted":{}}"#;
        fs::write(folder.path().join(FOLDER).join(FILE), text).unwrap();
        let error = consents.accept("fax", accepted("a", &[]), b"x").unwrap_err();
        assert!(error.to_string().contains("version 9"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FOLDER).join(FILE)).unwrap(), text);
    }
}
