//! Part c: from SMTP to settled. Servers take turns under the same load; each must in the end have every message.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::clock::monotonic;
use crate::generator::{self, Sent};
use crate::host::Host;
use crate::options::{Load, MESSAGE_BYTES, Peer, Scale};
use crate::postfix::Postfix;
use crate::row::{Bound, Row};
use crate::statistics::{float, median, median_ratio};

/// Messages that go ahead of the rounds, so that processes are started and caches filled.
const WARM_UP: u64 = 200;

/// How often a server is asked whether it is done.
const POLL: Duration = Duration::from_millis(5);

/// How long a server may take for what is left after the last reply.
const SETTLE_LIMIT: Duration = Duration::from_mins(5);

/// How long a server is watched to see whether it rests. Postern moves its tracking events a second later, and that is
/// work for these messages, too.
const REST: Duration = Duration::from_millis(1200);

/// A server that uses less processor time than this in [`REST`] does nothing but look at its clocks.
const REST_CPU: Duration = Duration::from_millis(40);

/// How often it is watched at most: a server that never rests must not hold up the run.
const RESTS: usize = 10;

/// Where mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A program that reads every byte.
    Agent,
    /// A directory of files.
    Drop,
}

impl Sink {
    fn recipient(self) -> &'static str {
        match self {
            Self::Agent => "box@agent.example",
            Self::Drop => "box@drop.example",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Agent => "SMTP -> agent, settled",
            Self::Drop => "SMTP -> drop directory",
        }
    }

    fn peer(self) -> &'static str {
        match self {
            Self::Agent => "Postfix pipe(8), C program",
            Self::Drop => "Postfix virtual(8), maildir",
        }
    }
}

/// A mail server under load.
pub trait Server {
    /// For the progress lines.
    fn name(&self) -> &'static str;

    /// Where it listens.
    fn smtp(&self) -> SocketAddr;

    /// Processor time that it has used, with everything that it started.
    fn cpu(&self) -> Fallible<Duration>;

    /// Whether it is done with this many messages, all that it has ever got.
    fn is_settled(&mut self, messages: u64) -> Fallible<bool>;

    /// Fails when one of the messages that were sent to a sink is not there.
    fn check(&mut self, sent: &[(Sink, u64)]) -> Fallible<()>;

    /// Stops it in good order.
    fn stop(self: Box<Self>) -> Fallible<()>;
}

/// How the clients behave.
#[derive(Clone, Copy)]
struct Clients {
    sessions: u32,
    fresh: bool,
    /// Goal for the rate to the agent, as a multiple of the peer's.
    agent_goal: Option<f64>,
}

const CLIENTS: [Clients; 3] = [
    Clients { sessions: 10, fresh: false, agent_goal: None },
    Clients { sessions: 64, fresh: false, agent_goal: Some(10.0) },
    Clients { sessions: 64, fresh: true, agent_goal: Some(7.0) },
];

impl Clients {
    fn what(self) -> String {
        if self.fresh {
            format!("{} at once, a connection per message", self.sessions)
        } else {
            format!("{} kept sessions", self.sessions)
        }
    }
}

/// A server, and what it was sent.
struct Subject {
    server: Box<dyn Server>,
    sent: Vec<(Sink, u64)>,
}

/// What a round gave.
struct Round {
    rate: f64,
    /// Microseconds of processor time for a message.
    cpu: f64,
    sent: Sent,
}

/// Runs the part in `folder`. What could not be done is added to `notes`.
pub fn run(folder: &Path, scale: &Scale, peer: Option<Peer>, notes: &mut Vec<String>) -> Fallible<Vec<Row>> {
    let place = folder.join("postern");
    std::fs::create_dir(&place)?;
    let mut subjects = vec![Subject { server: Box::new(Host::start(&place)?), sent: Vec::new() }];
    if peer == Some(Peer::Postfix) {
        match Postfix::missing() {
            Some(reason) => notes.push(format!("the peer was left out: {reason}")),
            None => {
                let server = Box::new(Postfix::start(&folder.join("postfix"))?);
                subjects.push(Subject { server, sent: Vec::new() });
            }
        }
    }
    let mut rows = Vec::new();
    for sink in [Sink::Agent, Sink::Drop] {
        for subject in &mut subjects {
            subject.round(sink, CLIENTS[0], WARM_UP)?;
        }
        for clients in CLIENTS {
            rows.push(row(&mut subjects, sink, clients, scale)?);
        }
    }
    for mut subject in subjects {
        subject.server.check(&subject.sent)?;
        println!("c: {} has every message", subject.server.name());
        subject.server.stop()?;
    }
    Ok(rows)
}

