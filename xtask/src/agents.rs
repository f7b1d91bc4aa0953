//! `cargo xtask agents build [--check] [--force]`: builds the agents in `plugins/` as WebAssembly components, and keeps the
//! small files in `plugins/prebuilt` the same as what their sources make.

mod guest;
mod record;
mod route;
mod sources;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use self::guest::Guest;
use self::record::Record;

/// Where the kept components and their record are, seen from the root of the checkout.
pub const PREBUILT: &str = "plugins/prebuilt";

/// What the command line asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentsArguments {
    /// Change nothing: build again and compare.
    pub check: bool,
    /// Build even where the sources have not changed since the kept files were built.
    pub force: bool,
}

impl AgentsArguments {
    /// Reads the words after `agents`.
    ///
    /// # Errors
    /// When the first is not `build`, or another is not an option of it.
    pub fn parse(words: &[String]) -> Result<Self, Fault> {
        let Some((first, options)) = words.split_first() else {
            return Err(Fault::Usage("agents: say 'agents build [--check] [--force]'".to_owned()));
        };
        if first != "build" {
            return Err(Fault::Usage(format!("agents: there is no '{first}', only 'build'")));
        }
        let mut arguments = Self::default();
        for option in options {
            match option.as_str() {
                "--check" => arguments.check = true,
                "--force" => arguments.force = true,
                other => return Err(Fault::Usage(format!("agents build: there is no option '{other}'"))),
            }
        }
        Ok(arguments)
    }
}

/// What was done. Its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The kept files were built from these very sources; nothing was built.
    UpToDate,
    /// The kept files were written.
    Written(Vec<PathBuf>),
    /// A fresh build has the same bytes as the kept files.
    Same(Vec<PathBuf>),
    /// A fresh build succeeded, but with other versions, whose bytes would differ anyway.
    NotCompared {
        /// What differs.
        why: String,
        /// The fresh files, for tests to run on.
        fresh: Vec<PathBuf>,
    },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpToDate => write!(f, "{PREBUILT} is up to date: its sources have not changed"),
            Self::Written(files) => write!(f, "written: {}", listed(files)),
            Self::Same(files) => write!(f, "a fresh build has the same bytes: {}", listed(files)),
            Self::NotCompared { why, fresh } => {
                write!(f, "bytes not compared: {why}; fresh build at {}", listed(fresh))
            }
        }
    }
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The command line is wrong.
    Usage(String),
    /// Nothing here can build for WebAssembly; the text says what to install.
    NoToolchain(String),
    /// The build failed, or the kept files are not what their sources make.
    Failed(String),
}

impl Fault {
    /// 2 for a wrong command line, 3 where only the toolchain is missing, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NoToolchain(_) => 3,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::NoToolchain(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

/// Builds the agents of the checkout at `root`, or checks that the kept files are theirs.
///
/// # Errors
/// [`Fault::NoToolchain`] where nothing can build for WebAssembly, and [`Fault::Failed`] where a build fails, the kept
/// files were changed or are older than their sources, or a build with the same versions makes other bytes.
pub fn run(root: &Path, arguments: AgentsArguments) -> Result<Done, Fault> {
    let guests = guest::all(root)?;
    let sources = sources::hash(root)?;
    let record = Record::read(root)?;
    let kept = kept_files_fit(root, record.as_ref(), &guests, &sources);
    if arguments.check {
        let record = kept.map_err(|why| {
            Fault::Failed(format!("{PREBUILT}: {why}; run `cargo xtask agents build` and commit the result"))
        })?;
        return check(root, &guests, record);
    }
    if kept.is_ok() && !arguments.force {
        return Ok(Done::UpToDate);
    }
    let route = route::all(root)?.into_iter().next().ok_or_else(no_toolchain)?;
    let built = guest::build(root, &guests, &route)?;
    let folder = root.join(PREBUILT);
    let files = write_all(&folder, &built)?;
    let versions = route.versions(root)?;
    Record::new(versions, sources, &built).write(root)?;
    remove_others(&folder, &files)?;
    Ok(Done::Written(files))
}

/// Builds with the recorded versions where they are here, else with what is here.
fn check(root: &Path, guests: &[Guest], record: &Record) -> Result<Done, Fault> {
    let routes = route::all(root)?;
    let mut present = Vec::new();
    for route in routes {
        let versions = route.versions(root)?;
        present.push((route, versions));
    }
    let recorded = present.iter().position(|(_, versions)| *versions == record.versions);
    let (route, versions) = present.get(recorded.unwrap_or(0)).ok_or_else(no_toolchain)?;
    let built = guest::build(root, guests, route)?;
    let fresh = write_all(&guest::target(root).join("fresh"), &built)?;
    if recorded.is_none() {
        return Ok(Done::NotCompared { why: record.versions.difference(versions), fresh });
    }
    for ((name, bytes), file) in built.iter().zip(&fresh) {
        let kept = root.join(PREBUILT).join(format!("{name}.wasm"));
        if read(&kept)? != *bytes {
            return Err(Fault::Failed(format!(
                "{} is not what its sources make with the recorded versions; a fresh build is {}",
                kept.display(),
                file.display()
            )));
        }
    }
    Ok(Done::Same(fresh))
}

/// Whether each guest has a kept file, unchanged since it was built, from sources unchanged since then.
fn kept_files_fit<'a>(
    root: &Path,
    record: Option<&'a Record>,
    guests: &[Guest],
    sources: &str,
) -> Result<&'a Record, String> {
    let record = record.ok_or("there is no BUILD.toml")?;
    for guest in guests {
        let name = format!("{}.wasm", guest.name);
        let recorded = record.files.get(&name).ok_or(format!("BUILD.toml does not name {name}"))?;
        if sources::sha256(&read(&root.join(PREBUILT).join(&name))?) != *recorded {
            return Err(format!("{name} is not the file that BUILD.toml names"));
        }
    }
    if record.sources != sources {
        return Err("the sources have changed since the files were built".to_owned());
    }
    Ok(record)
}

fn no_toolchain() -> Fault {
    Fault::NoToolchain(format!(
        "nothing here builds for WebAssembly. Run `rustup target add {}`, or on Debian `apt-get install \
         --no-install-recommends rustc-web rust-web-src` (that also needs `wasm-ld` or rustup's `rust-lld`)",
        route::TARGET
    ))
}

/// Writes `NAME.wasm` for each into a folder, which is made.
fn write_all(folder: &Path, built: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let write = |(name, bytes): &(String, Vec<u8>)| {
        let file = folder.join(format!("{name}.wasm"));
        fs::write(&file, bytes).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    };
    built.iter().map(write).collect()
}

/// Removes components whose agent is gone.
fn remove_others(folder: &Path, files: &[PathBuf]) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let file = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
        if file.extension().is_some_and(|e| e == "wasm") && !files.contains(&file) {
            fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
