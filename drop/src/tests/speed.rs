//! How fast publishing is, against the bare system calls in one run: run by hand with `--ignored --nocapture`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Instant;

use rustix::io::Errno;

use super::{Place, name};
use crate::group_sync::GroupSync;

const FILES: usize = 600;
const SIZE: usize = 5000;

/// Calls `put` for every number from `threads` threads and returns files per second.
fn measure(threads: usize, put: impl Fn(usize) + Sync) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let put = &put;
            scope.spawn(move || (thread..FILES).step_by(threads).for_each(put));
        }
    });
    FILES as f64 / start.elapsed().as_secs_f64()
}

fn bare(home: &Path, threads: usize) -> f64 {
    let (temp, drop) = (home.join("bare-temp"), home.join("bare"));
    for folder in [&temp, &drop] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir(folder).unwrap();
    }
    let (folder, group) = (File::open(&drop).unwrap(), GroupSync::default());
    measure(threads, |number| {
        let part = temp.join(number.to_string());
        let mut file = File::create_new(&part).unwrap();
        file.write_all(&[7; SIZE]).unwrap();
        file.sync_all().unwrap();
        fs::rename(&part, drop.join(number.to_string())).unwrap();
        group.wait(|| folder.sync_all().map_err(|e| Errno::from_io_error(&e).unwrap())).unwrap();
    })
}

#[test]
#[ignore = "a measurement"]
fn publishing_against_bare_system_calls() {
    for threads in [1, 5, 16] {
        let mut ratios = Vec::new();
        for _ in 0..5 {
            let place = Place::new();
            let bare = bare(place.home.path(), threads);
            let directory = place.open();
            let ours = measure(threads, |number| {
                let file = name(&format!("{number}.eml"));
                directory.publish(&file, |out| out.write_all(&[7; SIZE]), SIZE as u64).unwrap();
                directory.confirm([&file]);
            });
            let syncs = directory.counters().directory_syncs;
            println!(
                "{threads} threads: bare {bare:.0}/s, published {ours:.0}/s, {syncs} directory syncs for {FILES} files"
            );
            ratios.push(ours / bare);
        }
        ratios.sort_by(f64::total_cmp);
        println!("{threads} threads: median ratio {:.2}", ratios[2]);
        assert!(ratios[2] > 0.5, "publishing must stay near the bare system calls: {ratios:?}");
    }
}
