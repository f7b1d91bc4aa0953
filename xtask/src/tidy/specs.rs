//! The specs: each sentence in `docs/specs` has an id and tests that hold it, and the conformance suites say the same.
//!
//! A sentence is an item of a list: `- AGT-07 An agent MUST ... (conformance::one_outcome_per_recipient)`. In brackets stand
//! tests by their name, behind the name of the file or of a folder that they are in.

use std::collections::BTreeMap;

use super::Finding;
use super::rust_code::is_test_path;
use super::rust_source::RustSource;
use super::tree::Tree;

/// Where the specs are.
const SPECS: &str = "docs/specs/";

/// The suites: how their ids begin, and the file that lists their rules. Each rule is an id, on the same line the path of
/// the function that checks it, and the sentence.
const SUITES: [(&str, &str); 2] =
    [("AGT-", "host/agent/src/conformance.rs"), ("CON-", "host/src/connector/conformance.rs")];

/// One sentence of a spec, or one rule of a suite.
#[derive(Debug)]
struct Sentence {
    file: String,
    line: usize,
    id: String,
    text: String,
    /// `module::function`.
    tests: Vec<String>,
}

impl Sentence {
    fn finding(&self, what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding::new(&self.file, self.line, what, advice)
    }
}

/// Compares specs, tests and suites.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let specs: Vec<Sentence> = tree
        .texts_of_kind("md")
        .filter(|(path, _)| path.starts_with(SPECS))
        .flat_map(|(path, text)| sentences(path, text))
        .collect();
    let mut findings = check_ids(&specs);
    findings.extend(check_tests(tree, &specs));
    for (prefix, file) in SUITES {
        findings.extend(check_suite(tree, &specs, prefix, file));
    }
    findings
}

/// An id is never given twice.
fn check_ids(specs: &[Sentence]) -> Vec<Finding> {
    let mut seen: BTreeMap<&str, &Sentence> = BTreeMap::new();
    let mut findings = Vec::new();
    for sentence in specs {
        if let Some(first) = seen.insert(&sentence.id, sentence) {
            let advice = format!("it stands in {}:{} already; take a new number", first.file, first.line);
            findings.push(sentence.finding(format!("{} is given twice", sentence.id), advice));
        }
    }
    findings
}

/// Every sentence names a test, and every test that it names exists.
fn check_tests(tree: &Tree, specs: &[Sentence]) -> Vec<Finding> {
    if specs.is_empty() {
        return Vec::new();
    }
    let tests = tests(tree);
    let mut findings = Vec::new();
    for sentence in specs {
        if sentence.tests.is_empty() {
            let advice = "write the tests that hold it behind it, as (module::function, module::function)";
            findings.push(sentence.finding(format!("{} names no test", sentence.id), advice));
        }
        for test in &sentence.tests {
            let known = test.rsplit_once("::").is_some_and(|(module, function)| {
                let places = tests.get(function).into_iter().flatten();
                places.into_iter().any(|path| is_in(path, module))
            });
            if !known {
                let advice = "name it as it is called now, or write it";
                findings.push(sentence.finding(format!("{}: there is no test {test}", sentence.id), advice));
            }
        }
    }
    findings
}

/// The files that each test is in, by its name. A check of a suite counts as a test.
fn tests(tree: &Tree) -> BTreeMap<String, Vec<&str>> {
    let mut tests: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, text) in tree.texts_of_kind("rs") {
        let Ok(source) = RustSource::parse(text) else { continue };
        let is_suite = SUITES.iter().any(|(_, file)| path.starts_with(file.trim_end_matches(".rs")));
        for function in &source.functions {
            if is_suite || is_test_path(path) || source.is_test_line(function.line) {
                tests.entry(function.name.clone()).or_default().push(path);
            }
        }
    }
    tests
}

/// Whether a file is called so, or lies in a folder that is.
fn is_in(path: &str, module: &str) -> bool {
    path.trim_end_matches(".rs").split('/').any(|part| part == module)
}

