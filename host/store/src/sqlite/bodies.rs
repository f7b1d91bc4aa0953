//! Bodies: contents that are files of their own, `big/ab/<message id>`, and their way in and out.
//!
//! A file is complete, synced and under its final name before the row that names it is handed to the writer. So a file without a
//! row is what a crash left of a message that nobody promised to keep.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use postern_model::{Content, MessageId};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::StoreError;
use crate::sqlite::op::PutOp;
use crate::sqlite::room::check_space;
use crate::sqlite::{SqliteOptions, io_error, make_private};

/// Bytes that are read or written at once.
const CHUNK: usize = 256 << 10;

/// The folders `big` and `incoming`.
#[derive(Debug)]
pub(super) struct Bodies {
    big: PathBuf,
    incoming: PathBuf,
    inline_limit: u64,
    reserve: u64,
    state: Mutex<Names>,
    /// Held while a file is removed, and while one gets its final name.
    naming: Mutex<()>,
    sweep: Mutex<Option<Sender<MessageId>>>,
}

#[derive(Debug, Default)]
struct Names {
    /// Files whose row is not committed yet, or is gone already.
    in_transit: HashSet<MessageId>,
    /// Files to be removed.
    doomed: HashSet<MessageId>,
}

impl Bodies {
    /// Makes the folders and empties `incoming`; gives the list for [`Self::sweep`] too.
    pub(super) fn open(
        directory: &Path,
        options: &SqliteOptions,
    ) -> Result<(Arc<Self>, Receiver<MessageId>), StoreError> {
        let (big, incoming) = (directory.join("big"), directory.join("incoming"));
        for folder in [&big, &incoming] {
            make_private(folder)?;
        }
        for path in list(&incoming)? {
            fs::remove_file(&path).map_err(|e| io_error("remove", &path, &e))?;
        }
        let (sender, receiver) = channel();
        let bodies = Self {
            big,
            incoming,
            inline_limit: options.inline_limit,
            reserve: options.reserve,
            state: Mutex::default(),
            naming: Mutex::default(),
            sweep: Mutex::new(Some(sender)),
        };
        Ok((Arc::new(bodies), receiver))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where files wait to be put.
    pub(super) fn incoming(&self) -> &Path {
        &self.incoming
    }

    /// Where the body of a message lies. The folder is named by the last byte of the id, which is random.
    pub(super) fn path(&self, id: MessageId) -> PathBuf {
        self.big.join(format!("{:02x}", id.to_bytes()[15])).join(id.to_string())
    }

    /// Whether the content has to go through [`Self::stage`].
    pub(super) fn needs_staging(&self, content: &Content) -> bool {
        matches!(content, Content::File { .. }) || content.size() >= self.inline_limit
    }

    /// Brings the content of a put where it belongs: into memory when it is small, else into its synced file. Blocking.
    pub(super) fn stage(&self, put: &mut PutOp) -> Result<(), StoreError> {
        let id = put.message.id;
        let source = match &put.content {
            Content::Memory(bytes) => {
                check_space(&self.big, self.reserve.saturating_add(bytes.len() as u64))
                    .map_err(StoreError::Full)?;
                put.sha256 = Sha256::digest(bytes).into();
                let path = self.incoming.join(format!("{id}.body"));
                write_synced(&path, bytes).inspect_err(|_| remove_quietly(&path))?;
                path
            }
            Content::File { path, size } => {
                if path.parent() != Some(&self.incoming) {
                    let text = format!("the content {} does not lie in the incoming folder", path.display());
                    return Err(StoreError::Invalid(text));
                }
                let (path, size) = (path.clone(), *size);
                if size < self.inline_limit {
                    let taken = read_whole(&path, size);
                    remove_quietly(&path);
                    let bytes = taken?;
                    put.sha256 = Sha256::digest(&bytes).into();
                    put.content = Content::Memory(bytes);
                    return Ok(());
                }
                put.sha256 = sync_and_hash(&path, size).inspect_err(|_| remove_quietly(&path))?;
                path
            }
        };
        let moved = self.publish(id, &source);
        if !matches!(moved, Ok(true)) {
            remove_quietly(&source);
        }
        put.owns_file = moved?;
        put.content = Content::File { path: self.path(id), size: put.content.size() };
        Ok(())
    }

    /// Gives a synced file its final name, for good. `false` when a message of this id has a file already.
    fn publish(&self, id: MessageId, source: &Path) -> Result<bool, StoreError> {
        let path = self.path(id);
        let folder = path.parent().expect("a body lies in a folder");
        if !folder.is_dir() {
            make_private(folder)?;
            sync_folder(&self.big)?;
        }
        {
            // It keeps the removal of an older file of this name away from the new one.
            let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
            let replaces = self.names().doomed.remove(&id);
            let moved = if replaces { fs::rename(source, &path) } else { rename_new(source, &path) };
            match moved {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
                moved => moved.map_err(|e| io_error("rename", source, &e))?,
            }
            self.names().in_transit.insert(id);
        }
        sync_folder(folder)?;
        Ok(true)
    }

    /// The row of a file is committed.
    pub(super) fn committed(&self, id: MessageId) {
        self.names().in_transit.remove(&id);
    }

    /// A file is to go: its row is gone, or was never written. It is removed in the background, since that takes long where the
    /// file system discards blocks at once.
    pub(super) fn doom(&self, id: MessageId) {
        let mut names = self.names();
        names.in_transit.insert(id);
        names.doomed.insert(id);
        drop(names);
        let sweep = self.sweep.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sweep) = &*sweep {
            // The sweeper ends after the last sender; what it does not get to is removed at the next start.
            let _ = sweep.send(id);
        }
    }

