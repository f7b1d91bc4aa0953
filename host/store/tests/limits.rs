//! What the embedded store does when something is used up, damaged, newer or in other hands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use postern_model::{Fate, Item, ReceiptWord};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Settle, Store, StoreError, StoreHealth};

fn open(directory: &Path, options: SqliteOptions) -> SqliteStore {
    SqliteStore::open(directory, options).unwrap()
}

fn database(directory: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(directory.join("queue.db")).unwrap()
}

/// Puts messages until one is refused; the items of those that were taken, and why no more are.
async fn fill(store: &SqliteStore) -> (Vec<Item>, String) {
    let mut items = Vec::new();
    loop {
        let put = sample::put(&[sample::hop("a")], sample::content(20_000));
        let item = put.items[0].clone();
        match store.put(put).await {
            Ok(_) => items.push(item),
            Err(StoreError::Full(why)) => return (items, why),
            Err(other) => panic!("{other}"),
        }
        assert!(items.len() < 10_000, "the limit holds");
    }
}

async fn settle_all_and_put_again(store: &SqliteStore, items: &[Item]) {
    assert!(matches!(store.health(), StoreHealth::Full(_)));
    for item in items {
        let lease = store.index().lease_item(item.id).unwrap();
        lease.settle(store, sample::delivered(item)).await.unwrap();
    }
    assert!(store.index().is_empty());
    assert!(matches!(store.health(), StoreHealth::Full(_)), "nobody has looked");
    store.flush().await.unwrap();
    assert_eq!(store.health(), StoreHealth::Ready, "there is room again, without a message");
    store.put(sample::small(&sample::hop("a"))).await.unwrap();
    assert_eq!(store.health(), StoreHealth::Ready);
    let counters = store.counters().await.unwrap();
    let taken = items.len() as u64;
    assert_eq!((counters.accepted, counters.fates[&Fate::Delivered]), (taken + 1, taken));
}

#[tokio::test]
async fn a_store_at_its_page_limit_refuses_messages_and_settles_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions { max_pages: Some(200), ..SqliteOptions::default() };
    let store = open(directory.path(), options);
    let (items, why) = fill(&store).await;
    assert!(why.contains("200"), "{why}");
    settle_all_and_put_again(&store, &items).await;
}

/// A store in which the limit of SQLite itself was met before ours, so that the transaction failed in its middle. A
/// message takes several pages, and which number of them is met in a message depends on the tables.
async fn full_in_the_middle(directory: &Path) -> (SqliteStore, Vec<Item>) {
    for pages in 200..210 {
        let options = SqliteOptions { max_pages: Some(pages), settle_pages: 0, ..SqliteOptions::default() };
        let store = open(&directory.join(pages.to_string()), options);
        let (items, why) = fill(&store).await;
        if why.contains("full") {
            return (store, items);
        }
    }
    panic!("our limit was always met first")
}

