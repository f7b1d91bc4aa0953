//! Which directory is which: it stays itself wherever it goes, and nothing in its place is taken for it.

use std::fs;

use super::{Place, publish};
use crate::{DirectoryId, DropDirectory};

#[test]
fn a_directory_is_itself_after_a_restart_and_wherever_it_goes() {
    let place = Place::new();
    assert_eq!(DirectoryId::look(&place.settings).unwrap(), None, "looking makes nothing");
    assert!(!place.settings.temp_path().exists());
    let id = place.open().identity();
    assert_eq!(place.open().identity(), id);
    assert_eq!(DirectoryId::look(&place.settings).unwrap(), Some(id.clone()));
    fs::rename(place.drop(), place.beside("away")).unwrap();
    assert_eq!(DirectoryId::look(&place.settings).unwrap(), None);
    fs::rename(place.beside("away"), place.drop()).unwrap();
    assert_eq!(place.open().identity(), id);
}

#[test]
fn what_takes_its_place_is_another_directory() {
    let place = Place::new();
    let directory = place.open();
    let id = directory.identity();
    fs::remove_dir_all(place.drop()).unwrap();
    // File systems give the number of the removed directory to the next one.
    fs::create_dir(place.drop()).unwrap();
    assert_ne!(place.open().identity(), id);
    let published = publish(&directory, "a.eml", b"x").unwrap();
    assert_ne!(published.directory, id);
    assert_eq!(published.directory, directory.identity());
}

#[test]
fn a_restored_copy_is_the_same_directory_though_all_its_numbers_are_new() {
    let place = Place::new();
    let id = place.open().identity();
    let copy = place.beside("copy");
    fs::create_dir_all(copy.join(".tmp")).unwrap();
    fs::copy(place.temp_file(".identity"), copy.join(".tmp/.identity")).unwrap();
    fs::remove_dir_all(place.drop()).unwrap();
    fs::rename(copy, place.drop()).unwrap();
    assert_eq!(place.open().identity(), id);
}

#[test]
fn a_temp_folder_that_was_cleaned_away_under_an_open_directory_does_not_make_it_another() {
    let place = Place::new();
    let directory = place.open();
    let id = directory.identity();
    fs::remove_dir_all(place.settings.temp_path()).unwrap();
    publish(&directory, "a.eml", b"x").unwrap();
    assert_eq!(directory.identity(), id);
    drop(directory);
    assert_eq!(place.open().identity(), id);
}

#[test]
fn with_a_temp_folder_elsewhere_it_is_the_drop_directory_that_counts() {
    let place = Place::with(|settings| settings.temp = Some(settings.path.with_file_name("temp")));
    let open = || DropDirectory::open(place.settings.clone()).unwrap();
    let directory = open();
    let id = directory.identity();
    for number in 0..3 {
        publish(&directory, &format!("{number}.eml"), b"x").unwrap();
    }
    fs::remove_file(place.file("0.eml")).unwrap();
    assert_eq!(open().identity(), id, "files that come and go change nothing");
    fs::rename(place.drop(), place.beside("away")).unwrap();
    fs::create_dir(place.drop()).unwrap();
    assert_ne!(open().identity(), id);
    fs::remove_dir_all(place.drop()).unwrap();
    fs::rename(place.beside("away"), place.drop()).unwrap();
    assert_eq!(open().identity(), id);
    assert!(!place.drop().join(".tmp").exists());
}
