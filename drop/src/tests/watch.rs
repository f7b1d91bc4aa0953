//! What the watcher reports about each thing that a gateway or an operator may do.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use notify::event::Flag;
use notify::{Event, EventKind};

use super::{Place, Seen, publish};
use crate::watch::Message;
use crate::{Claim, DropSettings, Known, PickupEvent, SeenBy, WatchMode, Withdrawn, reader};

fn known(name: &str) -> Known {
    Known { name: name.to_owned(), id: None }
}

#[test]
fn deleting_is_a_pickup() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    assert_eq!(directory.counters().taken_by_event, 1);
    assert!(seen.rest().is_empty());
}

#[test]
fn moving_out_is_a_pickup() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::rename(place.file("a.eml"), place.beside("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn renaming_in_place_is_a_claim_and_the_end_of_it_a_pickup() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    let claim = reader::take(place.drop(), "a.eml").unwrap().unwrap();
    assert_eq!(seen.line(), "claimed a.eml a.eml.work");
    fs::rename(claim.path(), place.file("a.eml.second")).unwrap();
    assert_eq!(seen.line(), "claimed a.eml a.eml.second");
    assert_eq!(directory.outstanding(), 1);
    fs::remove_file(place.file("a.eml.second")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn reading_is_no_pickup_and_emptying_is_misuse() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::read(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "opened a.eml");
    fs::read(place.file("a.eml")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "truncated a.eml");
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn replacing_a_file_under_its_name_is_a_pickup() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::write(place.beside("new"), b"y").unwrap();
    fs::rename(place.beside("new"), place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
}

#[test]
fn a_new_file_with_the_inode_number_of_a_taken_one_is_not_the_taken_one() {
    let place = Place::with(|s| s.watch = WatchMode::Poll);
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    // File systems give a freed number to the next file; some rounds make sure that it happens where it can.
    for round in 0..20 {
        let file = format!("{round}.eml");
        let published = publish(&directory, &file, b"x").unwrap();
        directory.confirm([&published.name]);
        fs::remove_file(place.file(&file)).unwrap();
        fs::write(place.file(&format!("{round}.result")), b"y").unwrap();
        seen.watcher.scan_soon();
        assert_eq!(seen.line(), format!("taken {file} Scan"));
    }
}

#[test]
fn a_fast_reader_does_not_slip_through() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    let drop = place.drop().to_owned();
    let reader = std::thread::spawn(move || {
        let mut taken = 0;
        while taken < 100 {
            for entry in reader::list(&drop, 100).unwrap() {
                // Every other file is claimed first.
                if taken % 2 == 0 {
                    reader::take(&drop, &entry.name).unwrap().unwrap().done().unwrap();
                } else {
                    fs::remove_file(drop.join(&entry.name)).unwrap();
                }
                taken += 1;
            }
        }
    });
    for number in 0..100 {
        publish(&directory, &format!("{number}.eml"), b"x").unwrap();
    }
    reader.join().unwrap();
    let mut taken: Vec<String> = Vec::new();
    while taken.len() < 100 {
        if let PickupEvent::Taken { name, .. } = seen.next() {
            taken.push(name);
        }
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 100);
    assert_eq!(directory.outstanding(), 0);
    assert!(!seen.rest().iter().any(|e| matches!(e, PickupEvent::Taken { .. })));
}

#[test]
fn what_went_while_nobody_watched_is_reported_at_the_start() {
    let place = Place::new();
    let first = place.open();
    let ids: Vec<_> = ["there.eml", "gone.eml", "claimed.eml", "renamed.eml"]
        .map(|file| (file, publish(&first, file, b"x").unwrap().id))
        .to_vec();
    drop(first);
    fs::remove_file(place.file("gone.eml")).unwrap();
    fs::rename(place.file("claimed.eml"), place.file("claimed.eml.work")).unwrap();
    fs::rename(place.file("renamed.eml"), place.file("something-else")).unwrap();
    let directory = place.open();
    let known = vec![
        known("there.eml"),
        known("gone.eml"),
        known("claimed.eml"),
        Known { name: "renamed.eml".to_owned(), id: Some(ids[3].1) },
    ];
    let seen = Seen::start(&directory, known);
    assert_eq!(seen.line(), "taken gone.eml Scan");
    assert_eq!(seen.line(), "claimed claimed.eml claimed.eml.work");
    assert_eq!(seen.line(), "claimed renamed.eml something-else");
    assert_eq!(directory.outstanding(), 3);
    fs::remove_file(place.file("there.eml")).unwrap();
    assert_eq!(seen.line(), "taken there.eml Event");
    fs::remove_file(place.file("something-else")).unwrap();
    assert_eq!(seen.line(), "taken renamed.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn lost_events_are_made_good_by_a_scan() {
    // Without events of its own, the watcher only hears what the test says.
    let place = Place::with(|s| {
        s.watch = WatchMode::Poll;
        s.scan_interval = Some(Duration::from_secs(3600));
    });
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::remove_file(place.file("a.eml")).unwrap();
    seen.watcher.tell(Message::Notify(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))));
    assert_eq!(seen.line(), "taken a.eml Scan");
    let counters = directory.counters();
    assert_eq!((counters.overflows, counters.taken_by_scan), (1, 1));
    publish(&directory, "b.eml", b"x").unwrap();
    fs::remove_file(place.file("b.eml")).unwrap();
    seen.watcher.tell(Message::Notify(Err(notify::Error::generic("broken"))));
    assert_eq!(seen.line(), "taken b.eml Scan");
}

#[test]
fn polling_finds_claims_and_pickups_without_events() {
    let place = Place::with(|s| {
        s.watch = WatchMode::Poll;
        s.scan_interval = Some(Duration::from_millis(10));
    });
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    let claim = reader::take(place.drop(), "a.eml").unwrap().unwrap();
    assert_eq!(seen.line(), "claimed a.eml a.eml.work");
    claim.done().unwrap();
    assert_eq!(seen.line(), "taken a.eml Scan");
    let counters = directory.counters();
    assert_eq!((counters.taken_by_event, counters.taken_by_scan), (0, 1));
}

#[test]
fn a_removed_directory_is_noticed_and_watched_again_when_it_is_back() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    fs::remove_dir_all(place.drop()).unwrap();
    assert_eq!(seen.line(), "gone removed or renamed");
    fs::create_dir(place.drop()).unwrap();
    assert_eq!(seen.line(), "back replaced=true");
    publish(&directory, "b.eml", b"x").unwrap();
    fs::remove_file(place.file("b.eml")).unwrap();
    assert_eq!(seen.line(), "taken b.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn a_renamed_directory_keeps_its_story_when_it_comes_back() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
    fs::rename(place.drop(), place.beside("away")).unwrap();
    assert_eq!(seen.line(), "gone removed or renamed");
    fs::remove_file(place.beside("away/a.eml")).unwrap();
    fs::rename(place.beside("away"), place.drop()).unwrap();
    let mut lines = [seen.line(), seen.line()];
    lines.sort();
    assert_eq!(lines[0], "back replaced=false");
    assert!(lines[1].starts_with("taken a.eml"), "{lines:?}");
    fs::remove_file(place.file("b.eml")).unwrap();
    assert_eq!(seen.line(), "taken b.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn files_of_a_replaced_directory_have_vanished_and_were_not_taken() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::rename(place.drop(), place.beside("away")).unwrap();
    assert_eq!(seen.line(), "gone removed or renamed");
    fs::create_dir(place.drop()).unwrap();
    assert_eq!(seen.line(), "vanished a.eml");
    assert_eq!(seen.line(), "back replaced=true");
    assert_eq!(directory.counters().taken_by_event + directory.counters().taken_by_scan, 0);
}

#[test]
fn files_that_came_along_to_the_new_directory_are_still_known() {
    let place = Place::new();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
    fs::rename(place.drop(), place.beside("away")).unwrap();
    assert_eq!(seen.line(), "gone removed or renamed");
    fs::create_dir(place.beside("new")).unwrap();
    fs::hard_link(place.beside("away/a.eml"), place.beside("new/a.eml")).unwrap();
    fs::rename(place.beside("new"), place.drop()).unwrap();
    assert_eq!(seen.line(), "vanished b.eml");
    assert_eq!(seen.line(), "back replaced=true");
    assert_eq!(directory.outstanding(), 1);
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    assert!(seen.rest().is_empty());
}

#[test]
fn a_relative_path_is_watched_too() {
    let place = Place::new();
    let mut relative = std::path::PathBuf::new();
    let here = std::env::current_dir().unwrap();
    here.components().skip(1).for_each(|_| relative.push(".."));
    relative.push(place.drop().strip_prefix("/").unwrap());
    let directory = crate::DropDirectory::open(DropSettings::new(relative)).unwrap();
    let seen = Seen::start(&directory, vec![]);
    publish(&directory, "a.eml", b"x").unwrap();
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
}

#[test]
fn a_second_watcher_takes_over_and_the_first_ends_without_harm() {
    let place = Place::new();
    let directory = place.open();
    let first = Seen::start(&directory, vec![]);
    let second = Seen::start(&directory, vec![]);
    first.rest();
    publish(&directory, "a.eml", b"x").unwrap();
    fs::remove_file(place.file("a.eml")).unwrap();
    match second.next() {
        PickupEvent::Taken { name, seen_by, .. } => {
            assert_eq!((name.as_str(), seen_by), ("a.eml", SeenBy::Event))
        }
        event => panic!("{event:?}"),
    }
}

#[test]
fn a_result_beside_the_place_of_a_file_is_no_claim() {
    let place = Place::new();
    let directory = place.open();
    for file in ["a.eml", "b.eml"] {
        publish(&directory, file, b"x").unwrap();
    }
    std::fs::remove_file(place.file("a.eml")).unwrap();
    std::fs::write(place.file("a.eml.ok"), "").unwrap();
    std::fs::rename(place.file("b.eml"), place.file("b.eml.work")).unwrap();
    std::fs::write(place.file("b.eml.result"), "").unwrap();
    // After a restart only the names tell.
    let directory = place.open();
    let known = ["a.eml", "b.eml"].map(|name| Known { name: name.to_owned(), id: None });
    let seen = Seen::start(&directory, known.into());
    assert_eq!([seen.line(), seen.line()], ["taken a.eml Scan", "claimed b.eml b.eml.work"]);
}

#[test]
fn a_file_in_a_claim_folder_is_claimed_until_it_leaves_it_also_over_a_restart() {
    let place = Place::with(|s| s.habits.claims.push(Claim::moved("checked")));
    fs::create_dir(place.file("checked")).unwrap();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    for file in ["a.eml", "b.eml", "c.eml"] {
        publish(&directory, file, b"x").unwrap();
        fs::rename(place.file(file), place.file("checked").join(file)).unwrap();
        assert_eq!(seen.line(), format!("claimed {file} checked/{file}"));
    }
    assert_eq!(directory.outstanding(), 3);
    assert_eq!(
        directory.withdraw(&super::name("a.eml")).unwrap(),
        Withdrawn::Claimed { new: "checked/a.eml".to_owned() }
    );
    fs::rename(place.file("checked/a.eml"), place.beside("done")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Scan");
    assert!(seen.rest().is_empty());
    fs::remove_file(place.file("checked/b.eml")).unwrap();
    let directory = place.open();
    let seen = Seen::start(&directory, vec![known("b.eml"), known("c.eml")]);
    let mut lines = [seen.line(), seen.line()];
    lines.sort();
    assert_eq!(lines, ["claimed c.eml checked/c.eml", "taken b.eml Scan"]);
    // A claim folder that is away says nothing of what lay in it.
    fs::rename(place.file("checked"), place.beside("checked")).unwrap();
    directory.rescan().unwrap();
    fs::rename(place.beside("checked"), place.file("checked")).unwrap();
    fs::remove_file(place.file("checked/c.eml")).unwrap();
    seen.watcher.scan_soon();
    assert_eq!(seen.line(), "taken c.eml Scan");
}
