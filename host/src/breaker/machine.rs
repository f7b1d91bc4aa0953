//! Breaker: when it opens, how long it stays so, and who tries whether it may close. A state machine without a clock.
//!
//! What opens it stands in [`super`].

use std::time::{Duration, Instant};

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// `breaker_after`: it opens after so many messages in a row.
    pub after: u32,
    /// `breaker_backoff`: the first pause; each further one in a row is twice as long.
    pub backoff: Duration,
    /// `breaker_backoff_max`: the longest.
    pub backoff_max: Duration,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// The mail flows.
    Closed,
    /// The mail waits until then.
    Open {
        /// When a message is let through.
        until: Instant,
    },
    /// One message is let through at a time, until one tells.
    HalfOpen {
        /// It is on its way.
        probing: bool,
    },
}

/// The leave to make one call. What comes of it counts only while the breaker stands as it stood.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// It is the one message that tries whether the agent works again.
    pub probe: bool,
    /// How often the breaker had changed.
    round: u64,
}

/// What one call says about the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The agent returned, whatever it said.
    Worked,
    /// A message that had not trapped before broke it, or it could not be opened.
    Broke,
    /// Nothing: a message that is known to break it did, or the far end let it wait.
    Nothing,
}

/// A change that operators should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The mail waits for so long.
    Opened {
        /// The pause.
        pause: Duration,
        /// Messages in a row that broke the agent; 1 when it was one that tried whether it works again.
        broke: u32,
    },
    /// The mail flows again.
    Closed,
}

