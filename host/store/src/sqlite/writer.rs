//! Writer: the one thread that writes. It commits whatever waits, in groups, and looks after the database in between.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postern_model::MessageId;
use rusqlite::{Connection, ErrorCode};

use crate::index::Change;
use crate::sqlite::SqliteOptions;
use crate::sqlite::bodies::Bodies;
use crate::sqlite::group::{Group, Numbers, Outcome, Statements};
use crate::sqlite::op::{Op, PutOp};
use crate::sqlite::room::Room;
use crate::sqlite::upkeep::Upkeep;
use crate::{PutDone, QueueIndex, StoreError, StoreHealth};

/// How long to wait before settlements that found no room are tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// What the writer shares with the store.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) index: Arc<QueueIndex>,
    pub(super) bodies: Arc<Bodies>,
    pub(super) health: Mutex<StoreHealth>,
    /// Bytes of messages that wait for the writer.
    pub(super) waiting: AtomicU64,
    /// Commits so far.
    pub(super) groups: AtomicU64,
}

impl Shared {
    pub(super) fn health(&self) -> StoreHealth {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The writer ends after everybody else, unless it panicked: then nothing can be kept any more.
    pub(super) fn writer_is_gone(&self, op: Op) {
        self.index.stop();
        self.set_health(StoreHealth::Poisoned("the writer has ended".to_owned()));
        op.refuse(StoreError::Closed);
    }

    fn set_health(&self, health: StoreHealth) {
        let mut now = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != health {
            match &health {
                StoreHealth::Ready => tracing::info!("the store takes messages again"),
                StoreHealth::Full(why) => tracing::warn!("the store takes no messages: {why}"),
                StoreHealth::Poisoned(why) => {
                    tracing::error!("the store has stopped, restart the host: {why}");
                }
            }
            *now = health;
        }
    }
}

/// What the writer is given.
pub(super) struct Start {
    pub(super) connection: Connection,
    pub(super) database: PathBuf,
    pub(super) options: SqliteOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) numbers: Numbers,
    /// Rows of messages whose body is a file.
    pub(super) files: HashSet<u64>,
}

/// Why a group did not become durable.
enum Failure {
    /// No room; nothing of it was written.
    Full(String),
    /// Nobody knows what is on the disk.
    Fatal(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            _ => Self::Fatal(error.to_string()),
        }
    }
}

struct Writer<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    shared: Arc<Shared>,
    numbers: Numbers,
    files: HashSet<u64>,
    receipt_memory: u64,
    room: Room,
    /// Writes other than messages that found no room, in order, before everything else.
    stuck: Vec<Op>,
    poisoned: Option<String>,
}

/// Writes until it is told to close.
pub(super) fn run(mut start: Start, ops: &Receiver<Op>) {
    let upkeep = Upkeep::install(&mut start.connection, &start.database, &start.options);
    let statements = Statements::prepare(&start.connection);
    let (mut upkeep, statements) = match (upkeep, statements) {
        (Ok(upkeep), Ok(statements)) => (upkeep, statements),
        (Err(e), _) | (_, Err(e)) => {
            // The tables were read a moment ago, so this does not happen unless the disk fails right now.
            let text = e.to_string();
            start.shared.set_health(StoreHealth::Poisoned(text.clone()));
            start.shared.index.stop();
            for op in ops {
                op.refuse(StoreError::Poisoned(text.clone()));
            }
            return;
        }
    };
    let room = Room::new(&start.database, &start.options);
    let mut writer = Writer {
        connection: &start.connection,
        statements,
        shared: start.shared,
        numbers: start.numbers,
        files: start.files,
        receipt_memory: start.options.receipt_memory.into(),
        room,
        stuck: Vec::new(),
        poisoned: None,
    };
    let mut intake = Intake::new(ops);
    loop {
        let mut group = intake.take();
        if group.is_empty() {
            if intake.is_closed() {
                break;
            }
            if writer.stuck.is_empty() {
                writer.care(|connection| upkeep.quiet(connection));
                group = intake.wait(upkeep.patience());
                if group.is_empty() {
                    writer.care(|connection| upkeep.idle(connection));
                    continue;
                }
            } else {
                group = intake.wait(Some(FULL_RETRY));
            }
        }
        writer.write(group);
        writer.care(|connection| upkeep.after_commit(connection));
    }
    writer.close();
    drop(writer);
    upkeep.close(&start.connection);
}

