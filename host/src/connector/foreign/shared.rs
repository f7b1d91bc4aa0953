//! Shared: what a foreign connector, its threads and its connections share: the open drop directory, and what is known
//! of the files in it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_drop::{
    DirectoryId, DropDirectory, DropError, DropSettings, FileName, Fullness, GoneReason, Known, PickupEvent,
    Published, SeenBy, Usage, Watcher, Withdrawn,
};
use postern_model::{
    DeliveryReport, DeliveryRequest, Item, Outcome, Pending, Receipt, ReceiptState, RecipientOutcome,
    RecipientState, Response,
};

use super::activity::{Activity, ActivityView};
use super::files::Files;
use super::names::Names;
use super::results::{self, Collector};
use super::{
    ConnectorState, End, HeldFiles, IsQueued, Record, Role, SettleReceipts, Surroundings, Whereabouts,
};
use super::{NotPublished, letter, lock, needs_reopening, settings, taken};
use crate::config::{ForeignConfig, HostConfig, SuccessOn};
use crate::dispatch::ReceiptSender;
use crate::metrics::Metrics;
use crate::receipts::STAGE;

/// Temp files and markers that are younger are left alone.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);
/// How often they are looked for while the directory is open.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How many numbers are tried for one file, since files of others have the names.
const MAX_NUMBERS: u32 = 1000;
/// Of how many files the tracking is told at once that they lie about.
const MOST_STALE: usize = 100;
/// How often somebody is told that files lie about.
const UNCLAIMED_REPEAT: SignedDuration = SignedDuration::from_hours(1);

/// What the connector, its threads and its connections share.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    host_name: String,
    pub(super) settings: DropSettings,
    /// What files are called.
    pub(super) names: Names,
    success_on: SuccessOn,
    /// After what time a file counts as taken that the gateway leaves.
    pub(super) remove_after: Option<SignedDuration>,
    unclaimed_warn_after: Option<SignedDuration>,
    role: Role,
    /// Where the record of the directory lies.
    pub(super) record: PathBuf,
    receipts: ReceiptSender,
    pub(super) metrics: Arc<Metrics>,
    pub(super) is_queued: IsQueued,
    pub(super) held: HeldFiles,
    pub(super) settle: SettleReceipts,
    pub(super) results: Collector,
    /// What the gateway was seen to do.
    pub(super) activity: Mutex<Activity>,
    /// Whether the receipts of earlier runs are known. Before that no watcher may start, which would take the file of an
    /// unknown one for somebody else's.
    started: AtomicBool,
    /// Files are published to another directory than the kept record says. Held while the record is written.
    record_due: Mutex<bool>,
    /// Files that were confirmed before the start.
    confirmed: Mutex<Vec<FileName>>,
    /// The directory and its watcher while they are open; they are opened again after a fault. Held while the file
    /// system is asked: only the threads that write may lock it.
    pub(super) open: Mutex<Option<Open>>,
    /// Whether the directory can be used, as last seen; never held for longer than a look.
    pub(super) state: Mutex<ConnectorState>,
    /// Never held for longer than a look either.
    pub(super) files: Mutex<Files>,
    /// A refresh waits or is under way.
    pub(super) refreshing: AtomicBool,
    /// Somebody waited in vain for a thread, and none has done anything since.
    pub(super) hangs: AtomicBool,
}

/// The open directory.
pub(super) struct Open {
    pub(super) directory: DropDirectory,
    _watcher: Option<Watcher>,
    /// Whether its watcher is listened to.
    listening: Arc<AtomicBool>,
    /// Which directory it was when it was opened.
    identity: DirectoryId,
    /// Tells it from the one that was open before.
    number: u64,
    /// Files that its watcher was not told of, since they were held.
    left_out: Vec<String>,
    swept: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        // The watcher's thread may be in the middle of a look, which knows nothing of what is done from now on: it must
        // not take a file that is withdrawn for taken. What it would have told truly, the next watcher finds again.
        self.listening.store(false, Ordering::Release);
    }
}

