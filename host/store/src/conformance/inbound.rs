//! Messages from the far side: one for each of its ids, for as long as the ids are remembered.

use postern_model::MessageId;

use super::{Bench, Subject, is_invalid, sample};
use crate::{InboundId, Put, PutDone};

fn inbound(connector: &str, remote: &str) -> Option<InboundId> {
    Some(InboundId { connector: connector.to_owned(), remote: remote.to_owned() })
}

fn put(remote: &str, size: usize) -> Put {
    let put = sample::put(&[sample::hop("a")], sample::content(size));
    Put { inbound: inbound("sms", remote), ..put }
}

impl Bench<'_> {
    async fn put(&self, put: Put) -> PutDone {
        self.store().put(put).await.expect("there is room")
    }
}

pub(super) async fn what_comes_again_from_the_far_side_is_taken_once(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "inbound");
    let first = put("17", 10);
    let (id, item) = (first.message.id, first.items[0].clone());
    assert_eq!(bench.put(first.clone()).await, PutDone::Stored);
    // Each time it is another message of ours, with a body in the row or in a file.
    for size in [10, 700_000] {
        let again = put("17", size);
        let new = again.message.id;
        assert_eq!(bench.put(again).await, PutDone::AlreadyKnown(id));
        assert!(bench.store().load_message(new).await.expect("it can be read").is_none());
        bench.reopen();
    }
    assert_eq!(bench.put(first).await, PutDone::AlreadyKnown(id), "the very same is no fault either");
    // Another connector has ids of its own, and a message without an id is taken in any case.
    let other = Put { inbound: inbound("fax", "17"), ..put("17", 10) };
    assert_eq!(bench.put(other).await, PutDone::Stored);
    assert_eq!(bench.put(Put { inbound: None, ..put("17", 10) }).await, PutDone::Stored);
    assert_eq!(bench.counters().await.accepted, 3);
    assert_eq!(bench.store().events(0, 100).await.expect("it can be read").len(), 3);
    // It is known for longer than the message is there.
    bench.settle(sample::delivered(&item)).await.expect("it is there");
    bench.reopen();
    assert_eq!(bench.put(put("17", 10)).await, PutDone::AlreadyKnown(id));
    assert!(bench.store().check_bodies().await.expect("it can be read").is_empty());
    for remote in [String::new(), "x".repeat(InboundId::MAX_REMOTE + 1)] {
        assert!(is_invalid(&bench.store().put(put(&remote, 10)).await));
    }
}

pub(super) async fn of_many_that_come_at_once_one_is_taken(subject: &dyn Subject) {
    let bench = Bench::new(subject, "inbound-race");
    let puts: Vec<_> = (0..20).map(|n| put("17", if n % 2 == 0 { 10 } else { 700_000 })).collect();
    let ids: Vec<MessageId> = puts.iter().map(|put| put.message.id).collect();
    let commits: Vec<_> = puts.into_iter().map(|put| bench.store().put(put)).collect();
    let (mut stored, mut known) = (Vec::new(), Vec::new());
    for (id, commit) in ids.into_iter().zip(commits) {
        match commit.await.expect("there is room") {
            PutDone::Stored => stored.push(id),
            PutDone::AlreadyKnown(first) => known.push(first),
            PutDone::Repeated => panic!("it is no DSN"),
        }
    }
    assert_eq!(stored.len(), 1);
    assert!(known.iter().all(|first| *first == stored[0]) && known.len() == 19);
    assert_eq!(bench.store().messages(None, 100).await.expect("it can be read"), stored);
    assert!(bench.store().check_bodies().await.expect("it can be read").is_empty());
}

pub(super) async fn ids_of_the_far_side_are_forgotten_by_time(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "inbound-time");
    let at = |remote: &str, seconds: i64| {
        let mut put = put(remote, 10);
        let mut message = (*put.message).clone();
        message.envelope.received_at = sample::time(seconds);
        put.message = message.into();
        put
    };
    for (remote, seconds) in [("c", 30), ("a", 10), ("d", 40), ("b", 20)] {
        assert_eq!(bench.put(at(remote, seconds)).await, PutDone::Stored);
    }
    let forget = async |bench: &Bench<'_>, seconds, limit| {
        bench.store().forget_inbound(sample::time(seconds), limit).await.expect("there is room")
    };
    assert_eq!(forget(&bench, 10, 9).await, 0, "what came at that time is not before it");
    assert_eq!(forget(&bench, 40, 2).await, 2, "the oldest go first");
    bench.reopen();
    for (remote, is_known) in [("a", false), ("b", false), ("c", true), ("d", true)] {
        let done = bench.put(at(remote, 50)).await;
        assert_eq!(matches!(done, PutDone::AlreadyKnown(_)), is_known, "{remote}");
    }
    assert_eq!((forget(&bench, 50, 9).await, forget(&bench, 50, 9).await), (2, 0));
}
