//! Real programs on the far side: the SMS Server Tools, gammu-smsd, and scripts in other languages. Where one is not
//! installed, its tests are left out.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::left_out;
use crate::wait::{eventually, within};

/// How long a program may take to end when it is told to.
const END: Duration = Duration::from_secs(20);

/// Whether a program is there; if not, the test is reported as left out.
#[must_use]
pub fn is_installed(test: &str, program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !is_there {
        left_out::report(test, program, &format!("apt-get install {package}, with no service started"));
    }
    is_there
}

/// A program that runs until the value is dropped.
pub struct FarProgram {
    child: Child,
    log: PathBuf,
}

impl FarProgram {
    /// Starts it; what it prints goes to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let out = File::create(log).expect("a file in our own folder");
        let err = out.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// What it printed.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for FarProgram {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        // Not within(): a panic while another one unwinds would hide it.
        let end = std::time::Instant::now() + END;
        while std::time::Instant::now() < end {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folders of smsd, and smsd on them.
pub struct Smsd {
    _program: FarProgram,
    folder: PathBuf,
}

impl Smsd {
    /// Makes the folders in `folder`.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn folders(folder: &Path) {
        for name in ["outgoing", "checked", "sent", "failed", "incoming", "report"] {
            fs::create_dir_all(folder.join(name)).expect("a folder in our own folder");
        }
    }

    /// Starts smsd on these folders, with a modem at `tty` in them.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "devices = GSM1\noutgoing = {}\nchecked = {}\nsent = {}\nfailed = {}\nincoming = {}\nreport = {}\n\
             logfile = {}\ninfofile = {}\npidfile = {}\nloglevel = 7\ndelaytime = 1\nerrorsleeptime = 1\n\
             blocktime = 2\nautosplit = 3\nsmart_logging = no\n\
             [GSM1]\ndevice = {}\nincoming = yes\nmemory_start = 1\ninit = AT\n",
            at("outgoing"),
            at("checked"),
            at("sent"),
            at("failed"),
            at("incoming"),
            at("report"),
            at("log"),
            at("info"),
            at("pid"),
            at("tty")
        );
        let file = folder.join("smsd.conf");
        fs::write(&file, config).expect("a file in our own folder");
        let mut command = Command::new("smsd");
        command.arg("-t").arg("-c").arg(&file);
        let program = FarProgram::start(command, &folder.join("output"));
        let smsd = Self { _program: program, folder: folder.to_owned() };
        within(Duration::from_secs(60), "smsd", || smsd.log().contains("started").then_some(()));
        smsd
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// The folders of gammu-smsd, and gammu-smsd on them with its dummy modem.
pub struct GammuSmsd {
    _program: FarProgram,
    folder: PathBuf,
}

impl GammuSmsd {
    /// Makes the folders in `folder`.
    ///
    /// # Panics
    /// When they cannot be made.
    pub fn folders(folder: &Path) {
        for name in ["dummy", "inbox", "outbox", "sent", "error"] {
            fs::create_dir_all(folder.join(name)).expect("a folder in our own folder");
        }
    }

    /// Starts gammu-smsd on these folders. `phone` are the lines that say which modem it has.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(folder: &Path, phone: &str) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let config = format!(
            "[gammu]\n{phone}\n[smsd]\nservice = files\nlogfile = {}\ndebuglevel = 255\ninboxpath = {}/\n\
             outboxpath = {}/\nsentsmspath = {}/\nerrorsmspath = {}/\ncommtimeout = 1\nloopsleep = 1\n\
             checksecurity = 0\nstatusfrequency = 0\ntransmitformat = auto\n",
            at("log"),
            at("inbox"),
            at("outbox"),
            at("sent"),
            at("error")
        );
        let file = folder.join("gammu.conf");
        fs::write(&file, config).expect("a file in our own folder");
        let mut command = Command::new("gammu-smsd");
        // The text must arrive whatever the locale is.
        command.arg("-c").arg(&file).env("LC_ALL", "C");
        let program = FarProgram::start(command, &folder.join("output"));
        let gammu = Self { _program: program, folder: folder.to_owned() };
        eventually("gammu-smsd", || gammu.log().contains("Starting phone communication").then_some(()));
        gammu
    }

    /// The lines for the dummy modem.
    #[must_use]
    pub fn dummy(folder: &Path) -> String {
        format!("model = dummy\nconnection = none\nport = {}", folder.join("dummy").display())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}
