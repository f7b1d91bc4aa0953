//! `cargo xtask ci`: everything that must hold before a change lands.
//!
//! The order is chosen so that nothing is compiled or tested twice:
//!
//! 1. What needs no compiler comes first: formatting, tidy, licences.
//! 2. The main run of all tests is README's own command in a fresh clone, with a `PATH` that holds only what README promises to
//!    be enough. It compiles into the shared target folder, so that the dependencies built there serve everything after it,
//!    and the tests that need more write down that they were left out.
//! 3. Clippy shares the dependencies' build scripts and macros with it, because it uses the same profile.
//! 4. In the same clone, now with the full `PATH` and `--all`, only those tests run that step 2 left out, and the agents are
//!    rebuilt. Together with step 2 that is one whole run of `test --all`.
//!
//! A shared target folder is sound only while the clone and this checkout hold the same files, since cargo goes by relative
//! paths and times. So a checkout with changes that are not committed is refused.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::command::Step;
use crate::fresh_clone::FreshClone;
use crate::{repository, tidy};

/// The last version of cargo-deny known to build with this project's compiler.
const CARGO_DENY_VERSION: &str = "0.20.0";

/// Runs everything on the checkout at `root` and prints how long each stage took.
///
/// # Errors
/// At the first stage that fails.
pub fn run(root: &Path) -> Result<(), String> {
    let mut stages = Stages::default();
    stages.run("everything is committed", || committed(root))?;
    stages.run("formatting", || formatting(root))?;
    stages.run("tidy", || tidy::run(root))?;
    stages.run("licences, bans, sources", || deny(root))?;
    let target = repository::target_folder(root);
    let clone = stages.run("fresh clone", || FreshClone::of(root))?;
    stages.run("README: demo", || clone.cargo("demo", "run --release -- demo", &target).run())?;
    stages.run("README: test", || clone.cargo("test", "xtask test", &target).run())?;
    stages.run("clippy", || clippy(root))?;
    stages.run("tests left out so far, agents", || {
        Step::cargo("test --all", "xtask test --all --only-left-out", &clone.checkout())
            .env("CARGO_TARGET_DIR", &target)
            .run()
    })?;
    stages.print();
    Ok(())
}

/// Refuses a checkout that differs from its commit.
fn committed(root: &Path) -> Result<(), String> {
    let changed = Step::new("git status", "git", root)
        .args(["status", "--porcelain", "--untracked-files=no"])
        .output()?;
    if changed.is_empty() {
        return Ok(());
    }
    Err(format!("ci looks at what is committed, and this is not (commit it first):\n{changed}"))
}

fn formatting(root: &Path) -> Result<(), String> {
    Step::cargo("formatting", "fmt --all --check", root).run()?;
    Step::cargo("formatting of plugins", "fmt --all --check --manifest-path plugins/Cargo.toml", root).run()
}

fn deny(root: &Path) -> Result<(), String> {
    if !repository::has_program("cargo-deny") {
        return Err(format!(
            "cargo-deny is not installed: cargo install --locked cargo-deny --version {CARGO_DENY_VERSION}"
        ));
    }
    Step::cargo("dependencies", "deny --locked check bans licenses sources", root).run()?;
    let line =
        "deny --locked --manifest-path plugins/Cargo.toml --config deny.toml check bans licenses sources";
    Step::cargo("dependencies of plugins", line, root).run()
}

fn clippy(root: &Path) -> Result<(), String> {
    Step::cargo("clippy", "clippy --workspace --all-targets --release --locked -- -D warnings", root)
        .run()?;
    let target = repository::target_folder(root).join("plugins");
    Step::cargo("clippy of plugins", "clippy --workspace --all-targets --locked", root)
        .args(["--manifest-path", "plugins/Cargo.toml", "--target-dir"])
        .args([target])
        .args(["--", "-D", "warnings"])
        .run()
}

/// How long each stage took.
#[derive(Default)]
struct Stages(Vec<(&'static str, Duration)>);

impl Stages {
    /// Runs one stage; a failure names it and prints the times of the stages before it.
    fn run<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        println!("\n### {name}");
        let start = Instant::now();
        let result = stage();
        self.0.push((name, start.elapsed()));
        result.map_err(|fault| {
            self.print();
            format!("ci: stage '{name}' failed: {fault}")
        })
    }

    fn print(&self) {
        println!("\n### times");
        for (name, time) in &self.0 {
            println!("{:>7.1} s  {name}", time.as_secs_f64());
        }
        println!("{:>7.1} s  in all", self.0.iter().map(|(_, time)| time.as_secs_f64()).sum::<f64>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_stage_is_named() {
        let mut stages = Stages::default();
        assert_eq!(stages.run("first", || Ok(7)), Ok(7));
        let fault = stages.run("second", || Err::<(), _>("broken".to_owned())).unwrap_err();
        assert_eq!(fault, "ci: stage 'second' failed: broken");
        assert_eq!(stages.0.len(), 2);
    }
}
