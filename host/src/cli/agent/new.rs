//! `postern agent new`: a folder with all that an agent needs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::super::{CliError, CliResult, Common, print_json};
use crate::author::folder::FolderFault;
use crate::author::{self, Language, NewAgent, Project, tools};

#[derive(Args)]
pub struct NewArguments {
    /// The agent's name: small letters, digits and '-'.
    name: String,
    /// The language that it is written in.
    #[arg(long, value_enum)]
    language: Language,
    /// An agent that posts each message to a web address; without it, one that logs and delivers.
    #[arg(long)]
    http: bool,
    /// The folder, which must not exist; default: one of the agent's name.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub fn run(common: &Common, arguments: &NewArguments) -> CliResult {
    let folder = arguments.dir.clone().unwrap_or_else(|| PathBuf::from(&arguments.name));
    let new = NewAgent {
        name: arguments.name.clone(),
        language: arguments.language,
        http: arguments.http,
        folder: folder.clone(),
    };
    let files = author::create(&new).map_err(|fault| match fault {
        FolderFault::Name(..) | FolderFault::Exists(_) => CliError::usage(fault),
        FolderFault::Write { .. } => CliError::failed(fault),
    })?;
    let project = Project::open(&folder).map_err(CliError::failed)?;
    // Unit tests need them before the first build.
    author::bindings::generate(&project).map_err(CliError::failed)?;
    let missing = tools::find(&project, &tools::Search::new(&project)).err().unwrap_or_default();
    if common.json {
        print_json(&serde_json::json!({ "folder": folder, "files": files, "missing": missing }));
        return Ok(ExitCode::SUCCESS);
    }
    let shown = folder.display();
    println!("created {shown} with {} files; begin with {shown}/README.md", files.len());
    if !missing.is_empty() {
        println!("\nMissing on this machine:");
        for missing in &missing {
            println!("  {}: {}", missing.what, missing.how);
        }
    }
    let build = project.component();
    let component = build.strip_prefix(&project.folder).unwrap_or(&build).display();
    println!("\nNext:");
    println!("  cd {shown}");
    println!("  sh test.sh                                 # its unit tests");
    println!("  postern agent build");
    println!("  postern agent test {component}     # every rule of the contract");
    Ok(ExitCode::SUCCESS)
}
