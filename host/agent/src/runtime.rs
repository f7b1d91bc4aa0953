//! Runtime: the engine, its threads and what all agents of a host share.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::agent::{Agent, AgentSpec, LoadError};
use crate::cache::Cache;
use crate::egress::{Network, SystemNetwork, SystemRoots};
use crate::epoch::EpochClock;
use crate::limits::{Limit, LimitCounts};
use crate::size::Size;
use crate::state::State;
use crate::views::ParseBudget;
use crate::{contract, directory, engine, senses, sockets};

/// How the runtime is made.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where compiled components are kept. Created with mode 0700; must be ours and writable by nobody else.
    pub cache_directory: PathBuf,
    /// Agent instances alive at one time in the whole host, of those that are no larger than a compiled language makes
    /// them. Default 512.
    pub max_instances: u32,
    /// Instances of larger agents ([`Size::Large`]) alive at one time in the whole host. Default 32.
    pub max_large_instances: u32,
    /// Threads that run guests. Default: one for each processor.
    pub worker_threads: usize,
    /// How often a running guest is interrupted, so that others get their turn. Default 1 ms.
    pub epoch: Duration,
    /// The most memory that any agent's [`crate::Limits::memory`] may grant, in bytes. Default 256 MiB.
    pub memory_ceiling: usize,
    /// The most elements that any agent's [`crate::Limits::table_elements`] may grant. Default 100 000.
    pub table_ceiling: usize,
    /// Memory for parsed messages, all agents together, in bytes. Default 256 MiB.
    pub parse_budget: u64,
    /// How agents' names are looked up and addresses dialled. Default: [`SystemNetwork`].
    pub network: Arc<dyn Network>,
}

impl RuntimeConfig {
    /// The defaults, with the cache in this directory.
    #[must_use]
    pub fn new(cache_directory: impl Into<PathBuf>) -> Self {
        Self {
            cache_directory: cache_directory.into(),
            max_instances: 512,
            max_large_instances: 32,
            worker_threads: std::thread::available_parallelism().map_or(2, usize::from),
            epoch: Duration::from_micros(500),
            memory_ceiling: 256 << 20,
            table_ceiling: 100_000,
            parse_budget: 256 << 20,
            network: Arc::new(SystemNetwork),
        }
    }
}

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The cache directory is missing and cannot be made, or is not safe.
    #[error("the cache directory for compiled agents: {0}")]
    Cache(#[source] io::Error),
    /// No threads.
    #[error("threads for agents cannot be started: {0}")]
    Threads(#[source] io::Error),
    /// The engine cannot be made, for instance because address space is limited.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
}

/// Runs delivery agents. Cheap to clone; its threads end with the last clone, agent and connection.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    clock: Arc<EpochClock>,
    linker: Linker<State>,
    cache: Cache,
    slots: Arc<Semaphore>,
    large_slots: Arc<Semaphore>,
    config: RuntimeConfig,
    parse_budget: ParseBudget,
    roots: SystemRoots,
    /// Limits that agents hit which could not be loaded, by the names of their connectors.
    limits_at_load: Mutex<BTreeMap<String, LimitCounts>>,
    handle: tokio::runtime::Handle,
    tokio: Option<tokio::runtime::Runtime>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The last clone may go in a task of this very runtime, where waiting for its threads would panic.
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

impl Runtime {
    /// Makes the engine and starts its threads.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let failed = |error: wasmtime::Error| RuntimeError::Engine(error.to_string());
        let cache = Cache::open(&config.cache_directory).map_err(RuntimeError::Cache)?;
        let engine = engine::build(&config).map_err(failed)?;
        let linker = linker(&engine).map_err(failed)?;
        let clock = EpochClock::start(&engine, config.epoch).map_err(RuntimeError::Threads)?;
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.worker_threads.max(1))
            .thread_name("postern-agent")
            .enable_all()
            .build()
            .map_err(RuntimeError::Threads)?;
        Ok(Self(Arc::new(Inner {
            engine,
            clock,
            linker,
            cache,
            slots: Arc::new(Semaphore::new(config.max_instances as usize)),
            large_slots: Arc::new(Semaphore::new(config.max_large_instances as usize)),
            parse_budget: ParseBudget::new(config.parse_budget),
            roots: SystemRoots::default(),
            limits_at_load: Mutex::default(),
            handle: tokio.handle().clone(),
            tokio: Some(tokio),
            config,
        })))
    }

    /// Where tasks that own connections must run: a runtime of its own, so that guests never delay the host's I/O.
    #[must_use]
    pub fn handle(&self) -> &tokio::runtime::Handle {
        &self.0.handle
    }

    /// Compiles an agent, or takes it from the cache, and asks it to describe itself. Blocking (a big component compiles
    /// for many seconds): call it in `spawn_blocking` or on a thread of your own, never in async code.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, spec: AgentSpec) -> Result<Agent, LoadError> {
        Agent::load(self, spec, None)
    }

    /// The limits that the agent of a connector hit when it could not be loaded, however often that was tried.
    #[must_use]
    pub fn limits_at_load(&self, connector: &str) -> LimitCounts {
        self.counts().get(connector).copied().unwrap_or_default()
    }

    pub(crate) fn hit_at_load(&self, connector: &str, limits: &LimitCounts) {
        self.counts().entry(connector.to_owned()).or_default().add(limits);
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, LimitCounts>> {
        // Plain counters are in order even after a panic elsewhere.
        self.0.limits_at_load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Instances of ordinary agents that could be made now.
    #[must_use]
    pub fn free_instances(&self) -> usize {
        self.0.slots.available_permits()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn clock(&self) -> &Arc<EpochClock> {
        &self.0.clock
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.0.linker
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    pub(crate) fn config(&self) -> &RuntimeConfig {
        &self.0.config
    }

    pub(crate) fn parse_budget(&self) -> ParseBudget {
        self.0.parse_budget.clone()
    }

    pub(crate) fn roots(&self) -> &SystemRoots {
        &self.0.roots
    }

    /// Instances of large agents that could be made now.
    #[must_use]
    pub fn free_large_instances(&self) -> usize {
        self.0.large_slots.available_permits()
    }

    fn slots(&self, size: Size) -> Arc<Semaphore> {
        match size {
            Size::Ordinary => self.0.slots.clone(),
            Size::Large => self.0.large_slots.clone(),
        }
    }

    /// The right to one instance, or nothing when all are taken now.
    pub(crate) fn free_slot(&self, size: Size) -> Option<OwnedSemaphorePermit> {
        self.slots(size).try_acquire_owned().ok()
    }

    /// The right to one instance, or nothing when all are taken for so long.
    pub(crate) async fn slot(&self, size: Size, patience: Duration) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(patience, self.slots(size).acquire_owned()).await.ok()?.ok()
    }

    /// The limit on instances of this size.
    pub(crate) fn instances(&self, size: Size) -> (Limit, u32) {
        match size {
            Size::Ordinary => (Limit::Instances, self.0.config.max_instances),
            Size::Large => (Limit::LargeInstances, self.0.config.max_large_instances),
        }
    }
}

/// Everything that agents may import. One linker serves them all: what differs between them is in their [`State`].
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    sockets::close(&mut linker)?;
    directory::guard(&mut linker)?;
    senses::guard(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    for contract in contract::SERVED {
        contract.link(&mut linker)?;
    }
    Ok(linker)
}
