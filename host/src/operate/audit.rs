//! The audit: recounts every recipient from the tracking events, the queue, the bodies, the receipts and the drop
//! folders, compares with the counters, and names what is missing or too much.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use postern_drop::{DirectoryId, DropSettings};
use postern_model::{EventKind, Fate, Item, ItemId, ItemState, MessageId, RecipientState, TrackingEvent};
use postern_store::{Counters, ReceiptKey, StoredReceipt};
use serde::{Deserialize, Serialize};

use super::{OperateError, Operations};
use crate::config::{Config, ForeignConfig};
use crate::connector::foreign::{self, RESULT_SUFFIX, Record};
use crate::tracking::{Archive, DayFile, fate_of};

/// How often a busy host is looked at again for a still picture.
const TRIES: usize = 5;
/// Messages and receipts read at once.
const BATCH: usize = 500;

/// Looks at whether a pickup was recorded meanwhile, and the pause between two of them.
const PICKUP_ROUNDS: usize = 50;
const PICKUP_PAUSE: Duration = Duration::from_millis(100);

/// A foreign connector's folder.
#[derive(Clone, Debug)]
struct DropFolder {
    connector: String,
    settings: DropSettings,
    /// The record of which directory its files lie in.
    record: PathBuf,
}

impl DropFolder {
    fn all(config: &Config) -> Vec<Self> {
        let of = |foreign: &ForeignConfig| Self {
            connector: foreign.common.name.to_string(),
            settings: foreign::settings(foreign),
            record: Record::path(&config.host.data_directory, &foreign.common.name),
        };
        config.foreign_connectors.iter().map(of).collect()
    }

    /// Which directory is there at this moment, and which one files lie in; `None` when that cannot be read.
    fn directories(&self) -> Option<(Option<DirectoryId>, Record)> {
        Some((DirectoryId::look(&self.settings).ok()?, Record::read(&self.record).ok()?))
    }
}

/// The result: recipients by where they are, and every fault in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the words of the audit, as the design lists them")]
pub struct Audit {
    pub accepted: u64,
    pub generated: u64,
    pub delivered: u64,
    pub relayed: u64,
    pub expanded: u64,
    pub failed: u64,
    pub expired: u64,
    pub removed: u64,
    pub queued: u64,
    pub poison: u64,
    pub pending: u64,
    pub unknown: u64,
    /// Every recipient is in exactly one place, and nothing else is wrong.
    pub balanced: bool,
    /// What is missing, too much or unreadable.
    pub faults: Vec<String>,
    /// Drop files that went away with their directory: nobody can tell whether they were taken. The books are in order
    /// all the same, since those who wait for them are pending.
    #[serde(default)]
    pub vanished: Vec<String>,
}

impl Audit {
    /// The last line of the audit for people: `balanced: ...` or `NOT balanced: ...`.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts = [
            ("delivered", self.delivered),
            ("relayed", self.relayed),
            ("expanded", self.expanded),
            ("failed", self.failed),
            ("expired", self.expired),
            ("removed", self.removed),
            ("queued", self.queued),
            ("poison", self.poison),
            ("pending", self.pending),
            ("unknown", self.unknown),
        ];
        let sum: Vec<String> =
            parts.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {word}")).collect();
        let sum = if sum.is_empty() { "nothing".to_owned() } else { sum.join(" + ") };
        let both = format!("{} accepted + {} generated = {sum}", self.accepted, self.generated);
        if self.balanced {
            format!("balanced: {both}")
        } else {
            format!("NOT balanced: {both}; {}", self.faults.join("; "))
        }
    }
}

/// Recounts. On a busy host the picture is taken again until the counters stood still meanwhile; when they never do,
/// the counters are left out, and what looks wrong with a message is looked at once more by itself.
pub async fn run(operations: &Operations) -> Result<Audit, OperateError> {
    let store = operations.store();
    let mut tries = 0;
    loop {
        tries += 1;
        store.flush().await?;
        let before = store.counters().await?;
        let book = book(operations).await?;
        let live = live(operations).await?;
        let after = store.counters().await?;
        let still = before == after;
        if !still && tries < TRIES {
            continue;
        }
        let mut faults = store.check_bodies().await?;
        let (wrong, vanished) = receipts(operations, &live).await?;
        faults.extend(wrong);
        let mut suspects = suspects(&book, &live);
        if !still && !suspects.is_empty() {
            suspects = second_look(operations, suspects).await?;
        }
        faults.extend(suspects.into_iter().map(|s| s.fault));
        return Ok(Audit { vanished, ..balance(&after, &book, &live, faults, still) });
    }
}

