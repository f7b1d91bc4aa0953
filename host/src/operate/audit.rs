//! The audit: recounts every recipient from the tracking events, the queue, the bodies, the receipts and the drop
//! folders, compares with the counters, and names what is missing or too much.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use postern_model::{EventKind, Fate, Item, ItemState, MessageId, RecipientState, TrackingEvent};
use postern_store::{Counters, StoredReceipt};
use serde::{Deserialize, Serialize};

use super::{OperateError, Operations};
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
pub struct DropFolder {
    /// The connector.
    pub connector: String,
    /// Its drop directory.
    pub directory: PathBuf,
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
        faults.extend(receipts(operations, &live).await?);
        let mut suspects = suspects(&book, &live);
        if !still && !suspects.is_empty() {
            suspects = second_look(operations, suspects).await?;
        }
        faults.extend(suspects.into_iter().map(|s| s.fault));
        return Ok(balance(&after, &book, &live, faults, still));
    }
}

/// All events as a book: those still in the queue's table first, so that none is missed while it is moved.
async fn book(operations: &Operations) -> Result<Book, OperateError> {
    let mut book = Book::default();
    for event in operations.unmoved_events().await? {
        book.event(&event);
    }
    let folder = operations.tracking.clone();
    let read = tokio::task::spawn_blocking(move || book.read_files(&folder));
    read.await.map_err(|e| OperateError::Failed(e.to_string()))?
}

/// Looks again at messages that seemed wrong while mail went through: what is settled meanwhile was not wrong.
async fn second_look(operations: &Operations, first: Vec<Suspect>) -> Result<Vec<Suspect>, OperateError> {
    operations.store().flush().await?;
    let (book, live) = (book(operations).await?, live(operations).await?);
    let again = suspects(&book, &live);
    Ok(first.into_iter().filter(|s| again.contains(s)).collect())
}

/// What the events say: who arrived and who was decided.
#[derive(Default)]
struct Book {
    /// Recipients that arrived and are not decided, by message.
    open: HashMap<MessageId, BTreeMap<u32, String>>,
    arrived: HashMap<MessageId, BTreeSet<u32>>,
    decided: HashMap<MessageId, BTreeMap<u32, Fate>>,
    accepted: u64,
    generated: u64,
    fates: BTreeMap<Fate, u64>,
    /// Old days are known by their sums only: an arrival may lie among them.
    archived: bool,
}

impl Book {
    fn event(&mut self, event: &TrackingEvent) {
        for recipient in &event.recipients {
            self.entry(event.kind, event.message, recipient.index, &recipient.address);
        }
    }

    /// One event for one recipient. An event that is seen twice (it is being moved) counts once.
    fn entry(&mut self, kind: EventKind, message: MessageId, index: u32, address: &str) {
        let fate = match kind {
            EventKind::Receive | EventKind::Generate => {
                if self.arrived.entry(message).or_default().insert(index) {
                    if kind == EventKind::Receive {
                        self.accepted += 1;
                    } else {
                        self.generated += 1;
                    }
                    if !self.decided.get(&message).is_some_and(|d| d.contains_key(&index)) {
                        self.open.entry(message).or_default().insert(index, address.to_owned());
                    }
                }
                return;
            }
            _ => match fate_of(kind) {
                Some(fate) => fate,
                None => return,
            },
        };
        if self.decided.entry(message).or_default().insert(index, fate).is_none() {
            *self.fates.entry(fate).or_default() += 1;
            if let Some(open) = self.open.get_mut(&message) {
                open.remove(&index);
                if open.is_empty() {
                    self.open.remove(&message);
                }
            }
        }
    }

