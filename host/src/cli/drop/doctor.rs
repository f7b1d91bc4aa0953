//! `postern drop doctor`.

use std::process::ExitCode;

use clap::Args;
use postern_drop::check::{Reader, check_for};
use postern_drop::{Finding, Level};
use serde_json::json;

use crate::account::Account;
use crate::cli::{CliError, CliResult, Common, NO, load_config, print_json};
use crate::connector::foreign;
use crate::server;

#[derive(Args)]
pub struct DoctorArguments {
    /// Only the directory of this connector.
    connector: Option<String>,
    /// The user that the gateway runs as: whether it has the rights that it needs.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

pub fn run(common: &Common, arguments: &DoctorArguments) -> CliResult {
    let config = load_config(common)?;
    // A temp folder that somebody else makes is none that the service can use.
    server::check_is_ours(&config.host.data_directory).map_err(CliError::failed)?;
    let reader = arguments.user.as_deref().map(reader).transpose()?;
    let wanted = arguments.connector.as_deref();
    let all: Vec<_> = config
        .foreign_connectors
        .iter()
        .filter(|foreign| wanted.is_none_or(|name| &*foreign.common.name == name))
        .map(|foreign| (&*foreign.common.name, check_for(&foreign::settings(foreign), reader.as_ref())))
        .collect();
    if let (Some(name), true) = (wanted, all.is_empty()) {
        return Err(CliError::no(format!("there is no foreign connector {name} in the config")));
    }
    if common.json {
        let finding = |found: &Finding| {
            json!({
                "level": level(found.level),
                "what": found.what,
                "meaning": found.meaning,
                "what_to_do": found.what_to_do,
            })
        };
        let connectors = all.iter().map(|(name, findings)| {
            json!({ "connector": name, "findings": findings.iter().map(finding).collect::<Vec<_>>() })
        });
        print_json(&connectors.collect());
    } else {
        for (name, findings) in &all {
            print(name, findings);
        }
    }
    let is_fault = |found: &Finding| found.level == Level::Fault;
    let faulty = all.iter().any(|(_, findings)| findings.iter().any(is_fault));
    Ok(if faulty { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

fn reader(name: &str) -> Result<Reader, CliError> {
    let account = Account::named(name)
        .ok_or_else(|| CliError::no(format!("there is no user {name} in /etc/passwd")))?;
    let groups = account.groups();
    Ok(Reader { name: account.name, uid: account.uid, groups })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Fault => "fault",
    }
}

fn print(connector: &str, findings: &[Finding]) {
    println!("{connector}:");
    for found in findings {
        let text = postern_model::text::printable(&found.meaning);
        println!("  {:8} {:16} {text}", level(found.level), found.what);
        if !found.what_to_do.is_empty() {
            println!("  {:25} {}", "", postern_model::text::printable(&found.what_to_do));
        }
    }
}
