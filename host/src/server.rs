//! server: starts everything, takes up a changed config, and stops it all again. The only place that does.

mod core;
mod difference;
mod doors;
mod signals;
mod site;
mod stage;
mod ways_out;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Store, StoreError, StoreHealth};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::admin;
use crate::agents;
use crate::bad_mail;
use crate::config::{Config, OnStoreFailure};
use crate::connector::Factory;
use crate::connector::doors::AgentDoors;
use crate::connector::foreign::{IsQueued, SettleReceipts};
use crate::dispatch::Settler;
use crate::operate::{self, ControlServer, OperateError, Operations, Reload, Running};
use crate::outbox::{CurrentWaiting, Outbox};
use crate::private;
use crate::receipts::Receipts;
use crate::receive::callback::{CallbackKey, CallbackListener};
use crate::submit::Submitter;
use crate::tracking::{self, Mover};

use self::core::Core;
use doors::Doors;
use site::Site;
use stage::Stage;
use ways_out::WaysOut;

pub use signals::{Signals, Wish};
pub use site::{ReloadError, Reloaded};

/// How often queues are looked through for items that expired where nothing else touches them.
const SWEEP: Duration = Duration::from_secs(30);
/// How long the last writes may take at a stop.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// How long clients and deliveries may take to end when the store has stopped.
const GIVE_UP: Duration = Duration::from_secs(2);
/// How long a start waits for a command that holds the data directory for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the far side's id of a message that an agent handed in is remembered: a repeat within that time makes no
/// second message.
const INBOUND_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often old ones are forgotten, and how many at once.
const FORGET: Duration = Duration::from_secs(3600);
const FORGET_BATCH: usize = 10_000;
/// Overdue items settled in one sweep.
const SWEEP_BATCH: usize = 10_000;
/// How often a store that is full is asked whether there is room again.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(2);

/// Why the host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder or file.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// There is nothing to look at.
    #[error("there is no data directory {0}: no host has run with this config yet")]
    NoData(String),
    /// Another user's host works there.
    #[error(
        "the data directory {directory} belongs to {owner}, and what {current} writes there would be closed to the host: \
         do this as {owner}{hint}"
    )]
    ForeignData {
        /// The directory.
        directory: String,
        /// Whose it is.
        owner: Box<Account>,
        /// Who we are.
        current: Box<Account>,
        /// How to become the owner.
        hint: String,
    },
    /// The queue.
    #[error(transparent)]
    Store(#[from] postern_store::StoreError),
    /// The sandbox.
    #[error("the agent runtime does not start: {0}")]
    Runtime(String),
    /// A thread that helps to start.
    #[error("starting failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
    /// The tracking files.
    #[error(transparent)]
    Tracking(#[from] tracking::MoveError),
}

fn io_error(what: &'static str, path: &dyn std::fmt::Display) -> impl FnOnce(std::io::Error) -> StartError {
    let path = path.to_string();
    move |source| StartError::Io { what, path, source }
}

/// A running host.
pub struct Host {
    receive: BTreeMap<String, Vec<SocketAddr>>,
    admin: Option<SocketAddr>,
    callback: Option<SocketAddr>,
    callbacks: Stage,
    store: Arc<dyn Store>,
    submitter: Arc<Submitter>,
    grace: Duration,
    on_store_failure: OnStoreFailure,
    /// Doors and connectors.
    site: Arc<Site>,
    /// Stopped after the site, first to last: what follows deliveries, tracking.
    stages: Vec<Stage>,
    tracking: PathBuf,
}

/// Opens the store of a config.
fn open_store(config: &Config) -> Result<SqliteStore, StartError> {
    let directory = &config.host.data_directory;
    private::make_directory(directory)
        .map_err(io_error("making the data directory", &directory.display()))?;
    let options = SqliteOptions {
        fresh_bytes: config.host.content_cache,
        reserve: config.host.store_reserve,
        inline_limit: config.host.inline_body_limit,
        receipt_memory: config.host.receipt_memory,
        ..SqliteOptions::default()
    };
    Ok(SqliteStore::open(directory, options)?)
}

/// Opens the store; waits a little when a command line holds it, not when another host does.
async fn open_store_soon(config: &Config) -> Result<SqliteStore, StartError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let opened = config.clone();
        match tokio::task::spawn_blocking(move || open_store(&opened)).await? {
            Err(StartError::Store(StoreError::Locked { .. }))
                if Instant::now() < deadline && !operate::is_running(&config.host.data_directory).await =>
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            result => return result,
        }
    }
}

