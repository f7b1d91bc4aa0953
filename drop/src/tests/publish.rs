//! What a gateway sees of publishing, and what comes back after each way of being interrupted.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::{Place, name, publish, publish_again};
use crate::step::Step;
use crate::{DropDirectory, DropError, DropSettings, GoneReason, How, LeftoverState, reader};

#[test]
fn a_published_file_has_its_content_and_mode_and_leaves_only_a_marker() {
    let place = Place::with(|s| s.file_mode = 0o604);
    let directory = place.open();
    let published = publish(&directory, "a.eml", b"hello").unwrap();
    assert_eq!((published.size, published.how), (5, How::Written));
    assert_eq!(fs::read(place.file("a.eml")).unwrap(), b"hello");
    let metadata = fs::metadata(place.file("a.eml")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.ino()), (0o604, published.inode));
    assert!(!place.temp_file("a.eml.part").exists());
    assert!(place.temp_file("a.eml.ready").exists());
    directory.confirm([&name("a.eml")]);
    assert!(!place.temp_file("a.eml.ready").exists());
    assert_eq!(fs::metadata(place.file("a.eml")).unwrap().nlink(), 1);
}

#[test]
fn a_lister_only_ever_sees_whole_files() {
    const SIZE: usize = 150_000;
    let place = Place::new();
    let directory = place.open();
    let done = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut taken = 0;
            loop {
                let last_round = done.load(Ordering::Acquire);
                for entry in reader::list(place.drop(), 1000).unwrap() {
                    assert_eq!(fs::read(place.file(&entry.name)).unwrap().len(), SIZE, "{}", entry.name);
                    fs::remove_file(place.file(&entry.name)).unwrap();
                    taken += 1;
                }
                if last_round {
                    return taken;
                }
            }
        });
        for number in 0..40 {
            let write = |out: &mut dyn io::Write| (0..SIZE / 50).try_for_each(|_| out.write_all(&[b'x'; 50]));
            directory.publish(&name(&format!("{number}.eml")), write, SIZE as u64).unwrap();
        }
        done.store(true, Ordering::Release);
        lister.join().unwrap()
    });
    assert_eq!(taken, 40);
}

#[test]
fn a_different_file_of_that_name_is_a_collision_and_stays() {
    let place = Place::new();
    let directory = place.open();
    fs::write(place.file("a.eml"), b"theirs").unwrap();
    let error = publish(&directory, "a.eml", b"mine!!").unwrap_err();
    assert!(matches!(error, DropError::Collision { .. }), "{error}");
    assert_eq!(fs::read(place.file("a.eml")).unwrap(), b"theirs");
    assert_eq!(place.left(), [""; 0]);
    // A link to the same content is not a file of ours either.
    fs::write(place.beside("target"), b"mine!!").unwrap();
    symlink(place.beside("target"), place.file("b.eml")).unwrap();
    assert!(matches!(publish(&directory, "b.eml", b"mine!!"), Err(DropError::Collision { .. })));
}

#[test]
fn the_same_content_under_that_name_is_success() {
    let place = Place::new();
    fs::write(place.file("a.eml"), b"same").unwrap();
    let directory = place.open();
    let published = publish(&directory, "a.eml", b"same").unwrap();
    assert_eq!(published.how, How::AlreadyThere);
    assert_eq!(published.inode, fs::metadata(place.file("a.eml")).unwrap().ino());
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(publish_again(&place.open(), "a.eml").how, How::AlreadyTaken);
}

#[test]
fn every_state_that_a_crash_leaves_leads_to_exactly_one_file() {
    struct Left {
        part: Option<&'static [u8]>,
        marker: bool,
        visible: bool,
        state: LeftoverState,
    }
    let left = |part, marker, visible, state| Left { part, marker, visible, state };
    let table = [
        left(Some(b"hal"), false, false, LeftoverState::Unpublished),
        left(Some(b"whole"), true, false, LeftoverState::Unpublished),
        left(None, true, true, LeftoverState::Published),
        left(None, true, false, LeftoverState::Taken),
    ];
    for (row, left) in table.iter().enumerate() {
        let place = Place::new();
        drop(place.open());
        let (part, ready) = (place.temp_file("a.eml.part"), place.temp_file("a.eml.ready"));
        fs::write(&part, left.part.unwrap_or(b"whole")).unwrap();
        if left.marker {
            fs::hard_link(&part, &ready).unwrap();
        }
        match (left.part, left.visible) {
            (Some(_), _) => {}
            (None, true) => fs::rename(&part, place.file("a.eml")).unwrap(),
            (None, false) => fs::remove_file(&part).unwrap(),
        }
        let directory = place.open();
        let leftovers = directory.leftovers().unwrap();
        assert_eq!(leftovers.iter().map(|l| l.state).collect::<Vec<_>>(), [left.state], "row {row}");
        let visible = left.state != LeftoverState::Taken;
        let how = if left.state == LeftoverState::Unpublished {
            publish(&directory, "a.eml", b"whole").unwrap().how
        } else {
            publish_again(&directory, "a.eml").how
        };
        let expected = [How::Written, How::Written, How::AlreadyThere, How::AlreadyTaken];
        assert_eq!(how, expected[row], "row {row}");
        assert_eq!(place.visible(), if visible { vec!["a.eml"] } else { vec![] }, "row {row}");
        if visible {
            assert_eq!(fs::read(place.file("a.eml")).unwrap(), b"whole", "row {row}");
        }
        directory.confirm([&name("a.eml")]);
        assert_eq!(place.left(), [""; 0], "row {row}");
    }
}

