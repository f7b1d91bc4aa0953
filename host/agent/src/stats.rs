//! Stats: what an agent has done since it was loaded, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::Limit;
use crate::fault::{Fault, FaultKind};
use crate::latency::{Latency, LatencyCounters};
use crate::limits::LimitCounts;
use crate::log::Capability;
use crate::witness::{Violation, Witness};

/// Counters of one agent, as they stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentStats {
    /// Instances made.
    pub instances: u64,
    /// Instances alive now.
    pub live: u64,
    /// Calls of `deliver`.
    pub deliveries: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// Calls over their wall deadline.
    pub deadlines: u64,
    /// Calls over their processor time.
    pub cpu_overruns: u64,
    /// Calls that ended because memory was refused.
    pub out_of_memory: u64,
    /// Opens that found no free instance in time.
    pub no_slot: u64,
    /// HTTP requests sent or refused.
    pub http_requests: u64,
    /// HTTP requests refused: not granted, or over a limit.
    pub http_refused: u64,
    /// TCP connections made.
    pub tcp_connections: u64,
    /// Of these, open now.
    pub tcp_open: u64,
    /// Bytes that agents read from TCP connections.
    pub tcp_read: u64,
    /// Bytes that agents wrote to TCP connections.
    pub tcp_written: u64,
    /// TCP connections, reads and writes refused: not granted, or over a limit.
    pub tcp_refused: u64,
    /// Secrets asked for that are not granted.
    pub secrets_refused: u64,
    /// Sockets and name look-ups asked for through WASI, which are never granted.
    pub sockets_refused: u64,
    /// Uses of kept state without the grant.
    pub state_refused: u64,
    /// Messages handed in without the grant.
    pub inbound_refused: u64,
    /// Files and folders made.
    pub directory_made: u64,
    /// Bytes read from files.
    pub directory_read: u64,
    /// Bytes written to files.
    pub directory_written: u64,
    /// Uses of files and folders refused: not granted, out of the granted folder, or over a limit.
    pub directory_refused: u64,
    /// Looks at a clock without the grant.
    pub clocks_refused: u64,
    /// Random numbers asked for without the grant.
    pub random_refused: u64,
    /// Log lines dropped.
    pub log_lines_dropped: u64,
    /// Rules of the contract that it broke and the host mended: a second outcome, a code that does not fit.
    pub violations: u64,
    /// How long the calls of `deliver` and `deliver-batch` took, host calls included.
    pub latency: Latency,
    /// Linear memory of the instances that are alive, in bytes.
    pub memory: u64,
    /// The most linear memory that one instance had, in bytes.
    pub memory_peak: u64,
    /// How often it hit each limit, also where that only cut or slowed something.
    pub limits: LimitCounts,
}

impl AgentStats {
    /// Calls that passed a limit: time by the clock, processor time, memory.
    #[must_use]
    pub fn overruns(&self) -> u64 {
        self.deadlines + self.cpu_overruns + self.out_of_memory
    }

