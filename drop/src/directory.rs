//! DropDirectory: an open drop directory; checks it, keeps count of what lies in it, and notices when it goes away.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::io::Errno;

use crate::claims::ClaimFolder;
use crate::folder::Folder;
use crate::group_sync::GroupSync;
use crate::ledger::{Ledger, Looks, Questions};
use crate::pickup::ScanResult;
use crate::step::{Observer, Steps};
use crate::watch::Message;
use crate::{
    DirectoryId, DropError, DropSettings, FileSystem, Fullness, GoneReason, PickupEvent, SeenBy, Usage,
    WatchCounters,
};

/// Where nobody watches, or the quota is full, the directory is looked at again at most this often.
const SCAN_AGAIN_INTERVAL: Duration = Duration::from_secs(1);

/// An open drop directory. Cheap to clone; every clone is the same directory. All calls block on the file system
/// and may be made from many threads at once, which also makes them share directory syncs.
#[derive(Clone, Debug)]
pub struct DropDirectory {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: DropSettings,
    pub(crate) steps: Steps,
    folders: RwLock<Arc<Folders>>,
    /// Whether the directory was found to be gone. Also makes sure that one caller at a time brings it back.
    gone: Mutex<bool>,
    is_gone: AtomicBool,
    ledger: Mutex<Ledger>,
    /// Where gateways put files that they are at work on.
    pub(crate) claim_folders: Vec<ClaimFolder>,
    /// One scan at a time.
    scanning: Mutex<()>,
    last_scan_again: Mutex<Option<Instant>>,
    /// Names whose marker may exist: published by this process, or left over from an earlier one.
    pub(crate) unconfirmed: Mutex<HashSet<String>>,
    watcher: Mutex<Option<Attached>>,
}

/// The watcher that fetches events.
#[derive(Debug)]
struct Attached {
    number: u64,
    sender: Sender<Message>,
}

/// The open folders of one drop directory. Replaced as a whole when the directory was away.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) drop: Folder,
    pub(crate) temp: Folder,
    pub(crate) sync: GroupSync,
    is_mount_point: bool,
    /// Which directory it is; `None` until that was looked up.
    identity: Option<DirectoryId>,
}

impl DropDirectory {
    /// Opens the drop directory: checks that it is there, that the temp folder is on the same file system, that
    /// files can be written, renamed and removed; counts what lies in it, and looks for what an earlier run left.
    ///
    /// The scan takes about 2 microseconds for each file on a local disk.
    ///
    /// # Errors
    /// [`DropError`] says which of these failed and what to do.
    pub fn open(settings: DropSettings) -> Result<Self, DropError> {
        Self::open_observed(settings, None)
    }

    /// As [`DropDirectory::open`], with an observer that is called at each step of each publication. For tests and
    /// campaigns that crash there.
    ///
    /// # Errors
    /// As [`DropDirectory::open`].
    pub fn open_observed(settings: DropSettings, observer: Option<Observer>) -> Result<Self, DropError> {
        if settings.create {
            create(&settings)?;
        }
        let folders = Folders::open(&settings)?;
        folders.probe()?;
        let folders = folders.identified(&settings, None)?;
        let claim_folders = ClaimFolder::all(&settings);
        let sidecars = settings.habits.sidecars.iter().map(|sidecar| sidecar.suffix.clone()).collect();
        let shared = Shared {
            steps: Steps(observer),
            folders: RwLock::new(Arc::new(folders)),
            gone: Mutex::new(false),
            is_gone: AtomicBool::new(false),
            ledger: Mutex::new(Ledger::new(sidecars, !claim_folders.is_empty(), settings.quota)),
            claim_folders,
            scanning: Mutex::default(),
            last_scan_again: Mutex::default(),
            unconfirmed: Mutex::default(),
            watcher: Mutex::default(),
            settings,
        };
        let directory = Self { shared: Arc::new(shared) };
        directory.shared.scan(false, SeenBy::Scan)?;
        let left = directory.leftovers()?.into_iter().map(|leftover| leftover.name.to_string());
        lock(&directory.shared.unconfirmed).extend(left);
        Ok(directory)
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &DropSettings {
        &self.shared.settings
    }

    /// The path of the drop directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.settings.path
    }

    /// What lies in it as far as known, files being written included. Every file counts, whoever wrote it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.shared.ledger().usage()
    }

    /// How full it is by its quota.
    #[must_use]
    pub fn fullness(&self) -> Fullness {
        self.shared.ledger().fullness()
    }

    /// How many files of ours lie in it, claimed ones included.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.shared.ledger().outstanding()
    }

    /// What has happened since it was opened.
    #[must_use]
    pub fn counters(&self) -> WatchCounters {
        self.shared.ledger().counters
    }

    /// Whether the directory was found to be away and has not come back yet.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.shared.is_gone.load(Ordering::Acquire)
    }

    /// The file system it lies on.
    #[must_use]
    pub fn file_system(&self) -> FileSystem {
        self.shared.folders().drop.file_system
    }

    /// Which directory it is at this moment.
    #[must_use]
    pub fn identity(&self) -> DirectoryId {
        self.shared.folders().identity().clone()
    }

    /// Looks at every file in it and corrects the count. A watcher does this by itself.
    ///
    /// # Errors
    /// [`DropError::Gone`], [`DropError::Io`].
    pub fn rescan(&self) -> Result<(), DropError> {
        self.shared.verified()?;
        self.shared.scan(true, SeenBy::Scan)
    }
}