/// Starts the host. Everything listens when it returns.
///
/// # Errors
/// What kept it from starting; nothing runs then.
pub async fn start(config: Config) -> Result<Host, StartError> {
    let data = config.host.data_directory.clone();
    let tracking = data.join("tracking");
    if let Err(error @ StartError::ForeignData { .. }) = check_owner(&data) {
        // It may be meant so (a volume of a container); else the service finds files that it cannot write.
        tracing::warn!("{error}");
    }
    let store = open_store_soon(&config).await?;
    let incoming = store.incoming();
    let store: Arc<dyn Store> = Arc::new(store);
    let (core, receipts) = Core::new(store.clone(), config.clone());
    let core = Arc::new(core);
    let submitter = Arc::new(Submitter::new(store, core.topology.clone(), core.metrics.clone()));

    let doors = Doors::new(core.clone(), submitter.clone(), incoming);
    let callback = bind_callback(&config, &core).await?;
    let offered = AgentDoors {
        store: Some(core.store.clone()),
        submitter: Some(submitter.clone()),
        callback: callback.as_ref().map(CallbackListener::base),
        recordings: Some(core.settler.recordings().clone()),
    };
    let site = Arc::new(Site::new(core.clone(), doors, WaysOut::new(core.clone(), factory(&core, offered))));
    recall(&core, &config).await?;
    let opening = site.start(&config).await?;
    let waiting_dsns = Arc::<CurrentWaiting>::default();
    let operations = Arc::new(Operations {
        settler: core.settler.clone(),
        connectors: core.connectors.clone(),
        tracking: tracking.clone(),
        running: Some(Running { reload: reload_of(site.clone()), waiting_dsns: waiting_dsns.clone() }),
    });
    let control =
        ControlServer::bind(&data).map_err(io_error("making the control socket in", &data.display()))?;
    let admin = bind_admin(&config, &core, &operations).await?;

    let mut trackers = Stage::new("tracking");
    let mover = Mover::new(core.store.clone(), tracking.clone(), core.topology.clone());
    trackers.spawn(mover.run(trackers.stop.clone()));
    let admin_address = admin.as_ref().map(admin::AdminServer::address);
    if let Some(admin) = admin {
        trackers.spawn(admin.run(trackers.stop.clone()));
    }
    let receipts = Receipts::new(core.settler.clone(), receipts);
    let mut followers = followers(&config, &core, submitter.clone(), receipts, waiting_dsns);
    followers.spawn(control.run(operations, followers.stop.clone()));
    let mut callbacks = Stage::new("call-backs");
    let callback_address = callback.as_ref().map(CallbackListener::address);
    let receive = site.open(&config, opening).await?;
    if let Some(callback) = callback {
        callbacks.spawn(callback.run(callbacks.stop.clone()));
    }
    tracing::info!(host = config.host.name, ?receive, admin = ?admin_address, "postern runs");
    Ok(Host {
        receive,
        admin: admin_address,
        callback: callback_address,
        callbacks,
        store: core.store.clone(),
        submitter,
        grace: config.host.shutdown_grace,
        on_store_failure: config.host.on_store_failure,
        site,
        stages: vec![followers, trackers],
        tracking,
    })
}

