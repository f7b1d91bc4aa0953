//! The quota holds, counts everybody's files, and frees itself.

use std::fs;
use std::time::Duration;

use super::{Place, Seen, publish};
use crate::{DropError, Fullness, Quota, Usage};

#[test]
fn a_full_quota_refuses_with_numbers_and_frees_itself_when_files_go() {
    let place = Place::with(|s| s.quota = Quota { bytes: Some(100), files: Some(3), ..Quota::default() });
    fs::write(place.file("theirs"), [0; 30]).unwrap();
    let directory = place.open();
    publish(&directory, "a.eml", &[0; 60]).unwrap();
    assert_eq!(directory.usage(), Usage { bytes: 90, files: 2 });
    let error = publish(&directory, "b.eml", &[0; 11]).unwrap_err();
    match error {
        DropError::Quota { used, wanted, .. } => {
            assert_eq!((used, wanted), (Usage { bytes: 90, files: 2 }, 11));
        }
        error => panic!("{error}"),
    }
    assert_eq!(place.visible(), ["a.eml", "theirs"]);
    fs::remove_file(place.file("theirs")).unwrap();
    directory.rescan().unwrap();
    publish(&directory, "b.eml", &[0; 40]).unwrap();
    assert_eq!(directory.usage(), Usage { bytes: 100, files: 2 });
}

#[test]
fn a_full_quota_is_checked_against_the_directory_before_it_refuses() {
    let place = Place::with(|s| s.quota.files = Some(1));
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    fs::remove_file(place.file("a.eml")).unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
}

#[test]
fn a_watched_pickup_frees_the_quota() {
    let place = Place::with(|s| (s.quota.bytes, s.quota.warn_percent) = (Some(10), 90));
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    for round in 0..5 {
        let file = format!("{round}.eml");
        publish(&directory, &file, &[0; 8]).unwrap();
        assert!(matches!(publish(&directory, "more.eml", &[0; 8]), Err(DropError::Quota { .. })));
        assert_eq!(seen.line(), "quota Full");
        fs::rename(place.file(&file), place.file("work")).unwrap();
        assert_eq!(seen.line(), format!("claimed {file} work"));
        assert_eq!(directory.usage(), Usage { bytes: 8, files: 1 });
        fs::remove_file(place.file("work")).unwrap();
        assert!(seen.line().starts_with(&format!("taken {file}")));
        assert_eq!(seen.line(), "quota Calm");
        assert_eq!(directory.usage(), Usage::default());
    }
}

#[test]
fn a_rescan_corrects_sizes_that_changed_in_place() {
    let place = Place::new();
    fs::write(place.file("theirs"), [0; 30]).unwrap();
    let directory = place.open();
    fs::write(place.file("theirs"), [0; 70]).unwrap();
    directory.rescan().unwrap();
    assert_eq!(directory.usage(), Usage { bytes: 70, files: 1 });
}

#[test]
fn a_full_directory_takes_files_again_at_the_low_mark_and_each_crossing_is_told_once() {
    let place = Place::with(|s| {
        s.quota = Quota { files: Some(4), warn_percent: 75, low_percent: 50, ..Quota::default() };
    });
    let directory = place.open();
    let seen = Seen::start(&directory, vec![]);
    for file in ["a.eml", "b.eml", "c.eml", "d.eml"] {
        publish(&directory, file, b"x").unwrap();
    }
    assert_eq!(seen.line(), "quota Warning");
    assert!(matches!(publish(&directory, "e.eml", b"x"), Err(DropError::Quota { .. })));
    assert_eq!((seen.line(), directory.fullness()), ("quota Full".to_owned(), Fullness::Full));
    fs::remove_file(place.file("a.eml")).unwrap();
    assert_eq!(seen.line(), "taken a.eml Event");
    let refused = publish(&directory, "e.eml", b"x").unwrap_err();
    assert!(
        matches!(refused, DropError::Quota { .. }),
        "there is room for one, but not yet again: {refused}"
    );
    fs::remove_file(place.file("b.eml")).unwrap();
    let told = [seen.line(), seen.line()];
    assert_eq!(told, ["taken b.eml Event", "quota Calm"]);
    publish(&directory, "e.eml", b"x").unwrap();
    assert_eq!(seen.line(), "quota Warning");
}

#[test]
fn a_file_that_lies_for_too_long_stops_publishing_until_it_is_taken() {
    let place = Place::with(|s| s.quota.oldest = Some(Duration::from_millis(1)));
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    // Ages count in whole seconds.
    std::thread::sleep(Duration::from_millis(1100));
    directory.rescan().unwrap();
    let refused = publish(&directory, "b.eml", b"x").unwrap_err();
    assert!(refused.to_string().contains("none older than"), "{refused}");
    fs::remove_file(place.file("a.eml")).unwrap();
    directory.rescan().unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
}
