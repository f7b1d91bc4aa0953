//! Watcher: notices what the gateway does with drop files.
//!
//! Events of the file system (inotify) are hints that make it fast; the names in the directory are the truth. They
//! are compared every now and then, whenever the system says that it lost events, and always where events cannot
//! be had. No conclusion is drawn from an event alone: the file itself is looked at first.
//!
//! A fast gateway cannot slip through: publishing announces a name before the file becomes visible, and looks for
//! the file once more after its id is known. If it went in between, that look finds it gone; if it goes later, the
//! event meets a known name.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::folder::shown;
use crate::{
    DEFAULT_EVENTS_SCAN, DEFAULT_POLL_SCAN, DropDirectory, DropError, FileId, PickupEvent, SeenBy, WatchMode,
};

/// How long the second half of a rename is waited for before the file is looked for in the directory.
const RENAME_PATIENCE: Duration = Duration::from_millis(50);

/// How often every file is looked at, which corrects sizes.
const FULL_SCAN_INTERVAL: Duration = Duration::from_secs(600);

/// How often the path is checked to lead to the directory still, and a directory that is gone is looked for. No
/// event tells of either: the kernel reports the removal of a directory only when nobody has it open any more.
const VERIFY_INTERVAL: Duration = Duration::from_secs(1);

/// A file published earlier whose pickup is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name it was published under.
    pub name: String,
    /// [`Published::id`](crate::Published::id), if it was kept: with it, a file that was renamed while nobody watched
    /// is recognised whatever it is called now.
    pub id: Option<FileId>,
}

/// What the watching thread is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Something from the file system.
    Notify(notify::Result<Event>),
    /// A published file is not where it should be.
    Moved(OsString),
    /// There are events to fetch.
    Wake,
    /// Compare the names now.
    Scan,
    Stop,
}

/// Watches one drop directory from a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts watching. `known` are the files of earlier runs that have not been reported as taken; those that are
    /// not there any more are reported at once. Files published through `directory` (any clone) are watched by
    /// themselves. `on` is called from the watching thread, in order; while it blocks, nothing is noticed.
    ///
    /// One watcher for each directory: a second one takes the events over.
    ///
    /// # Errors
    /// When the directory cannot be read or no thread can be started. Events that cannot be had are no error but
    /// [`PickupEvent::PollingOnly`].
    pub fn start(
        directory: &DropDirectory,
        known: impl IntoIterator<Item = Known>,
        on: impl Fn(PickupEvent) + Send + 'static,
    ) -> Result<Self, DropError> {
        let (sender, receiver) = mpsc::channel();
        let wrap = |e| DropError::from_io("find the path of", directory.path(), e);
        let path = std::path::absolute(directory.path()).map_err(wrap)?;
        let number = directory.shared.attach(sender.clone());
        let mut watching = Watching::new(directory.clone(), path, number, sender.clone(), Box::new(on));
        // The watch comes before the scan: what happens in between is seen twice rather than never.
        watching.listen();
        directory.shared.scan(false, SeenBy::Scan)?;
        let known = known.into_iter().map(|known| (known.name, known.id)).collect();
        directory.shared.ledger().adopt(known, Timestamp::now());
        directory.shared.follow()?;
        let thread =
            thread::Builder::new().name("drop-watch".to_owned()).spawn(move || watching.run(&receiver));
        let thread = thread.map_err(|e| DropError::from_io("start a thread for", directory.path(), e))?;
        Ok(Self { sender, thread: Some(thread) })
    }

    /// Compares the names with the directory soon.
    pub fn scan_soon(&self) {
        self.tell(Message::Scan);
    }

    /// Ends the watching and waits for its thread. Dropping the watcher ends it without waiting, since a network
    /// file system may hold the thread for ever.
    pub fn stop(mut self) {
        self.tell(Message::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic in the caller's function has been reported by the panic hook.
            let _ = thread.join();
        }
    }

    pub(crate) fn tell(&self, message: Message) {
        // A thread that has ended needs no message.
        let _ = self.sender.send(message);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tell(Message::Stop);
    }
}

type Callback = Box<dyn Fn(PickupEvent) + Send>;

/// The state of the watching thread.
struct Watching {
    directory: DropDirectory,
    /// Its absolute path: events name files by it.
    path: PathBuf,
    number: u64,
    sender: Sender<Message>,
    on: Callback,
    events: Option<RecommendedWatcher>,
    /// Names that were removed, to be looked at.
    removed: HashSet<OsString>,
    /// Names whose file was changed or replaced, to be looked at.
    changed: HashSet<OsString>,
    /// Names that left, maybe for another name, and until when the other half of the news is waited for.
    moved: HashSet<OsString>,
    moved_until: Option<Instant>,
    next_verify: Instant,
    next_scan: Instant,
    next_full_scan: Instant,
    scan_now: bool,
    /// Something happened in a claim folder.
    follow_now: bool,
    verify_now: bool,
    scan_time: Duration,
}

