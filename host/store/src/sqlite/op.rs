//! Op: one write on its way to the writer thread, with everything written out that can be done beforehand.

use std::sync::Arc;

use bytes::Bytes;
use postern_model::{Content, Fate, Item, ItemId, MessageInfo, NextHop, Origin, TrackingEvent};
use serde::Serialize;

use crate::commit::Answer;
use crate::{
    AgentStateChange, CountersChange, EarlyReceipt, InboundId, PastReceipt, Put, PutDone, QueueSetting,
    ReceiptsChange, Settle, SettleDone, StoreError, StoredReceipt,
};

/// A write. The texts are JSON.
pub(super) enum Op {
    Put(Box<PutOp>, Answer<PutDone>),
    Settle(Box<SettleOp>, Answer<SettleDone>),
    SetQueue(NextHop, QueueSetting, Answer<()>),
    Record(Vec<String>, Answer<()>),
    ChangeReceipts(Box<ReceiptsOp>, Answer<()>),
    ChangeAgentState(Box<AgentStateChange>, Answer<()>),
    /// The item of an intent, and the intent.
    PutIntent(ItemId, String, Answer<()>),
    /// Received before this many microseconds since 1970, at most so many.
    ForgetInbound(i64, usize, Answer<usize>),
    DropOutbox(String, Vec<String>, Answer<()>),
    DropEvents(u64, Answer<()>),
    Flush(Answer<()>),
    /// Finish what was handed in before, and end.
    Close,
}

/// A message with its items.
pub(super) struct PutOp {
    pub(super) message: Arc<MessageInfo>,
    pub(super) info: String,
    pub(super) items: Vec<Item>,
    pub(super) item_texts: Vec<String>,
    pub(super) event: String,
    /// As it lies now: in memory, or in `big/`.
    pub(super) content: Content,
    pub(super) sha256: [u8; 32],
    /// False when a file of this name was there before, so that it must be left alone.
    pub(super) owns_file: bool,
    pub(super) outbox_key: Option<String>,
    pub(super) inbound: Option<InboundId>,
    pub(super) recipients: u64,
    /// What it counts in the budget of waiting bytes.
    pub(super) cost: u64,
}

/// A settlement.
pub(super) struct SettleOp {
    pub(super) item: ItemId,
    /// What [`crate::QueueIndex::settling`] gave.
    pub(super) token: Option<u64>,
    pub(super) after: Option<Item>,
    pub(super) after_text: Option<String>,
    pub(super) new_items: Vec<Item>,
    pub(super) new_item_texts: Vec<String>,
    pub(super) events: Vec<String>,
    /// (key, request).
    pub(super) dsns: Vec<(String, String)>,
    pub(super) fates: CountersChange,
    /// (connector, id, receipt).
    pub(super) receipts: Vec<(String, String, String)>,
    pub(super) finished_receipts: Vec<(String, String)>,
    /// (connector, id, receipt).
    pub(super) past_receipts: Vec<(String, String, String)>,
    pub(super) agent_state: Option<AgentStateChange>,
    pub(super) attempt_ended: bool,
}

/// A change of what is known about receipts.
pub(super) struct ReceiptsOp {
    /// (connector, id, item).
    pub(super) finished: Vec<(String, String, ItemId)>,
    pub(super) noted: Vec<u64>,
    pub(super) early: Vec<(EarlyKey, String)>,
    pub(super) no_longer_early: Vec<EarlyKey>,
    pub(super) events: Vec<String>,
}

/// What names an early receipt.
pub(super) struct EarlyKey {
    pub(super) connector: String,
    pub(super) id: String,
    /// Empty when the receipt names none.
    pub(super) address: String,
}

impl EarlyKey {
    fn of(early: &EarlyReceipt) -> Self {
        let EarlyReceipt { connector, receipt, .. } = early;
        let address = receipt.address.clone().unwrap_or_default();
        Self { connector: connector.clone(), id: receipt.id.clone(), address }
    }
}

impl ReceiptsOp {
    /// Writes a change out.
    pub(super) fn new(change: ReceiptsChange) -> Result<Self, StoreError> {
        let early = |e: EarlyReceipt| Ok((EarlyKey::of(&e), json(&e)?));
        Ok(Self {
            finished: change.finished.into_iter().map(|r| (r.connector, r.id, r.item)).collect(),
            noted: change.noted,
            early: change.early.into_iter().map(early).collect::<Result<_, StoreError>>()?,
            no_longer_early: change.no_longer_early.iter().map(EarlyKey::of).collect(),
            events: texts(&change.events)?,
        })
    }
}

impl PutOp {
    /// Checks a put and writes it out; the content comes later.
    pub(super) fn new(put: Put) -> Result<Self, StoreError> {
        let message = put.message;
        if put.items.is_empty() {
            return Err(StoreError::Invalid(format!("message {} has no items", message.id)));
        }
        let mut ordinals: Vec<u16> = put.items.iter().map(|i| i.id.ordinal).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        if ordinals.len() != put.items.len() || put.items.iter().any(|i| i.id.message != message.id) {
            return Err(StoreError::Invalid(format!("the items of message {} have wrong ids", message.id)));
        }
        if message.size != put.content.size() {
            let (said, found) = (message.size, put.content.size());
            return Err(StoreError::Invalid(format!("message {} of {found} bytes says {said}", message.id)));
        }
        put.inbound.as_ref().map_or(Ok(()), InboundId::check)?;
        let info = json(&*message)?;
        let item_texts = texts(&put.items)?;
        let event = json(&put.event)?;
        let texts = info.len() + event.len() + item_texts.iter().map(String::len).sum::<usize>();
        let body = match &put.content {
            Content::Memory(bytes) => bytes.len(),
            Content::File { .. } => 0,
        };
        Ok(Self {
            recipients: put.items.iter().map(|i| i.recipients.len() as u64).sum(),
            cost: (texts + body) as u64,
            info,
            item_texts,
            event,
            items: put.items,
            message,
            content: put.content,
            sha256: [0; 32],
            owns_file: true,
            outbox_key: put.outbox_key,
            inbound: put.inbound,
        })
    }