impl Writer<'_> {
    /// Does some upkeep of the database, unless it must not be touched any more.
    fn care(&mut self, upkeep: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        if self.poisoned.is_none()
            && let Err(error) = upkeep(self.connection)
        {
            self.poison(&error.to_string());
        }
    }

    /// Makes a group durable and answers it, as far as there is room.
    fn write(&mut self, group: Vec<Op>) {
        if let Some(why) = &self.poisoned {
            let error = StoreError::Poisoned(why.clone());
            return self.refuse(group, &error);
        }
        if group.iter().any(|op| matches!(op, Op::Flush(_))) {
            self.look_again();
        }
        let mut ops = std::mem::take(&mut self.stuck);
        let has_settled = ops.is_empty();
        ops.extend(group);
        let no_room = if !ops.iter().any(Op::is_put) {
            None
        } else if has_settled {
            self.room.look(self.connection).err()
        } else {
            Some("settlements wait for room".to_owned())
        };
        if let Some(why) = no_room {
            ops = self.refuse_puts(ops, &why);
        }
        match self.attempt(&ops) {
            Ok(done) => self.finish(ops, done),
            Err(Failure::Fatal(why)) => self.fail(ops, &why),
            Err(Failure::Full(why)) => {
                let had_puts = ops.iter().any(Op::is_put);
                ops = self.refuse_puts(ops, &why);
                if had_puts {
                    match self.attempt(&ops) {
                        Ok(done) => self.finish(ops, done),
                        Err(Failure::Fatal(why)) => self.fail(ops, &why),
                        Err(Failure::Full(_)) => self.stuck = ops,
                    }
                } else {
                    self.stuck = ops;
                }
            }
        }
    }

    /// Who asks whether everything is stored also finds out whether there is room again.
    fn look_again(&mut self) {
        let is_full = matches!(self.shared.health(), StoreHealth::Full(_));
        if is_full && self.stuck.is_empty() && self.room.look_again(self.connection).is_ok() {
            self.shared.set_health(StoreHealth::Ready);
        }
    }

    /// One transaction with all of them.
    fn attempt(&mut self, ops: &[Op]) -> Result<Done, Failure> {
        if ops.iter().all(|op| matches!(op, Op::Flush(_))) {
            // What came before is durable already.
            return Ok(Done { outcomes: ops.iter().map(|_| Outcome::Done).collect(), removed: Vec::new() });
        }
        loop {
            let error = match self.execute(ops) {
                Ok((done, numbers)) => {
                    self.numbers = numbers;
                    self.shared.groups.fetch_add(1, Ordering::Relaxed);
                    return Ok(done);
                }
                Err(error) => error,
            };
            // Some errors end the transaction by themselves.
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK").map_err(|e| Failure::Fatal(e.to_string()))?;
            }
            if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
                return Err(error.into());
            }
            // Somebody else writes, a person with a database tool: nothing is lost, it only takes longer.
            tracing::warn!(
                "another program holds the write lock of queue.db; nothing is stored until it lets go"
            );
        }
    }

    fn execute(&mut self, ops: &[Op]) -> rusqlite::Result<(Done, Numbers)> {
        let (index, files, memory) = (&self.shared.index, &self.files, self.receipt_memory);
        let mut group = Group::begin(&mut self.statements, index, files, memory, self.numbers)?;
        let outcomes = ops.iter().map(|op| group.execute(op)).collect::<rusqlite::Result<Vec<_>>>()?;
        group.commit()?;
        Ok((Done { outcomes, removed: group.removed_files }, group.numbers))
    }

    /// The group is durable: shows it in the index, then answers.
    fn finish(&mut self, ops: Vec<Op>, done: Done) {
        let mut changes = Vec::with_capacity(ops.len());
        let mut answers: Vec<Box<dyn FnOnce()>> = Vec::with_capacity(ops.len());
        let mut took = false;
        for (op, outcome) in ops.into_iter().zip(done.outcomes) {
            self.release(&op);
            match (op, outcome) {
                (Op::Put(put, answer), Outcome::Put(done, row)) => {
                    took = true;
                    if done == PutDone::Stored {
                        if put.inline().is_none() {
                            self.files.insert(row);
                            self.shared.bodies.committed(put.message.id);
                        }
                        let (message, items, content) = (put.message, put.items, put.content);
                        changes.push(Change::Put { row, message, items, content });
                    } else {
                        self.drop_body(&put);
                    }
                    answers.push(Box::new(move || drop(answer.send(Ok(done)))));
                }
                (Op::Settle(settle, answer), Outcome::Settle(done)) => {
                    let (item, token) = (settle.item, settle.token);
                    let (after, new_items) = (settle.after, settle.new_items);
                    changes.push(Change::Settled { item, token, after, new_items });
                    answers.push(Box::new(move || drop(answer.send(Ok(done)))));
                }
                (Op::SetQueue(next_hop, setting, answer), Outcome::Done) => {
                    changes.push(Change::Queue { next_hop, setting });
                    answers.push(Box::new(move || drop(answer.send(Ok(())))));
                }
                (Op::ForgetInbound(_, _, answer), Outcome::Forgot(count)) => {
                    answers.push(Box::new(move || drop(answer.send(Ok(count)))));
                }
                (op, Outcome::Refused(error)) => {
                    self.undo(&op, &mut changes);
                    answers.push(Box::new(move || op.refuse(error)));
                }
                (op, _) => answers.push(Box::new(move || op.confirm())),
            }
        }
        if took {
            self.shared.set_health(StoreHealth::Ready);
        }
        self.shared.index.apply(changes);
        for (row, id) in done.removed {
            self.files.remove(&row);
            self.shared.bodies.doom(id);
        }
        answers.into_iter().for_each(|answer| answer());
    }

    /// Takes out the messages and answers them that there is no room.
    fn refuse_puts(&mut self, ops: Vec<Op>, why: &str) -> Vec<Op> {
        let (puts, rest): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(Op::is_put);
        self.shared.set_health(StoreHealth::Full(why.to_owned()));
        self.refuse(puts, &StoreError::Full(why.to_owned()));
        rest
    }

    fn refuse(&mut self, ops: Vec<Op>, error: &StoreError) {
        let mut changes = Vec::new();
        for op in &ops {
            self.release(op);
            self.undo(op, &mut changes);
        }
        self.shared.index.apply(changes);
        ops.into_iter().for_each(|op| op.refuse(error.clone()));
    }

    /// Gives back what a write took before it came here.
    fn undo(&self, op: &Op, changes: &mut Vec<Change>) {
        match op {
            Op::Put(put, _) => self.drop_body(put),
            Op::Settle(settle, _) => changes.push(Change::Refused { item: settle.item, token: settle.token }),
            _ => {}
        }
    }

    /// Removes the file of a message that was not stored.
    fn drop_body(&self, put: &PutOp) {
        if put.inline().is_none() && put.owns_file {
            self.shared.bodies.doom(put.message.id);
        }
    }

    fn release(&self, op: &Op) {
        if let Op::Put(put, _) = op {
            self.shared.waiting.fetch_sub(put.cost, Ordering::Relaxed);
        }
    }

    fn fail(&mut self, ops: Vec<Op>, why: &str) {
        self.poison(why);
        self.refuse(ops, &StoreError::Poisoned(why.to_owned()));
    }

    /// Stops for good: after a failed write or sync nobody knows what the disk holds until it is read again.
    fn poison(&mut self, why: &str) {
        self.poisoned = Some(why.to_owned());
        self.shared.set_health(StoreHealth::Poisoned(why.to_owned()));
        // Before anything is given back, so that nobody gets it.
        self.shared.index.stop();
        let stuck = std::mem::take(&mut self.stuck);
        self.refuse(stuck, &StoreError::Poisoned(why.to_owned()));
    }

    fn close(&mut self) {
        if self.poisoned.is_none() && !self.stuck.is_empty() {
            self.write(Vec::new());
        }
        let stuck = std::mem::take(&mut self.stuck);
        self.refuse(stuck, &StoreError::Full("there was no room until the store was closed".to_owned()));
    }
}

