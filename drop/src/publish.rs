//! Publishing: hands one file to the gateway, whole, once, and durably.
//!
//! # The steps
//!
//! 1. `T` create `.tmp/NAME.part`, write, set its mode, sync it.
//! 2. `M` link it to `.tmp/NAME.ready`, the *marker*: the temp file is complete.
//! 3. `R` rename `NAME.part` to `NAME` in the drop directory, never replacing a file there.
//! 4. `S` sync the directory; one sync serves all who renamed before it began.
//! 5. Only now [`DropDirectory::publish`] returns, and the host records the hand-over durably.
//! 6. `C` the host calls [`DropDirectory::confirm`]; the marker goes.
//!
//! At any time after 3 the gateway may take the file (`G`).
//!
//! # After a crash
//!
//! The name depends on the item alone, so the host asks for the same name again and what is there tells how far it
//! had come. When the process dies (kill -9), all changes made so far stay, in their order:
//!
//! | died after | temp | marker | visible | it was | so publishing again |
//! |---|---|---|---|---|---|
//! | nothing | - | - | - | not published | writes it |
//! | T | yes | - | - | not published | writes it anew |
//! | M | yes | yes | - | not published | writes it anew |
//! | R or S | - | yes | yes | published | changes nothing, syncs, succeeds |
//! | R or S, then G | - | yes | - | taken | changes nothing, succeeds |
//! | C | | | | recorded | does not happen: the host's record is durable |
//!
//! Without the marker, "not begun" and "taken" would look alike. The rule that carries the table: *a marker exists
//! without its temp file only after the rename.* So whoever removes both removes the marker first.
//!
//! # After a power cut
//!
//! ext4, XFS and tmpfs keep the order of changes to names, whatever the directory: what survives is a beginning of
//! the list above, at least up to the last sync. So the table holds without a sync for the marker. Other file
//! systems are not trusted to do so: there step 4 syncs the temp folder first, so that a name is never durable
//! before its marker when `publish` returns. One double is left, and no protocol without the gateway's help can
//! prevent it: the gateway takes the file between R and the end of S, the power fails before S ends, and the
//! rename is lost. Then the file is published a second time rather than never.
//!
//! # Cost
//!
//! The marker is a hard link, since that needs no new inode: making and removing it costs a few microseconds and no
//! sync, where a sync of its own would have cost a third of the throughput of a single publisher. It is also the
//! proof that a visible file is ours, and keeps its id for recognising it under another name. Where links are not
//! to be had, the marker is an empty file. Until the host confirms, a gateway sees a link count of two.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use rustix::fs::{Mode, fchmod, fsync};
use rustix::io::Errno;

use crate::directory::{Folders, Shared, lock};
use crate::folder::{Folder, Looked};
use crate::ledger::Expected;
use crate::leftovers::{LeftoverState, marker, part};
use crate::step::Step;
use crate::watch::Message;
use crate::{DirectoryId, DropDirectory, DropError, FileId, FileName};

/// The size of the buffer between the caller and the temp file.
const WRITE_BUFFER: usize = 32 * 1024;

/// A file that the gateway can take, or has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub name: FileName,
    /// Its length in bytes.
    pub size: u64,
    /// Its inode number.
    pub inode: u64,
    /// Which file it is; keep it to recognise the file after a restart, see [`crate::Known`].
    pub id: FileId,
    /// What publishing had to do.
    pub how: How,
    /// The directory that it lies in; keep it to know after a restart whether that is still the same, see
    /// [`crate::DirectoryId`].
    pub directory: DirectoryId,
}

impl Published {
    /// Whether it had been published before the crash or the earlier call.
    #[must_use]
    pub fn already(&self) -> bool {
        self.how != How::Written
    }

    /// Whether it had been published before and taken meanwhile.
    #[must_use]
    pub fn taken(&self) -> bool {
        self.how == How::AlreadyTaken
    }
}

/// What publishing had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// It was written and became visible.
    Written,
    /// It had been published before and is still there.
    AlreadyThere,
    /// It had been published before and is there no more under its name: taken, or claimed.
    AlreadyTaken,
}

