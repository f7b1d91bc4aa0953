//! Programs: other people's programs that a benchmark needs, found on this machine.

use std::path::PathBuf;

/// A program on the search path, or where system programs lie.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A C compiler.
pub fn compiler() -> Option<PathBuf> {
    ["cc", "gcc", "clang"].into_iter().find_map(program)
}
