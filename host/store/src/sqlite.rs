//! SqliteStore: the embedded store. One database with one writer thread, and files for big bodies beside it.
//!
//! The data directory holds `LOCK`, `queue.db` with its `-wal` and `-shm`, `big/` and `incoming/`.

mod agent_state;
mod bodies;
mod check;
mod group;
mod lock;
mod migration;
mod op;
mod options;
mod queries;
mod readers;
mod receipts;
mod room;
mod schema;
mod stage;
mod start;
mod upkeep;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use jiff::Timestamp;
use postern_model::{Content, DsnRequest, ItemId, MessageId, NextHop, TrackingEvent};
use rusqlite::ErrorCode;
use sha2::{Digest, Sha256};

use crate::{
    AgentStateChange, Commit, Counters, EarlyReceipt, FoundReceipts, Intent, Loaded, LoadedMessage, Put,
    PutDone, QueueIndex, QueueSetting, Read, ReceiptKey, ReceiptsChange, Settle, SettleDone, Store,
    StoreError, StoreHealth, StoredReceipt,
};
use bodies::Bodies;
pub use bodies::IncomingFile;
use lock::DirectoryLock;
use op::{Op, PutOp, ReceiptsOp, SettleOp, event_texts};
pub use options::SqliteOptions;
use readers::Readers;
use stage::Stage;
use writer::Shared;

/// The embedded store.
///
/// Dropping it waits until everything handed in is written. Writes of one caller are committed in the order in
/// which they were handed in, but for messages with big bodies: those follow when their file is on the disk.
pub struct SqliteStore {
    database: PathBuf,
    shared: Arc<Shared>,
    ops: Sender<Op>,
    stage: Option<Stage>,
    readers: Readers,
    threads: Vec<JoinHandle<()>>,
    max_waiting: u64,
    faults: Vec<String>,
    // Last, so that it is let go when everything else is closed.
    _lock: DirectoryLock,
}

impl SqliteStore {
    /// Opens the store in a directory, and makes both when they are not there.
    ///
    /// Blocking: it reads every item (a few seconds for a million).
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it, [`StoreError::Version`] when a newer version wrote it,
    /// [`StoreError::Damaged`] when it cannot be read (nothing is repaired or removed), [`StoreError::Io`].
    pub fn open(directory: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        make_private(directory)?;
        let lock = DirectoryLock::take(directory)?;
        let database = directory.join("queue.db");
        let connection = schema::open_writer(&database, &options)?;
        let (bodies, doomed) = Bodies::open(directory, &options)?;
        // Names of new files and folders survive a power cut only with this.
        let synced = std::fs::File::open(directory).and_then(|folder| folder.sync_all());
        synced.map_err(|e| io_error("sync", directory, &e))?;
        let index = QueueIndex::new(options.fresh_bytes);
        let found = start::read(&connection, &index, &bodies)?;
        let shared = Arc::new(Shared {
            index,
            bodies: Arc::clone(&bodies),
            health: Mutex::new(StoreHealth::Ready),
            waiting: AtomicU64::new(0),
            groups: AtomicU64::new(0),
        });
        let readers = Readers::start(&database, options.readers)?;
        let (ops, receiver) = channel();
        let stage = Stage::start(Arc::clone(&shared), ops.clone())?;
        let sweeper = thread("store-sweep", move || bodies.sweep(&doomed))?;
        let max_waiting = options.max_waiting;
        let start = writer::Start {
            connection,
            database: database.clone(),
            options,
            shared: Arc::clone(&shared),
            numbers: found.numbers,
            files: found.files,
        };
        let writer = thread("store-write", move || writer::run(start, &receiver))?;
        let (stage, threads) = (Some(stage), vec![writer, sweeper]);
        let faults = found.faults;
        Ok(Self { database, shared, ops, stage, readers, threads, max_waiting, faults, _lock: lock })
    }

    /// The folder for contents on their way in; see [`IncomingFile`]. It is emptied at start.
    #[must_use]
    pub fn incoming(&self) -> PathBuf {
        self.shared.bodies.incoming().to_owned()
    }

