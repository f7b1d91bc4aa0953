//! operate: what operators ask and order. The same code answers over the control socket of a running host and on
//! the store of a stopped one.

mod agents;
mod audit;
mod control;
mod drops;
mod export;
mod outbox;
mod queue;
mod record;
mod release;
mod remove;
mod show;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use postern_model::{ItemId, ItemState, MessageId};
use postern_store::{HopView, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::connector::{BoxFuture, ConnectorState, CurrentConnectors};
use crate::dispatch::Settler;
use crate::outbox::CurrentWaiting;
use crate::quarantine::QuarantineRecord;
use crate::tracking;

pub use audit::Audit;
pub use control::{ControlError, ControlServer, ask, is_running};

/// A question or an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// All queues.
    QueueList,
    /// One queue with its items.
    QueueShow {
        /// `connector` or `connector/destination`.
        queue: String,
        /// At most so many items.
        limit: usize,
    },
    /// Suspend, resume or retry queues.
    QueueSet {
        /// `connector` or `connector/destination`.
        queue: String,
        /// What to do.
        action: QueueAction,
        /// Why, for those who look at the queue later.
        reason: String,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// One message with its items and recipients.
    MessageShow {
        /// Which.
        id: MessageId,
    },
    /// Write an item to a file with its envelope; it stays in its queue.
    MessageExport {
        /// Which.
        item: ItemId,
        /// The file, by its full path; it must not be there.
        to: PathBuf,
    },
    /// Suspend, resume or retry the items of a message.
    MessageSet {
        /// Which.
        id: MessageId,
        /// The new state; active means: tried at once.
        state: ItemState,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Release the poison items of a message.
    MessageRelease {
        /// Which.
        id: MessageId,
        /// To the queue of this connector; `None`: to its own.
        to_connector: Option<String>,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Record the next attempt of a message.
    MessageRecord {
        /// Which.
        id: MessageId,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// Remove a message.
    MessageRemove {
        /// Which.
        id: MessageId,
        /// Tell its sender by a failure DSN.
        notify: bool,
        /// Only say what would be done.
        dry_run: bool,
    },
    /// All connectors.
    ConnectorList,
    /// The drop directory of a foreign connector, or all of them.
    DropStatus {
        /// Which connector; `None`: all.
        connector: Option<String>,
    },
    /// All delivery agents with their versions.
    AgentList,
    /// Lets the version in the file of a connector's agent deliver, or takes it back.
    AgentSet {
        /// Which connector.
        connector: String,
        /// What to do.
        action: AgentAction,
    },
    /// Tracking events.
    Track {
        /// What to look for.
        query: tracking::Query,
    },
    /// Recount everything.
    Audit,
    /// Read the config again and take up what changed.
    Reload,
}

/// What to do with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueAction {
    /// Try nothing until it is resumed.
    Suspend,
    /// Go on.
    Resume,
    /// Try everything now.
    Retry,
}

/// What to do with the versions of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentAction {
    /// Let the version in the file deliver, whatever its trial says.
    Promote,
    /// Take it back: the version before delivers.
    Rollback,
}

/// Why a request was not answered.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", content = "text", rename_all = "kebab-case")]
pub enum OperateError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It is busy now.
    #[error("{0}")]
    Busy(String),
    /// The store or a file said no.
    #[error("{0}")]
    Failed(String),
    /// The config has faults.
    #[error("{0}")]
    Config(String),
}

impl From<postern_store::StoreError> for OperateError {
    fn from(error: postern_store::StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What operations work on.
pub struct Operations {
    /// Settles what operators decide.
    pub settler: Arc<Settler>,
    /// The connectors of a running host; none when it is stopped.
    pub connectors: Arc<CurrentConnectors>,
    /// Where the tracking files lie.
    pub tracking: PathBuf,
    /// What only a running host has; `None`: no host works on the store.
    pub running: Option<Running>,
}

/// What a running host has beside its store.
pub struct Running {
    /// Takes up a changed config.
    pub reload: Reload,
    /// DSNs that wait in the outbox.
    pub waiting_dsns: Arc<CurrentWaiting>,
}

/// Takes up a changed config and says what changed.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<Value, OperateError>> + Send + Sync>;

impl Operations {
    /// Answers a request.
    ///
    /// # Errors
    /// Why it was not answered, or not done.
    pub async fn execute(&self, request: Request) -> Result<Value, OperateError> {
        match request {
            Request::QueueList => queue::list(self).await,
            Request::QueueShow { queue, limit } => queue::show(self, &queue, limit).await,
            Request::QueueSet { queue, action, reason, dry_run } => {
                queue::set(self, &queue, action, &reason, dry_run).await
            }
            Request::MessageShow { id } => show::message(self, id).await,
            Request::MessageExport { item, to } => export::item(self, item, to).await,
            Request::MessageSet { id, state, dry_run } => show::set_state(self, id, state, dry_run).await,
            Request::MessageRelease { id, to_connector, dry_run } => {
                release::message(self, id, to_connector.as_deref(), dry_run).await
            }
            Request::MessageRecord { id, dry_run } => record::message(self, id, dry_run).await,
            Request::MessageRemove { id, notify, dry_run } => {
                remove::message(self, id, notify, dry_run).await
            }
            Request::ConnectorList => Ok(self.connectors()),
            Request::DropStatus { connector } => drops::status(self, connector.as_deref()).await,
            Request::AgentList => Ok(agents::list(self)),
            Request::AgentSet { connector, action } => agents::set(self, &connector, action).await,
            Request::Track { query } => self.track(query).await,
            Request::Audit => audit::run(self).await.map(|a| json(&a)),
            Request::Reload => match &self.running {
                Some(running) => (running.reload)().await,
                None => {
                    Err(OperateError::Failed("no host is running: the next start reads the config".into()))
                }
            },
        }
    }

    /// Whether a host works on the store.
    fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.settler.store()
    }

    /// What is known of an item that broke its agent.
    async fn quarantine_record(&self, item: ItemId) -> std::io::Result<Option<QuarantineRecord>> {
        let quarantine = self.settler.quarantine().clone();
        if !quarantine.has(item) {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || quarantine.read(item)).await;
        read.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn connectors(&self) -> Value {
        let topology = self.settler.topology();
        let config = &topology.config;
        let hops = self.store().index().hops();
        let rows = config.outgoing().map(|outgoing| {
            let running = self.connectors.get(&outgoing.name);
            let callback_url = running.as_ref().and_then(|c| c.callback_url().map(str::to_owned));
            let breaker = running.as_ref().and_then(|c| c.breaker().map(|breaker| breaker.view()));
            let notice = running.as_ref().and_then(|c| c.notice());
            let (state, reason) = match (outgoing.enabled, running.map(|c| c.state())) {
                (false, _) => ("off", None),
                (true, Some(ConnectorState::Ready)) => ("ready", notice),
                (true, Some(ConnectorState::Disabled(reason))) => ("disabled", Some(reason)),
                (true, None) => ("stopped", None),
            };
            let items: usize =
                hops.iter().filter(|h| h.next_hop.connector == outgoing.name).map(|h| h.items).sum();
            serde_json::json!({
                "connector": &*outgoing.name,
                "kind": outgoing.kind.word(),
                "state": state,
                "reason": reason,
                "address_spaces": outgoing.address_spaces.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "callback_url": callback_url,
                "breaker": breaker,
                "queued": items,
            })
        });
        // What is gone from the config and left mail behind.
        let is_gone = |h: &&HopView| h.items > 0 && topology.rules(&h.next_hop.connector).is_none();
        let mut gone: BTreeMap<&str, usize> = BTreeMap::new();
        for hop in hops.iter().filter(is_gone) {
            *gone.entry(&hop.next_hop.connector).or_default() += hop.items;
        }
        let gone = gone.into_iter().map(|(connector, items)| {
            serde_json::json!({
                "connector": connector,
                "kind": null,
                "state": "gone",
                "reason": "it is not in the config: its mail waits until it expires",
                "address_spaces": [],
                "queued": items,
            })
        });
        rows.chain(gone).collect()
    }

    async fn track(&self, query: tracking::Query) -> Result<Value, OperateError> {
        let unmoved = self.unmoved_events().await?;
        let folder = self.tracking.clone();
        let found = tokio::task::spawn_blocking(move || tracking::search(&folder, &unmoved, &query))
            .await
            .map_err(|e| OperateError::Failed(e.to_string()))?
            .map_err(|e| OperateError::Failed(e.to_string()))?;
        Ok(json(&found))
    }

    /// Events that have not been moved to the tracking files.
    async fn unmoved_events(&self) -> Result<Vec<postern_model::TrackingEvent>, OperateError> {
        const BATCH: usize = 10_000;
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let batch = self.store().events(after, BATCH).await?;
            let Some((last, _)) = batch.last() else { return Ok(all) };
            after = *last;
            all.extend(batch.into_iter().map(|(_, event)| event));
        }
    }
}

/// A value as JSON.
fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("answers are plain data")
}
