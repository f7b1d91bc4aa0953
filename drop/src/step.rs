//! Step: the named points of publishing and of withdrawing, for tests and campaigns that crash at each of them.

use std::fmt;
use std::sync::Arc;

/// A point that publishing, or withdrawing, has just reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The temp file exists, empty.
    Created,
    /// Its content is written.
    Written,
    /// Its content is durable.
    Synced,
    /// The marker exists.
    Marked,
    /// The file is visible to the gateway.
    Renamed,
    /// A directory sync is about to begin, on behalf of everybody who waits for one.
    SyncStarts,
    /// The file's name is durable.
    NameSynced,
    /// A published file is out of the gateway's reach again.
    Hidden,
    /// That is durable.
    HiddenSynced,
    /// A withdrawn file is visible to the gateway again.
    PutBack,
}

impl Step {
    /// All steps of publishing, in the order of the protocol.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Written,
        Self::Synced,
        Self::Marked,
        Self::Renamed,
        Self::SyncStarts,
        Self::NameSynced,
    ];
}

/// Called at each step with the name of the file, empty for [`Step::SyncStarts`].
pub type Observer = Arc<dyn Fn(Step, &str) + Send + Sync>;

/// An observer, or none.
#[derive(Clone, Default)]
pub(crate) struct Steps(pub(crate) Option<Observer>);

impl Steps {
    pub(crate) fn reach(&self, step: Step, name: &str) {
        if let Some(observer) = &self.0 {
            observer(step, name);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Steps(observed)" } else { "Steps" })
    }
}
