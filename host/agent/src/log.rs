//! AgentLog: what an agent says and what the host says about it, rate limited and cleaned, as `tracing` events.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postern_model::text::one_line;
use tracing::Level;

use crate::Limits;
use crate::secret::Masks;
use crate::stats::Stats;
use crate::witness::{Violation, Witness};

/// The longest name of something that was refused, in bytes.
const MAX_TARGET: usize = 200;

/// What an agent may be granted, as refusals are counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// `http.send` and `wasi:http`.
    Http,
    /// `tcp`.
    Tcp,
    /// `host.secret`.
    Secret,
    /// `wasi:sockets`, name look-up included.
    Sockets,
    /// `state`.
    State,
    /// `inbound`.
    Inbound,
    /// `wasi:filesystem`.
    Directory,
    /// `host.now` and `wasi:clocks`.
    Clocks,
    /// `host.random` and `wasi:random`.
    Random,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Secret => "secret",
            Self::Sockets => "sockets",
            Self::State => "state",
            Self::Inbound => "inbound",
            Self::Directory => "directory",
            Self::Clocks => "clocks",
            Self::Random => "random",
        })
    }
}

/// The log of one instance. Cheap to clone; clones share the allowance.
#[derive(Clone)]
pub(crate) struct AgentLog(Arc<Shared>);

struct Shared {
    connector: Arc<str>,
    stats: Arc<Stats>,
    masks: Arc<Masks>,
    line: usize,
    per_call: u32,
    per_second: u32,
    allowance: Mutex<Allowance>,
}

struct Allowance {
    second: Instant,
    in_second: u32,
    in_call: u32,
    dropped: u32,
}

impl Allowance {
    fn take(&mut self, per_call: u32, per_second: u32) -> bool {
        let now = Instant::now();
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.in_second = 0;
        }
        if self.in_second >= per_second || self.in_call >= per_call {
            self.dropped = self.dropped.saturating_add(1);
            return false;
        }
        self.in_second += 1;
        self.in_call += 1;
        true
    }
}

impl AgentLog {
    pub(crate) fn new(connector: Arc<str>, limits: &Limits, stats: Arc<Stats>, masks: Arc<Masks>) -> Self {
        let allowance = Allowance { second: Instant::now(), in_second: 0, in_call: 0, dropped: 0 };
        Self(Arc::new(Shared {
            connector,
            stats,
            masks,
            line: limits.log_line,
            per_call: limits.log_lines_per_call,
            per_second: limits.log_lines_per_second,
            allowance: Mutex::new(allowance),
        }))
    }

    /// A line of the agent's.
    pub(crate) fn line(&self, level: Level, text: &str) {
        if let Some(witness) = self.witness() {
            witness.line(level, text, self.0.per_call);
        }
        self.limited(level, text);
    }

    fn limited(&self, level: Level, text: &str) {
        if self.allowance(|a| a.take(self.0.per_call, self.0.per_second)) {
            emit(&self.0.connector, level, &one_line(&self.0.masks.apply(text), self.0.line));
        }
    }

    /// Counts and logs that the agent was refused something: what it asked for, and why it does not get it. The line
    /// counts as one of the agent's, which may refuse itself into silence but not out of the count.
    pub(crate) fn refused(&self, capability: Capability, target: &str, why: &str) {
        self.0.stats.refused(capability);
        if !self.allowance(|a| a.take(self.0.per_call, self.0.per_second)) {
            return;
        }
        let shown = |text: &str, max: usize| one_line(&self.0.masks.apply(text), max);
        let (to, why) = (shown(target, MAX_TARGET), shown(why, self.0.line));
        let connector = &*self.0.connector;
        tracing::warn!(target: "postern::agent", connector, %capability, to, "the agent was refused: {why}");
    }

    /// A remark of the host's about what the agent did; it counts as a line of the agent's, which caused it.
    pub(crate) fn remark(&self, text: &str) {
        self.limited(Level::WARN, text);
    }

    /// A remark about a rule of the contract that the agent broke.
    pub(crate) fn violation(&self, violation: Violation, text: &str) {
        self.0.stats.violation(violation, text);
        self.remark(text);
    }

    /// Who looks on, if anybody does.
    pub(crate) fn witness(&self) -> Option<&Witness> {
        self.0.stats.witness()
    }

    /// Starts the allowance of a call.
    pub(crate) fn begin_call(&self) {
        self.allowance(|a| (a.in_call, a.dropped) = (0, 0));
        if let Some(witness) = self.witness() {
            witness.begin_call();
        }
    }

    /// Says how many lines of the call were dropped, if any.
    pub(crate) fn end_call(&self) {
        let dropped = self.allowance(|a| std::mem::take(&mut a.dropped));
        if dropped > 0 {
            self.0.stats.log_lines_dropped(dropped);
            let text = format!(
                "{dropped} log lines dropped (log_lines_per_call = {}, log_lines_per_second = {})",
                self.0.per_call, self.0.per_second
            );
            emit(&self.0.connector, Level::WARN, &text);
        }
    }

    fn allowance<R>(&self, change: impl FnOnce(&mut Allowance) -> R) -> R {
        // Plain counters are in order even after a panic elsewhere.
        change(&mut self.0.allowance.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn emit(connector: &str, level: Level, text: &str) {
    match level {
        Level::ERROR => tracing::error!(target: "postern::agent", connector, "{text}"),
        Level::WARN => tracing::warn!(target: "postern::agent", connector, "{text}"),
        Level::INFO => tracing::info!(target: "postern::agent", connector, "{text}"),
        Level::DEBUG => tracing::debug!(target: "postern::agent", connector, "{text}"),
        Level::TRACE => tracing::trace!(target: "postern::agent", connector, "{text}"),
    }
}
