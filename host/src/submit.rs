//! submit: THE door. Every message comes in through [`Submitter::submit`], whatever brought it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Content, Envelope, EventKind, EventRecipient, Item, ItemId, ItemRecipient, ItemState, MessageId,
    MessageInfo, NextHop, Origin, Recipient, Response, TrackingEvent, TypedAddress,
};
use postern_store::{InboundId, Put, PutDone, Store, StoreError, StoreHealth};

use crate::config;
use crate::metrics::Metrics;
use crate::retry;
use crate::route::{ConnectorKind, NoRoute};
use crate::topology::{CurrentTopology, Topology};

/// A message at the door.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Its id; a new one, but for messages that must not be made twice.
    pub id: MessageId,
    /// Who made it.
    pub origin: Origin,
    /// Its envelope.
    pub envelope: Envelope,
    /// Its recipients, as they stand in the envelope.
    pub recipients: Vec<Recipient>,
    /// Its bytes.
    pub content: Content,
    /// The Message-ID header field.
    pub internet_message_id: Option<String>,
    /// The subject, decoded.
    pub subject: Option<String>,
    /// The DSN request that it fulfils.
    pub outbox_key: Option<String>,
    /// What names it at the far side, when an agent hands it in, or which file it was: a repeat makes no second message.
    pub inbound: Option<InboundId>,
    /// Whether this host answers for it: it is a report of its own, or an agent hands it in that may do so.
    pub is_ours: bool,
}

/// Who stands at the door.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The receive connector (or other way in).
    pub connector: &'a str,
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// As whom it is authenticated.
    pub user: Option<&'a str>,
}

/// Why a message was not taken. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A recipient is not served.
    #[error("{recipient}: {reason}")]
    NoRoute {
        /// Which one.
        recipient: String,
        /// Why not.
        reason: NoRoute,
    },
    /// A recipient is not served for this client.
    #[error("{recipient}: {response}")]
    NotAllowed {
        /// Which one.
        recipient: String,
        /// What the client is told.
        response: Response,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SubmitError {
    /// What the client is told.
    #[must_use]
    pub fn response(&self) -> Response {
        match self {
            Self::NoRoute { reason, .. } => reason.response(),
            Self::NotAllowed { response, .. } => response.clone(),
            Self::Store(StoreError::Full(_)) => Response::new(452, (4, 3, 1), "insufficient system storage"),
            Self::Store(_) => {
                Response::new(451, (4, 3, 0), "the message could not be stored; try again later")
            }
        }
    }
}

/// The door.
pub struct Submitter {
    store: Arc<dyn Store>,
    topology: Arc<CurrentTopology>,
    metrics: Arc<Metrics>,
}

impl Submitter {
    /// A door to this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, topology: Arc<CurrentTopology>, metrics: Arc<Metrics>) -> Self {
        Self { store, topology, metrics }
    }

    /// Whether messages can be taken at all; the answer for a client if not.
    ///
    /// # Errors
    /// What the client is told.
    pub fn check_open(&self) -> Result<(), Response> {
        match self.store.health() {
            // A full store is asked all the same: only a message that it takes shows that there is room again.
            StoreHealth::Ready | StoreHealth::Full(_) => Ok(()),
            StoreHealth::Poisoned(_) => {
                Err(Response::new(451, (4, 3, 0), "the queue does not take mail now"))
            }
        }
    }

    /// Whether the store takes mail at this moment, as far as it knows. Who can wait, waits until it does.
    #[must_use]
    pub fn has_room(&self) -> bool {
        matches!(self.store.health(), StoreHealth::Ready)
    }

    /// Where mail for `Postmaster` without a domain goes (RFC 5321 4.5.1).
    #[must_use]
    pub fn postmaster(&self) -> TypedAddress {
        self.topology.get().config.host.postmaster.clone()
    }

    /// Whether this recipient is served, and for this client. `size` is what the client announced.
    ///
    /// # Errors
    /// What the client is told.
    pub fn check_recipient(
        &self,
        client: Client<'_>,
        sender: &str,
        address: &TypedAddress,
        size: Option<u64>,
    ) -> Result<(), Response> {
        let topology = self.topology.get();
        let hop = topology.routes.resolve(address, size).choice.map_err(|no_route| no_route.response())?;
        check_right(&topology, client, sender, &hop)
    }

    /// Takes a message: rights, routes, one durable commit. Only when this has returned `Ok` may the sender be told
    /// that the message was accepted.
    ///
    /// # Errors
    /// Why it was not taken; nothing is stored then.
    pub async fn submit(&self, submission: Submission) -> Result<MessageId, SubmitError> {
        self.take(submission, None).await
    }

    /// As [`Self::submit`], for a report that we made about the message with the envelope `about`. Who sent that
    /// message chose where the report goes, so the report may go only where its sender was allowed to send.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_report(
        &self,
        submission: Submission,
        about: &Envelope,
    ) -> Result<MessageId, SubmitError> {
        self.take(submission, Some(about)).await
    }

    async fn take(&self, submission: Submission, about: Option<&Envelope>) -> Result<MessageId, SubmitError> {
        let topology = self.topology.get();
        let now = Timestamp::now();
        let size = submission.content.size();
        let plan = topology.routes.plan(submission.recipients, Some(size));
        if let Some((recipient, reason)) = plan.unroutable.into_iter().next() {
            return Err(SubmitError::NoRoute { recipient: recipient.address.display(), reason });
        }
        let responsible = about.unwrap_or(&submission.envelope);
        check_rights(&topology, submission.is_ours, responsible, &plan.groups)?;
        let message = Arc::new(MessageInfo {
            id: submission.id,
            origin: submission.origin,
            envelope: submission.envelope,
            size,
            internet_message_id: submission.internet_message_id,
            subject: submission.subject,
        });
        let event = arrival(&message, &plan.groups, now);
        let recipients = event.recipients.len() as u64;
        let items = items_of(&topology, &message, plan.groups, now);
        let put = Put {
            message: message.clone(),
            content: submission.content,
            items,
            event,
            outbox_key: submission.outbox_key,
            inbound: submission.inbound,
        };
        // The commit is on the disk when this returns: from here on the message is ours.
        match self.store.put(put).await? {
            PutDone::Stored => self.metrics.accepted(&message, recipients),
            PutDone::Repeated => {}
            PutDone::AlreadyKnown(first) => return Ok(first),
        }
        Ok(message.id)
    }
}

