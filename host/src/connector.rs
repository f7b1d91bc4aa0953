//! Connector: what takes items out of the host. One kind, one file in `connector/`, one line in [`Factory::build`].

#[cfg(test)]
mod conformance;
pub mod delivery_agent;
pub mod doors;
pub mod foreign;
pub mod send;
mod withdrawal;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use postern_agent::{
    AgentSpec, AgentStats, CallbackReply, CallbackRequest, Doors, Inbound, KeptState, Runtime, RuntimeConfig,
    Tick,
};
use postern_model::{
    Arrival, Deferral, DeliveryReport, DeliveryRequest, Item, NextHop, NotOpened, Receipt, Refusal,
};

use crate::agents::{Consents, Gate, VersionRecord};
use crate::breaker::{AgentBreaker, BreakerView};
use crate::config::{Config, DeliveryAgentConfig, HostConfig, Outgoing};
use crate::dispatch::ReceiptSender;
use crate::metrics::Metrics;
use crate::server::StartError;

use delivery_agent::{DeliveryAgentConnector, Records, Tools};
use doors::{AgentDoors, AgentMail, StoredState};
use foreign::{ActivityView, ForeignConnector, HeldFiles, IsQueued, Role, SettleReceipts, Surroundings};
use send::SendConnector;

pub use withdrawal::{End, HandedIn, Held, Whereabouts, Withdrawal};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way out: it opens connections to destinations.
pub trait Connector: Send + Sync + 'static {
    /// Its name in the config.
    fn name(&self) -> &str;

    /// Opens a connection to a destination.
    ///
    /// # Errors
    /// The far end's, or our own, answer about the whole queue.
    fn open<'a>(&'a self, hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>>;

    /// Asks the far end about receipts that have not come.
    ///
    /// # Errors
    /// Why it could not be asked; it is asked again later.
    fn poll_receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>>;

    /// Whether [`Connector::poll_receipts`] can ever say anything.
    fn can_poll(&self) -> bool;

    /// Asks what became of a hand-over that nobody saw the end of, by the recipient's idempotency key.
    ///
    /// # Errors
    /// Why it could not be asked; it is asked again later.
    fn did_it_arrive<'a>(&'a self, _idempotency_key: &'a str) -> BoxFuture<'a, Result<Arrival, Deferral>> {
        Box::pin(async { Ok(Arrival::CannotTell) })
    }

    /// Hands a call-back of the far end's provider over.
    ///
    /// # Errors
    /// Why it was not handled; the provider is to call again.
    fn callback(&self, _request: CallbackRequest) -> BoxFuture<'_, Result<CallbackReply, Deferral>> {
        Box::pin(async {
            Err(Deferral::new(451, (4, 3, 5), "this connector takes no call-backs", "service-unavailable"))
        })
    }

    /// Where [`Self::callback`] is reached; `None`: nowhere.
    fn callback_url(&self) -> Option<&str> {
        None
    }

    /// How many items [`Connection::deliver_batch`] takes at once, for far ends with a window.
    fn batch_size(&self) -> usize {
        1
    }

    /// The runtime that its connections run on; `None`: the host's own.
    fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        None
    }

    /// SHA-256 of its agent's component, in lower-case hex; `None` where there is no agent.
    fn agent_digest(&self) -> Option<String> {
        None
    }

    /// What leaves its agent alone for a while; `None` where there is no agent, or it is never left alone.
    fn breaker(&self) -> Option<&Arc<AgentBreaker>> {
        None
    }

    /// What its agent has done, for the metrics; `None` where there is no agent.
    fn agent_stats(&self) -> Option<AgentStats> {
        None
    }

    /// The delivery agent that it is, for what only those can do.
    fn as_agent(&self) -> Option<&DeliveryAgentConnector> {
        None
    }

    /// What it is doing, in a word or two, for `connector list`.
    fn state(&self) -> ConnectorState;

    /// Tells it that these receipts, given at these times, are durable (or known from an earlier run): it may look out
    /// for them.
    fn watch(&self, _receipts: &[(String, Timestamp)]) {}

    /// Tells it that nobody waits for these receipts any more, whether they came or not.
    fn forget(&self, _receipts: &[String]) {}

    /// Takes back what was handed over of an item and the far end does not have yet. Asked before recipients of the item
    /// are settled in another way than by an attempt or a receipt, by whoever has its lease. Never blocks, and answers
    /// within seconds.
    fn withdraw<'a>(&'a self, _item: &'a Item) -> BoxFuture<'a, Withdrawal> {
        Box::pin(async { Withdrawal::without(Whereabouts::Nothing) })
    }

    /// Why it can never work until it is made anew. Its mail waits.
    fn load_fault(&self) -> Option<&str> {
        None
    }

    /// What the gateway of its drop directory was seen to do; `None` where there is none.
    fn drop_activity(&self) -> Option<ActivityView> {
        None
    }

    /// What an operator should know although it works.
    fn notice(&self) -> Option<String> {
        None
    }

    /// Whether what it was made from, beside its config, has changed since (the agent's file). May block.
    fn is_outdated(&self) -> bool {
        false
    }

    /// Waits until connections may have been retired ([`Connection::is_retired`]), so that idle ones are closed. One
    /// waits at a time.
    fn exchanged(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Called at start and now and then, on a thread that may block: it may open again what was lost.
    fn refresh(&self) {}
}