#[tokio::test]
async fn a_full_database_undoes_the_group_and_settles_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut items) = full_in_the_middle(directory.path()).await;
    // In one group with messages that find no room, a settlement goes through all the same.
    let last = items.pop().unwrap();
    let first = items.remove(0);
    let commits: Vec<_> =
        (0..20).map(|_| store.put(sample::put(&[sample::hop("a")], sample::content(200_000)))).collect();
    let lease = store.index().lease_item(last.id).unwrap();
    let settled = lease.settle(&store, sample::delivered(&last));
    let lease = store.index().lease_item(first.id).unwrap();
    let deferred = lease.settle(&store, sample::deferred(first.clone(), sample::time(60)));
    for commit in commits {
        assert!(matches!(commit.await, Err(StoreError::Full(_))));
    }
    settled.await.unwrap();
    deferred.await.unwrap();
    items.push(first);
    let lease = store.index().lease_item(items[0].id).unwrap();
    drop(lease);
    for item in &items {
        let lease = store.index().lease_item(item.id).unwrap();
        lease.settle(&store, sample::delivered(item)).await.unwrap();
    }
    assert!(store.index().is_empty());
    assert!(matches!(store.health(), StoreHealth::Full(_)), "nobody has looked");
    store.flush().await.unwrap();
    assert_eq!(store.health(), StoreHealth::Ready, "there is room again, without a message");
    store.put(sample::small(&sample::hop("a"))).await.unwrap();
    assert_eq!(store.health(), StoreHealth::Ready);
    assert!(store.check_bodies().await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_taken_when_the_disk_has_less_than_its_reserve() {
    let directory = tempfile::tempdir().unwrap();
    let items = {
        let store = open(directory.path(), SqliteOptions::default());
        let put = sample::small(&sample::hop("a"));
        let items = put.items.clone();
        store.put(put).await.unwrap();
        items
    };
    let store = open(directory.path(), SqliteOptions { reserve: u64::MAX, ..SqliteOptions::default() });
    let refused = store.put(sample::small(&sample::hop("a"))).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let refused = store.put(sample::put(&[sample::hop("a")], sample::content(700_000))).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let lease = store.index().lease_item(items[0].id).unwrap();
    lease.settle(&store, sample::delivered(&items[0])).await.unwrap();
    assert!(store.index().is_empty());
    assert!(store.check_bodies().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_writer_that_is_behind_refuses_more_than_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), SqliteOptions { max_waiting: 100_000, ..SqliteOptions::default() });
    let commits: Vec<_> =
        (0..100).map(|_| store.put(sample::put(&[sample::hop("a")], sample::content(200_000)))).collect();
    let mut taken = 0;
    for commit in commits {
        match commit.await {
            Ok(_) => taken += 1,
            Err(StoreError::Full(why)) => assert!(why.contains("wait"), "{why}"),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(taken >= 1, "what comes when nothing waits is taken whatever its size");
    assert_eq!(store.index().len(), taken);
    // It was not the disk.
    assert_eq!(store.health(), StoreHealth::Ready);
    store.put(sample::put(&[sample::hop("a")], sample::content(200_000))).await.unwrap();
}

#[test]
fn a_second_store_in_the_directory_names_the_first_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), SqliteOptions::default());
    let Err(error) = SqliteStore::open(directory.path(), SqliteOptions::default()) else {
        panic!("it is in use")
    };
    let StoreError::Locked { pid, .. } = &error else { panic!("{error}") };
    assert_eq!(*pid, std::process::id().to_string());
    assert!(error.to_string().contains(pid.as_str()));
    drop(first);
    open(directory.path(), SqliteOptions::default());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), SqliteOptions::default()));
    database(directory.path()).pragma_update(None, "user_version", 3).unwrap();
    let before = fs::read(directory.path().join("queue.db")).unwrap();
    let result = SqliteStore::open(directory.path(), SqliteOptions::default());
    assert!(matches!(result, Err(StoreError::Version { found: 3, known: 2 })), "{:?}", result.err());
    assert_eq!(fs::read(directory.path().join("queue.db")).unwrap(), before);
}

#[test]
fn a_foreign_or_damaged_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    database(directory.path()).execute_batch("CREATE TABLE addresses(name TEXT)").unwrap();
    let result = SqliteStore::open(directory.path(), SqliteOptions::default());
    assert!(matches!(result, Err(StoreError::Damaged(_))), "{:?}", result.err());
    let garbage = "this is not a database ".repeat(1000);
    fs::write(directory.path().join("queue.db"), &garbage).unwrap();
    let result = SqliteStore::open(directory.path(), SqliteOptions::default());
    assert!(matches!(result, Err(StoreError::Damaged(_))), "{:?}", result.err());
    assert_eq!(fs::read_to_string(directory.path().join("queue.db")).unwrap(), garbage);
}

#[tokio::test]
async fn a_failed_write_poisons_the_store_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let item = put.items[0].clone();
    {
        let store = open(directory.path(), SqliteOptions::default());
        store.put(put).await.unwrap();
    }
    let (page, size): (u64, u64) = database(directory.path())
        .query_row("SELECT (SELECT rootpage FROM sqlite_master WHERE name = 'events'), (SELECT page_size FROM pragma_page_size)", [], |r| {
            Ok((r.get::<_, i64>(0)?.unsigned_abs(), r.get::<_, i64>(1)?.unsigned_abs()))
        })
        .unwrap();
    let store = open(directory.path(), SqliteOptions { cache_bytes: 0, ..SqliteOptions::default() });
    let lease = store.index().lease(&hop, sample::time(0)).unwrap();
    let path = directory.path().join("queue.db");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let start = usize::try_from((page - 1) * size).unwrap();
    bad[start..start + 100].fill(0xff);
    fs::write(&path, &bad).unwrap();

    let event = sample::event(item.id.message, postern_model::EventKind::Operate);
    let failed = store.drop_events(u64::MAX).await;
    assert!(matches!(failed, Err(StoreError::Poisoned(_))), "{failed:?}");
    assert!(matches!(store.health(), StoreHealth::Poisoned(_)));
    // Everything that comes later fails, and nobody gets an item whose outcome could not be kept.
    assert!(matches!(store.record(vec![event]).await, Err(StoreError::Poisoned(_))));
    assert!(matches!(store.put(sample::small(&hop)).await, Err(StoreError::Poisoned(_))));
    assert!(matches!(lease.settle(&store, sample::delivered(&item)).await, Err(StoreError::Poisoned(_))));
    assert!(store.index().is_stopped() && store.index().lease(&hop, sample::time(0)).is_none());
    assert!(store.index().lease_item_wait(item.id).await.is_none());
    drop(store);
    fs::write(&path, &good).unwrap();
    let store = open(directory.path(), SqliteOptions::default());
    assert_eq!(store.index().lease(&hop, sample::time(0)).unwrap().item(), item.id);
}

