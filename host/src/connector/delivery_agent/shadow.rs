//! Shadow: another version of a connector's agent that is played what the one at work was asked and told, and delivers
//! nothing. What it makes of it is compared; the outside world does not hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postern_agent::{Recording, ReplayError, Runtime, replay};
use postern_model::DeliveryRequest;
use tokio::sync::Semaphore;

use crate::config::ShadowConfig;
use crate::metrics::Metrics;
use crate::recordings::Recordings;

/// Deliveries of one connector that are played, or wait for that, at once. More are left out and counted: the shadow must
/// not hold up the mail, nor hold it in memory.
const MAX_PLAYED_AT_ONCE: usize = 2;

/// The shadow of one connector.
pub struct Shadow {
    config: ShadowConfig,
    runtime: Runtime,
    recordings: Arc<Recordings>,
    connector: Arc<str>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    /// Deliveries that were seen.
    seen: AtomicU64,
}

/// What playing one delivery came to.
enum Played {
    Same,
    /// And where it differs, a line each.
    Different(Vec<String>),
    NotReplayable,
    /// Why it could not be played.
    Failed(String),
}

impl Shadow {
    /// For this connector.
    pub fn new(
        config: ShadowConfig,
        runtime: Runtime,
        recordings: Arc<Recordings>,
        connector: Arc<str>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(MAX_PLAYED_AT_ONCE));
        Arc::new(Self { config, runtime, recordings, connector, metrics, places, seen: AtomicU64::new(0) })
    }

    /// Plays a delivery to the other version, beside and later; the delivery does not wait for it.
    pub fn show(self: &Arc<Self>, request: &DeliveryRequest, recording: Arc<Recording>) {
        if !self.config.takes(self.seen.fetch_add(1, Relaxed)) {
            return;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.metrics.shadow(&self.connector, "left-out");
            return;
        };
        let (shadow, item, attempt) = (self.clone(), request.item.id, request.attempt);
        self.runtime.handle().spawn_blocking(move || {
            let _place = place;
            let recording = match as_in_a_file(&recording) {
                Ok(recording) => recording,
                Err(why) => {
                    shadow.metrics.shadow(&shadow.connector, "failed");
                    let connector = &*shadow.connector;
                    tracing::warn!(connector, why, "a delivery could not be shown to the shadow");
                    return;
                }
            };
            let played = shadow.play(&recording);
            shadow.metrics.shadow(&shadow.connector, played.word());
            let connector = &*shadow.connector;
            match played {
                Played::Same | Played::NotReplayable => {}
                Played::Different(lines) => {
                    let kept = recording.because("the shadow makes something else of it");
                    let file = shadow.recordings.keep(item, attempt, "-shadow", &kept).unwrap_or_else(|e| e.to_string());
                    let first = lines.first().map(String::as_str).unwrap_or_default();
                    let differences = lines.len();
                    tracing::warn!(connector, %item, attempt, file, differences, first, "the shadow makes something else of it");
                }
                Played::Failed(why) => tracing::warn!(connector, why, "the shadow could not be played to"),
            }
        });
    }

    /// Blocking.
    fn play(&self, recording: &Recording) -> Played {
        match replay(&self.runtime, recording, &self.config.agent) {
            Ok(replay) if replay.is_same() => Played::Same,
            Ok(replay) => {
                let diverged = replay.divergences.iter().map(ToString::to_string);
                Played::Different(replay.differences.into_iter().chain(diverged).collect())
            }
            Err(ReplayError::NotReplayable(_)) => Played::NotReplayable,
            Err(error) => Played::Failed(error.to_string()),
        }
    }
}

/// What is played is what a file would hold: no secret is in it. Blocking: the message may lie on the disk.
fn as_in_a_file(recording: &Recording) -> Result<Recording, String> {
    let mut written = Vec::new();
    recording.write(&mut written).map_err(|error| error.to_string())?;
    Recording::read(&mut &written[..]).map_err(|error| error.to_string())
}

impl Played {
    fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different(_) => "different",
            Self::NotReplayable => "not-replayable",
            Self::Failed(_) => "failed",
        }
    }
}
