//! Books: what a store would keep, entered write by write, with the sums that must hold after each.

use std::collections::{BTreeMap, BTreeSet};

use postern_model::TrackingEvent;
use postern_store::StoredReceipt;

use super::expected::{Expected, Stand, stand};
use super::*;

/// Everything that the writes of one message have led to.
pub struct Books {
    items: BTreeMap<u16, Item>,
    /// Everybody that was accepted.
    everybody: BTreeSet<u32>,
    /// Who is done, and how; with the whole state as long as an item shows it.
    done: BTreeMap<u32, (Fate, Option<RecipientState>)>,
    counted: BTreeMap<Fate, u32>,
    receipts: BTreeMap<(String, String), StoredReceipt>,
    keys: BTreeSet<String>,
    told_of_delay: BTreeSet<u32>,
    kinds: BTreeSet<EventKind>,
}

impl Books {
    pub fn open(item: &Item) -> Self {
        Self {
            items: [(item.id.ordinal, item.clone())].into(),
            everybody: item.recipients.iter().map(|r| r.recipient.index).collect(),
            done: BTreeMap::new(),
            counted: BTreeMap::new(),
            receipts: BTreeMap::new(),
            keys: BTreeSet::new(),
            told_of_delay: BTreeSet::new(),
            kinds: BTreeSet::new(),
        }
    }

    pub fn items(&self) -> Vec<Item> {
        self.items.values().cloned().collect()
    }

    pub fn fates(&self) -> impl Iterator<Item = Fate> {
        self.counted.keys().copied()
    }

    pub fn kinds(&self) -> impl Iterator<Item = EventKind> {
        self.kinds.iter().copied()
    }

    /// Enters one write and checks everything that it touches.
    pub fn enter(
        &mut self,
        context: Context<'_>,
        before: &Item,
        settlement: &Settlement,
        expected: &Expected,
    ) {
        let write = &settlement.write;
        assert_eq!(write.item, before.id);
        let decided = self.enter_fates(context, before, settlement);
        check_stands(before, settlement, &decided, expected);
        self.enter_dsns(context, before, settlement, &decided, expected);
        self.enter_receipts(before, settlement);
        check_past(before, settlement, expected);
        check_plan(context, before, settlement, expected);

        self.items.remove(&before.id.ordinal);
        assert!(write.new_items.is_empty());
        self.items.extend(write.after.iter().map(|item| (item.id.ordinal, item.clone())));
        self.check_everybody();
        self.check_receipts();
    }

    /// Counters, events and states must tell of the same fates; what was final before stays as it is.
    fn enter_fates(
        &mut self,
        context: Context<'_>,
        before: &Item,
        settlement: &Settlement,
    ) -> BTreeMap<u32, Fate> {
        let write = &settlement.write;
        let mut decided = BTreeMap::new();
        for event in &write.events {
            check_event(context, before, event);
            self.kinds.insert(event.kind);
            let Some(fate) = fate_of(event.kind) else { continue };
            for about in &event.recipients {
                assert!(decided.insert(about.index, fate).is_none(), "two events decide {}", about.index);
            }
        }
        for (fate, count) in &write.fates.0 {
            let events = decided.values().filter(|f| *f == fate).count();
            assert_eq!(usize::try_from(*count).unwrap(), events, "{fate:?}");
            *self.counted.entry(*fate).or_default() += count;
        }
        assert_eq!(write.fates.0.iter().map(|(_, n)| *n as usize).sum::<usize>(), decided.len());
        for (index, fate) in &decided {
            let again = self.done.insert(*index, (*fate, None));
            assert!(again.is_none(), "{index} was {again:?} and is now {fate:?}");
        }
        for entry in write.after.iter().flat_map(|item| &item.recipients) {
            let RecipientState::Final { fate, at, .. } = &entry.state else { continue };
            let index = entry.recipient.index;
            let (counted, seen) = self.done.get_mut(&index).expect("every final recipient was counted");
            assert_eq!(counted, fate);
            match seen {
                Some(seen) => assert_eq!(*seen, entry.state, "a final state was rewritten"),
                None => assert_eq!(*at, context.now),
            }
            *seen = Some(entry.state.clone());
        }
        decided
    }

