//! Record: what a component was built from, so that nothing is built twice, and nothing that has changed is passed over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::project::Project;
use super::tools::Tools;

/// The version of the format.
const VERSION: u32 = 1;

/// Folders that are no sources: what builds make, and what package managers fetch (their versions are in files beside them).
const NO_SOURCES: [&str; 7] = ["build", "gen", "target", "node_modules", ".venv", "__pycache__", ".git"];

/// What a component was built from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    v: u32,
    /// SHA-256 over all sources, in hexadecimal.
    sources: String,
    /// The tools and their versions.
    tools: Vec<String>,
    /// SHA-256 of the component, in hexadecimal; empty before it is built.
    component: String,
}

impl Record {
    /// What a build would be made from now.
    ///
    /// # Errors
    /// When a source cannot be read; in words.
    pub fn of(project: &Project, tools: &Tools) -> Result<Self, String> {
        let mut files = Vec::new();
        collect(&project.folder, &mut files)
            .map_err(|error| format!("{}: {error}", project.folder.display()))?;
        files.sort();
        let mut hash = Sha256::new();
        // What makes components of modules is in this program.
        hash.update(env!("CARGO_PKG_VERSION"));
        for file in files {
            let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let name = file.strip_prefix(&project.folder).unwrap_or(&file);
            // Name and length first, so that no two sets of files read the same.
            hash.update(format!("{}\0{}\0", name.display(), bytes.len()));
            hash.update(&bytes);
        }
        let sources = hex(&hash.finalize());
        Ok(Self { v: VERSION, sources, tools: tools.versions.clone(), component: String::new() })
    }

    /// Whether the component that is there was built from just this.
    #[must_use]
    pub fn is_built(&self, project: &Project) -> bool {
        let Ok(text) = fs::read_to_string(file(project)) else { return false };
        let Ok(built) = toml::from_str::<Self>(&text) else { return false };
        let Ok(component) = fs::read(project.component()) else { return false };
        let same = Self { component: hex(&Sha256::digest(component)), ..self.clone() };
        built == same
    }

    /// Writes down that the component that is there was built from this.
    ///
    /// # Errors
    /// When the component cannot be read or the record not written.
    pub fn write(&self, project: &Project) -> io::Result<()> {
        let component = hex(&Sha256::digest(fs::read(project.component())?));
        let text = toml::to_string(&Self { component, ..self.clone() }).map_err(io::Error::other)?;
        fs::write(file(project), text)
    }
}

fn file(project: &Project) -> PathBuf {
    project.output().join(format!("{}.built.toml", project.name))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !NO_SOURCES.iter().any(|name| entry.file_name() == *name) {
                collect(&entry.path(), files)?;
            }
        } else if entry.path().is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::*;

    #[test]
    fn a_component_is_current_until_a_source_a_tool_or_itself_changes() {
        let folder = tempfile::tempdir().unwrap();
        let project = Project {
            folder: folder.path().to_owned(),
            name: "a".to_owned(),
            language: Language::C,
            world: "w".to_owned(),
        };
        fs::create_dir_all(project.output()).unwrap();
        fs::write(folder.path().join("agent.c"), "1").unwrap();
        fs::write(project.component(), "component").unwrap();
        let tools = Tools { versions: vec!["clang: 19".to_owned()], ..Tools::default() };
        let now = || Record::of(&project, &tools).unwrap();
        assert!(!now().is_built(&project), "nothing was built yet");
        now().write(&project).unwrap();
        assert!(now().is_built(&project));
        fs::write(project.output().join("x.o"), "made").unwrap();
        assert!(now().is_built(&project), "what a build makes is no source");
        let newer = Tools { versions: vec!["clang: 20".to_owned()], ..Tools::default() };
        assert!(!Record::of(&project, &newer).unwrap().is_built(&project));
        fs::write(project.component(), "other").unwrap();
        assert!(!now().is_built(&project));
        now().write(&project).unwrap();
        fs::write(folder.path().join("agent.c"), "2").unwrap();
        assert!(!now().is_built(&project));
    }
}
