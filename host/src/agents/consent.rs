//! Consent: the version of each connector's agent that the operator has agreed to, kept in the data directory.
//!
//! The first version that a connector is given is agreed to by writing it into the config. A later one is agreed to by
//! itself when it wants nothing more; else by `postern agent install`. Until then the version before runs on, from the
//! copy that is kept here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Wishes;
use super::record_folder::{RecordError, RecordFolder};

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

/// The record of a data directory.
#[derive(Clone, Debug)]
pub struct Consents(RecordFolder);

impl Consents {
    /// The record of this data directory; nothing is read yet.
    #[must_use]
    pub fn of(data_directory: &Path) -> Self {
        let (of, folder) = ("accepted agents", data_directory.join(FOLDER));
        Self(RecordFolder { of, folder, file: FILE, version: VERSION })
    }

    /// What was agreed to for a connector.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn accepted(&self, connector: &str) -> Result<Option<Accepted>, RecordError> {
        Ok(self.0.read::<Record>()?.accepted.remove(connector))
    }

    /// The components that were agreed to, by their SHA-256.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn names(&self) -> Result<BTreeSet<String>, RecordError> {
        let record: Record = self.0.read()?;
        Ok(record.accepted.into_values().map(|accepted| accepted.sha256).collect())
    }

    /// Removes what a crash left in the folder; these components are needed.
    pub(super) fn sweep(&self, now: SystemTime, needed: &BTreeSet<String>) -> usize {
        self.0.sweep(now, |sha256| needed.contains(sha256))
    }

    /// Where the copy of an accepted component lies, if it does.
    #[must_use]
    pub fn copy(&self, sha256: &str) -> PathBuf {
        self.0.copy(sha256)
    }

    /// Records that a connector's component is agreed to, keeps a copy of it, and forgets those that no connector needs.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When something cannot be written. The record is as it was then.
    pub fn accept(&self, connector: &str, accepted: Accepted, component: &[u8]) -> Result<(), RecordError> {
        let _alone = self.0.lock()?;
        let mut record: Record = self.0.read()?;
        let sha256 = accepted.sha256.clone();
        record.v = VERSION;
        record.accepted.insert(connector.to_owned(), accepted);
        // The copy first, so that the record never names a component that cannot be had.
        if !self.copy(&sha256).exists() {
            self.0.keep(&sha256, component)?;
        }
        self.0.write(&record)?;
        self.0.forget(|sha256| record.accepted.values().any(|accepted| accepted.sha256 == sha256));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
