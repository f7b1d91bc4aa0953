//! A fresh clone of what is committed, and a search path with nothing on it but what README promises to be enough.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process;

use crate::command::Step;
use crate::repository;

/// From the Rust toolchain.
const RUST: [&str; 3] = ["cargo", "rustc", "rustdoc"];

/// What a C compiler is made of: the driver, the assembler, the linker and the archiver.
const C_COMPILER: [&str; 8] = ["cc", "gcc", "as", "ld", "ld.bfd", "ar", "ranlib", "nm"];

/// GNU coreutils, all of them that systems install.
const COREUTILS: [&str; 104] = [
    "[",
    "arch",
    "b2sum",
    "base32",
    "base64",
    "basename",
    "basenc",
    "cat",
    "chcon",
    "chgrp",
    "chmod",
    "chown",
    "cksum",
    "comm",
    "cp",
    "csplit",
    "cut",
    "date",
    "dd",
    "df",
    "dir",
    "dircolors",
    "dirname",
    "du",
    "echo",
    "env",
    "expand",
    "expr",
    "factor",
    "false",
    "fmt",
    "fold",
    "groups",
    "head",
    "hostid",
    "id",
    "install",
    "join",
    "link",
    "ln",
    "logname",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mv",
    "nice",
    "nl",
    "nohup",
    "nproc",
    "numfmt",
    "od",
    "paste",
    "pathchk",
    "pinky",
    "pr",
    "printenv",
    "printf",
    "ptx",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "runcon",
    "seq",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shred",
    "shuf",
    "sleep",
    "sort",
    "split",
    "stat",
    "stdbuf",
    "stty",
    "sum",
    "sync",
    "tac",
    "tail",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "tsort",
    "tty",
    "uname",
    "unexpand",
    "uniq",
    "unlink",
    "users",
    "vdir",
    "wc",
    "who",
    "whoami",
    "yes",
];

/// A clone in a temporary folder, removed when this value is dropped.
pub struct FreshClone {
    folder: PathBuf,
}

impl FreshClone {
    /// Clones the commit that is checked out at `root`.
    ///
    /// # Errors
    /// When git or the file system refuses.
    pub fn of(root: &Path) -> Result<Self, String> {
        let folder = env::temp_dir().join(format!("postern-clone-{}", process::id()));
        let clone = Self { folder };
        fs::create_dir(&clone.folder).map_err(|error| format!("{}: {error}", clone.folder.display()))?;
        Step::new("fresh clone", "git", root)
            .args(["clone", "--quiet", "--no-hardlinks"])
            .args([root.as_os_str(), clone.checkout().as_os_str()])
            .run()?;
        let path = env::var_os("PATH").unwrap_or_default();
        link_programs(&clone.programs(), &toolchain(root)?, &path)?;
        Ok(clone)
    }

    /// The root of the cloned checkout.
    pub fn checkout(&self) -> PathBuf {
        self.folder.join("postern")
    }

    /// The folder with links to the few promised programs: the whole `PATH` of what runs in the clone.
    pub fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// A cargo command in the clone, with the restricted `PATH`, that compiles into `target`.
    ///
    /// Sharing the target folder keeps the dependencies compiled once. The variables that add tests are taken away: this is
    /// a user's first run.
    pub fn cargo(&self, name: &str, line: &str, target: &Path) -> Step {
        Step::cargo(name, line, &self.checkout())
            .env("PATH", self.programs())
            .env("CARGO_TARGET_DIR", target)
            .env_remove("CARGO")
            .env_remove("POSTERN_MAIL_CORPUS")
    }
}

impl Drop for FreshClone {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("xtask: {} is left behind: {error}", self.folder.display());
        }
    }
}

/// The folder of the real compiler. The `cargo` on the path may be a version manager's, which puts folders of its own in
/// front of the path of what it starts: with it, the restricted path would not be one.
fn toolchain(root: &Path) -> Result<PathBuf, String> {
    let sysroot = Step::new("sysroot", "rustc", root).args(["--print", "sysroot"]).output()?;
    Ok(Path::new(sysroot.trim_end()).join("bin"))
}

/// Fills the new folder `programs` with links to the promised programs.
fn link_programs(programs: &Path, toolchain: &Path, search_path: &OsStr) -> Result<(), String> {
    fs::create_dir(programs).map_err(|error| format!("{}: {error}", programs.display()))?;
    let toolchain_first =
        env::join_paths(std::iter::once(toolchain.to_path_buf()).chain(env::split_paths(search_path)))
            .map_err(|error| format!("PATH: {error}"))?;
    for program in RUST {
        let file = repository::find_program(program, &toolchain_first)
            .ok_or_else(|| format!("{program} is not on the PATH"))?;
        link(&file, &programs.join(program))?;
    }
    for program in C_COMPILER.iter().chain(&COREUTILS) {
        // Which of them there are differs between systems; what is missed will be named by what needs it.
        if let Some(file) = repository::find_program(program, search_path) {
            link(&file, &programs.join(program))?;
        }
    }
    Ok(())
}

fn link(file: &Path, place: &Path) -> Result<(), String> {
    symlink(file, place).map_err(|error| format!("{}: {error}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_restricted_path_holds_a_working_toolchain_and_nothing_else() {
        let folder = env::temp_dir().join(format!("postern-programs-{}", process::id()));
        let root = repository::root();
        let path = env::var_os("PATH").unwrap_or_default();
        link_programs(&folder, &toolchain(&root).unwrap(), &path).unwrap();

        let run = |program: &str| {
            Step::new("version", program, Path::new("/")).args(["--version"]).env("PATH", &folder).output()
        };
        let answers: Vec<_> = ["cargo", "rustc", "cc", "ls"].into_iter().map(run).collect();
        let found: Vec<_> = ["git", "cargo-nextest", "python3", "grep", "sh"]
            .into_iter()
            .filter(|program| repository::find_program(program, folder.as_os_str()).is_some())
            .collect();
        fs::remove_dir_all(&folder).unwrap();

        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(found, Vec::<&str>::new());
    }
}
