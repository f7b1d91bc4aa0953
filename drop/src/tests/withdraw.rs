//! Withdrawing: of host and gateway exactly one has a file, also when the host is killed at any step.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, OnceLock};

use rustix::process::{Signal, getpid, kill_process};

use super::{Place, Seen, name, publish};
use crate::step::Step;
use crate::{
    DropDirectory, DropError, DropSettings, How, Known, LeftoverState, WatchMode, Withdrawn, reader,
};

const SIGKILL: i32 = 9;

#[test]
fn a_withdrawn_file_is_out_of_reach_until_it_is_discarded_and_can_be_published_anew_then() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    assert_eq!(directory.withdraw(&name("a.eml")).unwrap(), Withdrawn::Yes);
    assert!(place.visible().is_empty());
    assert_eq!(directory.usage().files, 0, "it takes nothing from the quota");
    assert_eq!(directory.withdraw(&name("a.eml")).unwrap(), Withdrawn::Yes, "it may be repeated");
    assert_eq!(directory.withdrawn().unwrap(), [name("a.eml")]);
    directory.discard(&name("a.eml"));
    assert_eq!(place.left(), [""; 0]);
    assert_eq!(directory.withdraw(&name("a.eml")).unwrap(), Withdrawn::Absent);
    assert!(!directory.put_back(&name("a.eml")).unwrap());
    assert_eq!(publish(&directory, "a.eml", b"y").unwrap().how, How::Written);
}

#[test]
fn a_file_that_is_put_back_is_watched_and_taken_as_before() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    for file in ["a.eml", "b.eml"] {
        let published = publish(&directory, file, b"x").unwrap();
        directory.confirm([&published.name]);
        assert_eq!(directory.withdraw(&name(file)).unwrap(), Withdrawn::Yes);
    }
    assert!(directory.put_back(&name("a.eml")).unwrap());
    assert_eq!((place.visible(), directory.outstanding()), (vec!["a.eml".to_owned()], 1));
    reader::take(place.drop(), "a.eml").unwrap().unwrap().done().unwrap();
    // Neither the withdrawals nor the way back were told: they are no news about the gateway.
    let told: Vec<String> = [seen.line(), seen.line()].into();
    assert_eq!(told, ["claimed a.eml a.eml.work", "taken a.eml Event"]);
    assert!(seen.rest().is_empty());
    assert_eq!(place.left(), ["b.eml.withdrawn"]);
}

#[test]
fn no_look_at_the_directory_takes_a_withdrawal_for_a_pickup() {
    let place = Place::with(|s| s.watch = WatchMode::Poll);
    let opened: Arc<OnceLock<DropDirectory>> = Arc::default();
    let in_between = opened.clone();
    // At the worst moment: the file is gone, and the directory is looked at for another reason.
    let observer = move |step: Step, _: &str| {
        if step == Step::Hidden {
            in_between.get().unwrap().rescan().unwrap();
        }
    };
    let directory = DropDirectory::open_observed(place.settings.clone(), Some(Arc::new(observer))).unwrap();
    opened.set(directory.clone()).unwrap();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    assert_eq!(directory.withdraw(&name("a.eml")).unwrap(), Withdrawn::Yes);
    directory.rescan().unwrap();
    assert_eq!((directory.counters().taken_by_scan, directory.counters().taken_by_event), (0, 0));
    assert!(seen.rest().is_empty());
}

#[test]
fn what_the_gateway_took_or_claimed_is_not_withdrawn_and_is_told_once() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    for file in ["taken.eml", "claimed.eml"] {
        let published = publish(&directory, file, b"x").unwrap();
        directory.confirm([&published.name]);
    }
    fs::remove_file(place.file("taken.eml")).unwrap();
    let taken = directory.withdraw(&name("taken.eml")).unwrap();
    // The watcher may have been faster; then nothing is known of the file any more.
    assert!(matches!(taken, Withdrawn::Taken | Withdrawn::Absent), "{taken:?}");
    assert!(seen.line().starts_with("taken taken.eml"));
    fs::rename(place.file("claimed.eml"), place.file("other")).unwrap();
    let claimed = directory.withdraw(&name("claimed.eml")).unwrap();
    assert_eq!(claimed, Withdrawn::Claimed { new: "other".to_owned() });
    assert_eq!(seen.line(), "claimed claimed.eml other");
    assert_eq!(directory.withdraw(&name("claimed.eml")).unwrap(), claimed, "as long as it lasts");
    assert_eq!(place.visible(), ["other"]);
    fs::remove_file(place.file("other")).unwrap();
    assert_eq!(seen.line(), "taken claimed.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn without_a_watcher_the_marker_and_the_names_tell() {
    let place = Place::new();
    let first = place.open();
    for file in ["lies.eml", "taken.eml", "claimed.eml"] {
        publish(&first, file, b"x").unwrap();
    }
    fs::remove_file(place.file("taken.eml")).unwrap();
    let directory = place.open();
    // After the look that opening takes.
    fs::rename(place.file("claimed.eml"), place.file("claimed.eml.work")).unwrap();
    let withdraw = |file: &str| directory.withdraw(&name(file)).unwrap();
    assert_eq!(withdraw("lies.eml"), Withdrawn::Yes);
    assert_eq!(withdraw("taken.eml"), Withdrawn::Taken);
    assert_eq!(withdraw("claimed.eml"), Withdrawn::Claimed { new: "claimed.eml.work".to_owned() });
    assert_eq!(withdraw("never.eml"), Withdrawn::Absent);
}

