//! A host that is started in an unusual way: under a limit of the system, or with a shim before the C library.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use postern_tests::wait::within;
use postern_tests::{Site, cli};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the system does to a process that makes a file too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// It gets SIGXFSZ, as everywhere.
    Signal,
    /// The signal is ignored from outside, so that the call fails with EFBIG.
    Error,
}

/// The host under a limit on the size of each file, in KiB.
pub fn limited(site: &Site, kib: u32, at_limit: AtLimit) -> Command {
    let trap = match at_limit {
        AtLimit::Signal => "",
        AtLimit::Error => "trap '' XFSZ; ",
    };
    // POSIX counts in blocks of 512 bytes. The limit is set last, and nothing of the shell remains.
    let script = format!("{trap}ulimit -f {}; exec \"$@\"", kib * 2);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(cli::program());
    arguments(&mut command, site);
    command
}

/// The host with a shim, compiled here from `tests/shims/NAME.c`; the shim does its work while `trigger` exists.
pub fn shimmed(site: &Site, name: &str, trigger: &Path) -> Command {
    let source = cli::root().join("tests/shims").join(name).with_extension("c");
    let library = site.folder().join(name).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let compiled = compiler.output().expect("there is a C compiler");
    assert!(compiled.status.success(), "{}: {compiled:?}", source.display());
    let mut command = Command::new(cli::program());
    command.env("LD_PRELOAD", library).env("POSTERN_SHIM_TRIGGER", trigger);
    arguments(&mut command, site);
    command
}

fn arguments(command: &mut Command, site: &Site) {
    command.arg("run").arg("--config").arg(site.config()).arg("--ready-file").arg(ready_file(site));
    command.env_remove("POSTERN_CONFIG").env("NO_COLOR", "1").stdin(Stdio::null());
}

fn ready_file(site: &Site) -> PathBuf {
    site.folder().join("special.json")
}

/// A running host. It is killed when the value is dropped.
pub struct SpecialHost {
    child: Child,
    ready: Value,
    log: PathBuf,
}

impl SpecialHost {
    /// Starts a host by this command, and returns when it listens.
    pub fn start(site: &Site, mut command: Command) -> Self {
        let log = site.folder().join("special.log");
        let _ = fs::remove_file(ready_file(site));
        let out = OpenOptions::new().create(true).append(true).open(&log).expect("a file in our own folder");
        let err = out.try_clone().expect("one more descriptor");
        let child = command.stdout(out).stderr(err).spawn().expect("the program can be started");
        let mut host = Self { child, ready: Value::Null, log };
        host.ready = within(PATIENCE, "the ready file of the host", || {
            assert_eq!(host.ended(), None, "the host does not start");
            serde_json::from_str(&fs::read_to_string(ready_file(site)).ok()?).ok()
        });
        host
    }

    /// Where the receive connector `default` listens.
    pub fn smtp(&self) -> SocketAddr {
        address(&self.ready["receive"]["default"][0])
    }

    /// Where the admin interface listens.
    pub fn admin(&self) -> SocketAddr {
        address(&self.ready["admin"])
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// SIGTERM, and how it ends.
    pub fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our own child runs");
        within(PATIENCE, "the end of the host after SIGTERM", || self.ended())
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child runs");
        let status = self.child.wait().expect("our own child");
        assert_eq!(status.code(), None, "the host had ended before it was killed: {status}");
    }
}

impl Drop for SpecialHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            println!("--- the end of the host's log, last line first:\n{}\n---", last.join("\n"));
        }
    }
}

fn address(value: &Value) -> SocketAddr {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.unwrap_or_else(|| panic!("{value} is no address"))
}
