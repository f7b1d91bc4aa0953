//! DeliveryAgentConnector: hands items to a WASM delivery agent.

mod crew;
mod records;
mod shadow;
mod spared;
mod version;

use std::sync::Arc;
use std::time::Duration;

use postern_agent::{
    Agent, AgentConnection, AgentSpec, AgentStats, CallbackReply, CallbackRequest, Runtime, Tick,
};
use postern_model::{
    Arrival, Deferral, DeliveryReport, DeliveryRequest, NextHop, NotOpened, Receipt, Refusal,
};

use super::{BoxFuture, Connection, Connector, ConnectorState};
use crate::agents::{Change, Event};
use crate::breaker::AgentBreaker;
use crate::config::CanaryConfig;

use crew::Crew;
use spared::{NotTaken, in_order};
use version::{InUse, Version, passed};

pub use crew::{CrewView, Tools, TrialView};
pub use records::Records;
pub use shadow::Shadow;
pub use version::{Role, VersionView};

/// A connector with its agent, or with the reason why it has none.
pub struct DeliveryAgentConnector {
    name: Arc<str>,
    runtime: Runtime,
    /// The versions of its agent.
    crew: Result<Arc<Crew>, String>,
    /// Where its provider can call back.
    callback_url: Option<String>,
    /// The most items that the agent gets in one call.
    batch_size: usize,
    /// Which deliveries are recorded; `None`: none ever.
    records: Option<Arc<Records>>,
}

impl DeliveryAgentConnector {
    /// Loads the agent. Blocking: it may have to be compiled. An agent that cannot be loaded disables the connector;
    /// its mail waits.
    #[must_use]
    pub fn load(
        name: Arc<str>,
        tools: Tools,
        spec: AgentSpec,
        batch_size: usize,
        canary: Option<CanaryConfig>,
        breaker: Option<Arc<AgentBreaker>>,
    ) -> Self {
        let (file, callback_url) = (spec.component.clone(), spec.doors.callback_url.clone());
        let runtime = tools.runtime.clone();
        let crew = Crew::load(name.clone(), tools, spec, canary, breaker).map(Arc::new);
        match &crew {
            Ok(crew) => {
                let steady = crew.steady();
                let (about, digest) = (steady.agent().description(), steady.agent().digest());
                let version = &about.version;
                tracing::info!(connector = %name, agent = about.name, version, digest, "agent loaded");
                if let Some(why) = crew.notice() {
                    tracing::warn!(connector = %name, "{why}");
                }
            }
            Err(error) => {
                let agent = file.display();
                tracing::error!(connector = %name, %agent, error, "the agent cannot be loaded; its mail waits");
            }
        }
        Self { name, runtime, crew, callback_url, batch_size, records: None }
    }

    /// A connector that cannot work, and says why.
    #[must_use]
    pub fn disabled(name: Arc<str>, runtime: Runtime, reason: String) -> Self {
        tracing::error!(connector = %name, reason, "the connector cannot be used; its mail waits");
        Self { name, runtime, crew: Err(reason), callback_url: None, batch_size: 1, records: None }
    }

    /// The same, of which deliveries are recorded.
    #[must_use]
    pub fn with_records(self, records: Option<Arc<Records>>) -> Self {
        Self { records, ..self }
    }

    /// Takes over what was made from a newer file: new connections get the new version, old ones end what they are at.
    pub fn adopt(&self, newer: &Self) {
        if let (Ok(crew), Ok(newer)) = (&self.crew, &newer.crew)
            && let Err(why) = crew.adopt(newer)
        {
            tracing::error!(connector = %self.name, why, "the agent in the file could not be taken up");
        }
    }

    /// Puts the versions on record that it begins to work with, and tells of what changed.
    pub async fn begin(&self) {
        let Ok(crew) = self.crew.clone() else { return };
        // A task that is lost with the runtime leaves the record as it was: the next start begins with that.
        let _ = tokio::task::spawn_blocking(move || crew.begin()).await;
    }

    /// The largest message that the agent takes, in bytes, as it says.
    #[must_use]
    pub fn max_size(&self) -> Option<u32> {
        self.crew.as_ref().ok()?.steady().agent().description().max_size
    }

