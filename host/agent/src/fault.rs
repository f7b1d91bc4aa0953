//! Fault: a call of an agent that did not end by itself, and what it says to the queue and the operator.

use std::fmt;

use postern_model::text::one_line;
use postern_model::{Deferral, FailureClass};

use crate::Limits;
use crate::autopsy::Findings;
use crate::state::{CpuOverrun, State};
use crate::witness::Violation;

/// Bytes of a trap's message that are shown.
const MAX_CAUSE: usize = 240;

/// The call in which something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Instantiation.
    Start,
    /// `describe`.
    Describe,
    /// `open-connection`.
    Open,
    /// `deliver`.
    Deliver,
    /// `close-connection`.
    Close,
    /// `batch.deliver-batch`.
    DeliverBatch,
    /// `session.tick`.
    Tick,
    /// `receipts.poll`.
    PollReceipts,
    /// `callback.handle`.
    Callback,
    /// `probe.did-it-arrive`.
    Probe,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Describe => "describe",
            Self::Open => "open",
            Self::Deliver => "deliver",
            Self::Close => "close",
            Self::DeliverBatch => "batch",
            Self::Tick => "tick",
            Self::PollReceipts => "receipts.poll",
            Self::Callback => "callback",
            Self::Probe => "probe",
        })
    }
}

/// What sort of end it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The guest trapped, or broke a rule of the contract.
    Trap,
    /// The wall deadline passed.
    Deadline,
    /// Too much processor time.
    Cpu,
    /// Memory was refused, and the guest died of it.
    Memory,
    /// All instances of the host were in use.
    NoSlot,
}

/// The end of a call that did not end by itself. The instance is gone.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) phase: Phase,
    /// Names the limit with its value, or the cause; one line.
    pub(crate) cause: String,
    /// For whoever looks into it.
    pub(crate) findings: Box<Findings>,
}

impl Fault {
    pub(crate) fn deadline(phase: Phase, limit: std::time::Duration) -> Self {
        let cause = format!("not done within the deadline of {limit:?}");
        Self { kind: FaultKind::Deadline, phase, cause, findings: Box::default() }
    }

    pub(crate) fn no_slot(limits: &Limits, slots: u32) -> Self {
        let cause = format!(
            "all {slots} agent instances of this host are in use (waited slot_wait = {:?})",
            limits.slot_wait
        );
        Self { kind: FaultKind::NoSlot, phase: Phase::Open, cause, findings: Box::default() }
    }

    /// Finds out what an error of the runtime means.
    pub(crate) fn of(phase: Phase, error: &wasmtime::Error, state: &State) -> Self {
        let limits = &state.shared.limits;
        let findings = Box::new(Findings::of(Some(error), state));
        if error.is::<CpuOverrun>() {
            let cause = format!("over its processor time of {:?}", limits.cpu);
            return Self { kind: FaultKind::Cpu, phase, cause, findings };
        }
        let root = error.root_cause().to_string();
        let root = one_line(root.lines().next().unwrap_or_default(), MAX_CAUSE);
        // A refused allocation has no trap of its own: the guest fails in its own way soon after.
        if let Some(refused) = state.memory.refused() {
            return Self {
                kind: FaultKind::Memory,
                phase,
                cause: format!("out of memory: {refused} ({root})"),
                findings,
            };
        }
        let cause = if root.contains("allocated for hostcalls") {
            let cause =
                format!("handed over more than host_call_bytes = {} bytes at once", limits.host_call_bytes);
            state.shared.stats.violation(Violation::HostCall, &cause);
            cause
        } else {
            format!("trapped: {root}")
        };
        Self { kind: FaultKind::Trap, phase, cause, findings }
    }

    /// Whether the agent is to blame, which counts towards poison. A deadline is mostly the far end's fault: an agent that
    /// does not wait but computes without end runs into its CPU budget.
    pub(crate) fn is_the_agents(&self) -> bool {
        !matches!(self.kind, FaultKind::NoSlot | FaultKind::Deadline)
    }

    /// What the recipients without an outcome are deferred with.
    pub(crate) fn deferral(&self) -> Deferral {
        let class = match self.kind {
            FaultKind::Deadline | FaultKind::Cpu => "timeout",
            _ => "service-unavailable",
        };
        let status = if self.kind == FaultKind::NoSlot { (4, 3, 2) } else { (4, 3, 0) };
        Deferral::new(451, status, &self.to_string(), class)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivery agent, {}: {}", self.phase, self.cause)
    }
}

/// What an agent's own error text becomes.
pub(crate) fn told(phase: Phase, text: &str) -> Deferral {
    let text = one_line(text, MAX_CAUSE * 2);
    Deferral {
        class: FailureClass::default(),
        ..Deferral::new(451, (4, 3, 0), &format!("delivery agent, {phase}: {text}"), "")
    }
}
