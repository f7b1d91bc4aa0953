//! ForeignConnector: writes items as files to a drop directory that a gateway empties.

mod files;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use postern_drop::profile::eml;
use postern_drop::{
    DropDirectory, DropError, DropSettings, FileName, Known, PickupEvent, Profile, Published, SeenBy, Watcher,
};
use postern_model::{
    Deferral, DeliveryReport, DeliveryRequest, ItemId, NextHop, Outcome, Pending, Receipt, ReceiptState,
    RecipientOutcome, Refusal, Response,
};
use tokio::sync::oneshot;

use super::{BoxFuture, Connection, Connector, ConnectorState};
use crate::config::{ForeignConfig, SuccessOn, Watch};
use crate::dispatch::ReceiptSender;
use crate::metrics::Metrics;
use crate::receipts::TAKEN_BY;

use files::Files;

/// Whether an item is in the queue.
pub type IsQueued = Arc<dyn Fn(ItemId) -> bool + Send + Sync>;

/// Temp files and markers that are younger are left alone.
const LEFTOVER_AGE: Duration = Duration::from_secs(60 * 60);
/// How often they are looked for while the directory is open.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How often somebody is told that files lie about.
const UNCLAIMED_REPEAT: SignedDuration = SignedDuration::from_hours(1);

/// The connector.
pub struct ForeignConnector {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

/// What the connector, its threads and its connections share.
struct Shared {
    name: Arc<str>,
    host_name: String,
    settings: DropSettings,
    success_on: SuccessOn,
    unclaimed_warn_after: Option<SignedDuration>,
    receipts: ReceiptSender,
    metrics: Arc<Metrics>,
    is_queued: IsQueued,
    /// The directory and its watcher while they are open; they are opened again after a fault. Held while the file
    /// system is asked: only the threads that write may lock it.
    open: Mutex<Option<Open>>,
    /// Whether the directory can be used, as last seen; never held for longer than a look.
    state: Mutex<ConnectorState>,
    /// Never held for longer than a look either.
    files: Mutex<Files>,
    /// A refresh waits or is under way.
    refreshing: AtomicBool,
}

/// The open directory.
struct Open {
    directory: DropDirectory,
    _watcher: Watcher,
    /// Tells it from the one that was open before.
    number: u64,
    swept: Instant,
}

/// Work for the threads that may block for as long as the file system likes.
enum Job {
    /// A file is to be published.
    Publish { request: DeliveryRequest, answer: oneshot::Sender<Result<Published, DropError>> },
    /// The hand-over of these files is durable: nothing will ask for them again.
    Confirm(Vec<FileName>),
    /// The directory is to be opened if it is not, and leftovers to be removed now and then.
    Refresh,
}

impl ForeignConnector {
    /// Sets the connector up. A directory that cannot be used is no error here: the queue waits with the reason.
    #[must_use]
    pub fn new(
        config: &ForeignConfig,
        host_name: &str,
        receipts: ReceiptSender,
        metrics: Arc<Metrics>,
        is_queued: IsQueued,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: config.common.name.clone(),
            host_name: host_name.to_owned(),
            settings: settings(config),
            success_on: config.success_on,
            unclaimed_warn_after: config.unclaimed_warn_after,
            receipts,
            metrics,
            is_queued,
            open: Mutex::default(),
            state: Mutex::new(ConnectorState::Disabled("the drop directory was not opened yet".to_owned())),
            files: Mutex::default(),
            refreshing: AtomicBool::new(false),
        });
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..config.common.max_concurrent_connections {
            let (shared, queue) = (shared.clone(), queue.clone());
            // Threads of their own: a hanging network mount must not use up the runtime's blocking threads.
            let spawned =
                thread::Builder::new().name("drop-write".to_owned()).spawn(move || shared.work(&queue));
            if let Err(error) = spawned {
                tracing::error!(connector = %config.common.name, %error, "no thread for the drop directory");
            }
        }
        Self { shared, jobs }
    }
}

