//! Publishing several files as one: a main file with members, see [`FileSet`](crate::profile::FileSet).
//!
//! The gateway waits for the main file. The members come before it and go with it, so that only the main file goes through
//! the protocol of [`crate::publish`]: its state is the state of the set.
//!
//! # The steps
//!
//! 1. `L` the list of the members is written to `.tmp/NAME.set`, durably. `NAME` is that of the main file.
//! 2. `P` each member is written to `.tmp/MEMBER.part`, synced, and renamed into the drop directory.
//! 3. The main file is published as every file, which syncs the directory for all of them.
//!
//! # After a crash
//!
//! | died after | main file | members | it was | so publishing again |
//! |---|---|---|---|---|
//! | L, P | not visible | some visible | not published: no gateway looks at them | writes all of them anew; of those that are there, the list says that they are ours |
//! | 3 | visible, or taken | all visible, or taken | published, or taken | changes nothing |
//!
//! Withdrawing takes the main file first: from there on no gateway begins with the set. Then the members go to
//! `.tmp/MEMBER.member`. Putting back is the other way round. The list stays until the set is discarded, or until all of its
//! files are gone; so whatever the crash left is found by it.
//!
//! On file systems that do not keep the order of changes to names, the directory is synced before the main file is
//! renamed, too.

use std::io::{self, Read as _, Write as _};

use rustix::io::Errno;

use crate::directory::{Folders, Shared};
use crate::folder::Folder;
use crate::leftovers::part;
use crate::profile::{FileSet, MessageSource, Rendered};
use crate::publish::{fill, finish};
use crate::step::Step;
use crate::{DropDirectory, DropError, FileName, Published};

/// What a list begins with; the number says how to read the rest: a name in each line.
const HEADING: &str = "postern-drop-set 1";
/// The most bytes that a list may have.
const MAX_LIST: u64 = 1 << 20;

/// What the list of a set is called in the temp folder.
pub(crate) fn list_name(main: &str) -> String {
    format!("{main}.set")
}

/// What a member of a withdrawn set is called in the temp folder.
fn hidden(member: &str) -> String {
    format!("{member}.member")
}

impl DropDirectory {
    /// Publishes the files of a set as one: as [`publish`](Self::publish) does for its main file. `message` is where the
    /// bytes of the message come from, and `size` their number.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). Members are not visible then, or have no meaning to the gateway.
    pub fn publish_set(
        &self,
        set: &FileSet,
        message: &dyn MessageSource,
        size: u64,
    ) -> Result<Published, DropError> {
        let main = &set.main;
        let (mut begun, mut failed, mut ours) = (false, None, Vec::new());
        let published = self.publish(
            &main.name,
            |out| {
                // Called only when the main file was neither published nor taken.
                begun = true;
                if let Err(error) = self.bring_members(set, message, &mut ours) {
                    failed = Some(error);
                    return Err(io::Error::other("a file that belongs to it could not be published"));
                }
                main.write(out, message)
            },
            set.size(size),
        );
        match &published {
            Ok(_) | Err(DropError::Uncertain { .. }) => {}
            // The list and the members of an earlier attempt stay for the next one.
            Err(_) if !begun => {}
            Err(_) => discard(&self.shared, &self.shared.folders(), main.name.as_str(), &ours),
        }
        match failed {
            Some(error) if published.is_err() => Err(error),
            _ => published,
        }
    }

