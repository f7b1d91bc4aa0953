//! A store that any version wrote opens for ever.
//!
//! `data/format-N` was made by `make_the_sample` with the code of format N and is never made again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use postern_model::{
    DsnKind, Fate, Item, ItemId, MessageId, Origin, Receipt, ReceiptState, ReceiptWord, Response,
};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{
    AgentStateChange, AgentStateWrite, EarlyReceipt, InboundId, Intent, PastReceipt, Put, PutDone,
    QueueSetting, ReceiptsChange, RememberedReceipt, Settle, Store, StoreError, StoredReceipt,
};

/// The messages of the sample.
fn kept_id() -> MessageId {
    MessageId::from_bytes([0x11; 16])
}

fn gone_id() -> MessageId {
    MessageId::from_bytes([0x22; 16])
}

fn big_id() -> MessageId {
    MessageId::from_bytes([0x33; 16])
}

fn in_id() -> MessageId {
    MessageId::from_bytes([0x44; 16])
}

/// Contents from this size on are files in the sample.
const INLINE_LIMIT: u64 = 4096;

fn folder(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/format-{format}"))
}

fn options() -> SqliteOptions {
    SqliteOptions { inline_limit: INLINE_LIMIT, ..SqliteOptions::default() }
}

/// The first part of what every sample holds: what format 1 can keep.
async fn fill(store: &SqliteStore) {
    let hops = [sample::hop("a"), sample::hop("b")];
    let kept = sample::put_as(kept_id(), Origin::Accepted, &hops, sample::content(1000));
    let gone = sample::put_as(gone_id(), Origin::Accepted, &hops[..1], sample::content(10));
    let big = sample::put_as(big_id(), Origin::Generated, &hops[1..], sample::content(5000));
    let (items, message, gone_item) = (kept.items.clone(), kept.message.clone(), gone.items[0].clone());
    for put in [kept, gone, big] {
        store.put(put).await.unwrap();
    }
    let deferred = Settle {
        dsns: vec![sample::dsn(&items[0], &message, DsnKind::Delayed)],
        receipts: vec![sample::receipt(&items[0], "job-7")],
        ..sample::deferred(items[0].clone(), sample::time(60))
    };
    store.settle(deferred).await.unwrap();
    store.settle(sample::delivered(&gone_item)).await.unwrap();
    let suspended = QueueSetting::Suspended { reason: "repair".to_owned() };
    store.set_queue(hops[1].clone(), suspended).await.unwrap();
}

/// What came with format 2.
mod since_2 {
    use super::*;

    pub fn item() -> Item {
        sample::item(ItemId { message: kept_id(), ordinal: 1 }, &sample::hop("b"), 1)
    }

    pub fn receipts() -> Vec<StoredReceipt> {
        vec![StoredReceipt { call: Some("call".to_owned()), ..sample::receipt(&item(), "job-7") }]
    }

    pub fn past() -> PastReceipt {
        sample::past_receipt(&item(), "job-6", Some(ReceiptWord::Failed))
    }

    pub fn early() -> EarlyReceipt {
        let state = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "here"));
        let receipt = Receipt { address: Some("+4930".to_owned()), ..Receipt::new("job-9", state) };
        EarlyReceipt { connector: "fax".to_owned(), receipt, at: sample::time(5) }
    }

    pub fn intent() -> Intent {
        let idempotency_keys = vec![format!("{}-0", item().id)];
        Intent { item: item().id, attempt: 1, at: sample::time(6), idempotency_keys }
    }

    pub fn inbound() -> InboundId {
        InboundId { connector: "sms".to_owned(), remote: "in-1".to_owned() }
    }

    pub async fn fill(store: &SqliteStore) {
        let put = sample::put_as(in_id(), Origin::Accepted, &[sample::hop("a")], sample::content(20));
        store.put(Put { inbound: Some(inbound()), ..put }).await.unwrap();
        let mut state = AgentStateChange::new("fax", 1000, sample::time(4));
        let value = b"\x00\xff".to_vec();
        state.writes.push(AgentStateWrite::Set { key: "seen".to_owned(), value });
        let settle = Settle {
            receipts: receipts(),
            past_receipts: vec![past()],
            agent_state: Some(state),
            ..Settle::replace(item())
        };
        store.settle(settle).await.unwrap();
        let number = store.find_receipts("fax".to_owned(), "job-6".to_owned()).await.unwrap().past[0].number;
        let change =
            ReceiptsChange { early: vec![early()], noted: vec![number], ..ReceiptsChange::default() };
        store.change_receipts(change).await.unwrap();
        store.put_intent(intent()).await.unwrap();
    }
}

