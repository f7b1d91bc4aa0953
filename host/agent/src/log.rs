//! AgentLog: what an agent says and what the host says about it, rate limited and cleaned, as `tracing` events; and the
//! limits that the running call has hit.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postern_model::text::one_line;
use tracing::Level;

use crate::fault::Phase;
use crate::limits::Shown;
use crate::secret::Masks;
use crate::stats::Stats;
use crate::witness::{Violation, Witness};
use crate::{Limit, Limits};

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
    limits: Limits,
    call: Mutex<Call>,
}

/// What the running call has used and met.
struct Call {
    phase: Phase,
    second: Instant,
    in_second: u32,
    in_call: u32,
    dropped: u32,
    /// Limits that it has hit and that may be why it goes wrong, each once.
    hit: Vec<Shown>,
}

impl Call {
    /// The right to one more line, or the limit that it would break.
    fn line(&mut self, limits: &Limits) -> Result<(), Limit> {
        let now = Instant::now();
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.in_second = 0;
        }
        let broken = if self.in_call >= limits.log_lines {
            Some(Limit::LogLines)
        } else {
            (self.in_second >= limits.log_lines_per_second).then_some(Limit::LogLinesPerSecond)
        };
        if let Some(limit) = broken {
            self.dropped = self.dropped.saturating_add(1);
            return Err(limit);
        }
        self.in_second += 1;
        self.in_call += 1;
        Ok(())
    }
}

impl AgentLog {
    pub(crate) fn new(connector: Arc<str>, limits: &Limits, stats: Arc<Stats>, masks: Arc<Masks>) -> Self {
        let call = Call {
            phase: Phase::Start,
            second: Instant::now(),
            in_second: 0,
            in_call: 0,
            dropped: 0,
            hit: Vec::new(),
        };
        Self(Arc::new(Shared { connector, stats, masks, limits: limits.clone(), call: Mutex::new(call) }))
    }

    /// A line of the agent's.
    pub(crate) fn line(&self, level: Level, text: &str) {
        if let Some(witness) = self.witness() {
            witness.line(level, text, self.0.limits.log_lines);
        }
        self.limited(level, text);
    }

    fn limited(&self, level: Level, text: &str) {
        if self.may_say() {
            emit(&self.0.connector, level, &self.shown(text, self.0.limits.log_line));
        }
    }

    /// Takes the right to one more line.
    fn may_say(&self) -> bool {
        self.call(|call| call.line(&self.0.limits)).inspect_err(|limit| self.hit(*limit)).is_ok()
    }

    /// A text without secrets, on one line and cut.
    fn shown(&self, text: &str, max: usize) -> String {
        let text = self.0.masks.apply(text);
        if text.len() > max {
            self.hit(Limit::LogLine);
        }
        one_line(&text, max)
    }

    /// Counts and logs that the agent was refused something: what it asked for, and why it does not get it. The line
    /// counts as one of the agent's, which may refuse itself into silence but not out of the count.
    pub(crate) fn refused(&self, capability: Capability, target: &str, why: &str) {
        self.0.stats.refused(capability);
        if !self.may_say() {
            return;
        }
        let (to, why) = (self.shown(target, MAX_TARGET), self.shown(why, self.0.limits.log_line));
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

    /// Counts that a limit of the agent's own was hit, and notes it as a reason if the call goes wrong.
    pub(crate) fn hit(&self, limit: Limit) {
        self.hit_at(self.0.limits.shown(limit));
    }

    /// As [`Self::hit`], for any limit with its value.
    pub(crate) fn hit_at(&self, shown: Shown) {
        self.0.stats.limit(shown.limit());
        if !shown.limit().only_cuts() {
            self.call(|call| {
                if !call.hit.contains(&shown) {
                    call.hit.push(shown);
                }
            });
        }
    }

    /// How many limits the call has hit so far.
    pub(crate) fn hits(&self) -> usize {
        self.call(|call| call.hit.len())
    }

    /// Those that it has hit since there were so many.
    pub(crate) fn hits_since(&self, hits: usize) -> Vec<Shown> {
        self.call(|call| call.hit.get(hits..).unwrap_or_default().to_vec())
    }

    /// The limits that the call has hit so far, as what goes behind a reason: ` (limit cpu = 10s)`; empty when there are
    /// none.
    pub(crate) fn limits_hit(&self) -> String {
        self.call(|call| listed(&call.hit, ""))
    }

    /// As [`Self::limits_hit`], with the call named, for a reason that does not name it:
    /// ` (limit http_requests = 100 in deliver)`.
    pub(crate) fn limits_hit_and_phase(&self) -> String {
        self.call(|call| listed(&call.hit, &format!(" in {}", call.phase)))
    }

    /// The limits of the instance.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Starts the allowance of a call.
    pub(crate) fn begin_call(&self, phase: Phase) {
        self.call(|call| {
            (call.phase, call.in_call, call.dropped) = (phase, 0, 0);
            call.hit.clear();
        });
        if let Some(witness) = self.witness() {
            witness.begin_call();
        }
    }

    /// Says how many lines of the call were dropped, if any.
    pub(crate) fn end_call(&self) {
        let dropped = self.call(|call| std::mem::take(&mut call.dropped));
        if dropped > 0 {
            self.0.stats.log_lines_dropped(dropped);
            let shown = |limit| self.0.limits.shown(limit);
            let (in_call, in_second) = (shown(Limit::LogLines), shown(Limit::LogLinesPerSecond));
            let text = format!("{dropped} log lines dropped ({in_call}, {in_second})");
            emit(&self.0.connector, Level::WARN, &text);
        }
    }

    fn call<R>(&self, change: impl FnOnce(&mut Call) -> R) -> R {
        // Plain counters are in order even after a panic elsewhere.
        change(&mut self.0.call.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn listed(hit: &[Shown], place: &str) -> String {
    let word = match hit.len() {
        0 => return String::new(),
        1 => "limit",
        _ => "limits",
    };
    let names: Vec<_> = hit.iter().map(ToString::to_string).collect();
    format!(" ({word} {}{place})", names.join(", "))
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
