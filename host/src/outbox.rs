//! outbox: turns DSN requests into messages, through the same door as everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use postern_model::{
    Content, DsnRequest, Envelope, EventKind, MessageId, Notify as NotifyWish, Origin, Recipient,
    TrackingEvent, TypedAddress,
};
use postern_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dsn;
use crate::metrics::Metrics;
use crate::submit::{Submission, SubmitError, Submitter};
use crate::topology::CurrentTopology;

/// DSN requests handled in one go.
const BATCH: usize = 64;
/// How often requests that could not be routed are tried again.
const PAUSE: Duration = Duration::from_secs(60);

/// The background task.
pub struct Outbox {
    store: Arc<dyn Store>,
    submitter: Arc<Submitter>,
    topology: Arc<CurrentTopology>,
    metrics: Arc<Metrics>,
    wake: Arc<Notify>,
    bad_mail: PathBuf,
}

/// Why a request is still in the outbox.
enum Held {
    /// No connector takes it: it waits for a config that has one.
    Unroutable(String),
    /// The store did not take it.
    Store(StoreError),
}

impl Outbox {
    /// An outbox that is woken by `wake`; DSNs that cannot be sent at all go to files in `bad_mail`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        submitter: Arc<Submitter>,
        topology: Arc<CurrentTopology>,
        metrics: Arc<Metrics>,
        wake: Arc<Notify>,
        bad_mail: PathBuf,
    ) -> Self {
        Self { store, submitter, topology, metrics, wake, bad_mail }
    }

    /// Works until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            self.work().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn work(&self) {
        let requests = match self.store.outbox(BATCH).await {
            Ok(requests) => requests,
            Err(error) => {
                tracing::error!(%error, "the outbox cannot be read");
                return;
            }
        };
        let full = requests.len() == BATCH;
        let mut sent = 0;
        for request in requests {
            let key = request.key.clone();
            match self.send(request).await {
                Ok(()) => sent += 1,
                Err(Held::Unroutable(reason)) => tracing::warn!(
                    dsn = key,
                    reason,
                    "a delivery report waits: no connector takes it (a send connector for SMTP:* would)"
                ),
                Err(Held::Store(error)) => {
                    tracing::error!(dsn = key, %error, "a delivery report was not stored");
                    return;
                }
            }
        }
        if full && sent > 0 {
            self.wake.notify_one();
        }
    }

    async fn send(&self, request: DsnRequest) -> Result<(), Held> {
        let topology = self.topology.get();
        let to = match request.message.envelope.dsn_address() {
            Ok(Some(to)) => to,
            Ok(None) => return self.give_up(&request, "its message has a null reverse-path").await,
            Err(error) => return self.give_up(&request, &error.to_string()).await,
        };
        match self.submitter.submit(submission(&request, to, &topology.dsn)).await {
            Ok(message) => {
                tracing::info!(dsn = request.key, message_id = %message, kind = request.kind.action(), "delivery report queued");
                Ok(())
            }
            Err(SubmitError::Recipient { response, .. }) => Err(Held::Unroutable(response.to_string())),
            Err(SubmitError::Store(error)) => Err(Held::Store(error)),
        }
    }

    /// A DSN that can never be sent goes to a file, is counted, and leaves the outbox.
    async fn give_up(&self, request: &DsnRequest, reason: &str) -> Result<(), Held> {
        tracing::error!(dsn = request.key, reason, "a delivery report cannot be sent and goes to BadMail");
        let built = dsn::build(request, request.content.as_deref(), &self.topology.get().dsn);
        let (folder, name) = (self.bad_mail.clone(), format!("{}.eml", MessageId::from_name(&request.key)));
        let written =
            tokio::task::spawn_blocking(move || write_bad_mail(&folder, &name, &built.content)).await;
        if let Err(error) = written.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
            return Err(Held::Store(StoreError::Io(format!("BadMail: {error}"))));
        }
        self.metrics.bad_mail();
        let event = bad_mail_event(request, reason);
        // The file is synced: the request may leave the outbox.
        self.store.drop_outbox(request.key.clone(), vec![event]).await.map_err(Held::Store)
    }
}

fn submission(request: &DsnRequest, to: TypedAddress, settings: &dsn::DsnSettings) -> Submission {
    let built = dsn::build(request, request.content.as_deref(), settings);
    let mut recipient = Recipient::new(0, to);
    // RFC 3461 6.2: nobody wants to hear about the fate of a report.
    recipient.notify = Some(NotifyWish::NEVER);
    Submission {
        // Made of the request's key: a request that is sent twice has one id.
        id: MessageId::from_name(&request.key),
        origin: Origin::Generated,
        envelope: Envelope::generated("", Timestamp::now()),
        recipients: vec![recipient],
        content: Content::from(Bytes::from(built.content)),
        internet_message_id: Some(built.message_id),
        subject: Some(built.subject),
        outbox_key: Some(request.key.clone()),
    }
}

fn write_bad_mail(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    std::fs::create_dir_all(folder)?;
    let mut file = std::fs::File::create(folder.join(name))?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::File::open(folder)?.sync_all()
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
            ("kind".to_owned(), request.kind.action().to_owned()),
            ("reason".to_owned(), reason.to_owned()),
        ],
    }
}
