//! Manifest: what an agent's author says that it needs. It lies beside the component, as `NAME.toml` beside `NAME.wasm`.
//!
//! A manifest asks, and opens nothing: the config grants.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use postern_model::text::one_line;
use serde::{Deserialize, Serialize};

/// The version of the format.
const VERSION: u32 = 1;
/// The largest manifest, in bytes.
const MAX_SIZE: u64 = 64 << 10;
/// The longest text that is shown of one wish, in bytes.
const MAX_WISH: usize = 200;

/// A manifest file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format: 1.
    pub v: u32,
    /// What the agent is for, in a sentence.
    #[serde(default)]
    pub about: String,
    /// What it needs.
    #[serde(default)]
    pub asks: Asks,
}

/// `[asks]`, in the words of the config's `grants`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asks {
    /// URL prefixes; `settings.url` for one that the operator sets.
    pub http: BTreeSet<String>,
    /// `host:port`; `settings.server` for one that the operator sets.
    pub tcp: BTreeSet<String>,
    /// Secrets, by the names that it knows them by.
    pub secrets: BTreeSet<String>,
    /// Folders, by the names that it sees: `/in` to read, `/spool:rw` to write too.
    pub directories: BTreeSet<String>,
    /// Kept state: `"1MiB"`.
    pub state: ByteSize,
    /// Call-backs of its provider.
    pub callback: bool,
    /// Mail that it hands in.
    pub inbound: bool,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest {} cannot be read: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It is not one.
    #[error("{} is no manifest of an agent: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Manifest {
    /// Where the manifest of a component lies.
    #[must_use]
    pub fn path_of(component: &Path) -> PathBuf {
        component.with_extension("toml")
    }

    /// The manifest of a component; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub fn beside(component: &Path) -> Result<Option<Self>, ManifestError> {
        let path = Self::path_of(component);
        let read = |error| ManifestError::Read { path: path.clone(), error };
        let size = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        if size > MAX_SIZE {
            let why = format!("{size} bytes, more than {MAX_SIZE}");
            return Err(ManifestError::Format { path, why });
        }
        let text = fs::read_to_string(&path).map_err(read)?;
        Self::parse(&text).map(Some).map_err(|why| ManifestError::Format { path, why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| one_line(error.message(), MAX_WISH))?;
        if manifest.v != VERSION {
            return Err(format!("it is of version {}, this postern knows {VERSION}", manifest.v));
        }
        Ok(manifest)
    }
}

/// Everything that a version of an agent wants: what its manifest asks for, and what it imports whether it says so or
/// not. In a form that can be stored and compared: `http https://fax.example/`, `imports tcp`, `secret fax-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// One line each.
    pub lines: BTreeSet<String>,
    /// Kept state, in bytes.
    pub state: u64,
}

/// Interfaces of the contract that open no door.
const HARMLESS: [&str; 4] = ["types", "mail", "host", "agent"];
/// WASI packages that open none either: what they give is empty, or is only time and chance.
const HARMLESS_WASI: [&str; 4] = ["wasi:io", "wasi:clocks", "wasi:random", "wasi:cli"];

impl Wishes {
    /// Of a component that imports these interfaces, with its manifest if it has one.
    #[must_use]
    pub fn new(imports: &[String], manifest: Option<&Manifest>) -> Self {
        let mut lines: BTreeSet<String> = imports.iter().filter_map(|name| door(name)).collect();
        let Some(Manifest { asks, .. }) = manifest else { return Self { lines, state: 0 } };
        let named = [
            ("http", &asks.http),
            ("tcp", &asks.tcp),
            ("secret", &asks.secrets),
            ("directory", &asks.directories),
        ];
        for (kind, names) in named {
            lines.extend(names.iter().map(|name| format!("{kind} {}", one_line(name, MAX_WISH))));
        }
        for (word, asked) in [("call-backs", asks.callback), ("inbound mail", asks.inbound)] {
            lines.extend(asked.then(|| word.to_owned()));
        }
        Self { lines, state: asks.state.as_u64() }
    }

    /// What is wanted here and was not there, in words.
    #[must_use]
    pub fn beyond(&self, old: &Self) -> Vec<String> {
        let mut more: Vec<String> = self.lines.difference(&old.lines).cloned().collect();
        if self.state > old.state {
            more.push(format!("state {} (before: {})", ByteSize(self.state), ByteSize(old.state)));
        }
        more
    }

    /// All of it, in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.beyond(&Self::default()).into_iter().map(|wish| wish.replace(" (before: 0 B)", "")).collect()
    }
}

/// The door that an import leads to: `imports tcp`; `None` when it leads to none.
fn door(import: &str) -> Option<String> {
    let (package, interface) = import.split_once('/')?;
    let interface = interface.split('@').next().unwrap_or(interface);
    if package == "postern:delivery-agent" {
        return (!HARMLESS.contains(&interface)).then(|| format!("imports {interface}"));
    }
    (!HARMLESS_WASI.contains(&package)).then(|| format!("imports {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(imports: &[&str], manifest: &str) -> Wishes {
        let imports: Vec<String> = imports.iter().map(|name| (*name).to_owned()).collect();
        Wishes::new(&imports, Some(&Manifest::parse(manifest).unwrap()))
    }

    const IMPORTS: [&str; 4] = [
        "postern:delivery-agent/mail@0.1.0",
        "postern:delivery-agent/http@0.1.0",
        "wasi:io/streams@0.2.6",
        "wasi:sockets/tcp@0.2.6",
    ];

    #[test]
    fn a_component_wants_what_its_manifest_asks_for_and_what_it_imports() {
        let manifest = "v = 1\nabout = \"faxes\"\n[asks]\nhttp = [\"https://fax.example/\"]\n\
                        secrets = [\"fax-key\"]\ndirectories = [\"/spool:rw\"]\nstate = \"1MiB\"\ncallback = true\n";
        assert_eq!(
            wishes(&IMPORTS, manifest).words(),
            [
                "call-backs",
                "directory /spool:rw",
                "http https://fax.example/",
                "imports http",
                "imports wasi:sockets",
                "secret fax-key",
                "state 1.0 MiB"
            ]
        );
    }

    #[test]
    fn only_what_is_new_is_beyond() {
        let old = wishes(&IMPORTS, "v = 1\n[asks]\nsecrets = [\"a\"]\nstate = \"1MiB\"");
        let new = wishes(
            &[&IMPORTS[..], &["postern:delivery-agent/tcp@0.1.0"]].concat(),
            "v = 1\n[asks]\nsecrets = [\"b\"]\nstate = \"2MiB\"\ninbound = true",
        );
        let more = ["imports tcp", "inbound mail", "secret b", "state 2.0 MiB (before: 1.0 MiB)"];
        assert_eq!(new.beyond(&old), more);
        assert!(old.beyond(&old).is_empty());
        assert_eq!(old.beyond(&new), ["secret a"]);
    }

    #[test]
    fn what_is_no_manifest_says_why() {
        let why = |text: &str| Manifest::parse(text).unwrap_err();
        assert!(why("v = 2").contains("version 2"));
        assert!(why("v = 1\n[asks]\nhtpp = []").contains("unknown field"));
        assert!(why("[asks]").contains("missing field `v`"));
    }
}
