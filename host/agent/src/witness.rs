//! Witness: what a conformance run sees of an agent beside its answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_model::text::one_line;
use tracing::Level;

use crate::fault::Fault;

/// The most that is kept of each kind of thing in one step; an agent that goes on has been seen often enough.
const MAX_SEEN: usize = 10;
/// Bytes of an agent's last words, and of other texts, that are shown.
const MAX_SHOWN: usize = 240;

/// A rule of the contract that an agent broke. Most of them the host mends, so that they do not show in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An outcome for a recipient that is not of the item.
    UnknownRecipient,
    /// A second outcome for a recipient.
    SecondOutcome,
    /// More outcomes in one call than [`crate::Limits::outcomes`].
    TooManyOutcomes,
    /// An outcome whose code does not fit.
    UnfitCode,
    /// `accepted` without receipt ids, with too many, or with one that cannot be kept.
    ReceiptIds,
    /// A refusal whose code does not fit, or without a text.
    UnfitRefusal,
    /// A receipt that cannot be believed, or more than [`crate::Limits::receipts`].
    UnfitReceipt,
    /// An item that was used after its `deliver` returned.
    ItemKept,
    /// More random bytes asked for at once than [`crate::Limits::random_bytes`].
    Random,
    /// More handed over at once than [`crate::Limits::host_call_bytes`].
    HostCall,
    /// Another number of reports than items of a batch.
    ReportCount,
    /// More log lines in one call than [`crate::Limits::log_lines`]. Only a witness is told.
    LogLines,
    /// A description out of bounds. Only a witness is told.
    Description,
    /// A label that is empty, too long or more than a line. Only a witness is told.
    Label,
    /// Another text that is too long or more than a line. Only a witness is told.
    Text,
}

/// What was seen since the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Broken rules, each with what happened.
    pub(crate) violations: Vec<(Violation, String)>,
    /// Calls that did not end by themselves.
    pub(crate) faults: Vec<Fault>,
    /// Log lines in which a secret stood, each named by its secret.
    pub(crate) leaks: Vec<String>,
    /// The last warning or error that the agent logged.
    pub(crate) last_words: Option<String>,
}

/// Looks on while an agent is tried. Shared by all its instances, which a conformance run uses one after the other.
#[derive(Default)]
pub(crate) struct Witness(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    seen: Seen,
    lines_in_call: u32,
    /// Whether every secret that is asked for is made up.
    makes_up_secrets: bool,
    /// Secrets that the agent knows, by name.
    secrets: BTreeMap<String, String>,
    /// Whether it has asked for any.
    asked: bool,
}