    /// Calls that the agent itself broke: traps, processor time, memory. A deadline is mostly the far end's fault.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.traps + self.cpu_overruns + self.out_of_memory
    }

    /// What two versions of an agent have done together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            instances: self.instances + other.instances,
            live: self.live + other.live,
            deliveries: self.deliveries + other.deliveries,
            traps: self.traps + other.traps,
            deadlines: self.deadlines + other.deadlines,
            cpu_overruns: self.cpu_overruns + other.cpu_overruns,
            out_of_memory: self.out_of_memory + other.out_of_memory,
            no_slot: self.no_slot + other.no_slot,
            http_requests: self.http_requests + other.http_requests,
            http_refused: self.http_refused + other.http_refused,
            tcp_connections: self.tcp_connections + other.tcp_connections,
            tcp_open: self.tcp_open + other.tcp_open,
            tcp_read: self.tcp_read + other.tcp_read,
            tcp_written: self.tcp_written + other.tcp_written,
            tcp_refused: self.tcp_refused + other.tcp_refused,
            secrets_refused: self.secrets_refused + other.secrets_refused,
            sockets_refused: self.sockets_refused + other.sockets_refused,
            state_refused: self.state_refused + other.state_refused,
            inbound_refused: self.inbound_refused + other.inbound_refused,
            directory_made: self.directory_made + other.directory_made,
            directory_read: self.directory_read + other.directory_read,
            directory_written: self.directory_written + other.directory_written,
            directory_refused: self.directory_refused + other.directory_refused,
            clocks_refused: self.clocks_refused + other.clocks_refused,
            random_refused: self.random_refused + other.random_refused,
            log_lines_dropped: self.log_lines_dropped + other.log_lines_dropped,
            violations: self.violations + other.violations,
            latency: self.latency.and(&other.latency),
            memory: self.memory + other.memory,
            memory_peak: self.memory_peak.max(other.memory_peak),
            limits: self.limits.and(&other.limits),
        }
    }
}

/// The live counters, and who looks on while they count.
#[derive(Default)]
pub(crate) struct Stats {
    /// Only in a conformance run.
    witness: Option<Arc<Witness>>,
    instances: AtomicU64,
    live: AtomicU64,
    deliveries: AtomicU64,
    traps: AtomicU64,
    deadlines: AtomicU64,
    cpu_overruns: AtomicU64,
    out_of_memory: AtomicU64,
    no_slot: AtomicU64,
    http_requests: AtomicU64,
    http_refused: AtomicU64,
    tcp_connections: AtomicU64,
    tcp_open: AtomicU64,
    tcp_read: AtomicU64,
    tcp_written: AtomicU64,
    tcp_refused: AtomicU64,
    secrets_refused: AtomicU64,
    sockets_refused: AtomicU64,
    state_refused: AtomicU64,
    inbound_refused: AtomicU64,
    directory_made: AtomicU64,
    directory_read: AtomicU64,
    directory_written: AtomicU64,
    directory_refused: AtomicU64,
    clocks_refused: AtomicU64,
    random_refused: AtomicU64,
    log_lines_dropped: AtomicU64,
    violations: AtomicU64,
    latency: LatencyCounters,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    limits: LimitCounters,
}

/// A live counter for each limit.
struct LimitCounters([AtomicU64; Limit::ALL.len()]);

impl Default for LimitCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::default()))
    }
}

impl Stats {
    pub(crate) fn watched_by(witness: Option<Arc<Witness>>) -> Self {
        Self { witness, ..Self::default() }
    }

    /// Who looks on, if anybody does.
    pub(crate) fn witness(&self) -> Option<&Witness> {
        self.witness.as_deref()
    }

    /// Counts a broken rule.
    pub(crate) fn violation(&self, violation: Violation, what: &str) {
        self.violations.fetch_add(1, Relaxed);
        if let Some(witness) = self.witness() {
            witness.violation(violation, what);
        }
    }

    pub(crate) fn instance_made(&self) {
        self.instances.fetch_add(1, Relaxed);
        self.live.fetch_add(1, Relaxed);
    }

    pub(crate) fn instance_gone(&self) {
        self.live.fetch_sub(1, Relaxed);
    }

    pub(crate) fn delivery(&self) {
        self.deliveries.fetch_add(1, Relaxed);
    }

    /// A call of `deliver` or `deliver-batch` took so long, however it ended.
    pub(crate) fn call_took(&self, time: Duration) {
        self.latency.record(time);
    }

    /// An instance that had so many bytes of linear memory now has so many.
    pub(crate) fn memory_changed(&self, before: usize, now: usize) {
        // Added before it is taken off: it never falls below what the other instances have.
        self.memory.fetch_add(now as u64, Relaxed);
        self.memory.fetch_sub(before as u64, Relaxed);
        self.memory_peak.fetch_max(now as u64, Relaxed);
    }

