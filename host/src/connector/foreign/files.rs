//! Files: what is known of published drop files, by their names. No file system: a record in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::record::Record;

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Published; the queue's record of that is on its way to the disk.
    InFlight,
    /// Taken, or taken back by us, before the queue's record was told: it is still to come.
    EndedEarly,
    /// On the queue's record, and not yet taken.
    Outstanding,
}

/// What is known of a file.
#[derive(Clone, Debug)]
struct File {
    stage: Stage,
    /// Since when.
    since: Timestamp,
    /// The directory that it lies in; `None`: that of the kept record, which was not read yet.
    directory: Option<Arc<str>>,
    seen: Seen,
}

/// What the gateway was seen to do with a file short of taking it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// When it was first opened.
    pub(super) opened: Option<Timestamp>,
    /// When it was last claimed, and as what.
    pub(super) claimed: Option<(Timestamp, String)>,
    /// It was said that it lies for too long.
    pub(super) stale: bool,
}

/// What is known of published files, by their names.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<String, File>,
    /// Files whose results are waited for, taken or not.
    awaited: BTreeSet<String>,
    /// Files that were taken, which the queue was told and has not recorded yet; also those that were taken before their
    /// hand-over was on record, since the word about them waits for that.
    settling: BTreeSet<String>,
    /// The directory that is published to, once one was opened.
    current: Option<Arc<str>>,
    /// When somebody was last told that files lie about.
    warned_at: Option<Timestamp>,
}

impl Files {
    /// It can be seen by the gateway of this directory, which may have been faster than this call.
    pub(super) fn published(&mut self, name: &str, directory: &str, now: Timestamp) {
        let known = self.files.get(name).map(|file| file.stage);
        if known != Some(Stage::EndedEarly) {
            let directory = Some(self.shared(directory));
            let file = File { stage: Stage::InFlight, since: now, directory, seen: Seen::default() };
            self.files.insert(name.to_owned(), file);
        }
    }

    /// A directory's id, as one text for all its files.
    fn shared(&self, directory: &str) -> Arc<str> {
        self.current
            .as_ref()
            .filter(|current| &***current == directory)
            .map_or_else(|| directory.into(), Arc::clone)
    }

    /// What was seen of it.
    pub(super) fn seen(&mut self, name: &str) -> Option<&mut Seen> {
        self.files.get_mut(name).map(|file| &mut file.seen)
    }

    /// How many files that lie there were opened, are claimed, and lie for `limit` or longer.
    pub(super) fn states(&self, now: Timestamp, limit: Option<SignedDuration>) -> [u64; 3] {
        let lying = self.files.values().filter(|file| file.stage != Stage::EndedEarly);
        lying.fold([0; 3], |[seen, claimed, stale], file| {
            let old = limit.is_some_and(|limit| file.since.duration_until(now) >= limit);
            [
                seen + u64::from(file.seen.opened.is_some()),
                claimed + u64::from(file.seen.claimed.is_some()),
                stale + u64::from(old),
            ]
        })
    }

    /// Files that lie for `limit` or longer and of which that was not said yet, at most `most`; it counts as said.
    pub(super) fn newly_stale(&mut self, now: Timestamp, limit: SignedDuration, most: usize) -> Vec<String> {
        let current = self.current.clone();
        let is_stale = |file: &File| {
            file.stage == Stage::Outstanding
                && file.directory == current
                && !file.seen.stale
                && file.since.duration_until(now) >= limit
        };
        let stale = self.files.iter_mut().filter(|(_, file)| is_stale(file)).take(most);
        stale
            .map(|(name, file)| {
                file.seen.stale = true;
                name.clone()
            })
            .collect()
    }

    /// The gateway took it.
    pub(super) fn taken(&mut self, name: &str, now: Timestamp) {
        let before = self.files.remove(name);
        let is_early = before.as_ref().is_none_or(|file| file.stage != Stage::Outstanding);
        if is_early || self.awaited.contains(name) {
            self.settling.insert(name.to_owned());
        }
        if is_early {
            let directory = before.and_then(|file| file.directory);
            let file = File { stage: Stage::EndedEarly, since: now, directory, seen: Seen::default() };
            self.files.insert(name.to_owned(), file);
        }
    }

