//! `postern init DIR`: a commented config that runs unchanged, its folders, and a systemd unit.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, Common, print_json};
use crate::config::{self, template};
use crate::private;

#[derive(Args)]
pub struct InitArguments {
    /// The folder; made when it is missing. A postern.toml that is there already is left as it is, and an error.
    directory: PathBuf,
    /// The name that the host has in mail; default: the machine's name.
    #[arg(long)]
    host_name: Option<String>,
}

pub fn run(common: &Common, arguments: &InitArguments) -> CliResult {
    let directory = &arguments.directory;
    let host = arguments.host_name.clone().unwrap_or_else(machine_name);
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
    let config_file = directory.join("postern.toml");
    write_new(&config_file, &template::starter(&host))?;
    let (config, _) = config::load(&config_file).map_err(|report| CliError::failed(report.human()))?;
    let mut made = vec![config_file.clone()];
    for folder in
        config.foreign_connectors.iter().map(|f| f.drop_directory.clone()).chain([directory.join("agents")])
    {
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, &e))?;
        made.push(folder);
    }
    let data = config.host.data_directory.clone();
    private::make_directory(&data).map_err(|e| failed(&data, &e))?;
    made.push(data);
    let unit = directory.join("postern.service");
    write_new(&unit, &template::service_unit())?;
    made.push(unit);
    if common.json {
        print_json(&serde_json::json!({ "created": made }));
        return Ok(ExitCode::SUCCESS);
    }
    for path in &made {
        println!("created {}", path.display());
    }
    let file = config_file.display();
    println!("\nNext:");
    println!("  postern check --config {file}");
    println!("  postern run --config {file}");
    println!("  postern explain someone@example.com --config {file}");
    println!("\nIn Postfix, to route mail here (transport map):");
    println!("  {}", template::postfix_transport_hint(&config).trim_end().replace('\n', "\n  "));
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that must not exist yet.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                CliError::failed(format!("{} exists already and is left as it is", path.display()))
            }
            _ => failed(path, &e),
        })?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| failed(path, &e))
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("{}: {error}", path.display()))
}

fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "postern.example".to_owned() } else { name }
}
