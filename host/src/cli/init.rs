//! `postern init DIR`: a commented config that runs unchanged, its folders, and a systemd unit that fits them.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{CliError, CliResult, Common, print_json};
use crate::account::Account;
use crate::config::template::{self, Service};
use crate::config::{self, Config};
use crate::private;

/// As whom the service runs when root sets it up.
const SERVICE_USER: &str = "postern";

#[derive(Args)]
pub struct InitArguments {
    /// The folder; made when it is missing. A postern.toml that is there already is left as it is, and an error.
    directory: PathBuf,
    /// The name that the host has in mail; default: the machine's name.
    #[arg(long)]
    host_name: Option<String>,
    /// The user that the service runs as; root gives it the folders that the host writes in. Default: postern when root
    /// asks, else whoever asks.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

pub fn run(common: &Common, arguments: &InitArguments) -> CliResult {
    let directory = &arguments.directory;
    let host = arguments.host_name.clone().unwrap_or_else(machine_name);
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
    let config_file = directory.join("postern.toml");
    write_new(&config_file, &template::starter(&host))?;
    let (config, _) = config::load(&config_file).map_err(|report| CliError::failed(report.human()))?;
    let agents = directory.join("agents");
    std::fs::create_dir_all(&agents).map_err(|e| failed(&agents, &e))?;
    let current = Account::current();
    let default_user = || if current.is_root() { SERVICE_USER.to_owned() } else { current.name.clone() };
    let user = arguments.user.clone().unwrap_or_else(default_user);
    let folders = make_folders(&config)?;
    let handed_over = hand_over(&folders, &user, &current)?;
    let unit = directory.join("postern.service");
    write_new(&unit, &service(&config, &config_file, &folders, &user)?.unit())?;
    let mut made = vec![config_file.clone(), agents];
    made.extend(folders.all());
    made.push(unit.clone());
    if common.json {
        print_json(&serde_json::json!({ "created": made, "user": user, "owns_folders": handed_over }));
        return Ok(ExitCode::SUCCESS);
    }
    for path in &made {
        println!("created {}", path.display());
    }
    print_next(&config, &config_file);
    print_service(&unit, &folders, &user, handed_over);
    Ok(ExitCode::SUCCESS)
}

/// The folders that the host writes in.
struct Folders {
    data: PathBuf,
    drops: BTreeSet<PathBuf>,
    /// Where the drop directories lie, so that there is room for others beside them.
    above_drops: BTreeSet<PathBuf>,
    /// Those that were not there before.
    new: BTreeSet<PathBuf>,
}

impl Folders {
    fn all(&self) -> impl Iterator<Item = PathBuf> {
        self.drops.iter().chain([&self.data]).cloned()
    }
}

fn make_folders(config: &Config) -> Result<Folders, CliError> {
    let data = config.host.data_directory.clone();
    let drops: BTreeSet<PathBuf> =
        config.foreign_connectors.iter().map(|foreign| foreign.drop_directory.clone()).collect();
    let above_drops: BTreeSet<PathBuf> =
        drops.iter().filter_map(|drop| drop.parent()).map(Path::to_owned).collect();
    let mut new = BTreeSet::new();
    for folder in above_drops.iter().chain(&drops) {
        if !folder.exists() {
            std::fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
            new.insert(folder.clone());
        }
    }
    if !data.exists() {
        private::make_directory(&data).map_err(|e| failed(&data, &e))?;
        new.insert(data.clone());
    }
    Ok(Folders { data, drops, above_drops, new })
}

/// Gives the folders that were made to the service's user. Whether that user can write in them now.
fn hand_over(folders: &Folders, user: &str, current: &Account) -> Result<bool, CliError> {
    if current.name == user {
        return Ok(true);
    }
    let Some(owner) = Account::named(user).filter(|_| current.is_root()) else { return Ok(false) };
    for folder in &folders.new {
        chown(folder, Some(owner.uid), owner.gid).map_err(|e| failed(folder, &e))?;
    }
    Ok(true)
}

/// What the unit is written for.
fn service(config: &Config, config_file: &Path, folders: &Folders, user: &str) -> Result<Service, CliError> {
    let real = |path: &Path| path.canonicalize().map_err(|e| failed(path, &e));
    let config_file = real(config_file)?;
    let folder = config_file.parent().unwrap_or(Path::new("/")).to_owned();
    let writable = folders.above_drops.iter().chain([&config.host.data_directory]);
    Ok(Service {
        program: std::env::current_exe().map_err(CliError::failed)?,
        config: config_file,
        folder,
        user: user.to_owned(),
        writable: writable.map(|path| real(path)).collect::<Result<_, _>>()?,
    })
}

fn print_next(config: &Config, config_file: &Path) {
    let file = config_file.display();
    println!("\nNext:");
    println!("  postern check --config {file}");
    println!("  postern run --config {file}");
    println!("  postern explain someone@example.com --config {file}");
    println!("\nIn Postfix, to route mail here (transport map):");
    println!("  {}", template::postfix_transport_hint(config).trim_end().replace('\n', "\n  "));
}

fn print_service(unit: &Path, folders: &Folders, user: &str, handed_over: bool) {
    println!("\nAs a service of the user {user}:");
    if !handed_over {
        let all: Vec<String> = folders.new.iter().map(|folder| folder.display().to_string()).collect();
        println!("  useradd --system --shell /usr/sbin/nologin {user}     # if there is none yet");
        println!("  chown {user}: {}", all.join(" "));
    }
    println!("  cp {} /etc/systemd/system/", unit.display());
    println!("  systemctl daemon-reload");
    println!("  systemctl enable --now postern");
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
