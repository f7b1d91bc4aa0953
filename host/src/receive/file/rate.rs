//! Rate: how many files may be taken now, so that it is no more than so many in a minute.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills evenly and holds what one minute gives.
#[derive(Debug)]
pub struct Rate {
    per_minute: Option<u32>,
    tokens: f64,
    at: Instant,
}

impl Rate {
    /// A full bucket; `None`: no limit.
    #[must_use]
    pub fn new(per_minute: Option<u32>, now: Instant) -> Self {
        Self { per_minute, tokens: per_minute.map_or(0.0, f64::from), at: now }
    }

    /// How many may be taken.
    pub fn available(&mut self, now: Instant) -> usize {
        let Some(most) = self.per_minute else { return usize::MAX };
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(most) / 60.0;
        self.tokens = (self.tokens + gained).min(f64::from(most));
        self.at = now;
        // Never negative, and at most what one minute gives.
        self.tokens as usize
    }

    /// So many were taken.
    pub fn took(&mut self, count: usize) {
        self.tokens -= count as f64;
    }

    /// How long until there is one again.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let Some(most) = self.per_minute else { return Duration::ZERO };
        Duration::from_secs_f64(((1.0 - self.tokens).max(0.0) * 60.0 / f64::from(most)).min(60.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_gives_so_many_and_not_more() {
        let start = Instant::now();
        let mut rate = Rate::new(Some(60), start);
        assert_eq!(rate.available(start), 60);
        rate.took(60);
        assert_eq!(rate.available(start), 0);
        assert_eq!(rate.wait(), Duration::from_secs(1));
        assert_eq!(rate.available(start + Duration::from_secs(30)), 30);
        assert_eq!(rate.available(start + Duration::from_secs(3600)), 60);
        assert_eq!(Rate::new(None, start).available(start), usize::MAX);
    }
}
