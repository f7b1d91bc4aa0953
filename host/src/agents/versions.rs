//! VersionRecord: the rollouts of a data directory, with copies of the components that they name. What it says holds over
//! a restart: a version that was rolled back does not run because the host was started again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::record_folder::{RecordError, RecordFolder};
use super::rollout::Rollout;

/// The version of the file's format.
const VERSION: u32 = 1;
/// The folder in the data directory.
const FOLDER: &str = "agents/versions";
/// The file in it.
const FILE: &str = "rollouts.json";

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    v: u32,
    /// By connector.
    rollouts: BTreeMap<String, Rollout>,
}

/// The record of a data directory.
#[derive(Clone, Debug)]
pub struct VersionRecord(RecordFolder);

impl VersionRecord {
    /// The record of this data directory; nothing is read yet.
    #[must_use]
    pub fn of(data_directory: &Path) -> Self {
        let (of, folder) = ("agents' versions", data_directory.join(FOLDER));
        Self(RecordFolder { of, folder, file: FILE, version: VERSION })
    }

    /// The rollout of a connector.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn rollout(&self, connector: &str) -> Result<Option<Rollout>, RecordError> {
        Ok(self.0.read::<Record>()?.rollouts.remove(connector))
    }

    /// The versions that any rollout names, by their SHA-256.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn names(&self) -> Result<BTreeSet<String>, RecordError> {
        let record: Record = self.0.read()?;
        let names = record.rollouts.values().flat_map(|rollout| rollout.versions().map(str::to_owned));
        Ok(names.collect())
    }

    /// Removes what a crash left in the folder; these versions are needed.
    pub(super) fn sweep(&self, now: SystemTime, needed: &BTreeSet<String>) -> usize {
        self.0.sweep(now, |sha256| needed.contains(sha256))
    }

    /// Where the copy of a version lies, if it does.
    #[must_use]
    pub fn copy(&self, sha256: &str) -> PathBuf {
        self.0.copy(sha256)
    }

    /// Records the rollout of a connector, with a copy of one of its versions where one is given, and forgets copies that
    /// no rollout names. Asks for the rollout when its turn has come, so that the last one to record writes what is so.
    /// Durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written. The record is as it was then.
    pub fn set(
        &self,
        connector: &str,
        rollout: impl FnOnce() -> Rollout,
        copy: Option<(&str, &[u8])>,
    ) -> Result<(), RecordError> {
        let _alone = self.0.lock()?;
        let mut record: Record = self.0.read()?;
        record.v = VERSION;
        let rollout = rollout();
        let before = record.rollouts.insert(connector.to_owned(), rollout.clone());
        // The copy first, so that the record never names a version that cannot be had.
        if let Some((sha256, component)) = copy {
            self.0.keep(sha256, component)?;
        }
        if before == Some(rollout) {
            return Ok(());
        }
        self.0.write(&record)?;
        let names = |rollout: &Rollout, sha256: &str| rollout.versions().any(|version| version == sha256);
        self.0.forget(|sha256| record.rollouts.values().any(|rollout| names(rollout, sha256)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::rollout::{Event, Stage};
    use super::*;

    /// A file of the first format. It must be readable for ever.
    const SAMPLE: &str = r#"{"v":1,"rollouts":{"fax":{"steady":"aa","before":"zz",
        "candidate":{"sha256":"bb","stage":"rolled-back","reason":"it broke 2 calls, max_traps = 1"}},
        "sms":{"steady":"cc"},"pager":{"steady":"aa","candidate":{"sha256":"dd","stage":"trial"}}}}"#;

    fn record() -> (tempfile::TempDir, VersionRecord) {
        let folder = tempfile::tempdir().unwrap();
        let record = VersionRecord::of(folder.path());
        fs::create_dir_all(&record.0.folder).unwrap();
        (folder, record)
    }

    #[test]
    fn a_kept_record_is_read() {
        let (_folder, record) = record();
        fs::write(record.0.folder.join(FILE), SAMPLE).unwrap();
        let fax = record.rollout("fax").unwrap().unwrap();
        assert_eq!(fax.versions().collect::<Vec<_>>(), ["aa", "zz", "bb"]);
        assert_eq!(fax.rolled_back(), Some("it broke 2 calls, max_traps = 1"));
        assert_eq!(record.rollout("sms").unwrap(), Some(Rollout::of("cc")));
        assert!(record.rollout("pager").unwrap().unwrap().is_on_trial());
        assert_eq!(record.rollout("other").unwrap(), None);
    }

    #[test]
    fn what_is_set_is_read_again_and_is_closed_to_others() {
        let (folder, record) = record();
        let on_trial = Rollout::of("aa").step(Event::Found { sha256: "bb".to_owned(), canary: true });
        record.set("fax", || on_trial.unwrap().0, Some(("aa", b"a"))).unwrap();
        let again = VersionRecord::of(folder.path()).rollout("fax").unwrap().unwrap();
        assert_eq!(again.candidate.unwrap().stage, Stage::Trial);
        for file in [record.0.folder.join(FILE), record.copy("aa")] {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
    }

    #[test]
    fn copies_stay_as_long_as_a_rollout_names_them() {
        let (_folder, record) = record();
        for sha256 in ["aa", "bb"] {
            record.set("fax", || Rollout::of(sha256), Some((sha256, sha256.as_bytes()))).unwrap();
        }
        assert!(!record.copy("aa").exists());
        assert_eq!(fs::read(record.copy("bb")).unwrap(), b"bb");
        record.set("sms", || Rollout::of("cc"), None).unwrap();
        assert!(record.copy("bb").exists(), "another connector's");
        fs::remove_file(record.copy("bb")).unwrap();
        record.set("fax", || Rollout::of("bb"), Some(("bb", b"bb"))).unwrap();
        assert!(record.copy("bb").exists(), "it is kept again, although nothing else has changed");
    }

    #[test]
    fn a_record_of_a_later_version_is_neither_believed_nor_overwritten() {
        let (_folder, record) = record();
        let text = r#"{"v":9,"rollouts":{}}"#;
        fs::write(record.0.folder.join(FILE), text).unwrap();
        let error = record.set("fax", || Rollout::of("aa"), None).unwrap_err();
        assert!(error.to_string().contains("version 9"), "{error}");
        assert_eq!(fs::read_to_string(record.0.folder.join(FILE)).unwrap(), text);
    }
}