/// An open line to a destination. Used for one item at a time.
pub trait Connection: Send {
    /// What the far end calls itself, for tracking.
    fn label(&self) -> &str;

    /// Delivers one item. Never fails: whatever goes wrong is in the report.
    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport>;

    /// Delivers several items at once: one report for each, in their order. Never fails either.
    fn deliver_batch<'a>(
        &'a mut self,
        requests: &'a [DeliveryRequest],
    ) -> BoxFuture<'a, Vec<DeliveryReport>> {
        Box::pin(async move {
            let mut reports = Vec::new();
            for request in requests {
                reports.push(self.deliver(request).await);
            }
            reports
        })
    }

    /// Whether [`Connection::tick`] is to be called while there is nothing to deliver.
    fn ticks(&self) -> bool {
        false
    }

    /// Does what an idle connection needs: keep-alives, receipts that arrive by themselves.
    ///
    /// # Errors
    /// The far end's, or our own, answer about the whole queue. The connection is closed then.
    fn tick(&mut self) -> BoxFuture<'_, Result<Tick, Refusal>> {
        Box::pin(async { Ok(Tick { receipts: Vec::new(), next: Duration::MAX }) })
    }

    /// Whether it is to be closed as soon as it has nothing more under way: what it leads to was exchanged.
    fn is_retired(&self) -> bool {
        false
    }

    /// Ends it in good order.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// What a connector is doing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
pub enum ConnectorState {
    /// It delivers.
    Ready,
    /// It cannot be used; its mail waits.
    Disabled(String),
}

/// Makes connectors from their tables, each kind by its own line.
pub struct Factory {
    surroundings: Surroundings,
    /// What the host itself offers to agents.
    doors: AgentDoors,
    /// Made for the first agent, and shared by all.
    runtime: Mutex<Option<Runtime>>,
}

impl Factory {
    /// A factory for connectors that send receipts there, or `settle` them, count here, and may ask whether an item is queued.
    #[must_use]
    pub fn new(
        receipts: ReceiptSender,
        settle: SettleReceipts,
        metrics: Arc<Metrics>,
        is_queued: IsQueued,
        doors: AgentDoors,
    ) -> Self {
        let held = HeldFiles::default();
        let surroundings = Surroundings { receipts, settle, metrics, is_queued, held };
        Self { surroundings, doors, runtime: Mutex::default() }
    }

    /// Makes the enabled connector of this name; `None` when the config has none. Blocking: an agent may have to be
    /// compiled.
    ///
    /// # Errors
    /// When the agents' runtime does not start. A connector that cannot be used is made all the same: its state says
    /// why.
    pub fn build(&self, config: &Config, name: &str) -> Result<Option<Arc<dyn Connector>>, StartError> {
        let is_it = |common: &Outgoing| common.enabled && &*common.name == name;
        if let Some(agent) = config.delivery_agent_connectors.iter().find(|a| is_it(&a.common)) {
            return Ok(Some(Arc::new(self.agent(agent, &config.host)?)));
        }
        if let Some(foreign) = config.foreign_connectors.iter().find(|f| is_it(&f.common)) {
            let surroundings = self.surroundings.clone();
            let made = ForeignConnector::new(foreign, &config.host, Role::Delivers, surroundings);
            return Ok(Some(Arc::new(made)));
        }
        if let Some(send) = config.send_connectors.iter().find(|s| is_it(&s.common)) {
            return Ok(Some(Arc::new(SendConnector::new(send, &config.host.name))));
        }
        Ok(None)
    }

