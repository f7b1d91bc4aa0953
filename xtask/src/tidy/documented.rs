//! What an operator can set or read is documented: every config key in `docs/config.md`, every metric in `docs/metrics.md`.

use syn::visit::{self, Visit};
use syn::{Expr, ExprLit, ExprMethodCall, Lit};

use super::Finding;
use super::rust_source::RustSource;
use super::tree::Tree;

/// The files that read the config file lie here.
const CONFIG_READERS: &str = "host/src/config/";

/// The methods that ask a table of the config file for the key that is their first argument.
const READING_METHODS: [&str; 9] =
    ["entry", "list", "named", "optional", "or", "required", "required_list", "table", "tables"];

/// Where config keys are explained.
const CONFIG_DOCUMENT: &str = "docs/config.md";

/// Where the metrics are declared.
const METRICS: &str = "host/src/metrics.rs";

/// Where metrics are explained.
const METRICS_DOCUMENT: &str = "docs/metrics.md";

/// How the name of every metric starts.
const METRIC_PREFIX: &str = "postern_";

/// Checks that each document holds each name, in backticks.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = check_config(tree);
    if let Some(text) = tree.text(METRICS) {
        findings.extend(check_metrics(tree, text));
    }
    findings
}

fn check_config(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut any = false;
    for (path, text) in tree.texts_of_kind("rs").filter(|(path, _)| path.starts_with(CONFIG_READERS)) {
        // A file that cannot be parsed is the finding of another rule.
        let Ok(source) = RustSource::parse(text) else { continue };
        if path.ends_with("/tests.rs") {
            continue;
        }
        let mut keys = Keys { source: &source, found: Vec::new() };
        keys.visit_file(&source.file);
        any |= !keys.found.is_empty();
        findings.extend(undocumented(tree, path, "config key", &keys.found, CONFIG_DOCUMENT));
    }
    if !any {
        let advice =
            "the rule that each is documented looks for them there; mend xtask/src/tidy/documented.rs";
        findings.push(Finding::new(CONFIG_READERS, 1, "no config keys found", advice));
    }
    findings
}

fn check_metrics(tree: &Tree, text: &str) -> Vec<Finding> {
    let Ok(source) = RustSource::parse(text) else { return Vec::new() };
    let mut names = source.strings();
    names.retain(|(line, name)| is_metric(name) && !source.is_test_line(*line));
    if names.is_empty() {
        let advice = "metrics are declared by their full names, so that they can be searched for";
        return vec![Finding::new(METRICS, 1, format!("no name starts with {METRIC_PREFIX}"), advice)];
    }
    undocumented(tree, METRICS, "metric", &names, METRICS_DOCUMENT)
}

fn is_metric(name: &str) -> bool {
    let rest = name.strip_prefix(METRIC_PREFIX).unwrap_or_default();
    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A finding for each name that the document does not hold.
fn undocumented(
    tree: &Tree,
    path: &str,
    kind: &str,
    names: &[(usize, String)],
    document: &str,
) -> Vec<Finding> {
    let text = tree.text(document).unwrap_or_default();
    let missing = names.iter().filter(|(_, name)| !is_named(text, name));
    let report = |(line, name): &(usize, String)| {
        let advice = format!("explain it in {document} as `{name}`");
        Finding::new(path, *line, format!("{kind} '{name}' is not documented"), advice)
    };
    let mut findings: Vec<Finding> = missing.map(report).collect();
    findings.sort();
    findings
}

/// Whether a document names something in backticks: by itself, with a value, or as a table.
fn is_named(text: &str, name: &str) -> bool {
    [
        format!("`{name}`"),
        format!("`{name} = "),
        format!("`[{name}]"),
        format!("`[{name}."),
        format!("`[[{name}]]"),
    ]
    .iter()
    .any(|form| text.contains(form))
}

/// Collects the keys that are asked for by name.
struct Keys<'s> {
    source: &'s RustSource,
    found: Vec<(usize, String)>,
}

impl<'ast> Visit<'ast> for Keys<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if READING_METHODS.iter().any(|method| call.method == method)
            && let Some(Expr::Lit(ExprLit { lit: Lit::Str(key), .. })) = call.args.first()
        {
            let line = key.span().start().line;
            if !self.source.is_test_line(line) {
                self.found.push((line, key.value()));
            }
        }
        visit::visit_expr_method_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: &str = "//! x\nfn f(s: &Section) {\n    let a = s.required(\"name\", line, \"hint\");\n    s.table(\"quota\").or(\n        \"max-size\", 1);\n    other(\"not a key\").or(default);\n}\n";

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn documented_keys_and_metrics_are_silent() {
        let files = [
            ("host/src/config/host.rs", READER),
            ("docs/config.md", "`name = \"x\"`: x\n`[quota]`: y, `max-size`\n"),
            (
                "host/src/metrics.rs",
                "//! x\nconst A: &str = \"postern_items_total\";\nconst B: &str = \"postern_ {x}\";\n",
            ),
            ("docs/metrics.md", "| `postern_items_total` | x |\n"),
        ];
        assert_eq!(findings(&files), Vec::<String>::new());
    }

    #[test]
    fn keys_that_are_not_documented_are_found() {
        let found = findings(&[("host/src/config/host.rs", READER), ("docs/config.md", "`name`, quota\n")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("host/src/config/host.rs:4: config key 'quota' is not documented"));
        assert!(found[1].starts_with("host/src/config/host.rs:5: config key 'max-size' is not documented"));
    }

    #[test]
    fn metrics_that_are_not_documented_are_found() {
        let metrics = "//! x\nfn f() {\n    register!(\"postern_items_total\");\n}\n";
        let found = findings(&[
            ("host/src/config/host.rs", READER),
            ("docs/config.md", "`name` `quota` `max-size`\n"),
            ("host/src/metrics.rs", metrics),
        ]);
        assert!(found[0].starts_with("host/src/metrics.rs:3: metric 'postern_items_total'"), "{found:?}");
    }

    #[test]
    fn finding_nothing_to_check_is_itself_a_finding() {
        let found = findings(&[("host/src/metrics.rs", "//! x\nfn f() {}\n")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("no config keys found") && found[1].contains("no name starts with postern_")
        );
    }
}
