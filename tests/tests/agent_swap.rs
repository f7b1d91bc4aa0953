//! A new version of an agent takes the place of the old one beside running deliveries; on trial, where the config says so,
//! and back again when it is bad.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Host, Site, WebhookServer, cli, eventually, http, messages};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";
const ANN: &str = "ann@fax.example";

fn source(name: &str) -> PathBuf {
    cli::root().join("host/agent/tests").join(name).with_extension("wat")
}

/// The component of an agent of the sandbox's own tests. Versions of the same code differ by `mark` (a custom section).
fn component(name: &str, mark: u8) -> Vec<u8> {
    let mut bytes = encode::encode(&source(name));
    bytes.extend([0, 2, 1, mark]);
    bytes
}

/// What lies in the place of the connector's agent.
fn put(site: &Site, bytes: &[u8]) {
    fs::write(site.folder().join("fax.wasm"), bytes).unwrap();
}

/// A site with the connector `fax`: a new connection for each message, and these lines.
fn site(first: &[u8], lines: &str) -> Site {
    let site = Site::new();
    put(&site, first);
    site.section(&format!(
        "[delivery_agent_connectors.fax]\naddress_spaces = [\"SMTP:fax.example\"]\nagent = \"fax.wasm\"\n\
         retry = \"1s\"\npoison_after = 100\n{lines}"
    ))
}

const ONE_EACH: &str = "max_messages_per_connection = 1\n";

fn agent(site: &Site, name: &str) -> Value {
    let list = site.ask(&["agent", "list"]);
    let row = list.as_array().into_iter().flatten().find(|row| row["connector"] == name).cloned();
    row.unwrap_or_else(|| panic!("no agent of {name} in {list}"))
}

fn fax(site: &Site) -> Value {
    agent(site, "fax")
}

/// The version with this role.
fn version(agent: &Value, role: &str) -> Option<Value> {
    agent["versions"].as_array().into_iter().flatten().find(|version| version["role"] == role).cloned()
}

fn digest(agent: &Value, role: &str) -> String {
    let version = version(agent, role).unwrap_or_else(|| panic!("no {role} in {agent}"));
    version["sha256"].as_str().unwrap().to_owned()
}

