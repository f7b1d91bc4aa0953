//! The tutorial in docs/writing-an-agent.md works: its commands are run as they stand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use postern_tests::far_program::is_installed;
use postern_tests::{cli, left_out};

/// The blocks of commands in a document, one after the other.
fn commands(document: &str) -> String {
    let blocks = document.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```\n").next());
    blocks.map(|block| format!("{block}\n")).collect()
}

#[test]
fn the_tutorial_can_be_followed() {
    if !is_installed("the_tutorial_can_be_followed", "sh", "dash") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let check = folder.path().join("check");
    let words = ["agent", "new", "check", "--language", "rust", "--json", "--dir", check.to_str().unwrap()];
    let missing = cli::run(&words).json()["missing"].clone();
    if let Some(missing) = missing.as_array().and_then(|all| all.first()) {
        let text = |key: &str| missing[key].as_str().unwrap();
        return left_out::report("the_tutorial_can_be_followed", text("what"), text("how"));
    }
    let document = fs::read_to_string(cli::root().join("docs/writing-an-agent.md")).unwrap();
    let commands = commands(&document);
    for step in ["agent new", "agent build", "agent test", "postern check"] {
        assert!(commands.contains(step), "{step} is a step of the tutorial:\n{commands}");
    }
    let program = cli::program();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [program.parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&path));
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cli::root().join("target"), PathBuf::from);
    let output = Command::new("/bin/sh")
        .args(["-eu", "-c", &commands])
        .current_dir(folder.path())
        .env("PATH", std::env::join_paths(folders).unwrap())
        // What the tests of languages have compiled serves here, too.
        .env("CARGO_TARGET_DIR", target.join("languages"))
        .env_remove("POSTERN_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for told in ["sms-sender.wasm", "0 failed", "sms"] {
        assert!(said.contains(told), "{told}: {said}");
    }
}
