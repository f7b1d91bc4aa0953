//! The state of agents: what is changed, what is refused, and what it goes together with.

use super::{Bench, Subject, is_invalid, sample};
use crate::{AgentStateChange, AgentStateCheck, AgentStateWrite, Settle, SettleDone, StoreError};

const QUOTA: u64 = 10_000;

fn change() -> AgentStateChange {
    AgentStateChange::new("fax", QUOTA, sample::time(0))
}

impl AgentStateChange {
    fn set(mut self, key: &str, value: &[u8]) -> Self {
        self.writes.push(AgentStateWrite::Set { key: key.to_owned(), value: value.to_vec() });
        self
    }

    fn delete(mut self, key: &str) -> Self {
        self.writes.push(AgentStateWrite::Delete { key: key.to_owned() });
        self
    }

    fn check(mut self, key: &str, expected: Option<&[u8]>) -> Self {
        let expected = expected.map(<[u8]>::to_vec);
        self.checks.push(AgentStateCheck { key: key.to_owned(), expected });
        self
    }
}

impl Bench<'_> {
    async fn change_state(&self, change: AgentStateChange) -> Result<(), StoreError> {
        self.store().change_agent_state(change).await
    }

    async fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.store().agent_state("fax".to_owned(), key.to_owned()).await.expect("it can be read")
    }

    async fn state_keys(&self, prefix: &str, limit: usize) -> Vec<String> {
        let keys = self.store().agent_state_keys("fax".to_owned(), prefix.to_owned(), limit);
        keys.await.expect("it can be read")
    }

    async fn state_usage(&self, connector: &str) -> u64 {
        self.store().agent_state_usage(connector.to_owned()).await.expect("it can be read")
    }
}

fn is_conflict<T>(result: &Result<T, StoreError>, on: &str) -> bool {
    matches!(result, Err(StoreError::StateConflict { connector, key }) if connector == "fax" && key == on)
}

pub(super) async fn agents_have_state_of_their_own(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "state");
    assert_eq!((bench.state("a").await, bench.state_usage("fax").await), (None, 0));
    let first = change().set("a", b"1").set("b/x", &[0, 255]).set("b/y", b"").set("c", b"3").delete("none");
    bench.change_state(first).await.expect("there is room");
    let other = AgentStateChange { connector: "sms".to_owned(), ..change().set("a", b"other") };
    bench.change_state(other).await.expect("there is room");
    // Writes happen in their order: the last one of a key counts.
    let second = change().set("c", b"4").delete("c").set("a", b"2").set("a", b"22");
    bench.change_state(second).await.expect("there is room");
    for _ in 0..2 {
        assert_eq!(bench.state("a").await.as_deref(), Some(&b"22"[..]));
        assert_eq!(bench.state("b/x").await.as_deref(), Some(&[0, 255][..]));
        assert_eq!(bench.state("b/y").await.as_deref(), Some(&b""[..]), "an empty value is a value");
        assert_eq!(bench.state("c").await, None);
        assert_eq!(bench.state_keys("", 10).await, ["a", "b/x", "b/y"]);
        assert_eq!(bench.state_keys("b/", 10).await, ["b/x", "b/y"]);
        assert_eq!(bench.state_keys("b/", 1).await, ["b/x"]);
        assert!(bench.state_keys("b/z", 10).await.is_empty());
        assert_eq!((bench.state_usage("fax").await, bench.state_usage("sms").await), (3 + 5 + 3, 6));
        bench.reopen();
    }
    for key in [String::new(), "k".repeat(AgentStateChange::MAX_KEY + 1)] {
        assert!(is_invalid(&bench.change_state(change().set(&key, b"")).await));
        assert!(is_invalid(&bench.change_state(change().check(&key, None)).await));
    }
}