#[test]
fn a_file_of_the_gateways_own_under_our_name_is_left_alone() {
    let place = Place::new();
    publish(&place.open(), "a.eml", b"ours").unwrap();
    fs::write(place.beside("new"), b"theirs").unwrap();
    fs::rename(place.beside("new"), place.file("a.eml")).unwrap();
    assert_eq!(place.open().withdraw(&name("a.eml")).unwrap(), Withdrawn::Taken);
    assert_eq!(fs::read(place.file("a.eml")).unwrap(), b"theirs");
    // Nor is it replaced by ours.
    fs::remove_file(place.file("a.eml")).unwrap();
    let directory = place.open();
    publish(&directory, "b.eml", b"ours").unwrap();
    assert_eq!(directory.withdraw(&name("b.eml")).unwrap(), Withdrawn::Yes);
    fs::write(place.file("b.eml"), b"theirs").unwrap();
    let error = directory.put_back(&name("b.eml")).unwrap_err();
    assert!(matches!(error, DropError::Collision { .. }), "{error}");
    assert_eq!(fs::read(place.file("b.eml")).unwrap(), b"theirs");
}

#[test]
fn a_withdrawn_file_of_an_earlier_run_is_known_as_withdrawn_and_publishing_it_puts_it_back() {
    for confirmed in [false, true] {
        let place = Place::new();
        let first = place.open();
        let published = publish(&first, "a.eml", b"x").unwrap();
        if confirmed {
            first.confirm([&published.name]);
        }
        assert_eq!(first.withdraw(&name("a.eml")).unwrap(), Withdrawn::Yes);
        drop(first);
        let directory = place.open();
        assert_eq!(directory.leftovers().unwrap()[0].state, LeftoverState::Withdrawn);
        assert_eq!(directory.withdraw(&name("a.eml")).unwrap(), Withdrawn::Yes);
        // Its content is asked for only to compare it, where no marker says that it was published.
        assert_eq!(publish(&directory, "a.eml", b"x").unwrap().how, How::AlreadyThere);
        assert_eq!(place.visible(), ["a.eml"]);
        directory.confirm([&name("a.eml")]);
        assert_eq!(place.left(), [""; 0]);
    }
}

#[test]
fn a_sweep_keeps_what_is_not_decided_and_removes_the_rest() {
    let place = Place::new();
    let directory = place.open();
    for file in ["kept.eml", "decided.eml"] {
        publish(&directory, file, b"x").unwrap();
        assert_eq!(directory.withdraw(&name(file)).unwrap(), Withdrawn::Yes);
    }
    let keep = |wanted: &crate::FileName| wanted.as_str() == "kept.eml";
    assert_eq!(directory.sweep(std::time::Duration::ZERO, keep).unwrap(), 2);
    assert_eq!(place.left(), ["kept.eml.ready", "kept.eml.withdrawn"]);
}

#[test]
fn files_that_came_along_are_found_by_their_names() {
    let place = Place::new();
    for file in ["a.eml", "b.eml.work", "stranger"] {
        fs::write(place.file(file), b"x").unwrap();
    }
    assert_eq!(place.open().lying(["a.eml", "b.eml", "c.eml"]), ["a.eml", "b.eml"]);
}

// ---- kill -9 ----

/// Where the host in short dies: at a step, or at a point of its own.
const POINTS: [&str; 6] = ["Hidden", "HiddenSynced", "PutBack", "recorded", "half-discarded", "discarded"];
const FILES: usize = 3;

fn file(number: usize) -> String {
    format!("{number}.eml")
}

/// What a child process is told, in environment variables.
fn child(place: &Place, die_at: &str, die_with: &str) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["tests::withdraw::child_process", "--exact", "--ignored", "--quiet"]);
    child.env("DROP_TEST_PATH", place.drop()).env("DROP_TEST_RECORD", place.beside("record"));
    child.env("DROP_TEST_DIE", format!("{die_at} {die_with}"));
    child.stdout(std::process::Stdio::null()).status().unwrap()
}