    /// Its versions; or why it has none.
    ///
    /// # Errors
    /// Why the connector is disabled.
    pub fn versions(&self) -> Result<CrewView, &str> {
        self.crew.as_ref().map(|crew| crew.view()).map_err(String::as_str)
    }

    /// Promotes or rolls back a version, as an operator wants it.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn order(&self, event: Event) -> Result<Change, String> {
        let crew = self.crew.clone()?;
        let ordered = tokio::task::spawn_blocking(move || crew.order(event)).await;
        ordered.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Asks the agent something beside its connections, on its own runtime, whoever asks.
    async fn ask<T, F>(&self, question: impl FnOnce(Agent) -> F) -> Result<T, Deferral>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Deferral>> + Send + 'static,
    {
        let failed = |status, why: &str| Deferral::new(451, status, why, "service-unavailable");
        let crew = self.crew.as_ref().map_err(|reason| failed((4, 3, 5), reason))?;
        let asked = self.runtime.handle().spawn(question(crew.steady().agent().clone()));
        asked.await.unwrap_or_else(|error| Err(failed((4, 3, 0), &error.to_string())))
    }

    /// Opens a connection of one version.
    async fn open_version(
        &self,
        crew: &Arc<Crew>,
        version: Arc<Version>,
        hop: &NextHop,
    ) -> Result<Box<dyn Connection>, NotOpened> {
        let (in_use, records) = (InUse::of(version), self.records.clone());
        let agent = in_use.version().agent();
        let connection = match &records {
            Some(records) if records.all() => agent.open_recorded(hop).await?,
            _ => agent.open(hop).await?,
        };
        let on_trial = crew.is_candidate(in_use.version());
        let crew = crew.clone();
        Ok(Box::new(AgentLine { connection, in_use, crew, on_trial, has_refused: false, records }))
    }

    /// Whether the version that delivers is so.
    fn steady_is(&self, so: impl FnOnce(&Agent) -> bool) -> bool {
        self.crew.as_ref().is_ok_and(|crew| so(crew.steady().agent()))
    }
}

impl Connector for DeliveryAgentConnector {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
        Box::pin(async move {
            let crew = self.crew.as_ref().map_err(|reason| {
                let text = format!("the agent cannot be loaded: {reason}");
                NotOpened::from(Refusal::DeferQueue(Deferral::new(
                    451,
                    (4, 3, 5),
                    &text,
                    "service-unavailable",
                )))
            })?;
            let (version, instead) = crew.next();
            let opened = self.open_version(crew, version.clone(), hop).await;
            let (Err(_), Some(steady)) = (&opened, instead) else { return opened };
            // What a version on trial cannot open is opened by the one before: its word is not yet that of the queue.
            let opened = self.open_version(crew, steady, hop).await;
            if opened.is_ok() {
                version.count_unopened();
            }
            crew.look_at_trial();
            opened
        })
    }

    fn poll_receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        let ids = ids.to_vec();
        Box::pin(self.ask(|agent| async move { agent.poll_receipts(&ids).await }))
    }

    fn can_poll(&self) -> bool {
        self.steady_is(Agent::has_receipts)
    }

    fn did_it_arrive<'a>(&'a self, idempotency_key: &'a str) -> BoxFuture<'a, Result<Arrival, Deferral>> {
        let key = idempotency_key.to_owned();
        Box::pin(self.ask(|agent| async move { agent.did_it_arrive(&key).await }))
    }

    fn callback(&self, request: CallbackRequest) -> BoxFuture<'_, Result<CallbackReply, Deferral>> {
        Box::pin(self.ask(|agent| async move { agent.handle_callback(request).await }))
    }

    fn callback_url(&self) -> Option<&str> {
        self.callback_url.as_deref().filter(|_| self.steady_is(|agent| agent.interfaces().callback))
    }

    fn batch_size(&self) -> usize {
        if self.steady_is(|agent| agent.interfaces().batch) { self.batch_size } else { 1 }
    }

    fn runtime(&self) -> Option<&tokio::runtime::Handle> {
        Some(self.runtime.handle())
    }

    fn as_agent(&self) -> Option<&DeliveryAgentConnector> {
        Some(self)
    }

    fn load_fault(&self) -> Option<&str> {
        self.crew.as_ref().err().map(String::as_str)
    }

    fn notice(&self) -> Option<String> {
        self.crew.as_ref().ok()?.notice()
    }

    fn is_outdated(&self) -> bool {
        // One that has no agent may find one now.
        self.crew.as_ref().map_or(true, |crew| crew.is_outdated())
    }

    fn exchanged(&self) -> BoxFuture<'_, ()> {
        match &self.crew {
            Ok(crew) => Box::pin(crew.changed.notified()),
            Err(_) => Box::pin(std::future::pending()),
        }
    }

    fn agent_digest(&self) -> Option<String> {
        self.crew.as_ref().ok().map(|crew| crew.steady().agent().digest().to_owned())
    }

    fn breaker(&self) -> Option<&Arc<AgentBreaker>> {
        self.crew.as_ref().ok()?.breaker()
    }

    fn agent_stats(&self) -> Option<AgentStats> {
        // Of one that could not be loaded there is to know which limit it hit then.
        Some(match &self.crew {
            Ok(crew) => crew.stats(),
            Err(_) => AgentStats { limits: self.runtime.limits_at_load(&self.name), ..AgentStats::default() },
        })
    }

    fn state(&self) -> ConnectorState {
        match &self.crew {
            Ok(_) => ConnectorState::Ready,
            Err(reason) => ConnectorState::Disabled(reason.clone()),
        }
    }
}

