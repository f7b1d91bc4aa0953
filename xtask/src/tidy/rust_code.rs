//! The rules for Rust files: sizes, module documentation, `unwrap`, `unsafe`, and tests that may be left out.

use std::collections::{BTreeMap, BTreeSet};

use super::rust_source::RustSource;
use super::tree::Tree;
use super::{Finding, Findings};

/// Lines that a file may have.
const FILE_LINES: usize = 800;

/// Lines of a function's body above which it is listed.
const FUNCTION_LINES_NOTED: usize = 70;

/// Lines that a function's body may have.
const FUNCTION_LINES: usize = 100;

/// The folders whose Rust files are looked at.
const FOLDERS: [&str; 5] = ["drop/", "host/", "plugins/", "tests/", "xtask/"];

/// The files that may say `unsafe`. A precompiled component is machine code: loading it is a promise about who wrote it.
const UNSAFE_FILES: [&str; 1] = ["host/agent/src/precompiled.rs"];

/// Variables that a test looks at to decide whether it can run here.
const CONDITIONS: [&str; 2] = ["POSTERN_MAIL_CORPUS", "POSTERN_TEST_ALL"];

/// How such a test says that it was left out: the variable with the report's file, or the function that knows it.
const LEFT_OUT: [&str; 2] = ["POSTERN_LEFT_OUT", "left_out"];

/// Checks every Rust file of the project's own.
pub fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let mut sources = BTreeMap::new();
    for (path, text) in tree.texts_of_kind("rs").filter(|(path, _)| is_ours(path)) {
        findings.faults.extend(check_text(path, text));
        match RustSource::parse(text) {
            Ok(source) => {
                sources.insert(path, source);
            }
            Err(error) => {
                let line = error.span().start().line;
                findings.faults.push(Finding::new(path, line, "cannot be parsed", error.to_string()));
            }
        }
    }
    let test_files = test_files(&sources);
    for (path, source) in &sources {
        check_functions(path, source, &mut findings);
        findings.faults.extend(check_unsafe(path, source));
        if !is_test_path(path) && !test_files.contains(*path) {
            findings.faults.extend(check_unwrap(path, source));
        }
        if !path.starts_with("xtask/") {
            findings.faults.extend(check_conditions(path, source));
        }
    }
    findings
}

fn is_ours(path: &str) -> bool {
    FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Whether all of a file is a test because of where it lies.
pub fn is_test_path(path: &str) -> bool {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    name == "tests.rs" || folders.split('/').any(|folder| matches!(folder, "tests" | "benches" | "fuzz"))
}

/// The files that other files declare as modules for tests only.
fn test_files(sources: &BTreeMap<&str, RustSource>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, source) in sources {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let own = match name {
            "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
            _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
        };
        for module in &source.test_modules {
            found.insert(format!("{own}/{module}.rs"));
            let inner = format!("{own}/{module}/");
            found.extend(
                sources.keys().filter(|path| path.starts_with(&inner)).map(|path| (*path).to_owned()),
            );
        }
    }
    found
}

fn check_text(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES {
        let advice = format!("at most {FILE_LINES}: one file holds one thing, find the second one in it");
        findings.push(Finding::new(path, 1, format!("{lines} lines"), advice));
    }
    if !text.starts_with("//!") {
        let advice = "the first line says with //! what the file is for";
        findings.push(Finding::new(path, 1, "no documentation of the module", advice));
    }
    findings
}

fn check_functions(path: &str, source: &RustSource, findings: &mut Findings) {
    for function in source.functions.iter().filter(|function| function.lines > FUNCTION_LINES_NOTED) {
        let what = format!("'{}' has {} lines", function.name, function.lines);
        if function.lines > FUNCTION_LINES {
            let advice = format!("at most {FUNCTION_LINES}: take a step out of it and give it a name");
            findings.faults.push(Finding::new(path, function.line, what, advice));
        } else {
            let advice = format!("more than {FUNCTION_LINES_NOTED}, {FUNCTION_LINES} is the limit");
            findings.notes.push(Finding::new(path, function.line, what, advice));
        }
    }
}

fn check_unwrap(path: &str, source: &RustSource) -> Vec<Finding> {
    let lines = source.lines_with_call("unwrap").into_iter().filter(|line| !source.is_test_line(*line));
    let advice = "handle it, or use expect with a sentence that says why it cannot happen";
    lines.map(|line| Finding::new(path, line, "unwrap outside of a test", advice)).collect()
}

fn check_unsafe(path: &str, source: &RustSource) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&path) {
        return Vec::new();
    }
    let advice = format!("allowed in {} only; see xtask/src/tidy/rust_code.rs", UNSAFE_FILES.join(", "));
    let lines = source.lines_with_word("unsafe").into_iter();
    lines.map(|line| Finding::new(path, line, "unsafe", advice.clone())).collect()
}

