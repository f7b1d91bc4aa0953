//! Retry: how long to wait before the next attempt. Pure: chance comes from the caller, time too.
//!
//! The schedule of the connector says how long (`1m*4, 5m*6, 10m`), the far end may wish for something
//! else, the policy has the last word.

use jiff::{SignedDuration, Timestamp};

/// What bounds and spreads the delays of one connector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayPolicy {
    /// By which fraction of itself a delay may be off, 0 to 1: 0.1 is ten per cent either way. Spreads the
    /// items of a queue that failed together.
    pub jitter: f64,
    /// No delay is shorter, whatever schedule or far end say: an item must not spin.
    pub min: SignedDuration,
    /// No wish of the far end is granted beyond this; a longer delay of the operator's own schedule stands.
    pub max: SignedDuration,
}

impl DelayPolicy {
    /// The default of [`Self::jitter`].
    pub const DEFAULT_JITTER: f64 = 0.1;
    /// The default of [`Self::min`].
    pub const DEFAULT_MIN: SignedDuration = SignedDuration::from_millis(100);
    /// The default of [`Self::max`].
    pub const DEFAULT_MAX: SignedDuration = SignedDuration::from_hours(6);
    /// A wish is granted down to this part of the scheduled delay. A far end that knows better may be asked
    /// sooner than planned, but one that always says "at once" still meets a back-off.
    pub const SOONEST_PART: i32 = 4;
}

impl Default for DelayPolicy {
    fn default() -> Self {
        Self { jitter: Self::DEFAULT_JITTER, min: Self::DEFAULT_MIN, max: Self::DEFAULT_MAX }
    }
}

/// How long to wait before the next attempt.
///
/// `scheduled` is what the connector's schedule says for this attempt, `wish` what the far end asked for.
/// Without a wish the result is the scheduled delay, made up to [`DelayPolicy::jitter`] shorter or longer.
/// With one it is the wish, held between a quarter ([`DelayPolicy::SOONEST_PART`]) of the scheduled delay
/// and [`DelayPolicy::max`], and made only longer, since who says "in an hour" means not before.
/// The result is never below [`DelayPolicy::min`], hence never negative.
#[must_use]
pub fn next_delay(
    scheduled: SignedDuration,
    wish: Option<SignedDuration>,
    policy: &DelayPolicy,
    rng: &mut fastrand::Rng,
) -> SignedDuration {
    let floor = policy.min.max(SignedDuration::ZERO);
    let scheduled = scheduled.max(floor);
    let delay = match wish {
        None => jittered(scheduled, policy.jitter, -1.0, rng),
        Some(wish) => {
            // An operator who plans longer waits than `max` has thereby allowed them to the far end, too.
            let latest = policy.max.max(scheduled);
            let granted = wish.max(scheduled / DelayPolicy::SOONEST_PART).min(latest);
            jittered(granted, policy.jitter, 0.0, rng)
        }
    };
    delay.max(floor)
}

/// `now` plus `delay`; a negative delay counts as none, and what lies beyond the end of time becomes the end of time.
#[must_use]
pub fn after(now: Timestamp, delay: SignedDuration) -> Timestamp {
    now.saturating_add(delay.max(SignedDuration::ZERO)).unwrap_or(Timestamp::MAX)
}