/// Makes a drop directory that is missing, with the group and the mode that it is to have.
pub(crate) fn create(settings: &DropSettings) -> Result<(), DropError> {
    let wrap = |e| DropError::from_io("create the directory", &settings.path, e);
    if settings.path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(&settings.path).map_err(wrap)?;
    // The group first: changing it takes bits away.
    std::os::unix::fs::chown(&settings.path, None, settings.group).map_err(wrap)?;
    match settings.dir_mode.map(std::fs::Permissions::from_mode) {
        Some(mode) => std::fs::set_permissions(&settings.path, mode).map_err(wrap),
        None => Ok(()),
    }
}

impl Folders {
    /// Opens both folders and checks that a rename between them can work.
    pub(crate) fn open(settings: &DropSettings) -> Result<Self, DropError> {
        let drop = Folder::open(&settings.path)?;
        let temp = Folder::open_temp(&settings.temp_path())?;
        if drop.id.device != temp.id.device {
            return Err(DropError::OtherFileSystem { drop: drop.path, temp: temp.path });
        }
        let is_mount_point = drop.is_mount_point();
        Ok(Self { drop, temp, sync: GroupSync::default(), is_mount_point, identity: None })
    }

    /// Looks up which directory it is. One that does not say so gets `keep`, or an id of its own.
    pub(crate) fn identified(
        mut self,
        settings: &DropSettings,
        keep: Option<&DirectoryId>,
    ) -> Result<Self, DropError> {
        self.identity = Some(DirectoryId::establish(settings, &self.drop, &self.temp, keep)?);
        Ok(self)
    }

    /// Which directory it is.
    pub(crate) fn identity(&self) -> &DirectoryId {
        self.identity.as_ref().expect("a directory that is used was identified when it was opened")
    }

    /// Writes a file in the temp folder, moves it to the drop directory under a hidden name, and removes it.
    pub(crate) fn probe(&self) -> Result<(), DropError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!(".postern-probe-{}-{number}", std::process::id());
        let temp = |doing| move |errno| DropError::from_errno(doing, &self.temp.path, errno);
        let mut file = self.temp.create(&name).map_err(temp("create a file"))?;
        let moved = file
            .write_all(b"probe")
            .and_then(|()| file.sync_all())
            .map_err(|e| DropError::from_io("write a file", &self.temp.path, e))
            .and_then(|()| {
                self.temp.rename(&name, &self.drop, &name).map_err(|errno| self.rename_error(errno))
            });
        if let Err(error) = moved {
            // The probe failed already; a file that cannot be removed either adds nothing to that.
            let _ = self.temp.remove(&name);
            return Err(error);
        }
        let drop = |doing| move |errno| DropError::from_errno(doing, &self.drop.path, errno);
        self.drop.remove(&name).map_err(drop("remove a file"))?;
        self.drop.sync().map_err(drop("sync the directory"))
    }

    /// The error for a rename from the temp folder to the drop directory that failed.
    pub(crate) fn rename_error(&self, errno: Errno) -> DropError {
        match errno {
            // Two mounts of one file system have the same device number and yet refuse renames.
            Errno::XDEV => {
                DropError::OtherFileSystem { drop: self.drop.path.clone(), temp: self.temp.path.clone() }
            }
            errno => DropError::from_errno("rename a file", &self.drop.path, errno),
        }
    }

    fn still_there(&self) -> bool {
        self.drop.still_there().is_ok() && self.temp.still_there().is_ok()
    }
}

