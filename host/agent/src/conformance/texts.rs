//! Rules about the texts that others will read.

use super::Finding;
use super::observed::{Observed, Step, judge};
use crate::witness::Violation;

pub(super) fn texts_are_short_lines(observed: &Observed) -> Finding {
    observed.never(Violation::Text, |step| step.is_deliver() || step.is_open())
}

/// The suite makes up every secret that the agent asks for, and looks for it in all that the agent says.
pub(super) fn no_secret_is_shown(observed: &Observed) -> Finding {
    if observed.load_error.is_some() {
        return Finding::NotApplicable(observed.no_connection());
    }
    if !observed.asked_for_secrets {
        return Finding::NotApplicable("it asked for no secret".to_owned());
    }
    let shown = |step: &Step| Some(format!("{}: {}", step.what, step.seen.leaks.first()?));
    judge(observed.loading.leaks.first().cloned().or_else(|| observed.steps.iter().find_map(shown)))
}