    /// Steps 1 and 2. `ours` gets the names of the members that are there and are ours.
    fn bring_members(
        &self,
        set: &FileSet,
        message: &dyn MessageSource,
        ours: &mut Vec<String>,
    ) -> Result<(), DropError> {
        if set.members.is_empty() {
            return Ok(());
        }
        let shared = &*self.shared;
        let folders = shared.folders();
        let main = set.main.name.as_str();
        *ours = members(&folders.temp, main)?;
        let names: Vec<&str> = set.members.iter().map(|file| file.name.as_str()).collect();
        // Looked at before the list says that they are ours.
        for name in names.iter().filter(|name| !ours.iter().any(|known| known == *name)) {
            let wrap = |errno| DropError::from_errno("look at a file", &folders.drop.path, errno);
            if folders.drop.look(name).map_err(wrap)?.is_some() {
                return Err(taken(name));
            }
        }
        if *ours != names {
            keep_list(&folders.temp, main, &names)?;
        }
        for member in &set.members {
            let name = member.name.as_str();
            let is_ours = ours.iter().any(|known| known == name);
            if let Err(error) = bring_member(shared, &folders, member, is_ours, message) {
                // What cannot be removed is a leftover.
                let _ = folders.temp.remove(&part(name));
                return Err(error);
            }
            if !ours.iter().any(|known| known == name) {
                ours.push(name.to_owned());
            }
        }
        if !folders.drop.file_system.keeps_order() {
            let wrap = |errno| DropError::from_errno("sync the directory", &folders.drop.path, errno);
            folders.drop.sync().map_err(wrap)?;
        }
        Ok(())
    }
}

fn taken(name: &str) -> DropError {
    DropError::Collision { name: name.to_owned(), by: "another file" }
}

/// Writes one member and makes it visible. `ours`: the list of an earlier attempt names it, so one that is there is ours.
fn bring_member(
    shared: &Shared,
    folders: &Folders,
    member: &Rendered,
    ours: bool,
    message: &dyn MessageSource,
) -> Result<(), DropError> {
    let Folders { drop, temp, .. } = folders;
    let name = member.name.as_str();
    let failed = |doing| move |errno| DropError::from_errno(doing, &temp.path, errno);
    let part = part(name);
    temp.remove(&part).map_err(failed("remove a temp file"))?;
    let file = temp.create(&part).map_err(failed("create a file"))?;
    shared.steps.reach(Step::Created, name);
    fill(&file, temp, |out| member.write(out, message))?;
    finish(shared, folders, &file)?;
    std::mem::drop(file);
    shared.steps.reach(Step::Synced, name);
    let renamed = match temp.rename(&part, drop, name) {
        Err(Errno::EXIST) if ours => {
            drop.remove(name).map_err(failed("replace a file"))?;
            temp.rename(&part, drop, name)
        }
        result => result,
    };
    match renamed {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(taken(name)),
        Err(errno) => return Err(folders.rename_error(errno)),
    }
    shared.steps.reach(Step::Renamed, name);
    if let Some(looked) = drop.look(name).map_err(failed("look at a file"))? {
        shared.ledger().accompany(name, looked.id, looked.size);
    }
    Ok(())
}

/// The members of the set whose main file this is; none when it has none.
pub(crate) fn members(temp: &Folder, main: &str) -> Result<Vec<String>, DropError> {
    let list = list_name(main);
    let file = match temp.read(&list) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(DropError::from_errno("read a list of files", &temp.path, errno)),
    };
    let mut text = String::new();
    file.take(MAX_LIST)
        .read_to_string(&mut text)
        .map_err(|error| DropError::from_io("read a list of files", &temp.path.join(&list), error))?;
    Ok(parse(&text))
}

/// The names in a list. What is not whole, or not ours, names nothing: the power failed before anything was visible.
fn parse(text: &str) -> Vec<String> {
    let Some(names) = text.strip_prefix(HEADING).and_then(|rest| rest.strip_prefix('\n')) else {
        return Vec::new();
    };
    let whole = names.lines().filter(|name| FileName::new(*name).is_ok());
    whole.map(str::to_owned).collect()
}

fn keep_list(temp: &Folder, main: &str, names: &[&str]) -> Result<(), DropError> {
    let wrap = |errno| DropError::from_errno("write a list of files", &temp.path, errno);
    let list = list_name(main);
    temp.remove(&list).map_err(wrap)?;
    let mut file = temp.create(&list).map_err(wrap)?;
    let text = format!("{HEADING}\n{}\n", names.join("\n"));
    // Durable before a member is visible: by it alone they are known to be ours.
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| DropError::from_io("write a list of files", &temp.path, error))
}