impl DropDirectory {
    /// Publishes a file: `write` produces its content, about `expected_size` bytes, which are reserved from the
    /// quota meanwhile. `name` must be the same whenever the same item is handed over, and never used for another.
    /// `write` is not called when the file had been published before. Blocks until the file is durable.
    ///
    /// # Errors
    /// Nothing is visible to the gateway then, except after [`DropError::Uncertain`]:
    /// [`Quota`](DropError::Quota) and [`Full`](DropError::Full) (try later), [`Gone`](DropError::Gone),
    /// [`NotWritable`](DropError::NotWritable), [`Collision`](DropError::Collision) (a different file has that name),
    /// [`Content`](DropError::Content) (`write` failed), [`Io`](DropError::Io).
    pub fn publish(
        &self,
        name: &FileName,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
        expected_size: u64,
    ) -> Result<Published, DropError> {
        let shared = &*self.shared;
        let folders = shared.verified()?;
        if let Some(published) = self.recognise(&folders, name)? {
            return Ok(published);
        }
        let mut reserved = Reserved::new(shared, name.as_str(), expected_size)?;
        let (looked, how) = bring(shared, &folders, name.as_str(), write)?;
        let Looked { id, size, .. } = looked;
        let directory = folders.identity().clone();
        let published = Published { name: name.clone(), size, inode: id.inode(), id, how, directory };
        shared.ledger().arrived(name.as_str(), looked.id, looked.size);
        reserved.used = true;
        look_after(shared, &folders, name.as_str(), looked);
        Ok(published)
    }

    /// Whether the file was published before, by what the marker says.
    fn recognise(&self, folders: &Folders, name: &FileName) -> Result<Option<Published>, DropError> {
        let shared = &*self.shared;
        if !lock(&shared.unconfirmed).contains(name.as_str()) {
            return Ok(None);
        }
        let mut state = self.state_of(name)?;
        if state == LeftoverState::Withdrawn {
            // Whoever publishes it wants it to be taken after all.
            self.put_back(name)?;
            state = self.state_of(name)?;
        }
        let how = match state {
            LeftoverState::Unpublished | LeftoverState::Withdrawn => return Ok(None),
            LeftoverState::Published => How::AlreadyThere,
            LeftoverState::Taken => How::AlreadyTaken,
        };
        let wrap = |errno| DropError::from_errno("look at a file", &folders.drop.path, errno);
        let mark = folders.temp.look(marker(name.as_str())).map_err(wrap)?;
        let visible = folders.drop.look(name.as_str()).map_err(wrap)?;
        // The gateway may take the file between two looks; the marker stays until the host confirms.
        let Some(looked) = visible.filter(|_| how == How::AlreadyThere).or(mark) else { return Ok(None) };
        let wrap = |errno| DropError::from_errno("sync the directory", &folders.drop.path, errno);
        sync_names(shared, folders).map_err(wrap)?;
        shared.ledger().arrived(name.as_str(), looked.id, looked.size);
        look_after(shared, folders, name.as_str(), looked);
        let Looked { id, size, .. } = looked;
        let directory = folders.identity().clone();
        Ok(Some(Published { name: name.clone(), size, inode: id.inode(), id, how, directory }))
    }
}

/// Space reserved from the quota, given back unless the file was published.
struct Reserved<'a> {
    shared: &'a Shared,
    name: &'a str,
    used: bool,
}

impl<'a> Reserved<'a> {
    fn new(shared: &'a Shared, name: &'a str, size: u64) -> Result<Self, DropError> {
        let quota = shared.settings.quota;
        let expect = || shared.ledger().expect(name, size);
        let mut expected = expect();
        if expected == Expected::Full && shared.may_scan_again() {
            // Files may have gone without anybody having told us.
            shared.scan(false, crate::SeenBy::Scan)?;
            shared.wake();
            expected = expect();
        }
        match expected {
            Expected::Reserved => Ok(Self { shared, name, used: false }),
            Expected::Busy => {
                Err(DropError::Collision { name: name.to_owned(), by: "a publication in progress" })
            }
            Expected::Full => Err(DropError::Quota { used: shared.ledger().usage(), quota, wanted: size }),
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.used {
            self.shared.ledger().forget(self.name);
        }
    }
}

/// The temp file and its marker, removed again unless the file was published.
struct TempFile<'a> {
    temp: &'a Folder,
    name: &'a str,
    keep: bool,
}

impl Drop for TempFile<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is a leftover that says "not published", which is right.
            let _ = discard(self.temp, self.name);
        }
    }
}

/// Removes marker and temp file, in the order that never leaves a marker alone.
fn discard(temp: &Folder, name: &str) -> rustix::io::Result<()> {
    temp.remove(&marker(name))?;
    temp.remove(&part(name)).map(drop)
}

