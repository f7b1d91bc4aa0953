//! What is kept of a message that broke its agent, and what an operator can do with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use postern_tests::{Host, Site, cli, eventually, http};
use serde_json::{Value, json};

use crate::{deadly, delivered, item, with_agent};

/// A connector whose agent breaks over large messages, three of which attempts make them poison.
fn site() -> Site {
    let lines = "retry = \"100ms\"\npoison_after = 3\nbreaker_after = 0";
    with_agent(Site::new(), "fax", "agents/trap-on-large", lines)
}

/// A deadly message that has become poison.
fn poison(site: &Site, host: &Host) -> String {
    let id = deadly(host, "fax");
    eventually("poison", || Some(()).filter(|()| item(site, &id)["state"] == "poison"));
    id
}

/// The file of the record of a message.
fn record_file(site: &Site, id: &str) -> PathBuf {
    site.data().join("quarantine").join(format!("{id}.0.json"))
}

/// What the last event of a message says that an operator did.
fn operated(site: &Site, id: &str) -> Value {
    site.track(&["--message", id, "--event", "operate"]).pop().unwrap()["details"].clone()
}

#[test]
fn a_record_tells_of_every_trap_and_goes_with_its_message() {
    let site = site();
    let host = site.start();
    let id = poison(&site, &host);
    let record = item(&site, &id)["quarantine"].clone();
    let traps = record["traps"].as_array().unwrap();
    assert_eq!(traps.len(), 3, "{record}");
    assert_eq!((&record["connector"], &record["destination"]), (&json!("fax"), &json!("fax.example")));
    assert!(record["poison_since"].is_string(), "{record}");
    for (trap, attempt) in traps.iter().zip(1..) {
        assert_eq!(trap["attempt"], attempt, "{trap}");
        assert!(trap["text"].as_str().is_some_and(|text| text.contains("unreachable")), "{trap}");
        let fault = &trap["fault"];
        assert_eq!((&fault["kind"], &fault["phase"]), (&json!("trap"), &json!("deliver")), "{fault}");
        let backtrace = fault["backtrace"].to_string();
        assert!(backtrace.contains("agent::choke") && !backtrace.contains("_ZN"), "{backtrace}");
        let used = &fault["used"];
        assert!(used["memory"].as_u64().is_some_and(|bytes| bytes >= 65_536), "{used}");
        assert_eq!(used["memory_limit"], 64 << 20, "{used}");
        assert_eq!(fault["agent"]["sha256"].as_str().map(str::len), Some(64), "{fault}");
    }
    assert_eq!(record["content_sha256"].as_str().map(str::len), Some(64), "{record}");
    let file = record_file(&site, &id);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("\npostern_quarantine_records 1\n"), "{metrics}");
    let config = site.config();
    let shown = cli::run(&["message", "show", &id, "--config", config.to_str().unwrap()]);
    assert!(shown.stdout.contains("agent::choke") && shown.stdout.contains("sha256"), "{shown:?}");

    // It outlives the host, and is shown without one.
    host.stop();
    assert_eq!(item(&site, &id)["quarantine"], record);
    let host = site.start();
    assert!(file.exists());
    site.order(&["message", "remove", &id]);
    eventually("the end of the record", || (!file.exists()).then_some(()));
    site.audit();
    host.stop();
}

#[test]
fn a_released_message_meets_the_mended_agent_and_its_record_goes_when_it_is_delivered() {
    let mut site = site();
    let host = site.start();
    let id = poison(&site, &host);
    let broke = item(&site, &id)["quarantine"]["traps"][0]["fault"]["agent"]["sha256"].clone();
    // With the same agent it says so, and breaks again.
    let answer = site.ask(&["message", "release", &id, "--dry-run"]);
    assert_eq!((&answer["done"], &answer["recipients"]), (&json!(false), &json!(1)), "{answer}");
    assert_eq!((&answer["meets"][0]["then"], &answer["meets"][0]["now"]), (&broke, &broke), "{answer}");
    assert_eq!(item(&site, &id)["state"], "poison", "a dry run changes nothing");
    site.order(&["message", "release", &id]);
    eventually("poison again", || {
        Some(()).filter(|()| item(&site, &id)["attempts"] == 6 && item(&site, &id)["state"] == "poison")
    });
    let traps = item(&site, &id)["quarantine"]["traps"].as_array().map(Vec::len);
    assert_eq!(traps, Some(6), "of both times");

    // Another version of the agent is there after a reload.
    let mended = with_agent(Site::new(), "unused", "agents/deliver-all", "");
    let file = site.folder().join("mended.wasm");
    fs::copy(mended.folder().join("deliver-all.wasm"), &file).unwrap();
    let before = site.folder().join("trap-on-large.wasm");
    site.change(&format!("{before:?}"), &format!("{file:?}"));
    site.order(&["reload"]);
    let answer = site.ask(&["message", "release", &id]);
    let now = &answer["meets"][0]["now"];
    assert!(now.is_string() && *now != broke && answer["meets"][0]["then"] == broke, "{answer}");
    eventually("the delivery", || (delivered(&host, "fax") == 1).then_some(()));
    eventually("the end of the record", || (!record_file(&site, &id).exists()).then_some(()));
    assert_eq!(operated(&site, &id)[0], json!(["operation", "release"]));
    assert_eq!(site.audit()["delivered"], 1);
    host.stop();
}