/// All events as a book: those still in the queue's table are read first, so that none is missed while it is moved.
async fn book(operations: &Operations) -> Result<Book, OperateError> {
    let live = messages_in_the_queue(operations).await?;
    let unmoved = Unmoved::new(operations.unmoved_events().await?);
    let folder = operations.tracking.clone();
    let read = tokio::task::spawn_blocking(move || Book::new(live).read(&folder, &unmoved));
    read.await.map_err(|e| OperateError::Failed(e.to_string()))?
}

async fn messages_in_the_queue(operations: &Operations) -> Result<HashSet<MessageId>, OperateError> {
    let (mut all, mut after) = (HashSet::new(), None);
    loop {
        let ids = operations.store().messages(after, BATCH).await?;
        let Some(last) = ids.last() else { return Ok(all) };
        after = Some(*last);
        all.extend(ids);
    }
}

/// Looks again at messages that seemed wrong while mail went through: what is settled meanwhile was not wrong.
async fn second_look(operations: &Operations, first: Vec<Suspect>) -> Result<Vec<Suspect>, OperateError> {
    operations.store().flush().await?;
    let (book, live) = (book(operations).await?, live(operations).await?);
    let again = suspects(&book, &live);
    Ok(first.into_iter().filter(|s| again.contains(s)).collect())
}

/// What the events say: who arrived and who was decided. It grows with what is in the queue, not with the history.
#[derive(Default)]
struct Book {
    /// Messages in the queue: of these more is kept than what is open.
    live: HashSet<MessageId>,
    /// Recipients that arrived and are not decided, with their addresses.
    open: HashMap<(MessageId, u32), String>,
    /// Decided before they arrived, as the files tell it: the clock was set back over midnight.
    early: HashSet<(MessageId, u32)>,
    /// Of messages in the queue: who arrived, and what was decided.
    arrived: HashSet<(MessageId, u32)>,
    decided: HashMap<(MessageId, u32), Fate>,
    accepted: u64,
    generated: u64,
    fates: BTreeMap<Fate, u64>,
    /// Old days are known by their sums only: an arrival may lie among them.
    archived: bool,
}

/// What an event means for the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Accepted,
    Generated,
    Decided(Fate),
}

impl Word {
    /// `None`: the event neither brings nor decides a recipient.
    fn of(kind: EventKind) -> Option<Self> {
        match kind {
            EventKind::Receive => Some(Self::Accepted),
            EventKind::Generate => Some(Self::Generated),
            other => fate_of(other).map(Self::Decided),
        }
    }
}

/// Events that still lie in the queue's table. While they are moved they are seen in a day file as well.
#[derive(Default)]
struct Unmoved {
    events: Vec<TrackingEvent>,
    words: HashSet<(Word, MessageId, u32)>,
}

impl Unmoved {
    fn new(events: Vec<TrackingEvent>) -> Self {
        let mut words = HashSet::new();
        for event in &events {
            let Some(word) = Word::of(event.kind) else { continue };
            words.extend(event.recipients.iter().map(|r| (word, event.message, r.index)));
        }
        Self { events, words }
    }
}

impl Book {
    fn new(live: HashSet<MessageId>) -> Self {
        Self { live, ..Self::default() }
    }

    fn event(&mut self, event: &TrackingEvent) {
        let Some(word) = Word::of(event.kind) else { return };
        for recipient in &event.recipients {
            self.entry(word, event.message, recipient.index, &recipient.address);
        }
    }

    /// One event for one recipient.
    fn entry(&mut self, word: Word, message: MessageId, index: u32, address: &str) {
        let key = (message, index);
        match word {
            Word::Accepted => self.accepted += 1,
            Word::Generated => self.generated += 1,
            Word::Decided(fate) => {
                *self.fates.entry(fate).or_default() += 1;
                if self.open.remove(&key).is_none() {
                    self.early.insert(key);
                }
                if self.live.contains(&message) {
                    self.decided.insert(key, fate);
                }
                return;
            }
        }
        if !self.early.remove(&key) {
            self.open.insert(key, address.to_owned());
        }
        if self.live.contains(&message) {
            self.arrived.insert(key);
        }
    }

