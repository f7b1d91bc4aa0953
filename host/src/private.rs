//! private: folders that hold mail and addresses, which are nobody's business but the service's.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// The mode of such a folder.
const MODE: u32 = 0o700;

/// Makes the folder, and those above it that are missing, open to its owner alone. One that is there is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(MODE).create(path)?;
    // The mode above is narrowed by the umask, never widened; this also says so for a folder that just appeared.
    std::fs::set_permissions(path, Permissions::from_mode(MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_open_to_its_owner_alone_and_an_old_one_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let (new, old) = (parent.path().join("a/b"), parent.path().join("old"));
        std::fs::create_dir(&old).unwrap();
        std::fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        make_directory(&new).unwrap();
        make_directory(&old).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&new), mode(&old)), (0o700, 0o755));
    }
}