    /// What could not be read at start, one line each; the rest is served.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Commits since it was opened: each is one sync of the log.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    /// Hands a write to the writer, which answers it.
    fn hand_in(&self, op: Op) {
        if let Err(lost) = self.ops.send(op) {
            self.shared.writer_is_gone(lost.0);
        }
    }

    fn write(&self, make: impl FnOnce(crate::commit::Answer<()>) -> Result<Op, StoreError>) -> Commit<()> {
        let (answer, commit) = Commit::pair();
        match make(answer) {
            Ok(op) => {
                self.hand_in(op);
                commit
            }
            Err(error) => Commit::ready(Err(error)),
        }
    }

    /// Counts a message in the budget of what waits.
    fn admit(&self, cost: u64) -> Result<(), StoreError> {
        if let StoreHealth::Poisoned(why) = self.shared.health() {
            return Err(StoreError::Poisoned(why));
        }
        let before = self.shared.waiting.fetch_add(cost, Ordering::Relaxed);
        if before > 0 && before + cost > self.max_waiting {
            self.shared.waiting.fetch_sub(cost, Ordering::Relaxed);
            return Err(StoreError::Full(format!("{before} bytes of messages wait for the disk")));
        }
        Ok(())
    }

    fn stage(&self) -> &Stage {
        self.stage.as_ref().expect("it is there until the store is dropped")
    }
}

impl Store for SqliteStore {
    fn index(&self) -> &Arc<QueueIndex> {
        &self.shared.index
    }

    fn put(&self, put: Put) -> Commit<PutDone> {
        let mut op = match PutOp::new(put) {
            Ok(op) => op,
            Err(error) => return Commit::ready(Err(error)),
        };
        if let Err(error) = self.admit(op.cost) {
            return Commit::ready(Err(error));
        }
        let (answer, commit) = Commit::pair();
        if self.shared.bodies.needs_staging(&op.content) {
            self.stage().put(Box::new(op), answer);
        } else {
            if let Content::Memory(bytes) = &op.content {
                op.sha256 = Sha256::digest(bytes).into();
            }
            self.hand_in(Op::Put(Box::new(op), answer));
        }
        commit
    }

    fn settle(&self, settle: Settle) -> Commit<SettleDone> {
        let mut op = match SettleOp::new(settle) {
            Ok(op) => op,
            Err(error) => return Commit::ready(Err(error)),
        };
        op.token = self.shared.index.settling(op.item);
        let (answer, commit) = Commit::pair();
        self.hand_in(Op::Settle(Box::new(op), answer));
        commit
    }

    fn set_queue(&self, hop: NextHop, setting: QueueSetting) -> Commit<()> {
        self.write(|answer| Ok(Op::SetQueue(hop, setting, answer)))
    }

    fn record(&self, events: Vec<TrackingEvent>) -> Commit<()> {
        self.write(|answer| Ok(Op::Record(event_texts(&events)?, answer)))
    }

    fn change_receipts(&self, change: ReceiptsChange) -> Commit<()> {
        self.write(|answer| Ok(Op::ChangeReceipts(Box::new(ReceiptsOp::new(change)?), answer)))
    }

    fn load(&self, item: ItemId) -> Read<Option<Loaded>> {
        let Some(row) = self.shared.index.row(item.message) else { return Commit::ready(Ok(None)) };
        let bodies = Arc::clone(&self.shared.bodies);
        self.readers.read(move |c| queries::load(c, &bodies, row, item))
    }

    fn load_message(&self, message: MessageId) -> Read<Option<LoadedMessage>> {
        let Some(row) = self.shared.index.row(message) else { return Commit::ready(Ok(None)) };
        let bodies = Arc::clone(&self.shared.bodies);
        self.readers.read(move |c| queries::load_message(c, &bodies, row, message))
    }

    fn messages(&self, after: Option<MessageId>, limit: usize) -> Read<Vec<MessageId>> {
        Commit::ready(Ok(self.shared.index.messages(after, limit)))
    }

    fn outbox(&self, limit: usize) -> Read<Vec<DsnRequest>> {
        self.readers.read(move |c| queries::outbox(c, limit))
    }

