//! server: starts everything and stops it again. The only place that does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Store, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::config::{Config, ConnectorKind};
use crate::connector::foreign::IsQueued;
use crate::connector::{self, Connector};
use crate::dispatch::{DispatchLimits, Dispatcher, Settler, Watchers};
use crate::metrics::Metrics;
use crate::operate::{self, ControlServer, DropFolder, Operations};
use crate::outbox::Outbox;
use crate::private;
use crate::receipts::{Poller, Receipts};
use crate::receive::smtp::SmtpListener;
use crate::submit::Submitter;
use crate::topology::{CurrentTopology, Topology};
use crate::tracking::{self, Mover};

/// How often queues are looked through for items that expired where nothing else touches them.
const SWEEP: Duration = Duration::from_secs(30);
/// How often connectors look after what they hold open.
const REFRESH: Duration = Duration::from_secs(15);
/// How long the last writes may take at a stop.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// How long a start waits for a command that holds the data directory for a moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Overdue items settled in one sweep.
const SWEEP_BATCH: usize = 10_000;

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
    store: Arc<dyn Store>,
    submitter: Arc<Submitter>,
    grace: Duration,
    /// Stopped first to last: doors, connectors, what follows deliveries, tracking.
    stages: Vec<Stage>,
    tracking: PathBuf,
}

/// Tasks that are stopped together.
struct Stage {
    name: &'static str,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Stage {
    fn new(name: &'static str) -> Self {
        Self { name, stop: CancellationToken::new(), tasks: Vec::new() }
    }

    fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(work));
    }
}

/// The parts that all of the host shares.
struct Core {
    store: Arc<dyn Store>,
    topology: Arc<CurrentTopology>,
    metrics: Arc<Metrics>,
    outbox: Arc<Notify>,
    receipts: mpsc::UnboundedSender<(String, Vec<postern_model::Receipt>)>,
    settler: Arc<Settler>,
    connectors: Arc<OnceLock<Vec<Arc<dyn Connector>>>>,
}

impl Core {
    fn new(
        store: Arc<dyn Store>,
        config: Config,
        receipts: mpsc::UnboundedSender<(String, Vec<postern_model::Receipt>)>,
    ) -> Self {
        let topology = Arc::new(CurrentTopology::new(Topology::build(config)));
        let metrics = Arc::new(Metrics::default());
        let outbox = Arc::new(Notify::new());
        let connectors: Arc<OnceLock<Vec<Arc<dyn Connector>>>> = Arc::default();
        let known = connectors.clone();
        let watchers: Watchers = Arc::new(move |name, receipts| {
            if let Some(connector) = known.get().and_then(|all| all.iter().find(|c| c.name() == name)) {
                connector.watch(receipts);
            }
        });
        let settler = Arc::new(Settler::new(
            store.clone(),
            topology.clone(),
            metrics.clone(),
            outbox.clone(),
            receipts.clone(),
            watchers,
        ));
        Self { store, topology, metrics, outbox, receipts, settler, connectors }
    }
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
    let store = open_store_soon(&config).await?;
    let incoming = store.incoming();
    let store: Arc<dyn Store> = Arc::new(store);
    let (receipt_sender, receipt_receiver) = mpsc::unbounded_channel();
    let core = Core::new(store.clone(), config.clone(), receipt_sender);
    let submitter = Arc::new(Submitter::new(store, core.topology.clone(), core.metrics.clone()));

    // Everything is bound before anything is delivered: a port that is taken must not cost an attempt.
    let listeners = bind_doors(&config, &core, &submitter, &incoming).await?;
    let connectors = build_connectors(&config, &core).await?;
    let operations = Arc::new(Operations {
        settler: core.settler.clone(),
        connectors: connectors.clone(),
        tracking: tracking.clone(),
        drop_folders: drop_folders(&config),
        running: true,
    });
    let control =
        ControlServer::bind(&data).map_err(io_error("making the control socket in", &data.display()))?;
    let admin = bind_admin(&config, &core, &operations).await?;

