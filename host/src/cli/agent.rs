//! `postern agent`: what a delivery agent is and what it asks for.

mod install;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::{CliError, CliResult, Common, print_json};
use crate::server;

#[derive(Subcommand)]
pub enum AgentVerb {
    /// Put a version of an agent in its place, after saying what it wants beyond the one before.
    ///
    /// A version that wants more than was agreed to is installed only when you agree: on a terminal you are asked,
    /// elsewhere give --accept-digest. A running host takes it into use at once.
    Install(install::InstallArguments),
    /// What a component says of itself, what it imports, exports and wants.
    Inspect {
        /// The component (`.wasm`).
        file: PathBuf,
    },
}

pub fn run(common: &Common, verb: &AgentVerb) -> CliResult {
    let file = match verb {
        AgentVerb::Inspect { file } => file,
        AgentVerb::Install(arguments) => return install::run(common, arguments),
    };
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
