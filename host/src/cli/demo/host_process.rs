//! HostProcess: the host as it runs in earnest, `postern run` in a process of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::folder::Folder;
use crate::cli::CliError;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
/// How often its ready file is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(40);
/// Lines of its log that are shown when it does not start.
const LOG_LINES: usize = 12;

/// The host, running.
pub struct HostProcess {
    child: Child,
    ports: Ready,
}

/// What the ready file says.
#[derive(Deserialize)]
struct Ready {
    pid: u32,
    receive: BTreeMap<String, Vec<SocketAddr>>,
    admin: Option<SocketAddr>,
}

impl HostProcess {
    /// Starts it on the config in the folder, and waits until it listens.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub async fn start(folder: &Folder) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(CliError::failed)?;
        let log = File::create(folder.log()).map_err(CliError::failed)?;
        let mut command = Command::new(program);
        command
            .args(["run", "--stop-with-stdin", "--config"])
            .arg(folder.config())
            .arg("--ready-file")
            .arg(folder.ready())
            .env_remove("POSTERN_CONFIG")
            // Ours to hold: when this process is killed, the pipe ends and the host stops.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(CliError::failed)?)
            .stderr(log)
            // Ctrl-C in the terminal is for the demo, which then stops the host.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| CliError::failed(format!("postern run: {e}")))?;
        let began = Instant::now();
        loop {
            if let Ok(text) = std::fs::read(folder.ready()) {
                let ports = serde_json::from_slice(&text).map_err(CliError::failed)?;
                return Ok(Self { child, ports });
            }
            let why = match child.try_wait().map_err(CliError::failed)? {
                Some(status) => format!("the host ended at once ({status})"),
                None if began.elapsed() > START => format!("the host was not ready within {START:?}"),
                None => {
                    sleep(LOOK).await;
                    continue;
                }
            };
            return Err(CliError::failed(format!("{why}\n{}", end_of_log(folder))));
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.ports.pid
    }

    /// Where it takes mail.
    ///
    /// # Errors
    /// When it takes none.
    pub fn smtp(&self) -> Result<SocketAddr, CliError> {
        let first = self.ports.receive.values().flatten().next();
        first.copied().ok_or_else(|| CliError::failed("the host listens nowhere"))
    }

    /// Where its admin interface is.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.ports.admin
    }

    /// Ends with an error when it has ended by itself.
    ///
    /// # Errors
    /// That it has ended.
    pub fn check(&mut self, folder: &Folder) -> Result<(), CliError> {
        match self.child.try_wait().map_err(CliError::failed)? {
            None => Ok(()),
            Some(status) => {
                Err(CliError::failed(format!("the host ended ({status})\n{}", end_of_log(folder))))
            }
        }
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not end in time, or not well.
    pub async fn stop(mut self) -> Result<(), CliError> {
        let pid =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(CliError::failed)?;
        }
        match timeout(STOP, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(CliError::failed(format!("the host ended badly ({status})"))),
            Ok(Err(error)) => Err(CliError::failed(error)),
            Err(_) => Err(CliError::failed(format!("the host did not stop within {STOP:?}"))),
        }
    }
}

fn end_of_log(folder: &Folder) -> String {
    let text = std::fs::read(folder.log()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> = text.lines().map(|line| postern_model::text::one_line(line, 300)).collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    format!("the end of {}:\n  {}", folder.log().display(), last.join("\n  "))
}