    let (mut doors, mut ways_out) = (Stage::new("doors"), Stage::new("connectors"));
    let (mut followers, mut trackers) = (Stage::new("reports"), Stage::new("tracking"));
    let mover = Mover::new(core.store.clone(), tracking.clone(), config.tracking.retention);
    trackers.spawn(mover.run(trackers.stop.clone()));
    let admin_address = admin.as_ref().map(admin::AdminServer::address);
    if let Some(admin) = admin {
        trackers.spawn(admin.run(trackers.stop.clone()));
    }
    followers.spawn(Receipts::new(core.settler.clone(), receipt_receiver).run(followers.stop.clone()));
    let outbox = Outbox::new(
        core.store.clone(),
        submitter.clone(),
        core.topology.clone(),
        core.metrics.clone(),
        core.outbox.clone(),
        data.join("badmail"),
    );
    followers.spawn(outbox.run(followers.stop.clone()));
    followers.spawn(sweep(core.settler.clone(), followers.stop.clone()));
    followers.spawn(control.run(operations, followers.stop.clone()));
    start_connectors(&config, &core, &connectors, &mut ways_out).await?;
    let mut receive = BTreeMap::new();
    for listener in listeners {
        receive.insert(listener.name().to_owned(), listener.addresses());
        doors.spawn(listener.run(doors.stop.clone()));
    }
    tracing::info!(host = config.host.name, ?receive, admin = ?admin_address, "postern runs");
    Ok(Host {
        receive,
        admin: admin_address,
        store: core.store,
        submitter,
        grace: config.host.shutdown_grace,
        stages: vec![doors, ways_out, followers, trackers],
        tracking,
    })
}

async fn bind_doors(
    config: &Config,
    core: &Core,
    submitter: &Arc<Submitter>,
    incoming: &Path,
) -> Result<Vec<SmtpListener>, StartError> {
    let mut listeners = Vec::new();
    for receive in config.receive_connectors.iter().filter(|r| r.enabled) {
        let (submitter, metrics) = (submitter.clone(), core.metrics.clone());
        let bound =
            SmtpListener::bind(receive, &config.host.name, submitter, metrics, incoming.to_owned()).await;
        listeners.push(bound.map_err(io_error("listening for receive connector", &receive.name))?);
    }
    Ok(listeners)
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

/// Builds the connectors and makes them known to the settler, which tells them of receipts.
async fn build_connectors(config: &Config, core: &Core) -> Result<Vec<Arc<dyn Connector>>, StartError> {
    let (config, receipts, metrics) = (config.clone(), core.receipts.clone(), core.metrics.clone());
    let index = core.store.index().clone();
    let is_queued: IsQueued = Arc::new(move |item| index.item_view(item).is_some());
    let build = move || connector::build_all(&config, &receipts, &metrics, &is_queued);
    let connectors = tokio::task::spawn_blocking(build).await??;
    // Nobody else sets them.
    let _ = core.connectors.set(connectors.clone());
    Ok(connectors)
}

async fn start_connectors(
    config: &Config,
    core: &Core,
    connectors: &[Arc<dyn Connector>],
    stage: &mut Stage,
) -> Result<(), StartError> {
    for connector in connectors {
        let Some(outgoing) = config.outgoing().find(|o| &*o.name == connector.name()) else { continue };
        let known = known_receipts(&core.store, connector.name()).await?;
        connector.watch(&known);
        stage.spawn(refresh(connector.clone(), stage.stop.clone()));
        let connections = outgoing.max_concurrent_connections;
        let limits = DispatchLimits {
            connections,
            // A drop directory is one destination, whatever the address space: all its writers may work at once.
            per_destination: match outgoing.kind {
                ConnectorKind::Foreign => connections,
                _ => outgoing.max_connections_per_destination,
            },
            messages: outgoing.max_messages_per_connection,
            idle: outgoing.connection_idle,
            settle_window: config.host.settle_window,
        };
        let dispatcher = Dispatcher::new(connector.clone(), core.settler.clone(), limits);
        stage.spawn(dispatcher.run(stage.stop.clone()));
        if connector.can_poll() {
            let interval = config
                .delivery_agent_connectors
                .iter()
                .find(|a| a.common.name == outgoing.name)
                .map_or(Duration::from_secs(60), |a| a.receipt_poll_interval);
            let poller =
                Poller::new(connector.clone(), core.settler.clone(), core.receipts.clone(), interval);
            stage.spawn(poller.run(stage.stop.clone()));
        }
    }
    Ok(())
}

/// Lets a connector look after what it holds open, at once and now and then.
async fn refresh(connector: Arc<dyn Connector>, stop: CancellationToken) {
    loop {
        let connector = connector.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || connector.refresh()).await {
            tracing::error!(%error, "a connector could not be refreshed");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

/// Receipts that an earlier run left: a drop directory looks out for its files again.
async fn known_receipts(
    store: &Arc<dyn Store>,
    connector: &str,
) -> Result<Vec<(String, Timestamp)>, StartError> {
    const BATCH: usize = 1_000;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let batch = store.receipts(connector.to_owned(), after, BATCH).await?;
        let Some(last) = batch.last() else { return Ok(all) };
        after = Some(last.id.clone());
        let whole = batch.len() < BATCH;
        all.extend(batch.into_iter().map(|r| (r.id, r.at)));
        if whole {
            return Ok(all);
        }
    }
}

/// Settles what expires in queues that nothing else touches (suspended, in retry, without a connector).
async fn sweep(settler: Arc<Settler>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let index = settler.store().index().clone();
        for item in index.overdue(Timestamp::now(), SWEEP_BATCH) {
            if let Some(lease) = index.lease_item(item) {
                settler.settle_overdue(lease).await;
            }
        }
    }
}

fn drop_folders(config: &Config) -> Vec<DropFolder> {
    config
        .foreign_connectors
        .iter()
        .map(|f| DropFolder { connector: f.common.name.to_string(), directory: f.drop_directory.clone() })
        .collect()
}

impl Host {
    /// Where the receive connectors listen.
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
        let json = serde_json::json!({ "pid": std::process::id(), "receive": self.receive, "admin": admin });
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, json.to_string())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(io_error("writing the ready file", &path.display()))
    }

    /// Stops: doors first, then deliveries (each may finish its item), then reports, receipts and tracking. What has not
    /// ended after `shutdown_grace` is cut off: its items are due again at the next start.
    pub async fn stop(self) {
        let deadline = Instant::now() + self.grace;
        for stage in self.stages {
            stage.stop.cancel();
            for mut task in stage.tasks {
                match tokio::time::timeout_at(deadline, &mut task).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(stage = stage.name, %error, "a task failed"),
                    Err(_) => {
                        task.abort();
                        tracing::warn!(stage = stage.name, grace = ?self.grace, "not everything ended in time");
                    }
                }
            }
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

/// The signals that the host minds.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Its default ends the process when a file reaches the size limit of the process; listened for, the write fails
    /// instead, as on a full disk.
    _file_size: Signal,
}

