//! The far end of the SMPP agent: a message centre in a process of its own, ours (`postern agent simulate smsc`) or
//! npm's `smpp`, which tell what happens in the same words.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::{cli, eventually, left_out};

/// The variable that names the folder `node_modules` with `smpp` in it.
const MODULES: &str = "POSTERN_NODE_MODULES";

/// What goes wrong: keys of the simulator's script.
pub type Faults<'a> = &'a [(&'a str, Value)];

/// A running message centre. It ends with the value.
pub struct MessageCentre {
    process: Child,
    events: Arc<Mutex<Vec<Value>>>,
    port: u64,
}

impl MessageCentre {
    /// Ours.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn simulated(faults: Faults<'_>) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let script = folder.path().join("script.toml");
        let text = faults.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key} = {value}");
            text
        });
        std::fs::write(&script, text).expect("a file in our own folder");
        let mut command = Command::new(cli::program());
        command.args(["agent", "simulate", "smsc", "--script"]).arg(&script);
        Self::start(&mut command)
    }

    /// npm's `smpp`; `None` where that is not installed, which is reported for the test of that name.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn third_party(test: &str, faults: Faults<'_>) -> Option<Self> {
        let folder = cli::root().join("tests/smpp");
        let modules = std::env::var_os(MODULES).map_or_else(|| folder.join("node_modules"), PathBuf::from);
        let module = modules.join("smpp");
        let node = Command::new("node").arg("--version").output();
        if !module.is_dir() || !node.is_ok_and(|output| output.status.success()) {
            let how = format!("apt-get install nodejs npm; npm ci --prefix tests/smpp (or set {MODULES})");
            left_out::report(test, "npm's smpp is not installed", &how);
            return None;
        }
        let faults: Value = faults.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let mut command = Command::new("node");
        command.arg(folder.join("centre.js")).arg(faults.to_string()).env("SMPP_MODULE", module);
        Some(Self::start(&mut command))
    }

    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the message centre starts");
        let out = BufReader::new(process.stdout.take().expect("it is piped"));
        let events = Arc::<Mutex<Vec<Value>>>::default();
        let told = events.clone();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": line }));
                told.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        let mut centre = Self { process, events, port: 0 };
        let listening = eventually("the message centre listens", || centre.all("listening").pop());
        centre.port = listening["port"].as_u64().expect("it tells its port");
        centre
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The events of one kind so far.
    #[must_use]
    pub fn all(&self, event: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|one| one["event"] == event).cloned().collect()
    }

    /// The events of one kind, when there are so many.
    ///
    /// # Panics
    /// When there are not in time.
    #[must_use]
    pub fn wait_for(&self, event: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} of {event} at the message centre"), || {
            Some(self.all(event)).filter(|all| all.len() >= count)
        })
    }
}

impl Drop for MessageCentre {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
