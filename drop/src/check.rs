//! Check: whether a folder is fit to be a drop directory, in words for an operator.

mod nature;
mod reader;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};

use crate::directory::Folders;
use crate::folder::Folder;
use crate::{DropError, DropSettings, Habits, WatchMode};

pub use nature::{MAX_CLOCK_SKEW, SLOW_SYNC};
pub use reader::Reader;

/// Below this share of free space or inodes, in percent, a warning is given.
pub const LOW_FREE_PERCENT: u64 = 5;

/// How long an event about the probe file may take.
const EVENT_PATIENCE: Duration = Duration::from_secs(2);

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was checked: a short word, always the same for the same check.
    pub what: &'static str,
    /// What was found and what it means.
    pub meaning: String,
    /// What to do about it; empty when there is nothing to do.
    pub what_to_do: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, and yet somebody should look at it.
    Warning,
    /// The drop directory cannot be used.
    Fault,
}

impl Finding {
    fn good(what: &'static str, meaning: impl Into<String>) -> Self {
        Self { level: Level::Good, what, meaning: meaning.into(), what_to_do: String::new() }
    }

    fn warning(what: &'static str, meaning: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self { level: Level::Warning, what, meaning: meaning.into(), what_to_do: what_to_do.into() }
    }

    fn faulty(what: &'static str, meaning: String, what_to_do: String) -> Self {
        Self { level: Level::Fault, what, meaning, what_to_do }
    }

    fn fault(what: &'static str, error: &DropError, what_to_do: &str) -> Self {
        Self { level: Level::Fault, what, meaning: error.to_string(), what_to_do: what_to_do.to_owned() }
    }
}

/// Checks everything about a drop directory that can be checked without the gateway: that it is there, the temp
/// folder on the same file system, that files can be written, synced, renamed and removed, that events work,
/// permissions, free space and inodes. It writes and removes probe files with hidden names, and makes the directory
/// only if `create` is set. Blocks, at most a few seconds on a local disk.
#[must_use]
pub fn check(settings: &DropSettings) -> Vec<Finding> {
    check_for(settings, None)
}

/// As [`check()`], and whether a user has the rights that a gateway needs.
#[must_use]
pub fn check_for(settings: &DropSettings, reader: Option<&Reader>) -> Vec<Finding> {
    if settings.create
        && let Err(error) = crate::directory::create(settings)
    {
        return vec![Finding::fault("directory", &error, "Create the directory by hand.")];
    }
    let folders = match Folders::open(settings) {
        Ok(folders) => folders,
        Err(error) => return vec![Finding::fault(topic(&error), &error, remedy(&error))],
    };
    let mut findings = vec![
        Finding::good("directory", format!("{} is a directory", settings.path.display())),
        Finding::good("temp-folder", format!("{} is on the same file system", folders.temp.path.display())),
        match folders.probe() {
            Ok(()) => Finding::good("rename", "files can be written, synced, renamed and removed"),
            Err(error) => Finding::fault(topic(&error), &error, remedy(&error)),
        },
        file_system(settings, &folders.drop),
    ];
    findings.extend(events(settings, &folders));
    findings.extend(permissions(&folders));
    findings.extend(space(&folders.drop));
    findings.extend(nature::check(&folders));
    findings.extend(places(settings));
    findings.extend(reader.into_iter().flat_map(|reader| reader::check(settings, &folders, reader)));
    findings
}

/// The folders of the gateway: those that are missing, and those out of which we could take nothing.
fn places(settings: &DropSettings) -> Vec<Finding> {
    let habits = &settings.habits;
    let claims = habits.claims.iter().filter_map(|claim| claim.folder.as_ref());
    let ends = habits.folders.iter().map(|folder| &folder.path);
    let ours = ends.clone().chain(&habits.reports);
    let is_ours = |folder| ours.clone().any(|other| other == folder);
    let mut findings = Vec::new();
    for folder in claims.chain(ours.clone()) {
        let path = Habits::place(&settings.path, folder);
        let shown = path.display();
        let writable = rustix::fs::access(&path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        if !path.is_dir() {
            let text = format!("the gateway's folder {shown} is missing: what is moved there cannot be seen");
            findings.push(Finding::warning("gateway-folder", text, "Make it, as the gateway's manual says."));
        } else if writable.is_err() && is_ours(folder) {
            let text = format!("results cannot be taken out of {shown}: they would be read again and again");
            findings.push(Finding::warning(
                "gateway-folder",
                text,
                "Give the service's user the right to write there.",
            ));
        }
    }
    findings
}

fn topic(error: &DropError) -> &'static str {
    match error {
        DropError::OtherFileSystem { .. } => "temp-folder",
        DropError::NotWritable { .. } => "permissions",
        DropError::Full { .. } => "space",
        _ => "directory",
    }
}