/// Whether a message may go to these next hops on behalf of whoever is behind `responsible`.
///
/// Send connectors are open to what is ours, generated or handed in by an agent that may do so: they cost nothing, and
/// reports have to leave by them, whoever may relay. Everything else asks for the right of the sender, or `MAIL FROM` would be a way to send a fax.
fn check_rights(
    topology: &Topology,
    is_ours: bool,
    responsible: &Envelope,
    groups: &[(NextHop, Vec<Recipient>)],
) -> Result<(), SubmitError> {
    let user = responsible.submitter.as_deref();
    let client = Client { connector: &responsible.receive_connector, address: responsible.client, user };
    let is_send = |hop: &NextHop| {
        topology.rules(&hop.connector).is_some_and(|rules| rules.outgoing.kind == ConnectorKind::Send)
    };
    for (hop, recipients) in groups {
        if is_ours && is_send(hop) {
            continue;
        }
        check_right(topology, client, &responsible.reverse_path, hop).map_err(|response| {
            let recipient = recipients.first().map(|r| r.address.display()).unwrap_or_default();
            SubmitError::NotAllowed { recipient, response }
        })?;
    }
    Ok(())
}

fn check_right(topology: &Topology, client: Client<'_>, sender: &str, hop: &NextHop) -> Result<(), Response> {
    let allowed = topology.rules(&hop.connector).is_some_and(|rules| {
        rules.outgoing.submitters.allows(&config::Submitter {
            connector: client.connector,
            client: client.address,
            user: client.user,
            sender,
        })
    });
    if allowed {
        return Ok(());
    }
    let text = format!(
        "not allowed to send through connector {} (its submitters do not include you)",
        hop.connector
    );
    Err(Response::new(550, (5, 7, 1), &text))
}

/// The event of a message's arrival.
fn arrival(message: &MessageInfo, groups: &[(NextHop, Vec<Recipient>)], now: Timestamp) -> TrackingEvent {
    let mut recipients: Vec<EventRecipient> =
        groups.iter().flat_map(|(_, recipients)| recipients).map(|r| EventRecipient::of(r, None)).collect();
    recipients.sort_by_key(|r| r.index);
    TrackingEvent {
        time: now,
        kind: match message.origin {
            Origin::Accepted => EventKind::Receive,
            Origin::Generated => EventKind::Generate,
        },
        message: message.id,
        item: None,
        connector: message.envelope.receive_connector.clone(),
        destination: None,
        sender: message.envelope.reverse_path.clone(),
        recipients,
        internet_message_id: message.internet_message_id.clone(),
        subject: message.subject.clone(),
        size: Some(message.size),
        attempt: None,
        details: message
            .envelope
            .client
            .map(|ip| ("client".to_owned(), ip.to_string()))
            .into_iter()
            .collect(),
    }
}

fn items_of(
    topology: &Topology,
    message: &MessageInfo,
    groups: Vec<(NextHop, Vec<Recipient>)>,
    now: Timestamp,
) -> Vec<Item> {
    let mut spans: HashMap<Arc<str>, (Option<SignedDuration>, Option<SignedDuration>)> = HashMap::new();
    let mut items = Vec::with_capacity(groups.len());
    for (ordinal, (next_hop, recipients)) in (0..).zip(groups) {
        let (expire, delay) = *spans.entry(next_hop.connector.clone()).or_insert_with(|| {
            topology
                .rules(&next_hop.connector)
                .map_or((None, None), |r| (r.outgoing.expire_after, r.outgoing.delay_dsn_after))
        });
        let at = |span: Option<SignedDuration>| span.map(|s| retry::after(now, s));
        items.push(Item {
            id: ItemId { message: message.id, ordinal },
            next_hop,
            recipients: recipients.into_iter().map(ItemRecipient::queued).collect(),
            priority: message.envelope.priority,
            state: ItemState::Active,
            attempts: 0,
            traps: 0,
            settlements: 0,
            enqueued_at: now,
            next_attempt: now,
            expires_at: if message.envelope.must_deliver { None } else { at(expire) },
            delay_dsn_at: at(delay),
            last_error: None,
        });
    }
    items
}