#[tokio::test]
async fn files_without_a_row_go_and_rows_without_a_file_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut items = Vec::new();
    {
        let store = open(directory.path(), SqliteOptions::default());
        for _ in 0..2 {
            let put = sample::put(&[sample::hop("a")], sample::content(300_000));
            items.push(put.items[0].clone());
            store.put(put).await.unwrap();
        }
        store.put(sample::small(&sample::hop("a"))).await.unwrap();
    }
    let files: Vec<_> = fs::read_dir(directory.path().join("big"))
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(files.len(), 2);
    let lost = files.iter().find(|path| path.ends_with(items[0].id.message.to_string())).unwrap();
    let kept = files.iter().find(|path| path.ends_with(items[1].id.message.to_string())).unwrap();
    let stray_name = postern_model::MessageId::from_bytes({
        let mut bytes = items[1].id.message.to_bytes();
        bytes[0] ^= 0xff;
        bytes
    });
    let stray = kept.with_file_name(stray_name.to_string());
    fs::copy(kept, &stray).unwrap();
    fs::remove_file(lost).unwrap();
    fs::write(directory.path().join("incoming/half"), "From: somebody who left").unwrap();

    let store = open(directory.path(), SqliteOptions::default());
    assert!(!stray.exists() && kept.exists() && !directory.path().join("incoming/half").exists());
    assert_eq!(store.faults().len(), 1, "{:?}", store.faults());
    assert!(store.faults()[0].contains(&items[0].id.message.to_string()));
    assert!(matches!(store.load(items[0].id).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.load(items[1].id).await.unwrap().unwrap().content.size(), 300_000);
    assert_eq!(store.index().len(), 3);
    let faults = store.check_bodies().await.unwrap();
    assert_eq!(faults.len(), 1, "{faults:?}");
    // What an operator does about it works: the item can go.
    let lease = store.index().lease_item(items[0].id).unwrap();
    lease.settle(&store, sample::delivered(&items[0])).await.unwrap();
    assert!(store.check_bodies().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_changed_body_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let mut items = Vec::new();
    {
        let store = open(directory.path(), SqliteOptions::default());
        for size in [5_000, 300_000] {
            let put = sample::put(&[sample::hop("a")], sample::content(size));
            items.push(put.items[0].clone());
            store.put(put).await.unwrap();
        }
    }
    database(directory.path())
        .execute("UPDATE messages SET body = zeroblob(size) WHERE body IS NOT NULL", [])
        .unwrap();
    let store = open(directory.path(), SqliteOptions::default());
    assert!(matches!(store.load(items[0].id).await, Err(StoreError::Damaged(_))));
    let loaded = store.load(items[1].id).await.unwrap().unwrap();
    let postern_model::Content::File { path, size } = loaded.content else { panic!("it is big") };
    fs::write(path, vec![0; usize::try_from(size).unwrap()]).unwrap();
    let faults = store.check_bodies().await.unwrap();
    assert_eq!(faults.len(), 2, "{faults:?}");
    for (fault, item) in faults.iter().zip(&items) {
        assert!(fault.contains(&item.id.message.to_string()) && fault.contains("changed"), "{fault}");
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_does_not_stop_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let puts: Vec<_> = (0..3).map(|_| sample::small(&sample::hop("a"))).collect();
    {
        let store = open(directory.path(), SqliteOptions::default());
        for put in &puts {
            store.put(put.clone()).await.unwrap();
        }
    }
    let row = database(directory.path());
    row.execute("UPDATE items SET v = 99 WHERE key >> 16 = 1", []).unwrap();
    row.execute("UPDATE items SET item = '{}' WHERE key >> 16 = 2", []).unwrap();
    drop(row);
    let store = open(directory.path(), SqliteOptions::default());
    assert_eq!((store.faults().len(), store.index().len()), (2, 1), "{:?}", store.faults());
    assert!(store.faults()[0].contains("version 99"));
    assert!(store.load(puts[2].items[0].id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_person_with_the_write_lock_only_delays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), SqliteOptions::default());
    let person = database(directory.path());
    person.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hop = sample::hop("a");
    let small = store.put(sample::small(&hop));
    // The body of the second one is on the disk before its row can be, so the writer has been held up by then.
    let big = store.put(sample::put(&[hop], sample::content(300_000)));
    while fs::read_dir(directory.path().join("big")).unwrap().count() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(store.index().is_empty());
    person.execute_batch("ROLLBACK").unwrap();
    small.await.unwrap();
    big.await.unwrap();
    assert_eq!((store.index().len(), store.health()), (2, StoreHealth::Ready));
}

#[test]
fn only_the_owner_can_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), SqliteOptions::default());
    store.put(sample::put(&[sample::hop("a")], sample::content(300_000))).wait().unwrap();
    let mut folders = vec![directory.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            if entry.file_type().unwrap().is_dir() {
                assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
                folders.push(entry.path());
            } else if entry.file_name() != "LOCK" {
                assert_eq!(mode & 0o077, 0, "{}", entry.path().display());
                files += 1;
            }
        }
    }
    assert!(files >= 3, "the database, its log and a body");
    drop(store);
    assert!(
        !directory.path().join("queue.db-wal").exists(),
        "all of it is in the database when the store is closed"
    );
}

