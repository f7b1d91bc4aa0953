//! Store: the trait between the host and whatever keeps its queues, and the writes it understands.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use postern_model::{
    Content, DsnRequest, Fate, Item, ItemId, MessageId, MessageInfo, NextHop, TrackingEvent,
};
use serde::{Deserialize, Serialize};

use crate::{
    AgentStateChange, Commit, EarlyReceipt, FoundReceipts, InboundId, Intent, NewReceipt, PastReceipt,
    QueueIndex, Read, ReceiptKey, ReceiptsChange, StoredReceipt,
};

/// Keeps everything that was accepted until its fate is decided.
///
/// Every write is all or nothing. A [`Commit`] that answers `Ok` is on the disk: it survives a crash of the
/// process and a power cut. After a commit the [`QueueIndex`] shows it, never before.
pub trait Store: Send + Sync + 'static {
    /// What is due, leased and waiting.
    fn index(&self) -> &Arc<QueueIndex>;

    /// Takes a message with its items. Nothing of it is stored when it fails.
    ///
    /// When [`Put::outbox_key`] is set and that DSN request is no longer in the outbox, nothing is stored:
    /// [`PutDone::Repeated`]. When [`Put::inbound`] is set and was seen before, nothing is stored either:
    /// [`PutDone::AlreadyKnown`].
    fn put(&self, put: Put) -> Commit<PutDone>;

    /// Ends an attempt, or changes an item in another way, and gives its lease back. See [`Settle`].
    fn settle(&self, settle: Settle) -> Commit<SettleDone>;

    /// Suspends or resumes a queue.
    fn set_queue(&self, hop: NextHop, setting: QueueSetting) -> Commit<()>;

    /// Writes events that belong to no other write.
    fn record(&self, events: Vec<TrackingEvent>) -> Commit<()>;

    /// Changes what is known about receipts, beside what settlements do. See [`ReceiptsChange`].
    fn change_receipts(&self, change: ReceiptsChange) -> Commit<()>;

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

    /// Receipts of a connector that have not come, in the order of their ids and then of their items, behind the key
    /// `after` (which need not be there any more), at most `limit`.
    fn receipts(
        &self,
        connector: String,
        after: Option<ReceiptKey>,
        limit: usize,
    ) -> Read<Vec<StoredReceipt>>;

    /// What is known about one receipt id, as of one moment.
    fn find_receipts(&self, connector: String, id: String) -> Read<FoundReceipts>;

    /// Receipts that came early, at most `limit`.
    fn early_receipts(&self, limit: usize) -> Read<Vec<EarlyReceipt>>;

    /// Forgets [`InboundId`]s of messages that were received before this time, the oldest first, at most `limit`; how
    /// many there were. A repeat of them is a new message from then on.
    fn forget_inbound(&self, before: Timestamp, limit: usize) -> Commit<usize>;

    /// Records that an attempt is about to hand something over. Only when this has returned may the first byte leave. It
    /// takes the place of an older one of the item.
    fn put_intent(&self, intent: Intent) -> Commit<()>;

    /// The intents of attempts that have not ended, in the order in which their messages came. After a start these are
    /// the attempts that a crash cut off.
    fn intents(&self) -> Read<Vec<Intent>>;

    /// A value of an agent's state; `None`: the key has none.
    fn agent_state(&self, connector: String, key: String) -> Read<Option<Vec<u8>>>;

    /// The keys of a connector's state that begin so, in their order, at most `limit`.
    fn agent_state_keys(&self, connector: String, prefix: String, limit: usize) -> Read<Vec<String>>;

    /// Bytes that the state of a connector takes, keys and values together.
    fn agent_state_usage(&self, connector: String) -> Read<u64>;

    /// Changes a connector's state. To change it together with what an attempt made of an item, see
    /// [`Settle::agent_state`].
    fn change_agent_state(&self, change: AgentStateChange) -> Commit<()>;

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
    /// What names it at the far side, when an agent handed it in: with the message it is remembered, so that it is
    /// taken once.
    pub inbound: Option<InboundId>,
}

/// What came of a [`Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutDone {
    /// It is stored.
    Stored,
    /// Nothing was stored, since the DSN request was fulfilled before.
    Repeated,
    /// Nothing was stored, since the message with this id came from the far side under the same id.
    AlreadyKnown(MessageId),
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
    /// Receipts of this item to wait for. One that is waited for already is replaced.
    pub receipts: Vec<NewReceipt>,
    /// Receipts of this item that are not waited for any longer: (connector, id).
    pub finished_receipts: Vec<(String, String)>,
    /// Receipts to remember. A store keeps the last so many of all its connectors.
    pub past_receipts: Vec<PastReceipt>,
    /// What the agent wrote on the way. When it may not be made ([`StoreError::StateConflict`],
    /// [`StoreError::StateFull`]), nothing of the settlement is, and another one has to be handed in: who holds a lease
    /// uses [`Store::settle`] for the first, which leaves the lease alone, and ends it with the one that is taken.
    pub agent_state: Option<AgentStateChange>,
    /// An attempt has ended: its [`Intent`] goes. Without this it stays, unless the item goes.
    pub attempt_ended: bool,
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
            past_receipts: Vec::new(),
            agent_state: None,
            attempt_ended: false,
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
    /// A value of an agent's state is not as it was expected: somebody else changed it. Nothing was stored.
    #[error("the state of connector {connector} has changed under the key {key:?}")]
    StateConflict {
        /// The connector.
        connector: String,
        /// The first key whose check failed.
        key: String,
    },
    /// An agent's state would become larger than it may. Nothing was stored.
    #[error("the state of connector {connector} would take {bytes} bytes, and {quota} are granted")]
    StateFull {
        /// The connector.
        connector: String,
        /// What it would take.
        bytes: u64,
        /// What it may.
        quota: u64,
    },
    /// A write that makes no sense (an unknown item, a message without items).
    #[error("not a valid write: {0}")]
    Invalid(String),
    /// The operating system refused.
    #[error("{0}")]
    Io(String),
}