impl Watching {
    fn new(
        directory: DropDirectory,
        path: PathBuf,
        number: u64,
        sender: Sender<Message>,
        on: Callback,
    ) -> Self {
        let now = Instant::now();
        Self {
            directory,
            path,
            number,
            sender,
            on,
            events: None,
            removed: HashSet::new(),
            changed: HashSet::new(),
            moved: HashSet::new(),
            moved_until: None,
            next_verify: now + VERIFY_INTERVAL,
            next_scan: now,
            next_full_scan: now + FULL_SCAN_INTERVAL,
            scan_now: false,
            follow_now: false,
            verify_now: false,
            scan_time: Duration::ZERO,
        }
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        self.next_scan = Instant::now() + self.scan_interval();
        loop {
            self.report();
            let due = self.next_scan.min(self.next_verify);
            let wake = self.moved_until.map_or(due, |until| until.min(due));
            match receiver.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Everything that waits is heard first, so that one look serves many events.
            let mut stop = false;
            for message in receiver.try_iter() {
                stop |= matches!(message, Message::Stop);
                self.take(message);
            }
            if stop {
                break;
            }
            self.act();
        }
        self.report();
        self.directory.shared.detach(self.number);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Notify(Ok(event)) => self.hear(&event),
            Message::Notify(Err(error)) => {
                tracing::debug!(%error, "an event could not be read; names are compared instead");
                self.scan_now = true;
            }
            Message::Moved(name) => self.wait_for_rename(name),
            Message::Scan => {
                self.scan_now = true;
                self.verify_now = true;
            }
            Message::Wake | Message::Stop => {}
        }
    }

    /// Notes what an event asks to be looked at.
    fn hear(&mut self, event: &Event) {
        if event.need_rescan() {
            self.directory.shared.ledger().counters.overflows += 1;
            self.scan_now = true;
            return;
        }
        if event.paths.iter().any(|path| self.is_in_claim_folder(path)) {
            self.follow_now = true;
        }
        let about_self = event.paths.first().is_some_and(|path| *path == self.path);
        match event.kind {
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) if about_self => {
                self.verify_now = true;
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => self.renamed(&event.paths),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                self.names(event).into_iter().for_each(|name| self.wait_for_rename(name));
            }
            EventKind::Access(AccessKind::Open(_)) => {
                for name in self.names(event) {
                    self.directory.shared.ledger().opened(&name, Timestamp::now());
                }
            }
            EventKind::Remove(_) => self.removed.extend(self.names(event)),
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(RenameMode::To))
            | EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                self.changed.extend(self.names(event))
            }
            _ => {}
        }
    }

    fn names(&self, event: &Event) -> Vec<OsString> {
        event.paths.iter().filter_map(|path| self.name_in(path)).collect()
    }

    fn name_in(&self, path: &Path) -> Option<OsString> {
        (path.parent()? == self.path).then(|| path.file_name().map(OsString::from)).flatten()
    }

    fn is_in_claim_folder(&self, path: &Path) -> bool {
        let folders = &self.directory.shared.claim_folders;
        folders.iter().any(|folder| path.parent() == Some(&folder.path))
    }

    fn wait_for_rename(&mut self, name: OsString) {
        self.moved.insert(name);
        // A scan that takes long must not become all that this thread does.
        let patience = RENAME_PATIENCE.max(self.scan_time * 4);
        self.moved_until.get_or_insert(Instant::now() + patience);
    }

    /// Both names of a rename are known.
    fn renamed(&mut self, paths: &[PathBuf]) {
        let [old, new] = paths else { return };
        let (Some(old), Some(new)) = (self.name_in(old), self.name_in(new)) else { return };
        let shared = &self.directory.shared;
        let folders = shared.folders();
        let (Ok(old_look), Ok(new_look)) = (folders.drop.look(&old), folders.drop.look(&new)) else {
            self.scan_now = true;
            return;
        };
        shared.ledger().renamed((&old, old_look), (&new, new_look), Timestamp::now());
        // If it has left the new name too, an event about that follows.
        self.moved.remove(&old);
    }

    /// Does what the messages asked for and what is due.
    fn act(&mut self) {
        let now = Instant::now();
        self.look();
        if std::mem::take(&mut self.follow_now)
            && let Err(error) = self.directory.shared.follow()
        {
            tracing::debug!(%error, "the claim folders could not be looked into");
        }
        if self.moved_until.is_some_and(|until| now >= until) {
            self.moved_until = None;
            let moved = std::mem::take(&mut self.moved);
            if moved.iter().any(|name| self.directory.shared.ledger().knows(name)) {
                self.scan(false, SeenBy::Event);
            }
        }
        if (self.verify_now || now >= self.next_verify) && !self.is_here() {
            return;
        }
        if self.scan_now || now >= self.next_scan {
            let full = now >= self.next_full_scan;
            if full {
                self.next_full_scan = now + FULL_SCAN_INTERVAL;
                self.listen_again();
            }
            self.scan(full, SeenBy::Scan);
            self.next_scan = now + self.scan_interval();
            self.scan_now = false;
        }
    }

    /// Whether the directory is where it should be, after trying to bring it back. A temp folder that is missing is
    /// left to the next publication: making it here could come between an operator and `rm -r`.
    fn is_here(&mut self) -> bool {
        self.verify_now = false;
        self.next_verify = Instant::now() + VERIFY_INTERVAL;
        let shared = &self.directory.shared;
        if !self.directory.is_gone() && shared.folders().drop.still_there().is_ok() {
            return true;
        }
        shared.verified().is_ok()
    }

    /// Looks at the files that events spoke of. One that was changed and is not there has been removed or renamed
    /// since; the event that says which of the two is on its way.
    fn look(&mut self) {
        let removed = std::mem::take(&mut self.removed).into_iter().map(|name| (name, true));
        let changed = std::mem::take(&mut self.changed).into_iter().map(|name| (name, false));
        for (name, absent_counts) in removed.chain(changed) {
            if let Err(error) = self.directory.shared.resolve(&name, absent_counts) {
                tracing::debug!(%error, name = shown(&name), "a drop file could not be looked at");
                self.scan_now = true;
            }
        }
    }

    fn scan(&mut self, all: bool, seen_by: SeenBy) {
        let start = Instant::now();
        if let Err(error) = self.directory.shared.scan(all, seen_by) {
            // The next check of the directory tells whether it is gone.
            tracing::debug!(%error, "the drop directory could not be scanned");
        }
        self.scan_time = start.elapsed();
    }

    /// Hands the events to the caller. A directory that is back is another one for the kernel: it is watched anew, and
    /// scanned after that for what happened in between.
    fn report(&mut self) {
        let events = self.directory.shared.ledger().take_events();
        for event in events {
            if matches!(event, PickupEvent::DirectoryBack { .. }) {
                self.listen();
                self.scan(false, SeenBy::Scan);
                self.next_scan = Instant::now() + self.scan_interval();
            }
            (self.on)(event);
        }
        // The scan may have found something; it is told in the next round, which must not wait.
        if self.directory.shared.ledger().has_events() {
            self.directory.shared.wake();
        }
    }

    fn wants_events(&self) -> bool {
        match self.directory.settings().watch {
            WatchMode::Events => true,
            WatchMode::Poll => false,
            WatchMode::Auto => !self.directory.file_system().is_remote(),
        }
    }

    /// Asks for events, if they are wanted.
    fn listen(&mut self) {
        self.events = None;
        if !self.wants_events() {
            return;
        }
        let sender = self.sender.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // A stopped watcher hears nothing.
            let _ = sender.send(Message::Notify(event));
        });
        let watching = watcher
            .and_then(|mut watcher| watcher.watch(&self.path, RecursiveMode::NonRecursive).map(|()| watcher));
        match watching {
            Ok(mut watcher) => {
                for folder in &self.directory.shared.claim_folders {
                    // One that is missing is looked for with each scan.
                    if let Err(error) = watcher.watch(&folder.path, RecursiveMode::NonRecursive) {
                        tracing::debug!(%error, path = %folder.path.display(), "a claim folder is not watched");
                    }
                }
                self.events = Some(watcher);
            }
            Err(error) => {
                let reason = error.to_string();
                let event = PickupEvent::PollingOnly { reason, at: Timestamp::now() };
                self.directory.shared.ledger().tell(event);
            }
        }
    }

    /// Asks for events again if they are wanted and could not be had.
    fn listen_again(&mut self) {
        if self.events.is_none() {
            self.listen();
        }
    }

    fn scan_interval(&self) -> Duration {
        let default = if self.events.is_some() { DEFAULT_EVENTS_SCAN } else { DEFAULT_POLL_SCAN };
        self.directory.settings().scan_interval.unwrap_or(default)
    }
}
