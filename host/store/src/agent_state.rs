//! The state of agents: small values under keys, for each connector its own, that outlive instances and restarts.

use jiff::Timestamp;

use crate::StoreError;

/// A change of one connector's state. It happens whole or not at all, alone or as part of a [`crate::Settle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStateChange {
    /// The connector.
    pub connector: String,
    /// What must be true of the state before the change. When it is not, nothing is changed:
    /// [`StoreError::StateConflict`].
    pub checks: Vec<AgentStateCheck>,
    /// What is written, in this order.
    pub writes: Vec<AgentStateWrite>,
    /// The most bytes, of keys and values together, that the connector may have afterwards. A change that would leave
    /// more is refused, [`StoreError::StateFull`]; one that makes it no larger never is.
    pub quota: u64,
    /// When.
    pub at: Timestamp,
}

impl AgentStateChange {
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = 1024;

    /// A change of nothing, to fill in.
    #[must_use]
    pub fn new(connector: &str, quota: u64, at: Timestamp) -> Self {
        Self { connector: connector.to_owned(), checks: Vec::new(), writes: Vec::new(), quota, at }
    }

    /// Whether its keys can be kept.
    pub(crate) fn check_keys(&self) -> Result<(), StoreError> {
        let checked = self.checks.iter().map(|check| &check.key);
        let mut keys = checked.chain(self.writes.iter().map(AgentStateWrite::key));
        match keys.find(|key| key.is_empty() || key.len() > Self::MAX_KEY) {
            Some(key) => Err(StoreError::Invalid(format!(
                "a key of an agent's state has {} bytes (1 to {})",
                key.len(),
                Self::MAX_KEY
            ))),
            None => Ok(()),
        }
    }

    /// Bytes that it holds, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let value = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let checks: usize = self.checks.iter().map(|c| c.key.len() + value(&c.expected)).sum();
        let write = |w: &AgentStateWrite| match w {
            AgentStateWrite::Set { key, value } => key.len() + value.len(),
            AgentStateWrite::Delete { key } => key.len(),
        };
        checks + self.writes.iter().map(write).sum::<usize>()
    }
}

/// A value that must be as it was when the agent looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentStateCheck {
    /// The key.
    pub key: String,
    /// Its value; `None`: it has none.
    pub expected: Option<Vec<u8>>,
}

/// A write of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentStateWrite {
    /// The key has this value from now on.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
    },
    /// The key has no value from now on. It need not have one before.
    Delete {
        /// The key.
        key: String,
    },
}

impl AgentStateWrite {
    fn key(&self) -> &String {
        match self {
            Self::Set { key, .. } | Self::Delete { key } => key,
        }
    }
}
