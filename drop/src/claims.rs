//! Claims: files that a gateway moved to a folder for those that it is at work on. They are claimed until they leave it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::directory::Shared;
use crate::folder::Folder;
use crate::pickup::ScanResult;
use crate::{DropError, DropSettings, SeenBy};

/// A folder to which a gateway moves files that it begins to work on.
#[derive(Clone, Debug)]
pub(crate) struct ClaimFolder {
    /// As the habits call it.
    called: PathBuf,
    pub(crate) path: PathBuf,
    prefix: String,
    suffix: String,
}

/// Where a claimed file was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// The folder and the name in it, as they are told.
    pub(crate) shown: OsString,
}

/// A file that is not where it was. Whether it was claimed has to be looked up.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    /// The name it was published under.
    pub(crate) name: String,
    pub(crate) seen_by: SeenBy,
}

/// What the looks into the claim folders gave.
#[derive(Debug, Default)]
pub(crate) struct ClaimLooks {
    /// Where files lie, by the names that they were published under.
    pub(crate) found: HashMap<String, Away>,
    /// Whether every folder could be looked into: only then a file that was not found is gone.
    pub(crate) whole: bool,
}

impl ClaimFolder {
    /// The claim folders of a drop directory.
    pub(crate) fn all(settings: &DropSettings) -> Vec<Self> {
        let claims = settings.habits.claims.iter();
        let folders = claims.filter_map(|claim| {
            let called = claim.folder.clone()?;
            let path = crate::Habits::place(&settings.path, &called);
            Some(Self { called, path, prefix: claim.prefix.clone(), suffix: claim.suffix.clone() })
        });
        folders.collect()
    }

    fn name_of(&self, name: &str) -> String {
        format!("{}{name}{}", self.prefix, self.suffix)
    }

    /// Looks for these files.
    fn look<'a>(&self, names: impl Iterator<Item = &'a str>, looks: &mut ClaimLooks) -> ScanResult {
        let opened = match self.called.is_absolute() {
            true => Folder::open(&self.path),
            false => Folder::open_itself(&self.path),
        };
        let folder = match opened {
            Ok(folder) => folder,
            Err(DropError::Missing { .. }) => {
                looks.whole = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for name in names {
            let there = self.name_of(name);
            let wrap = |errno| DropError::from_errno("look at a file", &folder.path, errno);
            if folder.look(&there).map_err(wrap)?.is_some() {
                let shown = self.called.join(there).into_os_string();
                looks.found.insert(name.to_owned(), Away { shown });
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Finds out what became of files that left the drop directory, and of those that lie in claim folders.
    pub(crate) fn follow(&self) -> ScanResult {
        if self.claim_folders.is_empty() {
            return Ok(());
        }
        let (leaving, away) = {
            let mut ledger = self.ledger();
            (ledger.take_leaving(), ledger.away_names())
        };
        if leaving.is_empty() && away.is_empty() {
            return Ok(());
        }
        let mut looks = ClaimLooks { whole: true, ..ClaimLooks::default() };
        let looked = self.claim_folders.iter().try_for_each(|folder| {
            let names = leaving.iter().map(|l| l.name.as_str()).chain(away.iter().map(String::as_str));
            folder.look(names, &mut looks)
        });
        let mut ledger = self.ledger();
        match looked {
            Ok(()) => ledger.followed(leaving, &away, &looks, Timestamp::now()),
            // They are looked for again.
            Err(_) => ledger.still_leaving(leaving),
        }
        looked
    }
}
