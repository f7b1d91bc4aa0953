//! The command line: `postern VERB --json --config FILE`, and what it answers.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a call of the program came to.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Answer {
    /// The answer as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Everything that it said.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// The program that the tests run: `postern` from the release folder that this test was built into.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program() -> PathBuf {
    let here = std::env::current_exe().expect("a running test knows its own file");
    let beside = here.ancestors().skip(1).take(2).map(|folder| folder.join("postern"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let candidates: Vec<PathBuf> = beside.chain([target.join("release/postern")]).collect();
    let found = candidates.iter().find(|path| path.is_file());
    found
        .cloned()
        .unwrap_or_else(|| panic!("no program at {candidates:?}: run `cargo build --release` first"))
}

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    let tests = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    tests.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Runs the program with these words and no config of its own.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn run(words: &[&str]) -> Answer {
    let output = Command::new(program()).args(words).env_remove("POSTERN_CONFIG").output();
    let output = output.expect("the program is there and can be started");
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
