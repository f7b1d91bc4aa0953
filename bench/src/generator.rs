//! Generator: hands messages to an SMTP server as fast as it takes them. It is a process of its own, so that its
//! processor time is not the server's.

use std::cell::Cell;
use std::io;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use postern_smtp::{Reply, ReplyReader};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Fallible;
use crate::clock::{monotonic, process_cpu};
use crate::options::Load;
use crate::statistics::percentile;

/// How long a server may be silent.
const REPLY_LIMIT: Duration = Duration::from_mins(2);

/// The reverse-path of every message.
const SENDER: &str = "bench@client.example";

/// The end of the content of DATA (RFC 5321, section 4.1.1.4), whose first line break belongs to the content.
const END: &[u8] = b".\r\n";

/// How a load went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Messages that were accepted: all.
    pub messages: u64,
    /// When the first was begun, on the clock that all processes share, in nanoseconds.
    pub started_at: u64,
    /// From then until the last reply, in seconds.
    pub seconds: f64,
    /// Processor time of the generator, in seconds.
    pub cpu_seconds: f64,
    /// From the first command of a message (or from connecting) to the reply that accepts it: half of them were faster.
    pub p50_ms: f64,
    /// The same: 99 in a hundred were faster.
    pub p99_ms: f64,
    /// From the first command of a message to the reply that asks for its content, for which nothing is written to the
    /// disk: 99 in a hundred were faster.
    pub envelope_p99_ms: f64,
}

/// Starts this program again as a generator and waits for it.
///
/// # Errors
/// When the server does not take every message.
pub fn run_elsewhere(load: &Load) -> Fallible<Sent> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("generate").args(["--server", &load.server.to_string(), "--recipient", &load.recipient]);
    command.args(["--messages", &load.messages.to_string(), "--sessions", &load.sessions.to_string()]);
    command.args(["--bytes", &load.bytes.to_string(), "--pause", &load.pause.as_millis().to_string()]);
    if load.fresh {
        command.arg("--fresh");
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the load generator failed: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The verb `generate`.
///
/// # Errors
/// When the server does not take every message.
pub fn run_as_process(load: &Load) -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(LocalSet::new().run_until(send_all(load)))?;
    println!("{}", serde_json::to_string(&sent)?);
    Ok(())
}

async fn send_all(load: &Load) -> Fallible<Sent> {
    let texts = Rc::new(Texts::new(&load.recipient, load.bytes));
    let left = Rc::new(Cell::new(load.messages));
    let mut kept = Vec::new();
    if !load.fresh {
        for _ in 0..load.sessions {
            kept.push(Session::open(load).await?);
        }
    }
    let (started_at, cpu, start) = (monotonic(), process_cpu(), Instant::now());
    let mut tasks = Vec::new();
    for _ in 0..load.sessions {
        let (load, texts, left, session) = (load.clone(), Rc::clone(&texts), Rc::clone(&left), kept.pop());
        tasks.push(tokio::task::spawn_local(async move { send_some(&load, &texts, &left, session).await }));
    }
    let (mut latencies, mut envelopes) = (Vec::new(), Vec::new());
    for task in tasks {
        for (whole, envelope) in task.await?? {
            latencies.push(whole.as_secs_f64() * 1e3);
            envelopes.push(envelope.as_secs_f64() * 1e3);
        }
    }
    latencies.sort_by(f64::total_cmp);
    envelopes.sort_by(f64::total_cmp);
    Ok(Sent {
        messages: latencies.len() as u64,
        started_at: u64::try_from(started_at.as_nanos())?,
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: process_cpu().saturating_sub(cpu).as_secs_f64(),
        p50_ms: percentile(&latencies, 0.5),
        p99_ms: percentile(&latencies, 0.99),
        envelope_p99_ms: percentile(&envelopes, 0.99),
    })
}

/// Sends messages until none is left, over `session` or over a new one each time; returns how long each took, and its
/// envelope alone.
async fn send_some(
    load: &Load,
    texts: &Texts,
    left: &Cell<u64>,
    mut session: Option<Session>,
) -> io::Result<Vec<(Duration, Duration)>> {
    let mut latencies = Vec::new();
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        if !load.pause.is_zero() {
            tokio::time::sleep(load.pause).await;
        }
        let start = Instant::now();
        let envelope = match &mut session {
            Some(session) => session.send(texts, false).await?,
            None => Session::open(load).await?.send(texts, true).await?,
        };
        latencies.push((start.elapsed(), envelope));
    }
    if let Some(mut session) = session {
        session.stream.write_all(b"QUIT\r\n").await?;
        session.expect(221).await?;
    }
    Ok(latencies)
}