#[test]
fn a_message_is_released_to_another_connector_that_serves_its_address_with_and_without_a_host() {
    let other = "address_spaces = [\"SMTP:*.example;90\"]";
    let site = with_agent(site(), "other", "agents/deliver-all", "").section(
        "[foreign_connectors.pbx]\naddress_spaces = [\"SMTP:pbx.elsewhere\"]\ndrop_directory = \"drop/pbx\"",
    );
    fs::create_dir_all(site.drop_directory("pbx")).unwrap();
    let mut site = site;
    site.change("address_spaces = [\"SMTP:other.example\"]", other);
    let host = site.start();
    let (first, second) = (poison(&site, &host), poison(&site, &host));
    // Not to where nobody serves its address, nor to nowhere.
    let refused = site.cli(&["message", "release", &first, "--to-connector", "pbx"]);
    assert!(refused.code == 3 && refused.stdout.contains("it does not serve ann@fax.example"), "{refused:?}");
    let unknown = site.cli(&["message", "release", &first, "--to-connector", "nobody"]);
    assert!(unknown.code == 1 && unknown.stdout.contains("there is no connector"), "{unknown:?}");
    assert_eq!(item(&site, &first)["state"], "poison");

    let answer = site.ask(&["message", "release", &first, "--to-connector", "other"]);
    assert_eq!(answer["meets"][0]["connector"], "other", "{answer}");
    eventually("the delivery", || (delivered(&host, "other") == 1).then_some(()));
    let told = operated(&site, &first);
    assert_eq!(told, json!([["operation", "release"], ["from", "fax/fax.example"]]));
    eventually("the end of the record", || (!record_file(&site, &first).exists()).then_some(()));
    host.stop();

    let answer = site.ask(&["message", "release", &second, "--to-connector", "other"]);
    assert_eq!(answer["meets"][0]["now"], json!(null), "no agent is loaded: {answer}");
    let moved = item(&site, &second);
    assert_eq!(
        (&moved["connector"], &moved["state"], &moved["traps"]),
        (&json!("other"), &json!("active"), &json!(0))
    );
    let host = site.start();
    eventually("the delivery", || (delivered(&host, "other") == 1).then_some(()));
    eventually("the end of the record", || (!record_file(&site, &second).exists()).then_some(()));
    assert_eq!(site.audit()["delivered"], 2);
    host.stop();
}

#[test]
fn what_is_not_poison_is_not_released() {
    let site = site();
    let host = site.start();
    site.order(&["queue", "suspend", "fax/fax.example"]);
    let id = deadly(&host, "fax");
    let refused = site.cli(&["message", "release", &id]);
    assert!(refused.code == 3 && refused.stdout.contains("is not poison"), "{refused:?}");
    assert_eq!(item(&site, &id)["quarantine"], json!(null));
    let unknown = site.cli(&["message", "release", "01a20d17-ecf9-7754-adc2-b4f7dd599565"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    host.stop();
}

#[test]
fn a_host_that_is_killed_after_a_trap_still_tells_of_it() {
    let mut site = site();
    site.change("retry = \"100ms\"", "retry = \"1h\"");
    let host = site.start();
    let id = deadly(&host, "fax");
    eventually("the first trap", || Some(()).filter(|()| item(&site, &id)["traps"] == 1));
    host.kill();
    // What was never written to its end does not stay.
    let half = site.data().join("quarantine/half.new");
    fs::write(&half, "{").unwrap();
    let gone = record_file(&site, "01a20d17-ecf9-7754-adc2-b4f7dd599565");
    fs::copy(record_file(&site, &id), &gone).unwrap();
    let host = site.start();
    assert!(!half.exists() && !gone.exists());
    let record = item(&site, &id)["quarantine"].clone();
    assert_eq!((record["traps"].as_array().map(Vec::len), &record["poison_since"]), (Some(1), &json!(null)));
    host.stop();
}
