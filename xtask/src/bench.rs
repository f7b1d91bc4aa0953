//! `cargo xtask bench`: builds the host and the benchmarks, and runs these.

use std::path::Path;

use crate::command::Step;
use crate::repository;

/// Both in one build: then what they share has the product's features and is compiled once.
const BUILD: &str = "build --release --locked --package postern --package postern-bench";

/// Runs the benchmarks of the checkout at `root`; `words` are theirs.
///
/// # Errors
/// When something does not build, or the benchmarks fail (they do when mail was lost, not when a goal was missed).
pub fn run(root: &Path, words: &[String]) -> Result<(), String> {
    Step::cargo("build", BUILD, root).run()?;
    let program = repository::target_folder(root).join("release/postern-bench");
    Step::new("benchmarks", program, root).args(words.iter().cloned()).run()
}