    fn enter_dsns(
        &mut self,
        context: Context<'_>,
        before: &Item,
        settlement: &Settlement,
        decided: &BTreeMap<u32, Fate>,
        expected: &Expected,
    ) {
        let recipients: BTreeMap<_, _> =
            before.recipients.iter().map(|r| (r.recipient.index, &r.recipient)).collect();
        let mut owed: BTreeSet<(DsnKind, u32)> = BTreeSet::new();
        for (index, fate) in decided {
            let kind = dsn_of(context, recipients[index], *fate);
            owed.extend(kind.filter(|_| !expected.reported.contains(index)).map(|kind| (kind, *index)));
        }
        let due = before.delay_dsn_at.is_some_and(|at| at <= context.now);
        if expected.warns && due && expected.state != ItemState::Poison {
            let has_sender = !context.message.envelope.reverse_path.is_empty();
            let late = expected.stands.iter().filter(|(index, stand)| {
                **stand == Stand::Queued && has_sender && recipients[index].notify_or_default().delay
            });
            owed.extend(late.map(|(index, _)| (DsnKind::Delayed, *index)));
        }
        let mut kinds = BTreeSet::new();
        let mut told = BTreeSet::new();
        for dsn in &settlement.write.dsns {
            assert!(kinds.insert(dsn.kind), "two DSNs of the kind {:?}", dsn.kind);
            assert!(self.keys.insert(dsn.key.clone()), "the key {} was used before", dsn.key);
            assert_eq!((dsn.item, dsn.at), (before.id, context.now));
            assert!(!dsn.recipients.is_empty());
            for about in &dsn.recipients {
                let index = about.recipient.index;
                assert!(told.insert((dsn.kind, index)), "{index} stands twice in one DSN");
                let unknown = decided.get(&index) == Some(&Fate::Unknown);
                assert_eq!(about.unconfirmed, unknown, "{index}");
                if dsn.kind == DsnKind::Delayed && !unknown {
                    assert!(self.told_of_delay.insert(index), "{index} is late for the second time");
                }
            }
        }
        assert_eq!(told, owed);
    }

    /// As the stores do it: first what is new, then what is finished.
    fn enter_receipts(&mut self, before: &Item, settlement: &Settlement) {
        let waiting_before = waiting(before);
        let waiting_after = settlement.write.after.as_ref().map(waiting).unwrap_or_default();
        for receipt in &settlement.write.receipts {
            assert_eq!(receipt.item, before.id);
            if receipt.decides {
                let (then, now) = (waiting_before.get(&receipt.id), waiting_after.get(&receipt.id));
                let now = now.unwrap_or_else(|| panic!("nobody waits for {}", receipt.id));
                assert!(then.is_none_or(|then| then.0 != now.0), "the same wait for {}", receipt.id);
            }
            let key = (receipt.connector.clone(), receipt.id.clone());
            self.receipts.insert(key, receipt.clone());
        }
        let mut finished = BTreeSet::new();
        for (connector, id) in &settlement.write.finished_receipts {
            assert_eq!(**connector, *before.next_hop.connector);
            assert!(finished.insert(id), "{id} is finished twice");
            assert!(waiting_before.contains_key(id), "nobody waited for {id}");
            self.receipts.remove(&(connector.clone(), id.clone()));
        }
    }

    /// The receipts to wait for are exactly those of pending recipients.
    fn check_receipts(&self) {
        let mut awaited: BTreeSet<(String, String)> = BTreeSet::new();
        for item in self.items.values() {
            let connector = item.next_hop.connector.to_string();
            for (id, (who, until)) in waiting(item) {
                let key = (connector.clone(), id);
                let kept = self.receipts.get(&key).unwrap_or_else(|| panic!("{key:?} is not waited for"));
                assert!(kept.decides, "{key:?} is only watched, but {who:?} wait for it");
                assert_eq!(kept.item, item.id);
                let named: BTreeSet<u32> = kept.recipients.iter().map(|r| r.index).collect();
                assert_eq!(named.len(), kept.recipients.len(), "{key:?} names somebody twice");
                assert_eq!(named, who, "{key:?}");
                assert!(kept.expires_at >= until);
                awaited.insert(key);
            }
        }
        let kept = self.receipts.iter().filter(|(_, r)| r.decides).map(|(key, _)| key.clone());
        assert_eq!(kept.collect::<BTreeSet<_>>(), awaited);
    }

