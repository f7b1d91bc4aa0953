//! Processes that are killed at each step of publishing, with a gateway that takes files meanwhile: no file is lost
//! and none is there twice.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, getpid, kill_process};

use super::{PATIENCE, Place, name};
use crate::step::Step;
use crate::{DropDirectory, DropError, DropSettings, LeftoverState, reader};

const SIGKILL: i32 = 9;

/// Rounds of kill -9 at random moments; the variable `POSTERN_KILL_ROUNDS` asks for more (`cargo xtask campaign drop-kill`).
const ROUNDS: usize = 20;

fn rounds() -> usize {
    let asked = std::env::var("POSTERN_KILL_ROUNDS").ok();
    asked.map_or(ROUNDS, |text| text.parse().expect("POSTERN_KILL_ROUNDS is a number"))
}

/// What a child process is told, in environment variables.
#[derive(Clone, Debug, Default)]
struct Plan {
    items: usize,
    threads: usize,
    /// Where to die: the number of a step, or one of the two points of the host.
    die_at: Option<usize>,
    /// The item at which to die.
    die_with: usize,
    /// Whether to die only after the gateway took the file.
    after_pickup: bool,
}

/// After the record, before the confirmation.
const RECORDED: usize = Step::ALL.len();
/// After the confirmation.
const CONFIRMED: usize = RECORDED + 1;

fn item(number: usize) -> String {
    format!("item-{number}.eml")
}

fn content(number: usize) -> Vec<u8> {
    format!("{number} ").repeat(1000 + 100 * number).into_bytes()
}

impl Plan {
    fn spawn(&self, place: &Place) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["tests::crash::child_process", "--exact", "--ignored", "--quiet"]);
        child.env("DROP_TEST_PATH", place.drop()).env("DROP_TEST_RECORD", place.beside("record"));
        let die_at = self.die_at.map_or(String::new(), |n| n.to_string());
        let plan =
            [self.items.to_string(), self.threads.to_string(), die_at, self.die_with.to_string()].join(",");
        child.env("DROP_TEST_PLAN", format!("{plan},{}", self.after_pickup));
        child.stdout(std::process::Stdio::null());
        child.spawn().unwrap()
    }

    fn run(&self, place: &Place) -> ExitStatus {
        self.spawn(place).wait().unwrap()
    }

    fn from_environment() -> (Self, PathBuf, PathBuf) {
        let variable = |name: &str| std::env::var(name).unwrap();
        let text = variable("DROP_TEST_PLAN");
        let [items, threads, die_at, die_with, after] = text.split(',').collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        let plan = Self {
            items: items.parse().unwrap(),
            threads: threads.parse().unwrap(),
            die_at: die_at.parse().ok(),
            die_with: die_with.parse().unwrap(),
            after_pickup: after.parse().unwrap(),
        };
        (plan, variable("DROP_TEST_PATH").into(), variable("DROP_TEST_RECORD").into())
    }

    /// Kills this very process if the plan says so.
    fn reach(&self, point: usize, number: usize, path: &Path) {
        if self.die_at != Some(point) || self.die_with != number {
            return;
        }
        let start = Instant::now();
        while self.after_pickup && path.join(item(number)).exists() {
            assert!(start.elapsed() < PATIENCE, "the gateway did not come");
            thread::yield_now();
        }
        kill_process(getpid(), Signal::KILL).unwrap();
        loop {
            thread::park();
        }
    }
}

/// The host in short: publishes what is not recorded yet, records it, confirms it.
#[test]
#[ignore = "a helper process of the other tests here"]
fn child_process() {
    let (plan, path, record) = Plan::from_environment();
    let current = AtomicUsize::new(0);
    let current = Arc::new(current);
    let (observed, plan_seen, path_seen) = (Arc::clone(&current), plan.clone(), path.clone());
    let observer = move |step: Step, name: &str| {
        // The sync has no name: with one thread it belongs to the current item.
        let number = match name.is_empty() {
            true => observed.load(Ordering::SeqCst),
            false => name.trim_start_matches("item-").trim_end_matches(".eml").parse().unwrap(),
        };
        let point = Step::ALL.iter().position(|s| *s == step).unwrap();
        plan_seen.reach(point, number, &path_seen);
    };
    let directory = DropDirectory::open_observed(DropSettings::new(&path), Some(Arc::new(observer))).unwrap();
    let recorded = fs::read_to_string(&record).unwrap_or_default();
    let missing = (0..plan.items).filter(|n| !recorded.lines().any(|line| line == n.to_string()));
    let missing = Mutex::new(missing);
    let record = OpenOptions::new().create(true).append(true).open(&record).unwrap();
    thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                loop {
                    let Some(number) = missing.lock().unwrap().next() else { return };
                    current.store(number, Ordering::SeqCst);
                    let (file, content) = (name(&item(number)), content(number));
                    directory.publish(&file, |out| out.write_all(&content), content.len() as u64).unwrap();
                    // One write of a whole line: it is there or not.
                    (&record).write_all(format!("{number}\n").as_bytes()).unwrap();
                    plan.reach(RECORDED, number, &path);
                    directory.confirm([&file]);
                    plan.reach(CONFIRMED, number, &path);
                }
            });
        }
    });
}

