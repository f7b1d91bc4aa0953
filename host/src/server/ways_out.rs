//! WaysOut: the connectors that run, each with its dispatcher, its poller and its look after what it holds open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::core::Core;
use super::stage::Stage;
use crate::config::{Config, ConnectorKind, DeliveryAgentConfig, Outgoing};
use crate::connector::{Connector, Factory};
use crate::dispatch::{DispatchLimits, Dispatcher};
use crate::receipts::Poller;

/// How often connectors look after what they hold open.
const REFRESH: Duration = Duration::from_secs(15);

/// The connectors that run.
pub struct WaysOut {
    core: Arc<Core>,
    factory: Arc<Factory>,
    running: BTreeMap<Arc<str>, Stage>,
}

impl WaysOut {
    /// None yet.
    pub fn new(core: Arc<Core>, factory: Factory) -> Self {
        Self { core, factory: Arc::new(factory), running: BTreeMap::new() }
    }

    /// Lets drop files of a config's connectors be withdrawn, also of those that do not run, or not at this moment.
    pub fn let_withdraw(&self, config: &Config) {
        self.core.connectors.set_idle(self.factory.build_idle(config));
    }

    /// Builds connectors of a config; agents are compiled. They deliver nothing yet.
    ///
    /// # Errors
    /// When the agents' runtime does not start. A connector that cannot be used is built all the same: its state says
    /// why.
    pub async fn build(
        &self,
        config: &Config,
        names: &[Arc<str>],
    ) -> Result<Vec<Arc<dyn Connector>>, StartError> {
        let (factory, config, names) = (self.factory.clone(), config.clone(), names.to_vec());
        let build =
            move || names.iter().filter_map(|name| factory.build(&config, name).transpose()).collect();
        tokio::task::spawn_blocking(build).await?
    }

    /// Lets connectors deliver.
    ///
    /// # Errors
    /// When the receipts that they wait for cannot be read. Their mail waits.
    pub async fn start(
        &mut self,
        config: &Config,
        connectors: Vec<Arc<dyn Connector>>,
    ) -> Result<(), StartError> {
        let mut result = Ok(());
        for connector in connectors {
            // One that cannot be started keeps no other from it.
            result = result.and(self.start_one(config, connector).await);
        }
        result
    }

    async fn start_one(&mut self, config: &Config, connector: Arc<dyn Connector>) -> Result<(), StartError> {
        let Some(outgoing) = config.outgoing().find(|o| &*o.name == connector.name()) else { return Ok(()) };
        // Known before the old receipts are read: one that becomes durable meanwhile must not be missed.
        self.core.connectors.set(connector.clone());
        let known = known_receipts(&self.core.store, connector.name()).await?;
        connector.watch(&known);
        if let Some(agent) = connector.as_agent() {
            agent.begin().await;
        }
        let mut stage = Stage::new(connector.name());
        stage.spawn(refresh(connector.clone(), stage.stop.clone()));
        let limits = limits(config, outgoing);
        let dispatcher = Dispatcher::new(connector.clone(), self.core.settler.clone(), limits);
        stage.spawn(dispatcher.run(stage.stop.clone()));
        // Another version of an agent may answer where this one does not.
        if connector.can_poll() || connector.as_agent().is_some() {
            let (settler, receipts) = (self.core.settler.clone(), self.core.receipts.sender().clone());
            let poller = Poller::new(connector, settler, receipts, poll_interval(config, outgoing));
            stage.spawn(poller.run(stage.stop.clone()));
        }
        self.running.insert(outgoing.name.clone(), stage);
        Ok(())
    }

    /// Which of these have changed where they come from since they were made, or do not run.
    pub async fn outdated(&self, names: Vec<Arc<str>>) -> Result<Vec<Arc<str>>, StartError> {
        let connectors = self.core.connectors.clone();
        let running: BTreeSet<Arc<str>> = self.running.keys().cloned().collect();
        let is_outdated = move |name: &Arc<str>| {
            !running.contains(name) || connectors.get(name).is_none_or(|c| c.is_outdated())
        };
        let look = move || names.into_iter().filter(is_outdated).collect();
        Ok(tokio::task::spawn_blocking(look).await?)
    }

    /// Exchanges the agents of connectors that run, where nothing else about them differs: new connections use the new
    /// version, old ones finish what they are at. Gives back the connectors that have to be started anew.
    pub async fn exchange(
        &self,
        swapped: &[Arc<str>],
        made: Vec<Arc<dyn Connector>>,
    ) -> Vec<Arc<dyn Connector>> {
        let (newer, others): (Vec<_>, Vec<_>) =
            made.into_iter().partition(|made| swapped.iter().any(|name| &**name == made.name()));
        for newer in newer {
            let running = self.core.connectors.get(newer.name());
            if let (Some(running), Some(newer)) =
                (running.as_ref().and_then(|running| running.as_agent()), newer.as_agent())
            {
                running.adopt(newer);
                running.begin().await;
            }
        }
        others
    }

    /// Whether the agent of a connector that runs can be exchanged for that of one that was made anew.
    pub fn can_exchange(&self, made: &dyn Connector) -> bool {
        let works =
            |connector: &dyn Connector| connector.as_agent().is_some() && connector.load_fault().is_none();
        let running = self.core.connectors.get(made.name());
        self.running.contains_key(made.name())
            && works(made)
            && running.is_some_and(|running| works(&*running))
    }

    /// Ends connectors: each may finish the items that it has. What has not ended at `deadline` is cut off; its items
    /// are due again.
    pub async fn end(&mut self, names: &[Arc<str>], deadline: Instant) {
        let stages: Vec<Stage> = names.iter().filter_map(|name| self.running.remove(name)).collect();
        // All are told before the first is waited for.
        stages.iter().for_each(|stage| stage.stop.cancel());
        for stage in stages {
            stage.end(deadline).await;
        }
        names.iter().for_each(|name| self.core.connectors.remove(name));
    }

    /// Ends them all.
    pub async fn end_all(&mut self, deadline: Instant) {
        let names: Vec<_> = self.running.keys().cloned().collect();
        self.end(&names, deadline).await;
    }
}

fn limits(config: &Config, outgoing: &Outgoing) -> DispatchLimits {
    let connections = outgoing.max_concurrent_connections;
    DispatchLimits {
        connections,
        // A drop directory is one destination, whatever the address space: all its writers may work at once.
        per_destination: match outgoing.kind {
            ConnectorKind::Foreign => connections,
            _ => outgoing.max_connections_per_destination,
        },
        messages: match agent(config, outgoing) {
            Some(agent) if agent.per_message => 1,
            _ => outgoing.max_messages_per_connection,
        },
        idle: outgoing.connection_idle,
        keep_open: agent(config, outgoing).is_some_and(|agent| agent.keep_open),
        settle_window: config.host.settle_window,
    }
}

fn agent<'a>(config: &'a Config, outgoing: &Outgoing) -> Option<&'a DeliveryAgentConfig> {
    config.delivery_agent_connectors.iter().find(|agent| agent.common.name == outgoing.name)
}

fn poll_interval(config: &Config, outgoing: &Outgoing) -> Duration {
    agent(config, outgoing).map_or(Duration::from_secs(60), |agent| agent.receipt_poll_interval)
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
        after = Some(last.key());
        let whole = batch.len() < BATCH;
        all.extend(batch.into_iter().map(|r| (r.id, r.at)));
        if whole {
            return Ok(all);
        }
    }
}
