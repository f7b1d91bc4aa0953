//! BadMail: DSNs that reach nobody, as files. There is no DSN about a DSN, so this is where a person finds them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use postern_model::{Content, MessageId};

use crate::config::Config;
use crate::private;

/// The folder's name in the data directory.
const FOLDER: &str = "badmail";

/// The detail of an event that names the file.
pub const DETAIL: &str = "bad-mail";

/// The folder of a host.
#[must_use]
pub fn folder(config: &Config) -> PathBuf {
    config.host.data_directory.join(FOLDER)
}

/// The name of a DSN's file in there.
#[must_use]
pub fn file_name(dsn: MessageId) -> String {
    format!("{dsn}.eml")
}

/// Writes a DSN to its file; it is on the disk when this returns. Written again, after a crash, it is the same file.
///
/// # Errors
/// When the content cannot be read or the file cannot be written.
pub async fn keep(folder: &Path, dsn: MessageId, content: &Content) -> io::Result<()> {
    let (folder, content) = (folder.to_owned(), content.clone());
    let written = tokio::task::spawn_blocking(move || write(&folder, dsn, &content));
    written.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn write(folder: &Path, dsn: MessageId, content: &Content) -> io::Result<()> {
    private::make_directory(folder)?;
    let mut file = private::create_file(&folder.join(file_name(dsn)))?;
    io::copy(&mut content.reader()?, &mut file)?;
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_dsn_is_kept_under_its_id_and_may_be_kept_again() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(FOLDER);
        let dsn = MessageId::from_name("dsn");
        for _ in 0..2 {
            keep(&folder, dsn, &Content::from(Bytes::from_static(b"Subject: failed\r\n"))).await.unwrap();
        }
        assert_eq!(std::fs::read(folder.join(file_name(dsn))).unwrap(), b"Subject: failed\r\n");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
    }
}