/// The breaker of one connector.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    state: BreakerState,
    /// Messages in a row that broke the agent.
    broke: u32,
    /// Pauses in a row.
    pauses: u32,
    round: u64,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, state: BreakerState::Closed, broke: 0, pauses: 0, round: 0 }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Messages in a row that broke the agent, since it last worked or a pause began.
    #[must_use]
    pub fn broke(&self) -> u32 {
        self.broke
    }

    /// The leave to make a call now; `None` while there is none. Whoever has it must give it back, by [`Self::ended`].
    pub fn admit(&mut self, now: Instant) -> Option<Ticket> {
        match self.state {
            BreakerState::Closed => Some(Ticket { probe: false, round: self.round }),
            BreakerState::Open { until } if now < until => None,
            BreakerState::HalfOpen { probing: true } => None,
            BreakerState::Open { .. } | BreakerState::HalfOpen { probing: false } => {
                self.state = BreakerState::HalfOpen { probing: true };
                Some(Ticket { probe: true, round: self.round })
            }
        }
    }

    /// When there may be leave, though nothing else happens. Of a pause that is over it says so once.
    pub fn wake_at(&mut self, now: Instant) -> Option<Instant> {
        let BreakerState::Open { until } = self.state else { return None };
        if until <= now {
            self.state = BreakerState::HalfOpen { probing: false };
        }
        Some(until)
    }

    /// Takes note of how a call ended.
    pub fn ended(&mut self, ticket: &Ticket, verdict: Verdict, now: Instant) -> Option<Change> {
        // A call from before the last change says nothing about how things are after it.
        if ticket.round != self.round {
            return None;
        }
        match verdict {
            Verdict::Worked => {
                self.broke = 0;
                if !ticket.probe {
                    return None;
                }
                self.pauses = 0;
                self.change(BreakerState::Closed);
                Some(Change::Closed)
            }
            Verdict::Broke => {
                self.broke = self.broke.saturating_add(1);
                (ticket.probe || self.broke >= self.limits.after).then(|| self.open(now))
            }
            Verdict::Nothing => {
                if ticket.probe {
                    self.state = BreakerState::HalfOpen { probing: false };
                }
                None
            }
        }
    }

    /// Ends a pause. One that is not open stays as it is.
    pub fn end_pause(&mut self, now: Instant) {
        if let BreakerState::Open { until } = &mut self.state {
            *until = now.min(*until);
        }
    }

    /// Begins anew. Calls that are under way say nothing any more.
    pub fn reset(&mut self) {
        (self.broke, self.pauses) = (0, 0);
        self.change(BreakerState::Closed);
    }

    fn open(&mut self, now: Instant) -> Change {
        let doubled = 2_u32.saturating_pow(self.pauses);
        let pause = self.limits.backoff.saturating_mul(doubled).min(self.limits.backoff_max);
        self.pauses = self.pauses.saturating_add(1);
        self.change(BreakerState::Open { until: now + pause });
        Change::Opened { pause, broke: std::mem::take(&mut self.broke) }
    }

    fn change(&mut self, state: BreakerState) {
        self.state = state;
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Verdict::{Broke, Nothing, Worked};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: BreakerLimits =
        BreakerLimits { after: 3, backoff: SECOND, backoff_max: Duration::from_secs(5) };

    /// A breaker in a time of its own.
    struct World {
        breaker: Breaker,
        now: Instant,
    }

    impl World {
        fn new(limits: BreakerLimits) -> Self {
            Self { breaker: Breaker::new(limits), now: Instant::now() }
        }

        /// Makes a call that ends so; says whether it was let through, and what changed.
        fn call(&mut self, verdict: Verdict) -> (bool, Option<Change>) {
            match self.breaker.admit(self.now) {
                None => (false, None),
                Some(ticket) => (true, self.breaker.ended(&ticket, verdict, self.now)),
            }
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    fn opened(seconds: u64, broke: u32) -> (bool, Option<Change>) {
        (true, Some(Change::Opened { pause: Duration::from_secs(seconds), broke }))
    }

    const CLOSED: (bool, Option<Change>) = (true, Some(Change::Closed));
    const ADMITTED: (bool, Option<Change>) = (true, None);
    const HELD: (bool, Option<Change>) = (false, None);

    #[test]
    fn it_opens_after_so_many_in_a_row_and_the_pauses_double_up_to_the_longest() {
        let mut world = World::new(LIMITS);
        // How each call ends, how long it is after the one before, and what comes of it.
        let steps = [
            (0, Broke, ADMITTED),
            (0, Broke, ADMITTED),
            (0, Worked, ADMITTED),
            (0, Broke, ADMITTED),
            (0, Broke, ADMITTED),
            (0, Broke, opened(1, 3)),
            (0, Worked, HELD),
            (1, Broke, opened(2, 1)),
            (1, Worked, HELD),
            (1, Broke, opened(4, 1)),
            (4, Broke, opened(5, 1)),
            (4, Worked, HELD),
            (1, Broke, opened(5, 1)),
            (5, Worked, CLOSED),
            (0, Broke, ADMITTED),
            (0, Broke, ADMITTED),
            (0, Broke, opened(1, 3)),
        ];
        for (step, (seconds, verdict, expected)) in steps.into_iter().enumerate() {
            world.wait(seconds);
            assert_eq!(world.call(verdict), expected, "step {step}");
        }
    }

    #[test]
    fn a_probe_that_tells_nothing_makes_room_for_the_next_at_once() {
        let mut world = World::new(BreakerLimits { after: 1, ..LIMITS });
        assert_eq!(world.call(Broke), opened(1, 1));
        world.wait(1);
        assert_eq!(world.call(Nothing), ADMITTED);
        assert_eq!(world.breaker.state(), BreakerState::HalfOpen { probing: false });
        assert_eq!(world.call(Nothing), ADMITTED);
        assert_eq!(world.call(Worked), CLOSED);
    }

    #[test]
    fn calls_that_began_before_a_change_say_nothing_about_what_is_after_it() {
        let mut world = World::new(BreakerLimits { after: 1, ..LIMITS });
        let admit = |world: &mut World| world.breaker.admit(world.now).unwrap();
        let (first, second, third) = (admit(&mut world), admit(&mut world), admit(&mut world));
        assert!(world.breaker.ended(&first, Broke, world.now).is_some());
        let open = world.breaker.state();
        assert_eq!(world.breaker.ended(&second, Broke, world.now + SECOND), None);
        assert_eq!(world.breaker.state(), open, "the pause is as long as it was");
        world.wait(1);
        let probe = admit(&mut world);
        assert!(probe.probe && world.breaker.admit(world.now).is_none(), "one at a time");
        assert_eq!(world.breaker.ended(&third, Worked, world.now), None);
        assert_eq!(world.breaker.state(), BreakerState::HalfOpen { probing: true });
    }

    #[test]
    fn whoever_waits_for_the_end_of_a_pause_is_told_once_that_it_is_over() {
        let mut world = World::new(BreakerLimits { after: 1, ..LIMITS });
        assert_eq!(world.breaker.wake_at(world.now), None);
        world.call(Broke);
        let until = world.now + SECOND;
        assert_eq!(world.breaker.wake_at(world.now), Some(until));
        assert_eq!(world.breaker.wake_at(world.now), Some(until));
        world.wait(1);
        assert_eq!(world.breaker.wake_at(world.now), Some(until));
        assert_eq!(world.breaker.wake_at(world.now), None);
        assert_eq!(world.call(Worked), CLOSED);
    }

    /// Something that happens.
    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Begin,
        End(usize, Verdict),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let verdict = prop_oneof![Just(Worked), Just(Broke), Just(Nothing)];
        let step = prop_oneof![
            (0_u64..4).prop_map(Step::Wait),
            Just(Step::Begin),
            (0_usize..8, verdict).prop_map(|(which, verdict)| Step::End(which, verdict)),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// Calls overlap and end in any order: nothing passes before a pause is over, never two probes at once, and no
        /// pause is longer than the longest.
        #[test]
        #[test]
        fn nothing_passes_an_open_breaker_and_one_at_a_time_a_half_open_one(steps in steps(), after in 1_u32..4) {
            let mut world = World::new(BreakerLimits { after, ..LIMITS });
            let mut under_way: Vec<Ticket> = Vec::new();
            let mut held_until = world.now;
            for step in steps {
                match step {
                    Step::Wait(seconds) => world.wait(seconds),
                    Step::Begin => {
                        let before = world.breaker.state();
                        let probes = under_way.iter().filter(|t| t.probe && t.round == world.breaker.round);
                        let probing = probes.count() > 0;
                        match world.breaker.admit(world.now) {
                            Some(ticket) => {
                                prop_assert!(world.now >= held_until);
                                prop_assert_eq!(ticket.probe, before != BreakerState::Closed);
                                prop_assert!(!(ticket.probe && probing));
                                under_way.push(ticket);
                            }
                            None => prop_assert!(world.now < held_until || probing),
                        }
                    }
                    Step::End(which, verdict) if which < under_way.len() => {
                        let ticket = under_way.swap_remove(which);
                        if let Some(Change::Opened { pause, .. }) =
                            world.breaker.ended(&ticket, verdict, world.now)
                        {
                            prop_assert!(pause >= LIMITS.backoff && pause <= LIMITS.backoff_max);
                            held_until = world.now + pause;
                        }
                    }
                    Step::End(..) => {}
                }
            }
        }

        /// An agent that breaks with every message is given few of them, however many wait and however long it lasts.
        #[test]
        #[test]
        fn an_agent_that_always_breaks_is_seldom_called(after in 1_u32..10, seconds in 1_u64..1_000) {
            let mut world = World::new(BreakerLimits { after, ..LIMITS });
            let mut calls = 0_u64;
            for _ in 0..seconds {
                while world.call(Broke).0 {
                    calls += 1;
                }
                world.wait(1);
            }
            // Pauses of 1, 2 and 4 seconds, then of 5.
            prop_assert!(calls <= u64::from(after) + 3 + seconds / 5, "{calls} calls in {seconds} s");
        }

        /// A message that is known to break the agent counts once: between others, at the head of the queue, or alone.
        #[test]
        #[test]
        fn one_deadly_message_never_opens_it_and_never_keeps_it_open(others in prop::collection::vec(0_usize..5, 1..50)) {
            let mut world = World::new(BreakerLimits { after: 2, ..LIMITS });
            let mut verdict = Broke;
            for tries in others {
                prop_assert_eq!(world.call(verdict), ADMITTED);
                for _ in 0..tries {
                    prop_assert_eq!(world.call(Nothing), ADMITTED);
                }
                verdict = Nothing;
            }
            world.call(Worked);
            // Others open it. The one that is known is tried first, and does not keep the next from closing it.
            world.call(Broke);
            world.call(Broke);
            world.wait(1);
            prop_assert_eq!(world.call(Nothing), ADMITTED);
            prop_assert_eq!(world.call(Worked), CLOSED);
        }
    }
}
