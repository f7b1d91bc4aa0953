//! AgentBreaker: leaves an agent alone for a while when message after message breaks it.
//!
//! Each trap costs a fresh instance, and so does each failed open. Where the agent itself is broken, every due message
//! would cost one, again and again: the breaker opens, the mail waits without an attempt being counted, and after the pause
//! a single message tries whether the agent works again.
//!
//! What counts are different messages in a row. A trap of a message that has trapped before says nothing new: its own
//! retries and `poison_after` deal with it, and the breaker neither opens nor stays open on its account. So one deadly
//! message never stops the mail of its connector, however often it is tried. A missed deadline does not count either: it
//! is mostly the far end's doing, and its queue is left alone by itself.

mod machine;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use crate::retry;
use machine::{Breaker, BreakerState, Ticket};

pub use machine::{BreakerLimits, Change, Verdict};

/// The breaker of one connector, shared by its lines and by those who look at it.
#[derive(Debug)]
pub struct AgentBreaker {
    inner: Mutex<Inner>,
    /// There may be leave where there was none.
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    opened: u64,
    reason: Option<String>,
}

/// How a breaker stands, for views and metrics.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BreakerView {
    /// `closed`, `open` or `half-open`.
    pub state: &'static str,
    /// When a message is let through again, while it is open.
    pub until: Option<Timestamp>,
    /// Messages in a row that broke the agent.
    pub broke: u32,
    /// How often it has opened since the agent was loaded.
    pub opened: u64,
    /// What the last call said that opened it; `None` while it is closed.
    pub reason: Option<String>,
}

