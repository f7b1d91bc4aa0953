//! Rules about the calls in the life of a connection.

use super::Finding;
use super::observed::{Observed, Said, Step, judge};
use crate::witness::Violation;

/// Whether every call of a kind ended by itself.
fn ends(observed: &Observed, kind: fn(&Step) -> bool) -> Finding {
    let mut calls = observed.in_earnest().filter(|step| kind(step)).peekable();
    if calls.peek().is_none() {
        return Finding::NotApplicable(observed.no_connection());
    }
    judge(calls.find_map(Step::fault))
}

pub(super) fn open_returns(observed: &Observed) -> Finding {
    ends(observed, Step::is_open)
}

pub(super) fn deliver_returns(observed: &Observed) -> Finding {
    ends(observed, Step::is_deliver)
}

pub(super) fn close_returns(observed: &Observed) -> Finding {
    ends(observed, Step::is_close)
}

pub(super) fn refusals_fit(observed: &Observed) -> Finding {
    let refuses = |step: &Step| match &step.said {
        Said::Refused(_) => step.seen.faults.is_empty(),
        Said::Delivered { report, .. } => report.refusal.is_some(),
        _ => false,
    };
    if !observed.steps.iter().any(refuses) {
        return Finding::NotApplicable("it refused nothing".to_owned());
    }
    observed.never(Violation::UnfitRefusal, refuses)
}

pub(super) fn label_is_one_short_line(observed: &Observed) -> Finding {
    observed.never(Violation::Label, |step| matches!(step.said, Said::Opened))
}