    /// Makes, of all foreign connectors of a config, ones that deliver nothing and are only asked to take back what lies
    /// about: for those that do not run.
    #[must_use]
    pub fn build_idle(&self, config: &Config) -> Vec<Arc<dyn Connector>> {
        let build = |foreign| {
            let surroundings = self.surroundings.clone();
            Arc::new(ForeignConnector::new(foreign, &config.host, Role::Withdraws, surroundings))
                as Arc<dyn Connector>
        };
        config.foreign_connectors.iter().map(build).collect()
    }

    fn agent(
        &self,
        agent: &DeliveryAgentConfig,
        host: &HostConfig,
    ) -> Result<DeliveryAgentConnector, StartError> {
        let runtime = self.runtime(host)?;
        let name = agent.common.name.clone();
        Ok(match agent_spec(agent) {
            Ok(mut spec) => {
                spec.doors = self.doors_of(agent);
                let tools = Tools {
                    runtime,
                    gate: Gate::new(agent, &host.data_directory),
                    consents: Consents::of(&host.data_directory),
                    record: VersionRecord::of(&host.data_directory),
                    metrics: self.surroundings.metrics.clone(),
                    store: self.doors.store.clone(),
                };
                let breaker = AgentBreaker::new(agent.breaker);
                let (recordings, metrics) = (self.doors.recordings.clone(), tools.metrics.clone());
                let (shadow, runtime) = (agent.shadow.clone(), &tools.runtime);
                let records = Records::new(agent.record, shadow, runtime, recordings, name.clone(), metrics);
                DeliveryAgentConnector::load(name, tools, spec, agent.batch_size, agent.canary, breaker)
                    .with_records(records)
            }
            Err(reason) => DeliveryAgentConnector::disabled(name, runtime, reason),
        })
    }

    /// The doors that a connector's grants open.
    fn doors_of(&self, agent: &DeliveryAgentConfig) -> Doors {
        let (connector, quota) = (agent.common.name.to_string(), agent.grants.state);
        let store = self.doors.store.clone().filter(|_| quota > 0);
        let submitter = self.doors.submitter.clone().filter(|_| agent.grants.inbound);
        let callback = self.doors.callback.as_ref().filter(|_| agent.grants.callback);
        Doors {
            callback_url: callback.map(|base| base.url_of(&connector)),
            inbound: submitter.map(|submitter| {
                let door: Arc<dyn Inbound> = Arc::new(AgentMail { submitter, connector: connector.clone() });
                door
            }),
            state: store.map(|store| {
                let state: Arc<dyn KeptState> = Arc::new(StoredState { store, connector, quota });
                state
            }),
            state_quota: quota,
        }
    }

    fn runtime(&self, host: &HostConfig) -> Result<Runtime, StartError> {
        let mut made = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*made {
            return Ok(runtime.clone());
        }
        let mut settings = RuntimeConfig::new(host.data_directory.join("agent-cache"));
        settings.max_instances = host.max_agent_instances;
        settings.max_large_instances = host.max_large_agent_instances;
        settings.parse_budget = host.agent_parse_budget;
        let runtime = Runtime::new(settings).map_err(|e| StartError::Runtime(e.to_string()))?;
        Ok(made.insert(runtime).clone())
    }
}

/// The connectors that run now. A reload exchanges them one by one.
#[derive(Default)]
pub struct CurrentConnectors {
    running: RwLock<Connectors>,
    /// Those that only take back, for when the one of that name does not run.
    idle: RwLock<Connectors>,
}

type Connectors = HashMap<String, Arc<dyn Connector>>;

impl CurrentConnectors {
    /// The one of this name that runs.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Connector>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The one of this name that can take back what was handed over, whether it runs or not.
    #[must_use]
    pub fn withdrawing(&self, name: &str) -> Option<Arc<dyn Connector>> {
        let idle = || self.idle.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        self.get(name).or_else(idle)
    }

