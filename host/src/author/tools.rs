//! Tools: the compilers and programs that a build needs, where they are on this machine, and what to do when they are not.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::language::Language;
use super::project::Project;

mod clang;
mod rust;
mod scripts;

/// What a build script gets, and what its result depends on beside the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// The variables that tell the script which tools to use.
    pub environment: BTreeMap<&'static str, OsString>,
    /// The tools and their versions, for people, and for knowing when to build again.
    pub versions: Vec<String>,
}

/// Something that a build needs and that is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// How to get it.
    pub how: String,
}

impl Missing {
    fn new(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self { what: what.into(), how: how.into() }
    }
}

/// Where programs are looked for: in the project's own folders first, then in `PATH`.
#[derive(Clone, Debug)]
pub struct Search {
    folders: Vec<PathBuf>,
    /// Where Debian's packages put what is in no `PATH`; `/` but in tests.
    system: PathBuf,
}

impl Search {
    /// For a project, on this machine.
    #[must_use]
    pub fn new(project: &Project) -> Self {
        let own = ["node_modules/.bin", ".venv/bin"].map(|folder| project.folder.join(folder));
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = own.into_iter().chain(env::split_paths(&path)).collect();
        Self { folders, system: PathBuf::from("/") }
    }

    /// The first program of this name.
    fn program(&self, name: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path))
    }

    /// A place in the system; `None` when nothing is there.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let path = self.system.join(path.trim_start_matches('/'));
        path.exists().then_some(path)
    }
}

/// The tools that build a project.
///
/// # Errors
/// With everything that is missing, and how to get it.
pub fn find(project: &Project, search: &Search) -> Result<Tools, Vec<Missing>> {
    match project.language {
        Language::Rust => rust::find(search),
        Language::C => clang::find(search, clang::Dialect::C),
        Language::Cpp => clang::find(search, clang::Dialect::Cpp),
        Language::Js => scripts::javascript(search),
        Language::Ts => scripts::typescript(search),
        Language::Python => scripts::python(search),
        Language::Go => scripts::go(search),
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What a program writes for these arguments, without the white space at its end; `None` when it fails.
fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// A program with the first line of what it says of its version.
fn version(name: &str, program: &Path, arguments: &[&str]) -> String {
    let said = ask(program, arguments).unwrap_or_default();
    format!("{name}: {}", said.lines().next().unwrap_or("of unknown version"))
}