/// What the config says about the drop directory, in the words of the drop crate.
#[must_use]
pub fn settings(config: &ForeignConfig) -> DropSettings {
    let mut settings = DropSettings::new(config.drop_directory.clone());
    settings.temp.clone_from(&config.temp_directory);
    settings.create = config.create_directory;
    settings.file_mode = config.file_mode;
    settings.quota = postern_drop::Quota { bytes: config.quota.bytes, files: config.quota.files };
    settings.profile = Profile::default();
    settings.watch = match config.watch {
        Watch::Auto => postern_drop::WatchMode::Auto,
        Watch::Events => postern_drop::WatchMode::Events,
        Watch::Poll => postern_drop::WatchMode::Poll,
    };
    settings.scan_interval = config.poll_interval;
    settings
}

impl Shared {
    fn work(self: &Arc<Self>, queue: &Mutex<mpsc::Receiver<Job>>) {
        loop {
            let job = lock(queue).recv();
            match job {
                Err(_) => return,
                Ok(Job::Publish { request, answer }) => {
                    let result = self.publish(&request);
                    if let Err(error) = &result
                        && needs_reopening(error)
                    {
                        lock(&self.open).take();
                        self.set_state(ConnectorState::Disabled(error.to_string()));
                    }
                    // Nobody waits any more: the item was given back, and publishing it again will find this file.
                    let _ = answer.send(result);
                }
                Ok(Job::Confirm(names)) => {
                    // While the directory cannot be opened the markers stay. They do no harm, and a sweep removes
                    // them when their items have left the queue.
                    if let Ok((directory, _)) = self.directory() {
                        directory.confirm(&names);
                    }
                }
                Ok(Job::Refresh) => {
                    self.look_after_directory();
                    self.refreshing.store(false, Ordering::Release);
                }
            }
        }
    }

    fn publish(self: &Arc<Self>, request: &DeliveryRequest) -> Result<Published, DropError> {
        self.take_back_vanished();
        let (directory, number) = self.directory()?;
        let recipients: Vec<String> = request.recipients().map(|r| r.address.display()).collect();
        let header = self.trace(request, &recipients);
        let size = header.len() as u64 + request.content.size();
        let write = |out: &mut dyn std::io::Write| {
            out.write_all(&header)?;
            std::io::copy(&mut request.content.reader()?, out).map(|_| ())
        };
        let published = directory.publish(&file_name(request), write, size)?;
        // Not before it is there: a watcher that starts takes a known file that it does not find for taken.
        lock(&self.files).published(published.name.as_str(), Timestamp::now());
        let mut open = lock(&self.open);
        if open.as_ref().is_some_and(|open| open.number != number) {
            // Another thread opened the directory anew meanwhile, and its watcher may not know this file: once more.
            open.take();
        }
        Ok(published)
    }

    /// Opens the directory anew when it is the one again in which files lie that vanished: its watcher must know them,
    /// before another file shows the gateway that it is back.
    fn take_back_vanished(&self) {
        let is_there = |name: &str| self.settings.path.join(name).exists();
        if lock(&self.files).come_back(is_there) {
            tracing::warn!(connector = %self.name, "the drop directory with the files that vanished is back");
            lock(&self.open).take();
        }
    }

    /// The open directory with its number; opens it, with its watcher, when it is not.
    fn directory(self: &Arc<Self>) -> Result<(DropDirectory, u64), DropError> {
        let mut open = lock(&self.open);
        if open.is_none() {
            let opened = self.open();
            self.set_state(match &opened {
                Ok(_) => ConnectorState::Ready,
                Err(error) => ConnectorState::Disabled(error.to_string()),
            });
            *open = Some(opened?);
        }
        let open = open.as_ref().expect("it was opened above");
        Ok((open.directory.clone(), open.number))
    }

