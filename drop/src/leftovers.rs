//! Leftovers: what an earlier run left in the temp folder, and what that says about its files.

use std::time::{Duration, SystemTime};

use crate::directory::lock;
use crate::folder::{Folder, Looked};
use crate::set;
use crate::{DropDirectory, DropError, FileName};

/// What a file is called in the temp folder until it is published.
pub(crate) fn part(name: &str) -> String {
    format!("{name}.part")
}

/// What the marker is called that says: from here on, a missing temp file means a published file.
pub(crate) fn marker(name: &str) -> String {
    format!("{name}.ready")
}

/// What a withdrawn file is called until its fate is recorded: a missing file with such a namesake was not taken.
pub(crate) fn withdrawn(name: &str) -> String {
    format!("{name}.withdrawn")
}

/// Something that an earlier run left in the temp folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The name of the drop file.
    pub name: FileName,
    /// What is left says this of it.
    pub state: LeftoverState,
}

/// What the temp folder and the drop directory say about a file after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftoverState {
    /// It never became visible; publishing writes it anew.
    Unpublished,
    /// It is visible under its name.
    Published,
    /// It was visible and is not any more: the gateway took it, or has claimed it under another name.
    Taken,
    /// It was withdrawn, and lies out of the gateway's reach.
    Withdrawn,
}

/// Decides from what is there: the withdrawn file, the temp file, the marker, and the visible file. The reasons are in
/// [`crate::publish`] and [`crate::withdraw`].
pub(crate) fn state(
    withdrawn: bool,
    temp: bool,
    marker: Option<Looked>,
    visible: Option<Looked>,
) -> LeftoverState {
    if withdrawn {
        return LeftoverState::Withdrawn;
    }
    match (temp, marker, visible) {
        (true, _, _) | (false, None, _) => LeftoverState::Unpublished,
        (false, Some(_), None) => LeftoverState::Taken,
        // A marker that is a name of its own and no second name of the file cannot tell the file from another one.
        (false, Some(marker), Some(visible)) if marker.id == visible.id || marker.size == 0 => {
            LeftoverState::Published
        }
        // Ours went and the gateway wrote something of its own under the name.
        (false, Some(_), Some(_)) => LeftoverState::Taken,
    }
}

impl DropDirectory {
    /// What earlier runs left, in order of names. Whatever the host's queue does not know any more can be
    /// [swept](Self::sweep); for the rest, [`publish`](Self::publish) does the right thing by itself.
    ///
    /// # Errors
    /// [`DropError::Io`] when the folders cannot be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, DropError> {
        let folders = self.shared.folders();
        let mut names: Vec<FileName> = own_files(&folders.temp)?.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| Ok(Leftover { state: self.state_of(&name)?, name })).collect()
    }

    pub(crate) fn state_of(&self, name: &FileName) -> Result<LeftoverState, DropError> {
        let folders = self.shared.folders();
        let look = |folder: &Folder, name: &str| {
            let wrap = |errno| DropError::from_errno("look at a file", &folder.path, errno);
            folder.look(name).map_err(wrap)
        };
        let there = |file: String| look(&folders.temp, &file).map(|look| look.is_some());
        let (withdrawn, temp) = (there(withdrawn(name.as_str()))?, there(part(name.as_str()))?);
        let marker = look(&folders.temp, &marker(name.as_str()))?;
        Ok(state(withdrawn, temp, marker, look(&folders.drop, name.as_str())?))
    }

    /// Removes temp files, markers and withdrawn files that are older than `age` and that `keep` does not want. Give the
    /// names of all items in the queue to `keep`: a marker that is still needed prevents a double, and a withdrawn
    /// file whose item is still there was not decided.
    /// Returns how many files were removed.
    ///
    /// # Errors
    /// [`DropError::Io`] when the temp folder cannot be read or changed.
    pub fn sweep(&self, age: Duration, keep: impl Fn(&FileName) -> bool) -> Result<usize, DropError> {
        let folders = self.shared.folders();
        let now = SystemTime::now();
        let mut removed = 0;
        for (name, file) in own_files(&folders.temp)? {
            let changed = std::fs::symlink_metadata(folders.temp.path.join(&file)).and_then(|m| m.modified());
            let old = changed.is_ok_and(|at| now.duration_since(at).unwrap_or_default() >= age);
            if old && !keep(&name) {
                let wrap = |errno| DropError::from_errno("remove a leftover", &folders.temp.path, errno);
                removed += usize::from(folders.temp.remove(&file).map_err(wrap)?);
                lock(&self.shared.unconfirmed).remove(name.as_str());
            }
        }
        Ok(removed + set::sweep(&folders, keep)?)
    }

    /// Whether a marker may say that a file of this name was published: its hand-over was not confirmed.
    #[must_use]
    pub fn is_unconfirmed(&self, name: &FileName) -> bool {
        lock(&self.shared.unconfirmed).contains(name.as_str())
    }

    /// Forgets the markers of these files. Call it when the hand-over is durably recorded, so that nothing will ask
    /// for the same file again. It needs no sync of its own: a marker that a power cut brings back is a leftover.
    pub fn confirm<'a>(&self, names: impl IntoIterator<Item = &'a FileName>) {
        let folders = self.shared.folders();
        for name in names {
            if !lock(&self.shared.unconfirmed).remove(name.as_str()) {
                continue;
            }
            if let Err(error) = folders.temp.remove(&marker(name.as_str())) {
                // It stays as a leftover until it is swept.
                tracing::debug!(%name, %error, "a marker was not removed");
            }
        }
    }
}

/// Temp files, markers and withdrawn files: the drop file's name and the file itself, markers first. A marker must go
/// before its temp file: alone it would say that the file was published.
pub(crate) fn own_files(temp: &Folder) -> Result<Vec<(FileName, String)>, DropError> {
    let wrap = |errno| DropError::from_errno("list the temp folder", &temp.path, errno);
    let listing = temp.list().map_err(wrap)?;
    let names = listing.into_iter().filter_map(|listed| listed.name.into_string().ok());
    let mut files: Vec<(bool, FileName, String)> = names
        .filter_map(|file| {
            let marker = file.strip_suffix(".ready");
            let other = || file.strip_suffix(".part").or_else(|| file.strip_suffix(".withdrawn"));
            let name = FileName::new(marker.or_else(other)?).ok()?;
            Some((marker.is_none(), name, file))
        })
        .collect();
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, name, file)| (name, file)).collect())
}
