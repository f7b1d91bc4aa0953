//! Rollout: which version of an agent delivers, which one is to follow it, and what changes that. Pure.
//!
//! A version is known by the SHA-256 of its component. The file says which version the operator wants; the rollout says
//! which one runs.

use serde::{Deserialize, Serialize};

/// The versions of one connector's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The one that delivers.
    pub steady: String,
    /// The one that did before it, to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The one in the file, where it is not the one that delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
}

/// A version that does not deliver, or not everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub sha256: String,
    /// How far it got.
    #[serde(flatten)]
    pub stage: Stage,
}

/// How far a candidate got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// It gets its share.
    Trial,
    /// It gets nothing, until the file changes or an operator says so.
    RolledBack {
        /// Why.
        reason: String,
    },
}

/// What happens to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This version lies in the file, at a start or a reload.
    Found {
        /// Which.
        sha256: String,
        /// Whether a new version has to stand a trial.
        canary: bool,
    },
    /// The candidate has stood its trial.
    Good,
    /// It has not.
    Bad(String),
    /// An operator wants the candidate.
    Promote,
    /// An operator does not want it, or wants the version before the one that delivers.
    RollBack,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The version in the file delivers from now on.
    Swapped,
    /// The version in the file is on trial from now on.
    Trial,
    /// The candidate delivers from now on.
    TookOver,
    /// The candidate gets nothing from now on, or the version before delivers again.
    RolledBack,
}

impl Change {
    /// In a word, for metrics and events; `None` when nothing changed.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Swapped => Some("swapped"),
            Self::Trial => Some("trial"),
            Self::TookOver => Some("took-over"),
            Self::RolledBack => Some("rolled-back"),
        }
    }
}

/// What the reason is when an operator has said so.
const BY_OPERATOR: &str = "an operator said so";

impl Rollout {
    /// A version that delivers, and no other.
    #[must_use]
    pub fn of(sha256: &str) -> Self {
        Self { steady: sha256.to_owned(), before: None, candidate: None }
    }

    /// Why the candidate was rolled back, if it was.
    #[must_use]
    pub fn rolled_back(&self) -> Option<&str> {
        match self.candidate.as_ref().map(|candidate| &candidate.stage) {
            Some(Stage::RolledBack { reason }) => Some(reason),
            _ => None,
        }
    }