    /// Every recipient is done, or waits in exactly one item.
    fn check_everybody(&self) {
        let mut seen: BTreeSet<u32> = self.done.keys().copied().collect();
        for item in self.items.values() {
            assert!(!item.is_done(), "an item with nothing to do is kept");
            let open = item.recipients.iter().filter(|r| !matches!(r.state, RecipientState::Final { .. }));
            for entry in open {
                assert!(seen.insert(entry.recipient.index), "{} is in two places", entry.recipient.index);
            }
        }
        assert_eq!(seen, self.everybody);
        let counted: u32 = self.counted.values().sum();
        assert_eq!(usize::try_from(counted).unwrap(), self.done.len());
    }

    /// At the end everybody is done and counted once, and nothing is waited for.
    pub fn close(&self) {
        assert!(self.items.is_empty());
        assert_eq!(self.done.keys().copied().collect::<BTreeSet<_>>(), self.everybody);
        for (fate, count) in &self.counted {
            let done = self.done.values().filter(|(f, _)| f == fate).count();
            assert_eq!(usize::try_from(*count).unwrap(), done, "{fate:?}");
        }
        assert!(self.receipts.values().all(|r| !r.decides));
    }
}

/// Each recipient stands where the rules say, and nobody else came or went.
fn check_stands(before: &Item, settlement: &Settlement, decided: &BTreeMap<u32, Fate>, expected: &Expected) {
    let write = &settlement.write;
    let mut stands: BTreeMap<u32, Stand> = BTreeMap::new();
    for entry in write.after.iter().flat_map(|item| &item.recipients) {
        let twice = stands.insert(entry.recipient.index, stand(&entry.state));
        assert!(twice.is_none(), "{} is twice in one item", entry.recipient.index);
    }
    if write.after.is_none() {
        // Who was done before goes with the item.
        stands.extend(decided.iter().map(|(index, fate)| (*index, Stand::Final(*fate))));
        let done = before.recipients.iter().filter(|r| matches!(r.state, RecipientState::Final { .. }));
        stands.extend(done.map(|r| (r.recipient.index, stand(&r.state))));
    }
    assert_eq!(stands, expected.stands);
    if let Some(after) = &write.after {
        assert_eq!((after.id, &after.next_hop), (before.id, &before.next_hop));
        assert_eq!(after.settlements, before.settlements + 1);
        assert_eq!((after.traps, after.state), (expected.traps, expected.state));
        assert_eq!(after.expires_at, expected.expires_at);
    }
}

/// Who stopped waiting is remembered, with the word if the receipt itself brought it.
fn check_past(before: &Item, settlement: &Settlement, expected: &Expected) {
    let mut waiting_after = settlement.write.after.as_ref().map(waiting).unwrap_or_default();
    let mut stopped: BTreeMap<String, (BTreeSet<u32>, Option<ReceiptWord>)> = BTreeMap::new();
    for (id, (who, _)) in waiting(before) {
        let still = waiting_after.remove(&id).unwrap_or_default().0;
        let gone: BTreeSet<u32> = who.difference(&still).copied().collect();
        if !gone.is_empty() {
            let word = expected.word.as_ref().filter(|(told, _)| *told == id).map(|(_, word)| *word);
            stopped.insert(id, (gone, word));
        }
    }
    let past = settlement.write.past_receipts.iter();
    let remembered = past.map(|r| (r.id.clone(), (r.recipients.iter().map(|r| r.index).collect(), r.word)));
    assert_eq!(remembered.collect::<BTreeMap<_, _>>(), stopped);
    assert_eq!(settlement.write.past_receipts.len(), stopped.len());
}

