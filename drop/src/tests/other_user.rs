//! A gateway under another user, over a folder of its group. Needs root: only root can become somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use super::mounts::leave_out;
use super::{Place, name, publish};
use crate::check::{Reader, check_for};
use crate::{Level, Withdrawn, reader};

/// A user and a group that no machine has.
const GATEWAY: u32 = 3_999_001;
const GROUP: u32 = 3_999_002;

/// What a gateway does: lists, claims, reads, deletes.
#[test]
#[ignore = "a helper process of the other tests here"]
fn gateway_process() {
    let path = std::path::PathBuf::from(std::env::var("DROP_TEST_PATH").unwrap());
    let entries = reader::list(&path, 100).unwrap();
    assert!(!entries.is_empty(), "it sees the files");
    for entry in entries {
        let claim = reader::take(&path, &entry.name).unwrap().unwrap();
        assert_eq!(claim.read().unwrap(), b"mail");
        claim.done().unwrap();
    }
    assert!(fs::read_dir(path.join(".tmp")).is_err(), "the temp folder is none of its business");
}

/// Runs the gateway as this user, from a copy of this program that everybody may run.
fn gateway(place: &Place, uid: u32, gid: u32) -> ExitStatus {
    let program = place.beside("gateway");
    if !program.exists() {
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(&program);
    command.args(["tests::other_user::gateway_process", "--exact", "--ignored", "--quiet"]);
    command.env("DROP_TEST_PATH", place.drop()).current_dir("/").uid(uid).gid(gid);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.status().unwrap()
}

#[test]
fn a_gateway_of_another_user_works_through_the_group_of_the_folder() {
    if !rustix::process::geteuid().is_root() {
        return leave_out(
            "a_gateway_of_another_user_works_through_the_group_of_the_folder",
            "no root",
            "run as root",
        );
    }
    let place = Place::with(|s| {
        (s.create, s.dir_mode, s.group) = (true, Some(0o2770), Some(GROUP));
    });
    fs::set_permissions(place.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // It is made with mode and group, since it is not there.
    fs::remove_dir(place.drop()).unwrap();
    let directory = place.open();
    let about = fs::metadata(place.drop()).unwrap();
    assert_eq!((about.mode() & 0o7777, about.gid()), (0o2770, GROUP));
    for number in 0..5 {
        publish(&directory, &format!("{number}.eml"), b"mail").unwrap();
    }
    assert_eq!(fs::metadata(place.file("0.eml")).unwrap().gid(), GROUP);
    let as_reader = |uid, gid| Reader { name: "gw".to_owned(), uid, groups: vec![gid] };
    let faults = |reader: &Reader| {
        let findings = check_for(&place.settings, Some(reader));
        findings.into_iter().filter(|found| found.level == Level::Fault).count()
    };
    // What the doctor says is what happens.
    assert!(faults(&as_reader(GATEWAY, GATEWAY)) > 0);
    assert!(!gateway(&place, GATEWAY, GATEWAY).success(), "a stranger gets nothing");
    assert_eq!(faults(&as_reader(GATEWAY, GROUP)), 0);
    assert_eq!(directory.withdraw(&name("4.eml")).unwrap(), Withdrawn::Yes);
    assert!(gateway(&place, GATEWAY, GROUP).success());
    assert!(place.visible().is_empty());
    directory.rescan().unwrap();
    assert_eq!((directory.outstanding(), directory.usage().files), (0, 0));
    // Those that are taken were the gateway's; the one that was withdrawn is not.
    assert!(place.temp_file("4.eml.withdrawn").exists());
    chown(place.drop(), Some(0), Some(0)).unwrap();
}