/// Looks at what earlier runs left: attempts that were cut off, what is known of messages that are gone, and files of agents
/// that nobody needs.
async fn recall(core: &Core, config: &Config) -> Result<(), StartError> {
    let cut_off = core.settler.load_intents().await?;
    if cut_off > 0 {
        tracing::warn!(
            items = cut_off,
            "attempts were cut off in the middle of a hand-over; their agents are asked"
        );
    }
    let index = core.store.index();
    core.settler.quarantine().sweep(|item| index.item_view(item).is_some());
    core.settler.recordings().sweep(|item| index.item_view(item).is_some());
    let config = config.clone();
    tokio::task::spawn_blocking(move || agents::sweep(&config)).await?;
    Ok(())
}

/// Starts what follows a delivery: receipts, DSNs, the clock, and room on the disk.
fn followers(
    config: &Config,
    core: &Core,
    submitter: Arc<Submitter>,
    receipts: Receipts,
    waiting_dsns: Arc<CurrentWaiting>,
) -> Stage {
    let mut followers = Stage::new("reports");
    followers.spawn(receipts.run(followers.stop.clone()));
    let outbox = Outbox::new(
        core.store.clone(),
        submitter,
        core.topology.clone(),
        core.metrics.clone(),
        core.outbox.clone(),
        bad_mail::folder(config),
        waiting_dsns,
    );
    followers.spawn(outbox.run(followers.stop.clone()));
    followers.spawn(sweep(core.settler.clone(), followers.stop.clone()));
    followers.spawn(forget_inbound(core.store.clone(), followers.stop.clone()));
    followers.spawn(look_for_room(core.store.clone(), followers.stop.clone()));
    followers
}

async fn bind_admin(
    config: &Config,
    core: &Core,
    operations: &Arc<Operations>,
) -> Result<Option<admin::AdminServer>, StartError> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let token = config.admin.token.clone();
    let bound = admin::AdminServer::bind(address, token, operations.clone(), core.metrics.clone()).await;
    bound.map(Some).map_err(io_error("listening for the admin interface on", &address))
}

async fn bind_callback(config: &Config, core: &Core) -> Result<Option<CallbackListener>, StartError> {
    let Some(address) = config.callback.listen else { return Ok(None) };
    let data = &config.host.data_directory;
    let key =
        CallbackKey::open(data).map_err(io_error("opening the key of call-backs in", &data.display()))?;
    let (topology, connectors) = (core.topology.clone(), core.connectors.clone());
    let receipts = core.receipts.clone();
    let metrics = core.metrics.clone();
    let bound = CallbackListener::bind(config, key, topology, connectors, metrics, receipts).await;
    bound.map_err(io_error("listening for call-backs on", &address))
}

/// What makes the connectors of this host.
fn factory(core: &Core, doors: AgentDoors) -> Factory {
    let index = core.store.index().clone();
    let is_queued: IsQueued = Arc::new(move |item| index.item_view(item).is_some());
    let (door, runtime) = (core.receipts.clone(), tokio::runtime::Handle::current());
    let settle: SettleReceipts =
        Arc::new(move |connector: &str, receipts| runtime.block_on(door.settle(connector, receipts)).is_ok());
    Factory::new(core.receipts.sender().clone(), settle, core.metrics.clone(), is_queued, doors)
}

/// The reload, as operators order it.
fn reload_of(site: Arc<Site>) -> Reload {
    Arc::new(move || {
        let site = site.clone();
        Box::pin(async move {
            let reloaded = reload(&site).await.map_err(|error| match error {
                ReloadError::Config(report) => OperateError::Config(report),
                unstarted @ ReloadError::Unstarted(_) => OperateError::Failed(unstarted.to_string()),
                other => OperateError::Failed(format!("nothing was changed: {other}")),
            })?;
            Ok(serde_json::to_value(&reloaded).expect("the report is plain data"))
        })
    })
}