fn remedy(error: &DropError) -> &'static str {
    match error {
        DropError::Missing { .. } => "Create it, mount it, or set create = true.",
        DropError::NotDirectory { .. } => {
            "Point the setting at a directory. A temp folder must not be a link."
        }
        DropError::OtherFileSystem { .. } => {
            "Remove the temp setting, or choose a folder on the same file system and the same mount."
        }
        DropError::NotWritable { .. } => "Give the service's user read, write and search permission.",
        DropError::Full { .. } => "Free space or inodes.",
        _ => "See what the system said.",
    }
}

fn file_system(settings: &DropSettings, drop: &Folder) -> Finding {
    let name = drop.file_system.name();
    let remote = drop.file_system.is_remote();
    match (remote, settings.watch) {
        (true, WatchMode::Events) => Finding::warning(
            "file-system",
            format!("{name} does not report what other machines do, and watch = \"events\" is set"),
            "Set watch = \"auto\" if the gateway runs on another machine; until then pickups are noticed late.",
        ),
        (true, _) => Finding::good("file-system", format!("{name}: names are compared, events are not used")),
        (false, _) => Finding::good("file-system", name),
    }
}

/// Makes and removes a folder of its own in the temp folder and waits for the event about a file in it.
fn events(settings: &DropSettings, folders: &Folders) -> Option<Finding> {
    let wanted = match settings.watch {
        WatchMode::Poll => false,
        WatchMode::Events => true,
        WatchMode::Auto => !folders.drop.file_system.is_remote(),
    };
    if !wanted {
        return None;
    }
    let folder = folders.temp.path.join(format!(".probe-{}", std::process::id()));
    let seen = see_event(&folder);
    // A probe folder that stays is empty and hidden; the next check uses it again.
    let _ = fs::remove_dir_all(&folder);
    let advice = "Set watch = \"poll\"; or raise fs.inotify.max_user_instances and max_user_watches.";
    Some(match seen {
        Ok(true) => Finding::good("events", "the file system reports changes at once"),
        Ok(false) => Finding::warning("events", "no event came for a file made and removed", advice),
        Err(error) => Finding::warning("events", format!("events cannot be had: {error}"), advice),
    })
}

fn see_event(folder: &Path) -> notify::Result<bool> {
    fs::create_dir_all(folder).map_err(notify::Error::io)?;
    let (sender, receiver) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender)?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    let file = folder.join("probe");
    fs::write(&file, b"").map_err(notify::Error::io)?;
    fs::remove_file(&file).map_err(notify::Error::io)?;
    let end = std::time::Instant::now() + EVENT_PATIENCE;
    while let Ok(event) = receiver.recv_timeout(end.saturating_duration_since(std::time::Instant::now())) {
        if event?.kind.is_remove() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn permissions(folders: &Folders) -> Vec<Finding> {
    let mut findings = Vec::new();
    let facts = (folders.drop.permissions(), folders.temp.permissions());
    let (Ok((_, group, mode)), Ok((_, temp_group, temp_mode))) = facts else { return findings };
    if mode & 0o1002 == 0o0002 {
        findings.push(Finding::warning(
            "permissions",
            format!("everybody may write to and delete from the drop directory (mode {mode:04o})"),
            "Take the right to write away from others: chmod o-w; give it to the gateway's group.",
        ));
    }
    if temp_mode & 0o022 != 0 {
        findings.push(Finding::warning(
            "temp-folder",
            format!("others may write to the temp folder (mode {temp_mode:04o})"),
            "chmod 0700 the temp folder.",
        ));
    }
    if mode & 0o2000 != 0 && group != temp_group {
        findings.push(Finding::warning(
            "group",
            format!("files get group {temp_group} of the temp folder, not {group} of the drop directory"),
            "chgrp the temp folder to the drop directory's group and chmod g+s it.",
        ));
    }
    if let Ok(link) = fs::symlink_metadata(&folders.drop.path)
        && link.file_type().is_symlink()
        && link.uid() != rustix::process::geteuid().as_raw()
        && link.uid() != 0
    {
        findings.push(Finding::warning(
            "link",
            "the path is a symbolic link that belongs to another user, who can direct mail elsewhere",
            "Name the directory itself, or have the link made by root.",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good("permissions", format!("mode {mode:04o}, group {group}")));
    }
    findings
}

fn space(drop: &Folder) -> Vec<Finding> {
    let Ok(space) = drop.space() else { return Vec::new() };
    let kinds = [
        ("space", space.f_bavail, space.f_blocks, "of the space is free"),
        ("inodes", space.f_favail, space.f_files, "of the inodes are free"),
    ];
    // A file system without a fixed number of inodes reports none at all.
    let kinds = kinds.into_iter().filter(|(_, _, all, _)| *all > 0);
    kinds
        .map(|(what, free, all, text)| {
            let percent = u128::from(free) * 100 / u128::from(all);
            let meaning = format!("{percent} percent {text}");
            if percent < u128::from(LOW_FREE_PERCENT) {
                Finding::warning(what, meaning, "Free some before files cannot be written any more.")
            } else {
                Finding::good(what, meaning)
            }
        })
        .collect()
}
