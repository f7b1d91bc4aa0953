//! What time alone makes of an item: expiry, delay DSNs, receipts that never came.

use postern_model::{Fate, Item, RecipientState, Response};

use super::{Context, Draft, QueueEffect, Settlement, Told};
use crate::config::OnReceiptExpiry;

/// The word on a recipient whose receipts never came; its class fits what the sender is told. RFC 3463: x.4.7 is
/// "delivery time expired".
fn silence(rule: OnReceiptExpiry, accepted: &Response) -> Response {
    let (code, status) = match rule {
        OnReceiptExpiry::FailureDsn => (550, (5, 4, 7)),
        OnReceiptExpiry::DelayDsn => (451, (4, 4, 7)),
        OnReceiptExpiry::Success => (250, (2, 0, 0)),
    };
    let text = format!("accepted by the far end ({accepted}), which never said what became of it");
    Response::new(code, status, &text)
}

/// Settles what is due by the clock: queued recipients past the item's expiry, a delay DSN, accepted recipients whose
/// receipts never came. `None` when nothing is due. Of poison the queued recipients stay until an operator decides.
pub fn settle_by_time(context: Context<'_>, item: &Item) -> Option<Settlement> {
    let now = context.now;
    let runs = item.deadline().is_some();
    let expired = runs && item.expires_at.is_some_and(|at| at <= now);
    let late = runs && item.delay_dsn_at.is_some_and(|at| at <= now);
    let silent = item
        .recipients
        .iter()
        .any(|r| matches!(&r.state, RecipientState::Pending { expires_at, .. } if *expires_at <= now));
    if !(expired || late || silent) {
        return None;
    }
    let mut draft = Draft::new(context, item);
    for position in 0..item.recipients.len() {
        match &item.recipients[position].state {
            RecipientState::Queued { last } if expired => {
                let last =
                    last.as_ref().map_or_else(String::new, |r| format!("; the last attempt said: {r}"));
                let text = format!("could not be delivered in time{last}");
                // RFC 3463: 4.4.7 is "delivery time expired"; the failure itself is permanent, so class 5.
                let response = Response::new(554, (5, 4, 7), &text);
                draft.decide(position, Fate::Expired, response, Told::default());
            }
            RecipientState::Pending { expires_at, response, .. } if *expires_at <= now => {
                let response = silence(context.policy.on_receipt_expiry, response);
                let told = Told { unconfirmed: true, ..Told::default() };
                draft.decide(position, Fate::Unknown, response, told);
            }
            _ => {}
        }
    }
    draft.warn_of_delay();
    Some(draft.finish(QueueEffect::None))
}
