//! Who may know whom: the directions of dependencies between the project's crates, and who may name which foreign crate.

use super::Finding;
use super::tree::Tree;

/// For each crate of the workspace, the crates of the workspace that it may depend on, in tests and build scripts too.
const DIRECTIONS: [(&str, &[&str]); 9] = [
    ("postern-model", &[]),
    ("postern-smtp", &["postern-model"]),
    ("postern-store", &["postern-model"]),
    ("postern-agent", &["postern-model"]),
    ("postern-drop", &[]),
    ("postern", &["postern-model", "postern-smtp", "postern-store", "postern-agent", "postern-drop"]),
    // The benchmarks measure each room alone, and the host as a process: they do not know its inside.
    ("postern-bench", &["postern-model", "postern-smtp", "postern-store", "postern-agent", "postern-drop"]),
    // The end-to-end tests know the process, its API and its files. They speak SMTP with the project's one grammar, and
    // empty drop directories with the half of `postern-drop` that is written for gateways.
    ("postern-tests", &["postern-smtp", "postern-drop"]),
    ("xtask", &[]),
];

/// Foreign crates that only these crates may name. A name that ends in `*` stands for all that start so.
const OWNERS: [(&str, &[&str]); 3] = [
    ("wasmtime*", &["postern-agent"]),
    // The host keeps its tracking files in SQLite as well; the queues are the store's alone.
    // The end-to-end tests tamper with a stopped host's queue, to see that the audit names it.
    ("rusqlite", &["postern-store", "postern", "postern-tests"]),
    ("lapin", &["postern-store", "postern"]),
];

/// Foreign crates that a crate must not name, because it does no input or output.
const FORBIDDEN: [(&str, &[&str]); 2] = [
    ("postern-model", &["tokio", "rustix", "hyper", "rusqlite", "tempfile"]),
    ("postern-smtp", &["tokio", "rustix", "hyper", "rusqlite", "tempfile"]),
];

/// The tables of a manifest that name dependencies.
const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The folder of the agents' own workspace.
const PLUGINS: &str = "plugins/";

/// Checks every manifest of the tree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = tree.texts().filter(|(path, _)| *path == "Cargo.toml" || path.ends_with("/Cargo.toml"));
    manifests.flat_map(|(path, text)| check_manifest(path, text)).collect()
}

fn check_manifest(path: &str, text: &str) -> Vec<Finding> {
    let manifest: toml::Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(path, 1, "not a manifest", error.to_string())],
    };
    let package =
        manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let mut findings = Vec::new();
    for (name, value) in dependencies(&manifest) {
        let line = line_of(text, &name);
        let place = value.get("path").and_then(toml::Value::as_str);
        if path.starts_with(PLUGINS) {
            findings.extend(check_plugin(path, line, &name, place));
        } else {
            let points_in = place.is_some_and(|place| place.split('/').any(|part| part == "plugins"));
            if points_in {
                findings.push(Finding::new(path, line, format!("'{name}' lies in plugins/"), OWN_WORKSPACE));
            }
            if let Some(package) = package {
                findings.extend(check_dependency(path, line, package, &name));
            }
        }
    }
    let is_member = package.is_some() && !path.starts_with(PLUGINS);
    if let Some(package) = package.filter(|package| is_member && allowed(package).is_none()) {
        let advice = "add it to DIRECTIONS in xtask/src/tidy/crates.rs, with what it may depend on";
        findings.push(Finding::new(
            path,
            line_of(text, "name"),
            format!("'{package}' is unknown to tidy"),
            advice,
        ));
    }
    findings
}

const OWN_WORKSPACE: &str =
    "agents are a workspace of their own; the host reads their .wasm files and nothing else";

/// Every dependency that a manifest names: of the package, of its targets and of the workspace.
fn dependencies(manifest: &toml::Table) -> Vec<(String, toml::Value)> {
    let mut owners = vec![manifest];
    owners.extend(manifest.get("workspace").and_then(toml::Value::as_table));
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    owners.extend(targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table));
    let tables = owners.into_iter().flat_map(|owner| TABLES.iter().filter_map(|table| owner.get(*table)));
    let entries = tables.filter_map(toml::Value::as_table).flat_map(|table| table.iter());
    entries
        .map(|(name, value)| {
            let real = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
            (real.to_owned(), value.clone())
        })
        .collect()
}

fn allowed(package: &str) -> Option<&'static [&'static str]> {
    DIRECTIONS.iter().find(|(name, _)| *name == package).map(|(_, list)| *list)
}

