//! What needs a file system of its own. Each test runs itself once more, in a user and mount namespace where it may
//! mount what it likes without being root; where there is none to be had it says so and is left out.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use super::{Place, Seen, publish};
use crate::{DropDirectory, DropError, GoneReason};

/// The program that makes the namespaces; it belongs to util-linux, as mount and umount do.
const UNSHARE: &str = "/usr/bin/unshare";
/// What it is told: to make us root in namespaces that end with us.
const NAMESPACES: [&str; 3] = ["--user", "--map-root-user", "--mount"];
/// What a test needs to go on by, at the least.
const PROBE: &str = "/usr/bin/mount -t tmpfs tmpfs \"$0\" && /usr/bin/umount \"$0\"";
/// Set in a test that runs in namespaces of its own.
const INSIDE: &str = "DROP_TEST_MAY_MOUNT";

/// Whether the caller may mount file systems. If not, the test was run here once more where it may, or was left out.
fn may_mount(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    let probed =
        Command::new(UNSHARE).args(NAMESPACES).args(["/bin/sh", "-c", PROBE]).arg(folder.path()).output();
    if let Err(missing) = checked(probed) {
        leave_out(test, &missing, "install util-linux, and allow unprivileged user namespaces");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let again = Command::new(UNSHARE)
        .args(NAMESPACES)
        .arg(this)
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{out}\n{}", String::from_utf8_lossy(&again.stderr));
    assert!(out.contains("1 passed"), "the test's name is not {test}: {out}");
    false
}

fn checked(probed: std::io::Result<Output>) -> Result<(), String> {
    match probed {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("no file system may be mounted in a namespace of one's own ({})", said.trim()))
        }
        Err(error) => Err(format!("{UNSHARE} cannot be run ({error})")),
    }
}

/// Tells that a test was left out; the convention stands in `xtask/src/left_out.rs`.
pub(super) fn leave_out(test: &str, missing: &str, how: &str) {
    let missing = missing.replace(['\t', '\n'], " ");
    println!("LEFT OUT: {missing} ({test}; {how})");
    eprintln!("LEFT OUT: {missing} ({test}; {how})");
    let all = std::env::var_os("POSTERN_TEST_ALL").is_some_and(|value| value == "1");
    assert!(!all, "{test}: nothing may be left out, but {missing}: {how}");
    if let Some(report) = std::env::var_os("POSTERN_LEFT_OUT") {
        let file = OpenOptions::new().create(true).append(true).open(report);
        let line = format!("{test}\t{missing}\t{how}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the report of xtask can be written");
    }
}

/// A small tmpfs. It ends with the namespaces at the latest.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path) -> Self {
        let mut mount = Command::new("/usr/bin/mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=100", "tmpfs"]).arg(path).status();
        assert!(status.unwrap().success());
        Self(path)
    }

    /// Mounts the folder `of` here.
    fn bind(of: &Path, path: &'a Path) -> Self {
        assert!(Command::new("/usr/bin/mount").arg("--bind").arg(of).arg(path).status().unwrap().success());
        Self(path)
    }

    fn unmount(&self) {
        assert!(Command::new("/usr/bin/umount").arg("-l").arg(self.0).status().unwrap().success());
    }
}

#[test]
fn a_full_file_system_refuses_leaves_nothing_and_recovers() {
    if !may_mount("tests::mounts::a_full_file_system_refuses_leaves_nothing_and_recovers") {
        return;
    }
    let place = Place::new();
    let mount = Mount::new(place.drop());
    let directory = place.open();
    let mut number = 0;
    let error = loop {
        match publish(&directory, &format!("{number}.eml"), &[7; 5000]) {
            Ok(published) => directory.confirm([&published.name]),
            Err(error) => break error,
        }
        number += 1;
    };
    assert!(matches!(error, DropError::Full { .. }), "{error}");
    assert_eq!(place.visible().len(), number);
    assert_eq!(directory.usage().files, number as u64);
    assert_eq!(place.left(), [""; 0]);
    fs::remove_file(place.file("0.eml")).unwrap();
    publish(&directory, "again.eml", &[7; 5000]).unwrap();
    mount.unmount();
}

#[test]
fn nothing_is_written_beneath_a_missing_mount() {
    if !may_mount("tests::mounts::nothing_is_written_beneath_a_missing_mount") {
        return;
    }
    let place = Place::new();
    let mount = Mount::new(place.drop());
    let directory: DropDirectory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    mount.unmount();
    let error = publish(&directory, "b.eml", b"x").unwrap_err();
    assert!(matches!(error, DropError::Gone { reason: GoneReason::Unmounted, .. }), "{error}");
    assert!(place.visible().is_empty());
    assert_eq!(seen.line(), "gone replaced by something else");
    let mount = Mount::new(place.drop());
    assert_eq!(seen.line(), "vanished a.eml");
    assert_eq!(seen.line(), "back replaced=true");
    publish(&directory, "b.eml", b"x").unwrap();
    assert_eq!(place.visible(), ["b.eml"]);
    mount.unmount();
}

#[test]
fn a_directory_that_is_mounted_again_is_the_same_and_what_went_meanwhile_was_taken() {
    if !may_mount(
        "tests::mounts::a_directory_that_is_mounted_again_is_the_same_and_what_went_meanwhile_was_taken",
    ) {
        return;
    }
    let place = Place::new();
    let far = place.beside("far");
    fs::create_dir(&far).unwrap();
    let file_system = Mount::new(&far);
    let mount = Mount::bind(&far, place.drop());
    let directory = place.open();
    let id = directory.identity();
    let seen = Seen::start(&directory, vec![]);
    for file in ["a.eml", "b.eml"] {
        publish(&directory, file, b"x").unwrap();
    }
    mount.unmount();
    assert_eq!(seen.line(), "gone replaced by something else");
    // The gateway, on the other side, goes on.
    fs::remove_file(far.join("a.eml")).unwrap();
    let mount = Mount::bind(&far, place.drop());
    let mut told = [seen.line(), seen.line()];
    told.sort();
    // The kernel may still have told of it by an event, since it is one and the same inode.
    assert!(told[0] == "back replaced=false" && told[1].starts_with("taken a.eml"), "{told:?}");
    assert_eq!((directory.identity(), directory.outstanding()), (id, 1));
    mount.unmount();
    file_system.unmount();
}

#[test]
fn a_mount_that_was_missing_at_the_start_is_taken_up_when_it_comes() {
    if !may_mount("tests::mounts::a_mount_that_was_missing_at_the_start_is_taken_up_when_it_comes") {
        return;
    }
    let place = Place::new();
    let directory = place.open();
    let empty = directory.identity();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "beneath.eml", b"x").unwrap();
    let mount = Mount::new(place.drop());
    assert_eq!(seen.line(), "gone replaced by something else");
    assert_eq!(seen.line(), "vanished beneath.eml");
    assert_eq!(seen.line(), "back replaced=true");
    assert_ne!(directory.identity(), empty);
    publish(&directory, "a.eml", b"x").unwrap();
    assert_eq!(place.visible(), ["a.eml"]);
    mount.unmount();
}
