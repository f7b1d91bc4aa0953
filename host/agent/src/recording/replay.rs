//! Playing a recording again: the same items to a fresh instance, whose calls of the host are answered from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_model::{AgentIdentity, DeliveryReport, NextHop, Refusal};
use serde_json::{Value, json};

use super::masks::{MIN_MASKED, placeholder};
use super::player::{Divergence, Player};
use super::{Recording, RecordingMasks, compare};
use crate::{Agent, AgentSpec, Grants, LoadError, Runtime, Secret};

/// What playing a recording came to.
#[derive(Debug)]
pub struct Replay {
    /// The agent that was played to.
    pub agent: AgentIdentity,
    /// Whether it is the one that was recorded.
    pub same_agent: bool,
    /// Where it asked its host something else.
    pub divergences: Vec<Divergence>,
    /// Where what it made of the delivery is something else: outcomes, refusals, traps.
    pub differences: Vec<String>,
    /// What each item came to when it was recorded.
    pub recorded: Vec<Value>,
    /// What each item comes to now.
    pub now: Vec<Value>,
}

impl Replay {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.divergences.is_empty() && self.differences.is_empty()
    }
}

/// Why a recording was not played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be, for these reasons.
    #[error("it is not replayable: {}", .0.join("; "))]
    NotReplayable(Vec<String>),
    /// The agent cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Plays a recording to the agent in `component`. Nothing leaves this process: whatever the agent asks is answered from
/// the recording, or not at all. Blocking.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(runtime: &Runtime, recording: &Recording, component: &Path) -> Result<Replay, ReplayError> {
    if !recording.not_replayable().is_empty() {
        return Err(ReplayError::NotReplayable(recording.not_replayable().to_vec()));
    }
    let spec = spec(recording, component.to_owned());
    let masks = Arc::new(RecordingMasks::of(&spec.secrets));
    let agent = runtime.load(spec)?;
    let player = Player::new(recording.entries.clone(), masks.clone());
    let (label, reports) = runtime.handle().block_on(play(&agent, recording, player.clone()));
    let found = player.found();
    let same_agent = agent.digest() == recording.head.agent.sha256;
    let now: Vec<Value> = reports.iter().map(|report| masks.value(told(report))).collect();
    let mut differences = Vec::new();
    let label = masks.text(&label);
    if label != recording.head.label && !label.is_empty() {
        differences.push(format!("the label: recorded {:?}, now {label:?}", recording.head.label));
    }
    for (nth, (recorded, now)) in recording.reports.iter().zip(&now).enumerate() {
        let (recorded, now) = (comparable(recorded, same_agent), comparable(now, same_agent));
        let found = compare::differences(&recorded, &now).into_iter();
        let several = recording.reports.len() > 1;
        differences.extend(found.map(|text| if several { format!("item {nth}: {text}") } else { text }));
    }
    differences.extend(found.streams);
    Ok(Replay {
        agent: agent.identity().clone(),
        same_agent,
        divergences: found.divergences,
        differences,
        recorded: recording.reports.clone(),
        now,
    })
}

/// The agent as it was, with names in the place of its secrets.
fn spec(recording: &Recording, component: PathBuf) -> AgentSpec {
    let head = &recording.head;
    let mut spec = AgentSpec::new(component, &head.connector);
    let secrets = head.secrets.iter().map(|name| (name.clone(), Secret::new(placeholder(name))));
    spec.secrets = secrets.collect::<BTreeMap<_, _>>();
    debug_assert!(spec.secrets.values().all(|secret| secret.reveal().len() > MIN_MASKED));
    spec.settings = head.settings.clone();
    spec.grants = Grants {
        secrets: head.secrets.clone(),
        clocks: head.clocks(),
        random: head.random,
        ..Grants::default()
    };
    spec.limits = head.limits();
    // It gets as much time for its own work as it had: what took long was the far end, which answers at once now.
    spec.doors.callback_url.clone_from(&head.callback_url);
    spec
}

/// The label and the reports.
async fn play(agent: &Agent, recording: &Recording, player: Player) -> (String, Vec<DeliveryReport>) {
    let hop = NextHop::new(&recording.head.connector, &recording.head.destination);
    let opened = agent.open_playing(&hop, &recording.head.protocol, player).await;
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(not_opened) => {
            let refused = DeliveryReport {
                refusal: Some(not_opened.refusal),
                trapped: not_opened.trapped,
                ..DeliveryReport::default()
            };
            return (String::new(), recording.items.iter().map(|_| refused.clone()).collect());
        }
    };
    let reports = match (&recording.items[..], recording.head.batch) {
        ([item], false) => vec![connection.deliver(item).await],
        (items, _) => connection.deliver_batch(items).await,
    };
    // It is not closed: what a close does is not in the recording.
    (connection.label().to_owned(), reports)
}

/// A report as a value.
pub(super) fn told(report: &DeliveryReport) -> Value {
    let refusal = report.refusal.as_ref().map(|refusal| match refusal {
        Refusal::DeferQueue(deferral) => json!({ "defer-queue": deferral }),
        Refusal::FailQueue { response, class } => {
            json!({ "fail-queue": { "response": response, "class": class } })
        }
    });
    json!({
        "outcomes": report.outcomes,
        "receipts": report.receipts,
        "refusal": refusal,
        "fault": report.fault,
        "trapped": report.trapped,
        "trap": report.trap.as_deref(),
    })
}

/// What of a report must be the same each time. Of another agent even a backtrace may differ.
fn comparable(report: &Value, same_agent: bool) -> Value {
    let mut report = report.clone();
    if let Some(trap) = report.get_mut("trap").and_then(Value::as_object_mut) {
        trap.remove("used");
        trap.remove("agent");
        if !same_agent {
            trap.remove("backtrace");
        }
    }
    report
}