fn metric(host: &Host, start: &str) -> u64 {
    let (_, text) = http::get(host.admin(), "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(start)).map(str::trim);
    line.map_or(0, |value| value.parse().unwrap())
}

fn rollouts(host: &Host, what: &str) -> u64 {
    metric(host, &format!("postern_agent_rollouts_total{{connector=\"fax\",what=\"{what}\"}}"))
}

fn delivered(host: &Host) -> u64 {
    metric(host, "postern_recipients_total{connector=\"fax\",what=\"delivered\"}")
}

/// One message, delivered at the latest with its retries.
fn deliver(host: &Host) {
    let before = delivered(host);
    host.client().submit(JO, &[ANN], &messages::simple("hello"));
    eventually("the delivery", || (delivered(host) > before).then_some(()));
}

/// The operations that were tracked about the connector.
fn operations(site: &Site) -> Vec<String> {
    let rows = site.track(&["--event", "operate"]);
    let of = |row: &Value| {
        let details = row["details"].as_array().into_iter().flatten();
        let pair = details.into_iter().find(|pair| pair[0] == "operation").map(|pair| pair[1].clone());
        pair.or_else(|| Some(row["details"]["operation"].clone()))
    };
    rows.iter().filter_map(of).filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

#[test]
fn the_old_version_finishes_what_it_is_at_while_the_new_one_delivers() {
    let server = WebhookServer::start();
    let prebuilt = fs::read(cli::root().join("plugins/prebuilt/webhook.wasm")).unwrap();
    let site = Site::new();
    let file = site.folder().join("hook.wasm");
    fs::write(&file, &prebuilt).unwrap();
    let line = format!("connection_idle = \"1h\"\nagent = {:?}", file.display().to_string());
    let site = site.webhook("hook", "SMTP:hook.example", &server.url(), "", &line);
    let host = site.start();
    let first = agent(&site, "hook");
    assert_eq!((&first["state"], &first["versions"][0]["calls"]), (&json!("running"), &json!(0)));

    server.answer(HttpAnswer::held(200));
    host.client().submit(JO, &["ann@hook.example"], &messages::simple("slow"));
    let _ = server.wait_for(1);
    fs::write(&file, [&prebuilt[..], &[0, 2, 1, b'x']].concat()).unwrap();
    let done = site.ask(&["reload"]);
    assert_eq!((&done["swapped"], &done["restarted"]), (&json!(["hook"]), &json!([])));
    let both = agent(&site, "hook");
    assert_eq!(digest(&both, "draining"), digest(&first, "steady"));
    assert_ne!(digest(&both, "steady"), digest(&first, "steady"));

    // The new one delivers, the old one is still at its message.
    host.client().submit(JO, &["ben@hook.example"], &messages::simple("quick"));
    let _ = server.wait_for(2);
    let both = eventually("the settlement of the quick one", || {
        let both = agent(&site, "hook");
        (version(&both, "steady")?["passed"] == 1).then_some(both)
    });
    let old = version(&both, "draining").unwrap();
    assert_eq!((&old["connections"], &old["calls"], &old["passed"]), (&json!(1), &json!(1), &json!(0)));

    server.release();
    eventually("the end of the old version", || {
        (agent(&site, "hook")["versions"].as_array()?.len() == 1).then_some(())
    });
    eventually("both deliveries", || (site.audit()["delivered"] == 2).then_some(()));
    assert_eq!(server.posted().len(), 2, "none was made twice");
    assert!(site.track(&["--event", "defer"]).is_empty(), "none was disturbed");
    assert!(!host.log().contains("did not close in good order"), "{}", host.log());
    // What the old one did still counts.
    let calls = "postern_agent_deliver_seconds_count{connector=\"hook\"}";
    assert_eq!(metric(&host, calls), 2);
    host.stop();
}

#[test]
fn over_many_swaps_under_load_no_delivery_is_lost_deferred_or_made_twice() {
    const SWAPS: u8 = 5;
    let server = WebhookServer::start();
    let prebuilt = fs::read(cli::root().join("plugins/prebuilt/webhook.wasm")).unwrap();
    let site = Site::new();
    let file = site.folder().join("hook.wasm");
    fs::write(&file, &prebuilt).unwrap();
    let line = format!("max_connections_per_destination = 4\nagent = {:?}", file.display().to_string());
    let site = site.webhook("hook", "SMTP:hook.example", &server.url(), "", &line);
    let host = site.start();
    let swapped = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let (mut client, mut sent) = (host.client(), 0);
            while !swapped.load(Ordering::Relaxed) {
                sent += 1;
                client.submit(JO, &[&format!("u{sent}@hook.example")], &messages::simple("hello"));
            }
            sent
        });
        for mark in 0..SWAPS {
            let before = server.posted().len();
            // Written beside and moved into its place, as an installer does: a host never sees half of it.
            let next = site.folder().join("next.wasm");
            fs::write(&next, [&prebuilt[..], &[0, 2, 1, mark]].concat()).unwrap();
            fs::rename(&next, &file).unwrap();
            assert_eq!(site.ask(&["reload"])["swapped"], json!(["hook"]));
            let _ = server.wait_for(before + 1);
        }
        swapped.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    eventually("all deliveries", || (site.audit()["delivered"] == sent).then_some(()));
    assert_eq!(server.posted().len(), sent, "none was made twice");
    assert!(site.track(&["--event", "defer"]).is_empty(), "none was disturbed");
    eventually("the end of the old versions", || {
        (agent(&site, "hook")["versions"].as_array()?.len() == 1).then_some(())
    });
    let calls = metric(&host, "postern_agent_deliver_seconds_count{connector=\"hook\"}");
    assert_eq!(calls, sent as u64, "those of all versions");
    host.stop();
}

