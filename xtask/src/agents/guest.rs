//! Guest: one agent in Rust, from its crate to its component.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wit_component::ComponentEncoder;

use super::route::{DEBIAN_SOURCES, Route, TARGET};
use crate::command::Step;
use crate::repository;

/// What stands between the arguments of an encoded list of flags; a space would break paths that hold one.
const FLAG_SEPARATOR: &str = "\x1f";

/// A member of the guests' workspace that becomes a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The name of its package and of its file.
    pub name: String,
}

#[derive(Deserialize)]
struct Workspace {
    workspace: Members,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    package: Package,
    #[serde(default)]
    lib: Library,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

#[derive(Default, Deserialize)]
struct Library {
    #[serde(default, rename = "crate-type")]
    crate_type: Vec<String>,
}

/// The members of `plugins/Cargo.toml` that are made to be loaded (`cdylib`), by name.
///
/// # Errors
/// When a manifest cannot be read.
pub fn all(root: &Path) -> Result<Vec<Guest>, String> {
    let plugins = root.join("plugins");
    let workspace: Workspace = manifest(&plugins)?;
    let mut guests = Vec::new();
    for member in workspace.workspace.members {
        let manifest: Manifest = manifest(&plugins.join(member))?;
        if manifest.lib.crate_type.iter().any(|kind| kind == "cdylib") {
            guests.push(Guest { name: manifest.package.name });
        }
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

fn manifest<T: for<'de> Deserialize<'de>>(folder: &Path) -> Result<T, String> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// Where guests are compiled: below `CARGO_TARGET_DIR` where that is set, so that fresh clones share it, else in
/// `plugins/target`.
pub fn target(root: &Path) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(_) => repository::target_folder(root).join("guests"),
        None => root.join("plugins/target"),
    }
}

/// Builds all guests on one route: name and bytes of each.
///
/// # Errors
/// When the compiler or the encoder fails, or a path of this machine stands in a component.
pub fn build(root: &Path, guests: &[Guest], route: &Route) -> Result<Vec<(String, Vec<u8>)>, String> {
    let plugins = root.join("plugins");
    // The folders of the registry must exist before their names can be hidden.
    isolated(Step::cargo("guests fetched", "fetch --locked", &plugins)).run()?;
    let home = cargo_home()?;
    let target = target(root);
    let mut step = isolated(Step::cargo("guests compiled", "build --locked --release", &plugins))
        .args(["--target", TARGET, "--target-dir"])
        .args([target.as_os_str()])
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root, &home, route)?.join(FLAG_SEPARATOR))
        .env("RUSTC", route.rustc());
    for guest in guests {
        step = step.args(["--package", &guest.name]);
    }
    if matches!(route, Route::BuildStd { .. }) {
        // Building the standard library is an option of nightly compilers; this opens it in a released one.
        step = step.env("RUSTC_BOOTSTRAP", "1").args(["-Zbuild-std=std,panic_abort"]);
    }
    step.run()?;
    let folder = target.join(TARGET).join("release");
    let mut built = Vec::new();
    for guest in guests {
        let core = folder.join(format!("{}.wasm", guest.name.replace('-', "_")));
        let core = fs::read(&core).map_err(|error| format!("{}: {error}", core.display()))?;
        let component = encode(&core).map_err(|error| format!("{}: {error}", guest.name))?;
        for secret in [root.as_os_str(), home.as_os_str()]
            .into_iter()
            .chain(env::home_dir().as_ref().map(|h| h.as_os_str()))
        {
            refuse_text(&guest.name, &component, &secret.to_string_lossy())?;
        }
        for registry in registries(&home)? {
            let name = registry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            refuse_text(&guest.name, &component, &name)?;
        }
        built.push((guest.name.clone(), component));
    }
    Ok(built)
}

fn encode(core: &[u8]) -> Result<Vec<u8>, String> {
    let encoded = ComponentEncoder::default().validate(true).module(core).and_then(|mut e| e.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

/// The flags that hide where things are on this machine, and the linker.
fn flags(root: &Path, home: &Path, route: &Route) -> Result<Vec<String>, String> {
    let hide = |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    let mut flags = vec![hide(root, "/postern")];
    // Each one by itself: the name of its folder holds the registry's host and a hash.
    flags.extend(registries(home)?.iter().map(|registry| hide(registry, "/deps")));
    if let Route::BuildStd { linker } = route {
        flags.push(hide(Path::new(DEBIAN_SOURCES), "/rustc"));
        flags.push(format!("-Clinker={}", linker.display()));
    }
    Ok(flags)
}

/// The folders with the sources of dependencies, sorted.
fn registries(home: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = home.join("registry/src");
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(&folder).map_err(told)?;
    let mut registries: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path()).map_err(told)).collect::<Result<_, _>>()?;
    registries.sort();
    Ok(registries)
}

fn cargo_home() -> Result<PathBuf, String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| env::home_dir().map(|h| h.join(".cargo")))
        .ok_or("there is no CARGO_HOME and no HOME".to_owned())
}

/// Takes away what the caller's environment would change in the build; how to reach a registry stays.
fn isolated(mut step: Step) -> Step {
    let kept = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_TERM_", "CARGO_SOURCE_"];
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        let build = name.starts_with("CARGO") && !kept.iter().any(|k| name.starts_with(k));
        if build || name.starts_with("RUSTC") || name.ends_with("RUSTFLAGS") {
            step = step.env_remove(&key);
        }
    }
    step
}

/// A component must be the same from every machine, and tell nobody about this one.
fn refuse_text(name: &str, component: &[u8], text: &str) -> Result<(), String> {
    // "/" alone would be found in every file, and means that nothing is known of the machine.
    if text.len() > 1 && component.windows(text.len()).any(|window| window == text.as_bytes()) {
        return Err(format!("{name}: the text {text:?} of this machine stands in the component"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_in_a_component_is_refused() {
        assert!(refuse_text("a", b"xx/home/jo/x", "/home/jo").unwrap_err().contains("/home/jo"));
        assert_eq!(refuse_text("a", b"xx/postern/x", "/home/jo"), Ok(()));
        assert_eq!(refuse_text("a", b"/", "/"), Ok(()));
    }

    #[test]
    fn what_is_no_module_is_not_encoded() {
        assert!(encode(b"not wasm").is_err());
    }
}
