//! Well-behaved agents: what they see, say and are allowed.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use postern_agent::{AgentSpec, Limits, LoadError, Secret, unserved_contract};
use postern_model::{Content, ReceiptState, RecipientState, Response};
use support::{Bench, open, request};

#[test]
fn every_queued_recipient_is_delivered_and_the_others_are_not_shown() {
    let bench = Bench::new();
    let agent = bench.load("agents/deliver-all");
    assert_eq!(agent.description().name, "test agent");
    let report = bench.run(async move {
        let mut request = request(4, &vec![b'a'; 200_003]);
        let item = std::sync::Arc::make_mut(&mut request.item);
        item.recipients[1].state = RecipientState::Pending {
            receipt_ids: vec!["r".to_owned()],
            response: Response::new(250, (2, 0, 0), "taken"),
            expires_at: jiff::Timestamp::UNIX_EPOCH,
            call: None,
        };
        let mut connection = open(&agent).await;
        assert_eq!(connection.label(), "test agent");
        let report = connection.deliver(&request).await;
        connection.close().await.unwrap();
        report
    });
    let reported: Vec<_> = report.outcomes.iter().map(|o| (o.recipient, o.outcome.word())).collect();
    assert_eq!(reported, [(0, "delivered"), (2, "delivered"), (3, "delivered")]);
    assert!(report.fault.is_none() && !report.broken);
}

#[test]
fn content_in_a_file_is_read_in_pieces() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/deliver-all");
    // The agent has less memory than the message has bytes.
    spec.limits = Limits { memory: 1 << 20, ..Limits::default() };
    let agent = bench.runtime.load(spec).unwrap();
    let path = bench.folder().join("body");
    std::fs::write(&path, vec![b'z'; 3_000_000]).unwrap();
    let report = bench.run(async move {
        let mut request = request(1, b"");
        request.content = Content::File { path, size: 3_000_000 };
        open(&agent).await.deliver(&request).await
    });
    assert_eq!(report.outcomes.len(), 1, "{report:?}");
}

#[test]
fn content_that_is_gone_is_told_to_the_agent() {
    let bench = Bench::new();
    let agent = bench.load("agents/deliver-all");
    let path = bench.folder().join("missing");
    let report = bench.run(async move {
        let mut request = request(1, b"");
        request.content = Content::File { path, size: 10 };
        open(&agent).await.deliver(&request).await
    });
    assert!(report.outcomes.is_empty() && report.fault.is_some() && !report.trapped, "{report:?}");
}

#[test]
fn one_connection_serves_many_deliveries() {
    let bench = Bench::new();
    let agent = bench.load("agents/deliver-all");
    let counted = agent.clone();
    bench.run(async move {
        let mut connection = open(&agent).await;
        // More than the guest may hold handles, so a handle or an item that stays behind would show.
        for _ in 0..5000 {
            let report = connection.deliver(&request(1, b"Subject: x\r\n\r\n")).await;
            assert_eq!(report.outcomes.len(), 1, "{report:?}");
        }
    });
    assert_eq!((counted.stats().deliveries, counted.stats().traps), (5000, 0));
    let latency = counted.stats().latency;
    assert_eq!(latency.count(), 5000);
    assert!(latency.within(0.5) <= latency.within(0.99) && latency.seconds() > 0.0, "{latency:?}");
}

#[test]
fn memory_is_counted_while_an_instance_lives_and_its_peak_is_kept() {
    let bench = Bench::new();
    let agent = bench.load("agents/deliver-all");
    let counted = agent.clone();
    bench.run(async move {
        let connections = [open(&agent).await, open(&agent).await];
        let each = connections[0].memory() as u64;
        assert!(each >= 65_536, "{each}");
        let stats = agent.stats();
        assert_eq!((stats.live, stats.memory, stats.memory_peak), (2, 2 * each, each));
        drop(connections);
    });
    let stats = counted.stats();
    assert_eq!((stats.live, stats.memory), (0, 0));
    assert!(stats.memory_peak >= 65_536);
}

#[test]
fn a_second_load_takes_the_compiled_code_from_the_cache() {
    let bench = Bench::new();
    let spec = bench.spec("agents/deliver-all");
    let first = bench.runtime.load(spec.clone()).unwrap();
    let cached = || -> Vec<_> {
        let entries = std::fs::read_dir(bench.folder().join("cache")).unwrap();
        entries
            .map(|e| {
                let e = e.unwrap();
                (e.file_name(), e.metadata().unwrap().modified().unwrap())
            })
            .collect()
    };
    let before = cached();
    assert_eq!(before.len(), 1, "one file and no temporary ones");
    assert!(before[0].0.to_string_lossy().contains(first.digest()));
    let second = bench.runtime.load(spec).unwrap();
    assert_eq!((cached(), first.digest()), (before, second.digest()));
}

