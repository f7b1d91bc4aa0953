//! Activity: what a gateway was seen to do since the host began to watch it. In memory: a restart begins anew.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

/// Over how many minutes the pace is taken.
const MINUTES: i64 = 10;

/// What is counted.
#[derive(Debug)]
pub(super) struct Activity {
    since: Timestamp,
    last_pickup: Option<Timestamp>,
    /// Pickups by minute since 1970, the last [`MINUTES`] of them.
    pace: VecDeque<(i64, u64)>,
    /// How often each thing happened.
    counts: BTreeMap<&'static str, u64>,
}

/// Activity as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActivityView {
    /// Since when it is counted.
    pub since: Timestamp,
    /// When a file was last taken.
    pub last_pickup: Option<Timestamp>,
    /// Pickups a minute, over the last ten minutes or since the start.
    pub taken_per_minute: u64,
    /// How often each thing happened: `published`, `taken`, `done`, `sent`, `failed`, `retry`, `strange`, `truncated`.
    pub counts: BTreeMap<&'static str, u64>,
    /// Files that somebody has opened and nobody taken.
    pub seen: u64,
    /// Files that are claimed.
    pub claimed: u64,
    /// Files that lie for longer than `unclaimed_warn_after`.
    pub stale: u64,
}

impl Activity {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { since: now, last_pickup: None, pace: VecDeque::new(), counts: BTreeMap::new() }
    }

    /// Something happened.
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A file was taken.
    pub(super) fn taken(&mut self, now: Timestamp) {
        self.count("taken");
        self.last_pickup = Some(now);
        let minute = now.as_second().div_euclid(60);
        match self.pace.back_mut() {
            Some((last, count)) if *last == minute => *count += 1,
            _ => self.pace.push_back((minute, 1)),
        }
        while self.pace.front().is_some_and(|(first, _)| *first <= minute - MINUTES) {
            self.pace.pop_front();
        }
    }

    /// It as it is shown, with how many files are seen, claimed and stale.
    pub(super) fn view(&self, now: Timestamp, [seen, claimed, stale]: [u64; 3]) -> ActivityView {
        let minute = now.as_second().div_euclid(60);
        let recent = self.pace.iter().filter(|(at, _)| *at > minute - MINUTES).map(|(_, count)| count);
        let taken: u64 = recent.sum();
        let watched = minute - self.since.as_second().div_euclid(60) + 1;
        let minutes = u64::try_from(watched.clamp(1, MINUTES)).unwrap_or(1);
        ActivityView {
            since: self.since,
            last_pickup: self.last_pickup,
            taken_per_minute: taken.div_ceil(minutes),
            counts: self.counts.clone(),
            seen,
            claimed,
            stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(6_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_pace_is_that_of_the_last_minutes_and_no_longer() {
        let mut activity = Activity::new(at(0));
        for second in 0..60 {
            activity.taken(at(second));
        }
        let pace = |activity: &Activity, second| activity.view(at(second), [0; 3]).taken_per_minute;
        assert_eq!(pace(&activity, 59), 60);
        assert_eq!(pace(&activity, 120), 20, "over three minutes");
        assert_eq!(pace(&activity, 599), 6);
        assert_eq!(pace(&activity, 600), 0);
        activity.taken(at(700));
        let view = activity.view(at(700), [0; 3]);
        assert_eq!((view.taken_per_minute, view.last_pickup), (1, Some(at(700))));
        assert_eq!(view.counts["taken"], 61);
    }
}
