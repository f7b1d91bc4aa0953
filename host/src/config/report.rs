//! Report: everything that is wrong or doubtful in a configuration file, said in one go, for people and for programs.

use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use postern_model::text;

/// One thing that is wrong or doubtful, with its place and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration file.
    pub file: PathBuf,
    /// The line, from 1; `None` when it is about the file as a whole.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// The key with its tables, `send_connectors.internet.smart_hosts`; empty when no key is to blame.
    pub key: String,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line as it stands in the file and the width to underline; absent where the line may hold a secret.
    pub(super) excerpt: Option<(String, usize)>,
}

/// Something doubtful that does not keep the host from running.
pub type Warning = Finding;

impl Finding {
    /// The longest part of a source line that is shown, in characters.
    pub const MAX_EXCERPT: usize = 160;
    /// The longest message or hint that is shown, in bytes.
    pub const MAX_TEXT: usize = 1000;

    /// A finding about the file as a whole.
    #[must_use]
    pub fn about_file(file: PathBuf, message: &str, hint: Option<&str>) -> Self {
        Self {
            file,
            line: None,
            column: None,
            key: String::new(),
            message: text::one_line(message, Self::MAX_TEXT),
            hint: hint.map(|h| text::one_line(h, Self::MAX_TEXT)),
            excerpt: None,
        }
    }

    /// The finding as an object: `file`, `line`, `column`, `key`, `message`, `hint`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "file": self.file.to_string_lossy(),
            "line": self.line,
            "column": self.column,
            "key": self.key,
            "message": self.message,
            "hint": self.hint,
        })
    }
}

impl fmt::Display for Finding {
    /// `file:line:column: key: message`, then the source line, then `hint:`; no line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", text::one_line(&self.file.to_string_lossy(), Self::MAX_TEXT))?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)?;
        if let (Some((source, width)), Some(line), Some(column)) = (&self.excerpt, self.line, self.column) {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n  {number} | {source}")?;
            write!(f, "\n  {margin} | {}{}", " ".repeat(column - 1), "^".repeat((*width).max(1)))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All findings of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What keeps the host from running, in the order of the file.
    pub faults: Vec<Finding>,
    /// What does not, in the order of the file.
    pub warnings: Vec<Finding>,
}

impl Report {
    /// Joins the two. A report without faults is how a good configuration's warnings are shown.
    #[must_use]
    pub fn new(faults: Vec<Finding>, warnings: Vec<Finding>) -> Self {
        Self { faults, warnings }
    }

    /// The report for a terminal: every fault, every warning, and how many there are. Ends with a line break
    /// unless it is empty.
    #[must_use]
    pub fn human(&self) -> String {
        let mut out = String::new();
        for fault in &self.faults {
            let _ = writeln!(out, "error: {fault}");
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {warning}");
        }
        let counts = [(self.faults.len(), "error"), (self.warnings.len(), "warning")]
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
            .collect::<Vec<_>>()
            .join(", ");
        if !counts.is_empty() {
            let _ = writeln!(out, "{counts}");
        }
        out
    }

    /// The report for programs: `{"faults": [...], "warnings": [...]}`, each as [`Finding::json`].
    #[must_use]
    pub fn json(&self) -> Value {
        let list = |findings: &[Finding]| findings.iter().map(Finding::json).collect::<Vec<_>>();
        json!({ "faults": list(&self.faults), "warnings": list(&self.warnings) })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.human().trim_end())
    }
}

impl std::error::Error for Report {}

/// The known word that `word` was probably meant to be: the same letters in another style (`MaxMessageSize`), or a few
/// slips of the finger away.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain =
        |s: &str| s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let wanted = plain(word);
    known
        .into_iter()
        .map(|candidate| (distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 4))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed or swapped with a neighbour to get from `a` to `b`
/// (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_styles_are_recognised_and_strangers_are_not() {
        let known = ["max_message_size", "smart_hosts", "listen", "helo"];
        assert_eq!(nearest("smart_host", known), Some("smart_hosts"));
        assert_eq!(nearest("MaxMessageSize", known), Some("max_message_size"));
        assert_eq!(nearest("lsiten", known), Some("listen"));
        assert_eq!(nearest("max-mesage-size", known), Some("max_message_size"));
        assert_eq!(nearest("password", known), None);
        assert_eq!(nearest("x", known), None);
    }

    #[test]
    fn a_finding_shows_its_place_its_line_and_its_hint() {
        let finding = Finding {
            file: "postern.toml".into(),
            line: Some(12),
            column: Some(3),
            key: "host.nam".into(),
            message: "this key is not known".into(),
            hint: Some("did you mean `name`?".into()),
            excerpt: Some(("  nam = 1".into(), 3)),
        };
        let expected = "postern.toml:12:3: host.nam: this key is not known\n  12 |   nam = 1\n     |   ^^^\n  hint: did you mean `name`?";
        assert_eq!(finding.to_string(), expected);
        let report = Report::new(vec![finding.clone()], vec![finding]);
        assert!(report.human().ends_with("\n1 error, 1 warning\n"));
        assert_eq!(report.json()["faults"][0]["line"], 12);
        assert_eq!(report.json()["warnings"][0]["hint"], "did you mean `name`?");
    }
}