/// What is sent for each message.
struct Texts {
    mail: String,
    recipient: String,
    /// Content with the end of DATA.
    data: Vec<u8>,
    /// The same, and QUIT behind it.
    last_data: Vec<u8>,
}

impl Texts {
    fn new(recipient: &str, bytes: usize) -> Self {
        let data = [content(recipient, bytes).as_slice(), END].concat();
        let last_data = [data.as_slice(), b"QUIT\r\n"].concat();
        Self {
            mail: format!("MAIL FROM:<{SENDER}>\r\n"),
            recipient: format!("RCPT TO:<{recipient}>\r\n"),
            data,
            last_data,
        }
    }
}

/// A message of exactly this many bytes, or a little more when the header alone is longer; it ends with a line break.
fn content(recipient: &str, bytes: usize) -> Vec<u8> {
    let mut text = format!(
        "From: <{SENDER}>\r\nTo: <{recipient}>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <load@client.example>\r\nSubject: benchmark\r\n\r\n"
    );
    let line = "The quick brown fox jumps over the lazy dog, and so does the next one, too.\r\n";
    while text.len() + line.len() <= bytes {
        text.push_str(line);
    }
    let rest = bytes.saturating_sub(text.len());
    if rest >= 2 {
        text.push_str(&"x".repeat(rest - 2));
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// A conversation that has said EHLO.
struct Session {
    stream: TcpStream,
    reader: ReplyReader,
    input: Vec<u8>,
    pipelining: bool,
}

impl Session {
    async fn open(load: &Load) -> io::Result<Self> {
        let stream = TcpStream::connect(load.server).await?;
        stream.set_nodelay(true)?;
        let mut session =
            Self { stream, reader: ReplyReader::default(), input: Vec::new(), pipelining: false };
        session.expect(220).await?;
        session.stream.write_all(b"EHLO client.example\r\n").await?;
        let hello = session.expect(250).await?;
        session.pipelining = hello.lines.iter().any(|line| line.eq_ignore_ascii_case("PIPELINING"));
        Ok(session)
    }

    /// One message: envelope and DATA together where the server offers that (RFC 2920), then the content, with QUIT behind
    /// it when it is the `last` one. Returns how long the envelope took.
    async fn send(&mut self, texts: &Texts, last: bool) -> io::Result<Duration> {
        let start = Instant::now();
        if self.pipelining {
            let group = format!("{}{}DATA\r\n", texts.mail, texts.recipient);
            self.stream.write_all(group.as_bytes()).await?;
            for code in [250, 250, 354] {
                self.expect(code).await?;
            }
        } else {
            for (command, code) in [(texts.mail.as_str(), 250), (&texts.recipient, 250), ("DATA\r\n", 354)] {
                self.stream.write_all(command.as_bytes()).await?;
                self.expect(code).await?;
            }
        }
        let envelope = start.elapsed();
        self.stream.write_all(if last { &texts.last_data } else { &texts.data }).await?;
        self.expect(250).await?;
        if last {
            self.expect(221).await?;
        }
        Ok(envelope)
    }

    async fn expect(&mut self, code: u16) -> io::Result<Reply> {
        let reply = self.reply().await?;
        if reply.code == code {
            return Ok(reply);
        }
        Err(io::Error::other(format!(
            "{code} was expected, and the server said {} {:?}",
            reply.code, reply.lines
        )))
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            let mut rest: &[u8] = &self.input;
            let reply = self.reader.read(&mut rest).map_err(io::Error::other)?;
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if let Some(reply) = reply {
                return Ok(reply);
            }
            let read = tokio::time::timeout(REPLY_LIMIT, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| io::Error::other("the server is silent"))?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::content;

    #[test]
    fn a_message_has_the_size_that_was_asked_for() {
        for bytes in [400, 401, 4999, 5000, 5001, 70_000] {
            let content = content("a@b.example", bytes);
            assert!(content.len().abs_diff(bytes) <= 1, "{bytes}: {}", content.len());
            assert!(content.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn no_line_needs_a_dot_more() {
        let content = content("a@b.example", 5000);
        let text = String::from_utf8(content).unwrap();
        assert!(text.split("\r\n").all(|line| !line.starts_with('.') && !line.contains(['\r', '\n'])));
    }
}
