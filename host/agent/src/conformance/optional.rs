//! Rules about the optional interfaces: `batch`, `session`, `probe`, `callback`.

use postern_model::Arrival;

use super::Finding;
use super::observed::{Observed, Part, Said, Step, judge};
use crate::Interfaces;
use crate::witness::Violation;

/// Whether every call of an interface ended by itself.
fn ends(
    observed: &Observed,
    (name, has): (&str, fn(Interfaces) -> bool),
    call: fn(&Step) -> bool,
) -> Finding {
    if let Some(lacks) = observed.lacks(name, has) {
        return lacks;
    }
    let mut calls = observed.steps.iter().filter(|step| call(step)).peekable();
    if calls.peek().is_none() {
        return Finding::NotApplicable(observed.no_connection());
    }
    judge(calls.find_map(Step::fault))
}

pub(super) fn batch_returns(observed: &Observed) -> Finding {
    ends(observed, ("batch", |has| has.batch), |step| matches!(step.said, Said::Batch(_)))
}

pub(super) fn one_report_per_item(observed: &Observed) -> Finding {
    if let Some(lacks) = observed.lacks("batch", |has| has.batch) {
        return lacks;
    }
    let batches = observed.part(Part::Batch).filter_map(|step| match &step.said {
        Said::Batch(items) if step.seen.faults.is_empty() => Some((step, items)),
        _ => None,
    });
    let mut batches = batches.peekable();
    if batches.peek().is_none() {
        return Finding::NotApplicable(observed.no_connection());
    }
    let mut missing = batches.filter_map(|(step, items)| {
        if let Some(how) = step.violation(Violation::ReportCount) {
            return Some(how);
        }
        let incomplete = items
            .iter()
            .position(|(expected, report)| report.fault.is_none() && report.outcomes.len() < expected.len());
        incomplete.map(|item| format!("{}: not every recipient of item {item} has an outcome", step.what))
    });
    judge(missing.next())
}

pub(super) fn tick_returns(observed: &Observed) -> Finding {
    ends(observed, ("session", |has| has.session), |step| matches!(step.said, Said::Ticked))
}

pub(super) fn probe_returns(observed: &Observed) -> Finding {
    ends(observed, ("probe", |has| has.probe), |step| matches!(step.said, Said::Probed(_)))
}

/// The suite asks about hand-overs that never were. That none of them was ever seen is true, and may only be said by an
/// agent that did not have to ask anybody.
pub(super) fn no_arrival_is_made_up(observed: &Observed) -> Finding {
    if let Some(lacks) = observed.lacks("probe", |has| has.probe) {
        return lacks;
    }
    if observed.is_granted {
        return Finding::NotApplicable("it was granted a way out, so it could ask".to_owned());
    }
    judge(observed.part(Part::Probe).find_map(|step| match &step.said {
        Said::Probed(Ok(Arrival::Known(outcome))) => Some(format!("{}: it is {}", step.what, outcome.word())),
        Said::Probed(Ok(Arrival::NeverSeen)) if step.asked_out => {
            Some(format!("{}: never seen, though the far end could not be asked", step.what))
        }
        _ => None,
    }))
}

pub(super) fn callback_returns(observed: &Observed) -> Finding {
    ends(observed, ("callback", |has| has.callback), |step| matches!(step.said, Said::CalledBack { .. }))
}

pub(super) fn callback_answers(observed: &Observed) -> Finding {
    if let Some(lacks) = observed.lacks("callback", |has| has.callback) {
        return lacks;
    }
    judge(observed.part(Part::Callback).find_map(|step| match &step.said {
        Said::CalledBack { reply: Ok(reply), .. } if !(200..=599).contains(&reply.status) => {
            Some(format!("{}: the status is {}", step.what, reply.status))
        }
        Said::CalledBack { is_empty: true, reply: Ok(reply) } if !reply.receipts.is_empty() => {
            Some(format!("{}: it brought the receipt {:?}", step.what, reply.receipts[0].id))
        }
        _ => None,
    }))
}
