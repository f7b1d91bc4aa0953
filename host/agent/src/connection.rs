//! AgentConnection: one open connection of an agent, owned by one task.

use std::sync::Arc;
use std::time::Duration;

use postern_model::{AgentIdentity, Content, Deferral, DeliveryReport, DeliveryRequest, Receipt, Refusal};
use wasmtime::component::Resource;

use crate::autopsy;
use crate::bindings::exported;
use crate::fault::{self, Fault, Phase};
use crate::instance::Instance;
use crate::item::ItemResource;
use crate::limits::Limit;
use crate::outcome::{self, Reported};
use crate::recording::{Journal, Recording};
use crate::state::Shared;
use crate::views::Views;
use crate::witness::Violation;

/// The shortest time between two ticks of a connection, whatever the agent wishes.
const MIN_TICK: Duration = Duration::from_millis(100);
/// The longest.
const MAX_TICK: Duration = Duration::from_secs(3600);

/// What an agent did on its idle connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Receipts that arrived by themselves.
    pub receipts: Vec<Receipt>,
    /// When it wants to be called again: between 100 ms and an hour.
    pub next: Duration,
}

/// An open connection. Its task must run on [`crate::Runtime::handle`], and awaits its calls inline.
///
/// Dropping it, or the future of one of its calls, is safe: the guest is gone at once, without `close`.
pub struct AgentConnection {
    shared: Arc<Shared>,
    /// Taken out for the length of a call, so that a fault or a dropped future leaves nothing behind.
    instance: Option<Box<Instance>>,
    label: String,
    /// Whose connection it is.
    identity: Arc<AgentIdentity>,
    /// What was recorded of the last delivery, until it is taken.
    recording: Option<Box<Recording>>,
}

