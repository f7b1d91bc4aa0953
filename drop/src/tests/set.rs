//! Sets of files: published as one or not at all, whatever happens on the way.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::{Place, name};
use crate::profile::{Content, FileSet, MessageLines, MessageSource, Rendered};
use crate::step::Step;
use crate::{DropDirectory, DropError, DropSettings, How, Withdrawn};

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.\r\nhello\r\n";

/// The files of the sets here, the main one last.
const NAMES: [&str; 3] = ["a.1.txt", "a.eml", "a.json"];

fn set() -> FileSet {
    let bytes = |text: &str| Content::Bytes(text.as_bytes().to_vec());
    let message = Content::Message { before: Vec::new(), line_end: MessageLines::AsReceived };
    FileSet {
        members: vec![
            Rendered { name: name("a.1.txt"), content: bytes("text") },
            Rendered { name: name("a.eml"), content: message },
        ],
        main: Rendered { name: name("a.json"), content: bytes("{}") },
    }
}

fn publish(directory: &DropDirectory) -> Result<How, DropError> {
    directory.publish_set(&set(), &MESSAGE, MESSAGE.len() as u64).map(|published| published.how)
}

/// What must lie there when the set is published.
fn assert_whole(place: &Place) {
    assert_eq!(place.visible(), NAMES);
    assert_eq!(fs::read(place.file("a.1.txt")).unwrap(), b"text");
    assert_eq!(fs::read(place.file("a.eml")).unwrap(), MESSAGE);
    assert_eq!(fs::read(place.file("a.json")).unwrap(), b"{}");
}

#[test]
fn the_main_file_is_visible_only_when_all_others_are() {
    let place = Place::new();
    let drop = place.drop().to_owned();
    let observer = move |step: Step, file: &str| {
        let there = |name: &str| drop.join(name).exists();
        if step == Step::Renamed {
            let at = NAMES.iter().position(|name| *name == file).unwrap();
            assert!(NAMES[..=at].iter().all(|name| there(name)), "{file} came too early");
            assert!(NAMES[at + 1..].iter().all(|name| !there(name)), "{file} came too late");
        }
    };
    let directory = DropDirectory::open_observed(place.settings.clone(), Some(Arc::new(observer))).unwrap();
    assert_eq!(publish(&directory).unwrap(), How::Written);
    assert_whole(&place);
    assert_eq!(directory.usage().files, 3, "all of them count for the quota");
    assert_eq!(directory.outstanding(), 1, "and one is waited for");
    directory.confirm([&name("a.json")]);
    assert_eq!(place.left(), ["a.json.set"]);
}

/// A helper process: publishes the set, and dies where it is told to.
#[test]
#[ignore = "a helper process of the other tests here"]
fn child_process() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let (file, step) = (variable("DROP_SET_FILE"), variable("DROP_SET_STEP"));
    let observer = move |at: Step, name: &str| {
        if name == file && format!("{at:?}") == step {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    };
    let settings = DropSettings::new(PathBuf::from(variable("DROP_SET_PATH")));
    let directory = DropDirectory::open_observed(settings, Some(Arc::new(observer))).unwrap();
    publish(&directory).unwrap();
}

fn die_at(place: &Place, file: &str, step: Step) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["tests::set::child_process", "--exact", "--ignored", "--quiet"]);
    child.env("DROP_SET_PATH", place.drop()).env("DROP_SET_FILE", file);
    child.env("DROP_SET_STEP", format!("{step:?}")).stdout(std::process::Stdio::null());
    assert_eq!(child.status().unwrap().signal(), Some(9), "it dies at {step:?} of {file}");
}

/// Where a process may die, and whether the set was published by then.
fn deaths() -> Vec<(&'static str, Step, bool)> {
    let mut deaths = Vec::new();
    for member in &NAMES[..2] {
        deaths.extend([Step::Created, Step::Synced, Step::Renamed].map(|step| (*member, step, false)));
    }
    let before = [Step::Created, Step::Written, Step::Synced, Step::Marked];
    deaths.extend(before.map(|step| (NAMES[2], step, false)));
    deaths.extend([Step::Renamed, Step::NameSynced].map(|step| (NAMES[2], step, true)));
    deaths
}

