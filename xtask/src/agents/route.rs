//! Route: a compiler, a standard library and a linker that together build for WebAssembly.

use std::env;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::command::Step;
use crate::repository;

/// What guests are built for: no WASI, so a component imports nothing but the contract.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler, which has another release than rustup's.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The sources of Debian's standard library, which is built along with the guests.
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";
/// Where panics of that library say they happened.
pub const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";

/// One way to build. The bytes depend on which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Debian's compiler builds its standard library too, since Debian has none for WebAssembly.
    BuildStd {
        /// The linker.
        linker: PathBuf,
    },
    /// rustup's compiler with its ready-made target and its own linker.
    Rustup {
        /// The linker that the compiler takes by itself, to record its version.
        linker: PathBuf,
    },
}

/// Everything that bytes depend on besides the sources, the lock file and the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// `build-std` or `rustup`.
    pub route: String,
    /// `rustc -Vv`.
    pub rustc: String,
    /// `cargo -V`.
    pub cargo: String,
    /// The linker's version.
    pub linker: String,
    /// The version of wit-component, which writes itself into the file.
    pub wit_component: String,
}

impl Versions {
    /// What differs, for people: `recorded rustc X, present Y`.
    pub fn difference(&self, present: &Self) -> String {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        let pairs = [
            (&self.rustc, &present.rustc),
            (&self.cargo, &present.cargo),
            (&self.linker, &present.linker),
            (&self.wit_component, &present.wit_component),
            (&self.route, &present.route),
        ];
        let names = ["", "", "linker ", "wit-component ", "route "];
        let differing: Vec<String> = names
            .iter()
            .zip(pairs)
            .filter(|(_, (recorded, present))| recorded != present)
            .map(|(name, (recorded, present))| {
                format!("recorded {name}{}, present {}", first(recorded), first(present))
            })
            .collect();
        differing.join("; ")
    }
}

/// The routes that are open on this machine. The committed files come from the first where it is open: then everybody
/// with Debian's packages can make the same bytes.
///
/// # Errors
/// When rustc is there but does not say where it keeps things.
pub fn all(root: &Path) -> Result<Vec<Route>, String> {
    let mut routes = Vec::new();
    let has_rustc = repository::has_program("rustc");
    let rust_lld = if has_rustc { rust_lld(root)? } else { None };
    if Path::new(DEBIAN_RUSTC).is_file()
        && Path::new(DEBIAN_LIBRARY).is_dir()
        && let Some(linker) = rust_lld.clone().or_else(wasm_ld)
    {
        routes.push(Route::BuildStd { linker });
    }
    // The path is printed whether or not the target is installed.
    if has_rustc
        && Path::new(&ask(root, "rustc", &["--print", "target-libdir", "--target", TARGET])?).is_dir()
        && let Some(linker) = rust_lld.or_else(wasm_ld)
    {
        routes.push(Route::Rustup { linker });
    }
    Ok(routes)
}

impl Route {
    /// The compiler.
    pub fn rustc(&self) -> &'static str {
        match self {
            Self::BuildStd { .. } => DEBIAN_RUSTC,
            Self::Rustup { .. } => "rustc",
        }
    }

    /// The linker.
    pub fn linker(&self) -> &Path {
        match self {
            Self::BuildStd { linker } | Self::Rustup { linker } => linker,
        }
    }

    /// The versions of everything in it.
    ///
    /// # Errors
    /// When a program does not tell its version, or the lock file does not name wit-component.
    pub fn versions(&self, root: &Path) -> Result<Versions, String> {
        let linker = self.linker();
        // rust-lld is several linkers in one and must be told which to be.
        let is_rust_lld = linker.file_stem().is_some_and(|stem| stem == "rust-lld");
        let flavor: &[&str] = if is_rust_lld { &["-flavor", "wasm"] } else { &[] };
        let linker = ask(root, &linker.to_string_lossy(), &[flavor, &["--version"]].concat())?;
        let route = match self {
            Self::BuildStd { .. } => "build-std",
            Self::Rustup { .. } => "rustup",
        };
        Ok(Versions {
            route: route.to_owned(),
            rustc: ask(root, self.rustc(), &["-Vv"])?,
            cargo: ask(root, "cargo", &["-V"])?,
            linker,
            wit_component: wit_component(root)?,
        })
    }
}

/// The linker that rustup's compiler brings, with or without a WebAssembly target.
fn rust_lld(root: &Path) -> Result<Option<PathBuf>, String> {
    let sysroot = ask(root, "rustc", &["--print", "sysroot"])?;
    let verbose = ask(root, "rustc", &["-Vv"])?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let linker = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
    Ok(linker.is_file().then_some(linker))
}

fn wasm_ld() -> Option<PathBuf> {
    repository::find_program("wasm-ld", &env::var_os("PATH")?)
}

/// The version that the lock file chose: this program was built with it.
fn wit_component(root: &Path) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let file = root.join("Cargo.lock");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let lock: Lock = toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let package = lock.package.into_iter().find(|package| package.name == "wit-component");
    package.map(|package| package.version).ok_or_else(|| format!("{}: no wit-component", file.display()))
}

/// What a program writes for these arguments, without the line end.
fn ask(root: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let step = Step::new(format!("{program} {}", arguments.join(" ")), program, root).args(arguments);
    Ok(step.output()?.trim_end().to_owned())
}
