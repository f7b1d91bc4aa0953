//! Gateways that do whatever gateways do, all at once and at random: take, claim, rename, move, read, crash. Of every file
//! the end is known, none is lost, none is there twice, also when the host dies in between.
//!
//! A few hundred files here; `POSTERN_DROP_FILES` asks for more (`cargo xtask campaign drop-reader`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use fastrand::Rng;

use super::{Place, publish};
use crate::{DropDirectory, How, Known, PickupEvent, Watcher, reader};

const FILES: usize = 300;
const GATEWAYS: u64 = 3;
const WRITERS: usize = 4;
/// How often the host is ended and begun anew.
const RESTARTS: usize = 4;

fn item(number: usize) -> String {
    format!("item-{number:05}.eml")
}

fn content(number: usize) -> Vec<u8> {
    format!("{number} ").repeat(20 + number % 50).into_bytes()
}

/// What gateways got: how often each file, and whether it was whole.
#[derive(Default)]
struct Got {
    times: Mutex<BTreeMap<String, usize>>,
    broken: Mutex<Vec<String>>,
    /// Files that a gateway had claimed when it crashed.
    left: Mutex<BTreeSet<String>>,
}

impl Got {
    fn took(&self, name: &str, bytes: &[u8]) {
        let number: usize = name.trim_start_matches("item-").trim_end_matches(".eml").parse().unwrap();
        if bytes != content(number) {
            self.broken.lock().unwrap().push(name.to_owned());
        }
        *self.times.lock().unwrap().entry(name.to_owned()).or_default() += 1;
    }

    fn count(&self) -> usize {
        self.times.lock().unwrap().len()
    }
}

/// One gateway. It works until told to stop; what it had claimed then stays claimed, as after a crash.
fn gateway(directory: &Path, elsewhere: &Path, got: &Got, stop: &AtomicBool, mut random: Rng) {
    let mut renamed: Vec<(String, PathBuf)> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        for entry in reader::list(directory, 50).unwrap() {
            if !entry.name.starts_with("item-") || !entry.name.ends_with(".eml") {
                continue;
            }
            let path = directory.join(&entry.name);
            match random.u8(0..6) {
                // Takes without claiming: of several only one succeeds in moving it out.
                0 => {
                    let there = elsewhere.join(&entry.name);
                    if fs::rename(&path, &there).is_ok() {
                        got.took(&entry.name, &fs::read(&there).unwrap());
                    }
                }
                // Claims by a name of its own and comes back to it later.
                1 => {
                    let new = directory.join(format!("zz-{}-{}", random.u32(..), entry.name));
                    if fs::rename(&path, &new).is_ok() {
                        renamed.push((entry.name, new));
                    }
                }
                // Looks, and leaves it for now.
                2 => drop(fs::read(&path)),
                // Claims, and crashes.
                3 => {
                    if reader::take(directory, &entry.name).unwrap().is_some() {
                        got.left.lock().unwrap().insert(entry.name);
                    }
                }
                // Claims, and gives it back.
                4 => {
                    if let Some(claim) = reader::take(directory, &entry.name).unwrap() {
                        claim.give_back().unwrap();
                    }
                }
                _ => {
                    if let Some(claim) = reader::take(directory, &entry.name).unwrap() {
                        got.took(&entry.name, &claim.read().unwrap());
                        claim.done().unwrap();
                    }
                }
            }
        }
        for (name, path) in renamed.drain(..) {
            got.took(&name, &fs::read(&path).unwrap());
            fs::remove_file(&path).unwrap();
        }
        thread::yield_now();
    }
}

/// What the host knows durably: what was handed over, and what was taken.
#[derive(Default)]
struct Record {
    published: BTreeSet<String>,
    taken: BTreeMap<String, usize>,
}

