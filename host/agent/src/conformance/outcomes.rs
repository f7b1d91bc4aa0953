//! Rules about what an agent reports of an item.

use postern_model::{DeliveryReport, Outcome};

use super::Finding;
use super::observed::{Observed, Part, Said, Step, judge};
use crate::witness::Violation;

/// The deliveries that ended by themselves, with the recipients that were to be reported.
fn reports(observed: &Observed) -> impl Iterator<Item = (&Step, &[u32], &DeliveryReport)> {
    observed.in_earnest().filter_map(|step| match &step.said {
        Said::Delivered { expected, report } if step.seen.faults.is_empty() => {
            Some((step, &expected[..], &**report))
        }
        _ => None,
    })
}

/// What breaks a rule in the deliveries that ended by themselves; of no use when there are none.
fn judge_reports(
    observed: &Observed,
    broken: impl Fn(&Step, &[u32], &DeliveryReport) -> Option<String>,
) -> Finding {
    let mut reports = reports(observed).peekable();
    if reports.peek().is_none() {
        let told = observed.in_earnest().filter(|step| step.is_deliver()).find_map(Step::fault);
        return Finding::NotApplicable(told.unwrap_or_else(|| observed.no_connection()));
    }
    judge(reports.find_map(|(step, expected, report)| broken(step, expected, report)))
}

pub(super) fn one_outcome_per_recipient(observed: &Observed) -> Finding {
    judge_reports(observed, |step, expected, report| {
        if report.fault.is_some() {
            // An error in place of a report: a rule of its own.
            return None;
        }
        let has = |index: &u32| report.outcomes.iter().any(|outcome| outcome.recipient == *index);
        let missing: Vec<String> =
            expected.iter().filter(|index| !has(index)).map(ToString::to_string).collect();
        let (of, shown) = (expected.len(), missing.get(..5).unwrap_or(&missing).join(", "));
        (!missing.is_empty()).then(|| {
            let count = missing.len();
            format!("{}: no outcome for {count} of {of} recipients (index {shown})", step.what)
        })
    })
}

pub(super) fn no_second_outcome(observed: &Observed) -> Finding {
    observed.never(Violation::SecondOutcome, Step::is_deliver)
}

pub(super) fn no_outcome_for_others(observed: &Observed) -> Finding {
    observed.never(Violation::UnknownRecipient, Step::is_deliver)
}

pub(super) fn codes_fit(observed: &Observed) -> Finding {
    observed.never(Violation::UnfitCode, Step::is_deliver)
}

pub(super) fn accepted_names_its_receipts(observed: &Observed) -> Finding {
    let accepts = |step: &Step| match &step.said {
        Said::Delivered { report, .. } => {
            step.violation(Violation::ReceiptIds).is_some()
                || report.outcomes.iter().any(|o| matches!(o.outcome, Outcome::Accepted(_)))
        }
        _ => false,
    };
    if !observed.steps.iter().any(accepts) {
        return Finding::NotApplicable("it accepted nothing".to_owned());
    }
    observed.never(Violation::ReceiptIds, accepts)
}

/// Asked of ordinary messages, and only where nothing outside had to be asked: a far end that cannot be reached may come as
/// an exception of the agent's language.
pub(super) fn outcomes_rather_than_an_error(observed: &Observed) -> Finding {
    judge_reports(observed, |step, _, report| {
        let fault = report.fault.as_ref().filter(|_| step.part == Part::Envelopes && !step.asked_out)?;
        Some(format!("{}: {}", step.what, fault.response.text))
    })
}

pub(super) fn no_flood_of_outcomes(observed: &Observed) -> Finding {
    observed.never(Violation::TooManyOutcomes, Step::is_deliver)
}