    /// Lets the sweeper end when it has done what it has.
    pub(super) fn close(&self) {
        self.sweep.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Removes files until there is nobody who could name more.
    pub(super) fn sweep(&self, list: &Receiver<MessageId>) {
        for id in list {
            let _naming = self.naming.lock().unwrap_or_else(PoisonError::into_inner);
            if self.names().doomed.remove(&id) {
                remove_quietly(&self.path(id));
                self.names().in_transit.remove(&id);
            }
        }
    }

    /// Whether a file is neither here nor there at the moment, so that a check must not judge it.
    pub(super) fn is_in_transit(&self, id: MessageId) -> bool {
        self.names().in_transit.contains(&id)
    }

    /// All files in `big`: the id, or the path of what has no id for a name.
    pub(super) fn list(&self) -> Result<Vec<Result<MessageId, PathBuf>>, StoreError> {
        let mut found = Vec::new();
        for folder in list(&self.big)? {
            if !folder.is_dir() {
                found.push(Err(folder));
                continue;
            }
            for path in list(&folder)? {
                let id = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<MessageId>().ok());
                found.push(id.filter(|id| self.path(*id) == path).ok_or(path));
            }
        }
        Ok(found)
    }

    /// Removes the file of a message at once.
    pub(super) fn remove(&self, id: MessageId) {
        remove_quietly(&self.path(id));
    }
}

/// A content on its way into the store: written in pieces, then given to a put as [`Content::File`].
///
/// The file is removed when this is dropped before [`Self::finish`]. Every call is blocking, but none of them syncs.
#[derive(Debug)]
pub struct IncomingFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
}

impl IncomingFile {
    /// Makes a new file in the folder, which is [`super::SqliteStore::incoming`].
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Io`].
    pub fn create(incoming: &Path) -> Result<Self, StoreError> {
        let path = incoming.join(format!("{}.incoming", MessageId::generate()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|e| io_error("make", &path, &e))?;
        Ok(Self { path, file: Some(file), size: 0 })
    }

    /// Appends.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Io`]; the file is of no use then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.file.as_mut().expect("the file is open until it is finished");
        file.write_all(bytes).map_err(|e| io_error("write", &self.path, &e))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The content. The store takes the file over with the put, and removes it when that fails.
    #[must_use]
    pub fn finish(mut self) -> Content {
        self.file = None;
        Content::File { path: self.path.clone(), size: self.size }
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            remove_quietly(&self.path);
        }
    }
}

/// The hash of a file of this size.
pub(super) fn hash_file(path: &Path, size: u64) -> Result<[u8; 32], StoreError> {
    let file = File::open(path).map_err(|e| io_error("open", path, &e))?;
    hash(&file, path, size)
}

fn sync_and_hash(path: &Path, size: u64) -> Result<[u8; 32], StoreError> {
    let file = File::open(path).map_err(|e| io_error("open", path, &e))?;
    file.sync_all().map_err(|e| io_error("sync", path, &e))?;
    hash(&file, path, size)
}

fn hash(mut file: &File, path: &Path, size: u64) -> Result<[u8; 32], StoreError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut found = 0;
    loop {
        let n = file.read(&mut buffer).map_err(|e| io_error("read", path, &e))?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
        found += n as u64;
    }
    if found != size {
        let text = format!("the content {} has {found} bytes, not {size}", path.display());
        return Err(StoreError::Invalid(text));
    }
    Ok(hasher.finalize().into())
}

fn read_whole(path: &Path, size: u64) -> Result<Bytes, StoreError> {
    let bytes = fs::read(path).map_err(|e| io_error("read", path, &e))?;
    if bytes.len() as u64 != size {
        let text = format!("the content {} has {} bytes, not {size}", path.display(), bytes.len());
        return Err(StoreError::Invalid(text));
    }
    Ok(bytes.into())
}

fn write_synced(path: &Path, bytes: &Bytes) -> Result<(), StoreError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        for chunk in bytes.chunks(CHUNK) {
            file.write_all(chunk)?;
        }
        file.sync_all()
    };
    write().map_err(|e| io_error("write", path, &e))
}

fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| io_error("sync", path, &e))
}

/// Renames without replacing anything.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot; the directory lock says that nobody else makes files here.
        Err(Errno::INVAL | Errno::NOSYS) if to.exists() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(from, to),
        renamed => renamed.map_err(io::Error::from),
    }
}

fn remove_quietly(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {e}; the next start tries again", path.display());
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    read().map_err(|e| io_error("read", folder, &e))
}