/// Writes the sample of the format that this version writes. Run it by hand when a new format comes.
#[tokio::test]
#[ignore = "it writes into the source tree"]
async fn make_the_sample() {
    let folder = folder(2);
    assert!(!folder.exists(), "a kept sample is never changed");
    let store = SqliteStore::open(&folder, options()).unwrap();
    fill(&store).await;
    since_2::fill(&store).await;
    drop(store);
    fs::remove_file(folder.join("LOCK")).unwrap();
    fs::remove_dir(folder.join("incoming")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A copy of a sample, opened.
fn open(format: u32) -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    copy(&folder(format), directory.path());
    let store = SqliteStore::open(directory.path(), options()).unwrap();
    assert_eq!(store.faults(), &[] as &[String]);
    (directory, store)
}

/// What [`fill`] wrote is there.
async fn check(store: &SqliteStore) {
    assert!(store.check_bodies().await.unwrap().is_empty());
    let kept = store.load_message(kept_id()).await.unwrap().unwrap();
    let expected = sample::put_as(
        kept_id(),
        Origin::Accepted,
        &[sample::hop("a"), sample::hop("b")],
        sample::content(1000),
    );
    assert_eq!(kept.message, expected.message);
    assert_eq!(kept.content.read_all().unwrap(), expected.content.read_all().unwrap());
    let deferred = sample::deferred(expected.items[0].clone(), sample::time(60)).after.unwrap();
    assert_eq!(kept.items, [deferred, expected.items[1].clone()]);
    let big = store.load_message(big_id()).await.unwrap().unwrap();
    assert_eq!(big.content.read_all().unwrap(), sample::content(5000).read_all().unwrap());
    assert!(store.load_message(gone_id()).await.unwrap().is_none());

    let request = sample::dsn(&expected.items[0], &expected.message, DsnKind::Delayed);
    assert_eq!(store.outbox(10).await.unwrap(), [request]);
    let receipt = sample::receipt(&expected.items[0], "job-7");
    assert_eq!(store.receipts("fax".to_owned(), None, 10).await.unwrap()[0], receipt);
    let events = store.events(0, 100).await.unwrap();
    assert_eq!(events.iter().map(|(n, _)| *n).take(5).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let reasons: Vec<_> = store.index().hops().into_iter().map(|hop| hop.suspended).collect();
    assert_eq!(reasons, [None, Some("repair".to_owned())]);
}

#[tokio::test]
async fn format_1_opens() {
    let (_directory, store) = open(1);
    check(&store).await;
    let counters = store.counters().await.unwrap();
    assert_eq!((counters.accepted, counters.generated, counters.fates[&Fate::Delivered]), (3, 1, 1));
    assert_eq!(store.receipts("fax".to_owned(), None, 10).await.unwrap().len(), 1);
    assert_eq!(store.events(0, 100).await.unwrap().len(), 5);
    // And it is a store like any other, with what came since.
    since_2::fill(&store).await;
    check_since_2(&store).await;
}

#[tokio::test]
async fn format_2_opens() {
    let (directory, store) = open(2);
    check(&store).await;
    check_since_2(&store).await;
    drop(store);
    assert_eq!(format_of(directory.path()), 2);
}

/// What [`since_2::fill`] wrote is there.
async fn check_since_2(store: &SqliteStore) {
    let counters = store.counters().await.unwrap();
    assert_eq!((counters.accepted, counters.generated, counters.fates[&Fate::Delivered]), (4, 1, 1));
    let found = store.find_receipts("fax".to_owned(), "job-7".to_owned()).await.unwrap();
    assert_eq!(found.waiting[1..], since_2::receipts());
    let found = store.find_receipts("fax".to_owned(), "job-6".to_owned()).await.unwrap();
    let past = RememberedReceipt { number: 1, noted: true, receipt: since_2::past() };
    assert_eq!(found.past, [past]);
    assert_eq!(store.early_receipts(10).await.unwrap(), [since_2::early()]);
    assert_eq!(store.intents().await.unwrap(), [since_2::intent()]);
    let value = store.agent_state("fax".to_owned(), "seen".to_owned()).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"\x00\xff"[..]));
    assert_eq!(store.agent_state_usage("fax".to_owned()).await.unwrap(), 6);
    let again = Put { inbound: Some(since_2::inbound()), ..sample::small(&sample::hop("a")) };
    assert_eq!(store.put(again).await.unwrap(), PutDone::AlreadyKnown(in_id()));
}

