//! Project: an author's folder, by its `build.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::language::Language;

/// The file that makes a folder an agent's.
pub const FILE: &str = "build.toml";
/// The version of its format.
const VERSION: u32 = 1;

/// An author's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// What its component is called.
    pub name: String,
    /// In what it is written.
    pub language: Language,
    /// The world in `wit/` that it implements.
    pub world: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    name: String,
    language: Language,
    #[serde(default = "default_world")]
    world: String,
}

fn default_world() -> String {
    "delivery-agent".to_owned()
}

impl Project {
    /// The project in this folder.
    ///
    /// # Errors
    /// When it has no `build.toml` that can be used, in words.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let file = folder.join(FILE);
        let told = |what: &dyn std::fmt::Display| format!("{}: {what}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| {
            format!("{}; `postern agent new` makes folders that can be built", told(&error))
        })?;
        let written: Written = toml::from_str(&text).map_err(|error| told(&error.message()))?;
        if written.v != VERSION {
            let version = written.v;
            return Err(told(&format!("it is of version {version}, this postern knows {VERSION}")));
        }
        let named = !written.name.is_empty()
            && written.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !named {
            return Err(told(&"`name` may hold letters, digits, '-' and '_'"));
        }
        let folder = folder.canonicalize().map_err(|error| told(&error))?;
        Ok(Self { folder, name: written.name, language: written.language, world: written.world })
    }

    /// Where everything goes that the build makes.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.folder.join("build")
    }

    /// The component.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.output().join(format!("{}.wasm", self.name))
    }

    /// The core module, where the language's compiler makes one and no component.
    #[must_use]
    pub fn module(&self) -> PathBuf {
        self.output().join(format!("{}.core.wasm", self.name))
    }

    /// Where the sources are that are generated from the contract.
    #[must_use]
    pub fn generated(&self) -> PathBuf {
        self.folder.join("gen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<Project, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        Project::open(folder.path())
    }

    #[test]
    fn a_folder_says_how_it_is_built() {
        let project = open("v = 1\nname = \"fax\"\nlanguage = \"python\"\n").unwrap();
        assert_eq!((project.language, &*project.world), (Language::Python, "delivery-agent"));
        assert!(project.component().ends_with("build/fax.wasm") && project.folder.is_absolute());
        let world = open("v = 1\nname = \"fax\"\nlanguage = \"c\"\nworld = \"polling\"\n").unwrap();
        assert_eq!(world.world, "polling");
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_file() {
        let missing = Project::open(Path::new("no-such-folder")).unwrap_err();
        assert!(missing.contains("no-such-folder/build.toml") && missing.contains("postern agent new"));
        for (text, told) in [
            ("v = 2\nname = \"a\"\nlanguage = \"c\"\n", "version 2"),
            ("v = 1\nname = \"../a\"\nlanguage = \"c\"\n", "`name`"),
            ("v = 1\nname = \"a\"\nlanguage = \"cobol\"\n", "cobol"),
            ("v = 1\nname = \"a\"\nlanguage = \"c\"\nsize = 1\n", "size"),
        ] {
            let fault = open(text).unwrap_err();
            assert!(fault.contains("build.toml") && fault.contains(told), "{fault}");
        }
    }
}
