//! Making files and folders beneath one that was reached already, and counting what lies in one. Blocking: for threads
//! that may wait.

use std::fs::File;
use std::io;

use rustix::fs::{Mode, OFlags};

/// Splits a path into the folder that something is to be made in and the name of what is made: `a/b` and `c`. `None`
/// when there is no name that something could be made under.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = match path.rfind('/') {
        // The slash stays: `/x` is absolute, and the folder says so.
        Some(at) => (&path[..=at], &path[at + 1..]),
        None => ("", path),
    };
    (!matches!(name, "" | "." | "..")).then_some((folder, name))
}

/// Makes a new file that only its owner may use. `name` is one name in `folder`; a link under that name is not followed.
///
/// # Errors
/// `AlreadyExists` when there is anything under that name.
pub(crate) fn make_file(folder: &File, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Makes a new folder that only its owner may use. `name` is one name in `folder`.
///
/// # Errors
/// `AlreadyExists` when there is anything under that name.
pub(crate) fn make_folder(folder: &File, name: &str) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(folder, name, Mode::RWXU)?)
}

/// How many entries a folder has, as far as `max` and one more.
pub(crate) fn count_entries(folder: &File, max: usize) -> io::Result<usize> {
    let entries = rustix::fs::Dir::read_from(folder)?;
    let mut count = 0;
    for entry in entries {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            count += 1;
        }
        if count > max {
            break;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_made_has_one_name_in_a_folder() {
        assert_eq!(split("c"), Some(("", "c")));
        assert_eq!(split("a/b/c"), Some(("a/b/", "c")));
        assert_eq!(split("../c"), Some(("../", "c")));
        assert_eq!(split("/c"), Some(("/", "c")));
        for path in ["", ".", "..", "a/", "a/.", "a/.."] {
            assert_eq!(split(path), None, "{path}");
        }
    }

    #[test]
    fn nobody_else_can_use_what_is_made_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let open = File::open(folder.path()).unwrap();
        let mode = |name: &str| folder.path().join(name).metadata().unwrap().permissions().mode() & 0o7777;
        make_file(&open, "file").unwrap();
        make_folder(&open, "folder").unwrap();
        assert_eq!((mode("file"), mode("folder")), (0o600, 0o700));
        std::os::unix::fs::symlink("elsewhere", folder.path().join("link")).unwrap();
        let error = make_file(&open, "link").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(!folder.path().join("elsewhere").exists());
        assert_eq!(count_entries(&open, 10).unwrap(), 3);
        assert_eq!(count_entries(&open, 1).unwrap(), 2);
    }
}