fn check_dependency(path: &str, line: usize, package: &str, name: &str) -> Option<Finding> {
    if allowed(name).is_some() {
        let known = allowed(package).unwrap_or_default();
        let advice = if known.is_empty() {
            format!("{package} may depend on no crate of the project")
        } else {
            format!("{package} may depend on {} only", known.join(", "))
        };
        let what = format!("'{package}' depends on '{name}'");
        return (!known.contains(&name)).then(|| Finding::new(path, line, what, advice));
    }
    let owner = OWNERS.iter().find(|(pattern, _)| matches(pattern, name));
    if let Some((_, owners)) = owner.filter(|(_, owners)| !owners.contains(&package)) {
        let advice = format!("only {} may name it; ask that crate for what you need", owners.join(" and "));
        return Some(Finding::new(path, line, format!("'{package}' names '{name}'"), advice));
    }
    let forbidden =
        FORBIDDEN.iter().find(|(crate_name, names)| *crate_name == package && names.contains(&name));
    forbidden.map(|_| {
        let advice = format!("{package} does no input or output");
        Finding::new(path, line, format!("'{package}' names '{name}'"), advice)
    })
}

/// A plugin may use what its own workspace holds, and nothing of the host's.
fn check_plugin(path: &str, line: usize, name: &str, place: Option<&str>) -> Option<Finding> {
    let advice = "an agent's source knows only the contract in wit/, so that authors can copy the folder";
    let folder = path.strip_suffix("Cargo.toml").unwrap_or(path);
    let leaves = place.is_some_and(|place| {
        super::links::resolve(folder, place).is_none_or(|target| !format!("{target}/").starts_with(PLUGINS))
    });
    (leaves || allowed(name).is_some())
        .then(|| Finding::new(path, line, format!("a plugin depends on '{name}'"), advice))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// The line that starts with the key `name`, or the first.
fn line_of(text: &str, name: &str) -> usize {
    let starts = |line: &str| {
        let rest = line.trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    text.lines().position(starts).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    #[test]
    fn the_model_depends_on_no_crate_of_the_project() {
        let text = package(
            "postern-model",
            "[dependencies]\nserde.workspace = true\npostern-smtp.workspace = true\n",
        );
        let found = findings("host/model/Cargo.toml", &text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("host/model/Cargo.toml:5: 'postern-model' depends on 'postern-smtp'"));
    }

    #[test]
    fn allowed_directions_are_silent() {
        let text =
            package("postern-store", "[dependencies]\npostern-model.workspace = true\nrusqlite = \"1\"\n");
        assert_eq!(findings("host/store/Cargo.toml", &text), Vec::<String>::new());
    }

    #[test]
    fn only_the_agent_crate_names_wasmtime() {
        let text = package("postern", "[target.'cfg(unix)'.dev-dependencies]\nwasmtime-wasi = \"48\"\n");
        assert!(findings("host/Cargo.toml", &text)[0].contains("only postern-agent may name it"));
        let text = package("postern-agent", "[dependencies]\nwasmtime-wasi = \"48\"\n");
        assert_eq!(findings("host/agent/Cargo.toml", &text), Vec::<String>::new());
    }

    #[test]
    fn a_renamed_dependency_counts_under_its_real_name() {
        let text =
            package("postern-drop", "[dependencies]\ndb = { package = \"rusqlite\", version = \"1\" }\n");
        assert!(findings("drop/Cargo.toml", &text)[0].contains("'postern-drop' names 'rusqlite'"));
    }

    #[test]
    fn the_grammar_does_no_input_or_output() {
        let text = package("postern-smtp", "[dev-dependencies]\ntokio.workspace = true\n");
        assert!(findings("host/smtp/Cargo.toml", &text)[0].contains("does no input or output"));
    }

    #[test]
    fn a_new_crate_needs_a_row_in_the_table() {
        let found = findings("host/extra/Cargo.toml", &package("postern-extra", ""));
        assert!(
            found[0].contains("host/extra/Cargo.toml:2: 'postern-extra' is unknown to tidy"),
            "{found:?}"
        );
    }

    #[test]
    fn host_and_plugins_do_not_depend_on_each_other() {
        let root = "[workspace.dependencies]\npostern-sdk = { path = \"plugins/sdk\" }\n";
        assert!(findings("Cargo.toml", root)[0].starts_with("Cargo.toml:2: 'postern-sdk' lies in plugins/"));
        let plugin = package("fax", "[dependencies]\nmodel = { path = \"../../host/model\" }\n");
        assert!(findings("plugins/fax/Cargo.toml", &plugin)[0].contains("a plugin depends on 'model'"));
        let plugin = package("fax", "[dependencies]\npostern-agent-sdk = { path = \"../sdk\" }\n");
        assert_eq!(findings("plugins/fax/Cargo.toml", &plugin), Vec::<String>::new());
    }

    #[test]
    fn a_broken_manifest_is_a_finding() {
        assert_eq!(findings("Cargo.toml", "[package\n").len(), 1);
    }
}
