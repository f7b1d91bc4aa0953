//! Observed: what an agent was seen to do, for the rules to judge.

use postern_model::{Arrival, Deferral, DeliveryReport, Receipt, Refusal};

use super::Finding;
use crate::witness::{Seen, Violation};
use crate::{CallbackReply, Description, Interfaces, LoadError};

/// A part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Ordinary messages with envelopes of every kind.
    Envelopes,
    /// Messages with contents of every kind.
    Contents,
    /// A connection over which nothing is delivered.
    Idle,
    /// Many small messages over one connection.
    Calls,
    /// Settings that do not fit.
    Settings,
    /// Everything is denied.
    Denied,
    /// Questions about receipts.
    Receipts,
    /// Several items at once.
    Batch,
    /// Ticks.
    Session,
    /// Questions about hand-overs.
    Probe,
    /// Call-backs.
    Callback,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// The component could not be loaded with these settings.
    NotLoaded(String),
    /// `open-connection` gave a label.
    Opened,
    /// `open-connection` refused, or did not end by itself.
    Refused(Refusal),
    /// `deliver` ended.
    Delivered {
        /// The recipients that it was to report, by index.
        expected: Vec<u32>,
        /// What the host made of it.
        report: Box<DeliveryReport>,
    },
    /// `close-connection` ended, well or with an error.
    Closed,
    /// `receipts.poll` ended.
    Polled(Result<Vec<Receipt>, Deferral>),
    /// `batch.deliver-batch` ended: for each item, as with [`Self::Delivered`].
    Batch(Vec<(Vec<u32>, DeliveryReport)>),
    /// `session.tick` ended, well or with a refusal.
    Ticked,
    /// `probe.did-it-arrive` ended.
    Probed(Result<Arrival, Deferral>),
    /// `callback.handle` ended.
    CalledBack {
        /// Whether the request held anything.
        is_empty: bool,
        /// What came of it.
        reply: Result<CallbackReply, Deferral>,
    },
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) part: Part,
    /// The message, the settings or whatever else was special, in words.
    pub(super) what: String,
    pub(super) said: Said,
    /// Whether it wanted to get out.
    pub(super) asked_out: bool,
    pub(super) seen: Seen,
}

impl Step {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.said, Said::Opened | Said::Refused(_))
    }

    pub(super) fn is_deliver(&self) -> bool {
        matches!(self.said, Said::Delivered { .. })
    }

    pub(super) fn is_close(&self) -> bool {
        matches!(self.said, Said::Closed)
    }

    pub(super) fn brings_receipts(&self) -> bool {
        self.is_deliver() || matches!(self.said, Said::Polled(_) | Said::Ticked | Said::CalledBack { .. })
    }

    /// How the call ended that did not end by itself, with the agent's last words.
    pub(super) fn fault(&self) -> Option<String> {
        let fault = self.seen.faults.first()?;
        let words = self.seen.last_words.as_ref().map(|words| format!("; its last words: {words}"));
        Some(format!("{}: {fault}{}", self.what, words.unwrap_or_default()))
    }

    /// How this rule was broken.
    pub(super) fn violation(&self, violation: Violation) -> Option<String> {
        let broken = self.seen.violations.iter().find(|(found, _)| *found == violation);
        broken.map(|(_, how)| format!("{}: {how}", self.what))
    }
}

/// The linear memory of a connection over which many items were delivered.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// Calls that were made.
    pub(super) calls: u32,
    /// Bytes when half of them were.
    pub(super) at_half: usize,
    /// Bytes in the end.
    pub(super) at_end: usize,
    /// Why not all of them were made.
    pub(super) ended: Option<String>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Why it could not be loaded.
    pub(super) load_error: Option<LoadError>,
    /// What was seen while it was loaded.
    pub(super) loading: Seen,
    /// What it said of itself, each time that it was asked.
    pub(super) descriptions: Vec<Description>,
    /// Every call, but for those of the many small messages that went well.
    pub(super) steps: Vec<Step>,
    /// None when no connection was open for them.
    pub(super) memory: Option<Memory>,
    /// The names in its settings.
    pub(super) settings: Vec<String>,
    /// Whether the caller opened any door for it.
    pub(super) is_granted: bool,
    /// What it exports beside `agent`.
    pub(super) interfaces: Interfaces,
    /// Whether it asked for a secret.
    pub(super) asked_for_secrets: bool,
    /// Whether it wanted to get out while everything was denied.
    pub(super) was_denied: bool,
}

impl Observed {
    /// The calls of a part.
    pub(super) fn part(&self, part: Part) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.part == part)
    }

    /// The calls with the settings, and the grants, that it is to have.
    pub(super) fn in_earnest(&self) -> impl Iterator<Item = &Step> {
        self.steps
            .iter()
            .filter(|step| matches!(step.part, Part::Envelopes | Part::Contents | Part::Idle | Part::Calls))
    }

    /// Why nothing could be tried that needs an open connection.
    pub(super) fn no_connection(&self) -> String {
        if self.load_error.is_some() {
            return "the agent could not be loaded".to_owned();
        }
        let refusal = self.in_earnest().find_map(|step| match &step.said {
            Said::Refused(Refusal::DeferQueue(deferral)) => Some(&deferral.response),
            Said::Refused(Refusal::FailQueue { response, .. }) => Some(response),
            _ => None,
        });
        match refusal {
            Some(response) => format!("no connection was opened: {response}"),
            None => "nothing was delivered".to_owned(),
        }
    }

    /// Why there is nothing to say about an optional interface, if so.
    pub(super) fn lacks(&self, name: &str, has: impl Fn(Interfaces) -> bool) -> Option<Finding> {
        if self.load_error.is_some() {
            return Some(Finding::NotApplicable(self.no_connection()));
        }
        let why = format!("it does not export the interface `{name}`");
        (!has(self.interfaces)).then_some(Finding::NotApplicable(why))
    }

    /// Whether any of the calls that `concerns` picks was seen to break this rule.
    pub(super) fn never(&self, violation: Violation, concerns: impl Fn(&Step) -> bool) -> Finding {
        let mut steps = self.steps.iter().filter(|step| concerns(step)).peekable();
        if steps.peek().is_none() {
            return Finding::NotApplicable(self.no_connection());
        }
        judge(steps.find_map(|step| step.violation(violation)))
    }
}

/// Passed, unless something was found.
pub(super) fn judge(found: Option<String>) -> Finding {
    found.map_or(Finding::Passed, Finding::Failed)
}