/// Steps 1 to 4.
fn bring(
    shared: &Shared,
    folders: &Folders,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(Looked, How), DropError> {
    let Folders { drop, temp, .. } = folders;
    let failed = |doing| move |errno| DropError::from_errno(doing, &temp.path, errno);
    let part = part(name);
    let file = match temp.create(&part) {
        Err(Errno::EXIST) => discard(temp, name).and_then(|()| temp.create(&part)),
        result => result,
    };
    let file = file.map_err(failed("create a file"))?;
    let mut guard = TempFile { temp, name, keep: false };
    shared.steps.reach(Step::Created, name);
    fill(&file, temp, write)?;
    shared.steps.reach(Step::Written, name);
    finish(shared, folders, &file)?;
    // Closed while it is still hidden, or the gateway would be told of a writer that closes a visible file.
    std::mem::drop(file);
    shared.steps.reach(Step::Synced, name);
    let looked = temp.look(&part).map_err(failed("look at a file"))?.ok_or(Errno::NOENT);
    let looked = looked.map_err(failed("look at a file"))?;
    lock(&shared.unconfirmed).insert(name.to_owned());
    mark(temp, name).map_err(failed("mark a file as complete"))?;
    shared.steps.reach(Step::Marked, name);
    match temp.rename(&part, drop, name) {
        Ok(()) => guard.keep = true,
        Err(Errno::EXIST) => {
            let looked = already_there(folders, name, looked)?;
            guard.keep = true;
            sync_names(shared, folders)
                .map_err(|e| DropError::from_errno("sync the directory", &drop.path, e))?;
            return Ok((looked, How::AlreadyThere));
        }
        Err(errno) => return Err(folders.rename_error(errno)),
    }
    shared.steps.reach(Step::Renamed, name);
    if let Err(errno) = sync_names(shared, folders) {
        return undurable(folders, name, errno).map(|()| (looked, How::AlreadyTaken));
    }
    shared.steps.reach(Step::NameSynced, name);
    Ok((looked, How::Written))
}

/// Gives a written file its mode, and makes its content durable.
pub(crate) fn finish(shared: &Shared, folders: &Folders, file: &File) -> Result<(), DropError> {
    let failed = |doing| move |errno| DropError::from_errno(doing, &folders.temp.path, errno);
    if let Some(group) = shared.settings.group {
        let failed = |e| DropError::from_io("set a file's group", &folders.temp.path, e);
        std::os::unix::fs::fchown(file, None, Some(group)).map_err(failed)?;
    }
    fchmod(file, Mode::from_raw_mode(shared.settings.file_mode)).map_err(failed("set a file's mode"))?;
    fsync(file).map_err(failed("sync a file"))
}

/// Lets the caller write the content. An error is blamed on the disk or on the caller, whoever it came from.
pub(crate) fn fill(
    file: &File,
    temp: &Folder,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), DropError> {
    let mut out = BufWriter::with_capacity(WRITE_BUFFER, Disk { file, failed: None });
    let written = write(&mut out).and_then(|()| out.flush());
    // Taken apart, so that a buffer that could not be written is not written again when it is dropped.
    let (disk, _) = out.into_parts();
    match (written, disk.failed) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(errno)) => Err(DropError::from_errno("write a file", &temp.path, errno)),
        (Err(source), None) => Err(DropError::Content { source }),
    }
}

/// A file that remembers what the system said.
struct Disk<'a> {
    file: &'a File,
    failed: Option<Errno>,
}

