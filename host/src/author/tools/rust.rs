//! Rust: the compiler with a target for WebAssembly, from rustup or from Debian.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Missing, Search, Tools, ask, version};

/// What agents are built for: no WASI, so a component imports nothing but the contract.
const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's compiler, and the sources of its standard library, which is built along: Debian has none for WebAssembly.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";
/// What stands between the arguments of an encoded list of flags; a space would break paths that hold one.
const FLAG_SEPARATOR: &str = "\x1f";

const HOW: &str = "rustup target add wasm32-unknown-unknown; or on Debian, as root: apt-get install \
    --no-install-recommends rustc-web rust-web-src cargo-web lld-19";

/// Cargo, and the route that is open on this machine.
pub(super) fn find(search: &Search) -> Result<Tools, Vec<Missing>> {
    let Some(cargo) = search.program("cargo") else {
        return Err(vec![Missing::new("Rust (cargo and rustc)", format!("rustup, then: {HOW}"))]);
    };
    let mut tools = match (rustup(search), debian(search)) {
        (Some(tools), _) | (None, Some(tools)) => tools,
        (None, None) => return Err(vec![Missing::new("Rust's target wasm32-unknown-unknown", HOW)]),
    };
    tools.versions.push(version("cargo", &cargo, &["-V"]));
    tools.environment.insert("CARGO", cargo.into());
    Ok(tools)
}

/// rustup's compiler with its ready-made target and its own linker. The path is printed whether or not it is there.
fn rustup(search: &Search) -> Option<Tools> {
    let rustc = search.program("rustc")?;
    let library = ask(&rustc, &["--print", "target-libdir", "--target", TARGET])?;
    Path::new(&library).is_dir().then(|| tools(&rustc, hidden_places(), ""))
}

/// Debian's compiler, which builds its standard library too.
fn debian(search: &Search) -> Option<Tools> {
    let rustc = search.place(DEBIAN_RUSTC)?;
    let sources = search.place(DEBIAN_SOURCES).filter(|sources| sources.join("library").is_dir())?;
    let linker = linker(search)?;
    let mut flags = hidden_places();
    flags.push(format!("--remap-path-prefix={}=/rustc", sources.display()));
    flags.push(format!("-Clinker={}", linker.display()));
    let mut tools = tools(&rustc, flags, "-Zbuild-std=std,panic_abort");
    // Building the standard library is an option of nightly compilers; this opens it in a released one.
    tools.environment.insert("RUSTC_BOOTSTRAP", OsString::from("1"));
    Some(tools)
}

fn tools(rustc: &Path, flags: Vec<String>, cargo_flags: &str) -> Tools {
    let mut tools = Tools::default();
    tools.versions.push(version("rustc", rustc, &["-V"]));
    tools.environment.insert("RUSTC", rustc.into());
    tools.environment.insert("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR).into());
    tools.environment.insert("CARGO_FLAGS", cargo_flags.into());
    tools
}

/// A linker for WebAssembly: rustup's compiler brings one, with or without a target; else that of LLVM.
fn linker(search: &Search) -> Option<PathBuf> {
    let rustup = search.program("rustc").and_then(|rustc| {
        let root = ask(&rustc, &["--print", "sysroot"])?;
        let verbose = ask(&rustc, &["-Vv"])?;
        let host = verbose.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
        Some(Path::new(&root).join("lib/rustlib").join(host).join("bin/rust-lld"))
    });
    let llvm = ["wasm-ld", "wasm-ld-19"].into_iter().filter_map(|name| search.program(name));
    rustup.into_iter().filter(|linker| linker.is_file()).chain(llvm).next()
}

/// The flags that keep this machine's folders out of the component: each registry by itself, since the name of its folder
/// holds a host and a hash.
fn hidden_places() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let registries = home.map(|home| home.join("registry/src")).and_then(|folder| fs::read_dir(folder).ok());
    let mut folders: Vec<PathBuf> =
        registries.into_iter().flatten().filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    folders.sort();
    folders.iter().map(|folder| format!("--remap-path-prefix={}=/deps", folder.display())).collect()
}