/// A retry is never planned for the past, and never for after the expiry.
fn check_plan(context: Context<'_>, before: &Item, settlement: &Settlement, expected: &Expected) {
    let Some(after) = &settlement.write.after else {
        assert_eq!(settlement.next_attempt, None);
        return;
    };
    assert_eq!(settlement.next_attempt, after.wake_at());
    let new = after.next_attempt != before.next_attempt;
    let overdue = before.expires_at.is_some_and(|end| end <= context.now);
    if new && after.queued().next().is_some() {
        if overdue {
            assert!(
                after.next_attempt <= context.now,
                "it has expired and waits until {}",
                after.next_attempt
            );
        } else {
            assert!(after.next_attempt >= context.now, "{} is in the past", after.next_attempt);
        }
    }
    if !overdue && let Some(end) = after.expires_at {
        let queued = after.queued().next().is_some();
        assert!(!queued || after.next_attempt <= end, "{} is after {end}", after.next_attempt);
    }
    // After an attempt somebody who is still queued is tried later, not at once: the host must not spin.
    let attempted = after.attempts > before.attempts;
    if attempted && !overdue && expected.stands.values().any(|s| *s == Stand::Queued) {
        assert!(after.next_attempt > context.now);
    }
}

fn check_event(context: Context<'_>, before: &Item, event: &TrackingEvent) {
    assert_eq!((event.time, event.item, event.message), (context.now, Some(before.id), before.id.message));
    assert!(!event.recipients.is_empty());
    for about in &event.recipients {
        let known = before.recipients.iter().any(|r| r.recipient.index == about.index);
        assert!(known, "an event about {}, who is not of this item", about.index);
    }
}

/// Who waits for which receipt, and until when at the latest.
fn waiting(item: &Item) -> BTreeMap<String, (BTreeSet<u32>, Timestamp)> {
    let mut all: BTreeMap<String, (BTreeSet<u32>, Timestamp)> = BTreeMap::new();
    for entry in &item.recipients {
        let RecipientState::Pending { receipt_ids, expires_at, .. } = &entry.state else { continue };
        for id in receipt_ids {
            let (who, until) = all.entry(id.clone()).or_insert((BTreeSet::new(), *expires_at));
            who.insert(entry.recipient.index);
            *until = (*until).max(*expires_at);
        }
    }
    all
}

fn fate_of(kind: EventKind) -> Option<Fate> {
    Some(match kind {
        EventKind::Deliver => Fate::Delivered,
        EventKind::Relay => Fate::Relayed,
        EventKind::Expand => Fate::Expanded,
        EventKind::Fail => Fate::Failed,
        EventKind::Expire => Fate::Expired,
        EventKind::Remove => Fate::Removed,
        EventKind::Unknown => Fate::Unknown,
        _ => return None,
    })
}

/// The DSN that is owed for this fate, if any.
fn dsn_of(context: Context<'_>, recipient: &Recipient, fate: Fate) -> Option<DsnKind> {
    if context.message.envelope.reverse_path.is_empty() {
        return None;
    }
    let (success, failure, delay) =
        recipient.notify.map_or((false, true, true), |n| (n.success, n.failure, n.delay));
    let demanded = context.policy.relay_dsn && recipient.notify.is_none();
    match fate {
        Fate::Delivered => success.then_some(DsnKind::Delivered),
        Fate::Expanded => success.then_some(DsnKind::Expanded),
        Fate::Relayed => (success || demanded).then_some(DsnKind::Relayed),
        Fate::Failed | Fate::Expired => failure.then_some(DsnKind::Failed),
        Fate::Unknown => match context.policy.on_receipt_expiry {
            OnReceiptExpiry::FailureDsn => failure.then_some(DsnKind::Failed),
            OnReceiptExpiry::DelayDsn => delay.then_some(DsnKind::Delayed),
            OnReceiptExpiry::Success => (success || demanded).then_some(DsnKind::Relayed),
        },
        Fate::Removed => None,
    }
}
