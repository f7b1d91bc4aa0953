//! FileDoor: one pickup or replay directory that is read.
//!
//! Each folder has a task. It lists the folder when something arrived and now and then, and takes what it finds in
//! chunks: a chunk is moved and read on a thread that may block, handed in all at once, so that the store commits many
//! messages with one sync. Several chunks are on their way at once; what is committed is removed after others were handed in,
//! too, so that accepting goes first.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use postern_drop::DropError;
use postern_drop::intake::{Finished, Intake, IntakeWatch, Take, TakenFile, Wait};
use postern_model::{Content, Recipient, Response};
use postern_store::InboundId;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::content::{self, ReadFile};
use super::hints::Hints;
use super::import::ImportKey;
use super::rate::Rate;
use super::{Letter, Rules, submission};
use crate::config::{FileDoorConfig, FileDoorKind, FolderConfig};
use crate::metrics::Metrics;
use crate::submit::{Client, SubmitError, Submitter};
use crate::topology::CurrentTopology;

/// What files are called.
const EXTENSION: &str = "eml";
/// Files that are moved, read and handed in together.
const CHUNK: usize = 32;
/// Chunks of one folder on their way at once.
const CHUNKS: usize = 6;
/// Files between two looks at the rate and at whether there is room.
const BATCH: usize = 2048;
/// Files that were handed in and whose removal may wait until others are handed in, too.
const MAX_TRAILING: usize = 16_384;
/// How soon a folder that cannot be opened is tried again, and one whose files the store has no room for.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest time between two looks at a folder in which something waits.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// How many names are remembered of which the log has told already.
const MAX_TOLD: usize = 10_000;

/// A directory whose files come in as messages.
pub struct FileDoor {
    shared: Arc<Shared>,
}

/// What a door needs of the host.
#[derive(Clone)]
pub struct Surroundings {
    /// The door for every message.
    pub submitter: Arc<Submitter>,
    /// What holds for the host, for DSNs.
    pub topology: Arc<CurrentTopology>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Where large contents are written.
    pub incoming: PathBuf,
    /// The host's name.
    pub host_name: String,
    /// Where the key of exports lies.
    pub data_directory: PathBuf,
}

struct Shared {
    config: FileDoorConfig,
    host: Surroundings,
    key: Option<ImportKey>,
    /// How many files wait in each folder.
    waiting: Mutex<BTreeMap<PathBuf, usize>>,
}