    fn open(self: &Arc<Self>) -> Result<Open, DropError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let directory = DropDirectory::open(self.settings.clone())?;
        self.sweep(&directory)?;
        let known: Vec<Known> =
            lock(&self.files).present().map(|name| Known { name: name.to_owned(), id: None }).collect();
        let shared = self.clone();
        let watcher = Watcher::start(&directory, known, move |event| shared.noticed(event))?;
        tracing::info!(connector = %self.name, directory = %directory.path().display(), "drop directory open");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Open { directory, _watcher: watcher, number, swept: Instant::now() })
    }

    /// Removes what a crash or a lost confirmation left behind. It is only needed while its item is in the queue, where
    /// it prevents a double.
    fn sweep(&self, directory: &DropDirectory) -> Result<(), DropError> {
        let needed = |name: &FileName| item_of(name.as_str()).is_some_and(|item| (self.is_queued)(item));
        let swept = directory.sweep(LEFTOVER_AGE, needed)?;
        if swept > 0 {
            tracing::info!(connector = %self.name, files = swept, "leftovers in the temp folder removed");
        }
        Ok(())
    }

    fn look_after_directory(self: &Arc<Self>) {
        self.take_back_vanished();
        // An error stands in the state; the next refresh or delivery tries again.
        let Ok((directory, number)) = self.directory() else { return };
        let is_due = |open: &&mut Open| open.number == number && open.swept.elapsed() >= SWEEP_INTERVAL;
        match lock(&self.open).as_mut().filter(is_due) {
            None => return,
            Some(open) => open.swept = Instant::now(),
        }
        let is_queued = |name: &str| item_of(name).is_some_and(|item| (self.is_queued)(item));
        let age = SignedDuration::try_from(LEFTOVER_AGE).expect("an hour is in range");
        lock(&self.files).prune(Timestamp::now(), age, is_queued);
        if let Err(error) = self.sweep(&directory) {
            tracing::warn!(connector = %self.name, %error, "leftovers in the temp folder could not be removed");
        }
    }

    fn set_state(&self, state: ConnectorState) {
        *lock(&self.state) = state;
    }

    fn trace(&self, request: &DeliveryRequest, recipients: &[String]) -> Vec<u8> {
        let envelope = &request.message.envelope;
        let helo = envelope.helo.as_deref().unwrap_or("unknown");
        let from = match envelope.client {
            Some(ip) => format!("{helo} ([{ip}])"),
            None => String::new(),
        };
        let zoned = envelope.received_at.to_zoned(jiff::tz::TimeZone::UTC);
        let date = rfc2822::to_string(&zoned).unwrap_or_default();
        let id = request.message.id.to_string();
        let received = eml::Received {
            from: &from,
            by: &self.host_name,
            with: &envelope.protocol,
            id: &id,
            date: &date,
        };
        eml::header(&eml::Trace { return_path: &envelope.reverse_path, delivered_to: recipients, received })
    }

    /// Says that files lie about for too long, at most once in [`UNCLAIMED_REPEAT`].
    fn warn_of_unclaimed(&self, now: Timestamp) {
        let Some(limit) = self.unclaimed_warn_after else { return };
        if let Some((files, oldest)) = lock(&self.files).unclaimed(now, limit, UNCLAIMED_REPEAT) {
            let directory = self.settings.path.display();
            tracing::warn!(
                connector = %self.name, files, %oldest, %directory,
                "drop files lie unclaimed for longer than unclaimed_warn_after: see whether the gateway works"
            );
        }
    }

    /// What the gateway was seen to do.
    fn noticed(&self, event: PickupEvent) {
        match event {
            PickupEvent::Taken { name, at, seen_by } => {
                lock(&self.files).taken(&name, at);
                let word = match seen_by {
                    SeenBy::Event => "event",
                    SeenBy::Scan => "scan",
                };
                self.metrics.taken(&self.name, word);
                tracing::info!(connector = %self.name, file = name, seen_by = word, "taken by the gateway");
                // The channel ends with the host; the next start finds the file missing again.
                let _ = self.receipts.send((self.name.to_string(), vec![taken(name, at, word)]));
            }
            PickupEvent::Claimed { name, new, .. } => {
                tracing::debug!(connector = %self.name, file = name, new, "claimed by the gateway");
            }
            PickupEvent::Truncated { name, .. } => {
                let connector = &self.name;
                tracing::warn!(%connector, file = name, "the gateway emptied the file in place: that is no pickup");
            }
            PickupEvent::Vanished { name, .. } => {
                lock(&self.files).vanished(&name);
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
            PickupEvent::PollingOnly { reason, .. } => {
                tracing::warn!(connector = %self.name, reason, "pickups are noticed by polling only");
            }
            _ => {}
        }
    }

    fn report(&self, request: &DeliveryRequest, published: &Published) -> DeliveryReport {
        let name = published.name.to_string();
        let said = if published.taken() { "published earlier, and taken" } else { "published" };
        let response = Response::new(250, (2, 0, 0), &format!("{said} as {name}"));
        let outcome = match self.success_on {
            SuccessOn::Published => Outcome::Relayed(response),
            SuccessOn::Taken => {
                Outcome::Accepted(Pending { receipt_ids: vec![name.clone()], response, expires_after: None })
            }
        };
        DeliveryReport {
            outcomes: request.recipients().map(|r| RecipientOutcome::new(r.index, outcome.clone())).collect(),
            watched: if self.success_on == SuccessOn::Published { vec![name] } else { Vec::new() },
            ..DeliveryReport::default()
        }
    }
}