impl AgentBreaker {
    /// A closed one; `None` where the limits say that there is none (`breaker_after = 0`).
    #[must_use]
    pub fn new(limits: BreakerLimits) -> Option<Arc<Self>> {
        let inner = Inner { breaker: Breaker::new(limits), opened: 0, reason: None };
        (limits.after > 0).then(|| Arc::new(Self { inner: Mutex::new(inner), changed: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leave to make one call; `None` while there is none.
    #[must_use]
    pub fn admit(self: &Arc<Self>) -> Option<Pass> {
        let ticket = self.lock().breaker.admit(Instant::now())?;
        Some(Pass { breaker: Some((self.clone(), ticket)) })
    }

    /// Begins anew, for another agent.
    pub fn reset(&self) {
        let mut inner = self.lock();
        inner.breaker.reset();
        inner.reason = None;
        drop(inner);
        self.changed.notify_one();
    }

    /// Ends a pause at once: a message is let through.
    pub fn end_pause(&self) {
        self.lock().breaker.end_pause(Instant::now());
        self.changed.notify_one();
    }

    /// When there may be leave, though nothing else happens. Of a pause that is over it says so once: for one waiter.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        self.lock().breaker.wake_at(Instant::now())
    }

    /// Waits until there may be leave where there was none. For one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How it stands.
    #[must_use]
    pub fn view(&self) -> BreakerView {
        let inner = self.lock();
        let (state, until) = match inner.breaker.state() {
            BreakerState::Closed => ("closed", None),
            BreakerState::HalfOpen { .. } => ("half-open", None),
            BreakerState::Open { until } => {
                let left = until.saturating_duration_since(Instant::now());
                let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX);
                ("open", Some(retry::after(Timestamp::now(), left)))
            }
        };
        let (broke, opened, reason) = (inner.breaker.broke(), inner.opened, inner.reason.clone());
        BreakerView { state, until, broke, opened, reason }
    }

    fn ended(&self, ticket: &Ticket, verdict: Verdict, reason: &str) -> Option<Change> {
        let mut inner = self.lock();
        let change = inner.breaker.ended(ticket, verdict, Instant::now());
        match change {
            Some(Change::Opened { .. }) => {
                inner.opened += 1;
                inner.reason = Some(reason.to_owned());
            }
            Some(Change::Closed) => inner.reason = None,
            None => {}
        }
        drop(inner);
        if ticket.probe {
            self.changed.notify_one();
        }
        change
    }
}

/// The leave to make one call. Dropped without a word it tells nothing about the agent.
#[derive(Debug)]
pub struct Pass {
    breaker: Option<(Arc<AgentBreaker>, Ticket)>,
}

impl Pass {
    /// For where there is no breaker.
    #[must_use]
    pub fn free() -> Self {
        Self { breaker: None }
    }

    /// Whether this is the one message that tries whether the agent works again.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.breaker.as_ref().is_some_and(|(_, ticket)| ticket.probe)
    }

    /// Says what the call showed, and of a call that broke the agent how; gives the change that follows.
    pub fn end(mut self, verdict: Verdict, reason: &str) -> Option<Change> {
        let (breaker, ticket) = self.breaker.take()?;
        breaker.ended(&ticket, verdict, reason)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((breaker, ticket)) = self.breaker.take() {
            breaker.ended(&ticket, Verdict::Nothing, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaker(after: u32, backoff: Duration) -> Option<Arc<AgentBreaker>> {
        AgentBreaker::new(BreakerLimits { after, backoff, backoff_max: backoff })
    }

    #[test]
    fn a_limit_of_zero_makes_no_breaker() {
        assert!(breaker(0, Duration::ZERO).is_none());
    }

    #[tokio::test]
    async fn a_probe_that_is_lost_leaves_its_place_to_the_next_and_wakes_it() {
        let breaker = breaker(1, Duration::ZERO).unwrap();
        let opened = breaker.admit().unwrap().end(Verdict::Broke, "trapped");
        assert_eq!(opened, Some(Change::Opened { pause: Duration::ZERO, broke: 1 }));
        let probe = breaker.admit().unwrap();
        assert!(probe.is_probe() && breaker.admit().is_none());
        drop(probe);
        breaker.changed().await;
        let probe = breaker.admit().unwrap();
        assert_eq!(breaker.view().reason.as_deref(), Some("trapped"));
        assert_eq!(probe.end(Verdict::Worked, ""), Some(Change::Closed));
        let view = breaker.view();
        assert_eq!((view.state, view.opened, view.reason), ("closed", 1, None));
    }

    #[tokio::test]
    async fn another_agent_begins_with_a_closed_breaker_at_once() {
        let breaker = breaker(1, Duration::from_secs(3_600)).unwrap();
        let under_way = breaker.admit().unwrap();
        breaker.admit().unwrap().end(Verdict::Broke, "trapped");
        assert!(breaker.admit().is_none());
        breaker.reset();
        breaker.changed().await;
        assert_eq!(under_way.end(Verdict::Broke, "of the one before"), None);
        assert_eq!(breaker.view().state, "closed");
        assert!(breaker.admit().is_some_and(|pass| !pass.is_probe()));
    }

    #[tokio::test]
    async fn a_pause_that_is_ended_lets_one_message_try() {
        let breaker = breaker(1, Duration::from_secs(3_600)).unwrap();
        breaker.admit().unwrap().end(Verdict::Broke, "trapped");
        assert!(breaker.admit().is_none());
        breaker.end_pause();
        breaker.changed().await;
        let probe = breaker.admit().unwrap();
        assert!(probe.is_probe() && breaker.admit().is_none(), "one, and no more");
        assert!(matches!(probe.end(Verdict::Broke, "trapped"), Some(Change::Opened { .. })));
    }

    #[test]
    fn an_open_one_says_until_when_and_why() {
        let breaker = breaker(1, Duration::from_secs(3_600)).unwrap();
        breaker.admit().unwrap().end(Verdict::Broke, "trapped: unreachable");
        let view = breaker.view();
        assert_eq!((view.state, view.reason.as_deref()), ("open", Some("trapped: unreachable")));
        let left = view.until.unwrap().duration_since(Timestamp::now());
        assert!(left > SignedDuration::from_mins(59) && left <= SignedDuration::from_hours(1), "{left}");
        assert!(breaker.admit().is_none() && breaker.wake_at().is_some());
    }
}
