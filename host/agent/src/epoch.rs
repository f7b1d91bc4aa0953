//! EpochClock: interrupts guests that compute, so that they take turns. It stands still while no guest is called.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// After so many epochs without a call the clock stands still: often enough that a busy agent never has to start it.
const IDLE_EPOCHS: u32 = 200;
/// How long it stands still at most, so that its thread notices that the engine is gone.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The clock of one engine.
#[derive(Debug)]
pub(crate) struct EpochClock {
    every: Duration,
    /// Calls under way.
    running: AtomicUsize,
    is_still: AtomicBool,
    thread: OnceLock<Thread>,
}

/// A call under way: the clock runs while one of these lives.
#[derive(Debug)]
pub(crate) struct Running(Arc<EpochClock>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl EpochClock {
    /// A clock without a thread, which nobody is interrupted by.
    pub(crate) fn new(every: Duration) -> Arc<Self> {
        Arc::new(Self {
            every,
            running: AtomicUsize::new(0),
            is_still: AtomicBool::new(false),
            thread: OnceLock::new(),
        })
    }

    /// Starts the clock of an engine. It ends with the engine. A thread of its own, because a task would not run while
    /// every worker is busy with a guest.
    pub(crate) fn start(engine: &Engine, every: Duration) -> std::io::Result<Arc<Self>> {
        let clock = Self::new(every);
        let (engine, ticking) = (engine.weak(), clock.clone());
        let thread =
            thread::Builder::new().name("postern-epoch".to_owned()).spawn(move || ticking.tick(&engine))?;
        // Only this call sets it, long before the clock stands still for the first time.
        let _ = clock.thread.set(thread.thread().clone());
        Ok(clock)
    }

    /// How long one epoch takes.
    pub(crate) fn every(&self) -> Duration {
        self.every
    }

    /// A call begins.
    pub(crate) fn enter(self: &Arc<Self>) -> Running {
        // Either the thread sees this call before it stands still, or this sees that it does.
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.is_still.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
        Running(self.clone())
    }

    fn tick(&self, engine: &EngineWeak) {
        let mut idle = 0;
        loop {
            thread::sleep(self.every);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            drop(engine);
            idle = if self.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle >= IDLE_EPOCHS {
                self.is_still.store(true, Ordering::SeqCst);
                if self.running.load(Ordering::SeqCst) == 0 {
                    thread::park_timeout(LOOK_AGAIN);
                }
                self.is_still.store(false, Ordering::SeqCst);
                idle = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(what: impl Fn() -> bool) {
        while !what() {
            thread::yield_now();
        }
    }

    #[test]
    fn the_clock_stands_still_without_calls_and_runs_with_the_next() {
        let engine = Engine::default();
        let clock = EpochClock::start(&engine, Duration::from_micros(50)).unwrap();
        until(|| clock.is_still.load(Ordering::SeqCst));
        let call = clock.enter();
        until(|| !clock.is_still.load(Ordering::SeqCst));
        assert_eq!(clock.running.load(Ordering::SeqCst), 1);
        drop(call);
        until(|| clock.is_still.load(Ordering::SeqCst));
    }
}
