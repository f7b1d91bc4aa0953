//! AgentFault: how an agent broke over a call, for whoever looks into it. Nothing in it comes from the message.

use serde::{Deserialize, Serialize};

/// How an agent broke over a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentFault {
    /// What sort of end it was: `trap`, `cpu`, `memory`; also `deadline` and `no-slot`, which are not the agent's fault.
    pub kind: String,
    /// The call, in the words of reasons: `deliver`, `batch`.
    pub phase: String,
    /// Names the cause, or the limit with its value; one line.
    pub cause: String,
    /// Where the guest was, the innermost function first, one line each.
    #[serde(default)]
    pub backtrace: Vec<String>,
    /// What the call had used.
    pub used: AgentUse,
    /// Whose call it was.
    pub agent: AgentIdentity,
}

/// What a call of an agent had used, beside what it might.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentUse {
    /// Linear memory of the instance, in bytes.
    pub memory: u64,
    /// `limits.memory`, in bytes.
    pub memory_limit: u64,
    /// Processor time, in milliseconds, rounded down to whole ticks of the clock that interrupts agents.
    pub cpu_ms: u64,
    /// `limits.cpu`, in milliseconds.
    pub cpu_limit_ms: u64,
    /// Time by the clock, host calls included, in milliseconds.
    pub wall_ms: u64,
    /// `limits.deadline`, in milliseconds.
    pub wall_limit_ms: u64,
    /// HTTP requests.
    pub http_requests: u64,
    /// Bytes read from TCP connections.
    pub tcp_read: u64,
    /// Bytes written to TCP connections.
    pub tcp_written: u64,
}

/// Which agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentIdentity {
    /// Its name, as it describes itself.
    pub name: String,
    /// Its version, as it describes itself.
    pub version: String,
    /// SHA-256 of the component, in lower-case hex.
    pub sha256: String,
}
