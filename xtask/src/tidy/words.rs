//! Words that must not stand in the project: places on somebody's machine, and hosts that only a tool's own settings name.

use super::Finding;
use super::tree::Tree;

/// A text that must not occur.
struct Word {
    /// The text. The pieces are joined here so that this file does not hold it itself.
    text: &'static str,
    /// Why not.
    advice: &'static str,
    /// Files that may hold it all the same.
    except: &'static [&'static str],
}

const MACHINE_PATH: &str = "a path on one machine; name it relative to the checkout, or make it an option";
const REGISTRY: &str = "cargo, npm and the like know their registry; a mirror must not be worked around";

const WORDS: [Word; 8] = [
    Word { text: concat!("/wo", "rk/"), advice: MACHINE_PATH, except: &[] },
    Word { text: concat!("/fa", "rm/"), advice: MACHINE_PATH, except: &[] },
    // Continuous integration finds the mail corpus there.
    Word { text: concat!("sha", "red/"), advice: MACHINE_PATH, except: &[".ci/run"] },
    Word { text: concat!("crates", ".io/api"), advice: REGISTRY, except: &[] },
    Word { text: concat!("index.crates", ".io"), advice: REGISTRY, except: &[] },
    Word { text: concat!("registry.npm", "js.org"), advice: REGISTRY, except: &[] },
    Word { text: concat!("py", "pi.org"), advice: REGISTRY, except: &[] },
    Word { text: concat!("deb.deb", "ian.org"), advice: REGISTRY, except: &[] },
];

/// Files that tools write, with the registry's addresses in them.
const LOCK_FILES: [&str; 5] = ["Cargo.lock", "package-lock.json", "go.sum", "uv.lock", "poetry.lock"];

/// Checks every text file.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        let name = path.rsplit('/').next().unwrap_or(path);
        if LOCK_FILES.contains(&name) {
            continue;
        }
        for word in WORDS.iter().filter(|word| !word.except.contains(&path)) {
            for (index, line) in text.lines().enumerate() {
                if stands_alone(line, word.text) {
                    let what = format!("'{}' must not stand here", word.text);
                    findings.push(Finding::new(path, index + 1, what, word.advice));
                }
            }
        }
    }
    findings
}

/// Whether `word` occurs other than as the end of a longer name, as in `smtp/work/` or `unshared/`.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(index, _)| {
        let before = line[..index].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '.' || c == '_' || c == '-'))
            || line[..index].ends_with("..")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let text = ["fine", concat!("cd /wo", "rk/main"), concat!("`../sha", "red/data`")].join("\n");
        assert_eq!(lines("README.md", &text), [2, 3]);
    }

    #[test]
    fn only_continuous_integration_names_the_corpus_folder() {
        let text = concat!("corpus=../sha", "red/data/mail\n");
        assert_eq!(lines(".ci/run", text), Vec::<usize>::new());
        assert_eq!(lines("xtask/src/ci.rs", text), [1]);
    }

    #[test]
    fn registries_are_found_except_in_lock_files() {
        let text = concat!("\"resolved\": \"https://registry.npm", "js.org/x\"\n");
        assert_eq!(lines("plugins/js/notes.txt", text), [1]);
        assert_eq!(lines("plugins/js/package-lock.json", text), Vec::<usize>::new());
    }

    #[test]
    fn the_end_of_a_longer_name_is_another_word() {
        assert_eq!(lines("a.md", "net/work/ and team_shared/ and un-shared/\n"), Vec::<usize>::new());
    }
}
