//! Store: the trait between the host and whatever keeps its queues, and the writes it understands.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use postern_model::{
    Content, DsnRequest, EventRecipient, Fate, Item, ItemId, MessageId, MessageInfo, NextHop, TrackingEvent,
};
use serde::{Deserialize, Serialize};

use crate::{Commit, QueueIndex, Read};

/// Keeps everything that was accepted until its fate is decided.
///
/// Every write is all or nothing. A [`Commit`] that answers `Ok` is on the disk: it survives a crash of the
/// process and a power cut. After a commit the [`QueueIndex`] shows it, never before.
pub trait Store: Send + Sync + 'static {
    /// What is due, leased and waiting.
    fn index(&self) -> &Arc<QueueIndex>;

    /// Takes a message with its items. Nothing of it is stored when it fails.
    ///
    /// When [`Put::outbox_key`] is set and that DSN request is no longer in the outbox, nothing is stored and
    /// [`PutDone::repeated`] says so.
    fn put(&self, put: Put) -> Commit<PutDone>;

    /// Ends an attempt, or changes an item in another way, and gives its lease back. See [`Settle`].
    fn settle(&self, settle: Settle) -> Commit<SettleDone>;

    /// Suspends or resumes a queue.
    fn set_queue(&self, hop: NextHop, setting: QueueSetting) -> Commit<()>;

    /// Writes events that belong to no other write.
    fn record(&self, events: Vec<TrackingEvent>) -> Commit<()>;

    /// Forgets receipts and writes the events that say why (a drop file was taken, a word came twice).
    fn finish_receipts(&self, receipts: Vec<StoredReceipt>, events: Vec<TrackingEvent>) -> Commit<()>;

    /// An item with its message and content; `None` when it is gone.
    fn load(&self, item: ItemId) -> Read<Option<Loaded>>;

    /// A message with all its items and its content; `None` when it is gone.
    fn load_message(&self, message: MessageId) -> Read<Option<LoadedMessage>>;

    /// Ids of all messages that have an item, oldest first, after `after`, at most `limit`.
    fn messages(&self, after: Option<MessageId>, limit: usize) -> Read<Vec<MessageId>>;

    /// DSN requests that are not yet messages, oldest first.
    fn outbox(&self, limit: usize) -> Read<Vec<DsnRequest>>;

    /// Takes a DSN request out of the outbox without a message (it went to BadMail), with the events that say so.
    fn drop_outbox(&self, key: String, events: Vec<TrackingEvent>) -> Commit<()>;

    /// Receipts of a connector that have not come, oldest first, after the id `after`, at most `limit`.
    fn receipts(&self, connector: String, after: Option<String>, limit: usize) -> Read<Vec<StoredReceipt>>;

    /// One receipt.
    fn receipt(&self, connector: String, id: String) -> Read<Option<StoredReceipt>>;

    /// Events that were not yet moved to the tracking files: their sequence numbers and themselves, in order.
    fn events(&self, after: u64, limit: usize) -> Read<Vec<(u64, TrackingEvent)>>;

    /// Deletes events up to and with this sequence number: they are safe in the tracking files.
    fn drop_events(&self, up_to: u64) -> Commit<()>;

    /// The counters as they stand.
    fn counters(&self) -> Read<Counters>;

    /// Whether each body can be read and has its hash, and whether there are bodies that belong to no message:
    /// one line of text for each fault.
    fn check_bodies(&self) -> Read<Vec<String>>;

    /// Whether it takes writes.
    fn health(&self) -> StoreHealth;

    /// Answers when everything handed in before is durable. A store that is full also looks whether there is room again.
    fn flush(&self) -> Commit<()>;
}

/// A message to be taken.
#[derive(Clone, Debug)]
pub struct Put {
    /// The message.
    pub message: Arc<MessageInfo>,
    /// Its bytes. A [`Content::File`] must lie in the store's own `incoming` folder: it is moved, not copied.
    pub content: Content,
    /// One item for each next hop; never empty.
    pub items: Vec<Item>,
    /// The event that records it.
    pub event: TrackingEvent,
    /// The key of the DSN request that this message fulfils; it leaves the outbox in the same commit.
    pub outbox_key: Option<String>,
}

/// What came of a [`Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutDone {
    /// Nothing was stored, since the DSN request was fulfilled before.
    pub repeated: bool,
}

