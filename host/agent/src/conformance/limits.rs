//! Rules about what an agent may use.

use super::Finding;
use super::observed::{Observed, Step, judge};
use crate::fault::FaultKind;
use crate::witness::Violation;

/// Growth of memory that is no leak: a page, or what a collector of garbage takes at once.
const FLAT_BYTES: usize = 64 * 1024;
/// The same as a part of what there is.
const FLAT_PART: usize = 16;

pub(super) fn log_is_bounded(observed: &Observed) -> Finding {
    observed.never(Violation::LogLines, |_| true)
}

pub(super) fn memory_is_enough(observed: &Observed) -> Finding {
    if observed.steps.is_empty() {
        return Finding::NotApplicable(observed.no_connection());
    }
    let starved = |step: &Step| {
        let fault = step.seen.faults.iter().find(|fault| fault.kind == FaultKind::Memory)?;
        Some(format!("{}: {fault}", step.what))
    };
    judge(observed.steps.iter().find_map(starved))
}

pub(super) fn memory_stays_flat(observed: &Observed) -> Finding {
    let Some(memory) = &observed.memory else {
        return Finding::NotApplicable(observed.no_connection());
    };
    if let Some(why) = &memory.ended {
        return Finding::NotApplicable(format!("the connection ended after {} calls: {why}", memory.calls));
    }
    let growth = memory.at_end.saturating_sub(memory.at_half);
    let grows = growth > FLAT_BYTES.max(memory.at_half / FLAT_PART);
    judge(grows.then(|| {
        let (calls, half) = (memory.calls, memory.calls / 2);
        format!("{} bytes after {half} calls, {} after {calls}", memory.at_half, memory.at_end)
    }))
}

pub(super) fn host_calls_are_bounded(observed: &Observed) -> Finding {
    observed.never(Violation::HostCall, |_| true)
}

pub(super) fn random_is_bounded(observed: &Observed) -> Finding {
    observed.never(Violation::Random, |_| true)
}

pub(super) fn no_item_is_kept(observed: &Observed) -> Finding {
    observed.never(Violation::ItemKept, Step::is_deliver)
}