    /// Its hand-over, begun at `at`, is on record.
    pub(super) fn recorded(&mut self, name: &str, at: Timestamp) {
        match self.files.remove(name) {
            Some(File { stage: Stage::EndedEarly, .. }) => {}
            before => {
                let (directory, seen) = before.map_or_else(Default::default, |f| (f.directory, f.seen));
                let file = File { stage: Stage::Outstanding, since: at, directory, seen };
                self.files.insert(name.to_owned(), file);
            }
        }
    }

    /// Nobody waits for it any more, or it was taken back for good. Its record may still be to come.
    pub(super) fn forget(&mut self, name: &str) {
        self.settling.remove(name);
        match self.files.get_mut(name) {
            Some(file) if file.stage == Stage::Outstanding => drop(self.files.remove(name)),
            Some(file) => file.stage = Stage::EndedEarly,
            None => {}
        }
    }

    /// Somebody waits for the result of this file, or nobody does any more.
    pub(super) fn await_result(&mut self, name: &str, waits: bool) {
        if waits {
            self.awaited.insert(name.to_owned());
        } else {
            self.awaited.remove(name);
            self.settling.remove(name);
        }
    }

    /// Whether its pickup was told to the queue, which may not have recorded it yet.
    pub(super) fn is_settling(&self, name: &str) -> bool {
        self.settling.contains(name)
    }

    /// Whether somebody waits for the result of this file.
    pub(super) fn awaits_result_of(&self, name: &str) -> bool {
        self.awaited.contains(name)
    }

    /// Whether somebody waits for any result, or may do so soon.
    pub(super) fn awaits_results(&self) -> bool {
        !self.awaited.is_empty() || !self.files.is_empty()
    }

    /// Whether anything is known of it.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// The directory that it was published to, as far as known.
    pub(super) fn directory_of(&self, name: &str) -> Option<&Arc<str>> {
        self.files.get(name)?.directory.as_ref()
    }

    /// This directory was opened. `record` is what an earlier run kept, and `lying` says which of some files lie in the
    /// directory by their names: those came along with it. Returns how many do not.
    pub(super) fn opened(
        &mut self,
        directory: &str,
        record: &Record,
        lying: impl Fn(&[&str]) -> BTreeSet<String>,
    ) -> usize {
        let directory = self.shared(directory);
        for (name, file) in &mut self.files {
            if file.directory.is_none() {
                let other = record.directory_of(name).filter(|known| *known != &*directory);
                file.directory = Some(other.map_or_else(|| directory.clone(), Arc::from));
            }
        }
        self.current = Some(directory.clone());
        let elsewhere: Vec<&str> = self.elsewhere().map(|(name, _)| name).collect();
        let here = if elsewhere.is_empty() { BTreeSet::new() } else { lying(&elsewhere) };
        for name in &here {
            if let Some(file) = self.files.get_mut(name) {
                file.directory = Some(directory.clone());
            }
        }
        self.elsewhere().count()
    }

    /// Files are published to this directory from now on. Says whether it is another one than before.
    pub(super) fn publishing_to(&mut self, directory: &str) -> bool {
        let changed = self.current.as_deref() != Some(directory);
        self.current = Some(self.shared(directory));
        changed
    }

    /// What is to be kept of this for the next run; `None` before a directory was opened.
    pub(super) fn record(&self) -> Option<Record> {
        Some(Record::new(self.current.as_ref()?, self.elsewhere()))
    }

    /// Files that lie in another directory, with it.
    fn elsewhere(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(|(_, file)| file.stage != Stage::EndedEarly).filter_map(|(name, file)| {
            let directory = file.directory.as_ref().filter(|d| self.current.as_ref() != Some(d))?;
            Some((name.as_str(), &**directory))
        })
    }

    /// The files that lie in the directory as far as known: a watcher that starts must be told of them.
    pub(super) fn present(&self) -> impl Iterator<Item = &str> {
        let lies = |file: &File| {
            file.stage != Stage::EndedEarly && (file.directory.is_none() || file.directory == self.current)
        };
        self.files.iter().filter(move |(_, file)| lies(file)).map(|(name, _)| name.as_str())
    }