/// Reloads, and says in the log how it went.
async fn reload(site: &Site) -> Result<Reloaded, ReloadError> {
    let result = site.reload().await;
    match &result {
        Ok(done) => {
            let Reloaded { started, restarted, swapped, stopped, .. } = done;
            tracing::info!(?started, ?restarted, ?swapped, ?stopped, "the config was taken up");
            if !done.needs_restart.is_empty() {
                tracing::warn!(keys = ?done.needs_restart, "changed, but in force only after a restart");
            }
            done.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        }
        Err(error @ ReloadError::Unstarted(_)) => tracing::error!("{error}"),
        Err(error) => tracing::error!("the config was not taken up, everything runs on as it did: {error}"),
    }
    result
}

/// Settles what expires in queues that nothing else touches (suspended, in retry, without a connector).
async fn sweep(settler: Arc<Settler>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let index = settler.store().index().clone();
        let overdue = index.overdue(Timestamp::now(), SWEEP_BATCH);
        let leases = overdue.into_iter().filter_map(|item| index.lease_item(item));
        let window = settler.topology().config.host.settle_window;
        settler.settle_overdue(leases, window, &stop).await;
    }
}

/// Lets a store that was full look whether there is room again: clients that were refused may not come back for long, and
/// whoever watches the host must not think that it is still full.
async fn look_for_room(store: Arc<dyn Store>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_FOR_ROOM) => {}
        }
        if matches!(store.health(), StoreHealth::Full(_)) {
            tokio::select! {
                () = stop.cancelled() => return,
                // What it found is in the store's health, and a store that has stopped says so itself.
                _ = store.flush() => {}
            }
        }
    }
}

/// Forgets the far sides' ids of messages that agents handed in long ago.
async fn forget_inbound(store: Arc<dyn Store>, stop: CancellationToken) {
    loop {
        let age = jiff::SignedDuration::try_from(INBOUND_MEMORY).expect("a month is in range");
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        match store.forget_inbound(before, FORGET_BATCH).await {
            // There may be more.
            Ok(FORGET_BATCH) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old ids of messages from agents were not forgotten"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FORGET) => {}
        }
    }
}

impl Host {
    /// Where the receive connectors listened at the start.
    #[must_use]
    pub fn receive(&self) -> &BTreeMap<String, Vec<SocketAddr>> {
        &self.receive
    }

    /// Where the admin interface listens.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The door, for programs that embed the host.
    #[must_use]
    pub fn submitter(&self) -> &Arc<Submitter> {
        &self.submitter
    }

    /// Writes the file that says that everything listens: whole first, then renamed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_ready_file(&self, path: &Path) -> Result<(), StartError> {
        let admin = self.admin.map(|a| a.to_string());
        let callback = self.callback.map(|a| a.to_string());
        let json = serde_json::json!({
            "pid": std::process::id(), "receive": self.receive, "admin": admin, "callback": callback,
        });
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, json.to_string())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(io_error("writing the ready file", &path.display()))
    }

    /// Reads the config again and takes up what changed; the log says how it went.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        reload(&self.site).await
    }

    /// Waits until the store has stopped and the host is to end for it (`host.on_store_failure`): then nothing can be taken or
    /// settled any more, and [`Self::give_up`] is what is left to do.
    pub async fn has_failed(&self) {
        match self.on_store_failure {
            OnStoreFailure::End => self.store.index().stopped().await,
            OnStoreFailure::Stay => std::future::pending().await,
        }
    }

    /// Stops: doors first, then deliveries (each may finish its item), then reports, receipts and tracking. What has not
    /// ended after `shutdown_grace` is cut off: its items are due again at the next start.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.grace;
        self.end(deadline).await;
    }

    /// Stops a host whose store has stopped. Outcomes cannot be kept, so that what is being delivered is cut off soon
    /// rather than finished and then made twice.
    pub async fn give_up(self) {
        let deadline = Instant::now() + self.grace.min(GIVE_UP);
        self.end(deadline).await;
    }

    async fn end(self, deadline: Instant) {
        self.callbacks.end(deadline).await;
        self.site.end(deadline).await;
        for stage in self.stages {
            stage.end(deadline).await;
        }
        let last = async {
            self.store.flush().await?;
            tracking::move_all(&self.store, &self.tracking).await
        };
        match tokio::time::timeout(LAST_WRITES, last).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the last writes were not stored"),
            Err(_) => {
                tracing::error!(limit = ?LAST_WRITES, "the store does not take the last writes: is the disk full?")
            }
        }
    }
}