impl Shared {
    pub(super) fn new(
        config: &ForeignConfig,
        host: &HostConfig,
        role: Role,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            name: config.common.name.clone(),
            host_name: host.name.clone(),
            names: Names::new(config, host, surroundings.is_queued.clone()),
            settings: settings(config),
            success_on: config.success_on,
            remove_after: config.gateway.remove_after.and_then(|after| SignedDuration::try_from(after).ok()),
            unclaimed_warn_after: config.unclaimed_warn_after,
            role,
            record: Record::path(&host.data_directory, &config.common.name),
            receipts: surroundings.receipts,
            metrics: surroundings.metrics,
            is_queued: surroundings.is_queued,
            held: surroundings.held,
            settle: surroundings.settle,
            results: Collector::new(&settings(config)),
            activity: Mutex::new(Activity::new(Timestamp::now())),
            started: AtomicBool::new(role == Role::Withdraws),
            record_due: Mutex::default(),
            confirmed: Mutex::default(),
            open: Mutex::default(),
            state: Mutex::new(ConnectorState::Disabled("the drop directory was not opened yet".to_owned())),
            files: Mutex::default(),
            refreshing: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
        }
    }

    pub(super) fn publish(self: &Arc<Self>, request: &DeliveryRequest) -> Result<Published, NotPublished> {
        self.start();
        let published = self.directory().map_err(NotPublished::from).and_then(|(directory, number)| {
            let published = self.write(&directory, request)?;
            self.published(&published, number)?;
            Ok(published)
        });
        if let Err(NotPublished::Directory(error)) = &published
            && needs_reopening(error)
        {
            lock(&self.open).take();
            self.set_state(ConnectorState::Disabled(error.to_string()));
        }
        published
    }

    fn write(&self, directory: &DropDirectory, request: &DeliveryRequest) -> Result<Published, NotPublished> {
        let profile = &self.settings.profile;
        let mut letter = letter::Owned::new(request, &self.host_name);
        if profile.is_per_recipient() && letter.recipients() > 1 {
            return Err(NotPublished::Several);
        }
        letter.see(&request.content, profile.wishes())?;
        let mut tries = 0;
        loop {
            let number = self.names.number(&request.item, tries > 0)?;
            let set = profile.render(&letter.letter(number))?;
            let name = &set.main.name;
            // A counted name may have been another message's, whose result must not be taken for the word about this one.
            let used_before = request.attempt > 1 || number.is_some();
            if self.success_on == SuccessOn::Result && used_before && !directory.is_unconfirmed(name) {
                self.results.clear(name)?;
            }
            let published =
                directory.publish_set(&set, &letter::Source(&request.content), request.content.size());
            match published {
                // The counter went round, or begins anew in a directory that is not empty.
                Err(DropError::Collision { by: "another file", .. })
                    if number.is_some() && tries < MAX_NUMBERS =>
                {
                    tries += 1;
                }
                Err(error @ DropError::Uncertain { .. }) => {
                    // It may lie there, whatever the queue says.
                    self.note(name.as_str(), &directory.identity());
                    return Err(error.into());
                }
                published => return Ok(published?),
            }
        }
    }

    /// Takes note of a file that can be seen, before anybody is told that it is published.
    fn published(self: &Arc<Self>, published: &Published, number: u64) -> Result<(), DropError> {
        // Not before it is there: a watcher that starts takes a known file that it does not find for taken.
        self.note(published.name.as_str(), &published.directory);
        lock(&self.activity).count("published");
        // Durable before the queue is told that this file is out: otherwise a restart could take those of the old directory
        // for taken.
        self.keep_record(|files| files.publishing_to(published.directory.as_str()))?;
        let mut open = lock(&self.open);
        let same = |open: &Open| open.number == number && open.identity == published.directory;
        if open.as_ref().is_some_and(|open| !same(open)) {
            // Another thread opened the directory anew meanwhile, and its watcher may not know this file; or another
            // directory is there, of which more files may be known: once more.
            open.take();
            self.opened(&mut open)?;
        }
        Ok(())
    }

    fn note(&self, name: &str, directory: &DirectoryId) {
        lock(&self.files).published(name, directory.as_str(), Timestamp::now());
    }

    pub(super) fn confirm(self: &Arc<Self>, names: &[FileName]) {
        if !self.started.load(Ordering::Acquire) {
            lock(&self.confirmed).extend_from_slice(names);
            return;
        }
        // While the directory cannot be opened the markers stay. They do no harm, and a sweep removes them when their
        // items have left the queue.
        if let Ok((directory, _)) = self.directory() {
            directory.confirm(names);
        }
    }

    /// These hand-overs are on record.
    pub(super) fn recorded(&self, receipts: &[(String, Timestamp)]) {
        let mut files = lock(&self.files);
        for (id, at) in receipts {
            match id.strip_suffix(results::SUFFIX) {
                Some(file) => files.await_result(file, true),
                None => files.recorded(id, *at),
            }
        }
    }

    /// Nobody waits for these files any more.
    pub(super) fn forget(&self, names: &[String]) {
        let mut files = lock(&self.files);
        for id in names {
            match id.strip_suffix(results::SUFFIX) {
                Some(file) => files.await_result(file, false),
                None => files.forget(id),
            }
        }
    }

    /// Lets the results of the gateway be looked for, where somebody waits for them.
    pub(super) fn start_results(self: &Arc<Self>) {
        if self.success_on == SuccessOn::Result && self.role == Role::Delivers {
            self.results.start(self);
        }
    }

    /// Whether the pickup of an item's file is on record, and only its result is waited for.
    pub(super) fn is_taken_on_record(&self, item: &Item, file: &FileName) -> bool {
        let waits_for = |id: &str| {
            item.recipients.iter().any(|recipient| match &recipient.state {
                RecipientState::Pending { receipt_ids, .. } => receipt_ids.iter().any(|known| known == id),
                _ => false,
            })
        };
        self.success_on == SuccessOn::Result
            && waits_for(&results::receipt_id(file.as_str()))
            && !waits_for(file.as_str())
    }

    // ---- withdrawing ----

    /// Takes a file back. `waits`: recipients wait for it, so it was published for certain.
    pub(super) fn withdraw(self: &Arc<Self>, file: &FileName, waits: bool) -> Whereabouts {
        let whereabouts = self.try_to_withdraw(file, waits);
        let word = match &whereabouts {
            Whereabouts::Nothing => return whereabouts,
            Whereabouts::Withdrawn { .. } => "withdrawn",
            Whereabouts::Taken(_) => "taken",
            Whereabouts::Claimed { .. } => "claimed",
            Whereabouts::Vanished { .. } => "vanished",
            Whereabouts::Unreachable { .. } => "unreachable",
        };
        self.metrics.withdrawal(&self.name, word);
        if matches!(whereabouts, Whereabouts::Withdrawn { .. }) {
            tracing::debug!(connector = %self.name, %file, "a drop file is withdrawn");
        } else {
            tracing::info!(connector = %self.name, %file, found = word, "a drop file could not be withdrawn");
        }
        whereabouts
    }

    fn try_to_withdraw(self: &Arc<Self>, file: &FileName, waits: bool) -> Whereabouts {
        let name = file.as_str();
        // Held to the end, so that no watcher starts meanwhile and takes the file for taken.
        let mut open = lock(&self.open);
        let directory = match self.to_withdraw_from(&mut open) {
            Ok(directory) => directory,
            Err(error) => return self.unreachable(file, waits, &error.to_string()),
        };
        self.held.hold(name);
        let withdrawn = directory.withdraw(file);
        if !matches!(withdrawn, Ok(Withdrawn::Yes)) {
            self.held.release(name);
        }
        let text = name.to_owned();
        match withdrawn {
            Ok(Withdrawn::Yes) => Whereabouts::Withdrawn { file: text },
            Ok(Withdrawn::Claimed { new }) => Whereabouts::Claimed { file: text, new },
            Ok(Withdrawn::Absent) if !waits => Whereabouts::Nothing,
            Ok(Withdrawn::Taken | Withdrawn::Absent) => match self.lay_in(name) {
                Ok(Some(other)) if other != directory.identity().as_str() => {
                    Whereabouts::Vanished { file: text }
                }
                Ok(_) => Whereabouts::Taken(taken(text, Timestamp::now(), "scan")),
                Err(error) => Whereabouts::Unreachable { file: text, why: error.to_string() },
            },
            // It may be there in a moment.
            Err(error @ DropError::Collision { .. }) => {
                Whereabouts::Unreachable { file: text, why: error.to_string() }
            }
            Err(error) => self.unreachable(file, waits, &error.to_string()),
        }
    }

    /// The directory, whether it may be watched already or not.
    pub(super) fn to_withdraw_from(
        self: &Arc<Self>,
        open: &mut Option<Open>,
    ) -> Result<DropDirectory, DropError> {
        if self.started.load(Ordering::Acquire) {
            self.opened(open).map(|open| open.directory.clone())
        } else {
            // Without a watcher, and given up again at once.
            self.open_without_watching()
        }
    }

    /// The directory, as it is: nothing is made in the place of one that is missing.
    fn open_without_watching(&self) -> Result<DropDirectory, DropError> {
        let settings = DropSettings { create: false, ..self.settings.clone() };
        let is_known = self.read_record()? != Record::default();
        if is_known && DirectoryId::look(&settings)?.is_none() && settings.path.exists() {
            return Err(DropError::Gone { path: settings.path, reason: GoneReason::Replaced });
        }
        DropDirectory::open(settings)
    }

    /// The directory that a file was published to, as far as anybody knows.
    fn lay_in(&self, name: &str) -> Result<Option<String>, DropError> {
        if let Some(directory) = lock(&self.files).directory_of(name) {
            return Ok(Some(directory.to_string()));
        }
        Ok(self.read_record()?.directory_of(name).map(str::to_owned))
    }

    /// What is to be said of a file when the directory cannot be asked. One that nobody waits for and nothing is known
    /// of was never published, as far as anybody can tell: mail that waits for a missing directory must expire.
    pub(super) fn unreachable(&self, file: &FileName, waits: bool, why: &str) -> Whereabouts {
        if waits || lock(&self.files).knows(file.as_str()) {
            Whereabouts::Unreachable { file: file.to_string(), why: why.to_owned() }
        } else {
            Whereabouts::Nothing
        }
    }

    /// Does what is left to do about a file that was withdrawn. What fails is done when the directory is opened next.
    pub(super) fn end_withdrawal(self: &Arc<Self>, file: &FileName, how: End) {
        let name = file.as_str();
        // No watcher starts meanwhile that does not know the file.
        let mut open = lock(&self.open);
        let directory = self.to_withdraw_from(&mut open);
        match how {
            End::Settled => {
                if let Ok(directory) = directory {
                    directory.discard(file);
                }
                self.held.release(name);
                lock(&self.files).forget(name);
            }
            End::PutBack => {
                let put_back = directory.and_then(|directory| directory.put_back(file));
                self.held.release(name);
                self.metrics.withdrawal(&self.name, "put-back");
                if let Err(error) = put_back {
                    tracing::warn!(connector = %self.name, %file, %error, "a drop file is not put back yet");
                    // What is found when it is opened again is put back then.
                    open.take();
                }
            }
        }
    }

    /// What an earlier run withdrew, or could not put back: whose item is in the queue was not decided, so it lies there
    /// again; the rest is done with. It comes before any watcher starts.
    fn end_withdrawals(&self, directory: &DropDirectory) -> Result<(), DropError> {
        for file in directory.withdrawn()? {
            let Some(item) = self.names.item_of(file.as_str()) else { continue };
            if self.held.contains(file.as_str()) {
                continue;
            }
            if !(self.is_queued)(item) {
                directory.discard(&file);
                tracing::info!(connector = %self.name, %file, "a withdrawn drop file is deleted: it was decided");
            } else if let Err(error) = directory.put_back(&file) {
                // It stays out of reach. Another file has its name, which somebody must look at.
                tracing::error!(connector = %self.name, %file, %error, "a withdrawn drop file is not put back");
            } else {
                tracing::warn!(connector = %self.name, %file, "a drop file is put back: nothing was decided about it");
            }
        }
        Ok(())
    }

    // ---- the directory ----

    /// The open directory with its number; opens it, with its watcher, when it is not.
    pub(super) fn directory(self: &Arc<Self>) -> Result<(DropDirectory, u64), DropError> {
        let mut open = lock(&self.open);
        self.opened(&mut open).map(|open| (open.directory.clone(), open.number))
    }

    fn opened<'a>(self: &Arc<Self>, open: &'a mut Option<Open>) -> Result<&'a Open, DropError> {
        if open.as_ref().is_some_and(|open| open.directory.identity() != open.identity) {
            // Files of ours may lie in it from before, which its watcher must know.
            tracing::warn!(connector = %self.name, "the drop directory is another one than before");
            open.take();
        }
        if open.is_none() {
            let opened = self.open();
            self.set_state(match &opened {
                Ok(_) => ConnectorState::Ready,
                Err(error) => ConnectorState::Disabled(error.to_string()),
            });
            *open = Some(opened?);
        }
        Ok(open.as_ref().expect("it was opened above"))
    }

    fn open(self: &Arc<Self>) -> Result<Open, DropError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let directory = match self.role {
            Role::Withdraws => self.open_without_watching()?,
            Role::Delivers => DropDirectory::open(self.settings.clone())?,
        };
        let identity = directory.identity();
        let listening = Arc::new(AtomicBool::new(true));
        let (watcher, left_out) = match self.role {
            Role::Withdraws => (None, Vec::new()),
            Role::Delivers => {
                self.sweep(&directory)?;
                self.end_withdrawals(&directory)?;
                self.recognise(&directory)?;
                let (held, known) = self.known();
                // The watcher lives no longer than what it reports to, or a reload would leave one behind.
                let (shared, listening) = (Arc::downgrade(self), listening.clone());
                let on = move |event| {
                    if let Some(shared) = shared.upgrade().filter(|_| listening.load(Ordering::Acquire)) {
                        shared.noticed(event);
                    }
                };
                let known = known.into_iter().map(|name| Known { name, id: None });
                (Some(Watcher::start(&directory, known, on)?), held)
            }
        };
        tracing::info!(connector = %self.name, directory = %directory.path().display(), "drop directory open");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let swept = Instant::now();
        Ok(Open { directory, _watcher: watcher, listening, identity, number, left_out, swept })
    }

    /// The files that lie in the directory as far as known: those that are held, and those that are not.
    fn known(&self) -> (Vec<String>, Vec<String>) {
        lock(&self.files).present().map(str::to_owned).partition(|name| self.held.contains(name))
    }

    /// Finds out which files lie in this directory and which went away with another. It comes before the watcher, which
    /// takes a known file that it does not find for taken.
    fn recognise(&self, directory: &DropDirectory) -> Result<(), DropError> {
        let kept = self.read_record()?;
        let identity = directory.identity();
        let lying =
            |names: &[&str]| directory.lying(names.iter().copied()).into_iter().map(str::to_owned).collect();
        let mut files = lock(&self.files);
        let elsewhere = files.opened(identity.as_str(), &kept, lying);
        let changed = files.record().as_ref() != Some(&kept);
        drop(files);
        if elsewhere > 0 {
            tracing::warn!(
                connector = %self.name, files = elsewhere, directory = %directory.path().display(),
                "the drop directory is not the one in which these files lie: nobody can tell whether they were taken"
            );
        }
        self.keep_record(|_| changed)
    }

    fn read_record(&self) -> Result<Record, DropError> {
        Record::read(&self.record)
            .map_err(|source| self.record_error("read the record of the drop directory", source))
    }

    /// Writes the record if this says that it has changed, or if an earlier change could not be written.
    fn keep_record(&self, has_changed: impl FnOnce(&mut Files) -> bool) -> Result<(), DropError> {
        let mut due = lock(&self.record_due);
        *due |= has_changed(&mut lock(&self.files));
        let record = if *due { lock(&self.files).record() } else { None };
        if let Some(record) = record {
            record
                .write(&self.record)
                .map_err(|source| self.record_error("write the record of the drop directory", source))?;
        }
        *due = false;
        Ok(())
    }

    fn record_error(&self, doing: &'static str, source: std::io::Error) -> DropError {
        DropError::Io { doing, path: self.record.clone(), source }
    }

    /// Removes what a crash or a lost confirmation left behind. It is only needed while its item is in the queue, where
    /// it prevents a double.
    fn sweep(&self, directory: &DropDirectory) -> Result<(), DropError> {
        let needed =
            |name: &FileName| self.names.item_of(name.as_str()).is_some_and(|item| (self.is_queued)(item));
        let swept = directory.sweep(LEFTOVER_AGE, needed)?;
        if swept > 0 {
            tracing::info!(connector = %self.name, files = swept, "leftovers in the temp folder removed");
        }
        Ok(())
    }

    /// The receipts of earlier runs are known, as they are before anything is delivered: from now on the directory may be
    /// watched.
    pub(super) fn start(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(super) fn look_after_directory(self: &Arc<Self>) {
        let confirmed = std::mem::take(&mut *lock(&self.confirmed));
        if !confirmed.is_empty() {
            self.confirm(&confirmed);
        }
        self.take_up_left_out();
        self.remove_what_is_left();
        // An error stands in the state; the next refresh or delivery tries again.
        let Ok((directory, number)) = self.directory() else { return };
        let is_due = |open: &&mut Open| open.number == number && open.swept.elapsed() >= SWEEP_INTERVAL;
        match lock(&self.open).as_mut().filter(is_due) {
            None => return,
            Some(open) => open.swept = Instant::now(),
        }
        let is_queued = |name: &str| self.names.item_of(name).is_some_and(|item| (self.is_queued)(item));
        let age = SignedDuration::try_from(LEFTOVER_AGE).expect("an hour is in range");
        lock(&self.files).prune(Timestamp::now(), age, is_queued);
        if let Err(error) = self.names.prune() {
            tracing::warn!(connector = %self.name, %error, "the record of file numbers could not be made shorter");
        }
        if let Err(error) = self.sweep(&directory) {
            tracing::warn!(connector = %self.name, %error, "leftovers in the temp folder could not be removed");
        }
    }

    /// Opens the directory anew when another connector of this name, before a reload, has put back a file meanwhile that
    /// our watcher was not told of.
    fn take_up_left_out(&self) {
        let mut open = lock(&self.open);
        let back = |name: &String| !self.held.contains(name) && lock(&self.files).knows(name);
        if open.as_ref().is_some_and(|open| open.left_out.iter().any(back)) {
            open.take();
        }
    }

    fn set_state(&self, state: ConnectorState) {
        *lock(&self.state) = state;
    }

    // ---- what is told ----

    /// Says that files lie about for too long, at most once in [`UNCLAIMED_REPEAT`].
    pub(super) fn warn_of_unclaimed(&self, now: Timestamp) {
        let Some(limit) = self.unclaimed_warn_after else { return };
        let stale = lock(&self.files).newly_stale(now, limit, MOST_STALE);
        for name in stale {
            self.tell_stage(name, "stale", "it lies unclaimed for longer than unclaimed_warn_after");
        }
        if let Some((files, oldest)) = lock(&self.files).unclaimed(now, limit, UNCLAIMED_REPEAT) {
            let directory = self.settings.path.display();
            tracing::warn!(
                connector = %self.name, files, %oldest, %directory,
                "drop files lie unclaimed for longer than unclaimed_warn_after: see whether the gateway works"
            );
        }
    }

    /// A mark of the quota was crossed, which is told once each time.
    fn quota_crossed(&self, fullness: Fullness, used: Usage) {
        let (connector, directory) = (&self.name, self.settings.path.display());
        let Usage { bytes, files } = used;
        let word = match fullness {
            Fullness::Calm => "calm",
            Fullness::Warning => "warning",
            Fullness::Full => "full",
        };
        self.metrics.drop_quota(connector, word, fullness as i64);
        match fullness {
            Fullness::Calm => {
                tracing::info!(%connector, %directory, bytes, files, "the drop directory has room")
            }
            Fullness::Warning => tracing::warn!(
                %connector, %directory, bytes, files,
                "the drop directory's quota is nearly used up: see whether the gateway still takes files"
            ),
            Fullness::Full => tracing::error!(
                %connector, %directory, bytes, files,
                "the drop directory's quota is used up: its mail waits until the low mark is reached"
            ),
        }
    }

    pub(super) fn activity_view(&self, now: Timestamp) -> ActivityView {
        let states = lock(&self.files).states(now, self.unclaimed_warn_after);
        lock(&self.activity).view(now, states)
    }

    /// Tells the queue that the gateway took a file, with what was seen before.
    pub(super) fn tell_taken(&self, name: &str, at: Timestamp, seen_by: &'static str) -> Receipt {
        let mut receipt = taken(name.to_owned(), at, seen_by);
        let mut files = lock(&self.files);
        let seen = files.seen(name).map(std::mem::take).unwrap_or_default();
        files.taken(name, at);
        drop(files);
        receipt.details.extend(seen.opened.map(|at| ("opened-at".to_owned(), at.to_string())));
        if let Some((at, new)) = seen.claimed {
            receipt.details.push(("claimed-at".to_owned(), at.to_string()));
            receipt.details.push(("claimed-as".to_owned(), new));
        }
        self.metrics.taken(&self.name, seen_by);
        lock(&self.activity).taken(at);
        receipt
    }

    /// Notes in the tracking that something is wrong with a file.
    pub(super) fn tell_stage(&self, name: String, stage: &'static str, why: &'static str) {
        let state = ReceiptState::Pending(Response::new(250, (2, 0, 0), why));
        let mut receipt = Receipt::new(&name, state);
        receipt.details.push((STAGE.to_owned(), stage.to_owned()));
        // The channel ends with the host.
        let _ = self.receipts.send((self.name.to_string(), vec![receipt]));
    }

    /// What the gateway was seen to do.
    fn noticed(&self, event: PickupEvent) {
        match event {
            PickupEvent::Taken { name, .. } if self.held.contains(&name) => {
                // Another connector of this name, before or after a reload, has just taken it back.
                tracing::debug!(connector = %self.name, file = name, "it was withdrawn");
            }
            PickupEvent::Taken { name, at, seen_by } => {
                let word = match seen_by {
                    SeenBy::Event => "event",
                    SeenBy::Scan => "scan",
                };
                let receipt = self.tell_taken(&name, at, word);
                tracing::info!(connector = %self.name, file = name, seen_by = word, "taken by the gateway");
                // The channel ends with the host; the next start finds the file missing again.
                let _ = self.receipts.send((self.name.to_string(), vec![receipt]));
                self.results.wake();
            }
            PickupEvent::Opened { name, at } => {
                if let Some(seen) = lock(&self.files).seen(&name) {
                    seen.opened.get_or_insert(at);
                }
            }
            PickupEvent::Claimed { name, new, at } => {
                if let Some(seen) = lock(&self.files).seen(&name) {
                    seen.claimed = Some((at, new.clone()));
                }
                tracing::debug!(connector = %self.name, file = name, new, "claimed by the gateway");
            }
            PickupEvent::Truncated { name, .. } => {
                let connector = &self.name;
                tracing::warn!(%connector, file = name, "the gateway emptied the file in place: that is no pickup");
                lock(&self.activity).count("truncated");
                self.tell_stage(name, "misuse", "the gateway emptied the file in place");
            }
            PickupEvent::Vanished { name, .. } => {
                // That it lies in another directory than the one that is there now is known without this.
                tracing::warn!(
                    connector = %self.name,
                    file = name,
                    "the drop directory was replaced by another without this file: nobody can tell whether it was taken"
                );
            }
            PickupEvent::DirectoryGone { reason, .. } => {
                tracing::error!(connector = %self.name, %reason, "the drop directory is gone; its mail waits");
                self.set_state(ConnectorState::Disabled(format!("the drop directory is gone: {reason}")));
            }
            PickupEvent::DirectoryBack { replaced, .. } => {
                tracing::warn!(connector = %self.name, replaced, "the drop directory is back");
                self.set_state(ConnectorState::Ready);
            }
            PickupEvent::Quota { fullness, used, .. } => self.quota_crossed(fullness, used),
            PickupEvent::PollingOnly { reason, .. } => {
                tracing::warn!(connector = %self.name, reason, "pickups are noticed by polling only");
            }
            _ => {}
        }
    }

    pub(super) fn report(&self, request: &DeliveryRequest, published: &Published) -> DeliveryReport {
        let name = published.name.to_string();
        let said = if published.taken() { "published earlier, and taken" } else { "published" };
        let response = Response::new(250, (2, 0, 0), &format!("{said} as {name}"));
        let outcome = match self.success_on {
            SuccessOn::Published => Outcome::Relayed(response),
            SuccessOn::Taken => {
                Outcome::Accepted(Pending { receipt_ids: vec![name.clone()], response, expires_after: None })
            }
            SuccessOn::Result => Outcome::Accepted(Pending {
                receipt_ids: vec![name.clone(), results::receipt_id(&name)],
                response,
                expires_after: None,
            }),
        };
        DeliveryReport {
            outcomes: request.recipients().map(|r| RecipientOutcome::new(r.index, outcome.clone())).collect(),
            watched: if self.success_on == SuccessOn::Published { vec![name] } else { Vec::new() },
            ..DeliveryReport::default()
        }
    }
}
