//! Where things are: the checkout that this xtask belongs to, its target folder, its programs.

use std::env;
use std::path::{Path, PathBuf};

/// The root folder of the checkout.
///
/// Cargo sets `CARGO_MANIFEST_DIR` for what it runs; the folder known at compile time serves when the binary is started by
/// hand. The order matters, because checkouts may share a target folder and with it this very binary.
pub fn root() -> PathBuf {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The target folder as an absolute path: `CARGO_TARGET_DIR`, or `target` in the checkout.
pub fn target_folder(root: &Path) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => env::current_dir().unwrap_or_default().join(folder),
        None => root.join("target"),
    }
}

/// The first file called `program` on the given search path (`PATH` syntax).
pub fn find_program(program: &str, search_path: &std::ffi::OsStr) -> Option<PathBuf> {
    env::split_paths(search_path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether `program` is on this process's `PATH`.
pub fn has_program(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| find_program(program, &path).is_some())
}
