//! `postern drop status`.

use std::process::ExitCode;

use serde_json::Value;

use crate::cli::table::{Table, field, time};
use crate::cli::{CliResult, Common, ask, print_json};
use crate::operate::Request;

pub fn run(common: &Common, connector: Option<String>) -> CliResult {
    let answer = ask::answer(common, Request::DropStatus { connector })?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let heading =
        ["connector", "state", "files", "bytes", "oldest", "published", "seen", "claimed", "taken", "stale"];
    let mut table = Table::new(&[&heading[..], &["per minute", "last pickup", "directory"]].concat());
    for row in answer.as_array().into_iter().flatten() {
        table.row(cells(row));
    }
    table.print();
    for row in answer.as_array().into_iter().flatten().filter(|row| row["reason"].is_string()) {
        println!("\n{}: {}", field(row, "connector"), field(row, "reason"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What is not known, as beside a stopped host, is a dash.
fn cells(row: &Value) -> Vec<String> {
    let states = &row["states"];
    let cells = [
        field(row, "connector"),
        field(row, "state"),
        field(row, "files"),
        field(row, "bytes"),
        time(row, "oldest"),
        field(states, "published"),
        field(states, "seen"),
        field(states, "claimed"),
        field(states, "taken"),
        field(states, "stale"),
        field(row, "taken_per_minute"),
        time(row, "last_pickup"),
        field(row, "directory"),
    ];
    cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect()
}