/// `delay` times a factor between `1 + lowest * jitter` and `1 + jitter`, to the millisecond.
fn jittered(delay: SignedDuration, jitter: f64, lowest: f64, rng: &mut fastrand::Rng) -> SignedDuration {
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    let part = jitter * (lowest + rng.f64() * (1.0 - lowest));
    // A cast from f64 saturates, and no fraction of a delay is larger than the delay.
    #[allow(clippy::cast_possible_truncation)]
    let off = (delay.as_millis_f64() * part) as i64;
    delay.saturating_add(SignedDuration::from_millis(off))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn delays(
        scheduled: SignedDuration,
        wish: Option<SignedDuration>,
        policy: &DelayPolicy,
    ) -> Vec<SignedDuration> {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..2000).map(|_| next_delay(scheduled, wish, policy, &mut rng)).collect()
    }

    #[test]
    fn a_scheduled_delay_is_spread_by_a_tenth_both_ways_and_no_further() {
        let all = delays(HOUR, None, &DelayPolicy::default());
        assert!(all.iter().all(|d| (54 * MINUTE..=66 * MINUTE).contains(d)));
        assert!(all.iter().any(|d| *d < 55 * MINUTE) && all.iter().any(|d| *d > 65 * MINUTE));
    }

    #[test]
    fn without_jitter_the_schedule_holds_to_the_millisecond() {
        let exact = DelayPolicy { jitter: 0.0, ..DelayPolicy::default() };
        assert!(delays(HOUR, None, &exact).iter().all(|d| *d == HOUR));
    }

    #[test]
    fn a_wish_is_never_answered_too_soon_and_only_a_little_late() {
        let all = delays(MINUTE, Some(HOUR), &DelayPolicy::default());
        assert!(all.iter().all(|d| (HOUR..=66 * MINUTE).contains(d)));
        assert!(all.iter().any(|d| *d > 65 * MINUTE));
    }

    #[test]
    fn a_wish_for_less_than_a_quarter_of_the_schedule_gets_the_quarter() {
        let exact = DelayPolicy { jitter: 0.0, ..DelayPolicy::default() };
        for (wish, expected) in [(-5, 900), (0, 900), (899, 900), (901, 901), (3600, 3600)] {
            let wish = Some(SignedDuration::from_secs(wish));
            assert_eq!(delays(HOUR, wish, &exact)[0], SignedDuration::from_secs(expected));
        }
    }

    #[test]
    fn a_wish_beyond_the_bound_is_cut_but_a_longer_schedule_stands() {
        let exact = DelayPolicy { jitter: 0.0, ..DelayPolicy::default() };
        assert_eq!(delays(MINUTE, Some(SignedDuration::MAX), &exact)[0], DelayPolicy::DEFAULT_MAX);
        assert_eq!(delays(12 * HOUR, None, &exact)[0], 12 * HOUR);
        assert_eq!(delays(12 * HOUR, Some(SignedDuration::MAX), &exact)[0], 12 * HOUR);
    }

    #[test]
    fn no_input_gives_a_delay_below_the_least_or_a_panic() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let edges = [SignedDuration::MIN, -HOUR, SignedDuration::ZERO, MINUTE, HOUR, SignedDuration::MAX];
        let jitters = [0.0, 0.1, 1.0, -3.0, 7.0, f64::NAN, f64::INFINITY];
        for scheduled in edges {
            for wish in edges.map(Some).into_iter().chain([None]) {
                for jitter in jitters {
                    for (min, max) in edges.iter().flat_map(|min| edges.iter().map(move |max| (*min, *max))) {
                        let policy = DelayPolicy { jitter, min, max };
                        let delay = next_delay(scheduled, wish, &policy, &mut rng);
                        assert!(delay >= min.max(SignedDuration::ZERO), "{policy:?}: {delay:?}");
                        assert!(after(Timestamp::UNIX_EPOCH, delay) >= Timestamp::UNIX_EPOCH);
                    }
                }
            }
        }
    }

    #[test]
    fn the_next_attempt_is_neither_in_the_past_nor_beyond_the_end_of_time() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(after(now, MINUTE).to_string(), "2026-03-01T12:01:00Z");
        assert_eq!(after(now, -HOUR), now);
        assert_eq!(after(now, SignedDuration::MAX), Timestamp::MAX);
        assert_eq!(after(Timestamp::MAX, HOUR), Timestamp::MAX);
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let policy = DelayPolicy::default();
        assert_eq!(delays(HOUR, None, &policy), delays(HOUR, None, &policy));
    }
}
