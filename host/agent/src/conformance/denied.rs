//! Rules about an agent to which everything is denied.

use postern_model::Outcome;

use super::Finding;
use super::observed::{Observed, Part, Said, Step, judge};

pub(super) fn survives_when_all_is_denied(observed: &Observed) -> Finding {
    let mut tried = observed.part(Part::Denied).peekable();
    if tried.peek().is_none() {
        return Finding::NotApplicable(observed.no_connection());
    }
    judge(tried.find_map(|step| match &step.said {
        Said::NotLoaded(text) => Some(format!("{}: {text}", step.what)),
        _ => step.fault(),
    }))
}

pub(super) fn no_success_when_denied(observed: &Observed) -> Finding {
    if observed.part(Part::Denied).next().is_none() {
        return Finding::NotApplicable(observed.no_connection());
    }
    if !observed.was_denied {
        return Finding::NotApplicable("it did not ask for anything that is denied".to_owned());
    }
    let claims = |step: &Step| {
        let Said::Delivered { report, .. } = &step.said else { return None };
        let good = |outcome: &Outcome| !matches!(outcome, Outcome::Deferred(_) | Outcome::Failed { .. });
        let claim = report.outcomes.iter().find(|o| good(&o.outcome))?;
        let (word, response) = (claim.outcome.word(), claim.outcome.response());
        Some(format!("{}: recipient {} is `{word}` with {response}", step.what, claim.recipient))
    };
    judge(observed.part(Part::Denied).find_map(claims))
}