fn row(subjects: &mut [Subject], sink: Sink, clients: Clients, scale: &Scale) -> Fallible<Row> {
    let mut rounds: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    for number in 1..=scale.rounds {
        for (subject, rounds) in subjects.iter_mut().zip(&mut rounds) {
            let round = subject.round(sink, clients, scale.messages)?;
            println!(
                "c: {}, {}, round {number}, {}: {:.0}/s, {:.0} us of CPU each",
                sink.what(),
                clients.what(),
                subject.server.name(),
                round.rate,
                round.cpu
            );
            rounds.push(round);
        }
    }
    let of = |rounds: &[Round], what: fn(&Round) -> f64| rounds.iter().map(what).collect::<Vec<f64>>();
    let ours = &rounds[0];
    let mut row = Row::new(format!("{}, {}", sink.what(), clients.what()), "");
    if let Some(theirs) = rounds.get(1) {
        sink.peer().clone_into(&mut row.beside);
        row = row.with("ratio", median_ratio(&of(ours, |r| r.rate), &of(theirs, |r| r.rate)), "").with(
            "CPU ratio",
            median_ratio(&of(ours, |r| r.cpu), &of(theirs, |r| r.cpu)),
            "",
        );
    }
    row = row
        .with("rate", median(&of(ours, |r| r.rate)), "msg/s")
        .with("CPU", median(&of(ours, |r| r.cpu)), "us/msg")
        .with("reply p50", median(&of(ours, |r| r.sent.p50_ms)), "ms")
        .with("reply p99", median(&of(ours, |r| r.sent.p99_ms)), "ms")
        .with(
            "generator CPU",
            median(&of(ours, |r| r.sent.cpu_seconds * 1e6 / float(r.sent.messages))),
            "us/msg",
        );
    if let Some(theirs) = rounds.get(1) {
        row = row.with("peer rate", median(&of(theirs, |r| r.rate)), "msg/s").with(
            "peer CPU",
            median(&of(theirs, |r| r.cpu)),
            "us/msg",
        );
    }
    Ok(match (sink, clients.agent_goal) {
        (Sink::Drop, _) => row.goal("ratio", Bound::AtLeast(1.5)),
        (Sink::Agent, Some(goal)) => {
            row.goal("ratio", Bound::AtLeast(goal)).goal("CPU ratio", Bound::AtMost(0.1))
        }
        (Sink::Agent, None) => row,
    })
}

impl Subject {
    /// Sends this many messages and waits until they are settled.
    fn round(&mut self, sink: Sink, clients: Clients, messages: u64) -> Fallible<Round> {
        let load = Load {
            server: self.server.smtp(),
            recipient: sink.recipient().to_owned(),
            messages,
            sessions: clients.sessions,
            fresh: clients.fresh,
            pause: Duration::ZERO,
            bytes: MESSAGE_BYTES,
        };
        let before = self.server.cpu()?;
        let sent = generator::run_elsewhere(&load)?;
        self.sent.push((sink, sent.messages));
        let all = self.sent.iter().map(|(_, count)| count).sum();
        let deadline = Instant::now() + SETTLE_LIMIT;
        while !self.server.is_settled(all)? {
            if Instant::now() > deadline {
                return Err(format!("{} does not settle what it was sent", self.server.name()).into());
            }
            thread::sleep(POLL);
        }
        let seconds = monotonic().saturating_sub(Duration::from_nanos(sent.started_at)).as_secs_f64();
        let cpu = self.cpu_at_rest()?.saturating_sub(before);
        let count = float(sent.messages);
        Ok(Round { rate: count / seconds, cpu: cpu.as_secs_f64() * 1e6 / count, sent })
    }

    /// The server's processor time when it has finished what it does behind the scenes.
    fn cpu_at_rest(&self) -> Fallible<Duration> {
        let mut cpu = self.server.cpu()?;
        for _ in 0..RESTS {
            thread::sleep(REST);
            let before = std::mem::replace(&mut cpu, self.server.cpu()?);
            if cpu.saturating_sub(before) < REST_CPU {
                break;
            }
        }
        Ok(cpu)
    }
}