#[test]
fn an_idle_connection_of_the_old_version_is_closed_by_its_own_close() {
    // It says that it was closed by trapping there.
    let site = site(&component("hostile/trap-close", 0), "connection_idle = \"1h\"\nkeep_open = true\n");
    let host = site.start();
    deliver(&host);
    assert_eq!(fax(&site)["versions"][0]["connections"], 1);
    put(&site, &component("agents/deliver-all", 1));
    assert_eq!(site.ask(&["reload"])["swapped"], json!(["fax"]));
    eventually("the close", || host.log().contains("did not close in good order").then_some(()));
    eventually("the end of the old version", || {
        let now = fax(&site);
        (now["versions"].as_array()?.len() == 1 && now["versions"][0]["connections"] == 0).then_some(())
    });
    deliver(&host);
    host.stop();
    site.audit();
}

/// An agent that delivers, and that takes seconds to compile.
fn large(folder: &Path) -> Vec<u8> {
    let mut text = fs::read_to_string(source("agents/deliver-all")).unwrap();
    for nth in 0..3_000 {
        let _ = write!(text, "\n(func (export \"large-{nth}\") (param $a i64) (result i64) (local $b i64)");
        for step in 0..60 {
            let _ = write!(
                text,
                "(local.set $b (i64.mul (i64.xor (local.get $a) (i64.const {step})) (i64.add (local.get $b) \
                 (i64.const {nth}))))(local.set $a (i64.rotl (local.get $b) (local.get $a)))"
            );
        }
        text += "(local.get $a))";
    }
    let path = folder.join("large.wat");
    fs::write(&path, text).unwrap();
    fs::read(encode::encode_into(&path, folder)).unwrap()
}

#[test]
fn deliveries_go_on_while_a_large_version_is_compiled() {
    let site = site(&component("agents/deliver-all", 0), "");
    let large = large(site.folder());
    let host = site.start();
    deliver(&host);
    put(&site, &large);
    let (meanwhile, longest, compiled) = thread::scope(|scope| {
        let began = Instant::now();
        let reload = scope.spawn(|| site.ask(&["reload"]));
        let (mut meanwhile, mut longest) = (0, Duration::ZERO);
        while !reload.is_finished() {
            let began = Instant::now();
            deliver(&host);
            longest = longest.max(began.elapsed());
            meanwhile += 1;
        }
        assert_eq!(reload.join().unwrap()["swapped"], json!(["fax"]));
        (meanwhile, longest, began.elapsed())
    });
    // A delivery that waited for the compiler would have taken as long as that.
    assert!(meanwhile >= 5 && longest * 3 < compiled, "{meanwhile} of at most {longest:?} in {compiled:?}");
    deliver(&host);
    host.stop();
    site.audit();
}