/// An open connection of a version.
struct AgentLine {
    connection: AgentConnection,
    in_use: InUse,
    crew: Arc<Crew>,
    /// Its version was on trial when it was opened, and has not taken over since.
    on_trial: bool,
    /// It refused its queue on trial: it is to be closed.
    has_refused: bool,
    /// Which deliveries are recorded; `None`: none ever.
    records: Option<Arc<Records>>,
}

impl AgentLine {
    /// Whether its version speaks for itself alone. One that is taken off its trial in the middle of a call still does.
    fn is_on_trial(&mut self) -> bool {
        self.on_trial = self.on_trial && !self.crew.is_steady(self.in_use.version());
        self.on_trial
    }

    /// The report about a message that its version does not take, by its description. What a version on trial does not
    /// take may be one that the version that delivers does.
    async fn not_taken(&mut self, request: &DeliveryRequest) -> Option<DeliveryReport> {
        let about = self.in_use.version().agent().description().clone();
        let not_taken = match NotTaken::by_size(about.max_size, request.content.size()) {
            None if !about.accepts.is_empty() => {
                // What cannot be parsed is for the agent to judge.
                let parts = self.connection.media_types(&request.content).await?;
                NotTaken::by_media(&about.accepts, &parts)
            }
            by_size => by_size,
        }?;
        if !self.is_on_trial() {
            return Some(not_taken.report(request));
        }
        let mut report = not_taken.report_on_trial();
        self.count(std::slice::from_ref(request), std::slice::from_mut(&mut report));
        Some(report)
    }