fn taken(name: String, at: Timestamp, seen_by: &str) -> Receipt {
    Receipt {
        id: name,
        address: None,
        state: ReceiptState::Relayed(Response::new(250, (2, 0, 0), &format!("taken by the gateway at {at}"))),
        details: vec![(TAKEN_BY.to_owned(), seen_by.to_owned())],
    }
}

/// The name of an item's file: always the same for the same item, so that a repeat after a crash is recognised.
fn file_name(request: &DeliveryRequest) -> FileName {
    let name = format!("{}.{}", request.item.id, Profile::default().extension());
    FileName::new(name).expect("an item's id has only digits, letters, dots and dashes")
}

/// The item that a file belongs to.
fn item_of(name: &str) -> Option<ItemId> {
    let suffix = format!(".{}", Profile::default().extension());
    name.strip_suffix(&suffix)?.parse().ok()
}

/// The lock, also after a panic elsewhere: what it guards is changed in single steps and stays consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the fault is one of the directory, so that it must be opened anew.
fn needs_reopening(error: &DropError) -> bool {
    // One that is gone mends itself when it is back, and knows then whether it is the same.
    let passing = matches!(error, DropError::Quota { .. } | DropError::Full { .. } | DropError::Gone { .. });
    error.concerns_directory() && !passing
}

/// A fault of the directory holds for the whole queue; one of the file for its item only.
fn refusal(error: &DropError) -> Option<Refusal> {
    if !error.concerns_directory() {
        return None;
    }
    let status = match error {
        DropError::Quota { .. } | DropError::Full { .. } => (4, 3, 1),
        _ => (4, 3, 5),
    };
    Some(Refusal::DeferQueue(Deferral::new(451, status, &error.to_string(), "service-unavailable")))
}

impl Connector for ForeignConnector {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, Refusal>> {
        let line = DropLine {
            label: self.shared.settings.path.display().to_string(),
            shared: self.shared.clone(),
            jobs: self.jobs.clone(),
        };
        Box::pin(async move { Ok(Box::new(line) as Box<dyn Connection>) })
    }

    fn poll_receipts<'a>(&'a self, _ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn state(&self) -> ConnectorState {
        lock(&self.shared.state).clone()
    }

    fn watch(&self, receipts: &[(String, Timestamp)]) {
        let mut files = lock(&self.shared.files);
        receipts.iter().for_each(|(name, at)| files.recorded(name, *at));
        drop(files);
        let names: Vec<FileName> =
            receipts.iter().filter_map(|(id, _)| FileName::new(id.clone()).ok()).collect();
        // Without a thread the directory is never written either.
        let _ = self.jobs.send(Job::Confirm(names));
    }

    fn refresh(&self) {
        self.shared.warn_of_unclaimed(Timestamp::now());
        // One at a time: on a mount that hangs, they must not pile up.
        if !self.shared.refreshing.swap(true, Ordering::AcqRel) {
            let _ = self.jobs.send(Job::Refresh);
        }
    }
}

/// A connection to a drop directory; there is nothing to open or close.
struct DropLine {
    label: String,
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

impl Connection for DropLine {
    fn label(&self) -> &str {
        &self.label
    }

    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport> {
        Box::pin(async move {
            let (answer, published) = oneshot::channel();
            let gone = || {
                DeliveryReport::broken(Deferral::new(
                    451,
                    (4, 3, 0),
                    "the thread that writes the drop directory is gone",
                    "service-unavailable",
                ))
            };
            if self.jobs.send(Job::Publish { request: request.clone(), answer }).is_err() {
                return gone();
            }
            let Ok(result) = published.await else { return gone() };
            match result {
                Ok(published) => self.shared.report(request, &published),
                Err(error) => match refusal(&error) {
                    Some(refusal) => DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() },
                    None => DeliveryReport {
                        fault: Some(Deferral::new(451, (4, 3, 0), &error.to_string(), "content-rejected")),
                        ..DeliveryReport::default()
                    },
                },
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
