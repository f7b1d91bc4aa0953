//! RetryPlan: how long to wait after each attempt, written `"1m*4, 5m*6, 10m"`, and another schedule for each class of failure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use postern_model::FailureClass;

use super::values::{parse_duration, quoted, show_duration};

/// Waiting times in their order, the last of which repeats for ever. Jitter is put on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule(Vec<(SignedDuration, u32)>);

impl Schedule {
    /// The most steps a schedule may have.
    pub const MAX_STEPS: usize = 32;
    /// The most often one step may repeat.
    pub const MAX_REPEATS: u32 = 10_000;
    /// The shortest wait: shorter ones would make a failing queue spin.
    pub const MIN_DELAY: SignedDuration = SignedDuration::from_millis(100);
    /// The schedule when none is given: Exchange's four glitch retries a minute apart, six transient-failure retries
    /// five minutes apart, then every ten minutes.
    pub const DEFAULT: &'static str = "1m*4, 5m*6, 10m";

    /// Reads steps with commas between: a duration, or a duration and how often it repeats, `5m*6`.
    ///
    /// # Errors
    /// With a sentence, when a step is no duration, repeats no times, or there are too many of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let steps = text.split(',').map(|step| parse_step(step.trim())).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > Self::MAX_STEPS {
            return Err(format!("{} steps are too many, {} are accepted", steps.len(), Self::MAX_STEPS));
        }
        Ok(Self(steps))
    }

    /// How long to wait after attempt number `attempt`, counted from 1, before the next one.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> SignedDuration {
        let mut left = attempt.max(1);
        for (delay, repeats) in &self.0 {
            if left <= *repeats {
                return *delay;
            }
            left -= repeats;
        }
        self.0.last().map_or(Self::MIN_DELAY, |(delay, _)| *delay)
    }
}

fn parse_step(step: &str) -> Result<(SignedDuration, u32), String> {
    let (duration, repeats) = match step.split_once('*') {
        Some((duration, repeats)) => (duration, Some(repeats.trim())),
        None => (step, None),
    };
    let repeats = match repeats {
        None => 1,
        Some(text) => {
            let number = text.parse().ok().filter(|n| (1..=Schedule::MAX_REPEATS).contains(n));
            number.ok_or_else(|| format!("{} is not how often a step repeats, 1 to 10000", quoted(text)))?
        }
    };
    let delay = parse_duration(duration)?;
    if delay < Schedule::MIN_DELAY {
        return Err(format!("{} is too short to wait between attempts, at least 100ms", quoted(duration)));
    }
    Ok((delay, repeats))
}

impl Default for Schedule {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default schedule is well formed, as a test shows")
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (delay, repeats)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", show_duration(*delay))?;
            if *repeats != 1 {
                write!(f, "*{repeats}")?;
            }
        }
        Ok(())
    }
}

/// A schedule for each class of failure, and one for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryPlan {
    /// For failures whose class has none of its own.
    pub default: Schedule,
    /// By class.
    pub classes: BTreeMap<FailureClass, Schedule>,
}

impl RetryPlan {
    /// The schedule for a class of failure.
    #[must_use]
    pub fn schedule(&self, class: &FailureClass) -> &Schedule {
        self.classes.get(class).unwrap_or(&self.default)
    }

    /// How long to wait after attempt number `attempt`, counted from 1, that failed for this reason.
    #[must_use]
    pub fn delay(&self, class: &FailureClass, attempt: u32) -> SignedDuration {
        self.schedule(class).delay(attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(schedule: &Schedule, attempts: u32) -> Vec<i64> {
        (1..=attempts).map(|n| schedule.delay(n).as_mins()).collect()
    }

    #[test]
    fn the_default_waits_as_exchange_does_and_the_last_step_repeats() {
        assert_eq!(minutes(&Schedule::default(), 13), [1, 1, 1, 1, 5, 5, 5, 5, 5, 5, 10, 10, 10]);
        assert_eq!(Schedule::default().delay(u32::MAX).as_mins(), 10);
        assert_eq!(Schedule::default().delay(0).as_mins(), 1);
        assert_eq!(Schedule::default().to_string(), Schedule::DEFAULT);
    }

    #[test]
    fn a_repeated_last_step_goes_on_for_ever() {
        assert_eq!(minutes(&"3m, 5m*3".parse().unwrap(), 7), [3, 5, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["", "5", "5m,", "5m*0", "5m*x", "*5", "0s", "5m*4 10m", "50ms", "5m*10001"] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        assert!(Schedule::parse(&["1m"; 33].join(",")).is_err());
    }

    #[test]
    fn classes_have_their_own_schedule_and_the_rest_the_default() {
        let mut plan = RetryPlan::default();
        plan.classes.insert(FailureClass::new("busy"), "3m".parse().unwrap());
        assert_eq!(plan.delay(&FailureClass::new("busy"), 9).as_mins(), 3);
        assert_eq!(plan.delay(&FailureClass::default(), 9).as_mins(), 5);
    }
}