#[test]
fn a_good_version_gets_its_share_and_takes_over_after_its_count() {
    let site = site(
        &component("agents/deliver-all", 0),
        &format!("{ONE_EACH}canary = {{ share = \"50%\", count = 3 }}\n"),
    );
    let host = site.start();
    deliver(&host);
    let first = digest(&fax(&site), "steady");
    put(&site, &component("agents/deliver-all", 1));
    assert_eq!(site.ask(&["reload"])["swapped"], json!(["fax"]));
    let trial = fax(&site);
    assert_eq!((&trial["state"], digest(&trial, "steady")), (&json!("canary"), first.clone()));
    let new = digest(&trial, "canary");
    // The first, the third and the fifth connection are its.
    for _ in 0..4 {
        deliver(&host);
    }
    let trial = fax(&site);
    assert_eq!(trial["trial"], json!({ "share": 50, "passed": 2, "count": 3 }));
    assert_eq!(version(&trial, "canary").unwrap()["calls"], 2);
    assert_eq!(version(&trial, "steady").unwrap()["calls"], 3);
    deliver(&host);
    let over = eventually("the take-over", || Some(fax(&site)).filter(|now| now["state"] == "running"));
    assert_eq!((digest(&over, "steady"), over["trial"].clone()), (new, Value::Null));
    eventually("the count of it", || (rollouts(&host, "took-over") == 1).then_some(()));
    assert_eq!(rollouts(&host, "trial"), 1);
    eventually("the events", || (operations(&site) == ["agent-trial", "agent-took-over"]).then_some(()));

    // A third one, installed, is on trial as well.
    let third = site.folder().join("third.wasm");
    fs::write(&third, component("agents/deliver-all", 3)).unwrap();
    let done = site.ask(&["agent", "install", third.to_str().unwrap(), "--connector", "fax"]);
    assert_eq!((&done["in_use"], &done["state"]), (&json!(false), &json!("canary")));
    site.order(&["agent", "rollback", "fax"]);
    put(&site, &component("agents/deliver-all", 1));
    site.order(&["reload"]);

    // Back to the one before, by an operator.
    let back = site.ask(&["agent", "rollback", "fax"]);
    assert_eq!((&back["change"], digest(&back, "steady")), (&json!("rolled-back"), first));
    deliver(&host);
    host.stop();
    site.audit();
}

#[test]
fn a_version_whose_digest_the_config_names_is_exchanged_with_it_and_the_one_before_is_still_there() {
    let first = component("agents/deliver-all", 0);
    let inspected = Site::new();
    let digest_of = |bytes: &[u8]| {
        put(&inspected, bytes);
        let file = inspected.folder().join("fax.wasm");
        let about = inspected.ask(&["agent", "inspect", file.to_str().unwrap()]);
        about["sha256"].as_str().unwrap().to_owned()
    };
    let (old, second) = (digest_of(&first), component("agents/deliver-all", 1));
    let new = digest_of(&second);
    let mut site = site(&first, &format!("sha256 = \"{old}\"\n"));
    let host = site.start();
    deliver(&host);
    put(&site, &second);
    site.change(&old, &new);
    assert_eq!(site.ask(&["reload"])["swapped"], json!(["fax"]));
    assert_eq!(digest(&fax(&site), "steady"), new);
    deliver(&host);
    // The config names the one in the file; the one before was named before.
    assert_eq!(digest(&site.ask(&["agent", "rollback", "fax"]), "steady"), old);
    deliver(&host);
    host.stop();
    let host = site.start();
    assert_eq!(digest(&fax(&site), "steady"), old);
    deliver(&host);
    host.stop();
    site.audit();
}