    /// The body when it goes into the row.
    pub(super) fn inline(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::File { .. } => None,
        }
    }

    /// The counter of its recipients.
    pub(super) fn counter(&self) -> &'static str {
        match self.message.origin {
            Origin::Accepted => ACCEPTED,
            Origin::Generated => GENERATED,
        }
    }
}

impl SettleOp {
    /// Checks a settlement and writes it out.
    pub(super) fn new(settle: Settle) -> Result<Self, StoreError> {
        let id = settle.item;
        if settle.after.as_ref().is_some_and(|after| after.id != id) {
            return Err(StoreError::Invalid(format!("a settlement of {id} with another item")));
        }
        let foreign = |item: &Item| item.id.message != id.message || item.id == id;
        if settle.new_items.iter().any(foreign) {
            return Err(StoreError::Invalid(format!("a settlement of {id} with new items of wrong ids")));
        }
        if settle.receipts.iter().any(|r| r.item != id) {
            return Err(StoreError::Invalid(format!("a settlement of {id} with receipts of another item")));
        }
        settle.agent_state.as_ref().map_or(Ok(()), AgentStateChange::check_keys)?;
        let receipt = |r: &StoredReceipt| Ok((r.connector.clone(), r.id.clone(), json(r)?));
        let past = |r: &PastReceipt| Ok((r.connector.clone(), r.id.clone(), json(r)?));
        Ok(Self {
            item: id,
            token: None,
            after_text: settle.after.as_ref().map(json).transpose()?,
            after: settle.after,
            new_item_texts: texts(&settle.new_items)?,
            new_items: settle.new_items,
            events: texts(&settle.events)?,
            dsns: settle
                .dsns
                .iter()
                .map(|dsn| Ok((dsn.key.clone(), json(dsn)?)))
                .collect::<Result<_, StoreError>>()?,
            fates: settle.fates,
            receipts: settle.receipts.iter().map(receipt).collect::<Result<_, StoreError>>()?,
            finished_receipts: settle.finished_receipts,
            agent_state: settle.agent_state,
            attempt_ended: settle.attempt_ended,
            past_receipts: settle.past_receipts.iter().map(past).collect::<Result<_, StoreError>>()?,
        })
    }
}

impl Op {
    /// Whether it is a message, which waits when there is no room.
    pub(super) fn is_put(&self) -> bool {
        matches!(self, Self::Put(..))
    }

    /// Bytes that it adds to a group, roughly.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(put, _) => usize::try_from(put.cost).unwrap_or(usize::MAX),
            Self::Settle(settle, _) => 1024 + settle.agent_state.as_ref().map_or(0, AgentStateChange::bytes),
            Self::ChangeAgentState(change, _) => change.bytes(),
            _ => 64,
        }
    }

    /// Answers that it is durable, where nothing more is to be said.
    pub(super) fn confirm(self) {
        match self {
            Self::Record(_, answer)
            | Self::ChangeReceipts(_, answer)
            | Self::ChangeAgentState(_, answer)
            | Self::PutIntent(_, _, answer)
            | Self::DropOutbox(_, _, answer)
            | Self::DropEvents(_, answer)
            | Self::SetQueue(_, _, answer)
            | Self::Flush(answer) => drop(answer.send(Ok(()))),
            Self::Put(..) | Self::Settle(..) | Self::ForgetInbound(..) | Self::Close => {}
        }
    }

    /// Answers that it did not happen. Whoever asked may have gone, so a failed sending does not matter.
    pub(super) fn refuse(self, error: StoreError) {
        match self {
            Self::Put(_, answer) => drop(answer.send(Err(error))),
            Self::Settle(_, answer) => drop(answer.send(Err(error))),
            Self::ForgetInbound(_, _, answer) => drop(answer.send(Err(error))),
            Self::SetQueue(_, _, answer)
            | Self::Record(_, answer)
            | Self::ChangeReceipts(_, answer)
            | Self::ChangeAgentState(_, answer)
            | Self::PutIntent(_, _, answer)
            | Self::DropOutbox(_, _, answer)
            | Self::DropEvents(_, answer)
            | Self::Flush(answer) => drop(answer.send(Err(error))),
            Self::Close => {}
        }
    }
}

/// The counter of recipients of accepted messages.
pub(super) const ACCEPTED: &str = "accepted";
/// The counter of recipients of generated messages.
pub(super) const GENERATED: &str = "generated";

/// The counter of a fate: its word.
pub(super) fn fate_counter(fate: Fate) -> &'static str {
    fate.word()
}

/// Events as they are stored.
pub(super) fn event_texts(events: &[TrackingEvent]) -> Result<Vec<String>, StoreError> {
    texts(events)
}

fn texts<T: Serialize>(values: &[T]) -> Result<Vec<String>, StoreError> {
    values.iter().map(json).collect()
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|e| StoreError::Invalid(format!("it cannot be written as JSON: {e}")))
}