    fn drop_outbox(&self, key: String, events: Vec<TrackingEvent>) -> Commit<()> {
        self.write(|answer| Ok(Op::DropOutbox(key, event_texts(&events)?, answer)))
    }

    fn receipts(
        &self,
        connector: String,
        after: Option<ReceiptKey>,
        limit: usize,
    ) -> Read<Vec<StoredReceipt>> {
        self.readers.read(move |c| receipts::receipts(c, &connector, after.as_ref(), limit))
    }

    fn find_receipts(&self, connector: String, id: String) -> Read<FoundReceipts> {
        self.readers.read(move |c| receipts::find(c, &connector, &id))
    }

    fn early_receipts(&self, limit: usize) -> Read<Vec<EarlyReceipt>> {
        self.readers.read(move |c| receipts::early(c, limit))
    }

    fn forget_inbound(&self, before: Timestamp, limit: usize) -> Commit<usize> {
        let (answer, commit) = Commit::pair();
        self.hand_in(Op::ForgetInbound(before.as_microsecond(), limit, answer));
        commit
    }

    fn put_intent(&self, intent: Intent) -> Commit<()> {
        self.write(|answer| Ok(Op::PutIntent(intent.item, op::json(&intent)?, answer)))
    }

    fn intents(&self) -> Read<Vec<Intent>> {
        self.readers.read(queries::intents)
    }

    fn agent_state(&self, connector: String, key: String) -> Read<Option<Vec<u8>>> {
        self.readers.read(move |c| agent_state::get(c, &connector, &key))
    }

    fn agent_state_keys(&self, connector: String, prefix: String, limit: usize) -> Read<Vec<String>> {
        self.readers.read(move |c| agent_state::keys(c, &connector, &prefix, limit))
    }

    fn agent_state_usage(&self, connector: String) -> Read<u64> {
        self.readers.read(move |c| agent_state::usage(c, &connector))
    }

    fn change_agent_state(&self, change: AgentStateChange) -> Commit<()> {
        self.write(|answer| {
            change.check_keys()?;
            Ok(Op::ChangeAgentState(Box::new(change), answer))
        })
    }

    fn events(&self, after: u64, limit: usize) -> Read<Vec<(u64, TrackingEvent)>> {
        self.readers.read(move |c| queries::events(c, after, limit))
    }

    fn drop_events(&self, up_to: u64) -> Commit<()> {
        self.write(|answer| Ok(Op::DropEvents(up_to, answer)))
    }

    fn counters(&self) -> Read<Counters> {
        self.readers.read(queries::counters)
    }

    fn check_bodies(&self) -> Read<Vec<String>> {
        let (answer, commit) = Commit::pair();
        let (database, bodies) = (self.database.clone(), Arc::clone(&self.shared.bodies));
        // It takes long, so it gets a thread of its own; nothing waits for that thread.
        let started =
            thread("store-check", move || drop(answer.send(check::check_bodies(&database, &bodies))));
        match started {
            Ok(_) => commit,
            Err(error) => Commit::ready(Err(error)),
        }
    }

    fn health(&self) -> StoreHealth {
        self.shared.health()
    }

    fn flush(&self) -> Commit<()> {
        let (answer, commit) = Commit::pair();
        self.stage().flush(answer);
        commit
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Messages on their way through the stage come first.
        self.stage = None;
        // The writer closes last: then SQLite removes its log.
        self.readers.close();
        self.hand_in(Op::Close);
        self.shared.bodies.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

/// Makes a directory that only its owner can look into.
fn make_private(directory: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|e| io_error("make", directory, &e))
}

/// Starts a thread with a name.
fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|e| StoreError::Io(format!("cannot start the thread {name}: {e}")))
}

/// What a failed call on a file means.
fn io_error(doing: &str, path: &Path, error: &io::Error) -> StoreError {
    let text = format!("cannot {doing} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ => StoreError::Io(text),
    }
}

/// What a failed call of SQLite means, outside the writer's commits.
#[allow(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn sql_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen,
        ) => StoreError::Io(error.to_string()),
        _ => StoreError::Damaged(error.to_string()),
    }
}
