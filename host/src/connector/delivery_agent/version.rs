//! Version: one component of a connector's agent at work, and what it has done.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use postern_agent::{Agent, AgentStats};
use postern_model::{DeliveryReport, DeliveryRequest, Outcome, RecipientOutcome};
use serde::Serialize;

use crate::agents::Tally;

/// A loaded component.
pub struct Version {
    agent: Agent,
    /// Connections that are open or being opened.
    connections: AtomicU64,
    passed: AtomicU64,
    deferred: AtomicU64,
    /// It gets no further deliveries: its connections are to be closed.
    retired: AtomicBool,
}

/// What a version is for at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It delivers.
    Steady,
    /// It is on trial.
    Canary,
    /// It did not stand its trial, or an operator did not want it.
    RolledBack,
    /// Another one has taken its place, and it ends what it is at.
    Draining,
}

/// A version as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct VersionView {
    /// What it is for.
    pub role: Role,
    /// What the agent calls itself.
    pub name: String,
    /// Its own version number.
    pub version: String,
    /// SHA-256 of the component, in lower-case hex.
    pub sha256: String,
    /// The version of the agent contract.
    pub contract: String,
    /// Open connections.
    pub connections: u64,
    /// Live instances, those that answer beside connections among them.
    pub instances: u64,
    /// Calls of `deliver`.
    pub calls: u64,
    /// Deliveries in which every recipient got further.
    pub passed: u64,
    /// Deliveries in which a recipient was deferred or failed.
    pub deferred: u64,
    /// Within how many milliseconds half of the calls were done.
    pub p50_ms: Option<f64>,
    /// And 99 of 100.
    pub p99_ms: Option<f64>,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// Calls that passed a limit: time by the clock, processor time, memory.
    pub overruns: u64,
    /// Linear memory of its live instances, in bytes.
    pub memory: u64,
    /// The most linear memory that one instance had, in bytes.
    pub memory_peak: u64,
}

impl Version {
    /// A version that has done nothing yet.
    pub fn new(agent: Agent) -> Arc<Self> {
        Arc::new(Self {
            agent,
            connections: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        })
    }

    /// The component.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Whether its connections are to be closed.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Says whether its connections are to be closed.
    pub fn retire(&self, retired: bool) {
        self.retired.store(retired, Relaxed);
    }

    /// Whether it does anything at this moment.
    pub fn is_busy(&self) -> bool {
        self.connections.load(Relaxed) > 0 || self.stats().live > 0
    }

    /// What it has done, in the engine's counters.
    pub fn stats(&self) -> AgentStats {
        self.agent.stats()
    }

    /// What it has done, for its trial.
    pub fn tally(&self) -> Tally {
        Tally {
            passed: self.passed.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
            broken: self.stats().broken(),
        }
    }

    /// Counts a delivery.
    pub fn count(&self, request: &DeliveryRequest, report: &DeliveryReport) {
        if passed(request, report) { &self.passed } else { &self.deferred }.fetch_add(1, Relaxed);
    }

    /// Counts a connection that it could not open, and another version could.
    pub fn count_unopened(&self) {
        self.deferred.fetch_add(1, Relaxed);
    }

    /// As operators see it.
    pub fn view(&self, role: Role) -> VersionView {
        let (about, stats, tally) = (self.agent.description(), self.stats(), self.tally());
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        VersionView {
            role,
            name: about.name.clone(),
            version: about.version.clone(),
            sha256: self.agent.digest().to_owned(),
            contract: self.agent.contract().to_owned(),
            connections: self.connections.load(Relaxed),
            instances: stats.live,
            calls: stats.deliveries,
            passed: tally.passed,
            deferred: tally.deferred,
            p50_ms: stats.latency.within(0.5).map(ms),
            p99_ms: stats.latency.within(0.99).map(ms),
            traps: stats.traps,
            overruns: stats.overruns(),
            memory: stats.memory,
            memory_peak: stats.memory_peak,
        }
    }
}

/// Whether every recipient got further. One that failed did not: a version that refuses everything for good must not
/// take over.
pub fn passed(request: &DeliveryRequest, report: &DeliveryReport) -> bool {
    if report.fault.is_some() || report.refusal.is_some() {
        return false;
    }
    let got_further =
        |said: &&RecipientOutcome| !matches!(said.outcome, Outcome::Deferred(_) | Outcome::Failed { .. });
    let further: HashSet<u32> =
        report.outcomes.iter().filter(got_further).map(|said| said.recipient).collect();
    request.recipients().all(|recipient| further.contains(&recipient.index))
}

/// Counts a connection of a version for as long as it is there, however it ends.
pub struct InUse(Arc<Version>);

impl InUse {
    /// Begins.
    pub fn of(version: Arc<Version>) -> Self {
        version.connections.fetch_add(1, Relaxed);
        Self(version)
    }

    /// The version.
    pub fn version(&self) -> &Version {
        &self.0
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
