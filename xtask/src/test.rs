//! `cargo xtask test`: build Postern and run every test, then say what was left out.

use std::path::Path;
use std::time::Instant;

use crate::agents::{self, AgentsArguments, Fault};
use crate::command::Step;
use crate::left_out::{self, LeftOut};
use crate::repository;

/// Where the mail corpus is, for the tests that read real messages.
const MAIL_CORPUS: &str = "POSTERN_MAIL_CORPUS";

/// Builds the product as `cargo run` does.
const BUILD: &str = "build --release --locked";

/// What the command line asked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Anything left out is a failure.
    pub all: bool,
    /// Run only what the last run left out.
    pub only_left_out: bool,
}

impl Options {
    /// Reads the words after `test`.
    ///
    /// # Errors
    /// When a word is not an option.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for word in words {
            match word.as_str() {
                "--all" => options.all = true,
                "--only-left-out" => options.only_left_out = true,
                other => return Err(format!("test: there is no option '{other}'; see cargo xtask --help")),
            }
        }
        Ok(options)
    }
}

/// Runs the tests of the checkout at `root`.
///
/// Every part runs even when an earlier one failed, so that one run shows all there is to mend.
///
/// # Errors
/// When anything failed, or was left out and `all` is set.
pub fn run(root: &Path, options: Options) -> Result<(), String> {
    let start = Instant::now();
    let report = left_out::report_file(&repository::target_folder(root));
    let earlier = if options.only_left_out { left_out::read(&report)? } else { Vec::new() };
    left_out::clear(&report)?;

    let steps = if options.only_left_out {
        repeat_steps(root, &earlier)?
    } else {
        all_steps(root, repository::has_program("cargo-nextest"))
    };
    let mut outcome = Outcome::default();
    for step in steps {
        let all = if options.all { "1" } else { "0" };
        outcome.add(step.env(left_out::REPORT, &report).env(left_out::ALL, all).run());
    }
    let mut left_out = left_out_of_course(options);
    if options.all {
        let rebuilt = rebuild_agents(root);
        left_out.extend(rebuilt.iter().flatten().cloned());
        outcome.add(rebuilt.map(drop));
    }
    left_out.extend(left_out::read(&report)?);
    outcome.finish(options.all, &left_out, start.elapsed().as_secs())
}

/// The whole run. The binary is built first: the end-to-end tests start it as a user would, from the target folder.
fn all_steps(root: &Path, nextest: bool) -> Vec<Step> {
    let mut steps = vec![Step::cargo("build", BUILD, root)];
    if nextest {
        let line = "nextest run --release --locked --workspace --no-fail-fast";
        steps.push(Step::cargo("tests", line, root));
        // nextest runs no examples out of documentation.
        let line = "test --release --locked --workspace --doc";
        steps.push(Step::cargo("examples in the documentation", line, root));
    } else {
        let line = "test --release --locked --workspace --no-fail-fast";
        steps.push(Step::cargo("tests", line, root));
    }
    steps.push(plugin_tests(root));
    steps
}

/// The tests inside the agents and their SDK, compiled for this machine. They are a workspace of their own, with its own
/// lock file, so they get a target folder of their own too.
fn plugin_tests(root: &Path) -> Step {
    let target = repository::target_folder(root).join("plugins");
    Step::cargo(
        "plugins' unit tests",
        "test --locked --no-fail-fast --manifest-path plugins/Cargo.toml",
        root,
    )
    .args(["--workspace", "--target-dir"])
    .args([target])
}

/// Only the tests that the last run left out, each by its name.
fn repeat_steps(root: &Path, earlier: &[LeftOut]) -> Result<Vec<Step>, String> {
    if earlier.is_empty() {
        return Ok(Vec::new());
    }
    if !repository::has_program("cargo-nextest") {
        return Err("--only-left-out picks tests by name, which needs cargo-nextest".to_owned());
    }
    let line = "nextest run --release --locked --workspace --no-fail-fast -E";
    Ok(vec![
        Step::cargo("build", BUILD, root),
        Step::cargo("tests left out before", line, root).args([name_filter(earlier)]),
    ])
}

/// The nextest expression that matches exactly these tests.
fn name_filter(tests: &[LeftOut]) -> String {
    tests.iter().map(|test| format!("test(={})", test.what)).collect::<Vec<_>>().join(" + ")
}