impl Signals {
    /// From now on SIGTERM, SIGINT and SIGHUP no longer end the process by themselves.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn stop_requested(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    tracing::warn!("SIGHUP does nothing yet: restart to take up a changed config");
                }
            }
        }
    }
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be listened for.
pub async fn wait_for_signal() -> std::io::Result<()> {
    Signals::listen()?.stop_requested().await;
    Ok(())
}

/// Operations on the store of a host that is not running.
///
/// # Errors
/// When the store cannot be opened.
pub async fn open_stopped(config: Config) -> Result<Operations, StartError> {
    let opened = config.clone();
    let store: Arc<dyn Store> = Arc::new(tokio::task::spawn_blocking(move || open_store(&opened)).await??);
    let (receipts, _) = mpsc::unbounded_channel();
    let tracking = config.host.data_directory.join("tracking");
    let drop_folders = drop_folders(&config);
    let core = Core::new(store, config, receipts);
    Ok(Operations { settler: core.settler, connectors: Vec::new(), tracking, drop_folders, running: false })
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

/// What an agent's component says of itself, without granting it anything.
///
/// # Errors
/// When it cannot be loaded, in words.
pub fn inspect_agent(file: &Path) -> Result<serde_json::Value, String> {
    let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
    let runtime = postern_agent::Runtime::new(postern_agent::RuntimeConfig::new(cache.path().to_owned()))
        .map_err(|e| e.to_string())?;
    let agent =
        runtime.load(postern_agent::AgentSpec::new(file.to_owned(), "inspect")).map_err(|e| e.to_string())?;
    let about = agent.description();
    let size = std::fs::metadata(file).map(|m| m.len()).unwrap_or(0);
    Ok(serde_json::json!({
        "name": about.name,
        "version": about.version,
        "protocol": about.protocol,
        "accepts": about.accepts,
        "max_size": about.max_size,
        "sha256": agent.digest(),
        "bytes": size,
        "imports": agent.imports(),
        "exports": agent.exports(),
        "receipts": agent.has_receipts(),
    }))
}
