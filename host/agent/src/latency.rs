//! Latency: how long calls took, in buckets of fixed bounds, so that it takes up the same room whatever happens.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many buckets have a bound; one more takes what is longer.
const BOUNDED: usize = 24;
/// All buckets.
const BUCKETS: usize = BOUNDED + 1;

/// The upper bounds of the buckets, in microseconds: 1, 2 and 5 times each power of ten, from 10 us to 500 s. A
/// quantile is known to within a factor of 2.5, over everything from a native call to the longest default deadline.
const BOUNDS: [u64; BOUNDED] = {
    let (mut bounds, mut power, mut nth) = ([0; BOUNDED], 10, 0);
    while nth < BOUNDED {
        bounds[nth] = power;
        bounds[nth + 1] = 2 * power;
        bounds[nth + 2] = 5 * power;
        power *= 10;
        nth += 3;
    }
    bounds
};

/// How long the calls took, as it stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many calls fell into each bucket.
    buckets: [u64; BUCKETS],
    /// All calls together, in microseconds.
    sum: u64,
    /// The longest call, in microseconds.
    longest: u64,
}

impl Latency {
    /// How many calls there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All calls together, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_micros(self.sum).as_secs_f64()
    }

    /// The time within which this share (0.0 to 1.0) of the calls were done: the bound of the bucket, or the longest
    /// call where that was shorter. `None` without calls.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, clippy::cast_possible_truncation)]
    pub fn within(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        // The rank of the call that is asked about, from 1 to the count.
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let nth = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        })?;
        let bound = BOUNDS.get(nth).copied().unwrap_or(u64::MAX);
        Some(Duration::from_micros(bound.min(self.longest)))
    }

    /// The buckets with their upper bounds in seconds, the last one without end.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64());
        bounds.chain([f64::INFINITY]).zip(self.buckets)
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, its)| *mine += its);
        self.sum += other.sum;
        self.longest = self.longest.max(other.longest);
        self
    }
}

/// The live counters.
#[derive(Default)]
pub(crate) struct LatencyCounters {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    longest: AtomicU64,
}

impl LatencyCounters {
    /// Counts a call that took so long.
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|bound| *bound < micros)].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
        self.longest.fetch_max(micros, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Latency {
        Latency {
            buckets: std::array::from_fn(|nth| self.buckets[nth].load(Relaxed)),
            sum: self.sum.load(Relaxed),
            longest: self.longest.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: &[u64]) -> Latency {
        let counters = LatencyCounters::default();
        micros.iter().for_each(|took| counters.record(Duration::from_micros(*took)));
        counters.snapshot()
    }

    fn micros(latency: &Latency, share: f64) -> Option<u128> {
        latency.within(share).map(|time| time.as_micros())
    }

    #[test]
    fn bounds_rise_from_ten_microseconds_to_five_hundred_seconds() {
        assert_eq!((BOUNDS[0], BOUNDS[1], BOUNDS[2], BOUNDS[3]), (10, 20, 50, 100));
        assert_eq!(BOUNDS[BOUNDED - 1], 500_000_000);
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket_or_the_longest_call() {
        let mostly_fast = of(&[[150; 99].as_slice(), &[4_000_000]].concat());
        assert_eq!(micros(&mostly_fast, 0.5), Some(200));
        assert_eq!(micros(&mostly_fast, 0.99), Some(200));
        assert_eq!(micros(&mostly_fast, 1.0), Some(4_000_000), "no call took the bucket's five seconds");
        assert_eq!(micros(&of(&[10]), 0.99), Some(10), "a bound belongs to its bucket");
        assert_eq!(micros(&of(&[900_000_000]), 0.5), Some(900_000_000), "longer than the last bound");
        assert_eq!(of(&[]).within(0.5), None);
    }

    #[test]
    fn buckets_count_every_call_once() {
        let calls = of(&[0, 10, 11, 600_000_000]);
        let filled: Vec<_> = calls.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.000_01, 2), (0.000_02, 1), (f64::INFINITY, 1)]);
        assert_eq!((calls.count(), calls.buckets().count()), (4, BUCKETS));
        let both = calls.and(&of(&[5_000_000]));
        assert_eq!((both.count(), both.seconds()), (5, 605.000_021));
    }
}
