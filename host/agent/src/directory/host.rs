//! `wasi:filesystem` as agents call it: each call is checked, then handed to the engine's WASI.

use std::fs::File as SystemFile;
use std::io;
use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, File, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, HostDescriptor,
    HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult, ReaddirIterator};
use wasmtime_wasi::{FsPerms, OpenMode};

use super::allowance::{OverLimit, Place};
use super::beneath;
use super::stream::{MeteredInput, MeteredOutput, Position};
use crate::state::State;

/// The reasons that the operator reads.
const LEADS_OUT: &str = "it leads out of the granted directory, or the system forbids it";
const READ_ONLY: &str = "the directory is granted for reading only";
const NO_LINKS: &str = "agents make no links";
const OTHER_GRANT: &str = "it would move from one granted directory into another";
const NO_FILE: &str = "it is neither a file nor a folder";

type Fd = Resource<Descriptor>;

/// What a call is about: which granted folder, and what in it, as the agent sees it.
type Target = Place;

/// The same handle once more. It is lent for one call.
fn again(fd: &Fd) -> Fd {
    Resource::new_borrow(fd.rep())
}

impl State {
    /// What a call on something open is about.
    fn at(&self, fd: &Fd) -> FsResult<Target> {
        let place = self.directories.place(fd.rep()).cloned();
        place.ok_or_else(|| FsError::trap(wasmtime::Error::msg("this file or folder is not open")))
    }

    /// What a call on a path in an open folder is about.
    fn beneath(&self, fd: &Fd, path: &str) -> FsResult<Target> {
        let folder = self.at(fd)?;
        self.directories.uses();
        let target = Target { path: format!("{}/{path}", folder.path), ..folder };
        let max = self.shared.limits.directory_path;
        if path.len() > max { Err(self.over(&target, OverLimit::Path(max))) } else { Ok(target) }
    }

    fn refuse(&self, target: &Target, why: &str, code: ErrorCode) -> FsError {
        self.directories.meter().refused(&target.path, why);
        code.into()
    }

    fn over(&self, target: &Target, over: OverLimit) -> FsError {
        self.directories.meter().over(&target.path, over);
        over.code().into()
    }

    /// An answer of the engine's WASI; a refusal of its jail is told to the operator.
    fn told<T>(&self, target: &Target, answer: FsResult<T>) -> FsResult<T> {
        answer.map_err(|error| match error.downcast() {
            Ok(ErrorCode::NotPermitted) => self.refuse(target, LEADS_OUT, ErrorCode::NotPermitted),
            Ok(code) => code.into(),
            Err(trap) => FsError::trap(trap),
        })
    }

    fn may_change(&self, target: &Target) -> FsResult<()> {
        let granted = self.shared.directories.get(target.grant).is_some_and(|granted| granted.writable);
        if granted { Ok(()) } else { Err(self.refuse(target, READ_ONLY, ErrorCode::ReadOnly)) }
    }