impl FileDoor {
    /// A door that is not open yet.
    #[must_use]
    pub fn new(config: &FileDoorConfig, host: Surroundings) -> Self {
        let key = match config.kind {
            FileDoorKind::Pickup => None,
            FileDoorKind::Replay(_) => ImportKey::open(&host.data_directory)
                .inspect_err(|error| {
                    tracing::error!(directory = %config.name, %error, "exports of this host are not known again");
                })
                .ok(),
        };
        let shared = Shared { config: config.clone(), host, key, waiting: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Takes files until told to stop; what was taken by then is finished with.
    pub async fn run(self, stop: CancellationToken) {
        let mut folders = JoinSet::new();
        for folder in &self.shared.config.folders {
            let reader = FolderReader::new(self.shared.clone(), folder.clone());
            folders.spawn(reader.run(stop.clone()));
        }
        while let Some(ended) = folders.join_next().await {
            if let Err(error) = ended {
                tracing::error!(directory = %self.shared.config.name, %error, "a folder's task failed");
            }
        }
    }
}

/// A folder that is open.
struct Open {
    intake: Intake,
    _watch: Option<IntakeWatch>,
}

/// One folder.
struct FolderReader {
    shared: Arc<Shared>,
    folder: Arc<FolderConfig>,
    open: Option<Arc<Open>>,
    hints: Arc<Hints>,
    rate: Rate,
    /// Why it could not be opened, as the log was told.
    fault: Option<String>,
    /// Names of which the log was told that they wait.
    told: Arc<Mutex<HashSet<OsString>>>,
}

/// A file to be taken.
enum Job {
    /// An earlier run took it.
    Leftover(OsString),
    /// It lies in the folder.
    New(OsString),
}

/// What one file came to before it was handed in.
enum Found {
    /// It is gone, or was set aside.
    Nothing,
    /// It waits.
    Waits { growing: bool },
    /// It was taken and read.
    Read(Box<TakenFile>, Box<ReadFile>),
}

/// What becomes of a file that was read.
enum Fate {
    /// It is in the queue, or its sender is told, for certain: it may be removed. With the word for the counters.
    Done(&'static str),
    /// A person has to look at it.
    Bad(String),
    /// It has to wait.
    Later(String),
}

/// Recipients that a message may go to, and those that it may not, with the reason.
type Sorted = (Vec<Recipient>, Vec<(Recipient, Response)>);

/// What a pass over a folder left.
#[derive(Clone, Copy, Default)]
struct Left {
    waiting: usize,
    growing: bool,
}

/// What a chunk came to.
#[derive(Default)]
struct Chunk {
    /// How many files were taken newly.
    taken: usize,
    left: Left,
    /// What only has to be removed.
    finished: Vec<Finished>,
}

impl FolderReader {
    fn new(shared: Arc<Shared>, folder: FolderConfig) -> Self {
        let rate = Rate::new(folder.max_messages_per_minute, Instant::now());
        Self {
            shared,
            folder: Arc::new(folder),
            open: None,
            hints: Arc::default(),
            rate,
            fault: None,
            told: Arc::default(),
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = self.pass(&stop).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.hints.arrived.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes what can be taken now. How long to wait before the next look.
    async fn pass(&mut self, stop: &CancellationToken) -> Duration {
        if !self.shared.host.submitter.has_room() {
            // The files stay where they are, and those who put them there can see that.
            return PAUSE;
        }
        let (open, leftovers, names) = match self.look().await {
            Ok(looked) => {
                self.fault = None;
                looked
            }
            Err(error) => {
                self.open = None;
                self.complain(error.to_string());
                return PAUSE;
            }
        };
        self.hints.warm_up(Instant::now());
        let left = self.work(&open, leftovers, names, stop).await;
        self.shared.waits(&self.folder, left.waiting);
        let poll = self.shared.config.poll_interval;
        let pause = if !self.shared.host.submitter.has_room() {
            PAUSE
        } else if left.waiting > 0 && self.rate.available(Instant::now()) == 0 {
            self.rate.wait()
        } else if left.growing {
            self.shared.config.settle_time
        } else {
            poll
        };
        pause.clamp(LEAST_PAUSE, poll.max(PAUSE))
    }

    /// Opens the folder if it is not open, and lists it.
    async fn look(&mut self) -> Result<(Arc<Open>, Vec<OsString>, Vec<OsString>), DropError> {
        let (open, shared) = (self.open.clone(), self.shared.clone());
        let (folder, hints) = (self.folder.clone(), self.hints.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let open = match open {
                Some(open) => open,
                None => Arc::new(open_folder(&shared, &folder, hints)?),
            };
            open.intake.check_still_there()?;
            let (leftovers, names) = (open.intake.leftovers()?, open.intake.list()?);
            Ok((open, leftovers, names))
        });
        let looked = looked.await.unwrap_or_else(|error| {
            let (path, source) = (self.folder.path.clone(), std::io::Error::other(error));
            Err(DropError::Io { doing: "list the files", path, source })
        })?;
        self.open = Some(looked.0.clone());
        Ok(looked)
    }

    fn complain(&mut self, fault: String) {
        if self.fault.as_ref() != Some(&fault) {
            tracing::warn!(directory = %self.shared.config.name, fault, "no files are taken for now");
            self.fault = Some(fault);
        }
    }

    async fn work(
        &mut self,
        open: &Arc<Open>,
        leftovers: Vec<OsString>,
        names: Vec<OsString>,
        stop: &CancellationToken,
    ) -> Left {
        let mut finished = Vec::new();
        // What an earlier run took was counted then.
        let leftovers = leftovers.into_iter().map(Job::Leftover).collect();
        let mut left = self.batch(open, leftovers, &mut finished).await;
        let mut names = names.into_iter();
        while !stop.is_cancelled() && self.shared.host.submitter.has_room() {
            // Files that wait do not use up the rate, so that they do not hold up those behind them.
            let may = self.rate.available(Instant::now()).min(BATCH);
            let batch: Vec<Job> = names.by_ref().take(may).map(Job::New).collect();
            if batch.is_empty() {
                break;
            }
            let ended = self.batch(open, batch, &mut finished).await;
            left.waiting += ended.waiting;
            left.growing |= ended.growing;
            if finished.len() >= MAX_TRAILING {
                self.remove(open, std::mem::take(&mut finished)).await;
            }
        }
        self.remove(open, finished).await;
        left.waiting += names.len();
        left
    }

    async fn batch(&mut self, open: &Arc<Open>, jobs: Vec<Job>, finished: &mut Vec<Finished>) -> Left {
        let chunks = stream::iter(into_chunks(jobs)).map(|chunk| self.chunk(open.clone(), chunk));
        let ended: Vec<Chunk> = chunks.buffer_unordered(CHUNKS).collect().await;
        let mut left = Left::default();
        for chunk in ended {
            self.rate.took(chunk.taken);
            left.waiting += chunk.left.waiting;
            left.growing |= chunk.left.growing;
            finished.extend(chunk.finished);
        }
        left
    }

    /// Removes what was handed in. The commits are on the disk; if this fails, or a crash comes first, the files are read
    /// again, and known.
    async fn remove(&self, open: &Arc<Open>, finished: Vec<Finished>) {
        if finished.is_empty() {
            return;
        }
        let open = open.clone();
        let removed = tokio::task::spawn_blocking(move || {
            let mut failed = None;
            for file in &finished {
                failed = open.intake.remove(file).err().or(failed);
            }
            failed
        });
        if let Ok(Some(error)) = removed.await {
            tracing::warn!(directory = %self.shared.config.name, %error, "files that were handed in are still there");
        }
    }

    fn worker(&self) -> Worker {
        Worker {
            shared: self.shared.clone(),
            folder: self.folder.clone(),
            hints: self.hints.clone(),
            told: self.told.clone(),
            now: Timestamp::now(),
        }
    }

    /// Takes, reads and hands in some files.
    async fn chunk(&self, open: Arc<Open>, jobs: Vec<Job>) -> Chunk {
        let worker = self.worker();
        let new = jobs.iter().filter(|job| matches!(job, Job::New(_))).count();
        let (taking, opened) = (worker.clone(), open.clone());
        let found = tokio::task::spawn_blocking(move || taking.take_all(&opened.intake, jobs)).await;
        let found = found.unwrap_or_else(|error| {
            tracing::error!(directory = %self.shared.config.name, %error, "taking files failed");
            Vec::new()
        });
        let mut left = Left::default();
        let mut read = Vec::with_capacity(found.len());
        for found in found {
            match found {
                Found::Nothing => {}
                Found::Waits { growing } => {
                    left.waiting += 1;
                    left.growing |= growing;
                }
                Found::Read(file, what) => read.push((file, what)),
            }
        }
        let taken = new.min(read.len());
        let handed = join_all(read.into_iter().map(|(file, read)| async {
            let fate = worker.hand_in(*read).await;
            (file, fate)
        }));
        let handed = handed.await;
        let ending = tokio::task::spawn_blocking(move || worker.finish_all(&open.intake, handed)).await;
        // Without an end they are leftovers, and come again with the next look.
        let (later, finished) = ending.unwrap_or_default();
        left.waiting += later;
        Chunk { taken, left, finished }
    }
}

fn into_chunks(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut chunks = Vec::with_capacity(jobs.len() / CHUNK + 1);
    let mut jobs = jobs.into_iter().peekable();
    while jobs.peek().is_some() {
        chunks.push(jobs.by_ref().take(CHUNK).collect());
    }
    chunks
}

fn open_folder(shared: &Shared, folder: &FolderConfig, hints: Arc<Hints>) -> Result<Open, DropError> {
    let intake = Intake::open(&folder.path, shared.config.create_directory, EXTENSION)?;
    hints.clear();
    let watch = IntakeWatch::start(&folder.path, move |hint| hints.hear(hint, EXTENSION));
    if let Err(reason) = &watch {
        tracing::info!(
            directory = %shared.config.name, reason, "no events can be had; files are found every poll_interval"
        );
    }
    tracing::info!(directory = %shared.config.name, path = %folder.path.display(), "files are taken from here");
    Ok(Open { intake, _watch: watch.ok() })
}

impl Shared {
    /// So many files wait in a folder.
    fn waits(&self, folder: &FolderConfig, count: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(folder.path.clone(), count);
        self.host.metrics.waiting_files(&self.config.name, waiting.values().sum());
    }
}

/// What works on a chunk.
#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    folder: Arc<FolderConfig>,
    hints: Arc<Hints>,
    told: Arc<Mutex<HashSet<OsString>>>,
    now: Timestamp,
}

impl Worker {
    fn rules(&self) -> Rules<'_> {
        Rules {
            door: &self.shared.config,
            folder: &self.folder,
            host_name: &self.shared.host.host_name,
            now: self.now,
        }
    }

    // ---- on a thread that may block ----

    fn take_all(&self, intake: &Intake, jobs: Vec<Job>) -> Vec<Found> {
        jobs.into_iter().map(|job| self.take(intake, job)).collect()
    }

    fn take(&self, intake: &Intake, job: Job) -> Found {
        let (name, taken) = match job {
            Job::New(name) if self.hints.is_cooling(&name) => return Found::Waits { growing: false },
            Job::New(name) => {
                let (settle, heard) = (self.shared.config.settle_time, self.hints.of(&name));
                let taken = intake.take(&name, settle, heard, SystemTime::now());
                (name, taken)
            }
            Job::Leftover(name) => {
                let taken = intake.resume(&name);
                (name, taken)
            }
        };
        match taken {
            Ok(Take::Gone) => {
                self.hints.forget(&name);
                Found::Nothing
            }
            Ok(Take::Waits(wait)) => {
                let growing = matches!(wait, Wait::Growing);
                if !growing {
                    self.tell(&name, &wait.to_string());
                }
                Found::Waits { growing }
            }
            Ok(Take::Unfit(unfit)) => {
                self.aside(&name, unfit.to_string(), |reason| intake.set_aside_in_place(&name, reason));
                Found::Nothing
            }
            Ok(Take::Taken(file)) => {
                self.hints.forget(&name);
                self.read(intake, file)
            }
            Err(error) => {
                self.tell(&name, &error.to_string());
                Found::Waits { growing: false }
            }
        }
    }

    fn read(&self, intake: &Intake, mut file: TakenFile) -> Found {
        if !self.folder.takes_from(file.owner) {
            let reason = format!("files of the user with number {} are not taken here (owners)", file.owner);
            self.aside(&file.original, reason, |reason| intake.set_aside(&file, reason));
            return Found::Nothing;
        }
        let read =
            content::read(&mut file, self.rules(), self.shared.key.as_ref(), &self.shared.host.incoming);
        match read {
            Ok(read) => Found::Read(Box::new(file), Box::new(read)),
            Err(error) => {
                let growing = matches!(error, content::ReadError::Changed);
                self.put_back(intake, &file, &error.to_string());
                Found::Waits { growing }
            }
        }
    }

    /// How many files have to wait, and those that only have to be removed.
    fn finish_all(&self, intake: &Intake, handed: Vec<(Box<TakenFile>, Fate)>) -> (usize, Vec<Finished>) {
        let (mut later, mut finished) = (0, Vec::with_capacity(handed.len()));
        for (file, fate) in handed {
            match fate {
                Fate::Done(word) => {
                    self.shared.host.metrics.file(&self.shared.config.name, word);
                    finished.push(file.finish());
                }
                Fate::Bad(reason) => {
                    self.aside(&file.original, reason, |reason| intake.set_aside(&file, reason));
                }
                Fate::Later(reason) => {
                    self.put_back(intake, &file, &reason);
                    later += 1;
                }
            }
        }
        (later, finished)
    }

    fn put_back(&self, intake: &Intake, file: &TakenFile, reason: &str) {
        self.shared.host.metrics.file(&self.shared.config.name, "put-back");
        self.tell(&file.original, reason);
        // The move back is an event as well, and must not bring the file here again at once.
        self.hints.cool(&file.original, Instant::now() + self.shared.config.poll_interval);
        if let Err(error) = intake.put_back(file) {
            self.tell(&file.original, &error.to_string());
        }
    }

    fn aside(
        &self,
        name: &OsStr,
        reason: String,
        set_aside: impl FnOnce(&str) -> Result<OsString, DropError>,
    ) {
        let directory = &self.shared.config.name;
        self.hints.forget(name);
        match set_aside(&reason) {
            Ok(bad) => {
                self.shared.host.metrics.file(directory, "bad");
                tracing::warn!(%directory, file = ?name, now = ?bad, reason, "a bad file was set aside");
            }
            Err(error) => self.tell(name, &format!("{reason}; and it cannot be set aside: {error}")),
        }
    }

    /// Tells the log once of each file that it has to wait.
    fn tell(&self, name: &OsStr, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        if told.insert(name.to_owned()) {
            tracing::warn!(directory = %self.shared.config.name, file = ?name, reason, "a file has to wait");
        }
    }

    // ---- on the runtime ----

    async fn hand_in(&self, read: ReadFile) -> Fate {
        let ReadFile { inbound, result } = read;
        match result {
            Ok((letter, content)) => self.submit(letter, content, inbound).await,
            Err(refusal) => match refusal.tell {
                None => Fate::Bad(refusal.response.text),
                Some(letter) => {
                    let failed =
                        letter.recipients.iter().map(|r| (r.clone(), refusal.response.clone())).collect();
                    self.report(&letter, failed, None, inbound, "").await
                }
            },
        }
    }

    async fn submit(&self, letter: Letter, content: Content, inbound: InboundId) -> Fate {
        let original = match &content {
            Content::Memory(bytes) => Some(bytes.clone()),
            Content::File { .. } => None,
        };
        let file = match &content {
            Content::File { path, .. } => Some(path.clone()),
            Content::Memory(_) => None,
        };
        let fate = self.try_to_submit(&letter, content, inbound, original.as_deref()).await;
        if let Some(file) = file {
            // What the store took over lies there no more.
            let _ = tokio::fs::remove_file(file).await;
        }
        fate
    }

    async fn try_to_submit(
        &self,
        letter: &Letter,
        content: Content,
        inbound: InboundId,
        original: Option<&[u8]>,
    ) -> Fate {
        let (taken, failed) = match self.sort(letter, content.size()) {
            Ok(sorted) => sorted,
            Err(reason) => return Fate::Later(reason),
        };
        let (mut word, some) = ("reported", !taken.is_empty());
        if some {
            let message = submission::message(letter, taken, content, inbound.clone(), self.rules());
            let id = message.id;
            match self.shared.host.submitter.submit(message).await {
                Ok(stored) => word = if stored == id { "accepted" } else { "repeated" },
                // A config that has changed since the recipients were looked at decides anew.
                Err(
                    error @ (SubmitError::Store(_)
                    | SubmitError::NoRoute { .. }
                    | SubmitError::NotAllowed { .. }),
                ) => {
                    return Fate::Later(error.to_string());
                }
            }
        }
        if failed.is_empty() {
            return Fate::Done(word);
        }
        let so_far =
            if some { "other recipients get the message; do not put it here again for them: " } else { "" };
        self.report(letter, failed, original, inbound, so_far).await
    }

    /// The recipients that the message may go to, and those that it may not, with the reason.
    ///
    /// # Errors
    /// Why the whole message has to wait.
    fn sort(&self, letter: &Letter, size: u64) -> Result<Sorted, String> {
        let (mut taken, mut failed) = (Vec::new(), Vec::new());
        let user = self.folder.submitter.as_deref();
        let client = Client { connector: &self.shared.config.name, address: Some(submission::CLIENT), user };
        for recipient in &letter.recipients {
            let shown = recipient.address.display();
            if !self.folder.admits_recipient(&shown) {
                let text = format!("{shown} may not be sent to from this directory (recipients)");
                failed.push((recipient.clone(), Response::new(550, (5, 7, 1), &text)));
                continue;
            }
            let submitter = &self.shared.host.submitter;
            match submitter.check_recipient(client, &letter.sender, &recipient.address, Some(size)) {
                Ok(()) => taken.push(recipient.clone()),
                // Somebody means to switch the connector on again.
                Err(response) if response.code < 500 => return Err(response.to_string()),
                Err(response) => failed.push((recipient.clone(), response)),
            }
        }
        Ok((taken, failed))
    }

    /// Tells the sender of recipients who do not get the message; where that is impossible, a person has to look at the file.
    async fn report(
        &self,
        letter: &Letter,
        failed: Vec<(Recipient, Response)>,
        original: Option<&[u8]>,
        inbound: InboundId,
        so_far: &str,
    ) -> Fate {
        let why = failed
            .iter()
            .map(|(recipient, response)| format!("{}: {}", recipient.address.display(), response.text));
        let why = format!("{so_far}{}", why.collect::<Vec<_>>().join("; "));
        let silent = failed.iter().all(|(recipient, _)| !recipient.notify_or_default().failure);
        let settings = self.shared.host.topology.get().dsn.clone();
        let original = original.filter(|original| original.len() <= settings.max_returned);
        let size = original.map_or(0, |original| original.len() as u64);
        let report = submission::report(letter, failed, original, size, &inbound, &settings, self.rules());
        let Some((report, about)) = report else {
            // Who asked never to hear of it gets what was asked for.
            let nobody = "nobody can be told: the sender is empty";
            return if silent { Fate::Done("unreported") } else { Fate::Bad(format!("{why}; {nobody}")) };
        };
        match self.shared.host.submitter.submit_report(report, &about).await {
            Ok(_) => {
                tracing::info!(directory = %self.shared.config.name, sender = letter.sender, why, "the sender is told");
                Fate::Done("reported")
            }
            Err(SubmitError::Store(error)) => Fate::Later(error.to_string()),
            Err(error) => Fate::Bad(format!("{why}; and the sender cannot be told: {error}")),
        }
    }
}