/// A suite and its spec have the same ids, sentences and checks.
fn check_suite(tree: &Tree, specs: &[Sentence], prefix: &str, file: &str) -> Vec<Finding> {
    let rules = rules(tree, prefix, file);
    let mut findings = Vec::new();
    if rules.is_empty() && tree.exists(file) {
        let advice =
            "the rule that specs and suites agree looks for them there; mend xtask/src/tidy/specs.rs";
        findings.push(Finding::new(file, 1, format!("no rule is called {prefix}..."), advice));
    }
    for rule in &rules {
        match specs.iter().find(|sentence| sentence.id == rule.id) {
            None => {
                let advice = format!("write it in {SPECS}");
                findings.push(rule.finding(format!("{} is in no spec", rule.id), advice));
            }
            Some(sentence) if sentence.text != rule.text => {
                let advice = format!("{}:{} says: {}", sentence.file, sentence.line, sentence.text);
                findings.push(rule.finding(format!("{} differs from its spec", rule.id), advice));
            }
            Some(sentence) if !rule.tests.iter().all(|test| sentence.tests.contains(test)) => {
                let advice =
                    format!("{}:{} names {}", sentence.file, sentence.line, sentence.tests.join(", "));
                let what = format!("{} is checked by {}", rule.id, rule.tests.join(", "));
                findings.push(rule.finding(what, advice));
            }
            Some(_) => {}
        }
    }
    for sentence in specs.iter().filter(|sentence| sentence.id.starts_with(prefix)) {
        if !rules.iter().any(|rule| rule.id == sentence.id) {
            let advice = format!("add the rule to {file}, or take the sentence out");
            findings.push(sentence.finding(format!("{} is in no suite", sentence.id), advice));
        }
    }
    findings
}

/// The rules that a suite lists.
fn rules(tree: &Tree, prefix: &str, file: &str) -> Vec<Sentence> {
    let text = tree.text(file).unwrap_or_default();
    let Ok(source) = RustSource::parse(text) else { return Vec::new() };
    let strings = source.strings();
    let pairs = strings.iter().zip(strings.iter().skip(1));
    let rules = pairs.filter(|((_, id), _)| id.starts_with(prefix) && is_id(id));
    rules
        .map(|((line, id), (_, sentence))| {
            let code = text.lines().nth(line - 1).unwrap_or_default();
            let function =
                code.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
            Sentence {
                file: file.to_owned(),
                line: *line,
                id: id.clone(),
                text: sentence.clone(),
                tests: vec![format!("conformance::{function}")],
            }
        })
        .collect()
}

/// The sentences of a document: items of its lists that begin with an id, with the lines that go on from there.
fn sentences(path: &str, text: &str) -> Vec<Sentence> {
    let mut found: Vec<Sentence> = Vec::new();
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(item) = line.strip_prefix("- ") {
            let (id, rest) = item.split_once(' ').unwrap_or((item, ""));
            is_open = is_id(id);
            if is_open {
                let (file, id, text) = (path.to_owned(), id.to_owned(), rest.to_owned());
                found.push(Sentence { file, line: index + 1, id, text, tests: Vec::new() });
            }
        } else if let (true, Some(sentence)) = (line.starts_with("  ") && is_open, found.last_mut()) {
            sentence.text = format!("{} {}", sentence.text, line.trim());
        } else {
            is_open = false;
        }
    }
    found.iter_mut().for_each(take_tests);
    found
}

/// Takes the tests in brackets off the end of a sentence.
fn take_tests(sentence: &mut Sentence) {
    let Some((text, tests)) = sentence.text.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) else {
        return;
    };
    if tests.contains("::") {
        sentence.tests = tests.split(',').map(|test| test.trim().to_owned()).collect();
        sentence.text = text.to_owned();
    }
}

