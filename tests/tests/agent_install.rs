//! A version of an agent that wants more than was agreed to does not run until an operator agrees; the one before does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use postern_tests::{Site, WebhookServer, cli, eventually, messages};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";

/// A site whose webhook agent is a copy, so that it can be replaced.
fn site(server: &WebhookServer) -> (Site, PathBuf) {
    let site = Site::new();
    let agent = site.folder().join("agents/hook.wasm");
    fs::create_dir(site.folder().join("agents")).unwrap();
    fs::copy(prebuilt(), &agent).unwrap();
    let line = format!("agent = {:?}", agent.display().to_string());
    (site.webhook("hook", "SMTP:hook.example", &server.url(), "", &line), agent)
}

fn prebuilt() -> PathBuf {
    cli::root().join("plugins/prebuilt/webhook.wasm")
}

/// Another version of the agent: the same code, other bytes (a custom section), and a manifest that asks for `asks`.
fn version(place: &Path, mark: u8, asks: &str) {
    let mut bytes = fs::read(prebuilt()).unwrap();
    bytes.extend([0, 2, 1, mark]);
    fs::write(place, bytes).unwrap();
    fs::write(place.with_extension("toml"), format!("v = 1\n[asks]\n{asks}\n")).unwrap();
}

fn accepted(site: &Site) -> Value {
    let text = fs::read_to_string(site.data().join("agents/accepted.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["accepted"]["hook"]["sha256"].clone()
}

fn sha256(site: &Site, file: &Path) -> Value {
    site.ask(&["agent", "inspect", file.to_str().unwrap()])["sha256"].clone()
}

fn deliver(site: &Site, host: &postern_tests::Host, server: &WebhookServer) {
    let before = server.posted().len();
    host.client().submit(JO, &[ANN], &messages::simple("hello"));
    let _ = server.wait_for(before + 1);
    let count = u64::try_from(before + 1).unwrap();
    eventually("the settlement", || (site.audit()["delivered"] == count).then_some(()));
}

#[test]
fn a_version_that_wants_nothing_more_is_taken_up_by_itself() {
    let server = WebhookServer::start();
    let (site, agent) = site(&server);
    let host = site.start();
    let first = accepted(&site);
    assert_eq!(first, sha256(&site, &agent));
    version(&agent, b'x', "");
    assert_eq!(site.ask(&["reload"])["swapped"], json!(["hook"]));
    assert_ne!(accepted(&site), first);
    assert_eq!(accepted(&site), sha256(&site, &agent));
    deliver(&site, &host, &server);
    host.stop();
}

#[test]
fn a_version_that_wants_more_is_held_back_and_the_one_before_runs_on_even_over_a_restart() {
    let server = WebhookServer::start();
    let (site, agent) = site(&server);
    let host = site.start();
    let first = accepted(&site);
    version(&agent, b'x', "inbound = true\nsecrets = [\"fax-key\"]");
    site.order(&["reload"]);
    let row = site.connector("hook");
    assert_eq!(row["state"], "ready");
    let reason = row["reason"].as_str().unwrap_or_default();
    for word in ["inbound mail", "secret fax-key", "agent install"] {
        assert!(reason.contains(word), "{row}");
    }
    assert_eq!(site.ask(&["agent", "list"])[0]["state"], "waiting-for-consent");
    deliver(&site, &host, &server);
    host.stop();
    let host = site.start();
    assert_eq!((site.connector("hook")["state"].clone(), accepted(&site)), (json!("ready"), first));
    deliver(&site, &host, &server);
    host.stop();
}

#[test]
fn what_wants_more_is_installed_only_for_who_agrees_to_that_very_version() {
    let server = WebhookServer::start();
    let (site, agent) = site(&server);
    let host = site.start();
    let new = site.folder().join("new.wasm");
    version(&new, b'y', "inbound = true");
    let file = new.to_str().unwrap();
    let digest = sha256(&site, &new);
    let install = ["agent", "install", file, "--connector", "hook"];

    let refused = site.cli(&install);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.text().contains("inbound mail") && refused.text().contains(digest.as_str().unwrap()));
    let refused = site.cli(&[&install[..], &["--accept-digest", "0000"]].concat());
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(fs::read(&agent).unwrap(), fs::read(prebuilt()).unwrap(), "nothing was touched");

    let done = site.ask(&[&install[..], &["--accept-digest", digest.as_str().unwrap()]].concat());
    assert_eq!((&done["sha256"], &done["in_use"]), (&digest, &json!(true)));
    assert_eq!((accepted(&site), site.connector("hook")["reason"].clone()), (digest, Value::Null));
    assert_eq!(fs::read(&agent).unwrap(), fs::read(&new).unwrap());
    assert!(agent.with_extension("toml").exists());
    deliver(&site, &host, &server);

    // The same version again wants nothing that was not agreed to.
    assert_eq!(site.cli(&install).code, 0);
    host.stop();
    assert_eq!(site.cli(&["agent", "install", file, "--connector", "nobody"]).code, 1);
}
