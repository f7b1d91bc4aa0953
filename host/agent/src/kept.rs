//! The `state` interface: small values that an agent keeps beyond its instances.
//!
//! Writes are buffered while a call runs, and the call sees them. When it has ended well they are committed: with what
//! the call reported where it delivered, else alone. A trap discards them. What is read is what is committed, so across
//! connections the last commit wins; `swap` is checked again when it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_model::{Deferral, StateChange};
use wasmtime::Result;

use crate::BoxFuture;
use crate::bindings::imported::state as wit;
use crate::fault::{self, Phase};
use crate::limits::Limit;
use crate::log::Capability;
use crate::recording::{Asked, Taped, question};
use crate::state::State;

/// The longest key, in bytes.
const MAX_KEY: usize = 1024;
/// The most keys that one call of `keys` lists.
const MAX_KEYS: u32 = 1000;

/// Where the state of one connector's agent is kept.
pub trait KeptState: Send + Sync {
    /// The committed value of a key.
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>>;

    /// The committed keys that begin with `prefix`, in their order, at most `limit`.
    fn keys(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<String>, String>>;

    /// Bytes of all committed keys and values.
    fn usage(&self) -> BoxFuture<'_, Result<u64, String>>;

    /// Commits a change that goes with no report. Durable when it is done.
    fn commit(&self, change: StateChange) -> BoxFuture<'_, Result<(), NotCommitted>>;
}

/// Why a change was not committed. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCommitted {
    /// A value that a `swap` expected is not there any more.
    #[error("a value of the agent's state was changed by another connection")]
    Conflict,
    /// It would leave more than is granted.
    #[error("the agent's state is full (grants.state)")]
    Full,
    /// The store did not take it.
    #[error("the agent's state was not stored: {0}")]
    Store(String),
}

impl NotCommitted {
    /// What a call is deferred with whose change was not committed.
    #[must_use]
    pub fn deferral(&self) -> Deferral {
        Deferral::new(451, (4, 3, 0), &self.to_string(), "service-unavailable")
    }
}

/// The door to it, with the bytes that are granted.
#[derive(Clone)]
pub(crate) struct StateDoor {
    pub(crate) store: Arc<dyn KeptState>,
    pub(crate) quota: u64,
}

/// What the running call has written.
#[derive(Default)]
pub(crate) struct KeptUse {
    writes: BTreeMap<String, Option<Vec<u8>>>,
    checks: BTreeMap<String, Option<Vec<u8>>>,
    /// Bytes that the state would have if the writes were committed now; `None`: nothing was written yet.
    bytes: Option<u64>,
}

impl KeptUse {
    /// Forgets what a call wrote that did not end well.
    pub(crate) fn discard(&mut self) {
        *self = Self::default();
    }

    /// Takes what the call wrote; `None` when that is nothing.
    pub(crate) fn take(&mut self) -> Option<StateChange> {
        let Self { writes, checks, .. } = std::mem::take(self);
        let change =
            StateChange { checks: checks.into_iter().collect(), writes: writes.into_iter().collect() };
        (!change.is_empty()).then_some(change)
    }
}

fn size(key: &str, value: Option<&Vec<u8>>) -> u64 {
    value.map_or(0, |value| (key.len() + value.len()) as u64)
}

fn other(error: String) -> wit::Fault {
    wit::Fault::Other(error)
}

impl State {
    fn door(&self) -> std::result::Result<StateDoor, wit::Fault> {
        if let Some(door) = &self.shared.state {
            return Ok(door.clone());
        }
        self.log.refused(Capability::State, "", "state is not granted");
        Err(wit::Fault::NotGranted)
    }