/// The main file is withdrawn: its members go out of the gateway's reach as well.
pub(crate) fn hide(shared: &Shared, folders: &Folders, main: &str) -> Result<(), DropError> {
    for name in members(&folders.temp, main)? {
        match folders.drop.rename(&name, &folders.temp, &hidden(&name)) {
            // The gateway may have removed it; or it was hidden by an earlier call.
            Ok(()) | Err(Errno::NOENT | Errno::EXIST) => shared.ledger().drop_file(&name),
            Err(errno) => return Err(folders.rename_error(errno)),
        }
    }
    Ok(())
}

/// The main file is about to be put back: its members come first.
pub(crate) fn show(shared: &Shared, folders: &Folders, main: &str) -> Result<(), DropError> {
    for name in members(&folders.temp, main)? {
        match folders.temp.rename(&hidden(&name), &folders.drop, &name) {
            Ok(()) => {
                if let Ok(Some(looked)) = folders.drop.look(&name) {
                    shared.ledger().accompany(&name, looked.id, looked.size);
                }
            }
            Err(Errno::NOENT) => {}
            Err(Errno::EXIST) => return Err(DropError::Collision { name, by: "another file" }),
            Err(errno) => return Err(folders.rename_error(errno)),
        }
    }
    Ok(())
}

/// Nothing of the set is wanted any more. The list goes last, so that a crash leaves nothing that it does not name.
pub(crate) fn discard(shared: &Shared, folders: &Folders, main: &str, names: &[String]) {
    for name in names {
        let removed =
            folders.temp.remove(&hidden(name)).and_then(|_| folders.temp.remove(&part(name))).and_then(
                |_| {
                    shared.ledger().drop_file(name);
                    folders.drop.remove(name)
                },
            );
        if let Err(error) = removed {
            tracing::debug!(name, %error, "a file of a set was not removed");
            return;
        }
    }
    if let Err(error) = folders.temp.remove(&list_name(main)) {
        tracing::debug!(main, %error, "the list of a set was not removed");
    }
}

/// Removes lists of which nothing lies in the drop directory any more. `keep` tells of main files that are still needed.
pub(crate) fn sweep(folders: &Folders, keep: impl Fn(&FileName) -> bool) -> Result<usize, DropError> {
    let wrap = |errno| DropError::from_errno("list the temp folder", &folders.temp.path, errno);
    let mut removed = 0;
    for listed in folders.temp.list().map_err(wrap)? {
        let Some(file) = listed.name.to_str() else { continue };
        let Some(main) = file.strip_suffix(".set").and_then(|main| FileName::new(main).ok()) else {
            continue;
        };
        if keep(&main) {
            continue;
        }
        let names = members(&folders.temp, main.as_str())?;
        let there = |name: &str| folders.drop.look(name).map(|looked| looked.is_some()).map_err(wrap);
        let mut lies = there(main.as_str())?;
        for name in &names {
            lies = lies || there(name)?;
        }
        if !lies {
            for name in names {
                removed += usize::from(folders.temp.remove(&hidden(&name)).map_err(wrap)?);
            }
            removed += usize::from(folders.temp.remove(file).map_err(wrap)?);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 writes.
    const SAMPLE: &str = "postern-drop-set 1\na.1.txt\na.2.pdf\n";

    #[test]
    fn a_kept_list_is_still_understood_and_written_the_same() {
        let home = tempfile::tempdir().unwrap();
        let temp = Folder::open(home.path()).unwrap();
        assert!(members(&temp, "a.json").unwrap().is_empty());
        keep_list(&temp, "a.json", &["a.1.txt", "a.2.pdf"]).unwrap();
        assert_eq!(std::fs::read_to_string(home.path().join("a.json.set")).unwrap(), SAMPLE);
        assert_eq!(members(&temp, "a.json").unwrap(), ["a.1.txt", "a.2.pdf"]);
    }

    #[test]
    fn a_list_cannot_name_what_is_not_in_the_folder() {
        let names = parse("postern-drop-set 1\n../x\n.hidden\nok.txt\n/etc/passwd\n");
        assert_eq!(names, ["ok.txt"]);
        assert!(parse("postern-drop-set 2\nok.txt\n").is_empty() && parse("").is_empty());
    }
}