#[test]
fn a_damaged_cache_file_is_compiled_again() {
    let bench = Bench::new();
    let spec = bench.spec("agents/deliver-all");
    bench.runtime.load(spec.clone()).unwrap();
    let file = std::fs::read_dir(bench.folder().join("cache")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, b"not code").unwrap();
    let agent = bench.runtime.load(spec).unwrap();
    assert_eq!(bench.deliver(&agent, 1).0.outcomes.len(), 1);
    assert!(std::fs::metadata(&file).unwrap().len() > 1000);
}

#[test]
fn receipts_are_polled_where_the_agent_offers_it() {
    let bench = Bench::new();
    let agent = bench.load("agents/receipts");
    assert!(agent.has_receipts() && !agent.interfaces().batch);
    let receipts = bench.run(async move { agent.poll_receipts(&["fax-17".to_owned()]).await.unwrap() });
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].id, "fax-17");
    assert_eq!(receipts[0].state, ReceiptState::Delivered(Response::new(250, (2, 0, 0), "done")));
    let without = bench.load("agents/deliver-all");
    assert!(!without.has_receipts());
    assert!(bench.run(async move { without.poll_receipts(&["x".to_owned()]).await.unwrap() }).is_empty());
}

#[test]
fn a_secret_is_told_where_it_is_granted_and_otherwise_the_question_is_counted() {
    let bench = Bench::new();
    for (granted, said, refused) in [(true, "s3cret", 0), (false, "none", 1)] {
        let mut spec = bench.spec("agents/secret");
        spec.secrets.insert("key".to_owned(), Secret::new("s3cret"));
        spec.grants.secrets = if granted { vec!["key".to_owned()] } else { vec![] };
        let agent = bench.runtime.load(spec).unwrap();
        assert_eq!(bench.texts(&agent, 1), [said]);
        assert_eq!(agent.stats().secrets_refused, refused);
    }
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let bench = Bench::new();
    let load = |spec: AgentSpec| bench.runtime.load(spec).err().unwrap();
    let missing = load(AgentSpec::new(bench.folder().join("none.wasm"), "test"));
    assert!(matches!(missing, LoadError::Read { .. }), "{missing}");
    let path = bench.folder().join("text.wasm");
    std::fs::write(&path, "hello").unwrap();
    assert!(matches!(load(AgentSpec::new(&path, "test")), LoadError::Compile { .. }));
    std::fs::write(&path, "(component)").unwrap();
    let error = load(AgentSpec::new(&path, "test"));
    assert!(
        error.to_string().contains(
            "it does not export postern:delivery-agent/agent of version 0.1.0; it exports: nothing"
        ),
        "{error}"
    );
    let unserved = |path: &Path| unserved_contract(path, 1 << 20).map(|error| error.to_string());
    assert_eq!(unserved(&path), None, "text can only be told by the compiler");
    // Another version of the contract: the ones that are served are named.
    let of = |version: &str| {
        format!("(component (instance $i) (export \"postern:delivery-agent/agent@{version}\" (instance $i)))")
    };
    std::fs::write(&path, wat::parse_str(of("9.0.0")).unwrap()).unwrap();
    let error = load(AgentSpec::new(&path, "test")).to_string();
    assert!(
        error.contains("for version 9.0.0 of the delivery agent contract; this host serves 0.1.0:"),
        "{error}"
    );
    assert_eq!(unserved(&path).unwrap(), error, "a look into the file says the same");
    // One that is served, and yet not what it says.
    std::fs::write(&path, of("0.1.7")).unwrap();
    assert!(matches!(load(AgentSpec::new(&path, "test")), LoadError::NotAnAgent { .. }));
    // WASI is offered in any 0.2 version, so what is missing here is only the export.
    let wasi = r#"(component (import "wasi:random/random@0.2.6"
        (instance (export "get-random-u64" (func (result u64))))))"#;
    std::fs::write(&path, wasi).unwrap();
    assert!(matches!(load(AgentSpec::new(&path, "test")), LoadError::NotAnAgent { .. }));
    let mut spec = bench.spec("agents/deliver-all");
    assert_eq!(unserved(&spec.component), None);
    spec.grants.secrets = vec!["key".to_owned()];
    assert!(matches!(load(spec.clone()), LoadError::Secret(name) if name == "key"));
    spec.secrets.insert("key".to_owned(), Secret::new("x"));
    spec.delivery_protocol = Some("smpp".to_owned());
    assert!(load(spec.clone()).to_string().contains("speaks \"test agent\""));
    spec.delivery_protocol = Some("TEST AGENT".to_owned());
    assert!(bench.runtime.load(spec.clone()).is_ok());
    spec.limits.memory = usize::MAX;
    assert!(matches!(load(spec.clone()), LoadError::Limit { name: "memory", .. }));
    spec.limits = Limits { component_bytes: 10, ..Limits::default() };
    assert!(matches!(load(spec), LoadError::TooLarge { max: 10, .. }));
}
