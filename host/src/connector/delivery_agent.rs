//! DeliveryAgentConnector: hands items to a WASM delivery agent.

use std::path::PathBuf;
use std::sync::Arc;

use postern_agent::{
    Agent, AgentConnection, AgentSpec, AgentStats, CallbackReply, CallbackRequest, Runtime, Tick,
};
use postern_model::{Arrival, Deferral, DeliveryReport, DeliveryRequest, NextHop, Receipt, Refusal};

use super::{BoxFuture, Connection, Connector, ConnectorState};
use crate::agents::{self, Consents};

/// A connector with its agent, or with the reason why it has none.
pub struct DeliveryAgentConnector {
    name: Arc<str>,
    runtime: Runtime,
    /// Where it came from; `None`: nowhere.
    file: Option<PathBuf>,
    agent: Result<Agent, String>,
    /// Why the agent is not the one in its file.
    held_back: Option<String>,
    /// Where its provider can call back.
    callback_url: Option<String>,
    /// The most items that the agent gets in one call.
    batch_size: usize,
}

impl DeliveryAgentConnector {
    /// Loads the agent. Blocking: it may have to be compiled. An agent that cannot be loaded disables the connector;
    /// its mail waits.
    #[must_use]
    pub fn load(
        name: Arc<str>,
        runtime: Runtime,
        spec: AgentSpec,
        batch_size: usize,
        consents: &Consents,
    ) -> Self {
        let (file, callback_url) = (spec.component.clone(), spec.doors.callback_url.clone());
        let (agent, held_back) = match agents::load(&runtime, spec, consents) {
            Ok(agreed) => (Ok(agreed.agent), agreed.held_back),
            Err(error) => {
                let agent = file.display();
                tracing::error!(connector = %name, %agent, error, "the agent cannot be loaded; its mail waits");
                (Err(error), None)
            }
        };
        if let Ok(agent) = &agent {
            let about = agent.description();
            let (version, digest) = (&about.version, agent.digest());
            tracing::info!(connector = %name, agent = about.name, version, digest, "agent loaded");
        }
        if let Some(why) = &held_back {
            tracing::warn!(connector = %name, "{why}");
        }
        Self { name, runtime, file: Some(file), agent, held_back, callback_url, batch_size }
    }

    /// A connector that cannot work, and says why.
    #[must_use]
    pub fn disabled(name: Arc<str>, runtime: Runtime, reason: String) -> Self {
        tracing::error!(connector = %name, reason, "the connector cannot be used; its mail waits");
        Self {
            name,
            runtime,
            file: None,
            agent: Err(reason),
            held_back: None,
            callback_url: None,
            batch_size: 1,
        }
    }

    /// Asks the agent something beside its connections, on its own runtime, whoever asks.
    async fn ask<T, F>(&self, question: impl FnOnce(Agent) -> F) -> Result<T, Deferral>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Deferral>> + Send + 'static,
    {
        let failed = |status, why: &str| Deferral::new(451, status, why, "service-unavailable");
        let agent = self.agent.clone().map_err(|reason| failed((4, 3, 5), &reason))?;
        let asked = self.runtime.handle().spawn(question(agent));
        asked.await.unwrap_or_else(|error| Err(failed((4, 3, 0), &error.to_string())))
    }
}

impl Connector for DeliveryAgentConnector {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, Refusal>> {
        Box::pin(async move {
            let agent = self.agent.as_ref().map_err(|reason| {
                let text = format!("the agent cannot be loaded: {reason}");
                Refusal::DeferQueue(Deferral::new(451, (4, 3, 5), &text, "service-unavailable"))
            })?;
            let connection = agent.open(hop).await?;
            Ok(Box::new(AgentLine(connection)) as Box<dyn Connection>)
        })
    }

    fn poll_receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        let ids = ids.to_vec();
        Box::pin(self.ask(|agent| async move { agent.poll_receipts(&ids).await }))
    }

    fn can_poll(&self) -> bool {
        self.agent.as_ref().is_ok_and(Agent::has_receipts)
    }

    fn did_it_arrive<'a>(&'a self, idempotency_key: &'a str) -> BoxFuture<'a, Result<Arrival, Deferral>> {
        let key = idempotency_key.to_owned();
        Box::pin(self.ask(|agent| async move { agent.did_it_arrive(&key).await }))
    }

    fn callback(&self, request: CallbackRequest) -> BoxFuture<'_, Result<CallbackReply, Deferral>> {
        Box::pin(self.ask(|agent| async move { agent.handle_callback(request).await }))
    }

    fn callback_url(&self) -> Option<&str> {
        let agent = self.agent.as_ref().ok()?;
        self.callback_url.as_deref().filter(|_| agent.interfaces().callback)
    }

    fn batch_size(&self) -> usize {
        match &self.agent {
            Ok(agent) if agent.interfaces().batch => self.batch_size,
            _ => 1,
        }
    }

    fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        Some(self.runtime.handle())
    }

    fn load_fault(&self) -> Option<&str> {
        self.agent.as_ref().err().map(String::as_str)
    }

    fn notice(&self) -> Option<&str> {
        self.held_back.as_deref()
    }

    fn is_outdated(&self) -> bool {
        // One that has no agent may find one now.
        let Ok(agent) = &self.agent else { return true };
        // While a file is not there, the agent that was loaded from it goes on.
        let Some(file) = &self.file else { return false };
        if self.held_back.is_some() {
            // What lies there was looked at and held back. Another file, or an operator who agreed meanwhile, changes that.
            return true;
        }
        agent.differs_from(file) || agent.trusts_others_by_now()
    }

    fn agent_stats(&self) -> Option<AgentStats> {
        self.agent.as_ref().ok().map(Agent::stats)
    }

    fn state(&self) -> ConnectorState {
        match &self.agent {
            Ok(_) => ConnectorState::Ready,
            Err(reason) => ConnectorState::Disabled(reason.clone()),
        }
    }
}

/// An open connection of an agent.
struct AgentLine(AgentConnection);

impl Connection for AgentLine {
    fn label(&self) -> &str {
        self.0.label()
    }

    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport> {
        Box::pin(self.0.deliver(request))
    }

    fn deliver_batch<'a>(
        &'a mut self,
        requests: &'a [DeliveryRequest],
    ) -> BoxFuture<'a, Vec<DeliveryReport>> {
        Box::pin(self.0.deliver_batch(requests))
    }

    fn ticks(&self) -> bool {
        self.0.has_tick()
    }

    fn tick(&mut self) -> BoxFuture<'_, Result<Tick, Refusal>> {
        Box::pin(self.0.tick())
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let label = self.0.label().to_owned();
            if let Err(fault) = self.0.close().await {
                tracing::warn!(far_end = label, reason = %fault.response, "the agent did not close in good order");
            }
        })
    }
}
