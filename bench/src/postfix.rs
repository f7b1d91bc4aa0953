//! Postfix: a private instance as the peer, with a configuration, queue and log of its own, which listens on loopback
//! only and sends nothing anywhere else.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

use crate::Fallible;
use crate::end_to_end::{Server, Sink};
use crate::interrupt;
use crate::processes::cpu_of_tree;
use crate::programs::{compiler, program};

/// Deliveries at one time for each transport. On two processors more do not make it faster.
const DELIVERIES: usize = 20;

/// SMTP sessions at one time, above what the generator opens.
const SESSIONS: usize = 100;

/// How long a start or stop may take.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How often its state is looked at.
const POLL: Duration = Duration::from_millis(5);

/// The user who runs the delivery program and owns the maildir.
const RUNS_AS: &str = "nobody";

/// The program behind pipe(8): it reads every byte, as the agent does, and succeeds.
const PROGRAM: &str = r"#include <stdint.h>
#include <unistd.h>

volatile uint64_t result;

int main(void) {
    static unsigned char buffer[65536];
    uint64_t sum = 0;
    ssize_t count;
    while ((count = read(0, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < count; i++)
            sum ^= (uint64_t)buffer[i] << (i % 8 * 8);
    result = sum;
    return count < 0 ? 75 : 0;
}
";

/// A running instance. It is stopped when the value is dropped.
pub struct Postfix {
    /// The script that waits for the master process.
    script: Child,
    folder: PathBuf,
    smtp: SocketAddr,
    log: LogReader,
}

/// Counts the words of deliveries in a log that grows.
struct LogReader {
    path: PathBuf,
    offset: u64,
    counts: Counts,
}

/// Deliveries by the word that the log has for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    sent: u64,
    other: u64,
}

impl Counts {
    /// Adds what stands in whole lines.
    fn add(&mut self, lines: &str) {
        for line in lines.lines() {
            if line.contains("status=sent") {
                self.sent += 1;
            } else if line.contains("status=") {
                self.other += 1;
            }
        }
    }
}

impl LogReader {
    fn read(&mut self) -> Fallible<Counts> {
        // There is none before the first line.
        let Ok(mut file) = File::open(&self.path) else { return Ok(self.counts) };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.counts.add(&String::from_utf8_lossy(&bytes[..whole]));
        self.offset += whole as u64;
        Ok(self.counts)
    }
}

impl Postfix {
    /// Why there cannot be one on this machine; `None` when there can.
    pub fn missing() -> Option<String> {
        if program("postfix").is_none() {
            return Some(
                "Postfix is not installed (on Debian: apt-get install postfix, and choose No configuration)"
                    .into(),
            );
        }
        if compiler().is_none() {
            return Some("there is no C compiler for the program behind pipe(8)".into());
        }
        if !geteuid().is_root() {
            return Some("Postfix can only be started by root".into());
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let unknown = ["postfix", RUNS_AS].into_iter().find(|name| user(&users, name).is_none());
        unknown.map(|name| format!("there is no user {name}"))
    }

    /// Starts one in `folder`, which is made.
    ///
    /// # Errors
    /// When it does not start; the text has its log.
    pub fn start(folder: &Path) -> Fallible<Self> {
        let users = fs::read_to_string("/etc/passwd")?;
        let user = |name: &str| user(&users, name).ok_or_else(|| format!("there is no user {name}"));
        let (postfix, nobody) = (user("postfix")?, user(RUNS_AS)?);
        for name in ["", "etc", "spool", "data", "log", "mail"] {
            fs::create_dir(folder.join(name))?;
        }
        chown(folder.join("data"), Some(postfix.0), None)?;
        chown(folder.join("mail"), Some(nobody.0), Some(nobody.1))?;
        compile(folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        fs::write(folder.join("etc/main.cf"), main_cf(folder, nobody))?;
        fs::write(folder.join("etc/master.cf"), master_cf(folder, port))?;
        fs::write(folder.join("etc/transport"), "agent.example program:\n")?;
        let said = File::create(folder.join("said"))?;
        let postfix = program("postfix").ok_or("Postfix is not installed")?;
        let mut command = Command::new(postfix);
        command.arg("-c").arg(folder.join("etc")).arg("start-fg");
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let log = LogReader { path: folder.join("log/mail.log"), offset: 0, counts: Counts::default() };
        let smtp = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self { script: command.spawn()?, folder: folder.to_owned(), smtp, log };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(smtp).is_err() {
            if server.script.try_wait()?.is_some() || Instant::now() > deadline {
                return Err(format!("Postfix does not start:\n{}", server.said()).into());
            }
            thread::sleep(POLL);
        }
        interrupt::started(server.master().ok_or("Postfix has not written down its process id")?);
        Ok(server)
    }

    fn said(&self) -> String {
        let files = ["said", "log/mail.log"].map(|name| fs::read_to_string(self.folder.join(name)));
        files.into_iter().flatten().collect()
    }

    /// The master process, once there is one: its first act is to write its id down.
    fn master(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.folder.join("spool/pid/master.pid")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Stops the master, which stops all its children. To stop the script would leave them behind.
    fn end(&mut self) -> Fallible<()> {
        if self.script.try_wait()?.is_some() {
            return Ok(());
        }
        let master = self.master().ok_or("Postfix has no master process")?;
        kill_process(master, Signal::TERM)?;
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if self.script.try_wait()?.is_some() {
                interrupt::ended(master);
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err("Postfix does not stop".into())
    }
}

impl Server for Postfix {
    fn name(&self) -> &'static str {
        "postfix"
    }

    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn cpu(&self) -> Fallible<Duration> {
        Ok(cpu_of_tree(self.script.id())?)
    }

    fn is_settled(&mut self, messages: u64) -> Fallible<bool> {
        let counts = self.log.read()?;
        if counts.other > 0 {
            return Err(format!("Postfix did not deliver {} messages:\n{}", counts.other, self.said()).into());
        }
        Ok(counts.sent >= messages)
    }

    fn check(&mut self, sent: &[(Sink, u64)]) -> Fallible<()> {
        let wanted: u64 = sent.iter().filter(|(sink, _)| *sink == Sink::Drop).map(|(_, count)| count).sum();
        let files = fs::read_dir(self.folder.join("mail/box/new"))?.count() as u64;
        if files == wanted {
            return Ok(());
        }
        Err(format!("{wanted} messages went to the peer's maildir, and {files} lie there").into())
    }

    fn stop(mut self: Box<Self>) -> Fallible<()> {
        self.end()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if self.end().is_err() {
            if let Some(master) = self.master() {
                // The master leads the group of all its children. It may have ended meanwhile.
                let _ = kill_process_group(master, Signal::KILL);
            }
            let _ = self.script.kill();
        }
        let _ = self.script.wait();
    }
}

fn compile(folder: &Path) -> Fallible<()> {
    let source = folder.join("reader.c");
    fs::write(&source, PROGRAM)?;
    let mut command = Command::new(compiler().ok_or("there is no C compiler")?);
    let status = command.arg("-O2").arg("-o").arg(folder.join("reader")).arg(source).status()?;
    if status.success() { Ok(()) } else { Err(format!("the C compiler failed: {status}").into()) }
}

/// The ids of a user and their group, from the text of `/etc/passwd`.
fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let same = fields.first() == Some(&name);
        same.then(|| Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    })
}

fn main_cf(folder: &Path, owner: (u32, u32)) -> String {
    let at = folder.display();
    let (uid, gid) = owner;
    format!(
        "\
compatibility_level = 3.6
queue_directory = {at}/spool
data_directory = {at}/data
maillog_file = {at}/log/mail.log
maillog_file_prefixes = {at}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = peer.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
default_transport = error:nothing leaves this machine
relay_transport = error:nothing leaves this machine
local_transport = error:nothing leaves this machine
relay_domains = agent.example
transport_maps = texthash:{at}/etc/transport
virtual_mailbox_domains = drop.example
virtual_mailbox_base = {at}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_restrictions =
in_flow_delay = 0
program_destination_concurrency_limit = {DELIVERIES}
program_initial_destination_concurrency = {DELIVERIES}
program_destination_recipient_limit = 1
virtual_destination_concurrency_limit = {DELIVERIES}
virtual_initial_destination_concurrency = {DELIVERIES}
"
    )
}

/// Nothing is confined to a changed root, since the program and the maildir lie elsewhere.
fn master_cf(folder: &Path, port: u16) -> String {
    let at = folder.display();
    format!(
        "\
127.0.0.1:{port} inet n - n - {SESSIONS} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
virtual unix - n n - {DELIVERIES} virtual
program unix - n n - {DELIVERIES} pipe
  flags=Rq user={RUNS_AS} null_sender= argv={at}/reader
"
    )
}

#[cfg(test)]
mod tests {
    use super::{Counts, user};

    #[test]
    fn deliveries_are_counted_by_their_word() {
        let mut counts = Counts::default();
        counts.add("a: to=<x>, status=sent (delivered)\nqmgr: removed\nb: status=deferred (busy)\n");
        counts.add("c: status=sent (x)\n");
        assert_eq!(counts, Counts { sent: 2, other: 1 });
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:7:8::/:\nnobody:x:65534:65533::/:\n";
        assert_eq!(user(users, "nobody"), Some((65534, 65533)));
        assert_eq!(user(users, "no"), None);
    }
}
