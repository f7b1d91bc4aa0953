//! The words of the check.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::Place;
use crate::check::{Reader, check_for};
use crate::{Claim, DropSettings, Finding, Level, check};

fn find<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
    findings.iter().find(|f| f.what == what).unwrap_or_else(|| panic!("no {what} in {findings:?}"))
}

#[test]
fn a_fit_directory_has_no_fault_and_is_left_as_it_was() {
    let place = Place::new();
    fs::set_permissions(place.drop(), fs::Permissions::from_mode(0o770)).unwrap();
    let findings = check(&place.settings);
    for what in [
        "directory",
        "temp-folder",
        "rename",
        "file-system",
        "events",
        "permissions",
        "clock",
        "case",
        "links",
    ] {
        assert_eq!(find(&findings, what).level, Level::Good, "{findings:?}");
    }
    assert!(findings.iter().all(|f| (f.level == Level::Good) == f.what_to_do.is_empty()));
    assert!(place.visible().is_empty());
    assert_eq!(fs::read_dir(place.settings.temp_path()).unwrap().count(), 0);
}

#[test]
fn each_fault_says_what_to_do() {
    let place = Place::new();
    let missing = check(&DropSettings::new(place.beside("nothing")));
    assert_eq!((missing.len(), missing[0].level, missing[0].what), (1, Level::Fault, "directory"));
    assert!(missing[0].what_to_do.contains("create = true"));
    let elsewhere = DropSettings { temp: Some("/proc/sys".into()), ..place.settings.clone() };
    assert_eq!(find(&check(&elsewhere), "temp-folder").level, Level::Fault);
    assert_eq!(find(&check(&DropSettings::new("/sys/kernel")), "permissions").level, Level::Fault);
}

#[test]
fn a_user_without_the_rights_of_a_gateway_is_told_what_is_missing() {
    let place = Place::with(|s| s.habits.claims.push(Claim::moved("checked")));
    fs::create_dir(place.file("checked")).unwrap();
    fs::set_permissions(place.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.drop(), fs::Permissions::from_mode(0o700)).unwrap();
    let stranger = Reader { name: "gw".to_owned(), uid: 4_000_000, groups: vec![4_000_000] };
    let findings = check_for(&place.settings, Some(&stranger));
    for what in ["reader-directory", "reader-files", "reader-results"] {
        let found = find(&findings, what);
        assert_eq!(found.level, Level::Fault);
        assert!(found.meaning.contains("gw") && !found.what_to_do.is_empty(), "{found:?}");
    }
    let owner = fs::metadata(place.drop()).unwrap();
    let ours = Reader { name: "us".to_owned(), uid: owner.uid(), groups: vec![owner.gid()] };
    assert_eq!(find(&check_for(&place.settings, Some(&ours)), "reader").level, Level::Good);
    fs::set_permissions(place.drop(), fs::Permissions::from_mode(0o1777)).unwrap();
    let sticky = check_for(&place.settings, Some(&stranger));
    assert_eq!(find(&sticky, "reader-sticky").level, Level::Fault);
}

#[test]
fn a_folder_of_the_gateway_that_is_missing_is_a_warning() {
    let place = Place::with(|s| s.habits.claims.push(Claim::moved("checked")));
    assert_eq!(find(&check(&place.settings), "gateway-folder").level, Level::Warning);
}

#[test]
fn a_directory_open_to_everybody_is_a_warning() {
    let place = Place::new();
    fs::set_permissions(place.drop(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(find(&check(&place.settings), "permissions").level, Level::Warning);
}