    /// Reads the day files, then what has not been moved to them.
    fn read(mut self, folder: &std::path::Path, unmoved: &Unmoved) -> Result<Self, OperateError> {
        let failed = |e: crate::tracking::TrackingError| OperateError::Failed(e.to_string());
        let archive = Archive::read(folder).map_err(failed)?;
        self.accepted += archive.accepted;
        self.generated += archive.generated;
        self.archived = archive.until.is_some();
        for (fate, count) in &archive.fates {
            *self.fates.entry(*fate).or_default() += count;
        }
        for (day, path) in DayFile::list(folder).map_err(failed)? {
            if archive.covers(day) {
                continue;
            }
            let Some(file) = DayFile::open_read_only(&path).map_err(failed)? else { continue };
            self.read_file(&file, unmoved).map_err(|e| failed(file.fault(e)))?;
        }
        unmoved.events.iter().for_each(|event| self.event(event));
        Ok(self)
    }

    fn read_file(&mut self, file: &DayFile, unmoved: &Unmoved) -> rusqlite::Result<()> {
        let mut statement = file.connection().prepare(
            "SELECT event, message_id, recipient_index, recipient FROM events \
             WHERE recipient_index IS NOT NULL ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (word, id): (String, String) = (row.get(0)?, row.get(1)?);
            let word = crate::tracking::kind_of(&word).and_then(Word::of);
            let (Some(word), Ok(message)) = (word, id.parse()) else { continue };
            let (index, address): (u32, Option<String>) = (row.get(2)?, row.get(3)?);
            if !unmoved.words.contains(&(word, message, index)) {
                self.entry(word, message, index, &address.unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// What is in the queue.
#[derive(Default)]
struct Live {
    /// Recipients that are queued, pending or poison, by message.
    open: HashMap<MessageId, BTreeSet<u32>>,
    queued: u64,
    pending: u64,
    poison: u64,
    /// (connector, receipt) that some recipient of an item waits for.
    awaited: BTreeSet<(String, ReceiptKey)>,
    faults: Vec<String>,
}

impl Live {
    fn item(&mut self, item: &Item) {
        for entry in &item.recipients {
            match &entry.state {
                RecipientState::Final { .. } => continue,
                RecipientState::Queued { .. } if item.state == ItemState::Poison => self.poison += 1,
                RecipientState::Queued { .. } => self.queued += 1,
                RecipientState::Pending { receipt_ids, .. } => {
                    self.pending += 1;
                    for id in receipt_ids {
                        let key = ReceiptKey { id: id.clone(), item: item.id };
                        self.awaited.insert((item.next_hop.connector.to_string(), key));
                    }
                }
            }
            if !self.open.entry(item.id.message).or_default().insert(entry.recipient.index) {
                let address = entry.recipient.address.display();
                self.faults.push(format!("{address} of message {} is in two queues", item.id.message));
            }
        }
    }
}

async fn live(operations: &Operations) -> Result<Live, OperateError> {
    let store = operations.store();
    let mut live = Live::default();
    let mut after = None;
    loop {
        let ids = store.messages(after, BATCH).await?;
        let Some(last) = ids.last() else { return Ok(live) };
        after = Some(*last);
        for id in ids {
            match store.load_message(id).await {
                Ok(Some(message)) => {
                    for item in &message.items {
                        live.item(item);
                    }
                }
                // It was settled since the ids were listed; if not, its recipients will be missed below.
                Ok(None) => {}
                Err(error) => live.faults.push(format!("message {id} cannot be read: {error}")),
            }
        }
    }
}

/// The receipts on record.
#[derive(Default)]
struct Records<'f> {
    /// (connector, receipt), and whether somebody waits for it or it is only watched.
    known: BTreeMap<(String, ReceiptKey), bool>,
    /// Those whose drop file is gone.
    missing: Vec<(&'f DropFolder, StoredReceipt)>,
}

async fn records<'f>(
    operations: &Operations,
    config: &Config,
    folders: &'f [DropFolder],
) -> Result<Records<'f>, OperateError> {
    let mut records = Records::default();
    for outgoing in config.outgoing() {
        let connector = outgoing.name.to_string();
        let folder = folders.iter().find(|f| f.connector == connector);
        let mut after = None;
        loop {
            let batch = operations.store().receipts(connector.clone(), after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.key());
            let whole = batch.len() < BATCH;
            for receipt in batch {
                records.known.insert((connector.clone(), receipt.key()), receipt.decides);
                // A result is waited for when its file is gone.
                if let Some(folder) = folder
                    && !receipt.id.ends_with(RESULT_SUFFIX)
                    && !is_there(folder, &receipt.id)
                {
                    records.missing.push((folder, receipt));
                }
            }
            if whole {
                break;
            }
        }
    }
    Ok(records)
}

/// Receipts against the recipients that wait for them, and against the files in the drop folders: what is wrong, and
/// which files went away with their directory. What seems wrong is looked at once more: it may have been settled
/// meanwhile.
async fn receipts(operations: &Operations, live: &Live) -> Result<(Vec<String>, Vec<String>), OperateError> {
    let topology = operations.settler.topology();
    let folders = DropFolder::all(&topology.config);
    let Records { known, missing } = records(operations, &topology.config, &folders).await?;
    let (vanished, missing) = went_with_directory(missing);
    let mut faults = unrecorded_pickups(operations, missing).await?;
    for awaited in &live.awaited {
        let (connector, ReceiptKey { id, item }) = awaited;
        if topology.rules(connector).is_some()
            && !known.contains_key(awaited)
            && still_waits(operations, *item, id).await?
        {
            faults.push(format!(
                "item {item} waits for receipt {id} of connector {connector}, which is not on record"
            ));
        }
    }
    for (record, _) in known.iter().filter(|(record, decides)| **decides && !live.awaited.contains(record)) {
        let (connector, key) = record;
        let ReceiptKey { id, item } = key;
        if !still_waits(operations, *item, id).await? && is_on_record(operations, connector, key).await? {
            faults.push(format!(
                "receipt {id} of connector {connector} is on record for item {item}, which does not wait for it"
            ));
        }
    }
    Ok((faults, vanished))
}

/// Divides files that are gone: those that lie in another directory than the one that is there now, in words, and the
/// rest.
fn went_with_directory(
    missing: Vec<(&DropFolder, StoredReceipt)>,
) -> (Vec<String>, Vec<(&DropFolder, StoredReceipt)>) {
    let mut folders: BTreeMap<&str, Option<(Option<DirectoryId>, Record)>> = BTreeMap::new();
    let (mut vanished, mut rest) = (Vec::new(), Vec::new());
    for (folder, receipt) in missing {
        let directories = folders.entry(&folder.connector).or_insert_with(|| folder.directories());
        let lies_elsewhere = directories.as_ref().is_some_and(|(there, record)| {
            let there = there.as_ref().map(DirectoryId::as_str);
            record.directory_of(&receipt.id).is_some_and(|lies_in| there != Some(lies_in))
        });
        if lies_elsewhere {
            let (id, message, path) = (&receipt.id, receipt.item.message, folder.settings.path.display());
            vanished.push(format!("drop file {id} of message {message} went away with its directory {path}"));
        } else {
            rest.push((folder, receipt));
        }
    }
    (vanished, rest)
}

/// Whether the receipt, looked at again, is on record.
async fn is_on_record(
    operations: &Operations,
    connector: &str,
    key: &ReceiptKey,
) -> Result<bool, OperateError> {
    let found = operations.store().find_receipts(connector.to_owned(), key.id.clone()).await?;
    Ok(found.waiting.iter().any(|receipt| receipt.item == key.item))
}

/// A gateway may have claimed the file by a longer name.
fn is_there(folder: &DropFolder, name: &str) -> bool {
    if folder.settings.path.join(name).exists() {
        return true;
    }
    std::fs::read_dir(&folder.settings.path).is_ok_and(|entries| {
        entries.flatten().any(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(name)))
    })
}

/// Of files that are gone, those whose pickup nobody recorded. On a running host the record may be on its way: it gets
/// a moment.
async fn unrecorded_pickups(
    operations: &Operations,
    mut missing: Vec<(&DropFolder, StoredReceipt)>,
) -> Result<Vec<String>, OperateError> {
    let rounds = if operations.is_running() { PICKUP_ROUNDS } else { 1 };
    for round in 0..rounds {
        let mut open = Vec::new();
        for (folder, receipt) in missing {
            if is_on_record(operations, &receipt.connector, &receipt.key()).await? {
                open.push((folder, receipt));
            }
        }
        missing = open;
        if missing.is_empty() || round + 1 == rounds {
            break;
        }
        tokio::time::sleep(PICKUP_PAUSE).await;
    }
    let fault = |(folder, receipt): (&DropFolder, StoredReceipt)| {
        format!(
            "drop file {} of message {} is gone from {}, and no pickup is on record{}",
            receipt.id,
            receipt.item.message,
            folder.settings.path.display(),
            if operations.is_running() {
                ""
            } else {
                " (if the gateway took it, the next start records that)"
            }
        )
    };
    Ok(missing.into_iter().map(fault).collect())
}

/// Whether the item, looked at again, still waits for this receipt.
async fn still_waits(operations: &Operations, item: ItemId, id: &str) -> Result<bool, OperateError> {
    let Some(loaded) = operations.store().load(item).await? else { return Ok(false) };
    Ok(loaded.item.recipients.iter().any(
        |r| matches!(&r.state, RecipientState::Pending { receipt_ids, .. } if receipt_ids.iter().any(|i| i == id)),
    ))
}

/// A message with a recipient that is not where it should be.
#[derive(Debug, PartialEq, Eq)]
struct Suspect {
    fault: String,
}

/// Compares events and queue, recipient by recipient. Pure.
fn suspects(book: &Book, live: &Live) -> Vec<Suspect> {
    let mut faults: Vec<String> = live.faults.clone();
    let mut open: Vec<_> = book.open.iter().collect();
    open.sort_by_key(|(key, _)| **key);
    for ((message, index), address) in open {
        if !live.open.get(message).is_some_and(|l| l.contains(index)) {
            faults.push(format!("{address} of message {message} is neither in a queue nor decided"));
        }
    }
    for (message, indexes) in &live.open {
        for index in indexes {
            if let Some(fate) = book.decided.get(&(*message, *index)) {
                let word = fate.word();
                faults
                    .push(format!("recipient {index} of message {message} is queued, but was {word} before"));
            } else if !book.arrived.contains(&(*message, *index)) && !book.archived {
                faults.push(format!("recipient {index} of message {message} is queued, but never arrived"));
            }
        }
    }
    faults.into_iter().map(|fault| Suspect { fault }).collect()
}

/// Compares the counters with events and queue. Pure. `still`: nothing was settled while the picture was taken.
fn balance(counters: &Counters, book: &Book, live: &Live, mut faults: Vec<String>, still: bool) -> Audit {
    let mut compare = |name: &str, counter: u64, events: u64| {
        if still && counter != events {
            faults.push(format!("the counter `{name}` says {counter}, the events say {events}"));
        }
    };
    compare("accepted", counters.accepted, book.accepted);
    compare("generated", counters.generated, book.generated);
    for fate in Fate::ALL {
        let of = |counts: &BTreeMap<Fate, u64>| counts.get(&fate).copied().unwrap_or(0);
        compare(fate.word(), of(&counters.fates), of(&book.fates));
    }
    let fate = |f: Fate| counters.fates.get(&f).copied().unwrap_or(0);
    let mut audit = Audit {
        accepted: counters.accepted,
        generated: counters.generated,
        delivered: fate(Fate::Delivered),
        relayed: fate(Fate::Relayed),
        expanded: fate(Fate::Expanded),
        failed: fate(Fate::Failed),
        expired: fate(Fate::Expired),
        removed: fate(Fate::Removed),
        unknown: fate(Fate::Unknown),
        queued: live.queued,
        poison: live.poison,
        pending: live.pending,
        balanced: false,
        faults,
        vanished: Vec::new(),
    };
    let decided: u64 = counters.fates.values().sum();
    let sum = decided + audit.queued + audit.poison + audit.pending;
    let all = audit.accepted + audit.generated;
    if still && sum != all && audit.faults.is_empty() {
        audit.faults.push(format!("{all} recipients came in, {sum} are accounted for"));
    }
    audit.balanced = audit.faults.is_empty();
    audit
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use postern_model::EventRecipient;

    fn event(kind: EventKind, message: MessageId, indexes: &[u32]) -> TrackingEvent {
        let recipients =
            indexes.iter().map(|i| EventRecipient::new(*i, &format!("r{i}@x.example"))).collect();
        TrackingEvent {
            time: Timestamp::UNIX_EPOCH,
            kind,
            message,
            item: None,
            connector: "c".into(),
            destination: None,
            sender: String::new(),
            recipients,
            internet_message_id: None,
            subject: None,
            size: None,
            attempt: None,
            details: Vec::new(),
        }
    }

    fn audited(counters: &Counters, book: &Book) -> Audit {
        let faults = suspects(book, &Live::default()).into_iter().map(|s| s.fault).collect();
        balance(counters, book, &Live::default(), faults, true)
    }

    fn counters(accepted: u64, delivered: u64) -> Counters {
        Counters { accepted, generated: 0, fates: BTreeMap::from([(Fate::Delivered, delivered)]) }
    }

    /// A book over a folder of day files with these events, and events that were not moved.
    fn read(moved: &[TrackingEvent], unmoved: Vec<TrackingEvent>, live: &[MessageId]) -> Book {
        let folder = tempfile::tempdir().unwrap();
        for (seq, event) in (1..).zip(moved) {
            let mut file = DayFile::open(&folder.path().join(DayFile::name_for(event.time))).unwrap();
            file.append(&[(seq, event)]).unwrap();
        }
        let book = Book::new(live.iter().copied().collect());
        book.read(folder.path(), &Unmoved::new(unmoved)).unwrap()
    }

    #[test]
    fn an_event_that_is_being_moved_counts_once() {
        let m = MessageId::from_name("m");
        let (arrival, delivery) =
            (event(EventKind::Receive, m, &[0, 1]), event(EventKind::Deliver, m, &[0, 1]));
        let moved = [arrival.clone(), delivery.clone()];
        for unmoved in [vec![], vec![delivery.clone()], vec![arrival, delivery]] {
            let audit = audited(&counters(2, 2), &read(&moved, unmoved, &[]));
            assert_eq!(audit.summary(), "balanced: 2 accepted + 0 generated = 2 delivered");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_over_midnight_loses_nobody() {
        let m = MessageId::from_name("m");
        let mut arrival = event(EventKind::Receive, m, &[0]);
        arrival.time += jiff::SignedDuration::from_hours(30);
        let book = read(&[arrival, event(EventKind::Deliver, m, &[0])], Vec::new(), &[]);
        let audit = audited(&counters(1, 1), &book);
        assert!(audit.balanced, "{}", audit.summary());
    }

    #[test]
    fn the_book_keeps_nothing_of_messages_that_are_through() {
        let [through, waiting] = ["through", "waiting"].map(MessageId::from_name);
        let moved = [
            event(EventKind::Receive, through, &[0, 1]),
            event(EventKind::Receive, waiting, &[0, 1]),
            event(EventKind::Deliver, through, &[0, 1]),
            event(EventKind::Deliver, waiting, &[1]),
        ];
        let book = read(&moved, Vec::new(), &[waiting]);
        assert_eq!((book.open.len(), book.arrived.len(), book.decided.len(), book.early.len()), (1, 2, 1, 0));
        assert_eq!(book.decided.get(&(waiting, 1)), Some(&Fate::Delivered));
    }

    #[test]
    fn a_lost_recipient_is_named() {
        let m = MessageId::from_name("m");
        let mut book = Book::default();
        book.event(&event(EventKind::Receive, m, &[0, 1]));
        book.event(&event(EventKind::Deliver, m, &[0]));
        let audit = audited(&counters(2, 1), &book);
        assert!(!audit.balanced);
        assert!(audit.faults[0].contains("r1@x.example"), "{:?}", audit.faults);
    }

    #[test]
    fn a_changed_counter_is_named() {
        let m = MessageId::from_name("m");
        let mut book = Book::default();
        book.event(&event(EventKind::Receive, m, &[0]));
        book.event(&event(EventKind::Deliver, m, &[0]));
        let audit = audited(&counters(1, 2), &book);
        assert!(audit.faults[0].contains("`delivered` says 2"), "{:?}", audit.faults);
    }
}
