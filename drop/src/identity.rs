//! DirectoryId: tells one drop directory from another, over restarts, remounts and moves.
//!
//! A file that is gone was taken only if the directory is still the one that it was published in. Neither the path nor
//! device and inode number say so for sure: a mount may be missing, a remount or a network file system gives other
//! device numbers, a new directory gets the inode number of a deleted one, and a restored one gets new numbers. So the
//! directory carries a random number in its temp folder. It goes where the directory goes, and neither an empty mount
//! point nor a new directory has it.
//!
//! A temp folder that lies elsewhere does not go along with the drop directory; there the inode number and the time
//! of birth of the drop directory belong to its id as well.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustix::io::Errno;

use crate::folder::Folder;
use crate::{DropError, DropSettings};

/// The file with the number, in the temp folder.
const FILE: &str = ".identity";
/// What it begins with; the number says how to read the rest.
const HEADING: &str = "postern-drop-directory 1 ";
/// Nothing that we wrote is longer.
const MAX_LENGTH: u64 = 256;

/// Which drop directory it is, wherever it lies. Written as it prints, so that it can be kept and compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectoryId(Arc<str>);

impl DirectoryId {
    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the directory that these settings lead to, without making or changing anything; `None` when there is
    /// no directory, or none that was ever opened.
    ///
    /// # Errors
    /// When the file with the number cannot be read or understood.
    pub fn look(settings: &DropSettings) -> Result<Option<Self>, DropError> {
        let folder = |path| match Folder::open(path) {
            Ok(folder) => Ok(Some(folder)),
            Err(DropError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        let temp_path = settings.temp_path();
        let (Some(drop), Some(temp)) = (folder(&settings.path)?, folder(&temp_path)?) else {
            return Ok(None);
        };
        let Some(number) = read(&temp)? else { return Ok(None) };
        Self::of(settings, &drop, number).map(Some)
    }

    /// The id of an open directory. One that has none gets `keep`, or a new one when that is `None`, durably.
    pub(crate) fn establish(
        settings: &DropSettings,
        drop: &Folder,
        temp: &Folder,
        keep: Option<&Self>,
    ) -> Result<Self, DropError> {
        if let Some(number) = read(temp)? {
            return Self::of(settings, drop, number);
        }
        let number = match keep {
            Some(id) => id.number().to_owned(),
            None => random().map_err(|e| DropError::from_io("read a random number for", &temp.path, e))?,
        };
        match write(temp, &number) {
            // Somebody else may have opened the directory at the same moment, and been faster.
            Ok(()) | Err(Errno::EXIST) => Self::of(settings, drop, read(temp)?.unwrap_or(number)),
            Err(errno) => Err(DropError::from_errno("write the directory's number", &temp.path, errno)),
        }
    }

    fn of(settings: &DropSettings, drop: &Folder, number: String) -> Result<Self, DropError> {
        if settings.temp_path().starts_with(&settings.path) {
            return Ok(Self(number.into()));
        }
        let place = drop.place().map_err(|e| DropError::from_errno("look at", &drop.path, e))?;
        Ok(Self(format!("{number}@{place}").into()))
    }

    fn number(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(number, _)| number)
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number in a temp folder; `None` when there is none yet.
fn read(temp: &Folder) -> Result<Option<String>, DropError> {
    let file = match temp.read(FILE) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(DropError::from_errno("read the directory's number", &temp.path, errno)),
    };
    let mut text = String::new();
    let strange = |what: String| DropError::Identity { path: temp.path.join(FILE), what };
    match file.take(MAX_LENGTH).read_to_string(&mut text) {
        Ok(_) => parse(&text).map(Some).ok_or_else(|| strange(format!("it begins with {:?}", start(&text)))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(strange("it is no text".to_owned())),
        Err(error) => Err(DropError::from_io("read the directory's number", &temp.path, error)),
    }
}

fn parse(text: &str) -> Option<String> {
    let number = text.strip_prefix(HEADING)?.strip_suffix('\n')?;
    let valid = number.len() == 32 && number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    valid.then(|| number.to_owned())
}

fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Writes the number so that it is whole and durable, or not there: a file cut short would make a stranger of us.
fn write(temp: &Folder, number: &str) -> rustix::io::Result<()> {
    // Until it is whole, its name is nobody else's: not that of another thread, nor that of another process.
    let new_file = format!("{FILE}.{number}");
    let mut file = temp.create(&new_file)?;
    let errno = |e: io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
    let written = file.write_all(format!("{HEADING}{number}\n").as_bytes()).and_then(|()| file.sync_all());
    let renamed = written.map_err(errno).and_then(|()| temp.rename(&new_file, temp, FILE));
    if renamed.is_err() {
        // Hidden and tiny, it is in nobody's way.
        let _ = temp.remove(&new_file);
    }
    renamed.and_then(|()| temp.sync())
}

/// 128 random bits, in hexadecimal.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 wrote.
    const SAMPLE: &str = "postern-drop-directory 1 00112233445566778899aabbccddeeff\n";

    fn folder() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(home.path()).unwrap();
        (home, folder)
    }

    #[test]
    fn a_kept_file_is_still_understood() {
        let (home, folder) = folder();
        std::fs::write(home.path().join(FILE), SAMPLE).unwrap();
        assert_eq!(read(&folder).unwrap().as_deref(), Some("00112233445566778899aabbccddeeff"));
    }

    #[test]
    fn what_is_written_is_read_and_is_written_once() {
        let (home, folder) = folder();
        assert_eq!(read(&folder).unwrap(), None);
        let number = random().unwrap();
        write(&folder, &number).unwrap();
        assert_eq!(read(&folder).unwrap(), Some(number));
        assert_eq!(write(&folder, &random().unwrap()), Err(Errno::EXIST));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing half-written is left");
    }

    #[test]
    fn of_many_who_open_a_directory_at_once_all_learn_the_same_number() {
        for _ in 0..20 {
            let (home, _) = folder();
            let settings = DropSettings::new(home.path());
            let start = std::sync::Barrier::new(4);
            let establish = || {
                let drop = Folder::open(home.path()).unwrap();
                let temp = Folder::open_temp(&settings.temp_path()).unwrap();
                start.wait();
                DirectoryId::establish(&settings, &drop, &temp, None).unwrap()
            };
            let ids: Vec<DirectoryId> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(establish)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(
                ids.iter().all(|id| Some(id) == DirectoryId::look(&settings).unwrap().as_ref()),
                "{ids:?}"
            );
        }
    }

    #[test]
    fn what_a_later_version_or_somebody_else_wrote_is_a_fault_that_names_the_file() {
        let (home, folder) = folder();
        for strange in ["postern-drop-directory 2 x\n", "", "postern-drop-directory 1 short\n"] {
            std::fs::write(home.path().join(FILE), strange).unwrap();
            let error = read(&folder).unwrap_err();
            assert!(matches!(error, DropError::Identity { .. }), "{error}");
            assert!(error.to_string().contains(FILE), "{error}");
        }
        std::fs::write(home.path().join(FILE), [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&folder), Err(DropError::Identity { .. })));
    }
}
