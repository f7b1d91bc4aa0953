//! What a test run could not do here, told by the tests themselves.
//!
//! A test that needs something beyond cargo, rustc, a C compiler and coreutils (a corpus, a mail server, a compiler target)
//! looks whether it is there. If it is not, the test does one of two things:
//!
//! - when [`ALL`] is set to `1`, it fails;
//! - otherwise it appends one line `test name <TAB> what is missing <TAB> how to add it` to the file named by [`REPORT`]
//!   (when that is set) and returns.
//!
//! So the list at the end of a run is what really was left out, not a guess, and `cargo xtask test --only-left-out` can run
//! exactly those tests later where the missing things are.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The variable that names the file for the lines about tests left out.
pub const REPORT: &str = "POSTERN_LEFT_OUT";

/// The variable that is `1` when a test must not leave anything out.
pub const ALL: &str = "POSTERN_TEST_ALL";

/// The name of the report in the target folder.
const FILE_NAME: &str = "left-out.tsv";

/// One thing that a run did not do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The test, as the test runner names it, or in words what else was left out.
    pub what: String,
    /// What was missing.
    pub missing: String,
    /// What to do to have it run.
    pub how: String,
}

impl LeftOut {
    /// A new entry.
    pub fn new(what: impl Into<String>, missing: impl Into<String>, how: impl Into<String>) -> Self {
        Self { what: what.into(), missing: missing.into(), how: how.into() }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; to add it: {}", self.what, self.missing, self.how)
    }
}

/// The report's place in the target folder.
pub fn report_file(target: &Path) -> PathBuf {
    target.join(FILE_NAME)
}

/// Empties the report before a run.
///
/// # Errors
/// When the file cannot be written.
pub fn clear(report: &Path) -> Result<(), String> {
    if let Some(folder) = report.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::write(report, "").map_err(|error| format!("{}: {error}", report.display()))
}

/// Reads what the tests of the last run wrote, sorted, each entry once.
///
/// # Errors
/// When there is no report, or a line of it is not in the form that the tests agreed on.
pub fn read(report: &Path) -> Result<Vec<LeftOut>, String> {
    let text = fs::read_to_string(report)
        .map_err(|error| format!("{}: {error}; run `cargo xtask test` first", report.display()))?;
    parse(&text).map_err(|line| format!("{}: not 'test<TAB>missing<TAB>how': {line}", report.display()))
}

/// Divides the report into entries; the error is the first line that has another form.
fn parse(text: &str) -> Result<Vec<LeftOut>, String> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [what, missing, how] = fields[..] else { return Err(line.to_owned()) };
        if fields.iter().any(|field| field.trim().is_empty()) {
            return Err(line.to_owned());
        }
        entries.push(LeftOut::new(what, missing, how));
    }
    entries.sort();
    entries.dedup();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_sorted_and_each_entry_stands_once() {
        let text =
            "b::two\tno postfix\tinstall it\na::one\tno corpus\tset X\nb::two\tno postfix\tinstall it\n";
        let expected = vec![
            LeftOut::new("a::one", "no corpus", "set X"),
            LeftOut::new("b::two", "no postfix", "install it"),
        ];
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn a_line_of_another_form_is_named_and_not_dropped() {
        assert_eq!(parse("a\tb\n"), Err("a\tb".to_owned()));
        assert_eq!(parse("a\tb\tc\td\n"), Err("a\tb\tc\td".to_owned()));
        assert_eq!(parse("a\t\tc\n"), Err("a\t\tc".to_owned()));
    }

    #[test]
    fn a_missing_report_says_what_to_run() {
        assert!(read(Path::new("/no/such/report")).unwrap_err().contains("cargo xtask test"));
    }
}
