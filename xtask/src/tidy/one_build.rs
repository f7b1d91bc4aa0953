//! wasmtime and `SQLite` are compiled once: the tests build what is below them in the same form as the product does.
//!
//! Cargo joins the features of a crate over all packages of one build. If another package of the workspace adds a feature to
//! something below wasmtime, then `cargo run` and the tests compile wasmtime differently, that is twice, which costs minutes
//! on every machine. The remedy is to name the feature in the product as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Finding;
use crate::command::Step;

/// The package whose build is the measure.
const PRODUCT: &str = "postern";

/// What must not be compiled twice, with all that is below it.
const EXPENSIVE: &str = "--package postern-agent --package postern-store";

/// The forms in which each package is built: its features, once for each form.
type Forms = BTreeMap<String, BTreeSet<String>>;

/// Asks cargo for the features in the product's build and in that of the tests, and compares.
///
/// # Errors
/// When cargo cannot say.
pub fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let tree = |line: &str| {
        let step = Step::cargo("features", "tree --locked --prefix none --format {p}|{f}", root);
        step.args(line.split_whitespace()).output().map(|text| forms(&text))
    };
    let below = tree(&format!("--edges normal,build {EXPENSIVE}"))?;
    let product = tree(&format!("--edges normal,build --package {PRODUCT}"))?;
    let tests = tree("--edges normal,build,dev --workspace")?;
    Ok(compare(&below, &product, &tests))
}

/// Reads lines such as `bytes v1.12.1|default,std (*)`.
fn forms(tree: &str) -> Forms {
    let mut found = Forms::new();
    for (package, features) in tree.lines().filter_map(|line| line.split_once('|')) {
        let features = features.split_whitespace().next().filter(|word| !word.starts_with('('));
        found.entry(package.to_owned()).or_default().insert(features.unwrap_or_default().to_owned());
    }
    found
}

/// A finding for each package in `below` that the product builds in a form of which the tests have no use. A form that only
/// the tests build is harmless: it stands beside the product's.
fn compare(below: &Forms, product: &Forms, tests: &Forms) -> Vec<Finding> {
    let advice =
        "what is above it is compiled twice; name the features that the tests add in host/Cargo.toml too";
    let mut findings = Vec::new();
    for package in below.keys() {
        let others = tests.get(package).cloned().unwrap_or_default();
        for form in product.get(package).into_iter().flatten().filter(|form| !others.contains(*form)) {
            let others = others.iter().map(|form| format!("[{form}]")).collect::<Vec<_>>().join(" ");
            let what =
                format!("{package} has the features [{form}] in the product and {others} in the tests");
            findings.push(Finding::new("Cargo.toml", 1, what, advice));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT_TREE: &str =
        "postern v0.1.0 (/x/host)|\nwasmparser v0.254.2|std,validate\nbytes v1.12.1|\n";

    fn findings(tests: &str) -> Vec<String> {
        let below = forms("wasmparser v0.254.2|std\n");
        compare(&below, &forms(PRODUCT_TREE), &forms(tests)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_same_features_are_silent() {
        assert_eq!(findings(PRODUCT_TREE), Vec::<String>::new());
    }

    #[test]
    fn a_feature_that_another_package_adds_is_found() {
        let found = findings("wasmparser v0.254.2|hash-collections,std,validate (*)\nbytes v1.12.1| (*)\n");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("[std,validate] in the product and [hash-collections,std,validate]"),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_not_below_wasmtime_may_differ() {
        assert_eq!(
            findings("wasmparser v0.254.2|std,validate (*)\nbytes v1.12.1|serde\n"),
            Vec::<String>::new()
        );
    }
}
