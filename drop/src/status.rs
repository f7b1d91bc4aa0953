//! Status: what lies in a drop directory at this moment, by looking at it. Changes nothing, and needs no open directory.

use jiff::Timestamp;

use crate::claims::ClaimFolder;
use crate::folder::Folder;
use crate::leftovers::own_files;
use crate::{DropError, DropSettings};

/// What lies in a drop directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lying {
    /// Files that a gateway sees, claimed ones and results included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the content of the oldest was written; `None`: there is none.
    pub oldest: Option<Timestamp>,
    /// How many of them are claimed by name.
    pub claimed: u64,
    /// How many of them are results.
    pub results: u64,
    /// Files in claim folders.
    pub away: u64,
    /// Files that are being written, markers, and withdrawn files.
    pub hidden: u64,
}

/// Looks at the directory with these settings.
///
/// # Errors
/// [`DropError::Missing`], [`DropError::NotWritable`] and whatever else hinders looking at it.
pub fn lying(settings: &DropSettings) -> Result<Lying, DropError> {
    let folder = Folder::open(&settings.path)?;
    let wrap = |errno| DropError::from_errno("look at the files", &folder.path, errno);
    let mut lying = Lying::default();
    let mut oldest = None;
    for listed in folder.list().map_err(wrap)? {
        let Some(name) = listed.name.to_str() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let Some(looked) = folder.look(name).map_err(wrap)?.filter(|looked| looked.is_file) else { continue };
        lying.files += 1;
        lying.bytes = lying.bytes.saturating_add(looked.size);
        lying.claimed += u64::from(settings.habits.claimed(name).is_some());
        lying.results += u64::from(settings.habits.sidecar(name).is_some());
        oldest = Some(oldest.map_or(looked.modified, |oldest: (i64, u32)| oldest.min(looked.modified)));
    }
    lying.oldest = oldest.and_then(|(seconds, nanoseconds)| {
        Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default()).ok()
    });
    for claim in ClaimFolder::all(settings) {
        if let Ok(folder) = Folder::open(&claim.path) {
            lying.away += folder.list().map_or(0, |list| list.len() as u64);
        }
    }
    if let Ok(temp) = Folder::open(&settings.temp_path()) {
        lying.hidden = own_files(&temp).map_or(0, |files| files.len() as u64);
    }
    Ok(lying)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Claim;

    #[test]
    fn what_lies_there_is_counted_by_what_it_is() {
        let home = tempfile::tempdir().unwrap();
        let mut settings = DropSettings::new(home.path());
        settings.habits.claims.push(Claim::moved("checked"));
        assert_eq!(lying(&settings).unwrap(), Lying::default());
        for folder in ["checked", ".tmp"] {
            std::fs::create_dir(home.path().join(folder)).unwrap();
        }
        for file in ["a.eml", "b.eml.work", "c.eml.ok", ".hidden", "checked/d.eml", ".tmp/e.eml.part"] {
            std::fs::write(home.path().join(file), "x").unwrap();
        }
        let found = lying(&settings).unwrap();
        assert_eq!((found.files, found.bytes, found.claimed, found.results), (3, 3, 1, 1));
        assert_eq!((found.away, found.hidden), (1, 1));
        assert!(found.oldest.unwrap() <= Timestamp::now());
        settings.path = home.path().join("missing");
        assert!(matches!(lying(&settings), Err(DropError::Missing { .. })));
    }
}