    pub(crate) fn http_request(&self) {
        self.http_requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn tcp_opened(&self) {
        self.tcp_connections.fetch_add(1, Relaxed);
        self.tcp_open.fetch_add(1, Relaxed);
    }

    pub(crate) fn tcp_closed(&self) {
        self.tcp_open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn tcp_read(&self, bytes: usize) {
        self.tcp_read.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn tcp_written(&self, bytes: usize) {
        self.tcp_written.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn directory_made(&self) {
        self.directory_made.fetch_add(1, Relaxed);
    }

    pub(crate) fn directory_read(&self, bytes: u64) {
        self.directory_read.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn directory_written(&self, bytes: u64) {
        self.directory_written.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn refused(&self, capability: Capability) {
        let counter = match capability {
            Capability::Http => &self.http_refused,
            Capability::Tcp => &self.tcp_refused,
            Capability::Secret => &self.secrets_refused,
            Capability::Sockets => &self.sockets_refused,
            Capability::State => &self.state_refused,
            Capability::Inbound => &self.inbound_refused,
            Capability::Directory => &self.directory_refused,
            Capability::Clocks => &self.clocks_refused,
            Capability::Random => &self.random_refused,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Counts that a limit was hit.
    pub(crate) fn limit(&self, limit: Limit) {
        self.limits.0[limit as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn log_lines_dropped(&self, lines: u32) {
        self.log_lines_dropped.fetch_add(lines.into(), Relaxed);
    }

    pub(crate) fn fault(&self, fault: &Fault) {
        if let Some(witness) = self.witness() {
            witness.fault(fault);
        }
        let counter = match fault.kind {
            FaultKind::Trap => &self.traps,
            FaultKind::Deadline => &self.deadlines,
            FaultKind::Cpu => &self.cpu_overruns,
            FaultKind::Memory => &self.out_of_memory,
            FaultKind::NoSlot => &self.no_slot,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(&self) -> AgentStats {
        AgentStats {
            instances: self.instances.load(Relaxed),
            live: self.live.load(Relaxed),
            deliveries: self.deliveries.load(Relaxed),
            traps: self.traps.load(Relaxed),
            deadlines: self.deadlines.load(Relaxed),
            cpu_overruns: self.cpu_overruns.load(Relaxed),
            out_of_memory: self.out_of_memory.load(Relaxed),
            no_slot: self.no_slot.load(Relaxed),
            http_requests: self.http_requests.load(Relaxed),
            http_refused: self.http_refused.load(Relaxed),
            tcp_connections: self.tcp_connections.load(Relaxed),
            tcp_open: self.tcp_open.load(Relaxed),
            tcp_read: self.tcp_read.load(Relaxed),
            tcp_written: self.tcp_written.load(Relaxed),
            tcp_refused: self.tcp_refused.load(Relaxed),
            secrets_refused: self.secrets_refused.load(Relaxed),
            sockets_refused: self.sockets_refused.load(Relaxed),
            state_refused: self.state_refused.load(Relaxed),
            inbound_refused: self.inbound_refused.load(Relaxed),
            directory_made: self.directory_made.load(Relaxed),
            directory_read: self.directory_read.load(Relaxed),
            directory_written: self.directory_written.load(Relaxed),
            directory_refused: self.directory_refused.load(Relaxed),
            clocks_refused: self.clocks_refused.load(Relaxed),
            random_refused: self.random_refused.load(Relaxed),
            log_lines_dropped: self.log_lines_dropped.load(Relaxed),
            violations: self.violations.load(Relaxed),
            latency: self.latency.snapshot(),
            memory: self.memory.load(Relaxed),
            memory_peak: self.memory_peak.load(Relaxed),
            limits: LimitCounts::from_fn(|limit| self.limits.0[limit as usize].load(Relaxed)),
        }
    }
}
