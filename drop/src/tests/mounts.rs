//! What needs a file system of its own: run by hand as root with `--ignored`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Place, Seen, publish};
use crate::{DropDirectory, DropError, GoneReason};

/// A small tmpfs that is unmounted in the end.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path) -> Self {
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=100", "tmpfs"]).arg(path).status();
        assert!(status.unwrap().success());
        Self(path)
    }

    fn unmount(&self) {
        assert!(Command::new("umount").arg("-l").arg(self.0).status().unwrap().success());
    }
}

#[test]
#[ignore = "mounts a file system: needs root"]
fn a_full_file_system_refuses_leaves_nothing_and_recovers() {
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
    assert_eq!(fs::read_dir(place.settings.temp_path()).unwrap().count(), 0);
    fs::remove_file(place.file("0.eml")).unwrap();
    publish(&directory, "again.eml", &[7; 5000]).unwrap();
    mount.unmount();
}

#[test]
#[ignore = "mounts a file system: needs root"]
fn nothing_is_written_beneath_a_missing_mount() {
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
