//! The host as a process: `postern run` from the release folder, with its ready file, its log and its signals.

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::program;
use crate::smtp_client::SmtpClient;
use crate::wait::within;

/// How long a start may take: agents are compiled, and the machine may be busy with other tests.
const START: Duration = Duration::from_secs(90);

/// How long a stop may take.
const STOP: Duration = Duration::from_secs(60);

/// Lines of the log that are shown when a test fails.
const LOG_LINES: usize = 60;

/// A running host. It is killed when the value is dropped.
pub struct Host {
    child: Child,
    ready: Value,
    log: PathBuf,
    ended: bool,
}

impl Host {
    /// Starts a host on this configuration; `folder` gets its ready file and its log.
    ///
    /// # Panics
    /// When it ends or does not listen in time; the log says why.
    #[must_use]
    pub fn start(folder: &Path, config: &Path) -> Self {
        let (ready_file, log) = (folder.join("ready.json"), folder.join("host.log"));
        let _ = fs::remove_file(&ready_file);
        let mut host =
            Self { child: spawn(config, &ready_file, &log), ready: Value::Null, log, ended: false };
        host.ready = within(START, "the ready file of the host", || {
            if let Some(status) = host.child.try_wait().expect("our own child") {
                host.ended = true;
                panic!("the host ended with {status}");
            }
            let text = fs::read_to_string(&ready_file).ok()?;
            Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("ready file {text:?}: {error}")))
        });
        host
    }

    /// Runs a host that is expected not to start; returns its exit status and what it said.
    ///
    /// # Panics
    /// When it starts after all, or hangs.
    #[must_use]
    pub fn refused(folder: &Path, config: &Path) -> (ExitStatus, String) {
        let (ready_file, log) = (folder.join("refused.json"), folder.join("refused.log"));
        let mut child = spawn(config, &ready_file, &log);
        let status = within(START, "the end of a host that cannot start", || {
            if ready_file.exists() {
                let _ = child.kill();
                panic!("the host started: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            child.try_wait().expect("our own child")
        });
        (status, fs::read_to_string(&log).unwrap_or_default())
    }

    /// Where the receive connector `default` listens.
    ///
    /// # Panics
    /// When the ready file does not say.
    #[must_use]
    pub fn smtp(&self) -> SocketAddr {
        self.listening(&self.ready["receive"]["default"][0])
    }

    /// Where the admin interface listens.
    ///
    /// # Panics
    /// When the ready file does not say.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.listening(&self.ready["admin"])
    }

    /// A client that has said EHLO.
    #[must_use]
    pub fn client(&self) -> SmtpClient {
        SmtpClient::connect(self.smtp())
    }

    /// Its process id, as the ready file says.
    ///
    /// # Panics
    /// When that is not the process that was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        assert_eq!(self.ready["pid"], self.child.id(), "{}", self.ready);
        self.child.id()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM, and its end in good order.
    ///
    /// # Panics
    /// When it does not end, or not with exit code 0.
    pub fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("our own child runs");
        let status = within(STOP, "the end of the host after SIGTERM", || {
            self.child.try_wait().expect("our own child")
        });
        self.ended = true;
        assert!(status.success(), "the host ended with {status}");
    }

    /// SIGKILL: no farewell.
    ///
    /// # Panics
    /// When it has ended before.
    pub fn kill(mut self) {
        self.ended = true;
        self.child.kill().expect("our own child runs");
        let status = self.child.wait().expect("our own child");
        assert_eq!(status.code(), None, "the host had ended before it was killed: {status}");
    }

    fn listening(&self, address: &Value) -> SocketAddr {
        let parsed = address.as_str().and_then(|text| text.parse().ok());
        parsed.unwrap_or_else(|| panic!("no such address in the ready file {}", self.ready))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES);
            println!("--- the host's log:\n{}\n---", lines[last..].join("\n"));
        }
    }
}

fn spawn(config: &Path, ready_file: &Path, log: &Path) -> Child {
    let out = OpenOptions::new().create(true).append(true).open(log).expect("a file in our own folder");
    let err = File::try_clone(&out).expect("one more descriptor");
    let mut command = Command::new(program());
    command.arg("run").arg("--config").arg(config).arg("--ready-file").arg(ready_file);
    command.env_remove("POSTERN_CONFIG").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("the program can be started")
}
