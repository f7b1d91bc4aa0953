//! The doors to the host itself: kept state, and mail that is handed in.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use postern_agent::{Agent, BoxFuture, Doors, Inbound, InboundMessage, KeptState, NotCommitted};
use postern_model::StateChange;
use support::{Bench, fault, open, request};

/// State in memory, as a host would keep it.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Vec<u8>>>);

impl KeptState for Kept {
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move { Ok(self.0.lock().unwrap().get(&key).cloned()) })
    }

    fn keys(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<String>, String>> {
        let state = self.0.lock().unwrap();
        let found = state.keys().filter(|key| key.starts_with(&prefix)).take(limit).cloned().collect();
        Box::pin(async move { Ok(found) })
    }

    fn usage(&self) -> BoxFuture<'_, Result<u64, String>> {
        let bytes = self.0.lock().unwrap().iter().map(|(k, v)| (k.len() + v.len()) as u64).sum();
        Box::pin(async move { Ok(bytes) })
    }

    fn commit(&self, change: StateChange) -> BoxFuture<'_, Result<(), NotCommitted>> {
        self.apply(change);
        Box::pin(async { Ok(()) })
    }
}

impl Kept {
    fn apply(&self, change: StateChange) {
        let mut state = self.0.lock().unwrap();
        for (key, value) in change.writes {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    }
}

fn with(bench: &Bench, agent: &str, doors: Doors) -> Agent {
    let mut spec = bench.spec(agent);
    spec.doors = doors;
    bench.runtime.load(spec).unwrap()
}

fn state(kept: &Arc<Kept>, quota: u64) -> Doors {
    Doors { state: Some(kept.clone()), state_quota: quota, ..Doors::default() }
}

#[test]
fn what_a_delivery_wrote_goes_with_its_report_and_is_checked_against_what_it_read() {
    let (bench, kept) = (Bench::new(), Arc::new(Kept::default()));
    let agent = with(&bench, "agents/state", state(&kept, 1000));
    let changes = bench.run({
        let kept = kept.clone();
        async move {
            let mut connection = open(&agent).await;
            let mut changes = Vec::new();
            for _ in 0..2 {
                let report = connection.deliver(&request(1, b"x")).await;
                let change = report.state.clone().unwrap();
                // The host commits it with the outcome, before the next call.
                kept.apply(change.clone());
                changes.push(change);
            }
            changes
        }
    });
    let done = || "done".to_owned();
    let first = StateChange { checks: vec![(done(), None)], writes: vec![(done(), Some(b"x".to_vec()))] };
    let second = StateChange {
        checks: vec![(done(), Some(b"x".to_vec()))],
        writes: vec![(done(), Some(b"xx".to_vec()))],
    };
    assert_eq!(changes, [first, second]);
}

#[test]
fn what_is_not_committed_is_not_seen_by_the_next_call() {
    let (bench, kept) = (Bench::new(), Arc::new(Kept::default()));
    let agent = with(&bench, "agents/state", state(&kept, 1000));
    let written = bench.run(async move {
        let mut connection = open(&agent).await;
        // This report was deferred, or its settlement refused.
        connection.deliver(&request(1, b"x")).await;
        connection.deliver(&request(1, b"x")).await.state.unwrap().writes
    });
    assert_eq!(written, [("done".to_owned(), Some(b"x".to_vec()))]);
}

#[test]
fn the_quota_holds_while_the_call_runs() {
    let (bench, kept) = (Bench::new(), Arc::new(Kept::default()));
    kept.apply(StateChange { checks: vec![], writes: vec![("other".to_owned(), Some(vec![0; 91]))] });
    for (quota, good) in [(100, false), (101, true)] {
        let agent = with(&bench, "agents/state", state(&kept, quota));
        let (report, _) = bench.deliver(&agent, 1);
        assert_eq!(report.state.is_some(), good, "{quota}: {report:?}");
        assert_eq!(fault(&report).is_empty(), good);
    }
}

#[test]
fn without_the_grant_there_is_no_state_and_the_attempt_is_counted() {
    let bench = Bench::new();
    let agent = bench.load("agents/state");
    let (report, _) = bench.deliver(&agent, 1);
    assert!(report.state.is_none() && report.outcomes.is_empty());
    assert_eq!(agent.stats().state_refused, 1);
}

/// Takes messages as a host would.
#[derive(Default)]
struct Door(Mutex<Vec<InboundMessage>>);

impl Inbound for Door {
    fn submit(&self, message: InboundMessage) -> BoxFuture<'_, Result<String, String>> {
        self.0.lock().unwrap().push(message);
        Box::pin(async { Ok("id".to_owned()) })
    }
}

#[test]
fn mail_is_handed_in_where_that_is_granted() {
    let (bench, door) = (Bench::new(), Arc::new(Door::default()));
    let doors = Doors { inbound: Some(door.clone()), ..Doors::default() };
    let agent = with(&bench, "agents/inbound", doors);
    let (report, _) = bench.deliver(&agent, 1);
    assert_eq!(report.outcomes.len(), 1, "{report:?}");
    let message = InboundMessage {
        remote_id: "done".to_owned(),
        reverse_path: String::new(),
        recipients: vec!["ann@inside.example".to_owned()],
        content: b"Subject: from outside\r\n\r\nhello\r\n".to_vec(),
    };
    assert_eq!(*door.0.lock().unwrap(), [message]);

    let without = bench.load("agents/inbound");
    let (report, _) = bench.deliver(&without, 1);
    assert!(report.outcomes.is_empty());
    assert_eq!(without.stats().inbound_refused, 1);
}

#[test]
fn a_message_over_the_limits_is_not_handed_in() {
    let (bench, door) = (Bench::new(), Arc::new(Door::default()));
    let mut spec = bench.spec("agents/inbound");
    spec.doors.inbound = Some(door.clone());
    spec.limits.inbound_bytes = 10;
    let agent = bench.runtime.load(spec).unwrap();
    assert!(bench.deliver(&agent, 1).0.outcomes.is_empty());
    assert!(door.0.lock().unwrap().is_empty());
}
