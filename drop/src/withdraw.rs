//! Withdrawing: takes a published file back, so that host and gateway never both own it.
//!
//! # The steps
//!
//! 1. `W` rename `NAME` in the drop directory to `.tmp/NAME.withdrawn`. Of host and gateway, whoever renames or
//!    deletes first has the file; the other finds it gone.
//! 2. `S` sync the directories.
//! 3. Only now [`DropDirectory::withdraw`] says [`Withdrawn::Yes`], and the host records durably what becomes of the
//!    recipients: `R`.
//! 4. `D` the host calls [`DropDirectory::discard`]; marker and file go, in this order. Or, when nothing is recorded
//!    after all, `B`: [`DropDirectory::put_back`] renames it to `NAME` again.
//!
//! # After a crash
//!
//! A file that is gone counts as taken. What tells a withdrawn one from it is its name in the temp folder, which stays
//! until the record is durable. The host knows by its own record whether the recipients still wait:
//!
//! | died after | visible | withdrawn | recipients | it was | so at the start |
//! |---|---|---|---|---|---|
//! | nothing | yes | - | wait | lying there | it is watched on |
//! | W or S | - | yes | wait | withdrawn, which nobody was told | it is put back, and withdrawn anew if need be |
//! | W or S, then B | yes | - | wait | put back | it is watched on |
//! | R | - | yes | decided | withdrawn for good | it is a leftover, and swept |
//! | half of D | - | yes, no marker | decided | withdrawn for good | the same |
//! | D | - | - | decided | withdrawn for good | nothing is left to do |
//! | G (the gateway) before W | - | - | wait | taken | it is taken: the attempt to withdraw finds nothing |
//!
//! The start itself may be interrupted: each row leads to a row of this table. Publishing a withdrawn file again puts it
//! back as well, so a host that never calls `put_back` loses nothing either.
//!
//! A power cut keeps a beginning of the list, as told in [`crate::publish`]. S comes before R, so that a file whose
//! recipients are decided never comes back; B needs no sync of its own, since both its outcomes are in the table.

use rustix::io::Errno;

use crate::directory::{Folders, lock};
use crate::folder::{Looked, shown};
use crate::leftovers::{LeftoverState, marker, withdrawn};
use crate::publish::{look_after, sync_names};
use crate::set;
use crate::step::Step;
use crate::{DropDirectory, DropError, FileId, FileName, SeenBy};

/// What became of an attempt to take a file back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// It is out of the gateway's reach, which never had it. It lies in the temp folder until it is discarded or put
    /// back.
    Yes,
    /// The gateway is at work on it: it renamed it.
    Claimed {
        /// What it is called now, control characters replaced.
        new: String,
    },
    /// It was published and is not there any more: the gateway was faster.
    Taken,
    /// It is not there, and nothing here says that it ever was: it was never published, or it was confirmed and taken.
    Absent,
}

impl DropDirectory {
    /// Takes a published file back: it is moved out of sight, and only if that works is it ours. Blocks until that is
    /// durable. May be repeated. Nothing is reported to the watcher.
    ///
    /// # Errors
    /// Nothing is withdrawn then: [`DropError::Gone`], [`DropError::NotWritable`], [`DropError::Io`], and
    /// [`DropError::Collision`] while the file is being published.
    pub fn withdraw(&self, name: &FileName) -> Result<Withdrawn, DropError> {
        let shared = &*self.shared;
        let folders = shared.verified()?;
        let text = name.as_str();
        if shared.ledger().is_coming(text) {
            return Err(DropError::Collision { name: text.to_owned(), by: "a publication in progress" });
        }
        // Nothing is known of it from here on, so that no scan takes its going away for a pickup.
        let entry = shared.ledger().hold(text);
        let known = entry.as_ref().and_then(|entry| entry.published_id());
        let hidden = hide(&folders, text, known);
        if !matches!(hidden, Ok(true)) {
            let was_there = entry.is_some();
            if let Some(entry) = entry {
                shared.ledger().unhold(text, entry);
            }
            hidden?;
            return self.not_there(&folders, name, was_there);
        }
        shared.steps.reach(Step::Hidden, text);
        if let Err(error) = set::hide(shared, &folders, text) {
            self.put_back(name)?;
            return Err(error);
        }
        if let Err(errno) = sync_names(shared, &folders) {
            // A power cut could bring it back later, so it must not count as withdrawn.
            self.put_back(name)?;
            return Err(DropError::from_errno("sync the directory", &folders.drop.path, errno));
        }
        shared.steps.reach(Step::HiddenSynced, text);
        // Should it be published again, its state is looked at first.
        lock(&shared.unconfirmed).insert(text.to_owned());
        Ok(Withdrawn::Yes)
    }