#[test]
fn a_version_that_traps_is_rolled_back_and_stays_so_over_a_restart() {
    let good = component("agents/deliver-all", 0);
    let lines = format!("{ONE_EACH}canary = {{ share = \"50%\", count = 3, max_traps = 0 }}\n");
    let site = site(&good, &lines);
    let host = site.start();
    deliver(&host);
    let first = digest(&fax(&site), "steady");
    put(&site, &component("hostile/trap-deliver", 0));
    site.order(&["reload"]);
    // The first connection is its; the retry is the old one's.
    deliver(&host);
    let rolled_back = |site: &Site| {
        let now = fax(site);
        assert_eq!((&now["state"], digest(&now, "steady")), (&json!("rolled-back"), first.clone()), "{now}");
        assert!(now["reason"].as_str().unwrap().contains("max_traps = 0"), "{now}");
        assert!(version(&now, "rolled-back").is_some(), "{now}");
    };
    rolled_back(&site);
    eventually("the count of it", || (rollouts(&host, "rolled-back") == 1).then_some(()));
    assert!(host.log().contains("agent rolled back"), "{}", host.log());
    assert!(site.connector("fax")["reason"].as_str().unwrap().contains("postern agent promote fax"));
    // The same file is not tried again.
    assert_eq!(site.ask(&["reload"])["swapped"], json!([]));
    host.stop();

    let host = site.start();
    rolled_back(&site);
    for _ in 0..3 {
        deliver(&host);
    }
    assert_eq!(site.track(&["--event", "defer"]).len(), 1, "the bad one never ran again");
    host.stop();
    let stopped = fax(&site);
    assert_eq!(
        (&stopped["state"], &stopped["reason"], &stopped["versions"]),
        (&json!("stopped"), &json!("the host does not run"), &json!([]))
    );
    let refused = site.cli(&["agent", "promote", "fax"]);
    assert!(refused.code == 3 && refused.text().contains("no host is running"), "{refused:?}");

    // Without a copy of the good one the bad one does not run either.
    let copy = site.data().join(format!("agents/versions/{first}.wasm"));
    let kept = fs::read(&copy).unwrap();
    fs::write(&copy, component("agents/deliver-all", 9)).unwrap();
    let host = site.start();
    let now = fax(&site);
    assert_eq!(now["state"], "disabled");
    for says in ["was rolled back", "max_traps = 0", "damaged"] {
        assert!(now["reason"].as_str().unwrap().contains(says), "{says}: {now}");
    }
    host.stop();
    fs::write(&copy, kept).unwrap();

    // Another file is another trial, also at a start.
    put(&site, &component("agents/deliver-all", 2));
    let host = site.start();
    assert_eq!((fax(&site)["state"].clone(), digest(&fax(&site), "steady")), (json!("canary"), first));
    deliver(&host);
    host.stop();
    site.audit();
}

#[test]
fn a_version_that_only_defers_is_rolled_back_and_its_mail_is_delivered() {
    let lines = format!("{ONE_EACH}canary = {{ share = \"50%\", count = 4 }}\n");
    let site = site(&component("agents/deliver-all", 0), &lines);
    let host = site.start();
    put(&site, &component("hostile/error-text", 0));
    site.order(&["reload"]);
    for _ in 0..10 {
        host.client().submit(JO, &[ANN], &messages::simple("hello"));
    }
    let now = eventually("the roll-back", || Some(fax(&site)).filter(|now| now["state"] == "rolled-back"));
    assert!(now["reason"].as_str().unwrap().contains("max_deferred = 50%"), "{now}");
    eventually("all deliveries", || (delivered(&host) == 10).then_some(()));
    let bad = version(&fax(&site), "rolled-back").unwrap();
    assert!(bad["deferred"].as_u64().unwrap() >= 3 && bad["traps"] == 0, "{bad}");
    host.stop();
    site.audit();
}

#[test]
fn what_a_version_on_trial_cannot_open_is_opened_by_the_one_before() {
    let lines = format!("{ONE_EACH}canary = {{ share = \"100%\", max_traps = 2 }}\n");
    let site = site(&component("agents/deliver-all", 0), &lines);
    let host = site.start();
    put(&site, &component("hostile/trap-open", 0));
    site.order(&["reload"]);
    for _ in 0..4 {
        deliver(&host);
    }
    assert_eq!(fax(&site)["state"], "rolled-back");
    assert!(site.track(&["--event", "defer"]).is_empty(), "no delivery noticed");
    host.stop();
    site.audit();
}

/// Gives the whole queue up at each delivery.
const GIVES_UP: &str = r#"
  (func (export "postern:delivery-agent/agent@0.1.0#deliver") (param $item i32) (result i32)
    (call $drop_item (local.get $item))
    (drop (call $ok (i32.const 0) (i32.const 0)))
    (i32.store8 (i32.const 148) (i32.const 1))
    (i32.store8 (i32.const 152) (i32.const 1))
    (i32.store16 (i32.const 156) (i32.const 550))
    (i32.store8 (i32.const 158) (i32.const 5))
    (i32.const 128))
"#;

