//! Kit: the files that come inside the program, and which of them make the folder of a new agent.

use std::collections::BTreeMap;

use super::language::Language;

/// Path in the checkout, and bytes.
static EMBEDDED: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The agent contract that new agents are written for.
const CONTRACT: &str = "wit/0.1.0";
/// Where the SDK in Rust finds the contract in the checkout, and where in an author's folder.
const SDK_CONTRACT: (&str, &str) = ("\"../../wit/0.1.0\"", "\"../wit\"");
/// How the agent of each template is called; its author's name for it takes this one's place.
const TEMPLATE_NAME: &str = "my-agent";

/// What the folder of a new agent holds, by path.
///
/// With `http`, the agent posts to a web address through `http.send`; else it logs and delivers.
#[must_use]
pub fn files(language: Language, name: &str, http: bool) -> BTreeMap<String, Vec<u8>> {
    let template = format!("plugins/languages/{}", language.word());
    let kind = if http { "http" } else { "hello" };
    let mut files = BTreeMap::new();
    for (from, to) in language.sdk() {
        take(from, to, &mut files);
    }
    take(CONTRACT, "wit", &mut files);
    take(&format!("{template}/project"), "", &mut files);
    take(&format!("{template}/{kind}"), "", &mut files);
    take(&format!("plugins/languages/manifests/{kind}"), "", &mut files);
    for bytes in files.values_mut() {
        if let Ok(text) = std::str::from_utf8(bytes) {
            *bytes = renamed(text, name).into_bytes();
        }
    }
    files
}

/// The text of a template in the words of this agent.
fn renamed(text: &str, name: &str) -> String {
    text.replace(TEMPLATE_NAME, name)
        .replace(&TEMPLATE_NAME.replace('-', "_"), &name.replace('-', "_"))
        .replace(SDK_CONTRACT.0, SDK_CONTRACT.1)
}

/// Adds what is embedded below the folder `from` as lying below `to`.
fn take(from: &str, to: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in EMBEDDED {
        let Some(rest) = path.strip_prefix(from).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let place = if to.is_empty() { rest.to_owned() } else { format!("{to}/{rest}") };
        files.insert(place, bytes.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_folder_with_contract_manifest_build_and_words_for_its_author() {
        for language in Language::ALL {
            for http in [false, true] {
                let files = files(language, "fax-sender", http);
                for name in
                    ["README.md", "agent.toml", "build.toml", "build.sh", "test.sh", "wit/delivery-agent.wit"]
                {
                    assert!(files.contains_key(name), "{language:?}, http {http}: no {name}");
                }
                for (path, bytes) in &files {
                    let text = String::from_utf8_lossy(bytes);
                    assert!(!text.contains("my-agent") && !text.contains("my_agent"), "{language:?}: {path}");
                }
            }
        }
    }

    #[test]
    fn the_sdk_in_rust_finds_the_contract_beside_it() {
        let files = files(Language::Rust, "a", false);
        let component = String::from_utf8(files["sdk/src/component.rs"].clone()).unwrap();
        assert_eq!(component.matches(" path: \"../wit\"").count(), component.matches(" path: \"").count());
        assert!(component.contains(" path: \"../wit\""));
    }
}
