//! AgentConnection: one open connection of an agent, owned by one task.

use std::sync::Arc;

use postern_model::{Deferral, DeliveryReport, DeliveryRequest};
use wasmtime::component::Resource;

use crate::fault::{self, Phase};
use crate::instance::Instance;
use crate::item::ItemResource;
use crate::outcome;
use crate::state::Shared;

/// An open connection. Its task must run on [`crate::Runtime::handle`], and awaits its calls inline.
///
/// Dropping it, or the future of one of its calls, is safe: the guest is gone at once, without `close`.
pub struct AgentConnection {
    shared: Arc<Shared>,
    /// Taken out for the length of a call, so that a fault or a dropped future leaves nothing behind.
    instance: Option<Box<Instance>>,
    label: String,
}

impl AgentConnection {
    pub(crate) fn new(shared: Arc<Shared>, instance: Instance, label: String) -> Self {
        Self { shared, instance: Some(Box::new(instance)), label }
    }

    /// What the agent calls the far end, for tracking.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether it can still be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.instance.is_some()
    }

    /// Delivers one item. Never fails: what went wrong is in the report, beside the outcomes that stand.
    pub async fn deliver(&mut self, request: &DeliveryRequest) -> DeliveryReport {
        let Some(mut instance) = self.instance.take() else {
            let text = "delivery agent, deliver: the connection is gone after an earlier fault";
            return DeliveryReport::broken(Deferral::new(451, (4, 3, 0), text, "service-unavailable"));
        };
        self.shared.stats.delivery();
        let limits = &self.shared.limits;
        let deadline = instance.begin(limits.deadline);
        let item = Resource::<ItemResource>::new_own(instance.store.data_mut().put_item(request));
        let called =
            tokio::time::timeout_at(deadline, instance.agent.call_deliver(&mut instance.store, item)).await;
        // What was reported early stands, however the call ended.
        let reported = instance.store.data_mut().take_item();
        let ended = instance.end(Phase::Deliver, limits.deadline, called);
        let Some(mut reported) = reported else { return DeliveryReport::default() };
        let mut report = DeliveryReport::default();
        match ended {
            Ok(Ok(said)) => {
                let log = &instance.store.data().log;
                for outcome in said.outcomes {
                    reported.take(outcome, limits, log);
                }
                report.receipts = outcome::receipts(said.receipts, limits, log);
                report.refusal = said.refusal.map(outcome::refusal);
                self.instance = Some(instance);
            }
            Ok(Err(text)) => {
                report.fault = Some(fault::told(Phase::Deliver, &text));
                self.instance = Some(instance);
            }
            Err(fault) => {
                report.trapped = fault.is_the_agents();
                report.fault = Some(fault.deferral());
                report.broken = true;
            }
        }
        report.outcomes = reported.into_outcomes();
        report
    }

    /// Closes the connection. After a fault there is nothing to close.
    ///
    /// # Errors
    /// The agent's own error, a trap or an overrun. The connection is gone all the same.
    pub async fn close(mut self) -> Result<(), Deferral> {
        let Some(mut instance) = self.instance.take() else { return Ok(()) };
        let limit = self.shared.limits.deadline;
        let deadline = instance.begin(limit);
        let called =
            tokio::time::timeout_at(deadline, instance.agent.call_close_connection(&mut instance.store))
                .await;
        match instance.end(Phase::Close, limit, called) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(text)) => Err(fault::told(Phase::Close, &text)),
            Err(fault) => Err(fault.deferral()),
        }
    }
}
