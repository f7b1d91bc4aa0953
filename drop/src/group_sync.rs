//! GroupSync: one directory sync serves everybody who asked for one before it began.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::io::Errno;

/// Shares syncs among concurrent callers, greedily: whoever finds none running leads one for all who wait; those
/// who come while it runs wait for the next. A caller alone never waits for company.
#[derive(Debug, Default)]
pub(crate) struct GroupSync {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The round that callers join; its sync has not begun.
    open: Arc<Round>,
    running: bool,
}

/// One sync and those who wait for it. The result is only touched under the state's lock.
#[derive(Debug, Default)]
struct Round(Mutex<Option<Result<(), Errno>>>);

impl GroupSync {
    /// Returns when a `sync` that began after this call has ended, with its result.
    pub(crate) fn wait(&self, sync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let round = Arc::clone(&state.open);
        loop {
            if let Some(result) = *round.0.lock().unwrap_or_else(PoisonError::into_inner) {
                return result;
            }
            if !state.running {
                state.running = true;
                state.open = Arc::default();
                drop(state);
                return self.lead(&round, sync);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lead(&self, round: &Round, sync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        // If `sync` panics, the guard fails the round, so that the others are told instead of waiting for ever.
        let mut guard = Leading { group: self, round, result: Err(Errno::IO) };
        guard.result = sync();
        guard.result
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        let state = self.state.lock().unwrap();
        Arc::strong_count(&state.open) - 1
    }
}

struct Leading<'a> {
    group: &'a GroupSync,
    round: &'a Round,
    result: Result<(), Errno>,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut state = self.group.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = false;
        *self.round.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.result);
        self.group.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    /// Runs one caller whose sync is held until `others` more wait, and returns all results and the syncs made.
    fn run(others: usize, result: Result<(), Errno>) -> (Vec<Result<(), Errno>>, u32) {
        let group = GroupSync::default();
        let syncs = AtomicU32::new(0);
        let sync = || {
            if syncs.fetch_add(1, Ordering::SeqCst) == 0 {
                while group.waiting() < others {
                    thread::yield_now();
                }
                return Ok(());
            }
            result
        };
        let results = thread::scope(|scope| {
            let first = scope.spawn(|| group.wait(sync));
            while syncs.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            let rest: Vec<_> = (0..others).map(|_| scope.spawn(|| group.wait(sync))).collect();
            std::iter::once(first).chain(rest).map(|t| t.join().unwrap()).collect()
        });
        (results, syncs.into_inner())
    }

    #[test]
    fn all_who_come_while_one_sync_runs_share_the_next() {
        let (results, syncs) = run(15, Ok(()));
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(syncs, 2);
    }

    #[test]
    fn a_failed_sync_fails_all_who_shared_it_and_nobody_else() {
        let (results, syncs) = run(4, Err(Errno::IO));
        assert_eq!(results, [Ok(()), Err(Errno::IO), Err(Errno::IO), Err(Errno::IO), Err(Errno::IO)]);
        assert_eq!(syncs, 2);
    }
}