/// The host in short: what was withdrawn and not recorded is put back, then each file that is not decided is withdrawn,
/// recorded and discarded.
#[test]
#[ignore = "a helper process of the other tests here"]
fn child_process() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let (path, record_path, die) = (
        PathBuf::from(variable("DROP_TEST_PATH")),
        PathBuf::from(variable("DROP_TEST_RECORD")),
        variable("DROP_TEST_DIE"),
    );
    let reach = move |point: &str, file: &str| {
        if die == format!("{point} {file}") {
            kill_process(getpid(), Signal::KILL).unwrap();
            loop {
                std::thread::park();
            }
        }
    };
    let at_step = reach.clone();
    let observer = move |step: Step, file: &str| at_step(&format!("{step:?}"), file);
    let directory = DropDirectory::open_observed(DropSettings::new(&path), Some(Arc::new(observer))).unwrap();
    let decided = recorded(&record_path);
    for withdrawn in directory.withdrawn().unwrap() {
        if decided.contains(withdrawn.as_str()) {
            directory.discard(&withdrawn);
        } else {
            directory.put_back(&withdrawn).unwrap();
        }
    }
    let mut record = OpenOptions::new().create(true).append(true).open(&record_path).unwrap();
    for file in (0..FILES).map(file).filter(|file| !decided.contains(file)) {
        if directory.withdraw(&name(&file)).unwrap() == Withdrawn::Yes {
            record.write_all(format!("{file}\n").as_bytes()).unwrap();
            reach("recorded", &file);
            if reach_half(&path, &file, &reach) {
                continue;
            }
            directory.discard(&name(&file));
            reach("discarded", &file);
        }
    }
}

/// Dies after the first half of discarding, if that is asked for.
fn reach_half(path: &Path, file: &str, reach: &impl Fn(&str, &str)) -> bool {
    let asked = std::env::var("DROP_TEST_DIE").is_ok_and(|die| die == format!("half-discarded {file}"));
    if asked {
        let _ = fs::remove_file(path.join(format!(".tmp/{file}.ready")));
        reach("half-discarded", file);
    }
    asked
}

fn recorded(record: &Path) -> BTreeSet<String> {
    fs::read_to_string(record).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_process_killed_at_any_step_of_withdrawing_leaves_each_file_to_exactly_one() {
    for die_at in POINTS {
        for die_with in [0, FILES - 1] {
            for confirmed in [false, true] {
                // Without the gateway everything is withdrawn in the end; with it, what it finds in between is its own.
                for gateway in [false, true] {
                    let what = format!("{die_at} of {die_with}, confirmed {confirmed}, gateway {gateway}");
                    one_life(die_at, &file(die_with), confirmed, gateway, &what);
                }
            }
        }
    }
}

fn one_life(die_at: &str, die_with: &str, confirmed: bool, gateway: bool, what: &str) {
    let place = Place::new();
    let directory = place.open();
    for number in 0..FILES {
        let published = publish(&directory, &file(number), b"x").unwrap();
        if confirmed {
            directory.confirm([&published.name]);
        }
    }
    drop(directory);
    if die_at == "PutBack" {
        // There must be something to put back.
        assert_eq!(child(&place, "HiddenSynced", die_with).signal(), Some(SIGKILL), "{what}");
    }
    assert_eq!(child(&place, die_at, die_with).signal(), Some(SIGKILL), "{what}");
    let mut got = Vec::new();
    if gateway {
        for entry in reader::list(place.drop(), 10).unwrap() {
            reader::take(place.drop(), &entry.name).unwrap().unwrap().done().unwrap();
            got.push(entry.name);
        }
    }
    assert!(child(&place, "", "").success(), "{what}");
    let withdrawn = recorded(&place.beside("record"));
    assert!(place.visible().is_empty(), "{what}");
    let all: BTreeSet<String> = (0..FILES).map(file).collect();
    let either: BTreeSet<String> = withdrawn.iter().cloned().chain(got.iter().cloned()).collect();
    assert_eq!(either, all, "{what}: nothing is lost");
    assert_eq!(withdrawn.len() + got.len(), FILES, "{what}: nothing has two owners");
    let lines = fs::read_to_string(place.beside("record")).unwrap();
    assert_eq!(lines.lines().count(), withdrawn.len(), "{what}: nothing is decided twice");
    let left: Vec<String> = place.left().into_iter().filter(|left| left.ends_with(".withdrawn")).collect();
    assert_eq!(left, [""; 0], "{what}");
}

#[test]
fn a_restart_watches_on_what_it_put_back_and_counts_nothing_as_taken() {
    let place = Place::new();
    let first = place.open();
    let published = publish(&first, "a.eml", b"x").unwrap();
    first.confirm([&published.name]);
    assert_eq!(first.withdraw(&name("a.eml")).unwrap(), Withdrawn::Yes);
    drop(first);
    let directory = place.open();
    for file in directory.withdrawn().unwrap() {
        assert!(directory.put_back(&file).unwrap());
    }
    let known = Known { name: "a.eml".to_owned(), id: None };
    let seen = Seen::start(&directory, vec![known]);
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    assert!(seen.rest().is_empty());
}
