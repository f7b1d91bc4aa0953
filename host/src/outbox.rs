//! outbox: turns DSN requests into messages, through the same door as everything else.

#[cfg(test)]
mod tests;
mod waiting;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use postern_model::{
    Content, DsnRequest, Envelope, EventKind, MessageId, Notify as NotifyWish, Origin, Recipient,
    TrackingEvent, TypedAddress,
};
use postern_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bad_mail;
use crate::dsn;
use crate::metrics::Metrics;
use crate::retry;
use crate::route::NoRoute;
use crate::submit::{Submission, SubmitError, Submitter};
use crate::topology::{CurrentTopology, Topology};

pub use waiting::{CurrentWaiting, WaitingDsn, WaitingDsns};

/// DSN requests read at once; more when some are known to wait.
const BATCH: usize = 64;
/// The most DSN requests read at once. What lies behind so many that wait has to wait with them.
const MAX_READ: usize = 4_096;
/// How often requests that could not be routed are tried again.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// The background task.
pub struct Outbox {
    store: Arc<dyn Store>,
    submitter: Arc<Submitter>,
    topology: Arc<CurrentTopology>,
    metrics: Arc<Metrics>,
    wake: Arc<Notify>,
    bad_mail: PathBuf,
    waiting: Waiting,
    /// What waits, for those who look.
    shown: Arc<CurrentWaiting>,
}

/// Requests that cannot be sent now, so that they are passed over and do not hold up those behind them.
struct Waiting {
    dsns: HashMap<String, WaitingDsn>,
    /// Another topology may have a connector for them.
    topology: Arc<Topology>,
    since: Instant,
    next_try: Timestamp,
}

impl Waiting {
    fn new(topology: Arc<Topology>) -> Self {
        let next_try = retry::after(Timestamp::now(), PAUSE);
        Self { dsns: HashMap::new(), topology, since: Instant::now(), next_try }
    }

    /// Whether they are worth another try.
    fn is_over(&self, topology: &Arc<Topology>) -> bool {
        !Arc::ptr_eq(&self.topology, topology) || self.since.elapsed() >= PAUSE.unsigned_abs()
    }

    /// How many requests to read: those that wait come first, and as many again, but for a batch at least.
    fn reach(&self) -> usize {
        (self.dsns.len() + self.dsns.len().max(BATCH)).min(MAX_READ)
    }

    /// What is shown of them.
    fn view(&self) -> WaitingDsns {
        let mut dsns: Vec<WaitingDsn> = self.dsns.values().cloned().collect();
        dsns.sort_by_key(|dsn| (dsn.at, dsn.item));
        WaitingDsns { dsns, next_try: Some(self.next_try) }
    }
}

/// Why a request is still in the outbox.
enum Held {
    /// It waits: for a config with a connector that takes it, or for a folder that can be written.
    Waits(String),
    /// The store did not take it.
    Store(StoreError),
}

