//! The files that the rules look at, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Folders that hold nothing of the project's own: what is built, fetched, or kept by version control.
const SKIPPED_FOLDERS: [&str; 7] =
    [GIT, ".venv", "__pycache__", "node_modules", "proptest-regressions", "target", "vendor"];

/// What version control keeps; a file in a worktree beside the main one.
const GIT: &str = ".git";

/// The files of a checkout by their path relative to its root, with `/` between the parts.
#[derive(Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// Reads the checkout at `root`. Links are not followed.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn load(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.load_folder(root, "").map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(tree)
    }

    fn load_folder(&mut self, folder: &Path, prefix: &str) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                self.load_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() && name != GIT {
                self.files.insert(path, fs::read(entry.path())?);
            }
        }
        Ok(())
    }

    /// A tree for tests, from pairs of path and text.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        Self { files: files.collect() }
    }

    /// The number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// The bytes of a file.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// The text of a file; `None` when it does not exist or is not UTF-8.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.bytes(path).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether a file or a folder of this name exists.
    pub fn exists(&self, path: &str) -> bool {
        path.is_empty() || self.files.contains_key(path) || self.under(&format!("{path}/")).next().is_some()
    }

    /// The paths that start with `prefix`, in order.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.files
            .range(prefix.to_owned()..)
            .map(|(path, _)| path.as_str())
            .take_while(move |path| path.starts_with(prefix))
    }

    /// The text files of this kind, with their text.
    pub fn texts_of_kind<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts()
            .filter(move |(path, _)| Path::new(path).extension().is_some_and(|found| found == extension))
    }

    /// The text files, with their text.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.keys().filter_map(|path| self.text(path).map(|text| (path.as_str(), text)))
    }
}

#[cfg(test)]
mod tests {
    use super::Tree;

    #[test]
    fn folders_exist_through_their_files() {
        let tree = Tree::of(&[("docs/a.md", ""), ("docs-old/b.md", "")]);
        assert!(tree.exists("docs") && tree.exists("docs/a.md") && tree.exists(""));
        assert!(!tree.exists("doc") && !tree.exists("docs/b.md"));
        assert_eq!(tree.under("docs/").collect::<Vec<_>>(), ["docs/a.md"]);
    }

    #[test]
    fn binary_files_have_bytes_but_no_text() {
        let mut tree = Tree::of(&[("a.md", "text")]);
        tree.files.insert("agent.wasm".to_owned(), vec![0, 0xff]);
        assert_eq!(tree.text("agent.wasm"), None);
        assert_eq!(tree.bytes("agent.wasm"), Some([0, 0xff].as_slice()));
        assert_eq!(tree.texts().count(), 1);
    }
}