    /// What the agents have done, by the names of their connectors.
    #[must_use]
    pub fn agent_stats(&self) -> Vec<(String, AgentStats)> {
        let connectors = self.running.read().unwrap_or_else(PoisonError::into_inner);
        connectors.iter().filter_map(|(name, c)| c.agent_stats().map(|stats| (name.clone(), stats))).collect()
    }

    /// How their breakers stand, by the names of their connectors.
    #[must_use]
    pub fn breakers(&self) -> Vec<(String, BreakerView)> {
        let connectors = self.running.read().unwrap_or_else(PoisonError::into_inner);
        connectors.iter().filter_map(|(name, c)| c.breaker().map(|b| (name.clone(), b.view()))).collect()
    }

    /// Puts one in the place of its name.
    pub fn set(&self, connector: Arc<dyn Connector>) {
        let name = connector.name().to_owned();
        self.running.write().unwrap_or_else(PoisonError::into_inner).insert(name, connector);
    }

    /// Takes one out.
    pub fn remove(&self, name: &str) {
        self.running.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Puts these in the place of all that only take back.
    pub fn set_idle(&self, connectors: Vec<Arc<dyn Connector>>) {
        let named = connectors.into_iter().map(|connector| (connector.name().to_owned(), connector));
        *self.idle.write().unwrap_or_else(PoisonError::into_inner) = named.collect();
    }
}

/// What an agent gets: its settings, and what the config grants.
///
/// # Errors
/// When a grant cannot be read.
pub fn agent_spec(config: &DeliveryAgentConfig) -> Result<AgentSpec, String> {
    let mut spec = AgentSpec::new(config.agent.clone(), &config.common.name);
    spec.settings = config.settings.clone();
    spec.delivery_protocol.clone_from(&config.delivery_protocol);
    let names: Vec<String> = config.grants.secrets.iter().map(|(name, _)| name.clone()).collect();
    let tcp: Vec<String> = config.grants.tcp.iter().map(|grant| grant.text.clone()).collect();
    let grants = postern_agent::Grants::parse(&config.grants.http, &tcp, &names);
    spec.grants = grants.map_err(|e| e.to_string())?;
    spec.grants.directories.clone_from(&config.grants.directories);
    (spec.grants.clocks, spec.grants.random) = (config.grants.clocks, config.grants.random);
    spec.trusted_certificates.clone_from(&config.trusted_certificates);
    // The certificates for TCP are for the host to show: the agent is not granted them.
    let certificates = config.grants.tcp.iter().filter_map(|grant| grant.client.as_ref());
    let secrets = config.grants.secrets.iter().chain(certificates);
    spec.secrets = secrets
        .map(|(name, secret)| (name.clone(), postern_agent::Secret::new(secret.expose())))
        .collect::<BTreeMap<_, _>>();
    spec.limits = config.limits.clone();
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check_text;

    #[test]
    fn a_client_certificate_is_for_the_host_and_not_for_the_agent() {
        let text = "\
[host]
name = \"a\"
[secrets]
key = { env = \"A\" }
certificate = { env = \"B\" }
[delivery_agent_connectors.sms]
address_spaces = [\"SMS:*\"]
agent = \"sms.wasm\"
trusted_certificates = \"ca.pem\"
grants = { secrets = [\"key\"], tcp = [\"tls://smsc.example:3550 client=certificate\"] }
limits = { tcp_open = 1, tcp_connects = 2, tcp_read = 3, tcp_written = 4, tcp_line = 5 }
";
        let here = Path::new("/etc/postern/postern.toml");
        let (config, _) = check_text(text, here, here, &|name| Some(name.to_lowercase())).unwrap();
        let spec = agent_spec(&config.delivery_agent_connectors[0]).unwrap();
        assert_eq!(spec.grants.secrets, ["key"]);
        assert_eq!(spec.secrets["certificate"].reveal(), "b");
        assert_eq!(spec.trusted_certificates.as_deref(), Some(Path::new("/etc/postern/ca.pem")));
        let limits = spec.limits;
        assert_eq!((limits.tcp_open, limits.tcp_connects), (1, 2));
        assert_eq!((limits.tcp_read, limits.tcp_written, limits.tcp_line), (3, 4, 5));
    }
}