impl AgentConnection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        instance: Instance,
        label: String,
        identity: Arc<AgentIdentity>,
    ) -> Self {
        Self { shared, instance: Some(Box::new(instance)), label, identity, recording: None }
    }

    /// What the agent calls the far end, for tracking.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Linear memory that its instance has now, in bytes; 0 once it is gone.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.instance.as_ref().map_or(0, |instance| instance.store.data().memory.bytes())
    }

    /// Whether it can still be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.instance.is_some()
    }

    /// The recording of the last delivery, where the connection was opened for that
    /// ([`crate::Agent::open_recorded`]).
    pub fn take_recording(&mut self) -> Option<Box<Recording>> {
        self.recording.take()
    }

    /// Whether it delivers several items in one call.
    #[must_use]
    pub fn has_batch(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.interfaces.batch)
    }

    /// Whether it wants to be called while there is nothing to deliver.
    #[must_use]
    pub fn has_tick(&self) -> bool {
        self.instance.as_ref().is_some_and(|instance| instance.interfaces.session)
    }

    /// The media types of a message's parts, in lower case and without parameters; `None` where it cannot be parsed
    /// within the limits, or the connection is gone. Parsing takes part in the host's budget for views.
    pub async fn media_types(&mut self, content: &Content) -> Option<Vec<String>> {
        let log = self.instance.as_ref()?.store.data().log.clone();
        // The deadline is the one that the agent's own look at the parts would have.
        let parsed = Views::parse(content.clone(), &log, &self.shared.parse_budget);
        let views = tokio::time::timeout(log.limits().deadline, parsed).await.ok()?.ok()?;
        Some(views.parts.iter().map(|part| part.about.content_type.clone()).collect())
    }

    /// Delivers one item. Never fails: what went wrong is in the report, beside the outcomes that stand.
    pub async fn deliver(&mut self, request: &DeliveryRequest) -> DeliveryReport {
        let Some(mut instance) = self.instance.take() else { return DeliveryReport::broken(gone()) };
        self.shared.stats.delivery();
        let deadline = instance.begin(Phase::Deliver);
        let item = Resource::<ItemResource>::new_own(instance.store.data_mut().put_item(request));
        let called =
            tokio::time::timeout_at(deadline, instance.guest.deliver(&mut instance.store, item)).await;
        self.shared.stats.call_took(instance.store.data().began().elapsed());
        // What was reported early stands, however the call ended.
        let reported = instance.store.data_mut().take_items();
        let ended = instance.end(Phase::Deliver, called).map(|said| said.map(|report| vec![report]));
        let journal = instance.store.data_mut().take_journal();
        let mut reports = self.reports(instance, Phase::Deliver, reported, ended);
        let requests = std::slice::from_ref(request);
        self.record(journal, requests, &reports);
        reports.pop().unwrap_or_default()
    }

    /// Delivers several items in one call, for far ends with a window. Never fails: there is one report for each item,
    /// in their order. An agent without the `batch` interface gets them one by one.
    pub async fn deliver_batch(&mut self, requests: &[DeliveryRequest]) -> Vec<DeliveryReport> {
        if requests.len() < 2 || !self.has_batch() {
            let mut reports = Vec::new();
            for request in requests {
                reports.push(self.deliver(request).await);
            }
            return reports;
        }
        let mut instance = self.instance.take().expect("its batch interface was found above");
        let deadline = instance.begin(Phase::DeliverBatch);
        let mut items = Vec::new();
        for request in requests {
            self.shared.stats.delivery();
            items.push(Resource::<ItemResource>::new_own(instance.store.data_mut().put_item(request)));
        }
        let called =
            tokio::time::timeout_at(deadline, instance.guest.deliver_batch(&mut instance.store, &items))
                .await;
        self.shared.stats.call_took(instance.store.data().began().elapsed());
        let reported = instance.store.data_mut().take_items();
        let ended = instance.end(Phase::DeliverBatch, called);
        let journal = instance.store.data_mut().take_journal();
        let reports = self.reports(instance, Phase::DeliverBatch, reported, ended);
        self.record(journal, requests, &reports);
        reports
    }

    /// Keeps what was recorded of a delivery, if anything was.
    fn record(&mut self, journal: Option<Journal>, requests: &[DeliveryRequest], reports: &[DeliveryReport]) {
        self.recording = journal.map(|journal| Box::new(journal.of(&self.label, requests, reports)));
        if self.recording.as_ref().is_some_and(|recording| recording.is_cut()) {
            self.shared.stats.limit(Limit::Recording);
        }
    }

    /// One report for each item of a call, from what was reported early and from how the call ended.
    fn reports(
        &mut self,
        mut instance: Box<Instance>,
        phase: Phase,
        reported: Vec<Reported>,
        ended: Result<Result<Vec<exported::agent::Report>, String>, Fault>,
    ) -> Vec<DeliveryReport> {
        let mut reports: Vec<_> = reported.iter().map(|_| DeliveryReport::default()).collect();
        let mut reported = reported;
        match ended {
            Ok(Ok(said)) => {
                // What it wrote to its state goes with what it reported, to be committed together.
                let kept = instance.store.data_mut().kept.take();
                if let Some(first) = reports.first_mut() {
                    first.state = kept;
                }
                let log = &instance.store.data().log;
                if said.len() != reports.len() {
                    let text = format!("{} reports about {} items", said.len(), reports.len());
                    log.violation(Violation::ReportCount, &text);
                }
                for ((said, report), reported) in said.into_iter().zip(&mut reports).zip(&mut reported) {
                    for outcome in said.outcomes {
                        reported.take(outcome, log);
                    }
                    report.receipts = outcome::receipts(said.receipts, log);
                    report.refusal = said.refusal.map(|said| outcome::refusal(said, log));
                }
                // A limit is the likely reason for an outcome that is not there.
                let hit = log.limits_hit();
                for (report, reported) in reports.iter_mut().zip(&reported) {
                    let silent = report.refusal.is_none() && reported.is_missing_some();
                    report.fault = (silent && !hit.is_empty())
                        .then(|| fault::failed(phase, &format!("no outcome for this recipient{hit}")));
                }
                self.instance = Some(instance);
            }
            Ok(Err(text)) => {
                let fault = fault::told(phase, &text, &instance.store.data().log);
                reports.iter_mut().for_each(|report| report.fault = Some(fault.clone()));
                self.instance = Some(instance);
            }
            Err(fault) => {
                let trap = Arc::new(autopsy::told(&fault, &self.identity));
                for report in &mut reports {
                    report.trap = fault.is_the_agents().then(|| trap.clone());
                    report.trapped = fault.is_the_agents();
                    report.fault = Some(fault.deferral());
                    report.broken = true;
                }
            }
        }
        for (report, reported) in reports.iter_mut().zip(reported) {
            report.outcomes = reported.into_outcomes();
        }
        reports
    }

    /// Lets an agent with the `session` interface do what it does on an idle connection: keep it alive, take receipts
    /// that arrive by themselves.
    ///
    /// # Errors
    /// The agent's answer about the queue; or, after a trap or an overrun, a deferral of the queue that says so. The
    /// connection is not to be used for deliveries any more.
    pub async fn tick(&mut self) -> Result<Tick, Refusal> {
        let Some(mut instance) = self.instance.take() else {
            return Err(Refusal::DeferQueue(gone()));
        };
        if !instance.interfaces.session {
            self.instance = Some(instance);
            return Ok(Tick { receipts: Vec::new(), next: MAX_TICK });
        }
        let deadline = instance.begin(Phase::Tick);
        let called = tokio::time::timeout_at(deadline, instance.guest.tick(&mut instance.store)).await;
        match instance.end(Phase::Tick, called) {
            Ok(Ok(said)) => {
                let kept = instance.store.data_mut().commit_kept(Phase::Tick).await;
                let log = &instance.store.data().log;
                let receipts = outcome::receipts(said.receipts, log);
                let next = Duration::from_millis(said.tick_after_ms.into()).clamp(MIN_TICK, MAX_TICK);
                self.instance = Some(instance);
                kept.map_err(Refusal::DeferQueue)?;
                Ok(Tick { receipts, next })
            }
            Ok(Err(refusal)) => {
                let refusal = outcome::refusal(refusal, &instance.store.data().log);
                // It is still there to be closed in good order.
                self.instance = Some(instance);
                Err(refusal)
            }
            Err(fault) => Err(Refusal::DeferQueue(fault.deferral())),
        }
    }

    /// Closes the connection. After a fault there is nothing to close.
    ///
    /// # Errors
    /// The agent's own error, a trap or an overrun. The connection is gone all the same.
    pub async fn close(mut self) -> Result<(), Deferral> {
        self.end().await
    }

    /// Closes the connection, of which nothing is left but its label.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub async fn end(&mut self) -> Result<(), Deferral> {
        let Some(mut instance) = self.instance.take() else { return Ok(()) };
        let deadline = instance.begin(Phase::Close);
        let called =
            tokio::time::timeout_at(deadline, instance.guest.close_connection(&mut instance.store)).await;
        match instance.end(Phase::Close, called) {
            Ok(Ok(())) => instance.store.data_mut().commit_kept(Phase::Close).await,
            Ok(Err(text)) => Err(fault::told(Phase::Close, &text, &instance.store.data().log)),
            Err(fault) => Err(fault.deferral()),
        }
    }
}

fn gone() -> Deferral {
    let text = "delivery agent: the connection is gone after an earlier fault";
    Deferral::new(451, (4, 3, 0), text, "service-unavailable")
}
