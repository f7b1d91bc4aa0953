//! Fault: a call of an agent that did not end by itself, and what it says to the queue and the operator.

use std::fmt;
use std::time::Duration;

use postern_model::text::one_line;
use postern_model::{Deferral, FailureClass};
use wasmtime::component::ResourceTableError;

use crate::autopsy::Findings;
use crate::limits::{Limit, Limits};
use crate::log::AgentLog;
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
    /// The cause, and each limit that the call has hit, with its value; one line.
    pub(crate) cause: String,
    /// For whoever looks into it.
    pub(crate) findings: Box<Findings>,
}

impl Fault {
    /// A call over its deadline, which is this limit.
    pub(crate) fn deadline(phase: Phase, limit: Limit, log: &AgentLog) -> Self {
        log.hit(limit);
        let time = Duration::from_millis(log.limits().value(limit).unwrap_or_default());
        let cause = format!("not done within the deadline of {time:?}{}", log.limits_hit());
        Self { kind: FaultKind::Deadline, phase, cause, findings: Box::default() }
    }

    /// No instance for a call, of as many as the host may have.
    pub(crate) fn no_slot(phase: Phase, limits: &Limits, (limit, slots): (Limit, u32)) -> Self {
        let cause = format!(
            "all {slots} agent instances of its size in this host are in use (limits {}, {})",
            limits.shown(Limit::SlotWait),
            limit.with(slots.into())
        );
        Self { kind: FaultKind::NoSlot, phase, cause, findings: Box::default() }
    }

    /// Finds out what an error of the runtime means.
    pub(crate) fn of(phase: Phase, error: &wasmtime::Error, state: &State) -> Self {
        let (limits, log) = (&state.shared.limits, &state.log);
        let findings = Box::new(Findings::of(Some(error), state));
        if error.is::<CpuOverrun>() {
            log.hit(Limit::Cpu);
            let cause = format!("over its processor time of {:?}{}", limits.cpu, log.limits_hit());
            return Self { kind: FaultKind::Cpu, phase, cause, findings };
        }
        let root = error.root_cause().to_string();
        let root = one_line(root.lines().next().unwrap_or_default(), MAX_CAUSE);
        // A refused allocation has no trap of its own: the guest fails in its own way soon after.
        if let Some(refused) = state.memory.refused() {
            let cause = format!("out of memory: {refused}{}: {root}", log.limits_hit());
            return Self { kind: FaultKind::Memory, phase, cause, findings };
        }
        let limit = limit_of(error, &root);
        limit.inspect(|limit| log.hit(*limit));
        let cause = match limit {
            Some(Limit::HostCallBytes) => {
                let limit = limits.shown(Limit::HostCallBytes);
                let cause = format!("handed over more than {limit} at once");
                state.shared.stats.violation(Violation::HostCall, &cause);
                cause
            }
            _ => format!("trapped: {root}"),
        };
        let cause = format!("{cause}{}", log.limits_hit());
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

/// The limit that the engine's own error is about. It has words for them, and types for few.
fn limit_of(error: &wasmtime::Error, root: &str) -> Option<Limit> {
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(Limit::Resources);
    }
    let words = [
        ("allocated for hostcalls", Limit::HostCallBytes),
        ("store handle limit exceeded", Limit::Handles),
        ("instance count too high", Limit::CoreInstances),
        ("memory count too high", Limit::Memories),
        ("table count too high", Limit::Tables),
        ("random: ", Limit::RandomBytes),
    ];
    words.into_iter().find(|(words, _)| root.contains(words)).map(|(_, limit)| limit)
}

/// What an agent's own error text becomes, with the limits that its call has hit.
pub(crate) fn told(phase: Phase, text: &str, log: &AgentLog) -> Deferral {
    let hit = log.limits_hit();
    let text = one_line(text, (MAX_CAUSE * 2).saturating_sub(hit.len()));
    failed(phase, &format!("{text}{hit}"))
}

/// A deferral for something that went wrong in a call.
pub(crate) fn failed(phase: Phase, text: &str) -> Deferral {
    Deferral {
        class: FailureClass::default(),
        ..Deferral::new(451, (4, 3, 0), &format!("delivery agent, {phase}: {text}"), "")
    }
}
