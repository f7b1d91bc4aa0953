//! Recordings of deliveries on a real host, and `postern agent replay` when the far end is gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Host, Site, WebhookServer, cli, eventually, http, messages};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";
const TOKEN: &str = "hunter2-and-more";

/// A connector with the webhook, which shows its server a token.
fn site(server: &WebhookServer, lines: &str) -> Site {
    let origin: String = server.url().splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let lines = format!("grants = {{ http = [\"{origin}/\"], secrets = [\"token\"] }}\n{lines}");
    let site = Site::new().section("[secrets]\ntoken = { file = \"token\" }").webhook(
        "hook",
        "SMTP:hook.example",
        &server.url(),
        "secret = \"token\"",
        &lines,
    );
    let file = site.folder().join("token");
    fs::write(&file, TOKEN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    site
}

/// The recordings in the data directory.
fn recordings(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.data().join("recordings")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
    files.sort();
    files
}

fn recorded(site: &Site, count: usize) -> Vec<PathBuf> {
    eventually("the recordings", || Some(recordings(site)).filter(|files| files.len() == count))
}

fn replay(site: &Site, file: &Path, words: &[&str]) -> cli::Answer {
    site.cli(&[&["agent", "replay", file.to_str().unwrap()], words].concat())
}

fn item(site: &Site, id: &str) -> Value {
    site.ask(&["message", "show", id])["items"][0].clone()
}

fn component(site: &Site, agent: &str) -> String {
    let file = cli::root().join("host/agent/tests").join(agent).with_extension("wat");
    encode::encode_into(&file, site.folder()).to_str().unwrap().to_owned()
}

#[test]
fn a_delivery_over_http_is_played_again_without_its_server_and_holds_no_secret() {
    let server = WebhookServer::start();
    // The far end tells the token back.
    server.answer(
        HttpAnswer::json(200, &json!({ "text": "hello" })).header("x-echo", &format!("Bearer {TOKEN}")),
    );
    let site = site(&server, "record = \"all\"");
    let host = site.start();
    host.client().submit(JO, &[ANN, "ben@hook.example"], &messages::simple("recorded"));
    let _ = server.wait_for(1);
    let file = recorded(&site, 1).remove(0);
    let (_, metrics) = http::get(host.admin(), "/metrics");
    let counted = "\npostern_agent_recordings_total{connector=\"hook\",what=\"whole\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    host.stop();
    drop(server);

    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains(TOKEN) && text.contains("{secret:token}") && text.contains("(secret token)"),
        "{text}"
    );
    let answer = replay(&site, &file, &[]);
    let said = answer.json();
    assert_eq!((answer.code, &said["same"], &said["same_agent"]), (0, &json!(true), &json!(true)), "{said}");
    assert_eq!(said["recording"]["why"], "record = \"all\"");
    assert_eq!(said["now"][0]["outcomes"].as_array().map(Vec::len), Some(2), "{said}");
    let config = site.config();
    let shown = cli::run(&["agent", "replay", file.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    assert!(shown.code == 0 && shown.stdout.contains("the same: "), "{shown:?}");

    // Another version is told apart, without a config.
    let other = component(&site, "agents/deliver-all");
    let answer = cli::run(&["agent", "replay", file.to_str().unwrap(), "--agent", &other, "--json"]);
    let said = answer.json();
    assert_eq!(
        (answer.code, &said["same"], &said["same_agent"]),
        (1, &json!(false), &json!(false)),
        "{said}"
    );
    let unasked = said["divergences"].as_array().unwrap().iter().any(|d| d["call"] == "http.send");
    assert!(unasked && !said["differences"].as_array().unwrap().is_empty(), "{said}");
    // Nothing changed where the host keeps its things.
    assert_eq!(recordings(&site), std::slice::from_ref(&file));

    let half = site.folder().join("half.jsonl");
    fs::write(&half, &text[..text.len() / 2]).unwrap();
    let answer = replay(&site, &half, &[]);
    assert!(answer.code == 3 && answer.stdout.contains("half.jsonl: "), "{answer:?}");
    let answer = replay(&site, &site.folder().join("token"), &[]);
    assert!(answer.code == 3 && answer.stdout.contains("was not written to its end"), "{answer:?}");
}

/// An agent that breaks over large messages, three of which attempts make them poison.
fn deadly(lines: &str) -> (Site, Host, String) {
    let site = Site::new();
    let agent = component(&site, "agents/trap-on-large");
    let site = site.section(&format!(
        "[delivery_agent_connectors.fax]\naddress_spaces = [\"SMTP:fax.example\"]\nagent = {agent:?}\n\
         retry = \"100ms\"\npoison_after = 3\nbreaker_after = 0\n{lines}"
    ));
    let host = site.start();
    let content =
        [messages::simple("deadly"), b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(200)].concat();
    let id = host.client().submit(JO, &["ann@fax.example"], &content);
    eventually("poison", || Some(()).filter(|()| item(&site, &id)["state"] == "poison"));
    (site, host, id)
}

#[test]
fn poison_names_its_recording_and_the_replay_shows_the_same_trap() {
    let (site, host, id) = deadly("");
    let item = item(&site, &id);
    let traps = item["quarantine"]["traps"].as_array().unwrap();
    assert_eq!(traps[0]["recording"], json!(null), "nobody knew before the first: {item}");
    let name = traps[2]["recording"].as_str().unwrap_or_else(|| panic!("{item}"));
    let file = site.data().join("recordings").join(name);
    assert!(
        name.ends_with("-3.jsonl") && item["recordings"].as_array().unwrap().contains(&json!(file)),
        "{item}"
    );
    let config = site.config();
    let shown = cli::run(&["message", "show", &id, "--config", config.to_str().unwrap()]);
    assert!(shown.stdout.contains(&format!("recorded  {}", file.display())), "{shown:?}");
    let said = replay(&site, &file, &[]).json();
    assert_eq!(said["same"], true, "{said}");
    assert_eq!(
        (&said["now"][0]["trap"]["kind"], &said["recording"]["earlier_calls"]),
        (&json!("trap"), &json!(0))
    );
    assert!(said["now"][0]["trap"]["backtrace"].to_string().contains("choke"), "{said}");
    host.stop();
}

#[test]
fn an_operator_has_one_attempt_recorded_where_nothing_else_is() {
    let (site, host, id) = deadly("record = \"never\"");
    assert!(recordings(&site).is_empty());
    let answer = site.ask(&["message", "record", &id, "--dry-run"]);
    assert_eq!(
        (&answer["done"], answer["items"].as_array().map(Vec::len)),
        (&json!(false), Some(1)),
        "{answer}"
    );
    assert_eq!(item(&site, &id)["to_be_recorded"], false);
    host.stop();
    // Also without a host; it holds over a restart.
    site.order(&["message", "record", &id]);
    assert_eq!(item(&site, &id)["to_be_recorded"], true);
    let host = site.start();
    site.order(&["message", "release", &id]);
    let file = recorded(&site, 1).remove(0);
    eventually("poison again", || Some(()).filter(|()| item(&site, &id)["state"] == "poison"));
    assert_eq!(item(&site, &id)["to_be_recorded"], false);
    assert_eq!(recordings(&site), std::slice::from_ref(&file), "one attempt and no other");
    assert_eq!(replay(&site, &file, &[]).json()["recording"]["why"], "an operator asked for it");
    let unknown = site.cli(&["message", "record", "01a20d17-ecf9-7754-adc2-b4f7dd599565"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    host.stop();
}

#[test]
fn what_is_larger_than_the_limit_is_kept_cut_and_not_played() {
    let (site, host, _) = deadly("limits = { recording = \"4KiB\" }");
    let file = recorded(&site, 2).remove(0);
    let answer = replay(&site, &file, &[]);
    assert_eq!(answer.code, 5, "{answer:?}");
    assert!(
        answer.json()["not_replayable"][0].as_str().is_some_and(|why| why.contains("limit recording = 4096"))
    );
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("what=\"cut\"} 2\n"), "{metrics}");
    host.stop();
}

#[test]
fn only_failures_are_kept_where_failures_are_wanted() {
    let server = WebhookServer::start();
    server.answer(HttpAnswer::status(200));
    server.answer(HttpAnswer::status(503));
    let site = site(&server, "record = \"failures\"\nretry = \"1h\"");
    let host = site.start();
    let mut client = host.client();
    client.submit(JO, &[ANN], &messages::simple("good"));
    let _ = server.wait_for(1);
    let bad = client.submit(JO, &[ANN], &messages::simple("bad"));
    let file = recorded(&site, 1).remove(0);
    assert!(file.to_str().unwrap().contains(&bad), "{file:?}");
    assert_eq!(replay(&site, &file, &[]).code, 0);
    host.stop();
}

/// Waits until so many deliveries were shown to the shadow of `hook` with this end, and gives the metrics.
fn shown(host: &Host, what: &str, count: usize) -> String {
    let line = format!("\npostern_agent_shadow_total{{connector=\"hook\",what=\"{what}\"}} {count}\n");
    eventually("the shadow", || {
        let (_, metrics) = http::get(host.admin(), "/metrics");
        metrics.contains(&line).then_some(metrics)
    })
}

/// A site whose webhook has this shadow beside it.
fn with_shadow(server: &WebhookServer, make: impl FnOnce(&Path) -> PathBuf) -> (Site, PathBuf) {
    let site = site(server, "shadow = { agent = \"next.wasm\" }");
    let (made, shadow) = (make(site.folder()), site.folder().join("next.wasm"));
    fs::rename(made, &shadow).unwrap();
    (site, shadow)
}

#[test]
fn a_shadow_that_makes_the_same_of_deliveries_is_heard_by_nobody() {
    let server = WebhookServer::start();
    let (site, _) = with_shadow(&server, |folder| {
        // The same code, other bytes (a custom section).
        let mut next = fs::read(cli::root().join("plugins/prebuilt/webhook.wasm")).unwrap();
        next.extend([0, 2, 1, b'n']);
        fs::write(folder.join("made.wasm"), next).unwrap();
        folder.join("made.wasm")
    });
    let host = site.start();
    for n in 1..=3 {
        host.client().submit(JO, &[ANN], &messages::simple("shown"));
        let _ = server.wait_for(n);
        let metrics = shown(&host, "same", n);
        assert!(!metrics.contains("what=\"different\""), "{metrics}");
    }
    assert_eq!(server.posted().len(), 3, "the shadow posted nothing");
    assert!(recordings(&site).is_empty());
    host.stop();
    assert_eq!(site.audit()["delivered"], 3);
}

#[test]
fn where_a_shadow_makes_something_else_of_a_delivery_there_is_a_recording() {
    let server = WebhookServer::start();
    // It delivers without asking its host for anything.
    let file = cli::root().join("host/agent/tests/agents/deliver-all.wat");
    let (site, shadow) = with_shadow(&server, |folder| encode::encode_into(&file, folder));
    let host = site.start();
    host.client().submit(JO, &[ANN], &messages::simple("shown"));
    let _ = server.wait_for(1);
    shown(&host, "different", 1);
    let recording = recorded(&site, 1).remove(0);
    let said = replay(&site, &recording, &["--agent", shadow.to_str().unwrap()]).json();
    assert_eq!(said["recording"]["why"], "the shadow makes something else of it");
    assert!(said["divergences"].to_string().contains("http.send"), "{said}");
    host.stop();
    let audit = site.audit();
    assert_eq!((&audit["delivered"], &audit["failed"]), (&json!(1), &json!(0)), "{audit}");
}
