//! The conformance suite: good agents pass it, and every hostile one fails it for its own reason.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use postern_agent::conformance::{self, Finding, Progress, RULES, Verdict};
use postern_agent::{AgentSpec, Limits, LoadError, Secret};
use serde_json::{Value, json};
use support::{Bench, quick, wat};

/// Deliveries over one connection: enough to see a leak of a page in each.
const CALLS: u32 = 200;

/// Each hostile agent, the rule that it breaks, and what the suite must say of it.
const HOSTILE: &[(&str, &str, &str)] = &[
    ("alien-import", "AGT-01", "imports what this host does not offer: alien:radio/transmitter@1.0.0"),
    ("loop-start", "AGT-02", "start: over its processor time of 200ms"),
    ("loop-describe", "AGT-02", "describe: over its processor time of 200ms"),
    ("trap-describe", "AGT-02", "describe: trapped: "),
    ("nameless", "AGT-03", "the name is empty"),
    ("loop-open", "AGT-04", "open: over its processor time of 200ms"),
    ("trap-open", "AGT-04", "open: trapped: "),
    (
        "loop-deliver",
        "AGT-05",
        "a message for one recipient: delivery agent, deliver: over its processor time",
    ),
    ("trap-deliver", "AGT-05", "a message for one recipient: delivery agent, deliver: trapped: "),
    ("half-then-trap", "AGT-05", "deliver: trapped: "),
    ("report-then-loop", "AGT-05", "deliver: over its processor time of 200ms"),
    ("deep-recursion", "AGT-05", "stack"),
    ("huge-list", "AGT-05", "deliver: trapped: "),
    ("loop-close", "AGT-06", "close: over its processor time of 200ms"),
    ("trap-close", "AGT-06", "close: trapped: "),
    ("no-outcome", "AGT-07", "a message for one recipient: no outcome for 1 of 1 recipients (index 0)"),
    ("double-outcome", "AGT-08", "a second outcome for recipient 0"),
    ("unknown-recipient", "AGT-09", "an outcome for recipient 77, which is not of this item"),
    ("code-unfit", "AGT-10", "reported `delivered` with 550 5.0.0 done: the code does not fit"),
    ("accepted-without-id", "AGT-11", "without a receipt id"),
    ("error-text", "AGT-12", "a message for one recipient: delivery agent, deliver: test agent"),
    ("many-outcomes", "AGT-13", "more than outcomes = 10000 outcomes"),
    ("refusal-unfit", "AGT-14", "`fail-queue` with 250 2.0.0"),
    ("long-label", "AGT-15", "the label has 1000 bytes, more than 256"),
    ("huge-text", "AGT-16", "the response's text has 1048576 bytes, more than 512"),
    ("secret-in-log", "AGT-17", "the secret \"key\" stands in the log"),
    ("secret-in-text", "AGT-17", "the secret \"key\" stands in what it said"),
    ("log-flood", "AGT-18", "more than log_lines = 200 log lines"),
    ("memory-bomb", "AGT-19", "out of memory: "),
    ("memory-leak", "AGT-20", "bytes after 100 calls, "),
    ("huge-host-call", "AGT-21", "more than host_call_bytes = 34603008 bytes"),
    ("greedy-random", "AGT-22", "1000000000 bytes asked for, random_bytes = 65536"),
    ("item-kept", "AGT-23", "used after the call that it was handed to had returned"),
    ("settings-trap", "AGT-24", "settings = null: delivery agent, open: trapped: "),
    ("settings-silent", "AGT-25", "settings = null: refused with 451 4.0.0 done"),
    ("denied-trap", "AGT-26", "instruction executed; its last words: done"),
    ("denied-success", "AGT-27", "everything denied: recipient 0 is `delivered` with 250 2.0.0 done"),
    (
        "trap-poll",
        "AGT-28",
        "a question about 0 receipts that nobody knows: delivery agent, receipts.poll: trapped: ",
    ),
    ("receipt-made-up", "AGT-29", "it knows the end of \"conformance-0\""),
    (
        "receipt-unfit",
        "AGT-30",
        "the receipt \"conformance-0\" says `delivered` with a code that does not fit",
    ),
    ("fickle-description", "AGT-31", "first Description"),
    ("batch-trap", "AGT-32", "a batch of 2 items: delivery agent, batch: trapped: "),
    ("batch-short", "AGT-33", "a batch of 2 items: 0 reports about 2 items"),
    (
        "tick-loop",
        "AGT-34",
        "a tick before the first delivery: delivery agent, tick: over its processor time",
    ),
    ("probe-trap", "AGT-35", "delivery agent, probe: trapped: "),
    ("probe-made-up", "AGT-36", "a hand-over that never was: it is delivered"),
    ("callback-trap", "AGT-37", "an empty call-back: delivery agent, callback: trapped: "),
    ("callback-made-up", "AGT-38", "an empty call-back: it brought the receipt \"done\""),
];

