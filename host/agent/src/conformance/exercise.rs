//! The exercise: takes an agent through its life, under watch.

mod optional;

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_model::{DeliveryRequest, NextHop, NotOpened};
use serde_json::Value;

use super::observed::{Memory, Observed, Part, Said, Step};
use super::shapes::Shape;
use super::{Progress, settings, shapes};
use crate::witness::{Seen, Witness};
use crate::{Agent, AgentConnection, AgentSpec, Grants, LoadError, Runtime};

/// Faults after which no more shapes are tried: each may take as long as the limits allow.
const MAX_FAULTS: usize = 3;
/// Steps of the many calls that are kept because they did not go well.
const MAX_KEPT: usize = 10;
/// How often the many calls tell how far they are.
const PROGRESS_STEPS: u32 = 100;

/// An agent with who looks on.
struct Watched {
    agent: Agent,
    witness: Arc<Witness>,
    hop: NextHop,
}

/// What becomes of a connection after a delivery.
enum After {
    /// It can be used for the next one.
    Open(AgentConnection),
    /// The agent refused the rest of the queue: the host would close it.
    Refused(AgentConnection),
    /// It is gone after a fault.
    Gone,
}

/// Everything that an agent does in a run.
///
/// # Errors
/// As [`super::run`].
pub(super) fn observe(
    runtime: &Runtime,
    spec: &AgentSpec,
    calls: u32,
    progress: &mut dyn FnMut(Progress),
) -> Result<Observed, LoadError> {
    let mut observed = Observed {
        settings: setting_names(&spec.settings),
        is_granted: spec.grants != Grants::default(),
        ..Observed::default()
    };
    progress(Progress::Doing("loading it"));
    let Some(watched) = load_twice(runtime, spec, &mut observed)? else { return Ok(observed) };
    let steps = &mut observed.steps;
    progress(Progress::Doing("messages of every shape"));
    let hop = &watched.hop;
    for (part, shapes) in [(Part::Envelopes, shapes::envelopes(hop)), (Part::Contents, shapes::contents(hop))]
    {
        runtime.handle().block_on(watched.deliver_shapes(part, shapes, steps));
    }
    runtime.handle().block_on(watched.stay_idle(steps));
    progress(Progress::Doing("settings that do not fit"));
    for case in settings::cases(&spec.settings) {
        let spoilt = AgentSpec { settings: case.settings, ..spec.clone() };
        try_differently(runtime, spoilt, Witness::default(), Part::Settings, &case.what, steps);
    }
    progress(Progress::Doing("everything denied"));
    let denied = AgentSpec { grants: Grants::default(), ..spec.clone() };
    let what = "everything denied";
    observed.was_denied = try_differently(runtime, denied, Witness::default(), Part::Denied, what, steps);
    progress(Progress::Doing("optional interfaces"));
    observed.interfaces = watched.agent.interfaces();
    runtime.handle().block_on(watched.use_optional_interfaces(steps));
    observed.memory = runtime.handle().block_on(watched.repeat(calls, steps, progress));
    observed.asked_for_secrets = watched.witness.asked_for_secrets();
    Ok(observed)
}

