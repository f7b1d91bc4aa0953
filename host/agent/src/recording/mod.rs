//! Recordings: everything that passed between an agent and its host in one delivery, to be played again without the world.
//!
//! What is recorded stands above the policy: what the agent asked of its host (header values with `{secret:NAME}` unfilled),
//! and what it got, refusals and limits included. So a player can answer in the host's place, and no secret that only the
//! host knows is in it; those that the agent was told, or that a far end sent back, are masked.

mod base64;
mod compare;
mod format;
mod masks;
mod opened;
mod player;
mod replay;
mod tape;
mod taped;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use postern_model::{AgentIdentity, DeliveryReport, DeliveryRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Clocks;
use crate::limits::{Limit, Limits};
use crate::state::Shared;

pub use format::RecordingError;
pub use player::Divergence;
pub use replay::{Replay, ReplayError, replay};

pub(crate) use masks::RecordingMasks;
pub(crate) use player::CutOff;
pub(crate) use tape::{Asked, Tape, Way};
pub(crate) use taped::{Taped, question};

use tape::Entry;

/// The version of the format.
const VERSION: u32 = 1;

/// What is true of a recording as a whole: its first line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The version of the format: 1.
    v: u32,
    /// When it was made.
    recorded_at: Timestamp,
    /// Why it was made, in the host's words.
    #[serde(default)]
    why: String,
    connector: String,
    destination: String,
    protocol: String,
    agent: AgentIdentity,
    contract: String,
    settings: Value,
    /// Names of secrets that the agent may be told.
    secrets: Vec<String>,
    #[serde(default)]
    callback_url: Option<String>,
    /// `exact`, `coarse` or `none`.
    clocks: String,
    random: bool,
    limits: BTreeMap<String, u64>,
    /// What the far end was called.
    #[serde(default)]
    label: String,
    /// Whether it was a call of `deliver-batch`.
    #[serde(default)]
    batch: bool,
    /// Calls of the same instance before this one, which are not in the recording.
    #[serde(default)]
    earlier_calls: u32,
    /// Why it cannot be played again; empty when it can.
    #[serde(default)]
    not_replayable: Vec<String>,
}

impl Head {
    /// The head of the recordings of one connection.
    pub(crate) fn new(
        shared: &Shared,
        agent: &AgentIdentity,
        (protocol, destination): (&str, &str),
        contract: &str,
        masks: &RecordingMasks,
    ) -> Self {
        let settings = serde_json::from_str(&shared.settings).unwrap_or(Value::Null);
        let clocks = match shared.clocks {
            Clocks::Exact => "exact",
            Clocks::Coarse => "coarse",
            Clocks::None => "none",
        };
        let limits = Limit::ALL.iter();
        let limits = limits.filter_map(|limit| Some((limit.key().to_owned(), shared.limits.value(*limit)?)));
        Self {
            v: VERSION,
            recorded_at: Timestamp::now(),
            why: String::new(),
            connector: shared.connector.to_string(),
            destination: destination.to_owned(),
            protocol: protocol.to_owned(),
            agent: agent.clone(),
            contract: contract.to_owned(),
            settings: masks.value(settings),
            secrets: shared.secrets.keys().cloned().collect(),
            callback_url: shared.callback_url.as_ref().map(|url| masks.text(url)),
            clocks: clocks.to_owned(),
            random: shared.random,
            limits: limits.collect(),
            label: String::new(),
            batch: false,
            earlier_calls: 0,
            not_replayable: Vec::new(),
        }
    }

    fn clocks(&self) -> Clocks {
        match &*self.clocks {
            "coarse" => Clocks::Coarse,
            "none" => Clocks::None,
            _ => Clocks::Exact,
        }
    }

    /// The limits that held. Those that this program does not know are left out.
    fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for limit in Limit::ALL {
            if let Some(value) = self.limits.get(limit.key()) {
                limits.set(*limit, *value);
            }
        }
        limits
    }
}

/// What was recorded of one call, before its end is known.
pub(crate) struct Journal {
    head: Head,
    entries: Vec<Entry>,
    masks: Arc<RecordingMasks>,
    /// Bytes of the limit that are left, for the contents.
    room: usize,
}

/// A delivery as it was recorded, or read from a file.
pub struct Recording {
    head: Head,
    items: Vec<DeliveryRequest>,
    entries: Vec<Entry>,
    /// What each item's delivery came to.
    reports: Vec<Value>,
    masks: Arc<RecordingMasks>,
    /// There is no room for the contents.
    without_contents: bool,
}

impl Journal {
    /// Its end: these items came to these reports.
    pub(crate) fn of(
        self,
        label: &str,
        requests: &[DeliveryRequest],
        reports: &[DeliveryReport],
    ) -> Recording {
        let Self { mut head, entries, masks, room } = self;
        head.label = masks.text(label);
        head.batch = requests.len() > 1;
        let size: u64 = requests.iter().map(|request| request.content.size()).sum();
        let without_contents = size > room as u64;
        if without_contents {
            let max = Limit::Recording.with(head.limits.get("recording").copied().unwrap_or_default());
            head.not_replayable.push(format!("there is no room for the message's {size} bytes: limit {max}"));
        }
        let reports = reports.iter().map(|report| masks.value(replay::told(report))).collect();
        Recording { head, items: requests.to_vec(), entries, reports, masks, without_contents }
    }
}

impl Recording {
    /// Says why it was made: `requested`, `trapped before` ...
    #[must_use]
    pub fn because(mut self, why: &str) -> Self {
        why.clone_into(&mut self.head.why);
        self
    }

    /// Why it was made; empty when nobody said.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.head.why
    }

    /// When it was made.
    #[must_use]
    pub fn recorded_at(&self) -> Timestamp {
        self.head.recorded_at
    }

    /// The connector.
    #[must_use]
    pub fn connector(&self) -> &str {
        &self.head.connector
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> &AgentIdentity {
        &self.head.agent
    }

    /// Calls of the agent's instance before the recorded one. What the agent remembers of them may matter, and is not
    /// recorded.
    #[must_use]
    pub fn earlier_calls(&self) -> u32 {
        self.head.earlier_calls
    }

    /// Why it cannot be played again; empty when it can.
    #[must_use]
    pub fn not_replayable(&self) -> &[String] {
        &self.head.not_replayable
    }

    /// Whether it was cut at `limits.recording`.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.head.not_replayable.iter().any(|why| why.contains("limit recording"))
    }

    /// Calls of the host in it.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.entries.len()
    }
}
