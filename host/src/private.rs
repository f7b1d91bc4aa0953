//! private: folders and files that hold mail and addresses, which are nobody's business but the service's.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Bytes of a key.
pub const KEY: usize = 32;
/// The mode of such a folder.
const MODE: u32 = 0o700;
/// The mode of such a file.
const FILE_MODE: u32 = 0o600;

/// Makes the folder, and those above it that are missing, open to its owner alone. One that is there is left as it is. Their
/// names are durable when it returns: what is synced into a new folder is lost with it otherwise.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
    DirBuilder::new().recursive(true).mode(MODE).create(path)?;
    // The mode above is narrowed by the umask, never widened; this also says so for a folder that just appeared.
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    for made in missing {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Opens the file to be written anew; one that is missing is made, open to its owner alone.
///
/// # Errors
/// When it cannot be made or opened.
pub fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

/// Makes the file, empty and open to its owner alone. One that is there is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn ensure_file(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path).map(drop)
}

/// Reads the key in this file of a data directory, or makes one there: random bytes that nobody else knows.
///
/// # Errors
/// When it cannot be read or written, or is no key.
pub fn key(data_directory: &Path, file: &str) -> io::Result<[u8; KEY]> {
    let path = data_directory.join(file);
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            let text = format!("{} is not a key of {KEY} bytes", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; KEY];
            // Two random UUIDs would have fixed bits; the system's own bytes have none.
            File::open("/dev/urandom").and_then(|mut random| io::Read::read_exact(&mut random, &mut key))?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
            io::Write::write_all(&mut file, &key)?;
            file.sync_all()?;
            // Only when its name is durable, too, may anybody be told what was made of it.
            File::open(data_directory)?.sync_all()?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
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

    #[test]
    fn a_new_file_is_open_to_its_owner_alone_and_an_old_one_keeps_what_is_not_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        std::fs::write(&old, "x").unwrap();
        ensure_file(&new).unwrap();
        ensure_file(&old).unwrap();
        assert_eq!(std::fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&old).unwrap(), b"x");
        create_file(&old).unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"");
    }
}
