//! `postern agent`: making delivery agents; what one is, what it asks for, and whether it does what every agent must.

mod build;
mod install;
mod list;
mod new;
mod replay;
mod simulate;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use postern_model::text::one_line;

use super::{CliError, CliResult, Common, print_json};
use crate::operate::AgentAction;
use crate::{agents, config, server};

#[derive(Subcommand)]
pub enum AgentVerb {
    /// The versions of each connector's agent: state, connections, calls, times, traps, memory.
    ///
    /// One row for each version that is loaded: `steady` delivers, `canary` is on trial, `rolled-back` gets nothing,
    /// `draining` ends what it is at. OPEN counts connections, OVER calls that passed a limit (time, processor, memory),
    /// DEFER deliveries in which a recipient was deferred or failed; P50 and P99 are the times within which half and 99
    /// of 100 calls of `deliver` were done. MEMORY is that of all live instances, PEAK the most that one had.
    List,
    /// Let the version in the file of a connector deliver, whatever its trial says.
    ///
    /// For a version that is on trial, or that was rolled back.
    Promote(list::VersionArguments),
    /// Take the version in the file of a connector back: the one before delivers.
    ///
    /// For a version that is on trial, or that delivers. It does not run again, also after a restart, until another
    /// file lies in its place or you say promote.
    Rollback(list::VersionArguments),
    /// Put a version of an agent in its place, after saying what it wants beyond the one before.
    ///
    /// A version that wants more than was agreed to is installed only when you agree: on a terminal you are asked,
    /// elsewhere give --accept-digest. A running host takes it into use at once.
    Install(install::InstallArguments),
    /// What a component says of itself, what it imports, exports and wants, and what the config grants it.
    Inspect {
        /// The component (`.wasm`).
        file: PathBuf,
        /// Show beside it what this connector's config grants.
        #[arg(long)]
        connector: Option<String>,
    },
    /// Try a component against every rule of the agent contract.
    ///
    /// The agent is taken through its life: messages of every shape, settings that do not fit, everything denied, and
    /// many messages over one connection. Nothing is granted, so nothing leaves this machine, unless you say
    /// --with-grants. The exit code is 1 when it breaks a rule; docs/specs/agent.md explains each of them. Set
    /// POSTERN_LOG=info to see what the agent logs.
    Test(test::TestArguments),
    /// Play a recorded delivery to an agent again, and say what differs.
    ///
    /// The agent's calls of its host are answered from the recording: nothing leaves this machine, and nothing changes in
    /// the data directory. Played to another version (--agent), it shows what that one does otherwise. The exit code is 0
    /// when the calls and what came of them are the same, 1 when they differ, 5 when the recording cannot be played
    /// (it is cut, or the agent used files or wasi:http). Set POSTERN_LOG=info to see what the agent logs.
    Replay(replay::ReplayArguments),
    /// Make the folder of a new agent: source, contract, SDK, unit test, build script, and words about it.
    ///
    /// Everything is in this program; no network is needed. It says what is missing on this machine for building it.
    New(new::NewArguments),
    /// Build the agent of a folder, and look at the component as the host will.
    ///
    /// Runs build.sh with the tools that it finds: in the folder (node_modules, .venv), then in PATH. Nothing is built
    /// where neither sources nor tools have changed. The exit code of --check is 1 when something is missing.
    Build(build::BuildArguments),
    /// Play a far end on loopback, with faults by script, to try an agent on.
    #[command(subcommand)]
    Simulate(simulate::SimulateVerb),
}

pub fn run(common: &Common, verb: &AgentVerb) -> CliResult {
    match verb {
        AgentVerb::List => list::list(common),
        AgentVerb::Promote(arguments) => list::set(common, arguments, AgentAction::Promote),
        AgentVerb::Rollback(arguments) => list::set(common, arguments, AgentAction::Rollback),
        AgentVerb::Inspect { file, connector } => inspect(common, file, connector.as_deref()),
        AgentVerb::Install(arguments) => install::run(common, arguments),
        AgentVerb::Test(arguments) => test::run(common, arguments),
        AgentVerb::Replay(arguments) => replay::run(common, arguments),
        AgentVerb::New(arguments) => new::run(common, arguments),
        AgentVerb::Build(arguments) => build::run(common, arguments),
        AgentVerb::Simulate(verb) => simulate::run(verb),
    }
}

fn inspect(common: &Common, file: &Path, connector: Option<&str>) -> CliResult {
    let granted = connector.map(|name| granted(common, name)).transpose()?;
    let mut inspection = server::inspect_agent(file).map_err(CliError::failed)?;
    if let Some(granted) = granted {
        inspection["granted"] = granted.into();
    }
    if common.json {
        print_json(&inspection);
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in inspection.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Array(list) => {
                println!("{name}:");
                for entry in list {
                    println!("  {}", one_line(entry.as_str().unwrap_or_default(), 200));
                }
            }
            serde_json::Value::String(text) => {
                println!("{name}: {}", one_line(text, 200))
            }
            other => println!("{name}: {other}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the config grants a connector, in words. Its secrets are not read for that.
fn granted(common: &Common, name: &str) -> Result<Vec<String>, CliError> {
    let loaded = config::load_for_viewing(&common.config);
    let (config, _) = loaded.map_err(|report| CliError::usage(report.human()))?;
    let found = config.delivery_agent_connectors.iter().find(|agent| &*agent.common.name == name);
    let found =
        found.ok_or_else(|| CliError::no(format!("the config has no delivery-agent connector {name}")))?;
    Ok(agents::granted(&found.grants))
}