/// The rules about optional interfaces other than `receipts`.
const OPTIONAL: [&str; 7] = ["AGT-32", "AGT-33", "AGT-34", "AGT-35", "AGT-36", "AGT-37", "AGT-38"];

fn run(bench: &Bench, spec: &AgentSpec) -> Vec<Verdict> {
    conformance::run(&bench.runtime, spec, CALLS, &mut |_| {}).unwrap()
}

/// What a rule says.
fn finding<'v>(verdicts: &'v [Verdict], id: &str) -> &'v Finding {
    &verdicts.iter().find(|verdict| verdict.rule.id == id).unwrap().finding
}

/// The rules that were broken, and how.
fn failed(verdicts: &[Verdict]) -> BTreeMap<&str, &str> {
    let failed = verdicts.iter().filter_map(|verdict| match &verdict.finding {
        Finding::Failed(how) => Some((verdict.rule.id, &how[..])),
        _ => None,
    });
    failed.collect()
}

/// The rules that could not be tried.
fn left_out(verdicts: &[Verdict]) -> Vec<&str> {
    let left_out = verdicts.iter().filter(|verdict| matches!(verdict.finding, Finding::NotApplicable(_)));
    left_out.map(|verdict| verdict.rule.id).collect()
}

#[test]
fn every_rule_has_an_id_of_its_own_and_a_hostile_agent_that_breaks_it() {
    let ids: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len());
    assert_eq!(ids, HOSTILE.iter().map(|(_, id, _)| *id).collect());
}

#[test]
fn every_hostile_agent_fails_for_its_own_reason() {
    let folder = std::fs::read_dir(wat("hostile").with_extension("")).unwrap();
    let files: BTreeSet<String> =
        folder.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(files, HOSTILE.iter().map(|(file, ..)| (*file).to_owned()).collect());
    let bench = Bench::new();
    for (file, id, reason) in HOSTILE {
        let spec = match *file {
            // It is a whole component, not the inside of one.
            "alien-import" => AgentSpec::new(wat("hostile/alien-import"), "test"),
            file => bench.spec(&format!("hostile/{file}")),
        };
        let verdicts = run(&bench, &AgentSpec { limits: quick(), ..spec });
        let Finding::Failed(how) = finding(&verdicts, id) else {
            panic!("{file} does not fail {id}, but {:?}", failed(&verdicts))
        };
        assert!(how.contains(reason), "{file}, {id}: no {reason:?} in {how:?}");
        assert_eq!(bench.runtime.free_instances(), 16, "{file} left an instance behind");
    }
}

#[test]
fn an_agent_that_does_what_it_must_passes() {
    let bench = Bench::new();
    let spec = AgentSpec { limits: Limits::default(), ..bench.spec("agents/deliver-all") };
    let verdicts = run(&bench, &spec);
    assert_eq!(failed(&verdicts), BTreeMap::new());
    let others = ["AGT-11", "AGT-14", "AGT-17", "AGT-25", "AGT-27", "AGT-28", "AGT-29", "AGT-30"];
    assert_eq!(left_out(&verdicts), [&others[..], &OPTIONAL].concat());
}

