//! Secrets by reference: the configuration names where a secret lies, never the secret.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::outgoing::check_name;
use super::raw::{Section, Wrong};
use super::values::{line, quoted};

/// Looks an environment variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of a secret. Never shown: not by `Debug`, not by any view or log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The longest secret, in bytes.
    pub const MAX_SIZE: u64 = 64 * 1024;

    /// Wraps a value.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// The value itself. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// The secrets of `[secrets]`, by name.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: BTreeMap<String, Secret>,
    /// The files that they lie in.
    files: Vec<PathBuf>,
}

impl Secrets {
    /// The secret of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.values.get(name)
    }

    /// All names in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The files that secrets lie in.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Reads `[secrets]` and fetches what it names. A secret that cannot be fetched is a fault; it stays known by
    /// name, so that its users are not blamed as well. Without an environment nothing is fetched.
    pub(super) fn read(root: &Section<'_>, environment: Option<Environment<'_>>) -> Self {
        let mut secrets = Self::default();
        for (name, section) in root.named("secrets") {
            check_name(&section, name);
            let sources = ["file", "env", "credential"].map(|key| section.optional(key, line));
            let given = section.entries().len();
            secrets.files.extend(sources[0].as_deref().map(|file| section.document().resolve(file)));
            section.finish();
            let fetched = match (sources, environment) {
                _ if given != 1 => Err(Wrong::hinted(
                    format!("a secret needs exactly one source, found {given}"),
                    format!(
                        "write {name} = {{ file = \"...\" }}, {{ env = \"...\" }} or {{ credential = \"...\" }}"
                    ),
                )),
                // Only looked at: nobody will need the value.
                (_, None) => Ok(Secret::new("")),
                ([Some(file), _, _], _) => from_file(&section.document().resolve(&file)),
                ([_, Some(variable), _], Some(environment)) => from_environment(&variable, environment),
                ([_, _, Some(credential)], Some(environment)) => from_credential(&credential, environment),
                // The one key that is there was at fault and has been reported.
                _ => Ok(Secret::new("")),
            };
            let secret = fetched.unwrap_or_else(|wrong| {
                section.fault(wrong);
                Secret::new("")
            });
            secrets.values.insert(name.to_owned(), secret);
        }
        secrets
    }
}

fn from_environment(variable: &str, environment: Environment<'_>) -> Result<Secret, Wrong> {
    let value = environment(variable).filter(|value| !value.is_empty());
    value.map(|value| Secret::new(&value)).ok_or_else(|| {
        Wrong::hinted(
            format!("the environment variable {} is not set or is empty", quoted(variable)),
            "set it where the service is started, or take the secret from a file",
        )
    })
}

/// systemd puts credentials of a service in a folder of its own and names it (systemd.exec, `LoadCredential=`).
fn from_credential(credential: &str, environment: Environment<'_>) -> Result<Secret, Wrong> {
    if credential.contains('/') || credential.starts_with('.') {
        return Err(Wrong::new(format!("{} is not the name of a credential", quoted(credential))));
    }
    let Some(folder) = environment("CREDENTIALS_DIRECTORY") else {
        return Err(Wrong::hinted(
            "this process was not given any credentials (CREDENTIALS_DIRECTORY is not set)",
            format!("put LoadCredential={credential}:/path/of/the/file in the service unit"),
        ));
    };
    from_file(&Path::new(&folder).join(credential))
}

/// The text of a file without the line break at its end. The file must be closed to other users of the machine.
fn from_file(path: &Path) -> Result<Secret, Wrong> {
    let shown = quoted(&path.to_string_lossy());
    let unreadable =
        |error: std::io::Error| Wrong::new(format!("the secret file {shown} cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    // Asked of the open file, so that it cannot be exchanged between the look and the reading.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Wrong::new(format!("{shown} is not a file")));
    }
    if metadata.mode() & 0o007 != 0 {
        return Err(Wrong::hinted(
            format!(
                "the secret file {shown} is open to every user of this machine (mode {:04o})",
                metadata.mode() & 0o7777
            ),
            format!("chmod o-rwx {}", path.display()),
        ));
    }
    let mut value = String::new();
    file.take(Secret::MAX_SIZE + 1).read_to_string(&mut value).map_err(unreadable)?;
    if value.len() as u64 > Secret::MAX_SIZE {
        return Err(Wrong::new(format!("the secret file {shown} is larger than {} bytes", Secret::MAX_SIZE)));
    }
    let value = value.strip_suffix('\n').unwrap_or(&value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(Wrong::new(format!("the secret file {shown} is empty")));
    }
    Ok(Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    fn file(content: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_secret_file_is_read_without_its_last_line_break() {
        let secret = from_file(file("s3cret \r\n", 0o640).path()).unwrap();
        assert_eq!(secret.expose(), "s3cret ");
    }

    #[test]
    fn a_file_that_others_may_read_or_write_is_refused() {
        for mode in [0o644, 0o602, 0o601] {
            let wrong = from_file(file("s3cret", mode).path()).unwrap_err();
            assert!(wrong.message.contains("open to every user"), "{mode:o}");
            assert!(wrong.hint.unwrap().starts_with("chmod o-rwx /"));
        }
    }

    #[test]
    fn empty_huge_and_missing_files_are_refused() {
        assert!(from_file(file("\n", 0o600).path()).unwrap_err().message.contains("is empty"));
        assert!(from_file(file(&"x".repeat(70_000), 0o600).path()).unwrap_err().message.contains("larger"));
        assert!(from_file(Path::new("/nonexistent/secret")).unwrap_err().message.contains("cannot be read"));
        assert!(from_file(Path::new("/tmp")).unwrap_err().message.contains("is not a file"));
    }

    #[test]
    fn the_value_never_shows_in_debug_output() {
        let values = BTreeMap::from([("key".to_owned(), Secret::new("s3cret"))]);
        let secrets = Secrets { values, files: vec!["key".into()] };
        let shown = "Secrets { values: {\"key\": Secret(hidden)}, files: [\"key\"] }";
        assert_eq!(format!("{secrets:?}"), shown);
    }
}