impl Write for Disk<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustix::io::retry_on_intr(|| rustix::io::write(self.file, bytes)).map_err(|errno| {
            self.failed = Some(errno);
            errno.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the marker. One that is there from an earlier run while the temp file is new is out of date.
fn mark(temp: &Folder, name: &str) -> rustix::io::Result<()> {
    let (part, marker) = (part(name), marker(name));
    let linked = match temp.link(&part, &marker) {
        Err(Errno::EXIST) => temp.remove(&marker).and_then(|_| temp.link(&part, &marker)),
        result => result,
    };
    match linked {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => temp.create(&marker).map(drop),
        result => result,
    }
}

/// A file of this name is visible although no marker said so. If it is the same, it is ours from before: the temp
/// file goes, and the marker stays and says from now on that the file was published.
fn already_there(folders: &Folders, name: &str, looked: Looked) -> Result<Looked, DropError> {
    let Folders { drop, temp, .. } = folders;
    let failed = |doing| move |errno| DropError::from_errno(doing, &drop.path, errno);
    let visible = drop.look(name).map_err(failed("look at a file"))?;
    let same = match visible {
        Some(visible) if visible.is_file && visible.size == looked.size => {
            let ours = temp.read(&part(name)).map_err(failed("read a file"))?;
            let theirs = drop.read(name).map_err(failed("read a file"))?;
            same_content(ours, theirs).map_err(|e| DropError::from_io("compare two files", &drop.path, e))?
        }
        _ => false,
    };
    let Some(visible) = visible.filter(|_| same) else {
        return Err(DropError::Collision { name: name.to_owned(), by: "another file" });
    };
    temp.remove(&part(name)).map_err(failed("remove a temp file"))?;
    Ok(visible)
}

fn same_content(mut one: File, mut other: File) -> io::Result<bool> {
    const PIECE: u64 = 64 * 1024;
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(PIECE).read_to_end(&mut left)?;
        (&mut other).take(PIECE).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

/// Makes all renames before this call durable.
pub(crate) fn sync_names(shared: &Shared, folders: &Folders) -> rustix::io::Result<()> {
    folders.sync.wait(|| {
        shared.steps.reach(Step::SyncStarts, "");
        shared.ledger().counters.directory_syncs += 1;
        if !folders.drop.file_system.keeps_order() {
            folders.temp.sync()?;
        }
        folders.drop.sync()
    })
}

/// The file is visible and could not be made durable: takes it back. `Ok` means that the gateway has it already.
fn undurable(folders: &Folders, name: &str, sync_error: Errno) -> Result<(), DropError> {
    match folders.drop.rename(name, &folders.temp, &part(name)) {
        Ok(()) => {
            // It is out of the gateway's reach; what stays is a leftover that says "not published", which is right.
            let _ = discard(&folders.temp, name);
            Err(DropError::from_errno("sync the directory", &folders.drop.path, sync_error))
        }
        Err(Errno::NOENT) => Ok(()),
        Err(_) => Err(DropError::Uncertain { name: name.to_owned(), source: sync_error.into() }),
    }
}

/// Looks whether the file is still there now that its name is known. A gateway may have taken or renamed it before,
/// and the event about that passed unrecognised.
pub(crate) fn look_after(shared: &Shared, folders: &Folders, name: &str, looked: Looked) {
    let there = folders.drop.look(name).is_ok_and(|now| now.is_some_and(|now| now.id == looked.id));
    if !there && !shared.send(Message::Moved(name.into())) {
        // Nobody watches: it only has to stop counting.
        shared.ledger().drop_file(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DropSettings;

    /// A directory in which `a.eml` was just published, and its folder.
    fn published() -> (tempfile::TempDir, DropDirectory) {
        let home = tempfile::tempdir().unwrap();
        let directory = DropDirectory::open(DropSettings::new(home.path())).unwrap();
        let name = FileName::new("a.eml").unwrap();
        directory.publish(&name, |out| out.write_all(b"x"), 1).unwrap();
        (home, directory)
    }

    #[test]
    fn a_file_that_cannot_be_made_durable_is_taken_back() {
        let (home, directory) = published();
        let error = undurable(&directory.shared.folders(), "a.eml", Errno::IO).unwrap_err();
        assert!(matches!(error, DropError::Io { .. }), "{error}");
        assert!(!home.path().join("a.eml").exists());
        assert!(directory.leftovers().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_made_durable_and_was_taken_is_a_success() {
        let (home, directory) = published();
        std::fs::remove_file(home.path().join("a.eml")).unwrap();
        assert!(undurable(&directory.shared.folders(), "a.eml", Errno::IO).is_ok());
    }

    #[test]
    fn a_file_system_without_links_gets_a_marker_of_its_own() {
        let (home, directory) = published();
        // What the marker would look like there.
        let marker = home.path().join(".tmp/a.eml.ready");
        std::fs::remove_file(&marker).unwrap();
        std::fs::write(&marker, b"").unwrap();
        let name = FileName::new("a.eml").unwrap();
        let again = |expected| {
            let published = directory.publish(&name, |_| panic!("it was published"), 1).unwrap();
            assert_eq!(published.how, expected);
        };
        again(How::AlreadyThere);
        std::fs::remove_file(home.path().join("a.eml")).unwrap();
        again(How::AlreadyTaken);
    }
}
