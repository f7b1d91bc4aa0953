//! Sources: one hash over everything in the repository that the bytes of the kept components depend on.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The contract that the SDK is generated from.
const CONTRACT: &str = "wit/0.1.0";

/// SHA-256 over the manifests, the lock file and the Rust sources of the guests and the contract, in hexadecimal. Tests in
/// files of their own (`tests.rs`, `tests/`) and documentation do not count.
///
/// # Errors
/// When a file cannot be read.
pub fn hash(root: &Path) -> Result<String, String> {
    let mut files = vec![root.join("plugins/Cargo.toml"), root.join("plugins/Cargo.lock")];
    collect(&root.join(CONTRACT), &mut files)?;
    for member in folders(&root.join("plugins"))? {
        if member.join("Cargo.toml").is_file() {
            collect(&member, &mut files)?;
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file);
        // Name and length first, so that no two sets of files read the same.
        hash.update(format!("{}\0{}\0", name.display(), bytes.len()));
        hash.update(&bytes);
    }
    Ok(hex(&hash.finalize()))
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The files below a folder that the compiler or the bindings read.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "tests" && name != "target" {
                collect(&path, files)?;
            }
        } else if name == "Cargo.toml"
            || name.ends_with(".wit")
            || (name.ends_with(".rs") && name != "tests.rs")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, String> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::read_dir(folder).map_err(told)?.map(|entry| entry.map(|e| e.path()).map_err(told)).collect()
}
