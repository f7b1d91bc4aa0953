//! `postern agent`: what a delivery agent is and what it asks for.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, CliResult, Common, print_json};
use crate::server;

#[derive(Subcommand)]
pub enum AgentVerb {
    /// What a component says of itself, what it imports and what it exports.
    Inspect {
        /// The component (`.wasm`).
        file: PathBuf,
    },
}

pub fn run(common: &Common, verb: &AgentVerb) -> CliResult {
    let AgentVerb::Inspect { file } = verb;
    let inspection = server::inspect_agent(file).map_err(CliError::failed)?;
    if common.json {
        print_json(&inspection);
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in inspection.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Array(list) => {
                println!("{name}:");
                for entry in list {
                    println!("  {}", entry.as_str().unwrap_or_default());
                }
            }
            serde_json::Value::String(text) => {
                println!("{name}: {}", postern_model::text::one_line(text, 200))
            }
            other => println!("{name}: {other}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}