impl Witness {
    /// One that answers every question for a secret with a made-up one, and knows that it must not be shown. `granted`
    /// are the real ones, by name.
    pub(crate) fn with_secrets(granted: BTreeMap<String, String>) -> Self {
        Self(Mutex::new(Notes { makes_up_secrets: true, secrets: granted, ..Notes::default() }))
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> Seen {
        std::mem::take(&mut self.notes().seen)
    }

    /// Notes a broken rule.
    pub(crate) fn violation(&self, violation: Violation, what: &str) {
        let seen = &mut self.notes().seen.violations;
        if seen.iter().filter(|(known, _)| *known == violation).count() < MAX_SEEN {
            seen.push((violation, one_line(what, MAX_SHOWN)));
        }
    }

    /// Notes a text that is longer than `max` bytes or holds control characters, as `violation`.
    pub(crate) fn text(&self, violation: Violation, name: &str, text: &str, max: usize) {
        if text.len() > max {
            self.violation(violation, &format!("{name} has {} bytes, more than {max}", text.len()));
        }
        if let Some(found) = text.chars().find(|c| c.is_control()) {
            self.violation(violation, &format!("{name} holds the control character {found:?}"));
        }
    }

    /// Notes how a call ended.
    pub(crate) fn fault(&self, fault: &Fault) {
        let seen = &mut self.notes().seen.faults;
        if seen.len() < MAX_SEEN {
            seen.push(fault.clone());
        }
    }

    /// Starts the count of a call's log lines.
    pub(crate) fn begin_call(&self) {
        self.notes().lines_in_call = 0;
    }

    /// Looks at a line of the agent's log, as the agent wrote it.
    pub(crate) fn line(&self, level: Level, text: &str, max_per_call: u32) {
        let mut notes = self.notes();
        notes.lines_in_call = notes.lines_in_call.saturating_add(1);
        let flood = notes.lines_in_call == max_per_call.saturating_add(1);
        if let Some(name) = notes.secret_in(text)
            && notes.seen.leaks.len() < MAX_SEEN
        {
            notes.seen.leaks.push(format!("the secret {name:?} stands in the log"));
        }
        if level <= Level::WARN {
            notes.seen.last_words = Some(one_line(text, MAX_SHOWN));
        }
        drop(notes);
        if flood {
            let what = format!("more than log_lines = {max_per_call} log lines in one call");
            self.violation(Violation::LogLines, &what);
        }
    }

    /// A secret for an agent that was not granted it, if this witness makes them up.
    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        let mut notes = self.notes();
        notes.asked = true;
        if !notes.makes_up_secrets {
            return None;
        }
        let secret = notes
            .secrets
            .entry(name.to_owned())
            .or_insert_with(|| std::iter::repeat_with(fastrand::alphanumeric).take(24).collect());
        Some(secret.clone())
    }

    /// Whether the agent has asked for a secret.
    pub(crate) fn asked_for_secrets(&self) -> bool {
        self.notes().asked
    }

    /// The name of a secret that stands in a text.
    pub(crate) fn secret_in(&self, text: &str) -> Option<String> {
        self.notes().secret_in(text)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // What it guards is changed in single steps and is in order even after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn secret_in(&self, text: &str) -> Option<String> {
        let shown =
            self.secrets.iter().find(|(_, secret)| !secret.is_empty() && text.contains(secret.as_str()));
        shown.map(|(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_was_made_up_stays_the_same_and_is_recognised() {
        let witness = Witness::with_secrets(BTreeMap::from([("real".to_owned(), "hunter2".to_owned())]));
        assert!(!witness.asked_for_secrets());
        let secret = witness.secret("key").unwrap();
        assert_eq!(witness.secret("key"), Some(secret.clone()));
        witness.line(Level::INFO, &format!("Bearer {secret}"), 9);
        witness.line(Level::INFO, "hunter2", 9);
        witness.line(Level::INFO, "nothing", 9);
        let leaks = witness.take().leaks;
        assert_eq!(leaks, ["the secret \"key\" stands in the log", "the secret \"real\" stands in the log"]);
        assert_eq!(Witness::default().secret("key"), None);
    }

    #[test]
    fn a_flood_is_told_once_in_a_call_and_the_last_warning_is_kept() {
        let witness = Witness::default();
        for _ in 0..2 {
            witness.begin_call();
            for n in 0..10 {
                witness.line(if n == 4 { Level::ERROR } else { Level::INFO }, &format!("line {n}"), 3);
            }
        }
        let seen = witness.take();
        assert_eq!(seen.violations.len(), 2, "{seen:?}");
        assert_eq!(seen.last_words.as_deref(), Some("line 4"));
        assert!(witness.take().violations.is_empty());
    }

    #[test]
    fn texts_are_one_line_and_bounded() {
        let witness = Witness::default();
        witness.text(Violation::Text, "the response", "fine, äöü", 12);
        assert!(witness.take().violations.is_empty());
        witness.text(Violation::Text, "the response", "two\nlines", 5);
        let told: Vec<String> = witness.take().violations.into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            told,
            ["the response has 9 bytes, more than 5", "the response holds the control character '\\n'"]
        );
    }
}
