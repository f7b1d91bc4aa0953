//! A site: a folder with a configuration, written as an operator would, and with everything that the host makes.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{self, Answer};
use crate::host::Host;

/// A folder for one host. It is removed with the value.
pub struct Site {
    folder: TempDir,
    text: String,
}

/// The name of every host in the tests.
pub const HOST_NAME: &str = "gw.example";

impl Site {
    /// A host that listens for SMTP on a free port of loopback and has no way out yet.
    ///
    /// # Panics
    /// When there is no place for a folder.
    #[must_use]
    pub fn new() -> Self {
        Self::with("", "")
    }

    /// As [`Self::new`], with further lines in `[host]` and in `[receive_connectors.default]`.
    ///
    /// # Panics
    /// When there is no place for a folder.
    #[must_use]
    pub fn with(host: &str, receive: &str) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        // A test machine may be nearly full, and that is not what these tests are about.
        let text = format!(
            "[host]\nname = \"{HOST_NAME}\"\nstore_reserve = 0\n{host}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
             [receive_connectors.default]\nlisten = [\"127.0.0.1:0\"]\nmax_connections_per_source = 1000\n{receive}\n"
        );
        let site = Self { folder, text };
        site.write();
        site
    }

    /// Adds a part to the configuration.
    #[must_use]
    pub fn section(mut self, text: &str) -> Self {
        self.text.push('\n');
        self.text.push_str(text);
        self.text.push('\n');
        self.write();
        self
    }

    /// Adds a foreign connector with its drop directory at `drop/NAME`, which is made here. A `drop_directory` in
    /// `lines` takes its place.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn foreign(self, name: &str, space: &str, lines: &str) -> Self {
        let directory = format!("drop_directory = \"drop/{name}\"");
        if !lines.contains("drop_directory") {
            fs::create_dir_all(self.drop_directory(name)).expect("a folder in our own folder");
        }
        let lines = with_default(lines, "drop_directory", &directory);
        let lines = with_default(&lines, "retry", "retry = \"1s\"");
        self.section(&format!("[foreign_connectors.{name}]\naddress_spaces = [\"{space}\"]\n{lines}"))
    }

    /// Adds a delivery agent connector with the webhook agent that posts to `url`, which is granted to it. `settings`
    /// are further settings (`receipt_url = "..."`), `lines` further lines; what stands in them has precedence.
    #[must_use]
    pub fn webhook(self, name: &str, space: &str, url: &str, settings: &str, lines: &str) -> Self {
        let agent = cli::root().join("plugins/prebuilt/webhook.wasm");
        let origin: String = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let grants = format!("grants = {{ http = [\"{origin}/\"] }}");
        let mut all = with_default(lines, "grants", &grants);
        all = with_default(&all, "agent", &format!("agent = {:?}", agent.display().to_string()));
        all = with_default(&all, "retry", "retry = \"1s\"");
        all = with_default(&all, "receipt_poll_interval", "receipt_poll_interval = \"1s\"");
        let mut text = format!("[delivery_agent_connectors.{name}]\naddress_spaces = [\"{space}\"]\n{all}\n");
        let _ = write!(text, "[delivery_agent_connectors.{name}.settings]\nurl = \"{url}\"\n{settings}");
        self.section(&text)
    }

    /// Adds a send connector to a smart host.
    #[must_use]
    pub fn send(self, name: &str, space: &str, smart_host: SocketAddr, lines: &str) -> Self {
        let lines = with_default(lines, "retry", "retry = \"1s\"");
        self.section(&format!(
            "[send_connectors.{name}]\naddress_spaces = [\"{space}\"]\nsmart_hosts = [\"{smart_host}\"]\n{lines}"
        ))
    }

    /// Changes a text in the configuration.
    ///
    /// # Panics
    /// When it is not there.
    pub fn change(&mut self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{from:?} is not in the config:\n{}", self.text);
        self.text = self.text.replace(from, to);
        self.write();
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder().join("postern.toml")
    }

    /// The host's data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The drop directory of a foreign connector.
    #[must_use]
    pub fn drop_directory(&self, name: &str) -> PathBuf {
        self.folder().join("drop").join(name)
    }

    /// Starts the host, and returns when it listens.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(&self) -> Host {
        Host::start(self.folder(), &self.config())
    }

    /// Runs a verb with `--json` on this configuration.
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> Answer {
        let config = self.config();
        let config = config.to_str().expect("temporary folders have names of UTF-8");
        cli::run(&[words, &["--json", "--config", config]].concat())
    }

    /// Runs a verb that must succeed, and returns its answer.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn ask(&self, words: &[&str]) -> Value {
        let answer = self.cli(words);
        assert_eq!(answer.code, 0, "postern {words:?}: {answer:?}");
        answer.json()
    }

    /// Runs a verb that must succeed and whose answer does not matter.
    ///
    /// # Panics
    /// When it fails.
    pub fn order(&self, words: &[&str]) {
        let _ = self.ask(words);
    }

    /// The row of `queue list` for all queues of a connector; there must be at most one.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn queue(&self, connector: &str) -> Option<Value> {
        let list = self.ask(&["queue", "list"]);
        let mut rows = list.as_array().into_iter().flatten().filter(|row| row["connector"] == connector);
        let row = rows.next().cloned();
        assert!(rows.next().is_none(), "several queues of {connector}: {list}");
        row
    }

    /// The row of `connector list` for a connector.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn connector(&self, name: &str) -> Value {
        let list = self.ask(&["connector", "list"]);
        let row = list.as_array().into_iter().flatten().find(|row| row["connector"] == name).cloned();
        row.unwrap_or_else(|| panic!("no connector {name} in {list}"))
    }

    /// The words of the events of a recipient in their order, from `track`.
    #[must_use]
    pub fn events(&self, recipient: &str) -> Vec<String> {
        let rows = self.track(&["--recipient", recipient]);
        rows.iter().map(|row| row["event"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The rows of `track` with these words; none when nothing is found, which the exit code must say, too.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn track(&self, words: &[&str]) -> Vec<Value> {
        let answer = self.cli(&[&["track"], words].concat());
        let json = answer.json();
        let rows = json.as_array().unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(answer.code, i32::from(rows.is_empty()), "{answer:?}");
        rows.clone()
    }

    /// Runs the audit, which must balance, and returns its figures.
    ///
    /// # Panics
    /// When it does not balance.
    pub fn audit(&self) -> Value {
        let answer = self.cli(&["audit"]);
        assert!(answer.code == 0, "the audit does not balance: {answer:?}");
        let audit = answer.json();
        assert_eq!(audit["balanced"], true, "{audit}");
        audit
    }

    fn write(&self) {
        fs::write(self.config(), &self.text).expect("a file in our own folder");
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// `lines`, with `line` in front when none of them sets `key`.
fn with_default(lines: &str, key: &str, line: &str) -> String {
    let set = lines.lines().any(|l| l.trim_start().split([' ', '=', '.']).next() == Some(key));
    if set { lines.to_owned() } else { format!("{line}\n{lines}") }
}
