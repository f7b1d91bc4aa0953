//! Clocks and random numbers: given unless the grants take them away.
//!
//! Most languages need both before they run their first line, so they are granted by default. Where they are taken away,
//! whoever asks is stopped: a clock that stands still, or numbers that are not random, would be believed. The seed of
//! hash tables alone is then a constant, because it promises nothing.

use std::time::Duration;

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::Clocks;
use crate::log::Capability;
use crate::recording::{Asked, Taped, question};
use crate::state::State;

/// How far a coarse clock goes with each step.
const STEP: Duration = Duration::from_secs(1);
/// The same, as the monotonic clock counts.
const STEP_NANOS: u64 = 1_000_000_000;

const NO_CLOCK: &str = "clocks are not granted (grants.clocks = false)";
const NO_RANDOM: &str = "random numbers are not granted (grants.random = false)";

/// Puts this module between agents and the WASI in `linker`.
pub(crate) fn guard(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    wall_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    insecure::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    insecure_seed::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl State {
    /// Whether the clocks that the agent may look at are coarse.
    ///
    /// # Errors
    /// When it may look at none: the call ends.
    pub(crate) fn is_clock_coarse(&self, what: &str) -> Result<bool> {
        match self.shared.clocks {
            Clocks::Exact => Ok(false),
            Clocks::Coarse => Ok(true),
            Clocks::None => {
                self.log.refused(Capability::Clocks, what, NO_CLOCK);
                Err(wasmtime::Error::msg(NO_CLOCK))
            }
        }
    }

    /// A reading or numbers, unless a recording has them. `length` is how many bytes were asked for.
    fn taped<T: Taped>(
        &mut self,
        call: &'static str,
        length: Option<u64>,
        live: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let asked = self.ask(call, |_| match length {
            Some(length) => question([("length", length.into())]),
            None => question([]),
        })?;
        match asked {
            Asked::Known(answer) => Ok(answer),
            Asked::Live(note) => {
                let answer = live(self)?;
                self.answered(note, &answer);
                Ok(answer)
            }
        }
    }

    /// Lets the agent have random numbers.
    ///
    /// # Errors
    /// When it may have none: the call ends.
    pub(crate) fn may_be_random(&self, what: &str) -> Result<()> {
        if self.shared.random {
            return Ok(());
        }
        self.log.refused(Capability::Random, what, NO_RANDOM);
        Err(wasmtime::Error::msg(NO_RANDOM))
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        let coarse = self.is_clock_coarse("wall-clock.now")?;
        let (seconds, nanoseconds) = self.taped("wall-clock.now", None, |state| {
            let now = state.clocks().now()?;
            Ok((now.seconds, if coarse { 0 } else { now.nanoseconds }))
        })?;
        Ok(wall_clock::Datetime { seconds, nanoseconds })
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        if self.is_clock_coarse("wall-clock.resolution")? {
            return Ok(wall_clock::Datetime { seconds: STEP.as_secs(), nanoseconds: 0 });
        }
        wall_clock::Host::resolution(&mut self.clocks())
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> Result<u64> {
        let coarse = self.is_clock_coarse("monotonic-clock.now")?;
        self.taped("monotonic-clock.now", None, |state| {
            let now = monotonic_clock::Host::now(&mut state.clocks())?;
            Ok(if coarse { now - now % STEP_NANOS } else { now })
        })
    }

    fn resolution(&mut self) -> Result<u64> {
        if self.is_clock_coarse("monotonic-clock.resolution")? {
            return Ok(STEP_NANOS);
        }
        monotonic_clock::Host::resolution(&mut self.clocks())
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        // A coarse clock says that the moment has come with its next step: who was woken before would ask in a loop.
        let coarse = self.is_clock_coarse("monotonic-clock.subscribe-instant")?;
        let when = if coarse { when.div_ceil(STEP_NANOS).saturating_mul(STEP_NANOS) } else { when };
        // What was waited for in a recording has come.
        let when = if self.is_playing() { 0 } else { when };
        self.clocks().subscribe_instant(when)
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        // To wait is not to look at a clock.
        let duration = if self.is_playing() { 0 } else { duration };
        self.clocks().subscribe_duration(duration)
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.may_be_random("random.get-random-bytes")?;
        self.taped("random.get-random-bytes", Some(length), |state| {
            state.ctx().ctx.random().get_random_bytes(length)
        })
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        self.may_be_random("random.get-random-u64")?;
        self.taped("random.get-random-u64", None, |state| state.ctx().ctx.random().get_random_u64())
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.may_be_random("insecure.get-insecure-random-bytes")?;
        self.taped("insecure.get-insecure-random-bytes", Some(length), |state| {
            state.ctx().ctx.random().get_insecure_random_bytes(length)
        })
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.may_be_random("insecure.get-insecure-random-u64")?;
        self.taped("insecure.get-insecure-random-u64", None, |state| {
            state.ctx().ctx.random().get_insecure_random_u64()
        })
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        // Standard libraries take it for their first hash table; without it nothing would start.
        if !self.shared.random {
            return Ok((0, 0));
        }
        self.taped("insecure-seed", None, |state| state.ctx().ctx.random().insecure_seed())
    }
}
