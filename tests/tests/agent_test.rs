//! `postern agent test`: an author learns on the command line which rule of the contract an agent breaks, and how.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fs;
use std::path::PathBuf;

use postern_tests::cli;
use serde_json::Value;

fn prebuilt(name: &str) -> String {
    path(cli::root().join("plugins/prebuilt").join(name).with_extension("wasm"))
}

fn path(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

fn finding<'j>(json: &'j Value, id: &str) -> &'j Value {
    json["rules"].as_array().unwrap().iter().find(|rule| rule["id"] == id).unwrap()
}

#[test]
fn a_good_agent_passes_with_the_settings_of_the_command_line_or_of_a_connector() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("postern.toml");
    let text = "[host]\nname = \"gw.example\"\n[delivery_agent_connectors.hook]\naddress_spaces = [\"FAX:*\"]\n\
        agent = \"hook.wasm\"\nsettings = { url = \"https://hook.example/in\" }\n\
        grants = { http = [\"https://hook.example/\"] }\n";
    fs::write(&config, text).unwrap();
    let (webhook, config) = (prebuilt("webhook"), path(config));
    let settings = r#"{"url": "https://hook.example/in"}"#;
    for words in [
        ["--settings", settings, "--json"].as_slice(),
        &["--connector", "hook", "--config", &config, "--json"],
    ] {
        let answer = cli::run(&[["agent", "test", &webhook, "--calls", "20"].as_slice(), words].concat());
        let said = answer.json();
        assert_eq!((answer.code, &said["ok"], &said["failed"]), (0, &true.into(), &0.into()), "{said}");
        // Nothing was granted, though the connector would.
        assert_eq!(finding(&said, "AGT-27")["finding"], "passed", "{said}");
    }
    let text = cli::run(&["agent", "test", &webhook, "--calls", "20"]);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.contains("Nothing was delivered: no connection was opened: 451"), "{text:?}");
    assert!(text.stderr.is_empty(), "no progress where there is no terminal: {text:?}");
}

#[test]
fn a_bad_agent_fails_with_the_rule_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let agent = cli::root().join("host/agent/tests/hostile/code-unfit.wat");
    let component = path(encode::encode_into(&agent, folder.path()));
    let answer = cli::run(&["agent", "test", &component, "--calls", "20", "--json"]);
    let said = answer.json();
    assert_eq!((answer.code, &said["ok"]), (1, &false.into()), "{said}");
    let broken = finding(&said, "AGT-10");
    assert_eq!((&broken["finding"], &broken["name"]), (&"failed".into(), &"codes_fit".into()), "{broken}");
    assert!(broken["reason"].as_str().unwrap().contains("`delivered` with 550 5.0.0"), "{broken}");
    let answer = cli::run(&["agent", "test", &component, "--calls", "20"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("AGT-10  failed") && answer.stdout.contains("550 5.0.0"), "{answer:?}");
}

#[test]
fn what_cannot_be_tried_is_told_with_an_exit_code_of_its_own() {
    let missing = cli::run(&["agent", "test", "none.wasm"]);
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.stderr.contains("none.wasm"), "{missing:?}");
    let settings = cli::run(&["agent", "test", &prebuilt("hello"), "--settings", "{"]);
    assert_eq!(settings.code, 2, "{settings:?}");
}