    /// Why this delivery has to be recorded from the very beginning; `None`: it has not.
    fn demand(&self, request: &DeliveryRequest) -> Option<&'static str> {
        self.records.as_ref()?.demand(request)
    }

    /// Delivers an item, and records it where that is demanded.
    async fn deliver_one(
        &mut self,
        request: &DeliveryRequest,
        demand: Option<&'static str>,
    ) -> DeliveryReport {
        let requests = std::slice::from_ref(request);
        let renewed = if demand.is_some() { self.renew(&request.item.next_hop).await } else { Ok(()) };
        let mut report = match renewed {
            Ok(()) => self.connection.deliver(request).await,
            Err(report) => *report,
        };
        self.keep(demand, requests, std::slice::from_mut(&mut report)).await;
        self.count(requests, std::slice::from_mut(&mut report));
        report
    }

    /// Opens the connection anew, so that nothing that was before it is missing in a recording.
    async fn renew(&mut self, hop: &NextHop) -> Result<(), Box<DeliveryReport>> {
        // First the old one is closed: a far end may allow one alone.
        if let Err(fault) = self.connection.end().await {
            let label = self.connection.label();
            tracing::warn!(far_end = label, reason = %fault.response, "the agent did not close in good order");
        }
        let opened = self.in_use.version().agent().open_recorded(hop).await;
        self.connection = opened.map_err(|NotOpened { refusal, trapped }| {
            let fault = match &refusal {
                Refusal::DeferQueue(deferral) => Some(deferral.clone()),
                Refusal::FailQueue { .. } => None,
            };
            let refused = DeliveryReport { refusal: Some(refusal), fault, ..DeliveryReport::default() };
            Box::new(DeliveryReport { broken: true, trapped, ..refused })
        })?;
        Ok(())
    }

    /// Keeps what was recorded of a call, where somebody wants it.
    async fn keep(
        &mut self,
        demand: Option<&'static str>,
        requests: &[DeliveryRequest],
        reports: &mut [DeliveryReport],
    ) {
        let Some((records, recording)) = self.records.clone().zip(self.connection.take_recording()) else {
            return;
        };
        let all_passed = requests.iter().zip(&*reports).all(|(request, report)| passed(request, report));
        let why = demand.or_else(|| records.keeps(all_passed));
        let recording = Arc::new(recording.because(why.unwrap_or_default()));
        if !self.on_trial {
            records.show(&requests[0], recording.clone());
        }
        if why.is_none() {
            return;
        }
        let name = records.keep(&requests[0], recording).await;
        reports.iter_mut().for_each(|report| report.recording.clone_from(&name));
    }

    /// Counts what came of deliveries; for a version on trial they may decide it. Its refusals are about its own
    /// deliveries: what it thinks of the queue, the version that delivers may not think.
    fn count(&mut self, requests: &[DeliveryRequest], reports: &mut [DeliveryReport]) {
        let version = self.in_use.version();
        requests.iter().zip(&*reports).for_each(|(request, report)| version.count(request, report));
        if !self.is_on_trial() {
            return;
        }
        for report in reports {
            report.on_trial = true;
            let Some(refusal) = report.refusal.take() else { continue };
            self.has_refused = true;
            report.fault.get_or_insert(match refusal {
                Refusal::DeferQueue(deferral) => deferral,
                Refusal::FailQueue { response, .. } => {
                    let text = format!("a version on trial asked to fail the queue: {response}");
                    Deferral::new(451, (4, 3, 0), &text, "")
                }
            });
        }
        self.crew.look_at_trial();
    }
}

impl Connection for AgentLine {
    fn label(&self) -> &str {
        self.connection.label()
    }

    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport> {
        Box::pin(async move {
            if let Some(report) = self.not_taken(request).await {
                return report;
            }
            self.deliver_one(request, self.demand(request)).await
        })
    }

    fn deliver_batch<'a>(
        &'a mut self,
        requests: &'a [DeliveryRequest],
    ) -> BoxFuture<'a, Vec<DeliveryReport>> {
        Box::pin(async move {
            let mut known = Vec::new();
            for request in requests {
                known.push(self.not_taken(request).await);
            }
            let (mut fits, mut demanded) = (Vec::new(), Vec::new());
            for (at, request) in requests.iter().enumerate().filter(|(at, _)| known[*at].is_none()) {
                match self.demand(request) {
                    // A recording is of one delivery.
                    Some(why) => demanded.push((at, why)),
                    None => fits.push(request.clone()),
                }
            }
            let mut reports = Vec::new();
            if !fits.is_empty() {
                reports = self.connection.deliver_batch(&fits).await;
                self.keep(None, &fits, &mut reports).await;
                self.count(&fits, &mut reports);
            }
            for (at, why) in demanded {
                known[at] = Some(self.deliver_one(&requests[at], Some(why)).await);
            }
            in_order(known, reports)
        })
    }

    fn ticks(&self) -> bool {
        self.connection.has_tick()
    }

    fn tick(&mut self) -> BoxFuture<'_, Result<Tick, Refusal>> {
        Box::pin(async move {
            let ticked = self.connection.tick().await;
            if ticked.is_ok() || !self.is_on_trial() {
                return ticked;
            }
            self.has_refused = true;
            self.crew.look_at_trial();
            Ok(Tick { receipts: Vec::new(), next: Duration::MAX })
        })
    }

    fn is_retired(&self) -> bool {
        self.has_refused || self.in_use.version().is_retired()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let label = self.connection.label().to_owned();
            let Self { connection, in_use: _counted, crew, .. } = *self;
            if let Err(fault) = connection.close().await {
                tracing::warn!(far_end = label, reason = %fault.response, "the agent did not close in good order");
                crew.look_at_trial();
            }
        })
    }
}
