//! `postern agent build`: from an author's folder to a component that this host has looked at.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::{CliError, CliResult, Common, NO, print_json};
use crate::author::{self, Missing, Project, tools};
use crate::server;

#[derive(Args)]
pub struct BuildArguments {
    /// The agent's folder, made by `postern agent new`.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Build nothing: say what the build needs that is not here, and how to get it.
    #[arg(long, conflicts_with = "force")]
    check: bool,
    /// Build even where neither sources nor tools have changed.
    #[arg(long)]
    force: bool,
}

pub fn run(common: &Common, arguments: &BuildArguments) -> CliResult {
    let project = Project::open(&arguments.folder).map_err(CliError::usage)?;
    let found = tools::find(&project, &tools::Search::new(&project));
    let tools = match found {
        Ok(tools) => tools,
        Err(missing) if arguments.check => return Ok(say_missing(common, &missing)),
        Err(missing) => return Err(CliError::failed(told(&missing))),
    };
    if arguments.check {
        if common.json {
            print_json(&serde_json::json!({ "ready": true, "tools": tools.versions, "missing": [] }));
        } else {
            println!("everything that the build needs is here:\n  {}", tools.versions.join("\n  "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let built = author::build(&project, &tools, arguments.force).map_err(CliError::failed)?;
    // The host's own eyes: what cannot be loaded here cannot deliver either.
    let about = server::inspect_agent(&built.component)
        .map_err(|why| CliError::failed(format!("{}: {why}", built.component.display())))?;
    let component = built.component.strip_prefix(&project.folder).unwrap_or(&built.component);
    let component = arguments.folder.join(component);
    if common.json {
        print_json(&serde_json::json!({
            "component": component,
            "bytes": built.size,
            "built": built.took.is_some(),
            "milliseconds": built.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            "tools": tools.versions,
            "agent": about,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    let how = match built.took {
        Some(took) => format!("built in {:.1} s", took.as_secs_f64()),
        None => {
            "not built again: sources and tools have not changed (--force builds all the same)".to_owned()
        }
    };
    println!("{}: {}, {how}", component.display(), bytesize::ByteSize(built.size));
    println!("  name {}, version {}, protocol {}", about["name"], about["version"], about["protocol"]);
    println!("Next: postern agent test {}", component.display());
    Ok(ExitCode::SUCCESS)
}

fn say_missing(common: &Common, missing: &[Missing]) -> ExitCode {
    if common.json {
        print_json(&serde_json::json!({ "ready": false, "tools": [], "missing": missing }));
    } else {
        println!("{}", told(missing));
    }
    ExitCode::from(NO)
}

fn told(missing: &[Missing]) -> String {
    let lines: Vec<String> =
        missing.iter().map(|missing| format!("  {}\n    to get it: {}", missing.what, missing.how)).collect();
    format!("missing on this machine:\n{}", lines.join("\n"))
}
