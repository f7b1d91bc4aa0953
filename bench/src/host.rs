//! Host: Postern as a process of its own, with an agent and a drop directory as ways out.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Fallible;
use crate::bench_agent;
use crate::end_to_end::{Server, Sink};
use crate::interrupt;
use crate::processes::cpu_of_tree;

/// How long a start may take; agents are compiled in it.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How long a stop may take.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// How often it is asked whether it is done.
const POLL: Duration = Duration::from_millis(5);

/// A running host. It is killed when the value is dropped.
pub struct Host {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    smtp: SocketAddr,
    admin: SocketAddr,
}

impl Host {
    /// Starts one in `folder`.
    ///
    /// # Errors
    /// When it does not start; the text names its log.
    pub fn start(folder: &Path) -> Fallible<Self> {
        Self::start_with(folder, "")
    }

    /// Starts one with more in its config.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(folder: &Path, more: &str) -> Fallible<Self> {
        let program = program()?;
        fs::create_dir_all(folder.join("drop"))?;
        let agent = bench_agent::reads_every_byte(folder);
        fs::write(folder.join("postern.toml"), config(&agent) + more)?;
        let (ready, log) = (folder.join("ready.json"), folder.join("host.log"));
        let out = File::create(&log)?;
        let mut command = Command::new(&program);
        command.arg("run").arg("--config").arg(folder.join("postern.toml")).arg("--ready-file").arg(&ready);
        command.env("POSTERN_LOG", "error").stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let child = command.spawn()?;
        interrupt::started(Pid::from_child(&child));
        let mut host = Self { child, program, folder: folder.to_owned(), smtp: nowhere, admin: nowhere };
        let deadline = Instant::now() + START_LIMIT;
        let text = loop {
            if let Ok(text) = fs::read_to_string(&ready) {
                break text;
            }
            if host.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("the host does not start:\n{said}").into());
            }
            thread::sleep(POLL);
        };
        let ready: Value = serde_json::from_str(&text)?;
        let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        host.smtp =
            address(&ready["receive"]["default"][0]).ok_or("the ready file names no SMTP listener")?;
        host.admin = address(&ready["admin"]).ok_or("the ready file names no admin listener")?;
        Ok(host)
    }

    /// Where it takes mail.
    pub fn address(&self) -> SocketAddr {
        self.smtp
    }

    /// How many connections its connectors have open.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connections(&self) -> Fallible<u64> {
        Ok(sum(&self.metrics()?, "postern_connections"))
    }

    /// How many messages it has accepted.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn accepted(&self) -> Fallible<u64> {
        Ok(self.state()?.0)
    }

    /// How many messages it has accepted, and how many items wait, after their last commit.
    fn state(&self) -> Fallible<(u64, u64)> {
        let text = self.metrics()?;
        Ok((sum(&text, "postern_accepted_messages_total"), sum(&text, "postern_queued_items")))
    }

    fn metrics(&self) -> Fallible<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn audit(&self) -> Fallible<Value> {
        let mut command = Command::new(&self.program);
        command.args(["audit", "--json", "--config"]).arg(self.folder.join("postern.toml"));
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).map_err(|error| format!("audit: {error}: {said}").into())
    }
}

impl Server for Host {
    fn name(&self) -> &'static str {
        "postern"
    }

    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn cpu(&self) -> Fallible<Duration> {
        Ok(cpu_of_tree(self.child.id())?)
    }

    fn is_settled(&mut self, messages: u64) -> Fallible<bool> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the host has ended: {status}").into());
        }
        Ok(self.state()? == (messages, 0))
    }

    fn check(&mut self, sent: &[(Sink, u64)]) -> Fallible<()> {
        let audit = self.audit()?;
        let of = |sink| sent.iter().filter(|(to, _)| *to == sink).map(|(_, count)| count).sum::<u64>();
        let (agent, drop) = (of(Sink::Agent), of(Sink::Drop));
        let wanted = [
            ("accepted", agent + drop),
            ("delivered", agent),
            ("relayed", drop),
            ("queued", 0),
            ("pending", 0),
        ];
        let right = wanted.iter().all(|(name, count)| audit[*name] == *count) && audit["balanced"] == true;
        if !right {
            return Err(format!(
                "mail was lost: {agent} to the agent and {drop} to the directory, audit {audit}"
            )
            .into());
        }
        let files = fs::read_dir(self.folder.join("drop"))?.filter_map(Result::ok);
        let files = files.filter(|file| file.path().extension().is_some_and(|e| e == "eml")).count() as u64;
        if files != drop {
            return Err(format!("{drop} messages went to the drop directory, and {files} lie there").into());
        }
        Ok(())
    }

    fn stop(mut self: Box<Self>) -> Fallible<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("the host ended with {status}").into())
                };
            }
            thread::sleep(POLL);
        }
        Err("the host does not stop".into())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        interrupt::ended(Pid::from_child(&self.child));
    }
}

/// The program beside this one.
fn program() -> Fallible<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("postern");
    if program.is_file() {
        return Ok(program);
    }
    Err(format!("{} is missing: cargo build --release", program.display()).into())
}

/// Defaults, but for limits that keep one client from using the host alone, and kept connections to the agent.
fn config(agent: &Path) -> String {
    format!(
        "[host]\nname = \"gw.example\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [receive_connectors.default]\nlisten = [\"127.0.0.1:0\"]\nmax_connections_per_source = 1000\n\n\
         [delivery_agent_connectors.agent]\naddress_spaces = [\"SMTP:agent.example\"]\nagent = {agent:?}\n\
         max_messages_per_connection = 1000\n\n\
         [foreign_connectors.drop]\naddress_spaces = [\"SMTP:drop.example\"]\ndrop_directory = \"drop\"\n\
         max_messages_per_connection = 1000\n",
        agent = agent.display().to_string()
    )
}

/// The sum of a metric over its labels, in the OpenMetrics text form.
fn sum(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn a_metric_is_added_up_over_its_labels() {
        let text = "# TYPE a counter\na_total{c=\"x y\"} 3\na_total{c=\"z\"} 4\na_totals 9\nb 5\n# EOF\n";
        assert_eq!((sum(text, "a_total"), sum(text, "b"), sum(text, "c")), (7, 5, 0));
    }
}