fn format_of(directory: &Path) -> u32 {
    let database = rusqlite::Connection::open(directory.join("queue.db")).unwrap();
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn format_1_is_brought_up_to_date_once() {
    let directory = tempfile::tempdir().unwrap();
    copy(&folder(1), directory.path());
    assert_eq!(format_of(directory.path()), 1);
    for _ in 0..2 {
        let store = SqliteStore::open(directory.path(), options()).unwrap();
        let found = store.find_receipts("fax".to_owned(), "job-7".to_owned()).await.unwrap();
        let item = store.load_message(kept_id()).await.unwrap().unwrap().items[0].clone();
        assert_eq!(found.waiting, [sample::receipt(&item, "job-7")]);
        // The id may be given to another item from now on.
        let put = sample::small(&sample::hop("a"));
        let other = put.items[0].clone();
        store.put(put).await.unwrap();
        let receipts = vec![sample::receipt(&other, "job-7")];
        store.settle(Settle { receipts, ..Settle::replace(other.clone()) }).await.unwrap();
        let both = store.find_receipts("fax".to_owned(), "job-7".to_owned()).await.unwrap();
        assert_eq!(both.waiting.len(), 2);
        let finished_receipts = vec![("fax".to_owned(), "job-7".to_owned())];
        store.settle(Settle { finished_receipts, ..Settle::gone_silently(other.id) }).await.unwrap();
        drop(store);
        assert_eq!(format_of(directory.path()), 2);
    }
}

#[tokio::test]
async fn what_cannot_be_brought_up_to_date_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    copy(&folder(1), directory.path());
    let change = |sql: &str| {
        rusqlite::Connection::open(directory.path().join("queue.db")).unwrap().execute_batch(sql).unwrap();
    };
    // A table in the way makes the last step but one fail.
    change("CREATE TABLE inbound_ids(x)");
    let failed = SqliteStore::open(directory.path(), options());
    assert!(matches!(failed, Err(StoreError::Damaged(_))), "{:?}", failed.err());
    assert_eq!(format_of(directory.path()), 1);
    change("DROP TABLE inbound_ids; UPDATE receipts SET receipt = 'damaged'");
    // One damaged row keeps nobody from starting; it is told when it is asked for.
    let store = SqliteStore::open(directory.path(), options()).unwrap();
    let found = store.find_receipts("fax".to_owned(), "job-7".to_owned()).await;
    assert!(matches!(found, Err(StoreError::Damaged(_))), "{found:?}");
    assert!(store.load_message(kept_id()).await.unwrap().is_some());
}
