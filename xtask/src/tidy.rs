//! `cargo xtask tidy`: the project's rules that the compiler and clippy do not know.
//!
//! Each rule is a pure function from the files of a [`Tree`] to its findings; only loading the tree and asking cargo about
//! features touch the outside. A rule's table of names and limits stands at the top of its file.

mod contract;
mod crates;
mod documented;
mod links;
mod one_build;
mod rust_code;
mod rust_source;
mod specs;
mod tree;
mod words;

use std::fmt;
use std::path::Path;

use tree::Tree;

use crate::reference;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// Why it matters, or what to do.
    pub advice: String,
}

impl Finding {
    /// A new finding.
    pub fn new(file: &str, line: usize, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.what, self.advice)
    }
}

/// What a rule says about a tree.
#[derive(Debug, Default)]
pub struct Findings {
    /// Broken rules.
    pub faults: Vec<Finding>,
    /// Things to look at that fail nothing.
    pub notes: Vec<Finding>,
}

/// Checks the checkout at `root` and prints every finding.
///
/// # Errors
/// When a rule is broken, or the tree cannot be read.
pub fn run(root: &Path) -> Result<(), String> {
    let tree = Tree::load(root)?;
    let mut findings = check(&tree);
    findings.faults.extend(one_build::check(root)?);
    if tree.text(reference::REFERENCE) != Some(&reference::text(root)?) {
        let advice = "run `cargo xtask docs` and commit the result";
        findings.faults.push(Finding::new(reference::REFERENCE, 1, "not what the contract says", advice));
    }
    findings.faults.sort();
    findings.notes.sort();
    for note in &findings.notes {
        println!("note: {note}");
    }
    for fault in &findings.faults {
        println!("{fault}");
    }
    match findings.faults.len() {
        0 => {
            println!("tidy: passed: {} files, {} notes", tree.len(), findings.notes.len());
            Ok(())
        }
        count => Err(format!("tidy: {count} rules are broken, as listed above")),
    }
}

/// Everything that can be said from the files alone.
fn check(tree: &Tree) -> Findings {
    let mut findings = rust_code::check(tree);
    for rule in [crates::check, documented::check, links::check, words::check, contract::check, specs::check]
    {
        findings.faults.extend(rule(tree));
    }
    findings
}
