//! Record: `plugins/prebuilt/BUILD.toml`, which says how the files beside it came to be.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::route::Versions;
use super::{PREBUILT, sources};

const HEAD: &str = "\
# How the files beside this one were built. Written by `cargo xtask agents build`; see plugins/README.md.
# The same sources with the same versions make the same bytes: `cargo xtask agents build --check` tries it.

";

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// SHA-256 of the sources, see [`sources::hash`]. While it is the same, the files are not built again.
    pub sources: String,
    /// SHA-256 of each file.
    pub files: BTreeMap<String, String>,
    /// What they were built with.
    pub versions: Versions,
}

impl Record {
    /// The record of what was just built.
    pub fn new(versions: Versions, sources: String, built: &[(String, Vec<u8>)]) -> Self {
        let files =
            built.iter().map(|(name, bytes)| (format!("{name}.wasm"), sources::sha256(bytes))).collect();
        Self { sources, files, versions }
    }

    /// Reads it; `None` when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read or is not in this form.
    pub fn read(root: &Path) -> Result<Option<Self>, String> {
        let file = file(root);
        match fs::read_to_string(&file) {
            Ok(text) => {
                toml::from_str(&text).map(Some).map_err(|error| format!("{}: {error}", file.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", file.display())),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), String> {
        let file = file(root);
        let text = toml::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(&file, format!("{HEAD}{text}")).map_err(|error| format!("{}: {error}", file.display()))
    }
}

fn file(root: &Path) -> PathBuf {
    root.join(PREBUILT).join("BUILD.toml")
}
