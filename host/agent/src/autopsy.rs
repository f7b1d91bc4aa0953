//! Autopsy: what is found out about a call that an agent did not end by itself.

use std::time::{Duration, Instant};

use postern_model::text::one_line;
use postern_model::{AgentFault, AgentIdentity, AgentUse};
use wasmtime::WasmBacktrace;

use crate::fault::{Fault, FaultKind};
use crate::state::State;

/// Lines of a backtrace. The engine keeps 20 frames; a frame with inlined functions and their places takes several lines.
const MAX_LINES: usize = 40;
/// Bytes of one of them.
const MAX_LINE: usize = 160;

/// What was found in the instance before it was gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    backtrace: Vec<String>,
    used: AgentUse,
}

impl Findings {
    /// Looks at what is left after a call that began then.
    pub(crate) fn of(error: Option<&wasmtime::Error>, state: &State) -> Self {
        Self { backtrace: error.map(backtrace).unwrap_or_default(), used: used(state) }
    }
}

/// The functions that ran, the innermost first. Names are demangled; nothing of the message is in them.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let text = trace.to_string();
    // The first line is a heading.
    let lines = text.lines().skip(1).map(str::trim).filter(|line| !line.starts_with("note:"));
    lines.take(MAX_LINES).map(|line| one_line(line, MAX_LINE)).collect()
}

fn used(state: &State) -> AgentUse {
    let limits = &state.shared.limits;
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (tcp_read, tcp_written) = state.tcp.moved();
    AgentUse {
        memory: state.memory.bytes() as u64,
        memory_limit: limits.memory as u64,
        cpu_ms: milliseconds(state.cpu()),
        cpu_limit_ms: milliseconds(limits.cpu),
        wall_ms: milliseconds(Instant::now().saturating_duration_since(state.began())),
        wall_limit_ms: milliseconds(limits.deadline),
        http_requests: u64::from(state.outbound.sent()),
        tcp_read,
        tcp_written,
    }
}

/// What is told of a fault of this agent.
pub(crate) fn told(fault: &Fault, agent: &AgentIdentity) -> AgentFault {
    let kind = match fault.kind {
        FaultKind::Trap => "trap",
        FaultKind::Deadline => "deadline",
        FaultKind::Cpu => "cpu",
        FaultKind::Memory => "memory",
        FaultKind::NoSlot => "no-slot",
    };
    AgentFault {
        kind: kind.to_owned(),
        phase: fault.phase.to_string(),
        cause: fault.cause.clone(),
        backtrace: fault.findings.backtrace.clone(),
        used: fault.findings.used,
        agent: agent.clone(),
    }
}
