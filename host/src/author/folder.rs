//! Folder: the folder of a new agent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kit;
use super::language::Language;

/// The longest name of an agent, in bytes: it becomes part of file names and identifiers.
const MAX_NAME: usize = 40;
/// Names that mean something else in one of the languages or their tools.
const TAKEN: [&str; 12] = [
    "agent",
    "app",
    "build",
    "core",
    "delivery-agent",
    "main",
    "postern",
    "postern-agent-sdk",
    "sdk",
    "std",
    "test",
    "wit",
];

/// What `postern agent new` is asked for.
#[derive(Clone, Debug)]
pub struct NewAgent {
    /// Its name: that of the package, of the component and of its protocol.
    pub name: String,
    /// In what it is written.
    pub language: Language,
    /// Whether it posts to a web address.
    pub http: bool,
    /// The folder; must not exist.
    pub folder: PathBuf,
}

/// Why there is no new folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// The name will not do.
    #[error("'{0}' cannot be the name of an agent: {1}")]
    Name(String, &'static str),
    /// There is something of that name.
    #[error("{} exists already and is left as it is; choose another folder with --dir", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Writes the folder of a new agent, and returns the paths in it, sorted.
///
/// # Errors
/// When the name will not do, the folder is there already, or cannot be written. A folder that could not be written whole
/// is removed again.
pub fn create(new: &NewAgent) -> Result<Vec<String>, FolderFault> {
    check_name(&new.name).map_err(|why| FolderFault::Name(new.name.clone(), why))?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| FolderFault::Write { path, error }
    };
    if let Some(parent) = new.folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed(parent))?;
    }
    // Fails where anything of that name is, so nothing of the author's is ever overwritten.
    fs::create_dir(&new.folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => FolderFault::Exists(new.folder.clone()),
        _ => FolderFault::Write { path: new.folder.clone(), error },
    })?;
    let files = kit::files(new.language, &new.name, new.http);
    for (name, bytes) in &files {
        let path = new.folder.join(name);
        let folder = path.parent().unwrap_or(&new.folder);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
        if let Err(error) = written {
            // What could be written of it would only stand in the way of the next try.
            let _ = fs::remove_dir_all(&new.folder);
            return Err(FolderFault::Write { path, error });
        }
    }
    Ok(files.into_keys().collect())
}

/// What is wrong with a name, in words.
fn check_name(name: &str) -> Result<(), &'static str> {
    let is_letter = |c: char| c.is_ascii_lowercase();
    if !name.starts_with(is_letter) {
        return Err("it must begin with a small letter");
    }
    if !name.chars().all(|c| is_letter(c) || c.is_ascii_digit() || c == '-') {
        return Err("only small letters, digits and '-' may stand in it");
    }
    if name.ends_with('-') || name.contains("--") {
        return Err("'-' may only stand between two parts");
    }
    if name.len() > MAX_NAME {
        return Err("it is longer than 40 letters");
    }
    if TAKEN.contains(&name) {
        return Err("that word means something else to compilers; a longer name helps");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_every_language() {
        for good in ["fax", "sms-http", "a1", "pager-2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "a".repeat(41);
        for bad in
            ["", "Fax", "1a", "-a", "a-", "a--b", "a_b", "a/b", "..", "a b", "ä", "build", "std", &long]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("deep/fax");
        let new =
            NewAgent { name: "fax".to_owned(), language: Language::C, http: false, folder: folder.clone() };
        let written = create(&new).unwrap();
        assert!(written.iter().all(|name| folder.join(name).is_file()) && written.len() > 6, "{written:?}");
        fs::write(folder.join("build.sh"), "mine").unwrap();
        assert!(matches!(create(&new), Err(FolderFault::Exists(_))));
        assert_eq!(fs::read_to_string(folder.join("build.sh")).unwrap(), "mine");
        let bad = NewAgent { name: "../fax".to_owned(), folder: parent.path().join("bad"), ..new };
        assert!(matches!(create(&bad), Err(FolderFault::Name(..))));
        assert!(!bad.folder.exists());
    }
}