/// Three capitals, a dash and two digits or more.
fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(area, number)| {
        area.len() == 3
            && area.bytes().all(|b| b.is_ascii_uppercase())
            && number.len() >= 2
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUITE: &str = "//! x\nrules! {\n    \"AGT-01\" calls::it_returns\n        \"It MUST return.\"\n}\n";
    const CHECKS: &str = "//! x\npub fn it_returns() {}\n";
    const TESTS: &str = "//! x\n#[test]\nfn it_holds() {}\nfn helper() {}\n";
    const SPEC: &str = "# Spec\n\n- AGT-01 It MUST return. (conformance::it_returns)\n- HST-01 What is said\n  \
        MUST stand. (hostile::it_holds,\n  tests::it_holds)\n\n- just an item\n  of a list\n";

    fn findings(spec: &str, suite: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/specs/agent.md", spec),
            ("host/agent/src/conformance.rs", suite),
            ("host/agent/src/conformance/calls.rs", CHECKS),
            ("host/agent/tests/hostile.rs", TESTS),
            (
                "host/src/settle.rs",
                "//! x\nfn it_holds() {}\n#[cfg(test)]\nmod tests {\n    fn inside() {}\n}\n",
            ),
        ]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn specs_and_suites_that_agree_are_silent() {
        assert_eq!(findings(SPEC, SUITE), Vec::<String>::new());
        assert_eq!(check(&Tree::of(&[("docs/a.md", SPEC)])), Vec::new(), "that is no spec");
    }

    #[test]
    fn a_sentence_without_its_test_is_found() {
        let found = findings(&SPEC.replace("(hostile::it_holds,", "(hostile::it_held,"), SUITE);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("docs/specs/agent.md:4: HST-01: there is no test hostile::it_held"));
        let found = findings(&SPEC.replace("hostile::it_holds", "hostile::helper"), SUITE);
        assert!(found.is_empty(), "whatever is in a folder of tests is one: {found:?}");
        let found = findings(&SPEC.replace("hostile::it_holds", "settle::it_holds"), SUITE);
        assert!(found[0].contains("there is no test settle::it_holds"), "a function is no test: {found:?}");
        assert_eq!(
            findings(&SPEC.replace("hostile::it_holds", "settle::inside"), SUITE),
            Vec::<String>::new()
        );
        let found =
            findings("- AGT-01 It MUST return. (conformance::it_returns)\n- HST-02 Nothing.\n", SUITE);
        assert!(found[0].starts_with("docs/specs/agent.md:2: HST-02 names no test"), "{found:?}");
    }

    #[test]
    fn a_rule_that_is_on_one_side_only_is_found() {
        let found = findings(SPEC, &SUITE.replace("AGT-01", "AGT-02"));
        assert!(found[0].starts_with("host/agent/src/conformance.rs:3: AGT-02 is in no spec"), "{found:?}");
        assert!(found[1].starts_with("docs/specs/agent.md:3: AGT-01 is in no suite"), "{found:?}");
        let found = findings(SPEC, "//! x\n");
        assert!(found[0].contains("no rule is called AGT-"), "{found:?}");
    }

    #[test]
    fn sentences_and_checks_that_differ_are_found() {
        let found = findings(SPEC, &SUITE.replace("MUST return", "SHOULD return"));
        assert!(
            found[0].contains("AGT-01 differs from its spec: docs/specs/agent.md:3 says: It MUST return.")
        );
        let found = findings(SPEC, &SUITE.replace("calls::it_returns", "calls::it_leaves"));
        assert!(found[0].contains("AGT-01 is checked by conformance::it_leaves"), "{found:?}");
    }

    #[test]
    fn an_id_is_given_once() {
        let found = findings(&format!("{SPEC}- AGT-01 It MUST return. (conformance::it_returns)\n"), SUITE);
        assert!(found[0].starts_with("docs/specs/agent.md:10: AGT-01 is given twice"), "{found:?}");
    }
}
