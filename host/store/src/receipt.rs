//! What a store keeps of receipts: those that are waited for, those whose word has come, those that came too early.

use jiff::Timestamp;
use postern_model::{EventRecipient, ItemId, MessageId, Receipt, ReceiptWord, TrackingEvent, TypedAddress};
use serde::{Deserialize, Serialize};

/// A receipt that has not come. There is one for each connector, id and item: far ends may give one id to several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReceipt {
    /// The connector whose agent or gateway gave the id.
    pub connector: String,
    /// The id.
    pub id: String,
    /// The item it belongs to.
    pub item: ItemId,
    /// The destination, for events.
    pub destination: String,
    /// The reverse-path, for events.
    pub sender: String,
    /// The recipients it stands for.
    pub recipients: Vec<EventRecipient>,
    /// The recipients wait for it. False: their fate is decided, and the receipt is only watched (a drop file that
    /// was reported as relayed when it was published).
    pub decides: bool,
    /// When the far end gave it, or last said something about one of its recipients.
    pub at: Timestamp,
    /// When waiting ends.
    pub expires_at: Timestamp,
    /// Names the call that brought the id, where that was about several items: those with the same id from the same
    /// call are one job at the far end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
}

/// A receipt to wait for.
pub type NewReceipt = StoredReceipt;

impl StoredReceipt {
    /// What names it within its connector.
    #[must_use]
    pub fn key(&self) -> ReceiptKey {
        ReceiptKey { id: self.id.clone(), item: self.item }
    }

    /// Whether a receipt may be about one of its recipients; see [`Receipt::is_about`].
    #[must_use]
    pub fn fits(&self, receipt: &Receipt) -> bool {
        is_about_any(receipt, &self.recipients)
    }
}

/// Names a stored receipt within its connector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReceiptKey {
    /// The id.
    pub id: String,
    /// The item.
    pub item: ItemId,
}

impl ReceiptKey {
    /// A key behind those of all items that wait for this id, and before those of the next.
    #[must_use]
    pub fn behind(id: String) -> Self {
        // Generated ids never are the last possible one.
        Self { id, item: ItemId { message: MessageId::from_bytes([0xff; 16]), ordinal: u16::MAX } }
    }
}

/// A receipt that nobody waits for any longer, remembered so that a word that comes again or too late is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastReceipt {
    /// The connector.
    pub connector: String,
    /// The id.
    pub id: String,
    /// The item it belonged to.
    pub item: ItemId,
    /// The destination, for events.
    pub destination: String,
    /// The reverse-path, for events.
    pub sender: String,
    /// The recipients who waited for it until then.
    pub recipients: Vec<EventRecipient>,
    /// The word that came. `None`: the wait ended without one (it took too long, an operator removed the item, or
    /// another receipt of the same recipient had decided).
    pub word: Option<ReceiptWord>,
    /// When the wait ended.
    pub at: Timestamp,
}

impl PastReceipt {
    /// Whether a receipt may be about one of its recipients; see [`Receipt::is_about`].
    #[must_use]
    pub fn fits(&self, receipt: &Receipt) -> bool {
        is_about_any(receipt, &self.recipients)
    }
}

/// A past receipt as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedReceipt {
    /// Names it in [`ReceiptsChange::noted`].
    pub number: u64,
    /// A later word that does not fit was noted before.
    pub noted: bool,
    /// The receipt.
    pub receipt: PastReceipt,
}

/// A receipt that came when nobody waited for it, perhaps before its hand-over was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyReceipt {
    /// The connector.
    pub connector: String,
    /// What came.
    pub receipt: Receipt,
    /// When it came first.
    pub at: Timestamp,
}

/// Everything that is known about one receipt id of a connector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundReceipts {
    /// Those that are waited for, at most [`Self::MAX_WAITING`].
    pub waiting: Vec<StoredReceipt>,
    /// Those that are past, the newest first, at most [`Self::MAX_PAST`].
    pub past: Vec<RememberedReceipt>,
}

impl FoundReceipts {
    /// The most items that are told of as waiting for one id. Where it is met there may be more.
    pub const MAX_WAITING: usize = 256;
    /// The most past receipts that are told of one id.
    pub const MAX_PAST: usize = 16;
}

/// A change of what is known about receipts that is part of no settlement. One atomic commit.
#[derive(Clone, Debug, Default)]
pub struct ReceiptsChange {
    /// Those that came and decided nothing (a drop file was taken): forgotten.
    pub finished: Vec<StoredReceipt>,
    /// Past ones, by number, to which a word came that does not fit: noted, so that it is told once.
    pub noted: Vec<u64>,
    /// Came early: kept. One that is kept already, with the same id and address, stays as it is.
    pub early: Vec<EarlyReceipt>,
    /// Are early no longer.
    pub no_longer_early: Vec<EarlyReceipt>,
    /// The events that say so.
    pub events: Vec<TrackingEvent>,
}

fn is_about_any(receipt: &Receipt, recipients: &[EventRecipient]) -> bool {
    // What events show of an address can be read as one again.
    let about = |r: &EventRecipient| TypedAddress::parse(&r.address).is_ok_and(|a| receipt.is_about(&a));
    receipt.address.is_none() || recipients.iter().any(about)
}
