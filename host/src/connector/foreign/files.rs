//! Files: what is known of published drop files, by their names. No file system: a record in memory.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Published; the queue's record of that is on its way to the disk.
    InFlight,
    /// Taken before the queue's record was durable: a fast gateway.
    TakenEarly,
    /// On the queue's record, and not yet taken.
    Outstanding,
    /// It went away with its directory: nobody can tell whether it was taken.
    Vanished,
}

/// What is known of published files, by their names.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// How far each is, and since when.
    files: BTreeMap<String, (Stage, Timestamp)>,
    /// When somebody was last told that files lie about.
    warned_at: Option<Timestamp>,
}

impl Files {
    /// It can be seen by the gateway, which may have been faster than this call.
    pub(super) fn published(&mut self, name: &str, now: Timestamp) {
        self.files.entry(name.to_owned()).or_insert((Stage::InFlight, now));
    }

    /// The gateway took it.
    pub(super) fn taken(&mut self, name: &str, now: Timestamp) {
        let before = self.files.remove(name);
        if before.is_none_or(|(stage, _)| stage != Stage::Outstanding) {
            self.files.insert(name.to_owned(), (Stage::TakenEarly, now));
        }
    }

    /// Its hand-over, begun at `at`, is on record.
    pub(super) fn recorded(&mut self, name: &str, at: Timestamp) {
        match self.files.remove(name).map(|(stage, _)| stage) {
            Some(Stage::TakenEarly) => {}
            Some(Stage::Vanished) => drop(self.files.insert(name.to_owned(), (Stage::Vanished, at))),
            Some(Stage::InFlight | Stage::Outstanding) | None => {
                self.files.insert(name.to_owned(), (Stage::Outstanding, at));
            }
        }
    }

    /// Its directory was replaced by another one without it.
    pub(super) fn vanished(&mut self, name: &str) {
        if let Some((stage, _)) = self.files.get_mut(name) {
            *stage = Stage::Vanished;
        }
    }

    /// Whether files that vanished lie there again: their directory is back. They are outstanding from now on, and
    /// what does not lie there went away with the directory that was in its place.
    pub(super) fn come_back(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        let gone = |stage: Stage| stage == Stage::Vanished;
        if !self.files.iter().any(|(name, (stage, _))| gone(*stage) && is_there(name)) {
            return false;
        }
        for (name, (stage, _)) in &mut self.files {
            if *stage != Stage::TakenEarly {
                *stage = if is_there(name) { Stage::Outstanding } else { Stage::Vanished };
            }
        }
        true
    }

    /// The files that lie there as far as known: a watcher that starts must be told of them.
    pub(super) fn present(&self) -> impl Iterator<Item = &str> {
        let lies = |stage: &Stage| matches!(stage, Stage::InFlight | Stage::Outstanding);
        self.files.iter().filter(move |(_, (stage, _))| lies(stage)).map(|(name, _)| name.as_str())
    }

    /// Forgets what was never recorded for `age` and belongs to no item in the queue: its item was removed meanwhile.
    pub(super) fn prune(&mut self, now: Timestamp, age: SignedDuration, is_queued: impl Fn(&str) -> bool) {
        self.files.retain(|name, (stage, since)| {
            matches!(stage, Stage::Outstanding | Stage::Vanished)
                || since.duration_until(now) < age
                || is_queued(name)
        });
    }

    /// How many files have lain for `limit`, and since when the oldest, if somebody has to be told now: not more often
    /// than every `repeat`.
    pub(super) fn unclaimed(
        &mut self,
        now: Timestamp,
        limit: SignedDuration,
        repeat: SignedDuration,
    ) -> Option<(usize, Timestamp)> {
        if self.warned_at.is_some_and(|at| at.duration_until(now) < repeat) {
            return None;
        }
        let lying = self.files.values().filter(|(stage, _)| *stage == Stage::Outstanding).map(|(_, at)| *at);
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

    #[test]
    fn a_file_is_watched_from_its_publication_until_it_is_taken() {
        let mut files = Files::default();
        files.published("a", at(0));
        assert_eq!(present(&files), ["a"], "also before its record is durable");
        files.recorded("a", at(0));
        assert_eq!(present(&files), ["a"]);
        files.taken("a", at(1));
        assert!(files.files.is_empty());
    }

    #[test]
    fn a_gateway_may_be_faster_than_the_record_and_than_the_publisher() {
        let mut files = Files::default();
        files.published("a", at(0));
        files.taken("a", at(0));
        files.taken("b", at(0));
        files.published("b", at(0));
        assert!(present(&files).is_empty());
        files.recorded("a", at(0));
        files.recorded("b", at(0));
        assert!(files.files.is_empty());
    }

    #[test]
    fn what_is_never_recorded_is_forgotten_once_its_item_is_gone() {
        let mut files = Files::default();
        for name in ["young", "queued", "gone"] {
            files.published(name, at(if name == "young" { 30 } else { 0 }));
        }
        files.taken("gone too", at(0));
        files.recorded("outstanding", at(0));
        files.prune(at(60), HOUR, |name| name == "queued");
        assert_eq!(files.files.keys().collect::<Vec<_>>(), ["outstanding", "queued", "young"]);
    }

    #[test]
    fn files_that_vanished_with_their_directory_are_outstanding_again_when_it_is_back() {
        let mut files = Files::default();
        for name in ["old", "lost", "new"] {
            files.recorded(name, at(0));
        }
        files.vanished("old");
        files.vanished("lost");
        assert_eq!(present(&files), ["new"]);
        assert!(!files.come_back(|name| name == "new"));
        assert!(files.come_back(|name| name == "old"));
        assert_eq!(present(&files), ["old"], "what lay in the other directory is gone with it");
    }

    #[test]
    fn unclaimed_files_are_told_of_now_and_then() {
        let mut files = Files::default();
        files.published("in flight", at(0));
        files.recorded("a", at(10));
        files.recorded("b", at(5));
        files.recorded("new", at(60));
        assert_eq!(files.unclaimed(at(64), HOUR, HOUR), None);
        assert_eq!(files.unclaimed(at(75), HOUR, HOUR), Some((2, at(5))));
        assert_eq!(files.unclaimed(at(80), HOUR, HOUR), None, "it was said");
        assert_eq!(files.unclaimed(at(135), HOUR, HOUR), Some((3, at(5))));
    }
}
