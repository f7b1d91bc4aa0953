//! Group: writes that share one transaction, and what came of each.

use std::collections::{BTreeMap, HashMap, HashSet};

use postern_model::{ItemId, MessageId};
use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::sqlite::agent_state::AgentStateStatements;
use crate::sqlite::op::{Op, PutOp, SettleOp, fate_counter};
use crate::sqlite::receipts::ReceiptStatements;
use crate::sqlite::schema::ROW_VERSION;
use crate::{InboundId, PutDone, QueueIndex, QueueSetting, SettleDone, StoreError};

/// Everything that a commit executes, prepared once.
pub(super) struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    put_message: Statement<'c>,
    put_file: Statement<'c>,
    put_item: Statement<'c>,
    put_item_of: Statement<'c>,
    set_item: Statement<'c>,
    remove_item: Statement<'c>,
    has_item: Statement<'c>,
    has_items: Statement<'c>,
    remove_message: Statement<'c>,
    remove_file: Statement<'c>,
    put_event: Statement<'c>,
    remove_events: Statement<'c>,
    put_outbox: Statement<'c>,
    has_outbox: Statement<'c>,
    remove_outbox: Statement<'c>,
    receipts: ReceiptStatements<'c>,
    agent_state: AgentStateStatements<'c>,
    find_inbound: Statement<'c>,
    put_inbound: Statement<'c>,
    forget_inbound: Statement<'c>,
    put_intent: Statement<'c>,
    remove_intent: Statement<'c>,
    add_counter: Statement<'c>,
    set_queue: Statement<'c>,
    remove_queue: Statement<'c>,
    set_meta: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(c: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            begin: c.prepare("BEGIN IMMEDIATE")?,
            commit: c.prepare("COMMIT")?,
            put_message: c.prepare("INSERT INTO messages(seq, v, id, info, size, sha256, body) VALUES(?,?,?,?,?,?,?)")?,
            put_file: c.prepare("INSERT INTO files(seq, id, size) VALUES(?,?,?)")?,
            put_item: c.prepare("INSERT INTO items(key, v, size, item) VALUES(?,?,?,?)")?,
            put_item_of: c.prepare("INSERT INTO items(key, v, size, item) SELECT ?,?,size,? FROM messages WHERE seq = ?")?,
            set_item: c.prepare("UPDATE items SET v = ?, item = ? WHERE key = ?")?,
            remove_item: c.prepare("DELETE FROM items WHERE key = ?")?,
            has_item: c.prepare("SELECT 1 FROM items WHERE key = ?")?,
            has_items: c.prepare("SELECT 1 FROM items WHERE key BETWEEN ? AND ? LIMIT 1")?,
            remove_message: c.prepare("DELETE FROM messages WHERE seq = ?")?,
            remove_file: c.prepare("DELETE FROM files WHERE seq = ?")?,
            put_event: c.prepare("INSERT INTO events(seq, v, event) VALUES(?,?,?)")?,
            remove_events: c.prepare("DELETE FROM events WHERE seq <= ?")?,
            put_outbox: c.prepare("INSERT OR IGNORE INTO outbox(v, key, request) VALUES(?,?,?)")?,
            has_outbox: c.prepare("SELECT 1 FROM outbox WHERE key = ?")?,
            remove_outbox: c.prepare("DELETE FROM outbox WHERE key = ?")?,
            receipts: ReceiptStatements::prepare(c)?,
            agent_state: AgentStateStatements::prepare(c)?,
            find_inbound: c.prepare("SELECT message FROM inbound_ids WHERE connector = ? AND remote_id = ?")?,
            put_inbound: c.prepare("INSERT INTO inbound_ids(connector, remote_id, message, at) VALUES(?,?,?,?)")?,
            forget_inbound: c.prepare(
                "DELETE FROM inbound_ids WHERE (connector, remote_id) IN
                 (SELECT connector, remote_id FROM inbound_ids WHERE at < ? ORDER BY at LIMIT ?)",
            )?,
            put_intent: c.prepare("INSERT OR REPLACE INTO intents(key, v, intent) VALUES(?,?,?)")?,
            remove_intent: c.prepare("DELETE FROM intents WHERE key = ?")?,
            add_counter: c.prepare(
                "INSERT INTO counters(name, value) VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            )?,
            set_queue: c.prepare("INSERT OR REPLACE INTO queues(connector, destination, v, setting) VALUES(?,?,?,?)")?,
            remove_queue: c.prepare("DELETE FROM queues WHERE connector = ? AND destination = ?")?,
            set_meta: c.prepare("INSERT OR REPLACE INTO meta(name, value) VALUES(?,?)")?,
        })
    }
}

/// Numbers that rows get. They go up only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) message: u64,
    pub(super) event: u64,
    pub(super) past_receipt: u64,
    /// There may be intents: most hosts have none, and need not look for one with every settlement.
    pub(super) intents: bool,
}

/// What came of one write.
pub(super) enum Outcome {
    Put(PutDone, u64),
    Settle(SettleDone),
    Forgot(usize),
    Done,
    Refused(StoreError),
}

