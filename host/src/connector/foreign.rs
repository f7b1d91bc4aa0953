//! ForeignConnector: writes items as files to a drop directory that a gateway empties, and owns the truth about the files
//! that lie there.
//!
//! # Who has a file
//!
//! While recipients wait for a file, or it may lie there unrecorded, nothing else may become of them before the file is
//! out of the gateway's reach. So a removal or an expiry goes in this order; the steps in the directory, and what a
//! crash between them leaves, are told in [`postern_drop::withdraw`]:
//!
//! | step | if the host dies behind it | at the next start |
//! |---|---|---|
//! | the item is leased | it waits as before | - |
//! | its file is withdrawn, durably | it waits; the file lies out of sight, under a name that says so | it is put back, so that what was neither done nor promised has not happened; time or the operator withdraws it anew |
//! | the settlement is handed in | whether it waits is what the store says | it waits: put back. It is gone: deleted |
//! | the settlement is durable | it is gone; the file lies out of sight | the file is deleted |
//! | the file is deleted | nothing is left | - |
//!
//! If the gateway was faster, the recipients are settled as what is true: taken, claimed, or not to be known. A lost task
//! puts the file back; a store that stopped leaves it for the next start, since only that knows what is on the disk.
//!
//! # Which directory it is
//!
//! A file that is gone was taken only if its directory is still there: see [`Record`] and [`postern_drop::DirectoryId`].

mod activity;
mod files;
mod held;
mod letter;
mod names;
mod numbers;
mod record;
mod results;
mod shared;
#[cfg(test)]
mod tests;
mod unclaimed;
mod view;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_drop::profile::Unfit;
use postern_drop::{DropError, DropSettings, FileName, Published};
use postern_model::{
    Deferral, DeliveryReport, DeliveryRequest, FailureClass, Item, ItemId, NextHop, NotOpened, Outcome,
    Receipt, ReceiptState, RecipientOutcome, Refusal, Response,
};
use tokio::sync::oneshot;

use super::{BoxFuture, Connection, Connector, ConnectorState, End, Held, Whereabouts, Withdrawal};
use crate::config::{ForeignConfig, HostConfig, Watch};
use crate::dispatch::ReceiptSender;
use crate::metrics::Metrics;
use crate::receipts::TAKEN_BY;

pub use activity::ActivityView;
pub use held::HeldFiles;
pub use record::Record;
pub use results::SUFFIX as RESULT_SUFFIX;
use shared::Shared;

/// Whether an item is in the queue.
pub type IsQueued = Arc<dyn Fn(ItemId) -> bool + Send + Sync>;

/// Hands in receipts of the connector of this name, and returns when they are on the disk, or known to change nothing.
/// `false`: they must be told again. Blocks; not to be called on a thread of the runtime.
pub type SettleReceipts = Arc<dyn Fn(&str, Vec<Receipt>) -> bool + Send + Sync>;

/// How long somebody waits for a file to be taken back. A file system that takes longer counts as one that cannot be
/// reached.
const WITHDRAW_PATIENCE: Duration = Duration::from_secs(10);

/// What all foreign connectors of a host share.
#[derive(Clone)]
pub struct Surroundings {
    /// Where pickups are told.
    pub receipts: ReceiptSender,
    /// Where the results of gateways are told.
    pub settle: SettleReceipts,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Whether an item is in the queue.
    pub is_queued: IsQueued,
    /// What has been taken back and is not settled.
    pub held: HeldFiles,
}

/// What a foreign connector is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To deliver, to watch for pickups, and to withdraw.
    Delivers,
    /// Only to withdraw: it is disabled or being exchanged, or the host is stopped. It knows the receipts of nobody, so it watches nothing,
    /// and changes nothing but the file that it is asked for.
    Withdraws,
}

/// The connector.
pub struct ForeignConnector {
    shared: Arc<Shared>,
    /// The way to its threads; they are started with the first job.
    jobs: OnceLock<mpsc::Sender<Job>>,
    threads: usize,
    /// [`WITHDRAW_PATIENCE`], or less in tests.
    patience: Duration,
}