/// Whether this process may work on the data directory of a host that is stopped. Whoever only looks makes files there, too
/// (the lock, the database's log, tracking), and they must be the host's own.
/// Fails when a data directory belongs to another user, whose host could not read what is written there. One that is not
/// there yet is anybody's.
///
/// # Errors
/// Whose it is, and as whom to come.
pub fn check_is_ours(directory: &Path) -> Result<(), StartError> {
    match check_owner(directory) {
        Err(StartError::NoData(_)) => Ok(()),
        checked => checked,
    }
}

fn check_owner(directory: &Path) -> Result<(), StartError> {
    let about = match std::fs::metadata(directory) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StartError::NoData(directory.display().to_string()));
        }
        Err(error) => return Err(io_error("looking at the data directory", &directory.display())(error)),
    };
    let current = Account::current();
    if about.uid() == current.uid {
        return Ok(());
    }
    let (directory, owner) = (directory.display().to_string(), Account::numbered(about.uid()));
    let hint =
        if current.is_root() { format!(" (runuser -u {owner} -- postern ...)") } else { String::new() };
    let (owner, current) = (Box::new(owner), Box::new(current));
    Err(StartError::ForeignData { directory, owner, current, hint })
}

/// Operations on the store of a host that is not running.
///
/// # Errors
/// When there is no store yet, when it belongs to another user, when it cannot be opened.
pub async fn open_stopped(config: Config) -> Result<Operations, StartError> {
    check_owner(&config.host.data_directory)?;
    let opened = config.clone();
    let store: Arc<dyn Store> = Arc::new(tokio::task::spawn_blocking(move || open_store(&opened)).await??);
    let tracking = config.host.data_directory.join("tracking");
    let (core, _) = Core::new(store, config.clone());
    // None of them does anything before it is asked to withdraw a drop file.
    core.connectors.set_idle(factory(&core, AgentDoors::default()).build_idle(&config));
    Ok(Operations { settler: core.settler, connectors: Arc::default(), tracking, running: None })
}

/// Ends what [`open_stopped`] began.
///
/// # Errors
/// When the last writes were not stored.
pub async fn close_stopped(operations: Operations) -> Result<(), StartError> {
    let store = operations.settler.store().clone();
    store.flush().await?;
    tracking::move_all(&store, &operations.tracking).await?;
    Ok(())
}

/// Loads an agent by itself, without granting it anything.
///
/// # Errors
/// When it cannot be loaded, in words.
pub fn load_alone(file: &Path) -> Result<postern_agent::Agent, String> {
    let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
    let runtime = postern_agent::Runtime::new(postern_agent::RuntimeConfig::new(cache.path().to_owned()))
        .map_err(|e| e.to_string())?;
    runtime.load(postern_agent::AgentSpec::new(file.to_owned(), "inspect")).map_err(|e| e.to_string())
}

/// What an agent's component says of itself and wants, without granting it anything.
///
/// # Errors
/// When it cannot be loaded, in words.
pub fn inspect_agent(file: &Path) -> Result<serde_json::Value, String> {
    let agent = load_alone(file)?;
    let about = agent.description();
    let size = std::fs::metadata(file).map(|m| m.len()).unwrap_or(0);
    Ok(serde_json::json!({
        "name": about.name,
        "version": about.version,
        "protocol": about.protocol,
        "accepts": about.accepts,
        "max_size": about.max_size,
        "contract": agent.contract(),
        "size": agent.size().word(),
        "sha256": agent.digest(),
        "bytes": size,
        "imports": agent.imports(),
        "exports": agent.exports(),
        "receipts": agent.has_receipts(),
        "wants": agents::wishes(&agent, file)?.words(),
    }))
}
