//! Puts what an agent's author starts from into the program: the templates of each language, the SDK in Rust, and the
//! contract. So `postern agent new` needs no checkout and no network.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is embedded, seen from the root of the checkout.
const EMBEDDED: [&str; 4] = ["plugins/languages", "plugins/sdk/Cargo.toml", "plugins/sdk/src", "wit/0.1.0"];

/// What building and testing a template in its place leaves behind.
const LEFT_BEHIND: [&str; 6] = ["build", "target", "node_modules", ".venv", "__pycache__", ".git"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts"));
    let root = here.parent().expect("the package lies in the checkout");
    let mut files = Vec::new();
    for name in EMBEDDED {
        println!("cargo::rerun-if-changed={}", root.join(name).display());
        collect(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut code = String::from("[\n");
    for file in files {
        let name = file.strip_prefix(root).expect("it was found below the root");
        writeln!(
            code,
            "({:?}, include_bytes!({:?}).as_slice()),",
            name.display().to_string(),
            file.display().to_string()
        )
        .expect("writing to a string does not fail");
    }
    code.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    fs::write(out.join("embedded.rs"), code)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !LEFT_BEHIND.iter().any(|name| entry.file_name() == *name) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}