#[test]
fn publishing_again_before_the_commit_changes_nothing_even_in_the_same_process() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    assert_eq!(publish_again(&directory, "a.eml").how, How::AlreadyThere);
    fs::remove_file(place.file("a.eml")).unwrap();
    let again = publish_again(&directory, "a.eml");
    assert_eq!((again.how, again.size), (How::AlreadyTaken, 1));
    assert!(place.visible().is_empty());
    assert_eq!(directory.usage().files, 0);
}

#[test]
fn a_claimed_file_is_not_written_again_after_a_crash() {
    let place = Place::new();
    publish(&place.open(), "a.eml", b"x").unwrap();
    let claim = reader::take(place.drop(), "a.eml").unwrap().unwrap();
    assert!(publish_again(&place.open(), "a.eml").taken());
    assert_eq!(place.visible(), ["a.eml.work"]);
    claim.done().unwrap();
}

#[test]
fn a_file_that_the_gateway_wrote_under_our_name_means_that_ours_was_taken() {
    let place = Place::new();
    publish(&place.open(), "a.eml", b"ours").unwrap();
    fs::write(place.beside("new"), b"theirs").unwrap();
    fs::rename(place.beside("new"), place.file("a.eml")).unwrap();
    assert!(publish_again(&place.open(), "a.eml").taken());
}

#[test]
fn a_content_that_fails_leaves_nothing_and_is_not_blamed_on_the_disk() {
    let place = Place::new();
    let directory = place.open();
    let write = |out: &mut dyn io::Write| {
        out.write_all(&[0; 100_000])?;
        Err(io::Error::other("the body is not there"))
    };
    let error = directory.publish(&name("a.eml"), write, 10).unwrap_err();
    assert!(matches!(error, DropError::Content { .. }), "{error}");
    assert!(place.visible().is_empty());
    assert_eq!(place.left(), [""; 0]);
    assert_eq!(directory.usage().bytes, 0);
}

#[test]
fn concurrent_publishers_share_directory_syncs() {
    const PUBLISHERS: usize = 16;
    let place = Place::new();
    let renamed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&renamed);
    let observer = move |step: Step, _: &str| match step {
        Step::Renamed => {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        // The first sync is held until all have renamed, as a slow disk would.
        Step::SyncStarts => {
            while seen.load(Ordering::SeqCst) < PUBLISHERS {
                thread::yield_now();
            }
        }
        _ => {}
    };
    let directory = DropDirectory::open_observed(place.settings.clone(), Some(Arc::new(observer))).unwrap();
    let start = Barrier::new(PUBLISHERS);
    thread::scope(|scope| {
        for number in 0..PUBLISHERS {
            let (directory, start) = (&directory, &start);
            scope.spawn(move || {
                start.wait();
                publish(directory, &format!("{number}.eml"), b"x").unwrap();
            });
        }
    });
    let counters = directory.counters();
    assert_eq!(counters.published, PUBLISHERS as u64);
    assert!(counters.directory_syncs < counters.published, "{counters:?}");
}

#[test]
fn two_publications_of_one_name_at_once_do_not_mix() {
    let place = Place::new();
    let directory = place.open();
    let inner = directory.clone();
    let write = |out: &mut dyn io::Write| {
        let error = publish(&inner, "a.eml", b"second").unwrap_err();
        assert!(matches!(error, DropError::Collision { .. }), "{error}");
        out.write_all(b"first")
    };
    directory.publish(&name("a.eml"), write, 5).unwrap();
    assert_eq!(fs::read(place.file("a.eml")).unwrap(), b"first");
}