    /// The value as this call sees it.
    async fn seen(&mut self, key: &str) -> std::result::Result<Option<Vec<u8>>, wit::Fault> {
        let door = self.door()?;
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(other(format!("a key has 1 to {MAX_KEY} bytes")));
        }
        match self.kept.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => door.store.get(key.to_owned()).await.map_err(other),
        }
    }

    /// Writes a value, or takes it away, if there is room.
    async fn write(&mut self, key: String, value: Option<Vec<u8>>) -> std::result::Result<(), wit::Fault> {
        let door = self.door()?;
        let before = self.seen(&key).await?;
        let now = match self.kept.bytes {
            Some(bytes) => bytes,
            None => door.store.usage().await.map_err(other)?,
        };
        let (less, more) = (size(&key, before.as_ref()), size(&key, value.as_ref()));
        let bytes = now.saturating_sub(less).saturating_add(more);
        if more > less && bytes > door.quota {
            self.log.hit_at(Limit::State.with(door.quota));
            return Err(wit::Fault::Quota);
        }
        self.kept.bytes = Some(bytes);
        self.kept.writes.insert(key, value);
        Ok(())
    }

    async fn list(&mut self, prefix: String, limit: u32) -> std::result::Result<Vec<String>, wit::Fault> {
        let limit = limit.min(MAX_KEYS) as usize;
        let door = self.door()?;
        let gone = |key: &String| matches!(self.kept.writes.get(key), Some(None));
        let written =
            self.kept.writes.iter().filter(|(key, value)| value.is_some() && key.starts_with(&prefix));
        let mut keys: std::collections::BTreeSet<String> = written.map(|(key, _)| key.clone()).collect();
        // As many more as were deleted may be hidden among the first.
        let hidden = self.kept.writes.values().filter(|value| value.is_none()).count();
        let committed = door.store.keys(prefix, limit + hidden).await.map_err(other)?;
        keys.extend(committed.into_iter().filter(|key| !gone(key)));
        Ok(keys.into_iter().take(limit).collect())
    }

    /// Writes a value where the expected one is; says whether it was.
    async fn exchange(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> std::result::Result<bool, wit::Fault> {
        if self.seen(&key).await? != expected {
            return Ok(false);
        }
        // Checked at the commit against what is committed; a value that this very call wrote is not.
        let is_own = self.kept.writes.contains_key(&key);
        self.write(key.clone(), new).await?;
        if !is_own {
            self.kept.checks.insert(key, expected);
        }
        Ok(true)
    }

    /// Commits what a call wrote that goes with no report.
    pub(crate) async fn commit_kept(&mut self, phase: Phase) -> std::result::Result<(), Deferral> {
        let (Some(change), Some(door)) = (self.kept.take(), self.shared.state.clone()) else { return Ok(()) };
        // The change is durable when this returns: only then is the call's own answer believed.
        door.store.commit(change).await.map_err(|error| {
            if matches!(error, NotCommitted::Full) {
                self.log.hit_at(Limit::State.with(door.quota));
            }
            fault::told(phase, &error.to_string(), &self.log)
        })
    }
}

impl wit::Host for State {
    async fn get(&mut self, key: String) -> Result<std::result::Result<Option<Vec<u8>>, wit::Fault>> {
        let note = match self.ask("state.get", |masks| question([("key", key.write(masks))]))? {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let answer = self.seen(&key).await;
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<std::result::Result<(), wit::Fault>> {
        let asked = self
            .ask("state.set", |masks| question([("key", key.write(masks)), ("value", value.write(masks))]))?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let answer = self.write(key, Some(value)).await;
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn delete(&mut self, key: String) -> Result<std::result::Result<(), wit::Fault>> {
        let note = match self.ask("state.delete", |masks| question([("key", key.write(masks))]))? {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let answer = self.write(key, None).await;
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn keys(
        &mut self,
        prefix: String,
        limit: u32,
    ) -> Result<std::result::Result<Vec<String>, wit::Fault>> {
        let asked = self.ask("state.keys", |masks| {
            question([("prefix", prefix.write(masks)), ("limit", limit.into())])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let answer = self.list(prefix, limit).await;
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<std::result::Result<bool, wit::Fault>> {
        let asked = self.ask("state.swap", |masks| {
            let (expected, new) = (expected.write(masks), new.write(masks));
            question([("key", key.write(masks)), ("expected", expected), ("new", new)])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let answer = self.exchange(key, expected, new).await;
        self.answered(note, &answer);
        Ok(answer)
    }
}
