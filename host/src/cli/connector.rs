//! `postern connector`: the ways out and how they are.

use std::process::ExitCode;

use clap::Subcommand;

use super::table::{Table, field};
use super::{CliResult, Common, ask, print_json};
use crate::operate::Request;

#[derive(Subcommand)]
pub enum ConnectorVerb {
    /// All outgoing connectors with their state.
    List,
}

pub fn run(common: &Common, verb: &ConnectorVerb) -> CliResult {
    let ConnectorVerb::List = verb;
    let answer = ask::answer(common, Request::ConnectorList)?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["connector", "kind", "state", "queued", "address spaces", "reason"]);
    for row in answer.as_array().into_iter().flatten() {
        table
            .row(["connector", "kind", "state", "queued", "address_spaces", "reason"].map(|n| field(row, n)));
    }
    table.print();
    for row in answer.as_array().into_iter().flatten().filter(|row| row["callback_url"].is_string()) {
        println!("\ncall-backs of {}: {}", field(row, "connector"), field(row, "callback_url"));
    }
    Ok(ExitCode::SUCCESS)
}
