//! Whether a named user can do with drop files what a gateway does: by the numbers in the permissions alone, without
//! becoming that user. Access lists (ACL) and security modules are not looked at; they may allow or forbid more.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;
use crate::directory::Folders;
use crate::{DropSettings, Habits};

const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

/// A user whose rights are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The name, for the findings.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The numbers of all groups that the user is in.
    pub groups: Vec<u32>,
}

/// Owner, group and permission bits of something.
#[derive(Clone, Copy, Debug)]
struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Rights {
    fn of(path: &Path) -> std::io::Result<Self> {
        let about = fs::metadata(path)?;
        Ok(Self { owner: about.uid(), group: about.gid(), mode: about.mode() & 0o7777 })
    }

    /// The first class that the user is in counts, even if a later one may do more (path_resolution(7)).
    fn allow(self, reader: &Reader, wanted: u32) -> bool {
        let class = if reader.uid == 0 {
            7
        } else if reader.uid == self.owner {
            self.mode >> 6
        } else if reader.groups.contains(&self.group) {
            self.mode >> 3
        } else {
            self.mode
        };
        class & wanted == wanted
    }

    /// In a sticky folder only the owner of a file, or of the folder, may remove or rename it.
    fn is_sticky_for(self, reader: &Reader, file_owner: u32) -> bool {
        let is_owner = reader.uid == self.owner || reader.uid == file_owner;
        self.mode & 0o1000 != 0 && reader.uid != 0 && !is_owner
    }
}

/// Checks a reader's rights. The folders must be there.
pub(super) fn check(settings: &DropSettings, folders: &Folders, reader: &Reader) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (drop, who) = (&folders.drop.path, &reader.name);
    let real = fs::canonicalize(drop).unwrap_or_else(|_| drop.clone());
    for above in real.ancestors().skip(1) {
        if Rights::of(above).is_ok_and(|rights| !rights.allow(reader, SEARCH)) {
            findings.push(Finding::faulty(
                "reader-path",
                format!("{who} may not search {}, so it cannot reach the drop directory", above.display()),
                format!("chmod o+x {}, or put {who} into its group and chmod g+x.", above.display()),
            ));
        }
    }
    let Ok((owner, group, mode)) = folders.drop.permissions() else { return findings };
    let rights = Rights { owner, group, mode };
    if !rights.allow(reader, READ | WRITE | SEARCH) {
        findings.push(Finding::faulty(
            "reader-directory",
            format!(
                "{who} may not list, rename and delete in the drop directory (mode {mode:04o}, group {group})"
            ),
            format!("chgrp it to a group that {who} is in, and chmod 2770."),
        ));
    }
    // Files are made in the temp folder and keep the group that they get there.
    let us = rustix::process::geteuid().as_raw();
    if rights.is_sticky_for(reader, us) {
        findings.push(Finding::faulty(
            "reader-sticky",
            format!(
                "the drop directory is sticky: {who} may not rename or delete files of another user in it"
            ),
            "chmod -t the drop directory.".to_owned(),
        ));
    }
    if let Ok((_, temp_group, temp_mode)) = folders.temp.permissions() {
        let inherited = temp_mode & 0o2000 != 0;
        let given = if inherited { temp_group } else { rustix::process::getegid().as_raw() };
        let group = settings.group.unwrap_or(given);
        let file = Rights { owner: us, group, mode: settings.file_mode };
        if !file.allow(reader, READ) {
            findings.push(Finding::faulty(
                "reader-files",
                format!("{who} may not read the files (mode {:04o}, group {group})", settings.file_mode),
                format!(
                    "chgrp the temp folder to a group that {who} is in and chmod g+s it; file_mode \"0640\"."
                ),
            ));
        }
    }
    findings.extend(places(settings, reader));
    if findings.is_empty() {
        let text = format!("{who} can list the drop directory, and read, rename and delete files");
        findings.push(Finding::good("reader", text));
    }
    findings
}

/// The folders to which the gateway moves files.
fn places(settings: &DropSettings, reader: &Reader) -> Vec<Finding> {
    let habits = &settings.habits;
    let claims = habits.claims.iter().filter_map(|claim| claim.folder.as_deref());
    let ends = habits.folders.iter().map(|folder| folder.path.as_path());
    let reports = habits.reports.iter().map(std::path::PathBuf::as_path);
    let mut findings = Vec::new();
    for folder in claims.chain(ends).chain(reports) {
        let path = Habits::place(&settings.path, folder);
        if Rights::of(&path).is_ok_and(|rights| !rights.allow(reader, WRITE | SEARCH)) {
            findings.push(Finding::faulty(
                "reader-results",
                format!("{} may not put files into {}", reader.name, path.display()),
                format!("chgrp it to a group that {} is in, and chmod 2770.", reader.name),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(uid: u32, groups: &[u32]) -> Reader {
        Reader { name: "gw".to_owned(), uid, groups: groups.to_vec() }
    }

    #[test]
    fn the_first_class_that_fits_counts() {
        let rights = Rights { owner: 10, group: 20, mode: 0o070 };
        assert!(!rights.allow(&reader(10, &[20]), READ), "the owner's class comes first");
        assert!(rights.allow(&reader(11, &[19, 20]), READ | WRITE | SEARCH));
        assert!(!rights.allow(&reader(11, &[19]), READ));
        assert!(rights.allow(&reader(0, &[]), WRITE), "root may do everything");
        assert!(Rights { mode: 0o005, ..rights }.allow(&reader(11, &[]), READ | SEARCH));
    }

    #[test]
    fn a_sticky_folder_keeps_others_from_deleting() {
        let rights = Rights { owner: 10, group: 20, mode: 0o1770 };
        assert!(rights.is_sticky_for(&reader(11, &[20]), 12));
        for (uid, file_owner) in [(10, 12), (12, 12), (0, 12)] {
            assert!(!rights.is_sticky_for(&reader(uid, &[20]), file_owner));
        }
        assert!(!Rights { mode: 0o770, ..rights }.is_sticky_for(&reader(11, &[20]), 12));
    }
}
