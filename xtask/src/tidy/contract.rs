//! A released version of the agent contract never changes: `wit/RELEASED.toml` names the hash of each released folder.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::Finding;
use super::tree::Tree;

/// One line per released version: `"0.1.0" = "<sha-256 in hex>"`.
const RELEASED: &str = "wit/RELEASED.toml";

/// Compares every released folder with its recorded hash.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(text) = tree.text(RELEASED) else { return Vec::new() };
    let released: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![Finding::new(RELEASED, 1, "not TOML", error.to_string())],
    };
    released.iter().filter_map(|(version, hash)| check_version(tree, text, version, hash.as_str())).collect()
}

fn check_version(tree: &Tree, text: &str, version: &str, recorded: Option<&str>) -> Option<Finding> {
    let line = text.lines().position(|line| line.contains(version)).map_or(1, |index| index + 1);
    let folder = format!("wit/{version}/");
    if tree.under(&folder).next().is_none() {
        let advice = "the host serves released versions for ever; bring the folder back";
        return Some(Finding::new(RELEASED, line, format!("{folder} is gone"), advice));
    }
    let found = folder_hash(tree, &folder);
    (recorded != Some(found.as_str())).then(|| {
        let advice =
            format!("agents in the field are built on it; undo the change and start a new version ({found})");
        Finding::new(RELEASED, line, format!("released {folder} has changed"), advice)
    })
}

/// The hash of a folder: of each file in order its path in the folder, its length and its bytes.
fn folder_hash(tree: &Tree, folder: &str) -> String {
    let mut hash = Sha256::new();
    for path in tree.under(folder) {
        let bytes = tree.bytes(path).unwrap_or_default();
        hash.update(format!("{}\n{}\n", &path[folder.len()..], bytes.len()));
        hash.update(bytes);
    }
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(released: &str, contract: &str) -> Vec<String> {
        let tree =
            Tree::of(&[(RELEASED, released), ("wit/0.1.0/a.wit", contract), ("wit/0.2.0/a.wit", "new")]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    fn record(contract: &str) -> String {
        let hash = folder_hash(&Tree::of(&[("wit/0.1.0/a.wit", contract)]), "wit/0.1.0/");
        format!("# released\n\"0.1.0\" = \"{hash}\"\n")
    }

    #[test]
    fn an_unchanged_release_is_silent() {
        assert_eq!(findings(&record("package x;"), "package x;"), Vec::<String>::new());
        assert_eq!(check(&Tree::of(&[("wit/0.1.0/a.wit", "x")])), Vec::new());
    }

    #[test]
    fn a_changed_release_is_found() {
        let found = findings(&record("package x;"), "package y;");
        assert!(found[0].starts_with("wit/RELEASED.toml:2: released wit/0.1.0/ has changed"), "{found:?}");
    }

    #[test]
    fn a_lost_release_is_found() {
        let found = findings("\"0.0.9\" = \"00\"\n", "package x;");
        assert!(found[0].contains("wit/0.0.9/ is gone"), "{found:?}");
    }
}