    /// The open folder itself.
    fn folder(&self, fd: &Fd) -> FsResult<Arc<SystemFile>> {
        match self.table.get(fd)? {
            Descriptor::Dir(dir) => Ok(dir.dir.clone()),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// What lies at a path, if anything does.
    async fn kind(&mut self, fd: &Fd, flags: PathFlags, path: &str) -> FsResult<Option<DescriptorType>> {
        let found = self.filesystem().stat_at(again(fd), flags, path.to_owned()).await;
        match found {
            Ok(found) => Ok(Some(found.type_)),
            Err(error) => match error.downcast() {
                Ok(ErrorCode::NoEntry) => Ok(None),
                Ok(code) => Err(code.into()),
                Err(trap) => Err(FsError::trap(trap)),
            },
        }
    }

    /// The folder, within the granted one, that something is to be made in, and the name that it is to have.
    async fn parent(&mut self, fd: &Fd, path: &str) -> FsResult<(Arc<SystemFile>, String)> {
        let (folder, name) = beneath::split(path).ok_or(ErrorCode::Invalid)?;
        let name = name.to_owned();
        if folder.is_empty() {
            return Ok((self.folder(fd)?, name));
        }
        let (follow, only) = (PathFlags::SYMLINK_FOLLOW, OpenFlags::DIRECTORY);
        let opened = self
            .filesystem()
            .open_at(again(fd), follow, folder.to_owned(), only, DescriptorFlags::READ)
            .await?;
        let found = self.folder(&opened);
        self.table.delete(opened)?;
        Ok((found?, name))
    }

    /// Makes a file; `None` when there is something already.
    async fn make_file(&mut self, fd: &Fd, target: &Target, path: &str) -> FsResult<Option<SystemFile>> {
        self.directories.may_make().map_err(|over| self.over(target, over))?;
        let parent = self.parent(fd, path).await;
        let (folder, name) = self.told(target, parent)?;
        match blocking(move || beneath::make_file(&folder, &name)).await {
            Ok(file) => {
                self.directories.made();
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the agent what was opened.
    fn hand_over(&mut self, opened: Descriptor, target: Target) -> FsResult<Fd> {
        let fd = self.table.push(opened)?;
        self.directories.opened(fd.rep(), target);
        Ok(fd)
    }

    async fn open(
        &mut self,
        fd: Fd,
        follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        let target = self.beneath(&fd, &path)?;
        let (create, exclusive) = (how.contains(OpenFlags::CREATE), how.contains(OpenFlags::EXCLUSIVE));
        if create || how.contains(OpenFlags::TRUNCATE) || flags.contains(DescriptorFlags::WRITE) {
            self.may_change(&target)?;
        }
        self.directories.may_open(1).map_err(|over| self.over(&target, over))?;
        let kind = self.kind(&fd, follow, &path).await;
        match self.told(&target, kind)? {
            Some(kind) if !is_ordinary(kind) => {
                return Err(self.refuse(&target, NO_FILE, ErrorCode::NotPermitted));
            }
            Some(_) if create && exclusive => return Err(ErrorCode::Exist.into()),
            None if create => {
                if how.contains(OpenFlags::DIRECTORY) {
                    return Err(ErrorCode::Invalid.into());
                }
                if let Some(file) = self.make_file(&fd, &target, &path).await? {
                    let mode = OpenMode::READ | OpenMode::WRITE;
                    let file = File::new(file, FsPerms::ReadWrite, mode, false);
                    return self.hand_over(Descriptor::File(file), target);
                }
                if exclusive {
                    return Err(ErrorCode::Exist.into());
                }
            }
            _ => {}
        }
        // What is new is made above: the engine's WASI would let others read it.
        let mut existing = OpenFlags::empty();
        for flag in [OpenFlags::DIRECTORY, OpenFlags::TRUNCATE] {
            if how.contains(flag) {
                existing |= flag;
            }
        }
        let opened = self.filesystem().open_at(fd, follow, path, existing, flags).await;
        let opened = self.told(&target, opened)?;
        let opened = self.table.delete(opened)?;
        if let Descriptor::File(file) = &opened
            && !file.file.metadata()?.is_file()
        {
            // Exchanged since it was looked at.
            return Err(self.refuse(&target, NO_FILE, ErrorCode::NotPermitted));
        }
        self.hand_over(opened, target)
    }

    fn file(&self, fd: &Fd) -> FsResult<File> {
        match self.table.get(fd)? {
            Descriptor::File(file) => Ok(file.clone()),
            Descriptor::Dir(_) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    fn metered_output(
        &mut self,
        made: FsResult<Resource<DynOutputStream>>,
        target: Target,
        at: Position,
    ) -> FsResult<Resource<DynOutputStream>> {
        let made = self.told(&target, made)?;
        let inner = self.table.delete(made)?;
        let meter = self.directories.meter().clone();
        let held = self.directories.held();
        let metered: DynOutputStream = Box::new(MeteredOutput::new(inner, meter, target.path, at, held));
        Ok(self.table.push(metered)?)
    }
}

/// Whether agents may open it: pipes and devices can hold a thread for ever, or do things when they are opened.
fn is_ordinary(kind: DescriptorType) -> bool {
    matches!(kind, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
}

/// Runs what may wait for a disk on a thread for that.
async fn blocking<R: Send + 'static>(work: impl FnOnce() -> io::Result<R> + Send + 'static) -> io::Result<R> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> Result<Vec<(Fd, String)>> {
        let shared = self.shared.clone();
        self.directories.may_open(shared.directories.len())?;
        let mut found = Vec::new();
        for (grant, directory) in shared.directories.iter().enumerate() {
            let fd = self.table.push(Descriptor::Dir(directory.dir.clone()))?;
            self.directories.opened(fd.rep(), Place { grant, path: directory.name.clone() });
            found.push((fd, directory.name.clone()));
        }
        Ok(found)
    }
}

impl types::Host for State {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        if let Some(over) = self.table.get(&error)?.downcast_ref::<OverLimit>() {
            return Ok(Some(over.code()));
        }
        self.filesystem().filesystem_error_code(error)
    }
}

impl HostDescriptor for State {
    async fn open_at(
        &mut self,
        fd: Fd,
        follow: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        self.open(fd, follow, path, how, flags).await
    }

    fn drop(&mut self, fd: Fd) -> Result<()> {
        self.directories.closed(fd.rep());
        HostDescriptor::drop(&mut self.filesystem(), fd)
    }

    async fn read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        let target = self.at(&fd)?;
        // One byte too many where none is left: only so is the end of the file seen.
        let wanted = length.min(self.directories.meter().readable().max(1));
        let read = self.filesystem().read(fd, wanted, offset).await;
        let (bytes, end) = self.told(&target, read)?;
        self.directories.meter().was_read(bytes.len()).map_err(|over| self.over(&target, over))?;
        Ok((bytes, end))
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        let target = self.at(&fd)?;
        self.may_change(&target)?;
        let allowed = self.directories.meter().will_write(bytes.len(), offset);
        allowed.map_err(|over| self.over(&target, over))?;
        let written = self.filesystem().write(fd, bytes, offset).await;
        self.told(&target, written)
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let target = self.at(&fd)?;
        self.directories.may_open(1).map_err(|over| self.over(&target, over))?;
        let made = self.filesystem().read_via_stream(fd, offset);
        let made = self.told(&target, made)?;
        let inner = self.table.delete(made)?;
        let meter = self.directories.meter().clone();
        let held = self.directories.held();
        let metered: DynInputStream = Box::new(MeteredInput::new(inner, meter, target.path, held));
        Ok(self.table.push(metered)?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let target = self.at(&fd)?;
        self.may_change(&target)?;
        self.directories.may_open(1).map_err(|over| self.over(&target, over))?;
        let made = self.filesystem().write_via_stream(fd, offset);
        self.metered_output(made, target, Position::At(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let target = self.at(&fd)?;
        self.may_change(&target)?;
        self.directories.may_open(1).map_err(|over| self.over(&target, over))?;
        let end = self.file(&fd)?;
        let made = self.filesystem().append_via_stream(fd);
        self.metered_output(made, target, Position::End(end))
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        let target = self.at(&fd)?;
        self.may_change(&target)?;
        self.directories.meter().may_grow_to(size).map_err(|over| self.over(&target, over))?;
        let set = self.filesystem().set_size(fd, size).await;
        self.told(&target, set)
    }

    async fn set_times(&mut self, fd: Fd, read: NewTimestamp, written: NewTimestamp) -> FsResult<()> {
        let target = self.at(&fd)?;
        self.may_change(&target)?;
        let set = self.filesystem().set_times(fd, read, written).await;
        self.told(&target, set)
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        follow: PathFlags,
        path: String,
        read: NewTimestamp,
        written: NewTimestamp,
    ) -> FsResult<()> {
        let target = self.beneath(&fd, &path)?;
        self.may_change(&target)?;
        // What is behind it is opened for that.
        let kind = self.kind(&fd, follow, &path).await;
        if self.told(&target, kind)?.is_some_and(|kind| !is_ordinary(kind)) {
            return Err(self.refuse(&target, NO_FILE, ErrorCode::NotPermitted));
        }
        let set = self.filesystem().set_times_at(fd, follow, path, read, written).await;
        self.told(&target, set)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<ReaddirIterator>> {
        let target = self.at(&fd)?;
        self.directories.uses();
        self.directories.may_open(1).map_err(|over| self.over(&target, over))?;
        let (folder, max) = (self.folder(&fd)?, self.directories.listable());
        // The engine's WASI keeps the whole listing in memory.
        let entries = blocking(move || beneath::count_entries(&folder, max)).await?;
        if entries > max {
            return Err(self.over(&target, OverLimit::Entries(self.shared.limits.directory_entries)));
        }
        let listing = self.filesystem().read_directory(fd).await;
        let listing = self.told(&target, listing)?;
        self.directories.listed(listing.rep(), entries);
        Ok(listing)
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let target = self.beneath(&fd, &path)?;
        self.may_change(&target)?;
        self.directories.may_make().map_err(|over| self.over(&target, over))?;
        let parent = self.parent(&fd, path.trim_end_matches('/')).await;
        let (folder, name) = self.told(&target, parent)?;
        blocking(move || beneath::make_folder(&folder, &name)).await?;
        self.directories.made();
        Ok(())
    }

    async fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> FsResult<()> {
        let (from, to) = (self.beneath(&fd, &path)?, self.beneath(&new_fd, &new_path)?);
        self.may_change(&from)?;
        self.may_change(&to)?;
        if from.grant != to.grant {
            return Err(self.refuse(&to, OTHER_GRANT, ErrorCode::CrossDevice));
        }
        let renamed = self.filesystem().rename_at(fd, path, new_fd, new_path).await;
        self.told(&from, renamed)
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let target = self.beneath(&fd, &path)?;
        self.may_change(&target)?;
        let gone = self.filesystem().unlink_file_at(fd, path).await;
        self.told(&target, gone)
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let target = self.beneath(&fd, &path)?;
        self.may_change(&target)?;
        let gone = self.filesystem().remove_directory_at(fd, path).await;
        self.told(&target, gone)
    }

    async fn link_at(&mut self, fd: Fd, _: PathFlags, path: String, _: Fd, _: String) -> FsResult<()> {
        // A link would go on leading there after the grant has ended, for whoever reads the folder.
        let target = self.beneath(&fd, &path)?;
        Err(self.refuse(&target, NO_LINKS, ErrorCode::NotPermitted))
    }

    async fn symlink_at(&mut self, fd: Fd, _: String, path: String) -> FsResult<()> {
        // Whoever else reads the folder may follow it without a jail.
        let target = self.beneath(&fd, &path)?;
        Err(self.refuse(&target, NO_LINKS, ErrorCode::NotPermitted))
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        let target = self.beneath(&fd, &path)?;
        let read = self.filesystem().readlink_at(fd, path).await;
        self.told(&target, read)
    }

    async fn stat_at(&mut self, fd: Fd, follow: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let target = self.beneath(&fd, &path)?;
        let found = self.filesystem().stat_at(fd, follow, path).await;
        self.told(&target, found)
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        follow: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let target = self.beneath(&fd, &path)?;
        let found = self.filesystem().metadata_hash_at(fd, follow, path).await;
        self.told(&target, found)
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        self.filesystem().stat(fd).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        self.filesystem().metadata_hash(fd).await
    }

    async fn is_same_object(&mut self, one: Fd, other: Fd) -> Result<bool> {
        self.filesystem().is_same_object(one, other).await
    }

    async fn advise(&mut self, fd: Fd, offset: u64, length: u64, advice: Advice) -> FsResult<()> {
        self.filesystem().advise(fd, offset, length, advice).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        self.filesystem().get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        self.filesystem().get_type(fd).await
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.filesystem().sync(fd).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.filesystem().sync_data(fd).await
    }
}

impl HostDirectoryEntryStream for State {
    async fn read_directory_entry(
        &mut self,
        listing: Resource<ReaddirIterator>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.filesystem().read_directory_entry(listing).await
    }

    fn drop(&mut self, listing: Resource<ReaddirIterator>) -> Result<()> {
        self.directories.unlisted(listing.rep());
        HostDirectoryEntryStream::drop(&mut self.filesystem(), listing)
    }
}