    /// Whether a candidate is on trial.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.stage == Stage::Trial)
    }

    /// Every version that may be needed again.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        let candidate = self.candidate.as_ref().map(|candidate| &*candidate.sha256);
        [&*self.steady].into_iter().chain(self.before.as_deref()).chain(candidate)
    }

    /// What comes next.
    ///
    /// # Errors
    /// What an operator wants and cannot have, in words.
    pub fn step(&self, event: Event) -> Result<(Self, Change), &'static str> {
        let same = || (self.clone(), Change::Nothing);
        let candidate = self.candidate.as_ref();
        Ok(match event {
            Event::Found { sha256, .. } if sha256 == self.steady => {
                (Self { candidate: None, ..self.clone() }, Change::Nothing)
            }
            Event::Found { sha256, canary } => match candidate.filter(|known| known.sha256 == sha256) {
                // One that was rolled back stays so, whether new ones stand a trial or not.
                Some(known) if canary || known.stage != Stage::Trial => same(),
                None if canary => (self.with(sha256, Stage::Trial), Change::Trial),
                _ => (self.followed_by(sha256), Change::Swapped),
            },
            Event::Good => match candidate.filter(|_| self.is_on_trial()) {
                Some(candidate) => (self.followed_by(candidate.sha256.clone()), Change::TookOver),
                None => same(),
            },
            Event::Bad(reason) => match candidate.filter(|_| self.is_on_trial()) {
                Some(candidate) => {
                    (self.with(candidate.sha256.clone(), Stage::RolledBack { reason }), Change::RolledBack)
                }
                None => same(),
            },
            Event::Promote => {
                let candidate =
                    candidate.ok_or("there is no version to promote: the one in the file delivers")?;
                (self.followed_by(candidate.sha256.clone()), Change::TookOver)
            }
            Event::RollBack => (self.back()?, Change::RolledBack),
        })
    }

    fn back(&self) -> Result<Self, &'static str> {
        let reason = BY_OPERATOR.to_owned();
        match (&self.candidate, &self.before) {
            (Some(candidate), _) if candidate.stage == Stage::Trial => {
                Ok(self.with(candidate.sha256.clone(), Stage::RolledBack { reason }))
            }
            (Some(_), _) => Err("the version in the file is rolled back already"),
            (None, Some(before)) => {
                Ok(Self::of(before).with(self.steady.clone(), Stage::RolledBack { reason }))
            }
            (None, None) => Err("there is no version to go back to"),
        }
    }

    fn with(&self, sha256: String, stage: Stage) -> Self {
        Self { candidate: Some(Candidate { sha256, stage }), ..self.clone() }
    }

    fn followed_by(&self, sha256: String) -> Self {
        Self { steady: sha256, before: Some(self.steady.clone()), candidate: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `steady`, `steady<before`, `steady+candidate` (on trial), `steady-candidate` (rolled back).
    fn short(rollout: &Rollout) -> String {
        let before = rollout.before.as_ref().map(|before| format!("<{before}")).unwrap_or_default();
        let candidate = rollout.candidate.as_ref().map(|candidate| match candidate.stage {
            Stage::Trial => format!("+{}", candidate.sha256),
            Stage::RolledBack { .. } => format!("-{}", candidate.sha256),
        });
        format!("{}{before}{}", rollout.steady, candidate.unwrap_or_default())
    }

    fn found(sha256: &str, canary: bool) -> Event {
        Event::Found { sha256: sha256.to_owned(), canary }
    }

    fn rollout(steady: &str, before: Option<&str>, candidate: Option<(&str, bool)>) -> Rollout {
        let stage = |on_trial| match on_trial {
            true => Stage::Trial,
            false => Stage::RolledBack { reason: "it was bad".to_owned() },
        };
        Rollout {
            steady: steady.to_owned(),
            before: before.map(str::to_owned),
            candidate: candidate
                .map(|(sha256, on_trial)| Candidate { sha256: sha256.to_owned(), stage: stage(on_trial) }),
        }
    }

    #[test]
    fn every_event_has_its_meaning_at_every_stage() {
        let alone = || rollout("a", None, None);
        let second = || rollout("b", Some("a"), None);
        let trial = || rollout("a", Some("z"), Some(("b", true)));
        let back = || rollout("a", Some("z"), Some(("b", false)));
        let bad = || Event::Bad("2 traps".to_owned());
        let table = [
            // The file.
            (alone(), found("a", true), "a", Change::Nothing),
            (alone(), found("b", true), "a+b", Change::Trial),
            (alone(), found("b", false), "b<a", Change::Swapped),
            (trial(), found("b", true), "a<z+b", Change::Nothing),
            (trial(), found("b", false), "b<a", Change::Swapped),
            (trial(), found("c", true), "a<z+c", Change::Trial),
            (trial(), found("a", true), "a<z", Change::Nothing),
            (back(), found("b", true), "a<z-b", Change::Nothing),
            (back(), found("b", false), "a<z-b", Change::Nothing),
            (back(), found("c", true), "a<z+c", Change::Trial),
            (back(), found("c", false), "c<a", Change::Swapped),
            (back(), found("a", true), "a<z", Change::Nothing),
            // The trial.
            (trial(), Event::Good, "b<a", Change::TookOver),
            (trial(), bad(), "a<z-b", Change::RolledBack),
            // A verdict that comes late changes nothing.
            (alone(), Event::Good, "a", Change::Nothing),
            (back(), Event::Good, "a<z-b", Change::Nothing),
            (back(), bad(), "a<z-b", Change::Nothing),
            (second(), bad(), "b<a", Change::Nothing),
            // The operator.
            (trial(), Event::Promote, "b<a", Change::TookOver),
            (back(), Event::Promote, "b<a", Change::TookOver),
            (trial(), Event::RollBack, "a<z-b", Change::RolledBack),
            (second(), Event::RollBack, "a-b", Change::RolledBack),
        ];
        for (from, event, to, change) in table {
            let said = format!("{} {event:?}", short(&from));
            let (next, changed) = from.step(event).unwrap_or_else(|why| panic!("{said}: {why}"));
            assert_eq!((short(&next).as_str(), changed), (to, change), "{said}");
        }
    }

    #[test]
    fn what_an_operator_cannot_have_is_refused_with_a_reason() {
        let refused = |rollout: Rollout, event| rollout.step(event).unwrap_err();
        assert!(refused(rollout("b", Some("a"), None), Event::Promote).contains("no version to promote"));
        assert!(refused(rollout("a", None, None), Event::RollBack).contains("no version to go back to"));
        let back = rollout("a", Some("z"), Some(("b", false)));
        assert!(refused(back, Event::RollBack).contains("already"));
    }

    #[test]
    fn a_version_that_was_rolled_back_runs_only_after_another_file_or_a_word_of_the_operator() {
        let mut now = Rollout::of("a");
        for event in [found("b", true), Event::Bad("2 traps".to_owned()), found("b", true), found("b", false)]
        {
            now = now.step(event).unwrap().0;
        }
        assert_eq!((short(&now).as_str(), now.rolled_back()), ("a-b", Some("2 traps")));
        // The file is taken back, and put there once more: that is a new wish.
        for (event, short_form) in [(found("a", true), "a"), (found("b", true), "a+b")] {
            now = now.step(event).unwrap().0;
            assert_eq!(short(&now), short_form);
        }
    }
}