#[tokio::test]
async fn only_the_last_receipts_are_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let settle_ten = async |store: &SqliteStore| {
        let put = sample::small(&sample::hop("a"));
        let item = put.items[0].clone();
        store.put(put).await.unwrap();
        let past = |n| sample::past_receipt(&item, &format!("{n}"), Some(ReceiptWord::Delivered));
        let past_receipts = (0..10).map(past).collect();
        store.settle(Settle { past_receipts, ..sample::delivered(&item) }).await.unwrap();
    };
    let known = async |store: &SqliteStore| {
        let mut known = 0;
        for n in 0..10 {
            known += store.find_receipts("fax".to_owned(), n.to_string()).await.unwrap().past.len();
        }
        known
    };
    // A smaller memory holds from the next receipt on.
    for (receipt_memory, expected) in [(15, [10, 15, 15]), (4, [4, 4, 4]), (0, [4, 4, 4]), (6, [6, 6, 6])] {
        let options = SqliteOptions { receipt_memory, ..SqliteOptions::default() };
        let store = open(directory.path(), options);
        for expected in expected {
            settle_ten(&store).await;
            assert_eq!(known(&store).await, expected);
        }
        let last = store.find_receipts("fax".to_owned(), "9".to_owned()).await.unwrap();
        assert!(!last.past.is_empty(), "the newest are kept");
    }
}

#[tokio::test]
async fn an_idle_store_gives_its_space_back() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions { spare_pages: 16, log_bytes: 1 << 20, ..SqliteOptions::default() };
    let store = open(directory.path(), options);
    let mut items = Vec::new();
    for _ in 0..400 {
        let put = sample::put(&[sample::hop("a")], sample::content(30_000));
        items.push(put.items[0].clone());
        drop(store.put(put));
    }
    store.flush().await.unwrap();
    for item in &items {
        let lease = store.index().lease_item(item.id).unwrap();
        drop(lease.settle(&store, sample::delivered(item)));
    }
    store.flush().await.unwrap();
    let reader = database(directory.path());
    let pages = || reader.query_row("PRAGMA page_count", [], |r| r.get::<_, i64>(0)).unwrap();
    let most = pages();
    assert!(most > 1000, "{most}");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while pages() > 200 {
        assert!(std::time::Instant::now() < end, "{} pages of {most} are still there", pages());
        tokio::task::yield_now().await;
    }
    drop(store);
    assert!(fs::metadata(directory.path().join("queue.db")).unwrap().len() < 200 * 8192);
}