#[test]
fn a_version_on_trial_that_gives_the_queue_up_suspends_nothing() {
    let lines = format!("{ONE_EACH}canary = {{ share = \"50%\", count = 4 }}\n");
    let site = site(&component("agents/deliver-all", 0), &lines);
    let gives_up = site.folder().join("gives-up.wat");
    fs::write(&gives_up, GIVES_UP).unwrap();
    let host = site.start();
    put(&site, &encode::encode(&gives_up));
    site.order(&["reload"]);
    for _ in 0..10 {
        host.client().submit(JO, &[ANN], &messages::simple("hello"));
    }
    eventually("the roll-back", || (fax(&site)["state"] == "rolled-back").then_some(()));
    eventually("all deliveries", || (delivered(&host) == 10).then_some(()));
    eventually("the events", || (operations(&site) == ["agent-trial", "agent-rolled-back"]).then_some(()));
    // Once it delivers, its word is that of the queue.
    site.order(&["agent", "promote", "fax"]);
    host.client().submit(JO, &[ANN], &messages::simple("hello"));
    let queue = eventually("a suspended queue", || site.queue("fax").filter(|q| q["state"] == "suspended"));
    assert!(queue["last_error"].as_str().unwrap().contains("asked to fail the queue"), "{queue}");
    host.stop();
    site.audit();
}

#[test]
fn an_operator_promotes_and_rolls_back_and_is_told_what_cannot_be() {
    let lines = format!("{ONE_EACH}canary = {{ count = 1000 }}\n");
    let site = site(&component("agents/deliver-all", 0), &lines);
    let host = site.start();
    let first = digest(&fax(&site), "steady");
    let refused = |words: &[&str], says: &str| {
        let answer = site.cli(words);
        assert!(answer.code == 1 && answer.text().contains(says), "{answer:?}");
    };
    refused(&["agent", "promote", "fax"], "no version to promote");
    refused(&["agent", "rollback", "fax"], "no version to go back to");
    refused(&["agent", "rollback", "nobody"], "no delivery agent");

    put(&site, &component("agents/deliver-all", 1));
    site.order(&["reload"]);
    assert_eq!(site.ask(&["agent", "rollback", "fax"])["state"], "rolled-back");
    refused(&["agent", "rollback", "fax"], "already");
    let promoted = site.ask(&["agent", "promote", "fax"]);
    assert_eq!((&promoted["change"], &promoted["state"]), (&json!("took-over"), &json!("running")));
    assert_ne!(digest(&promoted, "steady"), first);
    deliver(&host);
    host.stop();

    // What an operator decided holds over a restart, too.
    let host = site.start();
    assert_ne!(digest(&fax(&site), "steady"), first);
    assert_eq!(digest(&site.ask(&["agent", "rollback", "fax"]), "steady"), first);
    deliver(&host);
    let config = site.config();
    let list = cli::run(&["agent", "list", "--config", config.to_str().unwrap()]);
    for word in ["CONNECTOR", "P99", "steady", "rolled-back", "contract 0.1.0", "an operator said so"] {
        assert!(list.stdout.contains(word), "{word}: {}", list.stdout);
    }
    host.stop();
    site.audit();
}

#[test]
fn a_version_on_trial_that_takes_less_than_the_one_before_fails_no_message() {
    let lines = format!("{ONE_EACH}canary = {{ share = \"100%\", count = 4 }}\n");
    let site = site(&component("agents/deliver-all", 0), &lines);
    let host = site.start();
    put(&site, &component("agents/small", 0));
    site.order(&["reload"]);
    for _ in 0..4 {
        host.client().submit(JO, &[ANN], &messages::sized("large", 4000));
    }
    eventually("all deliveries", || (delivered(&host) == 4).then_some(()));
    assert_eq!(fax(&site)["state"], "rolled-back");
    host.stop();
    assert_eq!(site.audit()["failed"], 0);
}