/// What an attempt, a receipt or an operator made of an item: one atomic commit.
#[derive(Clone, Debug)]
pub struct Settle {
    /// The item.
    pub item: ItemId,
    /// Its new state; `None` when it is gone (all done, or moved). The content goes with the last item of a message.
    pub after: Option<Item>,
    /// Items of the same message that come into being (redirected, resubmitted). Their ordinals are new.
    pub new_items: Vec<Item>,
    /// What happened.
    pub events: Vec<TrackingEvent>,
    /// DSNs that are owed.
    pub dsns: Vec<DsnRequest>,
    /// Recipients whose fate was decided.
    pub fates: CountersChange,
    /// Receipts to wait for.
    pub receipts: Vec<NewReceipt>,
    /// Receipts that came: (connector, id).
    pub finished_receipts: Vec<(String, String)>,
}

impl Settle {
    /// A settlement that only replaces the item.
    #[must_use]
    pub fn replace(item: Item) -> Self {
        Self {
            item: item.id,
            after: Some(item),
            ..Self::gone_silently(ItemId { message: MessageId::from_bytes([0; 16]), ordinal: 0 })
        }
    }

    /// A settlement that removes the item and says nothing else; a base to fill in.
    #[must_use]
    pub fn gone_silently(item: ItemId) -> Self {
        Self {
            item,
            after: None,
            new_items: Vec::new(),
            events: Vec::new(),
            dsns: Vec::new(),
            fates: CountersChange::default(),
            receipts: Vec::new(),
            finished_receipts: Vec::new(),
        }
    }
}

/// What came of a [`Settle`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettleDone {
    /// The message went with its last item.
    pub message_gone: bool,
}

/// Recipients whose fate was decided by one write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountersChange(pub Vec<(Fate, u32)>);

impl CountersChange {
    /// Counts one more recipient with this fate.
    pub fn add(&mut self, fate: Fate) {
        match self.0.iter_mut().find(|(f, _)| *f == fate) {
            Some((_, n)) => *n += 1,
            None => self.0.push((fate, 1)),
        }
    }
}

/// Recipients ever accepted and generated, and decided, since the store was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Recipients of messages that came in through a door.
    pub accepted: u64,
    /// Recipients of messages that we made.
    pub generated: u64,
    /// Recipients by fate.
    pub fates: BTreeMap<Fate, u64>,
}

/// A receipt to wait for.
pub type NewReceipt = StoredReceipt;

/// A receipt that has not come.
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
    /// When the far end gave it.
    pub at: Timestamp,
    /// When waiting ends.
    pub expires_at: Timestamp,
}

/// An item with everything needed to deliver it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The message.
    pub message: Arc<MessageInfo>,
    /// The item.
    pub item: Arc<Item>,
    /// The message's bytes.
    pub content: Content,
}

/// A message with everything that waits of it.
#[derive(Clone, Debug)]
pub struct LoadedMessage {
    /// The message.
    pub message: Arc<MessageInfo>,
    /// Its items that are not done.
    pub items: Vec<Item>,
    /// The message's bytes.
    pub content: Content,
}

/// What an operator decided about a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueSetting {
    /// Works as it should.
    Active,
    /// Nothing is tried.
    Suspended {
        /// Why, for the queue view.
        reason: String,
    },
}

/// Whether a store takes writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreHealth {
    /// Everything.
    Ready,
    /// No new messages until there is room again, which a message or [`Store::flush`] finds out; settlements still go
    /// through.
    Full(String),
    /// A write or a sync failed: nothing more is written, and the host must be restarted.
    Poisoned(String),
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error, Clone)]
pub enum StoreError {
    /// The disk, the page limit or the reserve is used up; nothing was stored.
    #[error("the store is full: {0}")]
    Full(String),
    /// A write or sync failed; the store takes no more writes until the host is restarted.
    #[error("the store has stopped after a failed write: {0}")]
    Poisoned(String),
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
    /// Another process has the data directory.
    #[error(
        "the data directory {directory} is in use by another postern host (pid {pid}); stop it first, or give this one a directory of its own"
    )]
    Locked {
        /// The directory.
        directory: String,
        /// The process that has it.
        pid: String,
    },
    /// The store was written by a newer version.
    #[error(
        "the store has format version {found}, and this postern knows {known}: use the version that wrote it, or a newer one"
    )]
    Version {
        /// What it is.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// Something stored cannot be read.
    #[error("the store cannot be read: {0}")]
    Damaged(String),
    /// A write that makes no sense (an unknown item, a message without items).
    #[error("not a valid write: {0}")]
    Invalid(String),
    /// The operating system refused.
    #[error("{0}")]
    Io(String),
}