/// A gateway that takes everything at once, and what it got.
struct Gateway {
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
    thread: thread::JoinHandle<BTreeMap<String, Vec<Vec<u8>>>>,
}

impl Gateway {
    fn start(path: &Path) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter, path) = (Arc::clone(&stop), Arc::clone(&taken), path.to_owned());
        let thread = thread::spawn(move || {
            let mut got: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
            loop {
                // Asked before the listing, so that one listing follows the last publication.
                let last = stopped.load(Ordering::SeqCst);
                for entry in reader::list(&path, 1000).unwrap() {
                    let claim = reader::take(&path, &entry.name).unwrap().unwrap();
                    got.entry(entry.name).or_default().push(claim.read().unwrap());
                    claim.done().unwrap();
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                if last {
                    return got;
                }
                thread::yield_now();
            }
        });
        Self { stop, taken, thread }
    }

    /// Checks that it got every item once and whole.
    fn finish(self, items: usize, what: &str) {
        self.stop.store(true, Ordering::SeqCst);
        let got = self.thread.join().unwrap();
        let expected: BTreeMap<_, _> = (0..items).map(|n| (item(n), vec![content(n)])).collect();
        let counts: BTreeMap<_, _> = got.iter().map(|(name, copies)| (name, copies.len())).collect();
        assert!(got == expected, "{what}: {counts:?}");
    }
}

/// No temp file is left once everything is published; a marker may be, if the process died before confirming it.
fn assert_clean(place: &Place, what: &str) {
    let left = place.open().leftovers().unwrap();
    assert!(left.iter().all(|l| l.state == LeftoverState::Taken), "{what}: {left:?}");
}

#[test]
fn a_process_killed_at_any_step_loses_nothing_and_doubles_nothing() {
    const ITEMS: usize = 3;
    let renamed = Step::ALL.iter().position(|s| *s == Step::Renamed).unwrap();
    // Each step is died at in every round; in CI once is enough, since nothing here is left to chance.
    let repeats = rounds().div_ceil(ROUNDS);
    println!("campaign: {} deaths at named steps", repeats * (CONFIRMED + 1) * 4);
    for die_at in (0..repeats).flat_map(|_| 0..=CONFIRMED) {
        for die_with in [0, ITEMS - 1] {
            for fast in [true, false] {
                let after_pickup = fast && die_at >= renamed;
                let plan = Plan { items: ITEMS, threads: 1, die_at: Some(die_at), die_with, after_pickup };
                let what = format!("{plan:?}, fast {fast}");
                let place = Place::new();
                let early = fast.then(|| Gateway::start(place.drop()));
                assert_eq!(plan.run(&place).signal(), Some(SIGKILL), "{what}");
                assert!(Plan { die_at: None, ..plan }.run(&place).success(), "{what}");
                early.unwrap_or_else(|| Gateway::start(place.drop())).finish(ITEMS, &what);
                assert_clean(&place, &what);
            }
        }
    }
}

#[test]
fn processes_killed_at_random_moments_lose_nothing_and_double_nothing() {
    const ITEMS: usize = 60;
    let seed = fastrand::u64(..);
    println!("campaign: seed {seed}, {} rounds of 3 deaths at random moments", rounds());
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..rounds() {
        let place = Place::new();
        let gateway = Gateway::start(place.drop());
        let plan = Plan { items: ITEMS, threads: 4, ..Plan::default() };
        for _ in 0..3 {
            let enough = gateway.taken.load(Ordering::SeqCst) + random.usize(1..ITEMS / 4);
            let mut child = plan.spawn(&place);
            while gateway.taken.load(Ordering::SeqCst) < enough && child.try_wait().unwrap().is_none() {
                thread::yield_now();
            }
            // It may have ended by itself.
            let _ = child.kill();
            child.wait().unwrap();
        }
        assert!(plan.run(&place).success());
        gateway.finish(ITEMS, &format!("seed {seed} round {round}"));
        assert_clean(&place, &format!("seed {seed} round {round}"));
    }
}

/// Publishes a file that the limit on file sizes cuts off.
#[test]
#[ignore = "a helper process of the other tests here"]
fn limited_process() {
    let settings = DropSettings::new(std::env::var("DROP_TEST_PATH").unwrap());
    let directory = DropDirectory::open(settings).unwrap();
    let error = directory.publish(&name("big.eml"), |out| out.write_all(&[7; 1 << 20]), 1 << 20).unwrap_err();
    assert!(matches!(error, DropError::Full { .. }), "{error}");
    assert_eq!(directory.usage().bytes, 0);
    directory.publish(&name("small.eml"), |out| out.write_all(b"x"), 1).unwrap();
}

#[test]
fn a_write_that_the_system_cuts_off_leaves_nothing_visible() {
    let place = Place::new();
    let status = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["tests::crash::limited_process", "--exact", "--ignored", "--quiet"])
        .env("DROP_TEST_PATH", place.drop())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(place.visible(), ["small.eml"]);
    assert!(!place.temp_file("big.eml.part").exists());
}