/// Work for the threads that may block for as long as the file system likes.
enum Job {
    /// A file is to be published.
    Publish { request: DeliveryRequest, answer: oneshot::Sender<Result<Published, NotPublished>> },
    /// The hand-over of these files is durable: nothing will ask for them again.
    Confirm(Vec<FileName>),
    /// A file is to be taken back. `waits`: recipients wait for it, so it was published for certain. `jobs` is for how
    /// that ends.
    Withdraw { file: FileName, waits: bool, jobs: mpsc::Sender<Job>, answer: oneshot::Sender<Withdrawal> },
    /// How a withdrawal ends.
    End { file: FileName, how: End },
    /// The directory is to be opened if it is not, and leftovers to be removed now and then.
    Refresh,
}

impl ForeignConnector {
    /// Sets the connector up. A directory that cannot be used is no error here: the queue waits with the reason.
    #[must_use]
    pub fn new(config: &ForeignConfig, host: &HostConfig, role: Role, surroundings: Surroundings) -> Self {
        let threads = config.common.max_concurrent_connections;
        let shared = Arc::new(Shared::new(config, host, role, surroundings));
        Self { shared, jobs: OnceLock::new(), threads, patience: WITHDRAW_PATIENCE }
    }

    fn jobs(&self) -> &mpsc::Sender<Job> {
        self.jobs.get_or_init(|| {
            let (jobs, queue) = mpsc::channel();
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..self.threads {
                let (shared, queue) = (self.shared.clone(), queue.clone());
                // Threads of their own: a hanging network mount must not use up the runtime's blocking threads.
                let spawned =
                    thread::Builder::new().name("drop-write".to_owned()).spawn(move || work(&shared, &queue));
                if let Err(error) = spawned {
                    tracing::error!(connector = %self.shared.name, %error, "no thread for the drop directory");
                }
            }
            jobs
        })
    }
}

/// What a thread does until the connector is gone.
fn work(shared: &Arc<Shared>, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = lock(queue).recv();
        match job {
            Err(_) => return,
            // Nobody waits any more: the item was given back, and may be settled otherwise before this file is there.
            Ok(Job::Publish { answer, .. }) if answer.is_closed() => {}
            Ok(Job::Publish { request, answer }) => {
                // If nobody waits any more, publishing it again will find this file.
                let _ = answer.send(shared.publish(&request));
            }
            Ok(Job::Confirm(names)) => shared.confirm(&names),
            Ok(Job::Withdraw { answer, .. }) if answer.is_closed() => {}
            Ok(Job::Withdraw { file, waits, jobs, answer }) => {
                let whereabouts = shared.withdraw(&file, waits);
                let held = matches!(whereabouts, Whereabouts::Withdrawn { .. }).then(|| {
                    Held::new(move |how| {
                        // Without the threads it stays withdrawn until the next start.
                        let _ = jobs.send(Job::End { file, how });
                    })
                });
                // If nobody waits any more, it is dropped here, and put back.
                let _ = answer.send(Withdrawal { whereabouts, held });
            }
            Ok(Job::End { file, how }) => shared.end_withdrawal(&file, how),
            Ok(Job::Refresh) => {
                shared.look_after_directory();
                shared.refreshing.store(false, Ordering::Release);
            }
        }
        shared.hangs.store(false, Ordering::Release);
    }
}

/// What the config says about the drop directory, in the words of the drop crate.
#[must_use]
pub fn settings(config: &ForeignConfig) -> DropSettings {
    let mut settings = DropSettings::new(config.drop_directory.clone());
    settings.temp.clone_from(&config.temp_directory);
    settings.create = config.create_directory;
    settings.file_mode = config.file_mode;
    (settings.group, settings.dir_mode) = (config.group, config.dir_mode);
    settings.quota = postern_drop::Quota {
        bytes: config.quota.bytes,
        files: config.quota.files,
        oldest: config.quota.oldest.map(SignedDuration::unsigned_abs),
        warn_percent: config.quota.warn_percent,
        low_percent: config.quota.low_percent,
    };
    settings.profile = config.profile.clone();
    settings.habits = config.gateway.habits(settings.profile.habits());
    settings.watch = match config.watch {
        Watch::Auto => postern_drop::WatchMode::Auto,
        Watch::Events => postern_drop::WatchMode::Events,
        Watch::Poll => postern_drop::WatchMode::Poll,
    };
    settings.scan_interval = config.poll_interval;
    settings
}

fn taken(name: String, at: Timestamp, seen_by: &str) -> Receipt {
    Receipt {
        id: name,
        address: None,
        state: ReceiptState::Relayed(Response::new(250, (2, 0, 0), &format!("taken by the gateway at {at}"))),
        details: vec![(TAKEN_BY.to_owned(), seen_by.to_owned())],
    }
}

