//! `postern agent install`: puts a version of an agent in its place, after saying what it wants beyond the one before.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::{CliError, CliResult, Common, ask, load_config, print_json};
use crate::agents::{Candidate, Consents, Gate, Verdict};
use crate::operate::{self, Request};
use crate::server;

#[derive(Args)]
pub struct InstallArguments {
    /// The component (`.wasm`); its manifest lies beside it as `.toml`, its signature as `.wasm.minisig`.
    file: PathBuf,
    /// For which connector.
    #[arg(long)]
    connector: String,
    /// Agree to what this very version wants, without being asked: its SHA-256.
    #[arg(long, value_name = "SHA256")]
    accept_digest: Option<String>,
}

pub fn run(common: &Common, arguments: &InstallArguments) -> CliResult {
    let config = load_config(common)?;
    let name = &arguments.connector;
    let connector = config
        .delivery_agent_connectors
        .iter()
        .find(|agent| &*agent.common.name == name)
        .ok_or_else(|| CliError::no(format!("the config has no delivery-agent connector {name}")))?;
    server::check_is_ours(&config.host.data_directory).map_err(CliError::failed)?;
    let consents = Consents::of(&config.host.data_directory);
    let gate = Gate::new(connector, &config.host.data_directory);
    // Before anything of it runs.
    let shown = gate.offered(&arguments.file).map_err(CliError::no)?;
    let agent = server::load_alone(&arguments.file).map_err(CliError::failed)?;
    let candidate = Candidate::of(&agent, &arguments.file, shown, name, &consents);
    let candidate = candidate.map_err(CliError::failed)?;
    let about = agent.description();
    if !common.json {
        println!("{} {} for connector {name}", about.name, about.version);
        println!("sha256: {}", candidate.sha256);
        for wish in candidate.wishes.words() {
            println!("wants:  {wish}");
        }
    }
    if let Verdict::Wider(more) = &candidate.verdict {
        agree(arguments, &candidate.sha256, more)?;
    }
    let (sha256, wishes) = (candidate.sha256.clone(), candidate.wishes.words());
    candidate.install(name, &connector.agent, &gate, &consents).map_err(CliError::failed)?;
    let running = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed)?
        .block_on(operate::is_running(&config.host.data_directory));
    let taken_up = if running { Some(take_up(common, name)?) } else { None };
    let delivers = taken_up.as_ref().is_some_and(|agent| agent["versions"][0]["sha256"] == *sha256);
    if common.json {
        print_json(&serde_json::json!({
            "connector": name, "agent": about.name, "version": about.version,
            "sha256": sha256, "wishes": wishes, "in_use": delivers,
            "state": taken_up.as_ref().map(|agent| &agent["state"]),
        }));
    } else if delivers {
        println!("installed as {}, and in use", connector.agent.display());
    } else if let Some(agent) = &taken_up {
        let state = agent["state"].as_str().unwrap_or_default();
        println!(
            "installed as {}, and not in use yet ({state}): postern agent list",
            connector.agent.display()
        );
    } else {
        println!("installed as {}; in use from the next start on", connector.agent.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Lets the running host look at the file; what it makes of it, as in `agent list`.
fn take_up(common: &Common, connector: &str) -> Result<serde_json::Value, CliError> {
    ask::answer(common, Request::Reload)?;
    let agents = ask::answer(common, Request::AgentList)?;
    let found = agents.as_array().into_iter().flatten().find(|agent| agent["connector"] == connector);
    Ok(found.cloned().unwrap_or_default())
}

/// Whether the operator agrees; an error when not.
fn agree(arguments: &InstallArguments, sha256: &str, more: &[String]) -> Result<(), CliError> {
    if arguments.accept_digest.as_deref() == Some(sha256) {
        return Ok(());
    }
    let more = more.join(", ");
    if arguments.accept_digest.is_some() {
        return Err(CliError::no(format!(
            "the digest that was agreed to is not that of this file: {sha256}"
        )));
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::no(format!(
            "it wants more than was agreed to: {more}. To agree: --accept-digest {sha256}"
        )));
    }
    print!("It wants more than was agreed to: {more}. Agree? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(CliError::failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::no("nothing was installed")),
    }
}