/// One run of the host: publishes what is not on record until `enough` are, then ends without a word.
fn run(place: &Place, record: &Arc<Mutex<Record>>, total: usize, enough: usize) {
    let directory: DropDirectory = place.open();
    let known: Vec<Known> = {
        let record = record.lock().unwrap();
        let open = record.published.iter().filter(|name| !record.taken.contains_key(*name));
        open.map(|name| Known { name: name.clone(), id: None }).collect()
    };
    let told = record.clone();
    let watcher = Watcher::start(&directory, known, move |event| {
        if let PickupEvent::Taken { name, .. } = event {
            *told.lock().unwrap().taken.entry(name).or_default() += 1;
        }
    });
    let watcher = watcher.unwrap();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= total || record.lock().unwrap().published.len() >= enough {
                        return;
                    }
                    let name = item(number);
                    if record.lock().unwrap().published.contains(&name) {
                        continue;
                    }
                    let published = publish(&directory, &name, &content(number)).unwrap();
                    assert_ne!(published.how, How::AlreadyThere, "nothing dies within a publication here");
                    record.lock().unwrap().published.insert(name);
                    directory.confirm([&published.name]);
                }
            });
        }
    });
    if enough < total {
        watcher.stop();
        return;
    }
    // The last run stays until everything is known to be taken.
    let start = Instant::now();
    while record.lock().unwrap().taken.len() < total {
        let missing = total - record.lock().unwrap().taken.len();
        assert!(start.elapsed() < super::PATIENCE * 3, "{missing} files without a known end");
        thread::sleep(std::time::Duration::from_millis(5));
    }
    watcher.stop();
}

#[test]
fn of_every_file_the_end_is_known_whatever_gateways_do_and_none_is_lost_or_there_twice() {
    let asked = std::env::var("POSTERN_DROP_FILES").ok();
    let total = asked.map_or(FILES, |text| text.parse().expect("POSTERN_DROP_FILES is a number"));
    let seed = fastrand::u64(..);
    println!("campaign: seed {seed}, {total} files, {GATEWAYS} gateways, {RESTARTS} restarts");
    let place = Place::new();
    let elsewhere = place.beside("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (got, stop) = (Got::default(), AtomicBool::new(false));
    let record: Arc<Mutex<Record>> = Arc::default();
    let started = Instant::now();
    thread::scope(|scope| {
        let gateways: Vec<_> = (0..GATEWAYS)
            .map(|n| {
                let (drop, elsewhere, got, stop) = (place.drop(), &elsewhere, &got, &stop);
                scope.spawn(move || gateway(drop, elsewhere, got, stop, Rng::with_seed(seed ^ n)))
            })
            .collect();
        // Finishes what others left claimed, as a gateway does when it starts again.
        let cleaner = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) || !got.left.lock().unwrap().is_empty() {
                let left = std::mem::take(&mut *got.left.lock().unwrap());
                for claim in
                    reader::claimed(place.drop()).unwrap().into_iter().filter(|c| left.contains(c.name()))
                {
                    got.took(claim.name(), &claim.read().unwrap());
                    claim.done().unwrap();
                }
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        for part in 1..=RESTARTS + 1 {
            run(&place, &record, total, total * part / (RESTARTS + 1));
        }
        stop.store(true, Ordering::SeqCst);
        gateways.into_iter().for_each(|gateway| gateway.join().unwrap());
        cleaner.join().unwrap();
    });
    let record = record.lock().unwrap();
    let doubled: Vec<_> =
        got.times.lock().unwrap().iter().filter(|(_, n)| **n != 1).map(|(k, n)| (k.clone(), *n)).collect();
    assert_eq!((got.count(), doubled), (total, Vec::new()), "seed {seed}");
    assert!(got.broken.lock().unwrap().is_empty(), "seed {seed}: half-written files were seen");
    let told_twice: Vec<_> = record.taken.iter().filter(|(_, n)| **n != 1).collect();
    assert!(told_twice.is_empty(), "seed {seed}: {told_twice:?}");
    assert_eq!(record.published.len(), total);
    assert!(place.visible().is_empty(), "seed {seed}: {:?}", place.visible());
    println!("campaign: {total} files in {} ms, every end known once", started.elapsed().as_millis());
}
