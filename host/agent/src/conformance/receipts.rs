//! Rules about an agent that can be asked about receipts.

use postern_model::ReceiptState;

use super::Finding;
use super::observed::{Observed, Part, Said, Step, judge};
use crate::Interfaces;
use crate::witness::Violation;

fn lacks(observed: &Observed) -> Option<Finding> {
    observed.lacks("receipts", |interfaces| interfaces.receipts)
}

pub(super) fn poll_returns(observed: &Observed) -> Finding {
    lacks(observed).unwrap_or_else(|| judge(observed.part(Part::Receipts).find_map(Step::fault)))
}

/// The suite asks about ids that nobody has given out.
pub(super) fn no_receipt_is_made_up(observed: &Observed) -> Finding {
    if let Some(lacks) = lacks(observed) {
        return lacks;
    }
    if observed.is_granted {
        let text = "it was granted a way out, so the far end may know of these ids";
        return Finding::NotApplicable(text.to_owned());
    }
    let made_up = |step: &Step| {
        let Said::Polled(Ok(receipts)) = &step.said else { return None };
        let end = receipts.iter().find(|receipt| !matches!(receipt.state, ReceiptState::Pending(_)))?;
        Some(format!("{}: it knows the end of {:?}: {:?}", step.what, end.id, end.state))
    };
    judge(observed.part(Part::Receipts).find_map(made_up))
}

pub(super) fn receipts_fit(observed: &Observed) -> Finding {
    let Interfaces { receipts, session, callback, .. } = observed.interfaces;
    if !receipts && !session && !callback && observed.load_error.is_none() {
        return Finding::NotApplicable("it has no way to bring receipts but its reports".to_owned());
    }
    observed.never(Violation::UnfitReceipt, Step::brings_receipts)
}