#[test]
fn each_unfit_path_is_told_apart() {
    let place = Place::new();
    let open = |settings: DropSettings| DropDirectory::open(settings).unwrap_err();
    let at = |path| DropSettings::new(place.beside(path));
    assert!(matches!(open(at("nothing")), DropError::Missing { .. }));
    assert!(!place.beside("nothing").exists());
    fs::write(place.beside("file"), b"").unwrap();
    assert!(matches!(open(at("file")), DropError::NotDirectory { .. }));
    let elsewhere = DropSettings { temp: Some("/proc/sys".into()), ..place.settings.clone() };
    assert!(matches!(open(elsewhere), DropError::OtherFileSystem { .. }));
    // Nobody, not even root, makes folders there.
    assert!(matches!(open(DropSettings::new("/sys/kernel")), DropError::NotWritable { .. }));
    // A link in place of the temp folder could lead anywhere; a link to the drop directory is the operator's choice.
    fs::create_dir(place.beside("other")).unwrap();
    symlink(place.beside("other"), place.beside("other/.tmp")).unwrap();
    assert!(matches!(open(at("other")), DropError::NotDirectory { .. }));
    symlink(place.drop(), place.beside("link")).unwrap();
    let linked = DropDirectory::open(at("link")).unwrap();
    publish(&linked, "a.eml", b"x").unwrap();
    assert_eq!(place.visible(), ["a.eml"]);
    let created = DropSettings { create: true, ..at("new/deep") };
    DropDirectory::open(created).unwrap();
    assert!(place.beside("new/deep/.tmp").is_dir());
}

#[test]
fn a_directory_that_went_away_stops_publishing_until_it_is_back() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    fs::rename(place.drop(), place.beside("away")).unwrap();
    let error = publish(&directory, "b.eml", b"x").unwrap_err();
    assert!(matches!(error, DropError::Gone { reason: GoneReason::Missing, .. }), "{error}");
    assert!(directory.is_gone());
    fs::write(place.drop(), b"a file in its place").unwrap();
    let error = publish(&directory, "b.eml", b"x").unwrap_err();
    assert!(matches!(error, DropError::Gone { reason: GoneReason::Replaced, .. }), "{error}");
    assert_eq!(super::names(&place.beside("away")), ["a.eml"]);
    fs::remove_file(place.drop()).unwrap();
    fs::rename(place.beside("away"), place.drop()).unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
    assert_eq!(place.visible(), ["a.eml", "b.eml"]);
    assert!(!directory.is_gone());
}

#[test]
fn files_go_to_the_directory_that_stands_at_the_path_not_to_the_one_that_was_moved_away() {
    let place = Place::new();
    let directory = place.open();
    fs::rename(place.drop(), place.beside("away")).unwrap();
    fs::create_dir(place.drop()).unwrap();
    publish(&directory, "a.eml", b"x").unwrap();
    assert_eq!(place.visible(), ["a.eml"]);
    assert!(super::names(&place.beside("away")).is_empty());
    // A temp folder that somebody cleaned away is made again.
    fs::remove_dir_all(place.settings.temp_path()).unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
}

#[test]
fn a_sweep_removes_old_leftovers_that_nobody_wants() {
    let place = Place::new();
    let directory = place.open();
    for file in ["a.eml", "b.eml"] {
        publish(&directory, file, b"x").unwrap();
    }
    fs::write(place.temp_file("c.eml.part"), b"half").unwrap();
    fs::write(place.temp_file("unknown"), b"not ours").unwrap();
    let keep = |wanted: &crate::FileName| wanted.as_str() == "a.eml";
    assert_eq!(directory.sweep(super::PATIENCE * 100, keep).unwrap(), 0);
    assert_eq!(directory.sweep(std::time::Duration::ZERO, keep).unwrap(), 2);
    let left: Vec<String> = super::names(&place.settings.temp_path());
    assert_eq!(left, ["a.eml.ready", "unknown"]);
}

#[test]
fn of_two_readers_one_gets_the_file() {
    let place = Place::new();
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    publish(&directory, "b.eml", b"y").unwrap();
    fs::write(place.file(".hidden"), b"").unwrap();
    let listed = reader::list(place.drop(), 10).unwrap();
    assert_eq!(listed.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a.eml", "b.eml"]);
    let claim = reader::take(place.drop(), "a.eml").unwrap().unwrap();
    assert!(reader::take(place.drop(), "a.eml").unwrap().is_none());
    assert_eq!(claim.read().unwrap(), b"x");
    assert_eq!(reader::claimed(place.drop()).unwrap()[0].name(), "a.eml");
    claim.give_back().unwrap();
    assert_eq!(place.visible(), ["a.eml", "b.eml"]);
}
