//! What is stored of a message, and when nothing is.

use postern_model::{Content, DsnKind, EventKind, MessageId, Origin};

use super::{Bench, Subject, bytes, is_invalid, sample};
use crate::sqlite::IncomingFile;
use crate::{PutDone, Settle};

const TOOK: PutDone = PutDone::Stored;

pub(super) async fn a_message_is_there_after_its_commit(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "put");
    let put = sample::put(&[sample::hop("a"), sample::hop("b")], sample::content(5000));
    let expected = (put.message.clone(), put.items.clone());
    assert_eq!(bench.store().put(put.clone()).await.expect("there is room"), TOOK);
    for _ in 0..2 {
        let found =
            bench.store().load_message(expected.0.id).await.expect("it can be read").expect("it is there");
        assert_eq!((&found.message, &found.items), (&expected.0, &expected.1));
        assert_eq!(bytes(&found.content), bytes(&put.content));
        for item in &expected.1 {
            let found = bench.load(item.id).await.expect("the item is there");
            assert_eq!((&*found.item, &found.message), (item, &expected.0));
        }
        let ids: Vec<_> = expected.1.iter().map(|item| item.id).collect();
        assert_eq!(bench.store().index().locate(expected.0.id), ids);
        assert_eq!(bench.store().messages(None, 10).await.expect("it can be read"), [expected.0.id]);
        bench.reopen();
    }
}

pub(super) async fn a_refused_message_leaves_nothing(subject: &dyn Subject) {
    let bench = Bench::new(subject, "refused-put");
    let good = sample::put(&[sample::hop("a")], sample::content(700_000));
    let mut empty = good.clone();
    empty.items.clear();
    let mut foreign = good.clone();
    foreign.items[0].id.message = MessageId::generate();
    let mut lying = good.clone();
    lying.content = sample::content(5);
    for bad in [empty, foreign, lying] {
        let refused = bench.store().put(bad).await;
        assert!(is_invalid(&refused), "{refused:?}");
    }
    assert!(bench.store().index().is_empty());
    assert_eq!(bench.counters().await.accepted, 0);
    assert!(bench.store().events(0, 10).await.expect("it can be read").is_empty());
    // What was refused may come again, and once only.
    assert_eq!(bench.store().put(good.clone()).await.expect("there is room"), TOOK);
    assert!(is_invalid(&bench.store().put(good).await));
    assert_eq!((bench.store().index().len(), bench.counters().await.accepted), (1, 1));
    assert!(bench.store().check_bodies().await.expect("it can be read").is_empty());
}

pub(super) async fn a_refused_write_does_not_fail_its_neighbours(subject: &dyn Subject) {
    let bench = Bench::new(subject, "neighbours");
    let hop = sample::hop("a");
    let store = bench.store();
    let mut commits = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..50 {
        commits.push(store.put(sample::small(&hop)));
        let stranger = sample::small(&hop).items.remove(0);
        refused.push(store.settle(Settle::replace(stranger)));
    }
    for commit in commits {
        assert_eq!(commit.await.expect("there is room"), TOOK);
    }
    for commit in refused {
        assert!(is_invalid(&commit.await));
    }
    assert_eq!((store.index().len(), bench.counters().await.accepted), (50, 50));
}

pub(super) async fn a_dsn_request_becomes_one_message(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "dsn");
    let hop = sample::hop("a");
    let put = sample::small(&hop);
    let (item, message) = (put.items[0].clone(), put.message.clone());
    bench.store().put(put).await.expect("there is room");
    let request = sample::dsn(&item, &message, DsnKind::Failed);
    let settle = Settle { dsns: vec![request.clone()], ..Settle::gone_silently(item.id) };
    bench.settle(settle).await.expect("the item is there");
    assert_eq!(bench.store().outbox(10).await.expect("it can be read"), std::slice::from_ref(&request));

    for size in [100, 700_000] {
        let id = MessageId::from_name(&request.key);
        let mut dsn = sample::put_as(id, Origin::Generated, &[sample::hop("b")], sample::content(size));
        dsn.outbox_key = Some(request.key.clone());
        let first = size == 100;
        let done = bench.store().put(dsn.clone()).await.expect("there is room");
        assert_eq!(done, if first { PutDone::Stored } else { PutDone::Repeated });
        bench.reopen();
        assert_eq!(bench.store().put(dsn).await.expect("there is room"), PutDone::Repeated);
    }
    assert!(bench.outbox_keys().await.is_empty());
    assert_eq!(bench.store().index().len(), 1);
    assert_eq!(bench.counters().await.generated, 1);
    assert!(bench.store().check_bodies().await.expect("it can be read").is_empty());
}

pub(super) async fn contents_of_every_size_come_back(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "sizes");
    let sizes = [0, 1, 4096, 100_000, (256 << 10) - 1, 256 << 10, 1_500_000];
    let puts: Vec<_> = sizes.map(|size| sample::put(&[sample::hop("a")], sample::content(size))).into();
    let commits: Vec<_> = puts.iter().map(|put| bench.store().put(put.clone())).collect();
    bench.store().flush().await.expect("there is room");
    assert_eq!(bench.store().index().len(), sizes.len(), "a flush comes after everything before it");
    for commit in commits {
        commit.await.expect("there is room");
    }
    for _ in 0..2 {
        for put in &puts {
            let found = bench.load(put.items[0].id).await.expect("it is there");
            assert_eq!(bytes(&found.content), bytes(&put.content));
        }
        bench.reopen();
    }
    for put in &puts {
        bench.settle(sample::delivered(&put.items[0])).await.expect("the item is there");
        assert!(bench.load(put.items[0].id).await.is_none());
    }
    assert!(bench.store().check_bodies().await.expect("it can be read").is_empty());
}

pub(super) async fn a_file_becomes_the_content(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "files");
    let folder = subject.incoming("files");
    let mut ids = Vec::new();
    for size in [10, 900_000] {
        let expected = bytes(&sample::content(size));
        let mut file = IncomingFile::create(&folder).expect("the folder is there");
        for chunk in expected.chunks(64 << 10) {
            file.write(chunk).expect("there is room");
        }
        assert_eq!(file.size(), size as u64);
        let put = sample::put(&[sample::hop("a")], file.finish());
        ids.push((put.items[0].id, expected));
        bench.store().put(put).await.expect("there is room");
    }
    // A file that was not finished leaves nothing, and one from elsewhere is not taken.
    drop(IncomingFile::create(&folder).expect("the folder is there"));
    let foreign = Content::File { path: "/etc/hostname".into(), size: 10 };
    assert!(is_invalid(&bench.store().put(sample::put(&[sample::hop("a")], foreign)).await));
    let left = std::fs::read_dir(&folder).expect("the folder is there").count();
    assert_eq!(left, 0, "every file was taken or removed");
    bench.reopen();
    for (id, expected) in ids {
        let found = bench.load(id).await.expect("it is there");
        assert_eq!(bytes(&found.content), expected);
    }
    let events = bench.store().events(0, 10).await.expect("it can be read");
    assert!(events.iter().all(|(_, event)| event.kind == EventKind::Receive));
}