fn setting_names(settings: &Value) -> Vec<String> {
    settings.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Loads it as it is to be used, twice; the second one is there to compare.
fn load_twice(
    runtime: &Runtime,
    spec: &AgentSpec,
    observed: &mut Observed,
) -> Result<Option<Watched>, LoadError> {
    let granted = spec.grants.secrets.iter();
    let granted =
        granted.filter_map(|name| Some((name.clone(), spec.secrets.get(name)?.reveal().to_owned())));
    let witness = Arc::new(Witness::with_secrets(granted.collect::<BTreeMap<_, _>>()));
    let mut loaded = None;
    for _ in 0..2 {
        let agent = Agent::load(runtime, spec.clone(), Some(witness.clone()));
        if observed.descriptions.is_empty() {
            observed.loading = witness.take();
        }
        match agent {
            Ok(agent) => {
                observed.descriptions.push(agent.description().clone());
                loaded = Some(agent);
            }
            Err(error) if is_its_own(&error) => {
                observed.load_error = Some(error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    witness.take();
    Ok(loaded.map(|agent| Watched { agent, witness, hop: shapes::hop(&spec.connector) }))
}

/// Whether an agent is to blame when it cannot be loaded.
fn is_its_own(error: &LoadError) -> bool {
    matches!(
        error,
        LoadError::TooLarge { .. }
            | LoadError::Compile { .. }
            | LoadError::Imports { .. }
            | LoadError::NotAnAgent { .. }
            | LoadError::Contract { .. }
            | LoadError::Describe(_)
    )
}

/// Tries it with another spec: a few deliveries. Says whether it wanted to get out.
fn try_differently(
    runtime: &Runtime,
    spec: AgentSpec,
    witness: Witness,
    part: Part,
    what: &str,
    steps: &mut Vec<Step>,
) -> bool {
    let (witness, hop) = (Arc::new(witness), shapes::hop(&spec.connector));
    match Agent::load(runtime, spec, Some(witness.clone())) {
        Ok(agent) => {
            let watched = Watched { agent, witness, hop };
            runtime.handle().block_on(watched.deliver_some(part, what, steps));
            watched.asked_out() > 0
        }
        Err(error) => {
            let said = Said::NotLoaded(error.to_string());
            steps.push(Step { part, what: what.to_owned(), said, asked_out: false, seen: witness.take() });
            false
        }
    }
}

impl Watched {
    /// Every shape, also beyond the size that it says it can deliver, over one connection while that lasts.
    async fn deliver_shapes(&self, part: Part, shapes: Vec<Shape>, steps: &mut Vec<Step>) {
        let (mut open, mut faults) = (None, 0);
        for shape in shapes {
            let connection = match open.take() {
                Some(connection) => connection,
                None => match self.open(part, shape.what, steps).await {
                    Some(connection) => connection,
                    None => return,
                },
            };
            match self.deliver(part, shape.what, connection, &shape.request, steps).await {
                After::Open(connection) => open = Some(connection),
                After::Refused(connection) => self.close(part, shape.what, connection, steps).await,
                After::Gone => faults += 1,
            }
            if faults == MAX_FAULTS {
                return;
            }
        }
        if let Some(connection) = open {
            self.close(part, "a connection that delivered", connection, steps).await;
        }
    }

    /// A connection over which nothing goes.
    async fn stay_idle(&self, steps: &mut Vec<Step>) {
        let what = "a connection that delivered nothing";
        if let Some(connection) = self.open(Part::Idle, what, steps).await {
            self.close(Part::Idle, what, connection, steps).await;
        }
    }

    /// Two messages over one connection.
    async fn deliver_some(&self, part: Part, what: &str, steps: &mut Vec<Step>) {
        for request in [shapes::plain(&self.hop), shapes::for_many(&self.hop)] {
            let Some(connection) = self.open(part, what, steps).await else { return };
            match self.deliver(part, what, connection, &request, steps).await {
                After::Open(connection) | After::Refused(connection) => {
                    self.close(part, what, connection, steps).await;
                }
                After::Gone => return,
            }
        }
    }

    /// Many small messages over one connection, and its memory. Only memory is looked at, so it goes on after a
    /// refusal, where the host would open another connection.
    async fn repeat(
        &self,
        calls: u32,
        steps: &mut Vec<Step>,
        progress: &mut dyn FnMut(Progress),
    ) -> Option<Memory> {
        let mut connection = self.open(Part::Calls, "a connection for many messages", steps).await?;
        let mut memory = Memory { calls: 0, at_half: 0, at_end: 0, ended: None };
        let (mut kept, mut refused) = (0, false);
        for n in 1..=calls {
            if n % (calls / PROGRESS_STEPS).max(1) == 0 {
                progress(Progress::Calls { done: n, of: calls });
            }
            let request = shapes::plain(&self.hop);
            let report = connection.deliver(&request).await;
            let seen = self.witness.take();
            let ended = (!connection.is_usable()).then(|| {
                let fault = report.fault.as_ref().map(|fault| fault.response.to_string());
                fault.unwrap_or_default()
            });
            let incomplete = report.outcomes.is_empty() && report.fault.is_none();
            let bad = incomplete || ended.is_some() || !seen.violations.is_empty() || !seen.leaks.is_empty();
            // What an agent does after it refused the queue is not held against it.
            if bad && !refused && kept < MAX_KEPT {
                kept += 1;
                let said = Said::Delivered { expected: vec![0], report: Box::new(report.clone()) };
                let what = format!("message {n} of many over one connection");
                steps.push(Step { part: Part::Calls, what, said, asked_out: false, seen });
            }
            memory.calls = n;
            memory.at_end = connection.memory();
            if n <= (calls / 2).max(1) {
                memory.at_half = memory.at_end;
            }
            if ended.is_some() {
                memory.ended = ended;
                return Some(memory);
            }
            refused |= report.refusal.is_some();
        }
        self.close(Part::Calls, "a connection that delivered many messages", connection, steps).await;
        Some(memory)
    }

    async fn open(&self, part: Part, what: &str, steps: &mut Vec<Step>) -> Option<AgentConnection> {
        match self.agent.open(&self.hop).await {
            Ok(connection) => {
                self.note(part, what, Said::Opened, connection.label(), steps);
                Some(connection)
            }
            Err(NotOpened { refusal, .. }) => {
                let text = format!("{refusal:?}");
                self.note(part, what, Said::Refused(refusal), &text, steps);
                None
            }
        }
    }

    async fn deliver(
        &self,
        part: Part,
        what: &str,
        mut connection: AgentConnection,
        request: &DeliveryRequest,
        steps: &mut Vec<Step>,
    ) -> After {
        let asked = self.asked_out();
        let report = connection.deliver(request).await;
        let refused = report.refusal.is_some();
        let expected = request.recipients().map(|recipient| recipient.index).collect();
        let text = format!("{report:?}");
        let said = Said::Delivered { expected, report: Box::new(report) };
        self.note(part, what, said, &text, steps);
        if let Some(step) = steps.last_mut() {
            step.asked_out = self.asked_out() > asked;
        }
        match (connection.is_usable(), refused) {
            (false, _) => After::Gone,
            (true, true) => After::Refused(connection),
            (true, false) => After::Open(connection),
        }
    }

    async fn close(&self, part: Part, what: &str, connection: AgentConnection, steps: &mut Vec<Step>) {
        let closed = connection.close().await;
        self.note(part, what, Said::Closed, &format!("{closed:?}"), steps);
    }

    /// How often it wanted to get out.
    fn asked_out(&self) -> u64 {
        let stats = self.agent.stats();
        stats.http_requests + stats.tcp_connections + stats.tcp_refused + stats.sockets_refused
    }

    /// Keeps what a call came to, with what was seen of it; `text` holds every text that the agent gave.
    fn note(&self, part: Part, what: &str, said: Said, text: &str, steps: &mut Vec<Step>) {
        let mut seen: Seen = self.witness.take();
        if let Some(name) = self.witness.secret_in(text) {
            seen.leaks.push(format!("the secret {name:?} stands in what it said"));
        }
        steps.push(Step { part, what: what.to_owned(), said, asked_out: false, seen });
    }
}