pub(super) async fn a_change_of_state_is_checked_against_what_was_there_before(subject: &dyn Subject) {
    let bench = Bench::new(subject, "swap");
    let swap = |key, expected, new: &[u8]| change().check(key, expected).set(key, new);
    bench.change_state(swap("a", None, b"1")).await.expect("nobody has it");
    assert!(is_conflict(&bench.change_state(swap("a", None, b"2")).await, "a"));
    assert!(is_conflict(&bench.change_state(swap("a", Some(b"2"), b"3")).await, "a"));
    bench.change_state(swap("a", Some(b"1"), b"2")).await.expect("it is as expected");
    // One that fails changes nothing, whatever else it holds.
    let mixed = change().set("b", b"1").check("a", Some(b"2")).check("c", Some(b"")).delete("a");
    assert!(is_conflict(&bench.change_state(mixed).await, "c"));
    assert_eq!((bench.state("a").await, bench.state("b").await), (Some(b"2".to_vec()), None));
    // What it writes itself does not count for its checks.
    let own = change().set("d", b"1").check("d", None);
    bench.change_state(own).await.expect("there was none before");
    // Of many that expect the same, one succeeds; handed in at once, they may share a commit.
    let rivals: Vec<_> = (0..20_u8).map(|n| swap("a", Some(b"2"), &[n])).collect();
    let commits: Vec<_> = rivals.into_iter().map(|c| bench.store().change_agent_state(c)).collect();
    let mut won = Vec::new();
    for (n, commit) in (0..20_u8).zip(commits) {
        if commit.await.is_ok() {
            won.push(n);
        }
    }
    assert_eq!(bench.state("a").await, Some(won.clone()), "exactly one of them");
}

pub(super) async fn state_keeps_to_its_quota(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "quota");
    let with_quota = |quota, change| AgentStateChange { quota, ..change };
    bench.change_state(with_quota(10, change().set("a", &[0; 9]))).await.expect("it is all that is granted");
    let full = bench.change_state(with_quota(10, change().set("b", b""))).await;
    let expected = |bytes, quota| move |r: &Result<(), StoreError>| matches!(r, Err(StoreError::StateFull { bytes: b, quota: q, .. }) if (*b, *q) == (bytes, quota));
    assert!(expected(11, 10)(&full), "{full:?}");
    bench.reopen();
    // What is replaced in the same change makes room, and a smaller quota takes nothing away.
    let exchanged = with_quota(10, change().set("a", &[0; 4]).set("b", &[0; 4]));
    bench.change_state(exchanged).await.expect("together they fit");
    let grown = bench.change_state(with_quota(5, change().set("a", &[0; 5]))).await;
    assert!(expected(11, 5)(&grown), "{grown:?}");
    bench.change_state(with_quota(5, change().set("a", &[1; 4]))).await.expect("it is no more than before");
    bench.change_state(with_quota(5, change().delete("a"))).await.expect("it is less than before");
    assert_eq!((bench.state_usage("fax").await, bench.state_keys("", 9).await), (5, vec!["b".to_owned()]));
}

pub(super) async fn state_and_settlement_are_stored_together_or_not_at_all(subject: &dyn Subject) {
    let mut bench = Bench::new(subject, "state-settle");
    let put = sample::small(&sample::hop("a"));
    let item = put.items[0].clone();
    bench.store().put(put).await.expect("there is room");
    let lease = bench.lease(&sample::hop("a")).expect("it is due");
    let with = |agent_state, settle: Settle| Settle { agent_state: Some(agent_state), ..settle };
    let wrong = with(change().set("seen", b"1").check("seen", Some(b"0")), sample::delivered(&item));
    // Through the store, so that the lease is still there for the settlement that is made instead.
    assert!(is_conflict(&bench.store().settle(wrong.clone()).await, "seen"));
    let full = with(AgentStateChange { quota: 3, ..change().set("seen", b"1") }, sample::delivered(&item));
    let refused = bench.store().settle(full).await;
    assert!(matches!(refused, Err(StoreError::StateFull { .. })), "{refused:?}");
    assert_eq!((bench.state("seen").await, bench.state_usage("fax").await), (None, 0));
    assert!(bench.counters().await.fates.is_empty());
    assert!(bench.lease(&sample::hop("a")).is_none(), "somebody has it still");
    let deferred = sample::deferred(item.clone(), sample::time(60));
    lease.settle(bench.store(), deferred.clone()).await.expect("it is there");
    bench.reopen();
    assert_eq!(*bench.load(item.id).await.expect("it is there").item, deferred.after.expect("it stays"));
    // Under a lease of its own a refused one gives the item back.
    assert!(is_conflict(&bench.settle(wrong).await, "seen"));
    let right = with(change().set("seen", b"1").check("seen", None), sample::delivered(&item));
    assert_eq!(bench.settle(right).await.expect("it is as expected"), SettleDone { message_gone: true });
    bench.reopen();
    assert_eq!(bench.state("seen").await.as_deref(), Some(&b"1"[..]), "it outlives the item");
    // A settlement of nothing changes nothing either.
    let nothing = with(change().set("seen", b"2"), sample::delivered(&item));
    assert!(is_invalid(&bench.store().settle(nothing).await));
    assert_eq!(bench.state("seen").await.as_deref(), Some(&b"1"[..]));
}