/// A durable group.
struct Done {
    outcomes: Vec<Outcome>,
    removed: Vec<(u64, MessageId)>,
}

/// The writer's end of the queue of writes.
struct Intake<'r> {
    ops: &'r Receiver<Op>,
    closed: bool,
}

impl<'r> Intake<'r> {
    fn new(ops: &'r Receiver<Op>) -> Self {
        Self { ops, closed: false }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    /// What waits, up to a full group.
    fn take(&mut self) -> Vec<Op> {
        self.fill(Vec::new())
    }

    /// Waits for something, for at most this long or for ever, then takes what waits.
    fn wait(&mut self, at_most: Option<Duration>) -> Vec<Op> {
        let first = match at_most {
            Some(time) => self.ops.recv_timeout(time),
            None => self.ops.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(Op::Close) | Err(RecvTimeoutError::Disconnected) => {
                self.closed = true;
                Vec::new()
            }
            Ok(op) => self.fill(vec![op]),
            Err(RecvTimeoutError::Timeout) => Vec::new(),
        }
    }

    fn fill(&mut self, mut group: Vec<Op>) -> Vec<Op> {
        let mut bytes: usize = group.iter().map(Op::bytes).sum();
        while !self.closed && group.len() < SqliteOptions::MAX_GROUP && bytes < SqliteOptions::MAX_GROUP_BYTES
        {
            match self.ops.try_recv() {
                Ok(Op::Close) | Err(TryRecvError::Disconnected) => self.closed = true,
                Ok(op) => {
                    bytes = bytes.saturating_add(op.bytes());
                    group.push(op);
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        group
    }
}
