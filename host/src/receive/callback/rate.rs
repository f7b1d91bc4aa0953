//! Rate: how many calls of one connector come in at once and in a second. Pure but for the count of places.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bucket that fills by so many calls a second and holds a second's worth, and places for calls at once.
pub struct Rate {
    per_second: f64,
    left: f64,
    at: Option<Instant>,
    places: Arc<Semaphore>,
}

/// A call that is being served.
pub struct Place(#[expect(dead_code, reason = "held for as long as the call lasts")] OwnedSemaphorePermit);

impl Rate {
    /// A full bucket with all places free.
    pub fn new(per_second: u32, at_once: usize) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second, at: None, places: Arc::new(Semaphore::new(at_once)) }
    }

    /// Lets a call in, or not.
    pub fn enter(&mut self, now: Instant) -> Option<Place> {
        let passed = self.at.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.left = (self.left + passed * self.per_second).min(self.per_second);
        if self.left < 1.0 {
            return None;
        }
        let place = self.places.clone().try_acquire_owned().ok()?;
        self.left -= 1.0;
        Some(Place(place))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_let_in_up_to_a_seconds_worth_and_then_at_the_rate() {
        let (mut rate, start) = (Rate::new(5, 100), Instant::now());
        let let_in = |rate: &mut Rate, at| (0..20).filter_map(|_| rate.enter(at)).count();
        assert_eq!(let_in(&mut rate, start), 5);
        assert_eq!(let_in(&mut rate, start + Duration::from_millis(400)), 2);
        assert_eq!(
            let_in(&mut rate, start + Duration::from_secs(60)),
            5,
            "what was not used is not saved up"
        );
    }

    #[test]
    fn no_more_are_served_at_once_than_may_be() {
        let (mut rate, now) = (Rate::new(100, 2), Instant::now());
        let first = rate.enter(now);
        let second = rate.enter(now);
        assert!(first.is_some() && second.is_some() && rate.enter(now).is_none());
        drop(first);
        assert!(rate.enter(now).is_some());
    }
}
