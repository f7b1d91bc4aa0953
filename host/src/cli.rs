//! cli: the `postern` command line. One verb, one file.
//!
//! Exit codes: 0 done; 1 done, but the answer is no (not balanced, not found, nobody serves the address);
//! 2 wrong usage or a config with faults; 3 it could not be done; 4 the host has ended because its store has stopped;
//! 5 (`agent replay`) the recording cannot be played.

mod agent;
mod ask;
mod audit;
mod check;
mod connector;
mod demo;
mod drop;
mod explain;
mod init;
mod message;
mod queue;
mod reload;
mod run;
mod table;
mod track;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use postern_model::text;

/// The exit code for "done, but the answer is no".
pub const NO: u8 = 1;
/// The exit code for wrong usage and faulty configs (clap uses it, too).
pub const USAGE: u8 = 2;
/// The exit code for "could not be done".
pub const FAILED: u8 = 3;
/// The exit code of a host that has ended by itself because its store has stopped: it is to be started again.
pub const STORE_STOPPED: u8 = 4;

/// The exit code of a replay of a recording that cannot be played.
pub const NOT_REPLAYABLE: u8 = 5;

/// Moves mail between SMTP and everything that is not SMTP.
#[derive(Parser)]
#[command(
    name = "postern",
    version,
    about,
    propagate_version = true,
    after_help = "Exit codes: 0 done; 1 done, but the answer is no; 2 wrong usage or a config with faults; \
                  3 it could not be done; 4 the host has ended because its store has stopped; 5 (agent replay) the \
                  recording cannot be played."
)]
struct Cli {
    /// The config file.
    #[arg(
        long,
        short,
        global = true,
        env = "POSTERN_CONFIG",
        default_value = "postern.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the host until SIGTERM or SIGINT.
    Run(run::RunArguments),
    /// Let the running host take up the changed config; nothing changes when it has faults.
    Reload,
    /// Check the config and everything it names, exactly as `run` does before it starts.
    Check,
    /// Write a commented config with its folders and a systemd unit.
    Init(init::InitArguments),
    /// Watch real mail go through a host, with a fax service, a gateway and a mail server played around it.
    Demo(demo::DemoArguments),
    /// Show where an address goes, and why.
    Explain(explain::ExplainArguments),
    /// Queues: list, show, suspend, resume, retry.
    #[command(subcommand)]
    Queue(queue::QueueVerb),
    /// Messages in the queue: show, suspend, resume, retry, release, record, remove.
    #[command(subcommand)]
    Message(message::MessageVerb),
    /// Connectors: list.
    #[command(subcommand)]
    Connector(connector::ConnectorVerb),
    /// Drop directories: status, doctor.
    #[command(subcommand)]
    Drop(drop::DropVerb),
    /// Delivery agents: new, build, list, promote, rollback, install, inspect, test, replay, simulate.
    #[command(subcommand)]
    Agent(agent::AgentVerb),
    /// What happened to messages.
    Track(track::TrackArguments),
    /// Recount everything and say whether it balances.
    Audit,
}

/// What every verb gets.
#[derive(Clone, Debug)]
pub struct Common {
    /// The config file.
    pub config: PathBuf,
    /// Print JSON.
    pub json: bool,
}

/// Why a verb did not do what it was asked, with the exit code.
#[derive(Debug)]
pub struct CliError {
    code: u8,
    text: String,
}

impl CliError {
    /// It could not be done.
    pub fn failed(text: impl std::fmt::Display) -> Self {
        Self { code: FAILED, text: text.to_string() }
    }

    /// Wrong usage, or a config with faults.
    pub fn usage(text: impl std::fmt::Display) -> Self {
        Self { code: USAGE, text: text.to_string() }
    }

    /// The answer is no.
    pub fn no(text: impl std::fmt::Display) -> Self {
        Self { code: NO, text: text.to_string() }
    }
}

/// What a verb comes to.
pub type CliResult = Result<ExitCode, CliError>;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let common = Common { config: cli.config, json: cli.json };
    let result = match cli.verb {
        Verb::Run(arguments) => run::run(&common, &arguments),
        Verb::Reload => reload::run(&common),
        Verb::Check => check::run(&common),
        Verb::Init(arguments) => init::run(&common, &arguments),
        Verb::Demo(arguments) => demo::run(&common, &arguments),
        Verb::Explain(arguments) => explain::run(&common, &arguments),
        Verb::Queue(verb) => queue::run(&common, verb),
        Verb::Message(verb) => message::run(&common, verb),
        Verb::Connector(verb) => connector::run(&common, &verb),
        Verb::Drop(verb) => drop::run(&common, verb),
        Verb::Agent(verb) => agent::run(&common, &verb),
        Verb::Track(arguments) => track::run(&common, arguments),
        Verb::Audit => audit::run(&common),
    };
    result.unwrap_or_else(|error| {
        if common.json {
            println!("{}", visible(&serde_json::json!({ "error": error.text }).to_string()));
        } else {
            eprintln!("postern: {}", text::printable(error.text.trim_end()));
        }
        ExitCode::from(error.code)
    })
}

/// The config for looking at things, without its secrets; or its faults as an error.
fn load_config(common: &Common) -> Result<crate::config::Config, CliError> {
    match crate::config::load_for_viewing(&common.config) {
        Ok((config, _)) => Ok(config),
        Err(report) => Err(CliError::usage(report.human())),
    }
}

fn print_json(value: &serde_json::Value) {
    println!("{}", visible(&serde_json::to_string_pretty(value).expect("a JSON value always prints")));
}

/// JSON in which what would be hidden on a screen is escaped. It can only stand in strings, so it means the same.
fn visible(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !text::is_hidden(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_holds_is_visible_on_a_screen_and_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}b": "\u{202e}x\u{e0041}\u{7f}\n\u{1b}[m \u{fc}" });
        let pretty = visible(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!pretty.contains(|c| c != '\n' && text::is_hidden(c)), "{pretty}");
        assert!(pretty.contains('\u{fc}'), "letters stay as they are");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty).unwrap(), value);
    }
}
