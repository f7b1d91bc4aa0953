//! Explanation: a resolution in words, for `postern explain` and the API.

use std::fmt;

use serde::Serialize;

use super::{Candidate, Resolution, Verdict};

/// How an address was routed, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The address that was asked for, with its type.
    pub given: String,
    /// The address after rewriting, with its type.
    pub address: String,
    /// What rewriting did, a sentence for each step.
    pub steps: Vec<String>,
    /// What rewriting captured.
    pub properties: Vec<(String, String)>,
    /// Every address space that matches, the best first.
    pub candidates: Vec<CandidateExplanation>,
    /// The connector that was chosen.
    pub connector: Option<String>,
    /// The destination behind it.
    pub destination: Option<String>,
    /// Why it goes nowhere.
    pub no_route: Option<String>,
    /// Whether a change of the config is likely to mend it; a DSN for such a recipient waits.
    pub held: bool,
}

/// One address space that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CandidateExplanation {
    /// The connector's name.
    pub connector: String,
    /// The address space as it is written in the config.
    pub space: String,
    /// Its cost.
    pub cost: u8,
    /// `chosen`, `lost` or `excluded`.
    pub verdict: &'static str,
    /// Why.
    pub reason: String,
}

impl Resolution<'_> {
    /// The resolution in words.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let next_hop = self.choice.as_ref().ok();
        let no_route = self.choice.as_ref().err();
        Explanation {
            given: self.given.to_string(),
            address: self.address.to_string(),
            steps: self.steps.iter().map(ToString::to_string).collect(),
            properties: self.properties.clone(),
            candidates: self.candidates.iter().map(CandidateExplanation::of).collect(),
            connector: next_hop.map(|n| n.connector.to_string()),
            destination: next_hop.map(|n| n.destination.to_string()),
            no_route: no_route.map(ToString::to_string),
            held: no_route.is_some_and(super::NoRoute::is_worth_waiting),
        }
    }
}

impl CandidateExplanation {
    fn of(candidate: &Candidate<'_>) -> Self {
        Self {
            connector: candidate.connector.name.to_string(),
            space: candidate.space.to_string(),
            cost: candidate.cost,
            verdict: match candidate.verdict {
                Verdict::Chosen => "chosen",
                Verdict::Lost(_) => "lost",
                Verdict::Excluded(_) => "excluded",
            },
            reason: candidate.verdict.to_string(),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.given)?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        for (name, value) in &self.properties {
            writeln!(f, "  {name} = {value}")?;
        }
        for c in &self.candidates {
            let mark = if c.verdict == "chosen" { '*' } else { '-' };
            writeln!(f, "  {mark} {} by {}: {}", c.connector, c.space, c.reason)?;
        }
        match (&self.connector, &self.destination, &self.no_route) {
            (Some(connector), Some(destination), _) => {
                write!(f, "{} goes to {connector}, queue {destination}", self.address)
            }
            (_, _, Some(reason)) if self.held => write!(f, "{reason}; not accepted until that changes"),
            (_, _, Some(reason)) => write!(f, "{reason}; not accepted"),
            _ => Ok(()),
        }
    }
}
