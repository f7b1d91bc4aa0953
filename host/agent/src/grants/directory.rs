//! DirectoryGrant: a folder that an agent may read, or read and write.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::GrantError;

/// The longest name that an agent sees a folder under, in bytes.
const MAX_NAME: usize = 200;

/// A folder that an agent may use, under the name by which the agent knows it: `/in`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct DirectoryGrant {
    path: PathBuf,
    name: String,
    writable: bool,
}

/// The form in JSON: `{"path": "/var/fax/in", "as": "/in", "access": "read"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: PathBuf,
    #[serde(rename = "as")]
    name: Option<String>,
    #[serde(default)]
    access: Access,
}

/// What an agent may do in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read files and list folders.
    #[default]
    Read,
    /// That, and make, change, rename and delete files and folders.
    Write,
}

impl DirectoryGrant {
    /// A grant of the folder at `path`. `name` is how the agent sees it; `None`: under the last part of the path.
    ///
    /// # Errors
    /// When the name is not one absolute path without `.` and `..`, or there is none to be made of the path.
    pub fn new(path: impl Into<PathBuf>, name: Option<&str>, access: Access) -> Result<Self, GrantError> {
        let path = path.into();
        let fail = |why: &str| GrantError { text: path.to_string_lossy().into_owned(), why: why.to_owned() };
        let last = || path.file_name().map(|last| format!("/{}", last.to_string_lossy()));
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                last().ok_or_else(|| fail("it has no name that the agent could see: add one with `as`"))?
            }
        };
        if !is_plain(&name) {
            return Err(fail("the name that the agent sees is an absolute path, such as \"/in\""));
        }
        Ok(Self { writable: access == Access::Write, name, path })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the agent sees it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the agent may write there.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.writable
    }
}

/// `/a/b`: absolute, with at least one part, and each part is a plain name.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let is_whole = parts.next() == Some(Component::RootDir);
    let names: Vec<_> = parts.map(|part| matches!(part, Component::Normal(_))).collect();
    let same = !name.contains("//") && !name.contains("/./") && !name.ends_with(['/', '.']);
    is_whole
        && same
        && name.len() <= MAX_NAME
        && !name.contains(char::is_control)
        && !names.is_empty()
        && names.into_iter().all(|plain| plain)
}

impl TryFrom<Written> for DirectoryGrant {
    type Error = GrantError;

    fn try_from(written: Written) -> Result<Self, GrantError> {
        Self::new(written.path, written.name.as_deref(), written.access)
    }
}

impl fmt::Display for DirectoryGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = if self.writable { "write" } else { "read" };
        write!(f, "{} as {} ({access})", self.path.display(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_seen_under_its_last_name_unless_the_grant_says_another() {
        let grant = DirectoryGrant::new("/var/fax/fonts", None, Access::Read).unwrap();
        assert_eq!((grant.name(), grant.is_writable()), ("/fonts", false));
        let grant = DirectoryGrant::new("/", Some("/fax/in"), Access::Write).unwrap();
        assert_eq!(grant.to_string(), "/ as /fax/in (write)");
        let read = r#"{"path": "/var/fax/in", "as": "/in", "access": "write"}"#;
        let grant: DirectoryGrant = serde_json::from_str(read).unwrap();
        assert_eq!(
            (grant.path(), grant.name(), grant.is_writable()),
            (Path::new("/var/fax/in"), "/in", true)
        );
    }

    #[test]
    fn what_is_no_name_for_a_folder_is_refused() {
        for name in ["", "in", "/", "//in", "/in/", "/../in", "/in/..", "/in/./x", "/in/.", "/i\nn", "/i\0n"]
        {
            assert!(DirectoryGrant::new("/var/in", Some(name), Access::Read).is_err(), "{name:?}");
        }
        assert!(DirectoryGrant::new("/", None, Access::Read).unwrap_err().why.contains("`as`"));
        assert!(DirectoryGrant::new("/x", Some(&format!("/{}", "x".repeat(200))), Access::Read).is_err());
        assert!(serde_json::from_str::<DirectoryGrant>(r#"{"path": "/x", "access": "rw"}"#).is_err());
    }
}
