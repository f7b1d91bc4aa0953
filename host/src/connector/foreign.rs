//! ForeignConnector: writes items as files to a drop directory that a gateway empties.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

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

/// Whether an item is in the queue.
pub type IsQueued = Arc<dyn Fn(ItemId) -> bool + Send + Sync>;

/// Temp files and markers that are younger are left alone.
const LEFTOVER_AGE: std::time::Duration = std::time::Duration::from_secs(60 * 60);
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
    /// The directory and its watcher while they are open; they are opened again after a fault.
    open: Mutex<Option<Open>>,
    files: Mutex<Files>,
}

/// What is known of published files, by their names.
#[derive(Default)]
struct Files {
    /// On the queue's record, since when, and not yet taken.
    outstanding: BTreeMap<String, Timestamp>,
    /// Taken before the queue's record was durable: a fast gateway.
    taken_early: BTreeSet<String>,
    /// When somebody was last told that files lie about.
    warned_at: Option<Timestamp>,
}

impl Files {
    /// The gateway took it.
    fn taken(&mut self, name: &str) {
        if self.outstanding.remove(name).is_none() {
            self.taken_early.insert(name.to_owned());
        }
    }

    /// Its hand-over is on record.
    fn recorded(&mut self, name: &str, at: Timestamp) {
        if !self.taken_early.remove(name) {
            self.outstanding.insert(name.to_owned(), at);
        }
    }
}

struct Open {
    directory: DropDirectory,
    _watcher: Watcher,
}

/// One file to be published, by a thread that may block for as long as the file system likes.
struct Job {
    request: DeliveryRequest,
    answer: oneshot::Sender<Result<Published, DropError>>,
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
            files: Mutex::default(),
        });
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..config.common.max_concurrent_connections {
            let (shared, queue) = (shared.clone(), queue.clone());
            // Threads of their own: a hanging network mount must not use up the runtime's blocking threads.
            let spawned =
                thread::Builder::new().name("drop-write".to_owned()).spawn(move || shared.write_jobs(&queue));
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
    fn write_jobs(self: &Arc<Self>, queue: &Mutex<mpsc::Receiver<Job>>) {
        loop {
            let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { request, answer }) = job else { return };
            let result = self.publish(&request);
            if result.as_ref().is_err_and(needs_reopening) {
                self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            // Nobody waits any more: the item was given back, and publishing it again will find this file.
            let _ = answer.send(result);
        }
    }

    fn publish(self: &Arc<Self>, request: &DeliveryRequest) -> Result<Published, DropError> {
        let directory = self.directory()?;
        let recipients: Vec<String> = request.recipients().map(|r| r.address.display()).collect();
        let header = self.trace(request, &recipients);
        let size = header.len() as u64 + request.content.size();
        let write = |out: &mut dyn std::io::Write| {
            out.write_all(&header)?;
            std::io::copy(&mut request.content.reader()?, out).map(|_| ())
        };
        directory.publish(&file_name(request), write, size)
    }

    /// The open directory; opens it, with its watcher, when it is not.
    fn directory(self: &Arc<Self>) -> Result<DropDirectory, DropError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            return Ok(open.directory.clone());
        }
        let directory = DropDirectory::open(self.settings.clone())?;
        // What a crash left behind is only needed while its item is in the queue: it prevents a double.
        let needed = |name: &FileName| item_of(name).is_some_and(|item| (self.is_queued)(item));
        let swept = directory.sweep(LEFTOVER_AGE, needed)?;
        if swept > 0 {
            tracing::info!(connector = %self.name, files = swept, "leftovers of an earlier run removed");
        }
        let names: Vec<Known> =
            self.files().outstanding.keys().map(|name| Known { name: name.clone(), id: None }).collect();
        let shared = self.clone();
        let watcher = Watcher::start(&directory, names, move |event| shared.noticed(event))?;
        *open = Some(Open { directory: directory.clone(), _watcher: watcher });
        tracing::info!(connector = %self.name, directory = %directory.path().display(), "drop directory open");
        Ok(directory)
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
        let mut files = self.files();
        let old = files.outstanding.values().filter(|at| at.duration_until(now) >= limit).count();
        let oldest = files.outstanding.values().min().map(ToString::to_string).unwrap_or_default();
        let said = files.warned_at.is_some_and(|at| at.duration_until(now) < UNCLAIMED_REPEAT);
        if old > 0 && !said {
            files.warned_at = Some(now);
            let directory = self.settings.path.display();
            tracing::warn!(
                connector = %self.name, files = old, oldest, %directory,
                "drop files lie unclaimed for longer than unclaimed_warn_after: see whether the gateway works"
            );
        }
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the gateway was seen to do.
    fn noticed(&self, event: PickupEvent) {
        match event {
            PickupEvent::Taken { name, at, seen_by } => {
                self.files().taken(&name);
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
            PickupEvent::Vanished { name, .. } => tracing::warn!(
                connector = %self.name,
                file = name,
                "the drop directory was replaced by another without this file: nobody can tell whether it was taken"
            ),
            PickupEvent::DirectoryGone { reason, .. } => {
                tracing::error!(connector = %self.name, %reason, "the drop directory is gone; its mail waits");
            }
            PickupEvent::DirectoryBack { replaced, .. } => {
                tracing::warn!(connector = %self.name, replaced, "the drop directory is back");
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
fn item_of(name: &FileName) -> Option<ItemId> {
    let suffix = format!(".{}", Profile::default().extension());
    name.as_str().strip_suffix(&suffix)?.parse().ok()
}

/// Whether the fault is one of the directory, so that it must be opened anew.
fn needs_reopening(error: &DropError) -> bool {
    error.concerns_directory() && !matches!(error, DropError::Quota { .. } | DropError::Full { .. })
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
        match self.shared.directory() {
            Ok(_) => ConnectorState::Ready,
            Err(error) => ConnectorState::Disabled(error.to_string()),
        }
    }

    fn watch(&self, receipts: &[(String, Timestamp)]) {
        let names: Vec<FileName> =
            receipts.iter().filter_map(|(id, _)| FileName::new(id.clone()).ok()).collect();
        let mut files = self.shared.files();
        receipts.iter().for_each(|(name, at)| files.recorded(name, *at));
        drop(files);
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            // The hand-over is durable: nothing will ask for these files again.
            open.directory.confirm(&names);
        }
    }

    fn refresh(&self) {
        // An error stands in `state`; the next refresh or delivery tries again.
        let _ = self.shared.directory();
        self.shared.warn_of_unclaimed(Timestamp::now());
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
            if self.jobs.send(Job { request: request.clone(), answer }).is_err() {
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
