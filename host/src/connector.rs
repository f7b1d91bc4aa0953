//! Connector: what takes items out of the host. One kind, one file in `connector/`, one line in [`build_all`].

pub mod delivery_agent;
pub mod foreign;
pub mod send;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use postern_agent::{AgentSpec, Runtime, RuntimeConfig};
use postern_model::{Deferral, DeliveryReport, DeliveryRequest, NextHop, Receipt, Refusal};

use crate::config::{AgentLimits, Config, DeliveryAgentConfig};
use crate::dispatch::ReceiptSender;
use crate::metrics::Metrics;
use crate::server::StartError;

use delivery_agent::DeliveryAgentConnector;
use foreign::{ForeignConnector, IsQueued};
use send::SendConnector;

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
    fn open<'a>(&'a self, hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, Refusal>>;

    /// Asks the far end about receipts that have not come.
    ///
    /// # Errors
    /// Why it could not be asked; it is asked again later.
    fn poll_receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>>;

    /// Whether [`Connector::poll_receipts`] can ever say anything.
    fn can_poll(&self) -> bool;

    /// The runtime that its connections run on; `None`: the host's own.
    fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        None
    }

    /// What it is doing, in a word or two, for `connector list`.
    fn state(&self) -> ConnectorState;

    /// Tells it that these receipts, given at these times, are durable (or known from an earlier run): it may look out
    /// for them.
    fn watch(&self, _receipts: &[(String, Timestamp)]) {}

    /// Called at start and now and then, on a thread that may block: it may open again what was lost.
    fn refresh(&self) {}
}

/// An open line to a destination. Used for one item at a time.
pub trait Connection: Send {
    /// What the far end calls itself, for tracking.
    fn label(&self) -> &str;

    /// Delivers one item. Never fails: whatever goes wrong is in the report.
    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport>;

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

/// Builds the enabled connectors of a config, each kind by its own line. Blocking: agents may have to be compiled.
///
/// # Errors
/// When the agents' runtime does not start. A connector that cannot be used is built all the same: its state says why.
pub fn build_all(
    config: &Config,
    receipts: &ReceiptSender,
    metrics: &Arc<Metrics>,
    is_queued: &IsQueued,
) -> Result<Vec<Arc<dyn Connector>>, StartError> {
    let host = &config.host.name;
    let mut all: Vec<Arc<dyn Connector>> = Vec::new();
    let agents: Vec<_> = config.delivery_agent_connectors.iter().filter(|a| a.common.enabled).collect();
    if !agents.is_empty() {
        let mut settings = RuntimeConfig::new(config.host.data_directory.join("agent-cache"));
        settings.max_instances = config.host.max_agent_instances;
        let runtime = Runtime::new(settings).map_err(|e| StartError::Runtime(e.to_string()))?;
        for agent in agents {
            let name = agent.common.name.clone();
            all.push(match agent_spec(agent) {
                Ok(spec) => Arc::new(DeliveryAgentConnector::load(name, runtime.clone(), spec)),
                Err(reason) => Arc::new(DeliveryAgentConnector::disabled(name, runtime.clone(), reason)),
            });
        }
    }
    for foreign in config.foreign_connectors.iter().filter(|f| f.common.enabled) {
        all.push(Arc::new(ForeignConnector::new(
            foreign,
            host,
            receipts.clone(),
            metrics.clone(),
            is_queued.clone(),
        )));
    }
    for send in config.send_connectors.iter().filter(|s| s.common.enabled) {
        all.push(Arc::new(SendConnector::new(send, host)));
    }
    Ok(all)
}

/// What an agent gets: its settings, and what the config grants.
fn agent_spec(config: &DeliveryAgentConfig) -> Result<AgentSpec, String> {
    let mut spec = AgentSpec::new(config.agent.clone(), &config.common.name);
    spec.settings = config.settings.clone();
    spec.delivery_protocol.clone_from(&config.delivery_protocol);
    let names: Vec<String> = config.grants.secrets.iter().map(|(name, _)| name.clone()).collect();
    spec.grants = postern_agent::Grants::parse(&config.grants.http, &names).map_err(|e| e.to_string())?;
    let secrets = config.grants.secrets.iter();
    spec.secrets = secrets
        .map(|(name, secret)| (name.clone(), postern_agent::Secret::new(secret.expose())))
        .collect::<BTreeMap<_, _>>();
    apply_limits(&config.limits, &mut spec.limits);
    Ok(spec)
}

fn apply_limits(config: &AgentLimits, limits: &mut postern_agent::Limits) {
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    limits.memory = bytes(config.memory);
    limits.cpu = config.cpu;
    limits.deadline = config.deadline;
    limits.http_requests = config.http_requests;
    limits.http_request_bytes = bytes(config.http_request);
    limits.http_response_bytes = bytes(config.http_response);
    limits.log_lines_per_call = config.log_lines;
    limits.handles = bytes(u64::from(config.handles));
}
