//! `postern connector`: the ways out and how they are.

use std::process::ExitCode;

use clap::Subcommand;

use super::table::{Table, field, time};
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
    let mut table =
        Table::new(&["connector", "kind", "state", "breaker", "queued", "address spaces", "reason"]);
    for row in answer.as_array().into_iter().flatten() {
        let mut cells = ["connector", "kind", "state", "breaker", "queued", "address_spaces", "reason"]
            .map(|name| field(row, name));
        cells[3] = field(&row["breaker"], "state");
        table.row(cells);
    }
    table.print();
    for row in answer.as_array().into_iter().flatten() {
        let breaker = &row["breaker"];
        if breaker["reason"].is_string() {
            let (name, reason, until) =
                (field(row, "connector"), field(breaker, "reason"), field(breaker, "until"));
            let until =
                if until.is_empty() { "now".to_owned() } else { format!("at {}", time(breaker, "until")) };
            println!("\nthe agent of {name} is left alone, one message tries it {until}: {reason}");
        }
    }
    for row in answer.as_array().into_iter().flatten().filter(|row| row["callback_url"].is_string()) {
        println!("\ncall-backs of {}: {}", field(row, "connector"), field(row, "callback_url"));
    }
    Ok(ExitCode::SUCCESS)
}
