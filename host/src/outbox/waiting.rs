//! WaitingDsns: DSNs that wait in the outbox, and why, for those who look.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use postern_model::{DsnKind, DsnRequest, ItemId};
use postern_store::{Store, StoreError};

use super::MAX_READ;
use crate::topology::Topology;

/// A DSN that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingDsn {
    /// The item that it is about.
    pub item: ItemId,
    /// What it tells.
    pub kind: DsnKind,
    /// Whom it is for.
    pub to: String,
    /// Since when it is owed.
    pub at: Timestamp,
    /// Why it waits; `None` when nobody has tried to send it.
    pub reason: Option<String>,
}

impl WaitingDsn {
    /// What is shown of a request.
    pub(super) fn new(request: &DsnRequest, reason: Option<String>) -> Self {
        let (item, kind, at) = (request.item, request.kind, request.at);
        Self { item, kind, to: request.message.envelope.reverse_path.clone(), at, reason }
    }
}

/// All that wait, the oldest first; of those behind the first [`MAX_READ`] nobody knows.
#[derive(Clone, Debug, Default)]
pub struct WaitingDsns {
    /// The DSNs.
    pub dsns: Vec<WaitingDsn>,
    /// When they are tried again; `None`: the host is stopped.
    pub next_try: Option<Timestamp>,
}

impl WaitingDsns {
    /// Those in the store of a host that is stopped, with what keeps them from being sent as far as the routes say.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn read(store: &Arc<dyn Store>, topology: &Topology) -> Result<Self, StoreError> {
        let requests = store.outbox(MAX_READ).await?;
        let reason = |request: &DsnRequest| {
            let to = request.message.envelope.dsn_address().ok()??;
            topology.routes.resolve(&to, None).choice.err().map(|no_route| no_route.to_string())
        };
        let dsns = requests.iter().map(|request| WaitingDsn::new(request, reason(request))).collect();
        Ok(Self { dsns, next_try: None })
    }
}

/// What the outbox of a running host said last.
#[derive(Debug, Default)]
pub struct CurrentWaiting(RwLock<Arc<WaitingDsns>>);

impl CurrentWaiting {
    /// What waits now.
    #[must_use]
    pub fn get(&self) -> Arc<WaitingDsns> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells what waits now.
    pub(super) fn set(&self, waiting: WaitingDsns) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(waiting);
    }
}