/// Settings for a prebuilt agent, and the rules that say nothing about it.
fn prebuilt(name: &str) -> (Value, &'static [&'static str]) {
    match name {
        "hello" => {
            (json!({ "greeting": "moin" }), &["AGT-11", "AGT-17", "AGT-27", "AGT-28", "AGT-29", "AGT-30"])
        }
        "webhook" => {
            let settings = json!({
                "url": "https://hook.example/in", "secret": "token", "headers": { "X-Tenant": "7" },
                "timeout_seconds": 5, "include_headers": true, "include_text": "64KiB",
                "receipt_url": "https://hook.example/receipts/{receipt}"
            });
            (settings, &["AGT-11", "AGT-17"])
        }
        // Without its message centre no connection is opened; the test of its own end to end has one.
        "sms-smpp" => {
            let settings =
                json!({ "address": "smsc.example:2775", "system_id": "postern", "source": "Postern" });
            let unopened = &[
                "AGT-05", "AGT-06", "AGT-07", "AGT-08", "AGT-09", "AGT-10", "AGT-11", "AGT-12", "AGT-13",
                "AGT-15", "AGT-17", "AGT-20", "AGT-23", "AGT-28", "AGT-29", "AGT-30",
            ];
            (settings, unopened)
        }
        other => panic!("say with which settings the agent {other:?} is to be tried"),
    }
}

#[test]
fn every_prebuilt_agent_passes() {
    let bench = Bench::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let component = entry.unwrap().path();
        if component.extension().is_none_or(|kind| kind != "wasm") {
            continue;
        }
        let name = component.file_stem().unwrap().to_str().unwrap();
        let (settings, not_applicable) = prebuilt(name);
        let verdicts = run(&bench, &AgentSpec { settings, ..AgentSpec::new(&component, "test") });
        assert_eq!(failed(&verdicts), BTreeMap::new(), "{name}");
        assert_eq!(left_out(&verdicts), [not_applicable, &OPTIONAL].concat(), "{name}");
        tried += 1;
    }
    assert!(tried >= 2);
}

#[test]
fn optional_interfaces_are_tried_where_an_agent_has_them() {
    let bench = Bench::new();
    let good: [(&str, &[&str]); 3] = [
        ("batch", &["AGT-32", "AGT-33"]),
        ("session", &["AGT-11", "AGT-30", "AGT-34"]),
        ("probe", &["AGT-35"]),
    ];
    for (agent, rules) in good {
        let verdicts = run(&bench, &bench.spec(&format!("agents/{agent}")));
        for id in rules {
            assert_eq!(finding(&verdicts, id), &Finding::Passed, "{agent}, {id}");
        }
    }
}

#[test]
fn an_agent_that_opens_nothing_is_not_praised_for_what_it_did_not_do() {
    let bench = Bench::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
    let verdicts = run(&bench, &AgentSpec::new(folder.join("webhook.wasm"), "test"));
    assert_eq!(failed(&verdicts), BTreeMap::new());
    for id in ["AGT-05", "AGT-06", "AGT-07", "AGT-20"] {
        let Finding::NotApplicable(why) = finding(&verdicts, id) else { panic!("{id}") };
        assert!(why.contains("no connection was opened: ") && why.contains("missing field `url`"), "{why}");
    }
}

#[test]
fn what_is_not_the_agents_fault_is_an_error_of_the_run() {
    let bench = Bench::new();
    let run = |spec: &AgentSpec| conformance::run(&bench.runtime, spec, 1, &mut |_| {}).err();
    let missing = AgentSpec::new(bench.folder().join("none.wasm"), "test");
    assert!(matches!(run(&missing), Some(LoadError::Read { .. })));
    let mut spec = bench.spec("agents/deliver-all");
    spec.grants.secrets = vec!["key".to_owned()];
    assert!(matches!(run(&spec), Some(LoadError::Secret(_))));
    spec.secrets.insert("key".to_owned(), Secret::new("x"));
    assert!(run(&spec).is_none());
}

#[test]
fn a_run_tells_how_far_it_is() {
    let bench = Bench::new();
    let mut told = Vec::new();
    conformance::run(&bench.runtime, &bench.spec("agents/deliver-all"), 200, &mut |progress| {
        told.push(progress)
    })
    .unwrap();
    assert_eq!(told.first(), Some(&Progress::Doing("loading it")));
    assert_eq!(told.last(), Some(&Progress::Calls { done: 200, of: 200 }));
    assert!(told.len() < 120, "{}", told.len());
}
