//! `postern reload`: the running host takes up the changed config.

use std::process::ExitCode;

use serde_json::Value;

use super::{CliResult, Common, ask, print_json};
use crate::operate::Request;

pub fn run(common: &Common) -> CliResult {
    let answer = ask::answer(common, Request::Reload)?;
    if common.json {
        print_json(&answer);
    } else {
        print(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(answer: &Value) {
    let names = |key: &str| {
        let names = answer[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let lines = [
        ("started", names("started")),
        ("restarted", names("restarted")),
        ("with another version of their agent", names("swapped")),
        ("stopped", names("stopped")),
        ("in force only after a restart", names("needs_restart")),
    ];
    let said: Vec<_> = lines.iter().filter(|(_, names)| !names.is_empty()).collect();
    if said.is_empty() {
        println!("the config is in force; no connector had changed");
    }
    for (what, names) in said {
        println!("{what}: {names}");
    }
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("warning: {warning}");
    }
}