#[test]
fn a_process_killed_at_any_step_leaves_a_set_that_the_next_one_completes() {
    for (file, step, published) in deaths() {
        let place = Place::new();
        die_at(&place, file, step);
        assert_eq!(place.file("a.json").exists(), published, "{file} {step:?}");
        let directory = place.open();
        let expected = if published { How::AlreadyThere } else { How::Written };
        assert_eq!(publish(&directory).unwrap(), expected, "{file} {step:?}");
        assert_whole(&place);
        directory.confirm([&name("a.json")]);
        assert_eq!(place.left(), ["a.json.set"], "{file} {step:?}");
    }
}

#[test]
fn a_set_that_was_taken_after_a_crash_does_not_come_back() {
    for (_, step, _) in deaths().into_iter().filter(|(_, _, published)| *published) {
        let place = Place::new();
        die_at(&place, "a.json", step);
        NAMES.iter().for_each(|name| fs::remove_file(place.file(name)).unwrap());
        let directory = place.open();
        assert_eq!(publish(&directory).unwrap(), How::AlreadyTaken, "{step:?}");
        assert!(place.visible().is_empty(), "no member comes back: {:?}", place.visible());
    }
}

#[test]
fn what_cannot_be_published_as_a_whole_is_not_published_at_all() {
    /// A message that cannot be read.
    struct Broken;
    impl MessageSource for Broken {
        fn open(&self) -> io::Result<Box<dyn Read + '_>> {
            Err(io::Error::other("the disk is broken"))
        }
    }
    let place = Place::new();
    let directory = place.open();
    let error = directory.publish_set(&set(), &Broken, 10).unwrap_err();
    assert!(matches!(error, DropError::Content { .. }), "{error}");
    assert!(error.to_string().contains("the disk is broken"), "{error}");
    assert!(place.visible().is_empty(), "{:?}", place.visible());
    assert!(place.left().is_empty(), "{:?}", place.left());
    assert_eq!(directory.usage(), crate::Usage::default());
    assert_eq!(publish(&directory).unwrap(), How::Written, "it can be tried again");
}

#[test]
fn a_stranger_with_the_name_of_a_member_is_left_alone() {
    let place = Place::new();
    fs::write(place.file("a.eml"), "somebody else's").unwrap();
    let directory = place.open();
    let error = publish(&directory).unwrap_err();
    assert!(matches!(&error, DropError::Collision { name, .. } if name == "a.eml"), "{error}");
    assert!(publish(&directory).is_err(), "nor does it look like ours the next time");
    assert_eq!(place.visible(), ["a.eml"]);
    assert_eq!(fs::read(place.file("a.eml")).unwrap(), b"somebody else's");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn a_set_is_withdrawn_put_back_and_discarded_as_one() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory).unwrap();
    let main = name("a.json");
    assert_eq!(directory.withdraw(&main).unwrap(), Withdrawn::Yes);
    assert!(place.visible().is_empty(), "{:?}", place.visible());
    assert!(directory.put_back(&main).unwrap());
    assert_whole(&place);
    assert_eq!(directory.withdraw(&main).unwrap(), Withdrawn::Yes);
    // Whoever publishes it again, also after a restart, wants it to be there.
    let directory = place.open();
    assert_eq!(publish(&directory).unwrap(), How::AlreadyThere);
    assert_whole(&place);
    assert_eq!(directory.withdraw(&main).unwrap(), Withdrawn::Yes);
    directory.discard(&main);
    assert!(place.visible().is_empty() && place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn a_gateway_that_has_begun_with_a_set_keeps_all_of_it() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory).unwrap();
    fs::rename(place.file("a.json"), place.file("a.json.work")).unwrap();
    let withdrawn = directory.withdraw(&name("a.json")).unwrap();
    assert!(matches!(withdrawn, Withdrawn::Claimed { .. }), "{withdrawn:?}");
    assert_eq!(place.visible(), ["a.1.txt", "a.eml", "a.json.work"]);
}

#[test]
fn the_list_of_a_set_stays_as_long_as_a_file_of_it() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory).unwrap();
    directory.confirm([&name("a.json")]);
    let sweep = || directory.sweep(Duration::ZERO, |_| false).unwrap();
    assert_eq!(sweep(), 0);
    fs::remove_file(place.file("a.json")).unwrap();
    assert_eq!(sweep(), 0, "the gateway is still at the members");
    fs::remove_file(place.file("a.eml")).unwrap();
    fs::remove_file(place.file("a.1.txt")).unwrap();
    assert_eq!(directory.sweep(Duration::ZERO, |_| true).unwrap(), 0, "the queue still knows it");
    assert_eq!(sweep(), 1);
    assert!(place.left().is_empty());
}
