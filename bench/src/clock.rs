//! Clock: processor time of this process, and the time that all processes share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What all threads of this process have used so far.
pub fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// The clock that all processes share and nobody sets, for times that one process takes and another one reads.
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
