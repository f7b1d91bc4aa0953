//! Records: which deliveries of a connector's agent are recorded, and where the recordings go.

use std::sync::Arc;

use postern_agent::{Recording, Runtime};
use postern_model::DeliveryRequest;

use super::Shadow;
use crate::config::{RecordMode, ShadowConfig};
use crate::metrics::Metrics;
use crate::recordings::ASKED_FOR;
use crate::recordings::Recordings;

/// Records deliveries of one connector.
pub struct Records {
    mode: RecordMode,
    recordings: Arc<Recordings>,
    connector: Arc<str>,
    metrics: Arc<Metrics>,
    /// Is shown what was recorded.
    shadow: Option<Arc<Shadow>>,
}

impl Records {
    /// For this connector; `None` where no recordings are made.
    #[must_use]
    pub fn new(
        mode: RecordMode,
        shadow: Option<ShadowConfig>,
        runtime: &Runtime,
        recordings: Option<Arc<Recordings>>,
        connector: Arc<str>,
        metrics: Arc<Metrics>,
    ) -> Option<Arc<Self>> {
        let recordings = recordings.filter(|recordings| recordings.are_made())?;
        let shadow = shadow.map(|config| {
            let runtime = runtime.clone();
            Shadow::new(config, runtime, recordings.clone(), connector.clone(), metrics.clone())
        });
        Some(Arc::new(Self { mode, recordings, connector, metrics, shadow }))
    }

    /// Whether every delivery is recorded, be it only to see whether it failed.
    pub fn all(&self) -> bool {
        self.shadow.is_some() || matches!(self.mode, RecordMode::Failures | RecordMode::All)
    }

    /// Shows a delivery to the shadow, where there is one.
    pub fn show(&self, request: &DeliveryRequest, recording: Arc<Recording>) {
        if let Some(shadow) = &self.shadow {
            shadow.show(request, recording);
        }
    }

    /// Why this attempt has to be recorded from the very beginning, over a connection of its own; `None`: it has not.
    pub fn demand(&self, request: &DeliveryRequest) -> Option<&'static str> {
        if self.recordings.is_wanted(request.item.id) {
            return Some(ASKED_FOR);
        }
        let trapped = request.item.traps > 0 && self.mode != RecordMode::Never;
        trapped.then_some("the message has broken its agent before")
    }

    /// Why what was recorded is kept that nobody demanded; `None`: it is not.
    pub fn keeps(&self, passed: bool) -> Option<&'static str> {
        match self.mode {
            RecordMode::All => Some("record = \"all\""),
            RecordMode::Failures if !passed => Some("record = \"failures\""),
            RecordMode::Failures | RecordMode::Trapped | RecordMode::Never => None,
        }
    }

    /// Keeps a recording and gives its name; `None`, and a line in the log, when it cannot be written.
    pub async fn keep(&self, request: &DeliveryRequest, recording: Arc<Recording>) -> Option<String> {
        let (item, attempt) = (request.item.id, request.attempt);
        let word = if recording.is_cut() { "cut" } else { "whole" };
        let recordings = self.recordings.clone();
        let kept = tokio::task::spawn_blocking(move || recordings.keep(item, attempt, "", &recording)).await;
        match kept.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(name) => {
                tracing::info!(connector = %self.connector, %item, attempt, file = name, "the delivery was recorded");
                self.metrics.recording(&self.connector, word);
                Some(name)
            }
            Err(error) => {
                tracing::error!(connector = %self.connector, %item, attempt, %error, "a recording could not be kept");
                self.metrics.recording(&self.connector, "failed");
                None
            }
        }
    }
}
