//! A store that the first version wrote opens for ever.
//!
//! `data/format-1` was made by `make_the_sample` with the code of format 1 and is never made again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use postern_model::{DsnKind, Fate, MessageId, Origin};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{QueueSetting, Settle, Store, StoreError};

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

/// Contents from this size on are files in the sample.
const INLINE_LIMIT: u64 = 4096;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-1")
}

fn options() -> SqliteOptions {
    SqliteOptions { inline_limit: INLINE_LIMIT, ..SqliteOptions::default() }
}

/// Writes the sample. Run it by hand when a new format comes, with a new folder name.
#[tokio::test]
#[ignore = "it writes into the source tree"]
async fn make_the_sample() {
    assert!(!folder().exists(), "a kept sample is never changed");
    let store = SqliteStore::open(&folder(), options()).unwrap();
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
    drop(store);
    fs::remove_file(folder().join("LOCK")).unwrap();
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

#[tokio::test]
async fn format_1_opens() {
    let directory = tempfile::tempdir().unwrap();
    copy(&folder(), directory.path());
    let store = SqliteStore::open(directory.path(), options()).unwrap();
    assert_eq!(store.faults(), &[] as &[String]);
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
    assert_eq!(store.receipts("fax".to_owned(), None, 10).await.unwrap(), [receipt]);
    let counters = store.counters().await.unwrap();
    assert_eq!((counters.accepted, counters.generated, counters.fates[&Fate::Delivered]), (3, 1, 1));
    let events = store.events(0, 100).await.unwrap();
    assert_eq!(events.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let reasons: Vec<_> = store.index().hops().into_iter().map(|hop| hop.suspended).collect();
    assert_eq!(reasons, [None, Some("repair".to_owned())]);
    // And it is a store like any other.
    store.put(sample::small(&sample::hop("a"))).await.unwrap();
}

fn format_of(directory: &Path) -> u32 {
    let database = rusqlite::Connection::open(directory.join("queue.db")).unwrap();
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn format_1_is_brought_up_to_date_once() {
    let directory = tempfile::tempdir().unwrap();
    copy(&folder(), directory.path());
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
    copy(&folder(), directory.path());
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