impl Outbox {
    /// An outbox that is woken by `wake`; DSNs that cannot be sent at all go to files in `bad_mail`. It tells `shown` what
    /// waits.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        submitter: Arc<Submitter>,
        topology: Arc<CurrentTopology>,
        metrics: Arc<Metrics>,
        wake: Arc<Notify>,
        bad_mail: PathBuf,
        shown: Arc<CurrentWaiting>,
    ) -> Self {
        let waiting = Waiting::new(topology.get());
        Self { store, submitter, topology, metrics, wake, bad_mail, waiting, shown }
    }

    /// Works until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.work(&stop).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(PAUSE.unsigned_abs()) => {}
            }
        }
    }

    /// Sends everything that can be sent.
    async fn work(&mut self, stop: &CancellationToken) {
        let topology = self.topology.get();
        if self.waiting.is_over(&topology) {
            self.waiting = Waiting::new(topology);
        }
        let known = self.waiting.dsns.len();
        while !stop.is_cancelled() {
            match self.pass(stop).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "DSNs stay in the outbox");
                    break;
                }
            }
        }
        let view = self.waiting.view();
        if view.dsns.len() > known {
            tracing::warn!(
                dsns = view.dsns.len(),
                reason = view.dsns[0].reason,
                "DSNs wait; a send connector for SMTP:* would take those without a connector"
            );
        }
        self.metrics.waiting_dsns(view.dsns.len());
        self.shown.set(view);
    }

    /// Goes once through the oldest requests. Whether there may be more of them.
    async fn pass(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let reach = self.waiting.reach();
        let requests = self.store.outbox(reach).await?;
        let full = requests.len() == reach;
        let mut seen = 0;
        for request in requests {
            if self.waiting.dsns.contains_key(&request.key) {
                continue;
            }
            if stop.is_cancelled() {
                return Ok(false);
            }
            seen += 1;
            match self.send(&request).await {
                Ok(()) => {}
                Err(Held::Waits(reason)) => {
                    tracing::debug!(dsn = request.key, reason, "a DSN waits");
                    let waits = WaitingDsn::new(&request, Some(reason));
                    self.waiting.dsns.insert(request.key, waits);
                }
                Err(Held::Store(error)) => return Err(error),
            }
        }
        Ok(full && seen > 0)
    }

    async fn send(&self, request: &DsnRequest) -> Result<(), Held> {
        let to = match request.message.envelope.dsn_address() {
            Ok(Some(to)) => to,
            Ok(None) => return self.give_up(request, "its message has a null reverse-path").await,
            Err(error) => return self.give_up(request, &error.to_string()).await,
        };
        let mut result = self.submit(request, to.clone(), request.content.as_deref()).await;
        if matches!(result, Err(SubmitError::NoRoute { reason: NoRoute::TooLarge { .. }, .. })) {
            // Without the message that it gives back it may be small enough.
            result = self.submit(request, to, None).await;
        }
        match result {
            Ok(message) => {
                tracing::info!(dsn = request.key, message_id = %message, kind = request.kind.action(), "DSN queued");
                Ok(())
            }
            Err(SubmitError::NoRoute { reason, .. }) if reason.is_worth_waiting() => {
                Err(Held::Waits(reason.to_string()))
            }
            Err(SubmitError::Store(error)) => Err(Held::Store(error)),
            Err(error) => self.give_up(request, &error.to_string()).await,
        }
    }

    async fn submit(
        &self,
        request: &DsnRequest,
        to: TypedAddress,
        original: Option<&[u8]>,
    ) -> Result<MessageId, SubmitError> {
        let submission = submission(request, to, original, &self.topology.get().dsn);
        self.submitter.submit_report(submission, &request.message.envelope).await
    }

    /// A DSN that can never be sent goes to a file, is counted, and leaves the outbox.
    async fn give_up(&self, request: &DsnRequest, reason: &str) -> Result<(), Held> {
        tracing::error!(dsn = request.key, reason, "a DSN cannot be queued and goes to BadMail");
        let built = dsn::build(request, request.content.as_deref(), &self.topology.get().dsn);
        let content = Content::from(Bytes::from(built.content));
        if let Err(error) = bad_mail::keep(&self.bad_mail, message_id(request), &content).await {
            // Only DSNs for BadMail wait for it; the others go on.
            return Err(Held::Waits(format!("BadMail cannot be written: {error}")));
        }
        self.metrics.bad_mail();
        let event = bad_mail_event(request, reason);
        // The file is synced: the request may leave the outbox.
        self.store.drop_outbox(request.key.clone(), vec![event]).await.map_err(Held::Store)
    }
}

/// The message of a request, giving back `original`, or only its headers.
fn submission(
    request: &DsnRequest,
    to: TypedAddress,
    original: Option<&[u8]>,
    settings: &dsn::DsnSettings,
) -> Submission {
    let built = dsn::build(request, original, settings);
    let mut recipient = Recipient::new(0, to);
    // RFC 3461 6.2: nobody wants to hear about the fate of a DSN.
    recipient.notify = Some(NotifyWish::NEVER);
    Submission {
        id: message_id(request),
        origin: Origin::Generated,
        envelope: Envelope::generated("", Timestamp::now()),
        recipients: vec![recipient],
        content: Content::from(Bytes::from(built.content)),
        internet_message_id: Some(built.message_id),
        subject: Some(built.subject),
        outbox_key: Some(request.key.clone()),
        inbound: None,
        is_ours: true,
    }
}

/// The id of a request's message. It is made of the request's key: a request that is sent twice has one id.
fn message_id(request: &DsnRequest) -> MessageId {
    MessageId::from_name(&request.key)
}

fn bad_mail_event(request: &DsnRequest, reason: &str) -> TrackingEvent {
    TrackingEvent {
        time: Timestamp::now(),
        kind: EventKind::Operate,
        message: request.message.id,
        item: Some(request.item),
        connector: request.connector.clone(),
        destination: None,
        sender: request.message.envelope.reverse_path.clone(),
        recipients: Vec::new(),
        internet_message_id: None,
        subject: None,
        size: None,
        attempt: None,
        details: vec![
            ("operation".to_owned(), "bad-mail".to_owned()),
            (bad_mail::DETAIL.to_owned(), bad_mail::file_name(message_id(request))),
            ("kind".to_owned(), request.kind.action().to_owned()),
            ("reason".to_owned(), reason.to_owned()),
        ],
    }
}
