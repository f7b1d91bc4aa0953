//! Row: one thing that was measured, beside its limit or peer and its goals.

use serde_json::{Value, json};

/// A line of the result.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// What it is compared with; empty when it stands alone.
    pub beside: String,
    /// The numbers, the most important first.
    pub measures: Vec<Measure>,
    /// What is wanted.
    pub goals: Vec<Goal>,
}

/// A number with its name and unit.
#[derive(Clone, Debug)]
pub struct Measure {
    /// What it is of; unique in its row. Ratios come without a unit.
    pub name: &'static str,
    /// The median of the rounds.
    pub value: f64,
    /// Its unit, or nothing.
    pub unit: &'static str,
}

/// A bound that a number should keep.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The name of the measure.
    pub of: &'static str,
    /// On which side of the bound it should be.
    pub bound: Bound,
}

/// A side of a number.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Row {
    /// A row without numbers yet.
    pub fn new(what: impl Into<String>, beside: impl Into<String>) -> Self {
        Self { what: what.into(), beside: beside.into(), measures: Vec::new(), goals: Vec::new() }
    }

    /// Adds a number.
    pub fn with(mut self, name: &'static str, value: f64, unit: &'static str) -> Self {
        self.measures.push(Measure { name, value, unit });
        self
    }

    /// Adds a goal.
    pub fn goal(mut self, of: &'static str, bound: Bound) -> Self {
        self.goals.push(Goal { of, bound });
        self
    }

    /// Whether a goal is kept; `None` when its number was not measured.
    pub fn keeps(&self, goal: &Goal) -> Option<bool> {
        let measure = self.measures.iter().find(|measure| measure.name == goal.of)?;
        Some(match goal.bound {
            Bound::AtLeast(value) => measure.value >= value,
            Bound::AtMost(value) => measure.value <= value,
        })
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let measures: Vec<Value> = self
            .measures
            .iter()
            .map(|measure| json!({ "name": measure.name, "value": measure.value, "unit": measure.unit }))
            .collect();
        let goals: Vec<Value> = self
            .goals
            .iter()
            .map(|goal| {
                let (side, value) = match goal.bound {
                    Bound::AtLeast(value) => ("at_least", value),
                    Bound::AtMost(value) => ("at_most", value),
                };
                json!({ "of": goal.of, side: value, "kept": self.keeps(goal) })
            })
            .collect();
        json!({ "what": self.what, "beside": self.beside, "measures": measures, "goals": goals })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Row};

    #[test]
    fn a_goal_is_kept_missed_or_not_known() {
        let row = Row::new("x", "y")
            .with("ratio", 0.5, "")
            .goal("ratio", Bound::AtLeast(0.4))
            .goal("ratio", Bound::AtMost(0.4))
            .goal("other", Bound::AtMost(1.0));
        let kept: Vec<_> = row.goals.iter().map(|goal| row.keeps(goal)).collect();
        assert_eq!(kept, [Some(true), Some(false), None]);
        assert_eq!(
            row.to_json()["goals"][1],
            serde_json::json!({ "of": "ratio", "at_most": 0.4, "kept": false })
        );
    }
}