impl Shared {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// The folders as they were last opened.
    pub(crate) fn folders(&self) -> Arc<Folders> {
        Arc::clone(&self.folders.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folders, after checking that the path still leads to them: without that, files would go on into a
    /// directory that was moved away, where nobody takes them. Brings them back if it can.
    pub(crate) fn verified(&self) -> Result<Arc<Folders>, DropError> {
        let folders = self.folders();
        if !self.is_gone.load(Ordering::Acquire) && folders.still_there() {
            return Ok(folders);
        }
        let healed = self.heal();
        self.wake();
        healed
    }

    fn heal(&self) -> Result<Arc<Folders>, DropError> {
        let mut gone = lock(&self.gone);
        let old = self.folders();
        let lost = old.drop.still_there().err();
        if lost.is_none() && !*gone && old.temp.still_there().is_ok() {
            return Ok(old);
        }
        if let Some(reason) = lost.filter(|_| !*gone) {
            *gone = true;
            self.is_gone.store(true, Ordering::Release);
            self.ledger().tell(PickupEvent::DirectoryGone { reason, at: Timestamp::now() });
        }
        let path = || self.settings.path.clone();
        let fresh = Folders::open(&self.settings).map_err(|error| match error {
            DropError::Missing { .. } => DropError::Gone { path: path(), reason: GoneReason::Missing },
            DropError::NotDirectory { .. } => DropError::Gone { path: path(), reason: GoneReason::Replaced },
            error => error,
        })?;
        // The other way round a mount has come that was missing at the start.
        if old.is_mount_point && !fresh.is_mount_point {
            return Err(DropError::Gone { path: path(), reason: GoneReason::Unmounted });
        }
        fresh.probe()?;
        // Of the directory that is open already, only the temp folder was cleaned away.
        let keep = (fresh.drop.id == old.drop.id).then(|| old.identity());
        let fresh = fresh.identified(&self.settings, keep)?;
        let replaced = fresh.identity() != old.identity();
        if replaced {
            let everything = self.ledger().questions(&[], true);
            let looks = looks(&fresh.drop, &everything)?;
            self.ledger().vanish(&looks, Timestamp::now());
        }
        let fresh = Arc::new(fresh);
        *self.folders.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        self.scan(true, SeenBy::Scan)?;
        if *gone {
            *gone = false;
            self.is_gone.store(false, Ordering::Release);
            self.ledger().tell(PickupEvent::DirectoryBack { replaced, at: Timestamp::now() });
        }
        Ok(fresh)
    }

    /// Compares the directory with what is known of it; with `all`, by a look at each file.
    pub(crate) fn scan(&self, all: bool, seen_by: SeenBy) -> ScanResult {
        let _one_at_a_time = lock(&self.scanning);
        let folders = self.folders();
        let wrap = |errno| DropError::from_errno("list the directory", &folders.drop.path, errno);
        let listing = folders.drop.list().map_err(wrap)?;
        let questions = self.ledger().questions(&listing, all);
        let looks = looks(&folders.drop, &questions)?;
        let mut ledger = self.ledger();
        ledger.counters.scans += 1;
        ledger.conclude(&questions, &looks, Timestamp::now(), seen_by);
        ledger.find_oldest();
        ledger.weigh(Timestamp::now());
        drop(ledger);
        self.follow()
    }

    /// Looks at one file that an event spoke of, if it is known. Unless `absent_counts`, nothing is concluded from its
    /// not being there.
    pub(crate) fn resolve(&self, name: &OsStr, absent_counts: bool) -> ScanResult {
        let question = self.ledger().question(name);
        let looks = looks(&self.folders().drop, &question)?;
        if absent_counts || looks.values().all(Option::is_some) {
            let mut ledger = self.ledger();
            ledger.conclude(&question, &looks, Timestamp::now(), SeenBy::Event);
            ledger.weigh(Timestamp::now());
        }
        self.follow()
    }

    /// Whether the directory may be looked at now for what happened since the last time.
    pub(crate) fn may_scan_again(&self) -> bool {
        let mut last = lock(&self.last_scan_again);
        let due = last.is_none_or(|at| at.elapsed() >= SCAN_AGAIN_INTERVAL);
        if due {
            *last = Some(Instant::now());
        }
        due
    }

    /// From now on, `watcher` is told when there are events; one before it ends. Returns what to detach it with.
    pub(crate) fn attach(&self, watcher: Sender<Message>) -> u64 {
        let mut current = lock(&self.watcher);
        let number = current.as_ref().map_or(0, |attached| attached.number) + 1;
        if let Some(previous) = current.replace(Attached { number, sender: watcher }) {
            // It may have ended by itself.
            let _ = previous.sender.send(Message::Stop);
        }
        self.ledger().set_watched(true);
        number
    }

    /// Nobody fetches events any more, unless another watcher took over.
    pub(crate) fn detach(&self, number: u64) {
        let mut current = lock(&self.watcher);
        if current.as_ref().is_some_and(|attached| attached.number == number) {
            *current = None;
            self.ledger().set_watched(false);
        }
    }

    /// Tells the watcher; `false` when there is none.
    pub(crate) fn send(&self, message: Message) -> bool {
        lock(&self.watcher).as_ref().is_some_and(|attached| attached.sender.send(message).is_ok())
    }

    /// Lets the watcher fetch events.
    pub(crate) fn wake(&self) {
        self.send(Message::Wake);
    }
}

/// Looks at each file that the questions are about.
fn looks(folder: &Folder, questions: &Questions) -> Result<Looks, DropError> {
    let look = |name: &OsString| {
        let wrap = |errno| DropError::from_errno("look at a file", &folder.path, errno);
        folder.look(name).map(|look| (name.clone(), look)).map_err(wrap)
    };
    questions.names().map(look).collect()
}

/// The lock, also after a panic elsewhere: what it guards is changed in single steps and stays consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
