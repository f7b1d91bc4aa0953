//! `postern agent replay`: plays a recorded delivery to an agent again, without the world, and says what differs.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use postern_agent::{Network, NetworkFuture, Recording, Replay, ReplayError, Runtime, RuntimeConfig, replay};
use postern_model::text::one_line;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::{CliError, CliResult, Common, NO, NOT_REPLAYABLE, load_config, print_json};
use crate::agents::{Consents, VersionRecord};
use crate::config::{Config, LogFormat};
use crate::logging;

/// Instances that the sandbox of a replay holds; it uses two.
const INSTANCES: u32 = 4;
/// The longest line that is printed of a difference, in bytes.
const MAX_LINE: usize = 600;

#[derive(Args)]
pub struct ReplayArguments {
    /// The recording (`.jsonl`), as `postern message show` names it.
    file: PathBuf,
    /// Play it to this component (`.wasm`); without it, to the one that was recorded, which is looked for among the host's
    /// copies and the files that the config names.
    #[arg(long, value_name = "COMPONENT")]
    agent: Option<PathBuf>,
}

pub fn run(common: &Common, arguments: &ReplayArguments) -> CliResult {
    if std::env::var_os(logging::LEVEL_VARIABLE).is_some() {
        logging::start(LogFormat::Text);
    }
    let recording = read(&arguments.file)?;
    if !recording.not_replayable().is_empty() {
        return Ok(not_replayable(common, &recording));
    }
    let component = match &arguments.agent {
        Some(component) => component.clone(),
        None => recorded_component(common, &recording.agent().sha256)?,
    };
    let cache = tempfile::tempdir().map_err(CliError::failed)?;
    let mut settings = RuntimeConfig::new(cache.path());
    (settings.max_instances, settings.network) = (INSTANCES, Arc::new(NoNetwork));
    let runtime = Runtime::new(settings).map_err(CliError::failed)?;
    let replay = match replay(&runtime, &recording, &component) {
        Ok(replay) => replay,
        Err(ReplayError::NotReplayable(_)) => return Ok(not_replayable(common, &recording)),
        Err(error) => return Err(CliError::failed(error)),
    };
    if common.json {
        print_json(&as_json(&recording, &replay));
    } else {
        print(&recording, &replay);
    }
    Ok(if replay.is_same() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn read(file: &Path) -> Result<Recording, CliError> {
    let failed = |why: &dyn std::fmt::Display| CliError::failed(format!("{}: {why}", file.display()));
    let opened = File::open(file).map_err(|error| failed(&error))?;
    Recording::read(&mut BufReader::new(opened)).map_err(|error| failed(&error))
}

/// The component of this digest, where the host keeps one.
fn recorded_component(common: &Common, sha256: &str) -> Result<PathBuf, CliError> {
    let config = load_config(common)?;
    let is_it = |path: &PathBuf| std::fs::read(path).is_ok_and(|wasm| digest(&wasm) == sha256);
    places(&config, sha256).into_iter().find(is_it).ok_or_else(|| {
        CliError::failed(format!(
            "the agent that was recorded is not here any more (sha256 {sha256}): give it, or another version, with --agent"
        ))
    })
}

/// Where a component may lie: the host's copies first.
fn places(config: &Config, sha256: &str) -> Vec<PathBuf> {
    let data = &config.host.data_directory;
    let mut places = vec![Consents::of(data).copy(sha256), VersionRecord::of(data).copy(sha256)];
    places.extend(config.delivery_agent_connectors.iter().map(|agent| agent.agent.clone()));
    places
}

fn digest(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A replay needs no network, and gets none.
#[derive(Debug)]
struct NoNetwork;

impl Network for NoNetwork {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> NetworkFuture<'a, Vec<std::net::SocketAddr>> {
        Box::pin(async { Err(std::io::ErrorKind::NetworkUnreachable.into()) })
    }

    fn connect(&self, _: std::net::SocketAddr) -> NetworkFuture<'_, tokio::net::TcpStream> {
        Box::pin(async { Err(std::io::ErrorKind::NetworkUnreachable.into()) })
    }
}

/// Says why a recording cannot be played.
fn not_replayable(common: &Common, recording: &Recording) -> ExitCode {
    let reasons = recording.not_replayable();
    if common.json {
        print_json(&json!({ "recording": about(recording), "same": null, "not_replayable": reasons }));
    } else {
        print_about(recording);
        reasons.iter().for_each(|why| println!("not replayable: {}", one_line(why, MAX_LINE)));
    }
    ExitCode::from(NOT_REPLAYABLE)
}

fn about(recording: &Recording) -> Value {
    json!({
        "recorded_at": recording.recorded_at(),
        "why": recording.why(),
        "connector": recording.connector(),
        "agent": recording.agent(),
        "calls": recording.calls(),
        "earlier_calls": recording.earlier_calls(),
    })
}

fn as_json(recording: &Recording, replay: &Replay) -> Value {
    json!({
        "recording": about(recording),
        "agent": replay.agent,
        "same_agent": replay.same_agent,
        "same": replay.is_same(),
        "divergences": replay.divergences,
        "differences": replay.differences,
        "recorded": replay.recorded,
        "now": replay.now,
    })
}

fn print_about(recording: &Recording) {
    let (agent, why) = (recording.agent(), one_line(recording.why(), MAX_LINE));
    println!("recorded  {} for connector {}: {why}", recording.recorded_at(), recording.connector());
    println!("by        {}", named(&agent.name, &agent.version, &agent.sha256));
}

fn named(name: &str, version: &str, sha256: &str) -> String {
    format!("{} {}, sha256 {}", one_line(name, 100), one_line(version, 100), one_line(sha256, 64))
}

fn print(recording: &Recording, replay: &Replay) {
    print_about(recording);
    let agent = &replay.agent;
    let other = if replay.same_agent { "the same" } else { "another" };
    println!("played to {}: {other}", named(&agent.name, &agent.version, &agent.sha256));
    for (recorded, now) in replay.recorded.iter().zip(&replay.now) {
        println!("then      {}", summary(recorded));
        println!("now       {}", summary(now));
    }
    for divergence in &replay.divergences {
        println!();
        println!("{} in {} differs", one_line(&divergence.call, 100), one_line(&divergence.phase, 100));
        let asked =
            |side: &Option<String>| side.as_deref().map_or("nothing".to_owned(), |s| one_line(s, MAX_LINE));
        println!("  expected {}", asked(&divergence.expected));
        println!("  came     {}", asked(&divergence.came));
        divergence.differences.iter().for_each(|text| println!("  {}", one_line(text, MAX_LINE)));
    }
    if !replay.differences.is_empty() {
        println!();
        println!("what came of it differs:");
        replay.differences.iter().for_each(|text| println!("  {}", one_line(text, MAX_LINE)));
    }
    println!();
    if replay.is_same() {
        println!("the same: {} calls of the host, and what came of them", recording.calls());
        return;
    }
    let (calls, ends) = (replay.divergences.len(), replay.differences.len());
    println!("different: {calls} calls of the host, {ends} places in what came of it");
    if recording.earlier_calls() > 0 {
        println!(
            "the agent had been called {} times before on that connection: what it remembered of that is not recorded",
            recording.earlier_calls()
        );
    }
}

/// What a delivery came to, on a line.
fn summary(report: &Value) -> String {
    let response = |value: &Value| {
        let status = value["status"].as_array().into_iter().flatten();
        let status: Vec<String> = status.map(ToString::to_string).collect();
        format!("{} {} {}", value["code"], status.join("."), value["text"].as_str().unwrap_or_default())
    };
    let mut parts: Vec<String> = Vec::new();
    for said in report["outcomes"].as_array().into_iter().flatten() {
        let Some((word, what)) = said["outcome"].as_object().and_then(|outcome| outcome.iter().next()) else {
            continue;
        };
        let inner = if what["response"].is_object() { &what["response"] } else { what };
        parts.push(format!("recipient {} {word} {}", said["recipient"], response(inner)));
    }
    if report["fault"].is_object() {
        parts.push(format!("the rest deferred {}", response(&report["fault"]["response"])));
    }
    if report["refusal"].is_object() {
        parts.push("the queue was refused".to_owned());
    }
    if parts.is_empty() {
        parts.push("nothing was said about any recipient".to_owned());
    }
    one_line(&parts.join("; "), MAX_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_summed_up_on_a_line() {
        let response = json!({ "code": 250, "status": [2, 0, 0], "text": "taken" });
        let fault = json!({ "response": { "code": 451, "status": [4, 3, 0], "text": "trapped" } });
        let report = json!({
            "outcomes": [
                { "recipient": 1, "outcome": { "delivered": response } },
                { "recipient": 2, "outcome": { "failed": { "response": response, "class": "" } } },
            ],
            "fault": fault,
        });
        assert_eq!(
            summary(&report),
            "recipient 1 delivered 250 2.0.0 taken; recipient 2 failed 250 2.0.0 taken; the rest deferred 451 4.3.0 trapped"
        );
        assert_eq!(summary(&json!({})), "nothing was said about any recipient");
    }
}