    /// Publishes a withdrawn file again under its name. Says whether there was one.
    ///
    /// # Errors
    /// It stays withdrawn then: [`DropError::Gone`], [`DropError::NotWritable`], [`DropError::Io`], and
    /// [`DropError::Collision`] when another file has the name.
    pub fn put_back(&self, name: &FileName) -> Result<bool, DropError> {
        let shared = &*self.shared;
        let folders = shared.verified()?;
        let text = name.as_str();
        let hidden = withdrawn(text);
        let wrap = |errno| DropError::from_errno("look at a file", &folders.temp.path, errno);
        let Some(looked) = folders.temp.look(&hidden).map_err(wrap)? else { return Ok(false) };
        set::show(shared, &folders, text)?;
        match folders.temp.rename(&hidden, &folders.drop, text) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::EXIST) => {
                return Err(DropError::Collision { name: text.to_owned(), by: "another file" });
            }
            Err(errno) => return Err(folders.rename_error(errno)),
        }
        shared.steps.reach(Step::PutBack, text);
        shared.ledger().returned(text, looked.id, looked.size);
        look_after(shared, &folders, text, looked);
        Ok(true)
    }

    /// Deletes a withdrawn file and its marker. Call it when what became of its recipients is durably recorded. It needs
    /// no sync: what a power cut brings back is a leftover.
    pub fn discard(&self, name: &FileName) {
        let shared = &*self.shared;
        let folders = shared.folders();
        lock(&shared.unconfirmed).remove(name.as_str());
        match set::members(&folders.temp, name.as_str()) {
            Ok(members) => set::discard(shared, &folders, name.as_str(), &members),
            Err(error) => tracing::debug!(%name, %error, "the files of a withdrawn set were not removed"),
        }
        for file in [marker(name.as_str()), withdrawn(name.as_str())] {
            if let Err(error) = folders.temp.remove(&file) {
                // It stays as a leftover until it is swept.
                tracing::debug!(%name, file, %error, "what is left of a withdrawn file was not removed");
                return;
            }
        }
    }

    /// The files that lie withdrawn, in order of names.
    ///
    /// # Errors
    /// [`DropError::Io`] when the folders cannot be read.
    pub fn withdrawn(&self) -> Result<Vec<FileName>, DropError> {
        let left = self.leftovers()?.into_iter();
        Ok(left.filter(|left| left.state == LeftoverState::Withdrawn).map(|left| left.name).collect())
    }

    /// Of these names, those whose file was found here by the last look at the directory, also if its name was made
    /// longer as in `x.eml.work`. Tells after a restart which files came along to another directory.
    #[must_use]
    pub fn lying<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        self.shared.ledger().lying(names)
    }

    /// What is known of a file that cannot be taken back because it is not under its name.
    fn not_there(&self, folders: &Folders, name: &FileName, was_there: bool) -> Result<Withdrawn, DropError> {
        let shared = &*self.shared;
        let wrap = |errno| DropError::from_errno("look at a file", &folders.temp.path, errno);
        if folders.temp.look(withdrawn(name.as_str())).map_err(wrap)?.is_some() {
            // By an earlier call or an earlier run, which may have died before the sync.
            let wrap = |errno| DropError::from_errno("sync the directory", &folders.drop.path, errno);
            return sync_names(shared, folders).map_err(wrap).map(|()| Withdrawn::Yes);
        }
        let unwatched = !shared.ledger().is_watched();
        if was_there || (unwatched && shared.may_scan_again()) {
            // The gateway was faster: by a hair, or since the last look. The scan finds out how, and tells the watcher.
            let scanned = shared.scan(false, SeenBy::Scan);
            shared.wake();
            scanned?;
        }
        if let Some(new) = shared.ledger().claimed_as(name.as_str()) {
            return Ok(Withdrawn::Claimed { new: shown(&new) });
        }
        if was_there {
            return Ok(Withdrawn::Taken);
        }
        Ok(match self.state_of(name)? {
            LeftoverState::Taken => Withdrawn::Taken,
            _ => Withdrawn::Absent,
        })
    }
}

/// Step 1. `false`: it is not there under its name, or what is there is another file.
fn hide(folders: &Folders, name: &str, known: Option<FileId>) -> Result<bool, DropError> {
    let wrap = |errno| DropError::from_errno("look at a file", &folders.drop.path, errno);
    let Some(there) = folders.drop.look(name).map_err(wrap)? else { return Ok(false) };
    if !is_ours(folders, name, there, known)? {
        return Ok(false);
    }
    match folders.drop.rename(name, &folders.temp, &withdrawn(name)) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        // Ours was withdrawn before, and this one has only its name.
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(folders.rename_error(errno)),
    }
}

/// Whether the file under our name is the one that we published: a gateway may have taken it and left something of its
/// own there. Without the id and without a marker nothing speaks against it.
fn is_ours(folders: &Folders, name: &str, there: Looked, known: Option<FileId>) -> Result<bool, DropError> {
    if let Some(known) = known {
        return Ok(there.is_file && there.id == known);
    }
    let wrap = |errno| DropError::from_errno("look at a file", &folders.temp.path, errno);
    let marker = folders.temp.look(marker(name)).map_err(wrap)?;
    // A marker that is no second name of the file is empty and proves nothing.
    Ok(there.is_file && marker.is_none_or(|marker| marker.id == there.id || marker.size == 0))
}
