//! Rules about what an agent is and what it says of itself.

use super::Finding;
use super::observed::{Observed, judge};
use crate::LoadError;
use crate::witness::Violation;

pub(super) fn is_an_agent_that_the_host_serves(observed: &Observed) -> Finding {
    match &observed.load_error {
        Some(error) if !matches!(error, LoadError::Describe(_)) => Finding::Failed(error.to_string()),
        _ => Finding::Passed,
    }
}

pub(super) fn starts_and_describes_itself_in_time(observed: &Observed) -> Finding {
    match &observed.load_error {
        None => Finding::Passed,
        Some(LoadError::Describe(text)) => {
            let words = observed.loading.last_words.as_ref();
            let words = words.map(|words| format!("; its last words: {words}")).unwrap_or_default();
            Finding::Failed(format!("{text}{words}"))
        }
        Some(_) => Finding::NotApplicable(observed.no_connection()),
    }
}

pub(super) fn describes_itself_within_limits(observed: &Observed) -> Finding {
    if observed.descriptions.is_empty() {
        return Finding::NotApplicable(observed.no_connection());
    }
    let violations = observed.loading.violations.iter();
    let mut broken = violations.filter(|(found, _)| *found == Violation::Description);
    judge(broken.next().map(|(_, how)| how.clone()))
}

pub(super) fn describes_itself_the_same_each_time(observed: &Observed) -> Finding {
    let [first, second] = &observed.descriptions[..] else {
        return Finding::NotApplicable(observed.no_connection());
    };
    judge((first != second).then(|| format!("first {first:?}, then {second:?}")))
}
