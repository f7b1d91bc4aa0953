//! Doors: what the host itself offers to agents: state that is kept in its store, and the way in for mail from the far
//! side.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use postern_agent::{Inbound, InboundMessage, KeptState, NotCommitted};
use postern_model::{Content, Envelope, MessageId, Origin, Recipient, StateChange, TypedAddress};
use postern_store::{AgentStateChange, AgentStateCheck, AgentStateWrite, InboundId, Store, StoreError};

use super::BoxFuture;
use crate::receive::callback::CallbackBase;
use crate::recordings::Recordings;
use crate::submit::{Submission, SubmitError, Submitter};

/// What there is to be granted; nothing of it is there when an agent is only looked at.
#[derive(Clone, Default)]
pub struct AgentDoors {
    /// Where state is kept.
    pub store: Option<Arc<dyn Store>>,
    /// The door for mail.
    pub submitter: Option<Arc<Submitter>>,
    /// What the URLs of call-backs are made of.
    pub callback: Option<CallbackBase>,
    /// Where deliveries are recorded.
    pub recordings: Option<Arc<Recordings>>,
}

/// A change of an agent's state in the words of the store.
#[must_use]
pub fn state_change(connector: &str, quota: u64, change: StateChange) -> AgentStateChange {
    let mut wanted = AgentStateChange::new(connector, quota, Timestamp::now());
    let checks = change.checks.into_iter();
    wanted.checks = checks.map(|(key, expected)| AgentStateCheck { key, expected }).collect();
    let writes = change.writes.into_iter().map(|(key, value)| match value {
        Some(value) => AgentStateWrite::Set { key, value },
        None => AgentStateWrite::Delete { key },
    });
    wanted.writes = writes.collect();
    wanted
}

/// The state of one connector's agent.
pub struct StoredState {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The connector.
    pub connector: String,
    /// `grants.state`.
    pub quota: u64,
}

impl KeptState for StoredState {
    fn get(&self, key: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, String>> {
        let read = self.store.agent_state(self.connector.clone(), key);
        Box::pin(async move { read.await.map_err(|error| error.to_string()) })
    }

    fn keys(&self, prefix: String, limit: usize) -> BoxFuture<'_, Result<Vec<String>, String>> {
        let read = self.store.agent_state_keys(self.connector.clone(), prefix, limit);
        Box::pin(async move { read.await.map_err(|error| error.to_string()) })
    }

    fn usage(&self) -> BoxFuture<'_, Result<u64, String>> {
        let read = self.store.agent_state_usage(self.connector.clone());
        Box::pin(async move { read.await.map_err(|error| error.to_string()) })
    }

    fn commit(&self, change: StateChange) -> BoxFuture<'_, Result<(), NotCommitted>> {
        let commit = self.store.change_agent_state(state_change(&self.connector, self.quota, change));
        Box::pin(async move {
            commit.await.map_err(|error| match error {
                StoreError::StateConflict { .. } => NotCommitted::Conflict,
                StoreError::StateFull { .. } => NotCommitted::Full,
                other => NotCommitted::Store(other.to_string()),
            })
        })
    }
}

/// The way in for the mail of one connector's agent. The message is one that this host makes, so that it may leave by
/// every send connector; a delivery agent or a drop directory takes it only where its `submitters` say so.
pub struct AgentMail {
    /// The door.
    pub submitter: Arc<Submitter>,
    /// The connector.
    pub connector: String,
}

impl Inbound for AgentMail {
    fn submit(&self, message: InboundMessage) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async move {
            let submission = self.submission(message)?;
            // The commit is on the disk when this returns: the agent may tell its far end.
            match self.submitter.submit(submission).await {
                Ok(id) => Ok(id.to_string()),
                Err(error @ SubmitError::Store(_)) => Err(error.response().to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl AgentMail {
    fn submission(&self, message: InboundMessage) -> Result<Submission, String> {
        let mut recipients = Vec::new();
        for (index, text) in (0..).zip(&message.recipients) {
            let address = TypedAddress::parse(text)
                .or_else(|_| TypedAddress::smtp(text))
                .map_err(|error| format!("{text:?} is no recipient: {error}"))?;
            recipients.push(Recipient::new(index, address));
        }
        if !message.reverse_path.is_empty() {
            TypedAddress::smtp(&message.reverse_path)
                .map_err(|error| format!("{:?} is no reverse-path: {error}", message.reverse_path))?;
        }
        let mut envelope = Envelope::generated(&message.reverse_path, Timestamp::now());
        envelope.receive_connector.clone_from(&self.connector);
        envelope.protocol = "AGENT".to_owned();
        Ok(Submission {
            id: MessageId::generate(),
            origin: Origin::Accepted,
            envelope,
            recipients,
            content: Content::from(Bytes::from(message.content)),
            internet_message_id: None,
            subject: None,
            outbox_key: None,
            inbound: Some(InboundId { connector: self.connector.clone(), remote: message.remote_id }),
            is_ours: true,
        })
    }
}