/// Why a file could not be published.
#[derive(Debug)]
enum NotPublished {
    /// The directory, or the writing; later it may work.
    Directory(DropError),
    /// This message can never become a file here.
    Unfit(Unfit),
    /// The item was made for one file, and its recipients need one each.
    Several,
}

impl From<DropError> for NotPublished {
    fn from(error: DropError) -> Self {
        Self::Directory(error)
    }
}

impl From<Unfit> for NotPublished {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

/// What is reported when nothing was published.
fn not_published(request: &DeliveryRequest, why: &NotPublished) -> DeliveryReport {
    let faulty = |text: &str, class| DeliveryReport {
        fault: Some(Deferral::new(451, (4, 3, 0), text, class)),
        ..DeliveryReport::default()
    };
    match why {
        NotPublished::Directory(error) => match refusal(error) {
            Some(refusal) => DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() },
            None => faulty(&error.to_string(), "content-rejected"),
        },
        NotPublished::Several => faulty(
            "the message was queued before each recipient got a file of its own: write the old profile until it is gone",
            "service-unavailable",
        ),
        NotPublished::Unfit(unfit) => {
            let response = Response::new(554, unfit.status, &unfit.why);
            let class = match unfit.status {
                Unfit::ADDRESS_SYNTAX => "invalid-address",
                Unfit::TOO_LONG | Unfit::TOO_LARGE => "too-large",
                _ => "content-rejected",
            };
            let failed = Outcome::Failed { response, class: FailureClass::new(class) };
            let outcomes = request.recipients().map(|r| RecipientOutcome::new(r.index, failed.clone()));
            DeliveryReport { outcomes: outcomes.collect(), ..DeliveryReport::default() }
        }
    }
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

    fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
        let line = DropLine {
            label: self.shared.settings.path.display().to_string(),
            shared: self.shared.clone(),
            jobs: self.jobs().clone(),
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

    fn drop_activity(&self) -> Option<ActivityView> {
        Some(self.shared.activity_view(Timestamp::now()))
    }

    fn watch(&self, receipts: &[(String, Timestamp)]) {
        self.shared.recorded(receipts);
        let names: Vec<FileName> =
            receipts.iter().filter_map(|(id, _)| FileName::new(id.clone()).ok()).collect();
        // Without a thread the directory is never written either.
        let _ = self.jobs().send(Job::Confirm(names));
    }

    fn forget(&self, receipts: &[String]) {
        self.shared.forget(receipts);
    }

    fn withdraw<'a>(&'a self, item: &'a Item) -> BoxFuture<'a, Withdrawal> {
        Box::pin(async move {
            let waits = item.pending().next().is_some();
            // One that has no name yet was never published.
            let Some(file) = self.shared.names.file_of(item) else {
                return Withdrawal::without(Whereabouts::Nothing);
            };
            if waits && self.shared.is_taken_on_record(item, &file) {
                // The gateway has it, and only its result is waited for: there is nothing to take back.
                return Withdrawal::without(Whereabouts::Nothing);
            }
            let unreachable = |why| Withdrawal::without(self.shared.unreachable(&file, waits, why));
            if self.shared.hangs.load(Ordering::Acquire) {
                return unreachable("it does not answer");
            }
            let (answer, withdrawn) = oneshot::channel();
            let jobs = self.jobs();
            let job = Job::Withdraw { file: file.clone(), waits, jobs: jobs.clone(), answer };
            if jobs.send(job).is_err() {
                return unreachable("the thread that works on it is gone");
            }
            match tokio::time::timeout(self.patience, withdrawn).await {
                Ok(Ok(withdrawal)) => withdrawal,
                Ok(Err(_)) => unreachable("the thread that works on it is gone"),
                Err(_) => {
                    // Those who come next need not find that out again.
                    self.shared.hangs.store(true, Ordering::Release);
                    unreachable("it does not answer")
                }
            }
        })
    }

    fn refresh(&self) {
        self.shared.start();
        self.shared.start_results();
        self.shared.warn_of_unclaimed(Timestamp::now());
        // One at a time: on a mount that hangs, they must not pile up.
        if !self.shared.refreshing.swap(true, Ordering::AcqRel) {
            let _ = self.jobs().send(Job::Refresh);
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
                Err(why) => not_published(request, &why),
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