    fn read_files(mut self, folder: &std::path::Path) -> Result<Self, OperateError> {
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
            self.read_file(&file).map_err(|e| failed(file.fault(e)))?;
        }
        Ok(self)
    }

    fn read_file(&mut self, file: &DayFile) -> rusqlite::Result<()> {
        let mut statement = file.connection().prepare(
            "SELECT event, message_id, recipient_index, recipient FROM events \
             WHERE recipient_index IS NOT NULL ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (word, id): (String, String) = (row.get(0)?, row.get(1)?);
            let (Some(kind), Ok(message)) = (crate::tracking::kind_of(&word), id.parse()) else { continue };
            let address: Option<String> = row.get(3)?;
            self.entry(kind, message, row.get(2)?, &address.unwrap_or_default());
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
    /// (connector, receipt) that some recipient waits for, with the item.
    awaited: BTreeMap<(String, String), String>,
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
                        let key = (item.next_hop.connector.to_string(), id.clone());
                        self.awaited.insert(key, item.id.to_string());
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

/// Receipts against the recipients that wait for them, and against the files in the drop folders.
async fn receipts(operations: &Operations, live: &Live) -> Result<Vec<String>, OperateError> {
    let mut faults = Vec::new();
    let mut known: BTreeSet<(String, String)> = BTreeSet::new();
    let mut missing = Vec::new();
    let topology = operations.settler.topology();
    for outgoing in topology.config.outgoing() {
        let connector = outgoing.name.to_string();
        let folder = operations.drop_folders.iter().find(|f| f.connector == connector);
        let mut after = None;
        loop {
            let batch = operations.store().receipts(connector.clone(), after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some(last.id.clone());
            let whole = batch.len() < BATCH;
            for receipt in batch {
                if let Some(folder) = folder
                    && !is_there(folder, &receipt.id)
                {
                    missing.push((folder, receipt.clone()));
                }
                known.insert((connector.clone(), receipt.id));
            }
            if whole {
                break;
            }
        }
    }
    faults.extend(unrecorded_pickups(operations, missing).await?);
    for ((connector, id), item) in &live.awaited {
        if topology.rules(connector).is_some()
            && !known.contains(&(connector.clone(), id.clone()))
            && still_waits(operations, item, id).await?
        {
            faults.push(format!(
                "item {item} waits for receipt {id} of connector {connector}, which is not on record"
            ));
        }
    }
    Ok(faults)
}

/// A gateway may have claimed the file by a longer name.
fn is_there(folder: &DropFolder, name: &str) -> bool {
    if folder.directory.join(name).exists() {
        return true;
    }
    std::fs::read_dir(&folder.directory).is_ok_and(|entries| {
        entries.flatten().any(|e| e.file_name().to_str().is_some_and(|n| n.starts_with(name)))
    })
}

/// Of files that are gone, those whose pickup nobody recorded. On a running host the record may be on its way: it gets
/// a moment.
async fn unrecorded_pickups(
    operations: &Operations,
    mut missing: Vec<(&DropFolder, StoredReceipt)>,
) -> Result<Vec<String>, OperateError> {
    let rounds = if operations.running { PICKUP_ROUNDS } else { 1 };
    for round in 0..rounds {
        let mut open = Vec::new();
        for (folder, receipt) in missing {
            if operations.store().receipt(receipt.connector.clone(), receipt.id.clone()).await?.is_some() {
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
            folder.directory.display(),
            if operations.running { "" } else { " (if the gateway took it, the next start records that)" }
        )
    };
    Ok(missing.into_iter().map(fault).collect())
}

/// Whether the item, looked at again, still waits for this receipt.
async fn still_waits(operations: &Operations, item: &str, id: &str) -> Result<bool, OperateError> {
    let Ok(item) = item.parse() else { return Ok(true) };
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
    open.sort_by_key(|(message, _)| **message);
    for (message, recipients) in open {
        for (index, address) in recipients {
            if !live.open.get(message).is_some_and(|l| l.contains(index)) {
                faults.push(format!("{address} of message {message} is neither in a queue nor decided"));
            }
        }
    }
    for (message, indexes) in &live.open {
        for index in indexes {
            let known = book.arrived.get(message).is_some_and(|a| a.contains(index));
            let fate = book.decided.get(message).and_then(|d| d.get(index));
            if let Some(fate) = fate {
                let word = fate.word();
                faults
                    .push(format!("recipient {index} of message {message} is queued, but was {word} before"));
            } else if !known && !book.archived {
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

    #[test]
    fn what_arrived_and_was_delivered_balances_even_when_events_are_seen_twice() {
        let m = MessageId::from_name("m");
        let mut book = Book::default();
        for _ in 0..2 {
            book.event(&event(EventKind::Receive, m, &[0, 1]));
            book.event(&event(EventKind::Deliver, m, &[0, 1]));
        }
        let audit = audited(&counters(2, 2), &book);
        assert!(audit.balanced, "{}", audit.summary());
        assert_eq!(audit.summary(), "balanced: 2 accepted + 0 generated = 2 delivered");
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
