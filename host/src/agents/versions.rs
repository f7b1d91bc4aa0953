//! VersionRecord: the rollouts of a data directory, with copies of the components that they name. What it says holds over
//! a restart: a version that was rolled back does not run because the host was started again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::rollout::Rollout;
use crate::private;

/// The version of the file's format.
const VERSION: u32 = 1;
/// The folder in the data directory.
const FOLDER: &str = "agents/versions";
/// The file in it.
const FILE: &str = "rollouts.json";

/// All connectors share the file: it is read and written by one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    v: u32,
    /// By connector.
    rollouts: BTreeMap<String, Rollout>,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the record of agents' versions, {}: {why}", path.display())]
pub struct RecordError {
    path: PathBuf,
    why: String,
}

/// The record of a data directory.
#[derive(Clone, Debug)]
pub struct VersionRecord {
    folder: PathBuf,
}

impl VersionRecord {
    /// The record of this data directory; nothing is read yet.
    #[must_use]
    pub fn of(data_directory: &Path) -> Self {
        Self { folder: data_directory.join(FOLDER) }
    }

    /// The rollout of a connector.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn rollout(&self, connector: &str) -> Result<Option<Rollout>, RecordError> {
        Ok(self.read()?.rollouts.remove(connector))
    }

    /// Where the copy of a version lies, if it does.
    #[must_use]
    pub fn copy(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.wasm"))
    }

    /// Records the rollout of a connector, with a copy of one of its versions where one is given, and forgets copies that
    /// no rollout names. Durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written. The record is as it was then.
    pub fn set(
        &self,
        connector: &str,
        rollout: &Rollout,
        copy: Option<(&str, &[u8])>,
    ) -> Result<(), RecordError> {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = self.read()?;
        record.v = VERSION;
        let before = record.rollouts.insert(connector.to_owned(), rollout.clone());
        private::make_directory(&self.folder).map_err(|error| self.error(&error))?;
        // The copy first, so that the record never names a version that cannot be had.
        if let Some((sha256, component)) = copy {
            self.write(&self.copy(sha256), component).map_err(|error| self.error(&error))?;
        }
        if before.as_ref() == Some(rollout) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&record).expect("the record is plain data");
        self.write(&self.folder.join(FILE), &text).map_err(|error| self.error(&error))?;
        self.forget(&record);
        Ok(())
    }

    /// Whole or not at all, and closed to others: the name appears after the bytes are synced.
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
            record.rollouts.values().any(|rollout| rollout.versions().any(|version| version == stem))
        };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "wasm") && !needed(&path) {
                // One that stays only takes up room.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn read(&self) -> Result<Record, RecordError> {
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

    fn error(&self, why: &dyn std::fmt::Display) -> RecordError {
        RecordError { path: self.folder.join(FILE), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
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
        fs::create_dir_all(&record.folder).unwrap();
        (folder, record)
    }

    #[test]
    fn a_kept_record_is_read() {
        let (_folder, record) = record();
        fs::write(record.folder.join(FILE), SAMPLE).unwrap();
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
        record.set("fax", &on_trial.unwrap().0, Some(("aa", b"a"))).unwrap();
        let again = VersionRecord::of(folder.path()).rollout("fax").unwrap().unwrap();
        assert_eq!(again.candidate.unwrap().stage, Stage::Trial);
        for file in [record.folder.join(FILE), record.copy("aa")] {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
    }

    #[test]
    fn copies_stay_as_long_as_a_rollout_names_them() {
        let (_folder, record) = record();
        for sha256 in ["aa", "bb"] {
            record.set("fax", &Rollout::of(sha256), Some((sha256, sha256.as_bytes()))).unwrap();
        }
        assert!(!record.copy("aa").exists());
        assert_eq!(fs::read(record.copy("bb")).unwrap(), b"bb");
        record.set("sms", &Rollout::of("cc"), None).unwrap();
        assert!(record.copy("bb").exists(), "another connector's");
        fs::remove_file(record.copy("bb")).unwrap();
        record.set("fax", &Rollout::of("bb"), Some(("bb", b"bb"))).unwrap();
        assert!(record.copy("bb").exists(), "it is kept again, although nothing else has changed");
    }

    #[test]
    fn a_record_of_a_later_version_is_neither_believed_nor_overwritten() {
        let (_folder, record) = record();
        let text = r#"{"v":9,"rollouts":{}}"#;
        fs::write(record.folder.join(FILE), text).unwrap();
        let error = record.set("fax", &Rollout::of("aa"), None).unwrap_err();
        assert!(error.to_string().contains("version 9"), "{error}");
        assert_eq!(fs::read_to_string(record.folder.join(FILE)).unwrap(), text);
    }
}