    /// Forgets what was never recorded for `age` and belongs to no item in the queue: its item was removed meanwhile.
    pub(super) fn prune(&mut self, now: Timestamp, age: SignedDuration, is_queued: impl Fn(&str) -> bool) {
        self.files.retain(|name, file| {
            file.stage == Stage::Outstanding || file.since.duration_until(now) < age || is_queued(name)
        });
    }

    /// The files that have lain in the directory for `limit`, the oldest first, at most `most`.
    pub(super) fn older_than(&self, now: Timestamp, limit: SignedDuration, most: usize) -> Vec<String> {
        let lies = |file: &&File| file.stage == Stage::Outstanding && file.directory == self.current;
        let old = self.files.iter().filter(|(_, file)| lies(file) && file.since.duration_until(now) >= limit);
        let mut old: Vec<(Timestamp, &String)> = old.map(|(name, file)| (file.since, name)).collect();
        old.sort_unstable();
        old.into_iter().take(most).map(|(_, name)| name.clone()).collect()
    }

    /// How many files have lain in the directory for `limit`, and since when the oldest, if somebody has to be told now:
    /// not more often than every `repeat`.
    pub(super) fn unclaimed(
        &mut self,
        now: Timestamp,
        limit: SignedDuration,
        repeat: SignedDuration,
    ) -> Option<(usize, Timestamp)> {
        if self.warned_at.is_some_and(|at| at.duration_until(now) < repeat) {
            return None;
        }
        let lies = |file: &&File| file.stage == Stage::Outstanding && file.directory == self.current;
        let lying = self.files.values().filter(lies).map(|file| file.since);
        let (count, oldest) = lying
            .filter(|at| at.duration_until(now) >= limit)
            .fold((0, None::<Timestamp>), |(n, oldest), at| (n + 1, Some(oldest.map_or(at, |o| o.min(at)))));
        let oldest = oldest?;
        self.warned_at = Some(now);
        Some((count, oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn at(minutes: i64) -> Timestamp {
        let start: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        start.checked_add(SignedDuration::from_mins(minutes)).unwrap()
    }

    fn present(files: &Files) -> Vec<&str> {
        files.present().collect()
    }

    /// Opens a directory in which these files lie. How many lie elsewhere.
    fn open(files: &mut Files, directory: &str, record: &Record, there: &[&str]) -> usize {
        files.opened(directory, record, |asked| {
            asked.iter().filter(|name| there.contains(name)).map(ToString::to_string).collect()
        })
    }

    /// What a run knows at its start: the record of an earlier one, and the receipts.
    fn started(names: &[&str]) -> Files {
        let mut files = Files::default();
        names.iter().for_each(|name| files.recorded(name, at(0)));
        files
    }

    #[test]
    fn a_file_that_was_taken_before_its_hand_over_was_on_record_is_settling_until_its_pickup_is() {
        let mut files = Files::default();
        files.published("a", "x", at(0));
        files.taken("a", at(0));
        files.recorded("a", at(1));
        files.await_result("a", true);
        assert!(files.is_settling("a"), "a result that comes now must not overtake the pickup");
        files.forget("a");
        assert!(!files.is_settling("a"));
    }

    #[test]
    fn a_file_is_watched_from_its_publication_until_it_is_taken() {
        let mut files = Files::default();
        open(&mut files, "A", &Record::default(), &[]);
        files.published("a", "A", at(0));
        assert_eq!(present(&files), ["a"], "also before its record is durable");
        files.recorded("a", at(0));
        assert_eq!(present(&files), ["a"]);
        files.taken("a", at(1));
        assert!(files.files.is_empty());
    }

    #[test]
    fn a_gateway_may_be_faster_than_the_record_and_than_the_publisher() {
        let mut files = Files::default();
        files.published("a", "A", at(0));
        files.taken("a", at(0));
        files.taken("b", at(0));
        files.published("b", "A", at(0));
        assert!(present(&files).is_empty());
        files.recorded("a", at(0));
        files.forget("b");
        files.recorded("b", at(0));
        assert!(files.files.is_empty(), "also when its receipt is settled before its record is told");
        files.published("b", "A", at(0));
        files.forget("b");
        assert!(present(&files).is_empty());
        files.recorded("b", at(0));
        assert!(files.files.is_empty(), "also when it is withdrawn before its record is told");
        files.recorded("c", at(0));
        files.forget("c");
        assert!(files.files.is_empty());
    }

    #[test]
    fn what_is_never_recorded_is_forgotten_once_its_item_is_gone() {
        let mut files = Files::default();
        for name in ["young", "queued", "gone"] {
            files.published(name, "A", at(if name == "young" { 30 } else { 0 }));
        }
        files.taken("gone too", at(0));
        files.recorded("outstanding", at(0));
        files.prune(at(60), HOUR, |name| name == "queued");
        assert_eq!(files.files.keys().collect::<Vec<_>>(), ["outstanding", "queued", "young"]);
    }

    #[test]
    fn without_a_record_all_known_files_belong_to_the_directory_that_is_there() {
        let mut files = started(&["old"]);
        assert_eq!(present(&files), ["old"]);
        assert_eq!(open(&mut files, "A", &Record::default(), &[]), 0);
        assert_eq!(present(&files), ["old"]);
        assert_eq!(files.record(), Some(Record::new("A", [].into_iter())));
    }

    #[test]
    fn a_restart_onto_another_directory_leaves_the_files_behind_until_theirs_is_back() {
        let first = Record::new("A", [].into_iter());
        let mut files = started(&["lost", "came along"]);
        assert_eq!(open(&mut files, "B", &first, &["came along"]), 1);
        assert_eq!(present(&files), ["came along"]);
        files.published("new", "B", at(0));
        files.recorded("new", at(0));
        let second = files.record().unwrap();
        assert_eq!(second, Record::new("B", [("lost", "A")].into_iter()));

        // The same directory after another restart.
        let mut files = started(&["lost", "came along", "new"]);
        assert_eq!(open(&mut files, "B", &second, &[]), 1);
        assert_eq!(present(&files), ["came along", "new"], "what is not there now was taken");

        // The first is back: now it is the others that lie elsewhere.
        let mut files = started(&["lost", "came along", "new"]);
        assert_eq!(open(&mut files, "A", &second, &[]), 2);
        assert_eq!(present(&files), ["lost"]);
        let third = files.record().unwrap();
        assert_eq!(third, Record::new("A", [("came along", "B"), ("new", "B")].into_iter()));
        // What is settled meanwhile is no longer kept.
        let mut files = started(&["new"]);
        open(&mut files, "A", &third, &[]);
        assert_eq!(files.record(), Some(Record::new("A", [("new", "B")].into_iter())));
    }

    #[test]
    fn a_directory_that_changes_in_the_middle_is_noticed_with_its_first_file() {
        let mut files = Files::default();
        open(&mut files, "A", &Record::default(), &[]);
        files.published("a", "A", at(0));
        assert!(!files.publishing_to("A"));
        assert!(files.publishing_to("B"));
        files.published("b", "B", at(0));
        assert_eq!(present(&files), ["b"]);
        assert_eq!(files.record(), Some(Record::new("B", [("a", "A")].into_iter())));
        // Published once more: the gateway of the first may have it, too, but this one is watched.
        files.published("a", "B", at(1));
        assert_eq!(present(&files), ["a", "b"]);
    }

    #[test]
    fn unclaimed_files_are_told_of_now_and_then() {
        let mut files = Files::default();
        open(&mut files, "A", &Record::default(), &[]);
        files.published("in flight", "A", at(0));
        for (name, minutes) in [("a", 10), ("b", 5), ("new", 60)] {
            files.published(name, "A", at(minutes));
            files.recorded(name, at(minutes));
        }
        files.published("elsewhere", "B", at(0));
        files.recorded("elsewhere", at(0));
        assert_eq!(files.unclaimed(at(64), HOUR, HOUR), None);
        assert_eq!(files.unclaimed(at(75), HOUR, HOUR), Some((2, at(5))));
        assert_eq!(files.unclaimed(at(80), HOUR, HOUR), None, "it was said");
        assert_eq!(files.unclaimed(at(135), HOUR, HOUR), Some((3, at(5))));
    }
}