/// A file that looks at a condition must also say what it leaves out, or nobody would notice.
fn check_conditions(path: &str, source: &RustSource) -> Option<Finding> {
    let strings = source.strings();
    let (line, condition) = strings.iter().find(|(_, text)| CONDITIONS.contains(&text.as_str()))?;
    let tells = strings.iter().any(|(_, text)| LEFT_OUT.contains(&text.as_str()))
        || LEFT_OUT.iter().any(|word| !source.lines_with_word(word).is_empty());
    let advice = "a test that does not run says so; see xtask/src/left_out.rs";
    (!tells).then(|| Finding::new(path, *line, format!("looks at {condition} and tells nobody"), advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files))
            .faults
            .iter()
            .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.what))
            .collect()
    }

    fn function(body_lines: usize) -> String {
        format!("//! x\nfn long() {{\n{}}}\n", "    work();\n".repeat(body_lines - 2))
    }

    #[test]
    fn a_good_file_is_silent() {
        let text = "//! Good.\n// .unwrap() and unsafe in comments\nfn f() -> &'static str { \"unsafe .unwrap()\" }\n\
            #[cfg(test)]\nmod tests {\n    #[test]\n    fn t() { f().parse::<u8>().unwrap(); }\n}\n";
        assert_eq!(faults(&[("host/src/a.rs", text)]), Vec::<String>::new());
    }

    #[test]
    fn unwrap_is_found_in_code_and_in_macros() {
        let text =
            "//! x\nfn f() {\n    a.unwrap();\n    println!(\"{}\", b.unwrap());\n    c.unwrap_or(1);\n}\n";
        let expected =
            ["host/src/a.rs:3: unwrap outside of a test", "host/src/a.rs:4: unwrap outside of a test"];
        assert_eq!(faults(&[("host/src/a.rs", text)]), expected);
    }

    #[test]
    fn unwrap_is_allowed_wherever_only_tests_are() {
        let text = "//! x\nfn f() { a.unwrap(); }\n";
        let parent = "//! x\n#[cfg(test)]\nmod samples;\n#[cfg(all(test, unix))]\nmod more { fn g() { a.unwrap(); } }\n";
        assert_eq!(
            faults(&[
                ("host/tests/a.rs", text),
                ("tests/src/b.rs", text),
                ("host/src/c.rs", parent),
                ("host/src/c/samples.rs", text),
                ("host/src/c/samples/d.rs", text),
            ]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn code_that_is_left_out_of_tests_is_not_a_test() {
        let text = "//! x\n#[cfg(not(test))]\nfn f() { a.unwrap(); }\n#[cfg(any(test, unix))]\nfn g() { a.unwrap(); }\n";
        assert_eq!(faults(&[("host/src/a.rs", text)]).len(), 2);
    }

    #[test]
    fn unsafe_is_found_everywhere_but_where_it_is_allowed() {
        let text = "//! x\nfn f() {\n    unsafe { g() }\n}\n";
        assert_eq!(faults(&[("tests/src/a.rs", text)]), ["tests/src/a.rs:3: unsafe"]);
        assert_eq!(faults(&[("host/agent/src/precompiled.rs", text)]), Vec::<String>::new());
    }

    #[test]
    fn long_functions_are_noted_and_then_refused() {
        let notes = |lines| {
            let findings = check(&Tree::of(&[("drop/src/a.rs", &function(lines))]));
            (findings.notes.len(), findings.faults.len())
        };
        assert_eq!(notes(70), (0, 0));
        assert_eq!(notes(71), (1, 0));
        assert_eq!(notes(100), (1, 0));
        assert_eq!(notes(101), (0, 1));
    }

    #[test]
    fn long_functions_are_found_in_impls_and_traits() {
        let body = "work();\n".repeat(100);
        let text = format!("//! x\nimpl A {{ fn f() {{\n{body}}} }}\ntrait B {{ fn g() {{\n{body}}} }}\n");
        let found = faults(&[("drop/src/a.rs", &text)]);
        assert_eq!(found, ["drop/src/a.rs:2: 'f' has 102 lines", "drop/src/a.rs:104: 'g' has 102 lines"]);
    }

    #[test]
    fn long_files_are_found() {
        let text = |lines: usize| format!("//! x\n{}", "// y\n".repeat(lines - 1));
        assert_eq!(faults(&[("xtask/src/a.rs", &text(800))]), Vec::<String>::new());
        assert_eq!(faults(&[("xtask/src/a.rs", &text(801))]), ["xtask/src/a.rs:1: 801 lines"]);
    }

    #[test]
    fn a_module_without_documentation_is_found() {
        let found = faults(&[("plugins/sdk/src/lib.rs", "// no\nfn f() {}\n"), ("docs/a.rs", "not ours")]);
        assert_eq!(found, ["plugins/sdk/src/lib.rs:1: no documentation of the module"]);
    }

    #[test]
    fn a_file_that_is_not_rust_is_a_finding() {
        assert_eq!(faults(&[("host/src/a.rs", "//! x\nfn f( {\n")]).len(), 1);
    }

    #[test]
    fn a_test_that_may_not_run_must_say_so() {
        let silent = "//! x\nfn f() { std::env::var_os(\"POSTERN_MAIL_CORPUS\"); }\n";
        assert_eq!(
            faults(&[("tests/src/a.rs", silent)]),
            ["tests/src/a.rs:2: looks at POSTERN_MAIL_CORPUS and tells nobody"]
        );
        let telling = format!("{silent}fn g() {{ left_out(\"g\"); }}\n");
        assert_eq!(faults(&[("tests/src/a.rs", &telling)]), Vec::<String>::new());
    }
}