/// A transaction that is being filled. It changes nothing outside until it is committed.
pub(super) struct Group<'g, 'c> {
    s: &'g mut Statements<'c>,
    index: &'g QueueIndex,
    files: &'g HashSet<u64>,
    /// How many past receipts are kept.
    receipt_memory: u64,
    pub(super) numbers: Numbers,
    counters: BTreeMap<&'static str, u64>,
    new_messages: HashMap<MessageId, u64>,
    /// Messages whose body was a file and that are gone.
    pub(super) removed_files: Vec<(u64, MessageId)>,
}

/// The setting that remembers the highest event number when its row is gone.
pub(super) const EVENTS_DROPPED: &str = "events_dropped";

impl<'g, 'c> Group<'g, 'c> {
    pub(super) fn begin(
        s: &'g mut Statements<'c>,
        index: &'g QueueIndex,
        files: &'g HashSet<u64>,
        receipt_memory: u64,
        numbers: Numbers,
    ) -> rusqlite::Result<Self> {
        s.begin.execute([])?;
        let (counters, new_messages, removed_files) = (BTreeMap::new(), HashMap::new(), Vec::new());
        Ok(Self { s, index, files, receipt_memory, numbers, counters, new_messages, removed_files })
    }

    /// Everything is on the disk when this returns.
    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        for (name, n) in &self.counters {
            self.s.add_counter.execute(params![name, signed(*n)])?;
        }
        self.s.commit.execute([]).map(drop)
    }

    /// Executes one write. What is refused has changed nothing; an error undoes the whole group.
    pub(super) fn execute(&mut self, op: &Op) -> rusqlite::Result<Outcome> {
        match op {
            Op::Put(put, _) => return self.put(put),
            Op::Settle(settle, _) => return self.settle(settle),
            Op::SetQueue(hop, QueueSetting::Active, _) => {
                self.s.remove_queue.execute(params![&*hop.connector, &*hop.destination])?;
            }
            Op::SetQueue(hop, setting @ QueueSetting::Suspended { .. }, _) => {
                let text = match crate::sqlite::op::json(setting) {
                    Ok(text) => text,
                    Err(e) => return Ok(Outcome::Refused(e)),
                };
                self.s.set_queue.execute(params![&*hop.connector, &*hop.destination, ROW_VERSION, text])?;
            }
            Op::Record(events, _) => self.events(events)?,
            Op::ChangeReceipts(change, _) => {
                self.s.receipts.change(change)?;
                self.events(&change.events)?;
            }
            Op::ChangeAgentState(change, _) => match self.s.agent_state.admit(change)? {
                Ok(admitted) => self.s.agent_state.make(change, &admitted)?,
                Err(error) => return Ok(Outcome::Refused(error)),
            },
            Op::PutIntent(item, intent, _) => return self.put_intent(*item, intent),
            Op::ForgetInbound(before, limit, _) => {
                let limit = signed(*limit as u64);
                return Ok(Outcome::Forgot(self.s.forget_inbound.execute([*before, limit])?));
            }
            Op::DropOutbox(key, events, _) => {
                if self.s.remove_outbox.execute([key])? == 0 {
                    return Ok(refused(format!("the outbox has no DSN request {key}")));
                }
                self.events(events)?;
            }
            Op::DropEvents(up_to, _) => {
                // Numbers are never given twice, even when no row remembers them.
                self.s.set_meta.execute(params![EVENTS_DROPPED, (self.numbers.event - 1).to_string()])?;
                self.s.remove_events.execute([signed(*up_to)])?;
            }
            Op::Flush(_) | Op::Close => {}
        }
        Ok(Outcome::Done)
    }

    fn put(&mut self, put: &PutOp) -> rusqlite::Result<Outcome> {
        let id = put.message.id;
        let known = self.new_messages.contains_key(&id) || self.index.row(id).is_some();
        if let Some(key) = &put.outbox_key
            && !self.s.has_outbox.exists([key])?
        {
            return Ok(Outcome::Put(PutDone::Repeated, 0));
        }
        if let Some(inbound) = &put.inbound
            && let Some(first) = self.find_inbound(inbound)?
        {
            return Ok(Outcome::Put(PutDone::AlreadyKnown(first), 0));
        }
        if known || !put.owns_file {
            return Ok(refused(format!("message {id} is stored already")));
        }
        if let Some(key) = &put.outbox_key {
            self.s.remove_outbox.execute([key])?;
        }
        let seq = self.numbers.message;
        self.numbers.message += 1;
        let size = signed(put.content.size());
        let body = put.inline().map(|b| &b[..]);
        self.s.put_message.execute(params![
            signed(seq),
            ROW_VERSION,
            &id.to_bytes()[..],
            put.info,
            size,
            &put.sha256[..],
            body
        ])?;
        if body.is_none() {
            self.s.put_file.execute(params![signed(seq), &id.to_bytes()[..], size])?;
        }
        for (item, text) in put.items.iter().zip(&put.item_texts) {
            self.s.put_item.execute(params![key(seq, item.id.ordinal), ROW_VERSION, size, text])?;
        }
        if let Some(InboundId { connector, remote }) = &put.inbound {
            let at = put.message.envelope.received_at.as_microsecond();
            self.s.put_inbound.execute(params![connector, remote, &id.to_bytes()[..], at])?;
        }
        self.event(&put.event)?;
        *self.counters.entry(put.counter()).or_default() += put.recipients;
        self.new_messages.insert(id, seq);
        Ok(Outcome::Put(PutDone::Stored, seq))
    }

    fn settle(&mut self, settle: &SettleOp) -> rusqlite::Result<Outcome> {
        let id = settle.item;
        let Some(seq) = self.row(id.message) else { return Ok(no_item(id)) };
        // Everything that can be refused comes first.
        for new in &settle.new_items {
            if self.s.has_item.exists([key(seq, new.id.ordinal)])? {
                return Ok(refused(format!("item {} is there already", new.id)));
            }
        }
        let state = match &settle.agent_state {
            Some(change) => match self.s.agent_state.admit(change)? {
                Ok(admitted) => Some((change, admitted)),
                Err(error) => return Ok(Outcome::Refused(error)),
            },
            None => None,
        };
        let item_key = key(seq, id.ordinal);
        let changed = match &settle.after_text {
            Some(text) => self.s.set_item.execute(params![ROW_VERSION, text, item_key])?,
            None => self.s.remove_item.execute([item_key])?,
        };
        if changed == 0 {
            return Ok(no_item(id));
        }
        if self.numbers.intents && (settle.attempt_ended || settle.after.is_none()) {
            self.s.remove_intent.execute([item_key])?;
        }
        for (new, text) in settle.new_items.iter().zip(&settle.new_item_texts) {
            let key = key(seq, new.id.ordinal);
            self.s.put_item_of.execute(params![key, ROW_VERSION, text, signed(seq)])?;
        }
        let mut done = SettleDone::default();
        if settle.after.is_none()
            && settle.new_items.is_empty()
            && !self.s.has_items.exists([key(seq, 0), key(seq, u16::MAX)])?
        {
            self.s.remove_message.execute([signed(seq)])?;
            if self.files.contains(&seq) || self.new_messages.contains_key(&id.message) {
                self.s.remove_file.execute([signed(seq)])?;
                self.removed_files.push((seq, id.message));
            }
            done.message_gone = true;
        }
        if let Some((change, admitted)) = state {
            self.s.agent_state.make(change, &admitted)?;
        }
        self.settle_rest(settle)?;
        Ok(Outcome::Settle(done))
    }

    /// The message that came under an id of the far side.
    fn find_inbound(&mut self, id: &InboundId) -> rusqlite::Result<Option<MessageId>> {
        let InboundId { connector, remote } = id;
        let bytes = self.s.find_inbound.query_row([connector, remote], |row| row.get::<_, [u8; 16]>(0));
        Ok(bytes.optional()?.map(MessageId::from_bytes))
    }

    fn put_intent(&mut self, id: ItemId, intent: &str) -> rusqlite::Result<Outcome> {
        let Some(seq) = self.row(id.message) else { return Ok(no_item(id)) };
        let key = key(seq, id.ordinal);
        if !self.s.has_item.exists([key])? {
            return Ok(no_item(id));
        }
        self.s.put_intent.execute(params![key, ROW_VERSION, intent])?;
        self.numbers.intents = true;
        Ok(Outcome::Done)
    }

    /// The row of a message, also when it came in this transaction.
    fn row(&self, message: MessageId) -> Option<u64> {
        self.new_messages.get(&message).copied().or_else(|| self.index.row(message))
    }

    fn settle_rest(&mut self, settle: &SettleOp) -> rusqlite::Result<()> {
        self.events(&settle.events)?;
        for (key, request) in &settle.dsns {
            self.s.put_outbox.execute(params![ROW_VERSION, key, request])?;
        }
        self.s.receipts.settle(settle)?;
        if self.receipt_memory > 0 {
            for past in &settle.past_receipts {
                self.s.receipts.remember(past, self.numbers.past_receipt, self.receipt_memory)?;
                self.numbers.past_receipt += 1;
            }
        }
        for (fate, n) in &settle.fates.0 {
            *self.counters.entry(fate_counter(*fate)).or_default() += u64::from(*n);
        }
        Ok(())
    }

    fn events(&mut self, events: &[String]) -> rusqlite::Result<()> {
        events.iter().try_for_each(|event| self.event(event))
    }

    fn event(&mut self, event: &str) -> rusqlite::Result<()> {
        self.s.put_event.execute(params![signed(self.numbers.event), ROW_VERSION, event])?;
        self.numbers.event += 1;
        Ok(())
    }
}

/// The key of an item's row.
pub(super) fn key(seq: u64, ordinal: u16) -> i64 {
    signed(seq << 16 | u64::from(ordinal))
}

/// A number as SQLite keeps it. Numbers of rows stay far below the limit.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn refused(text: String) -> Outcome {
    Outcome::Refused(StoreError::Invalid(text))
}

fn no_item(id: ItemId) -> Outcome {
    refused(format!("there is no item {id}"))
}