/// Builds the agents from their sources again and compares them with the kept `.wasm` files. Without a compiler for them it is
/// one more thing left out.
fn rebuild_agents(root: &Path) -> Result<Option<LeftOut>, String> {
    println!("==> agents: cargo xtask agents build --check");
    match agents::run(root, AgentsArguments { check: true, force: false }) {
        Ok(done) => {
            println!("<== agents: {done}");
            Ok(None)
        }
        Err(Fault::NoToolchain(how)) => {
            Ok(Some(LeftOut::new("rebuilding the agents", "no compiler for WebAssembly", how)))
        }
        Err(fault) => Err(format!("agents: {fault}")),
    }
}

/// What this run leaves out whatever the tests say.
fn left_out_of_course(options: Options) -> Vec<LeftOut> {
    let mut list = Vec::new();
    if !options.all {
        list.push(LeftOut::new(
            "rebuilding the agents",
            "the kept .wasm files were used as they are",
            "cargo xtask test --all (needs the target wasm32-unknown-unknown: rustup target add wasm32-unknown-unknown)",
        ));
    }
    if !repository::has_program("cargo-nextest") {
        list.push(LeftOut::new(
            "one process per test",
            "cargo-nextest is not installed, so cargo test ran the same tests, those of one binary in one process",
            "cargo install --locked cargo-nextest",
        ));
    }
    if std::env::var_os(MAIL_CORPUS).is_none() {
        list.push(LeftOut::new(
            "tests on real messages",
            format!("{MAIL_CORPUS} is not set"),
            format!("set {MAIL_CORPUS} to a folder of .eml files"),
        ));
    }
    list
}

/// How the parts of a run ended.
#[derive(Debug, Default)]
struct Outcome {
    passed: usize,
    faults: Vec<String>,
}

impl Outcome {
    fn add(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(fault) => {
                println!("<== {fault}");
                self.faults.push(fault);
            }
        }
    }

    /// Prints what was left out and the summary, and turns both into the verb's result.
    fn finish(&self, all: bool, left_out: &[LeftOut], seconds: u64) -> Result<(), String> {
        println!();
        if left_out.is_empty() {
            println!("Nothing was left out.");
        } else {
            println!("Left out:");
            for entry in left_out {
                println!("- {entry}");
            }
        }
        for fault in &self.faults {
            println!("FAILED: {fault}");
        }
        let summary = format!(
            "{} parts passed, {} failed, {} things left out, {seconds} s",
            self.passed,
            self.faults.len(),
            left_out.len()
        );
        if !self.faults.is_empty() {
            return Err(format!("test: FAILED: {summary}"));
        }
        if all && !left_out.is_empty() {
            return Err(format!("test: FAILED because --all leaves nothing out: {summary}"));
        }
        println!("test: passed: {summary}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(results: [Result<(), String>; 2]) -> Outcome {
        let mut outcome = Outcome::default();
        for result in results {
            outcome.add(result);
        }
        outcome
    }

    #[test]
    fn one_failed_part_fails_the_run() {
        let failed = outcome([Ok(()), Err("tests failed".to_owned())]).finish(false, &[], 1);
        assert!(failed.unwrap_err().contains("1 parts passed, 1 failed"));
    }

    #[test]
    fn what_is_left_out_fails_a_run_with_all_and_no_other() {
        let left_out = [LeftOut::new("a", "b", "c")];
        assert_eq!(outcome([Ok(()), Ok(())]).finish(false, &left_out, 1), Ok(()));
        let fault = outcome([Ok(()), Ok(())]).finish(true, &left_out, 1).unwrap_err();
        assert!(fault.contains("--all") && fault.contains("1 things left out"), "{fault}");
        assert_eq!(outcome([Ok(()), Ok(())]).finish(true, &[], 1), Ok(()));
    }

    #[test]
    fn a_run_without_all_says_that_the_agents_were_not_rebuilt() {
        let told = |all| {
            let options = Options { all, only_left_out: false };
            left_out_of_course(options).iter().any(|entry| entry.what == "rebuilding the agents")
        };
        assert!(told(false));
        assert!(!told(true));
    }

    #[test]
    fn the_filter_names_each_test_exactly() {
        let tests = [LeftOut::new("a::one", "x", "y"), LeftOut::new("two", "x", "y")];
        assert_eq!(name_filter(&tests), "test(=a::one) + test(=two)");
    }
}
