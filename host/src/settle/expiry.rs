//! What time alone makes of an item: expiry, delay DSNs, receipts that never came.

use jiff::Timestamp;
use postern_model::{Fate, Item, ItemRecipient, RecipientState, Response};

use super::whereabouts::{fate, settle_taken, unknown};
use super::{Context, Draft, QueueEffect, Settlement, Told};
use crate::connector::Whereabouts;

/// What is due by the clock.
struct Due {
    /// Queued recipients are past the item's expiry.
    expired: bool,
    /// A delay DSN.
    late: bool,
    /// The receipts of accepted recipients never came.
    silent: bool,
}

impl Due {
    fn of(item: &Item, now: Timestamp) -> Self {
        // Poison has no deadline: it stays until an operator decides.
        let runs = item.deadline().is_some();
        let silent = |entry: &ItemRecipient| match &entry.state {
            RecipientState::Pending { expires_at, .. } => *expires_at <= now,
            _ => false,
        };
        Self {
            expired: runs && item.expires_at.is_some_and(|at| at <= now),
            late: runs && item.delay_dsn_at.is_some_and(|at| at <= now),
            silent: item.recipients.iter().any(silent),
        }
    }
}

/// Whether the clock decides recipients of the item now, so that what was handed over of it is to be taken back first.
#[must_use]
pub fn decides_by_time(item: &Item, now: Timestamp) -> bool {
    let due = Due::of(item, now);
    due.expired || due.silent
}

/// Settles what is due by the clock: queued recipients past the item's expiry, a delay DSN, accepted recipients whose
/// receipts never came. `whereabouts` is about what was handed over of the item; one file stands for all its recipients,
/// so when it was taken back they all end. Of poison the queued recipients stay until an operator decides. `None` when
/// nothing is due.
pub fn settle_by_time(context: Context<'_>, item: &Item, whereabouts: &Whereabouts) -> Option<Settlement> {
    let now = context.now;
    let due = Due::of(item, now);
    if !(due.expired || due.late || due.silent) {
        return None;
    }
    if let Whereabouts::Taken(receipt) = whereabouts {
        return Some(settle_taken(context, item, receipt));
    }
    let withdrawn = matches!(whereabouts, Whereabouts::Withdrawn { .. });
    let mut draft = Draft::new(context, item);
    for position in 0..item.recipients.len() {
        let otherwise = match &item.recipients[position].state {
            RecipientState::Queued { last } if due.expired || withdrawn => {
                let last =
                    last.as_ref().map_or_else(String::new, |r| format!("; the last attempt said: {r}"));
                let text = format!("could not be delivered in time{last}");
                // RFC 3463: 4.4.7 is "delivery time expired"; the failure itself is permanent, so class 5.
                (Fate::Expired, Response::new(554, (5, 4, 7), &text), Told::default())
            }
            RecipientState::Pending { response, .. } if withdrawn => {
                let text =
                    format!("{response}, and not taken by the gateway in time; the file was withdrawn");
                (Fate::Expired, Response::new(554, (5, 4, 7), &text), Told::default())
            }
            RecipientState::Pending { expires_at, response, .. } if *expires_at <= now => {
                let text =
                    format!("accepted by the far end ({response}), which never said what became of it");
                unknown(context.policy, &text)
            }
            _ => continue,
        };
        let (fate, response, told) = fate(context.policy, whereabouts, otherwise);
        draft.decide(position, fate, response, told);
    }
    draft.warn_of_delay();
    Some(draft.finish(QueueEffect::None))
}
