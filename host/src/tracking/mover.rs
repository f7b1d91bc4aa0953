//! Mover: carries events from the queue's table to the day files, in the background.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_model::TrackingEvent;
use postern_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::topology::CurrentTopology;

use super::archive;
use super::day_file::{DayFile, TrackingError};

/// Events moved in one transaction.
const BATCH: usize = 2_000;
/// Pause between two looks when there was little to move.
const PAUSE: Duration = Duration::from_secs(1);

/// How often day files are looked through for old ones.
const EXPIRE_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// The background task.
pub struct Mover {
    store: Arc<dyn Store>,
    folder: PathBuf,
    topology: Arc<CurrentTopology>,
}

impl Mover {
    /// A mover from this store to this folder, where files older than `tracking.retention` are deleted.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, folder: PathBuf, topology: Arc<CurrentTopology>) -> Self {
        Self { store, folder, topology }
    }

    /// Moves events until told to stop, then once more all that is left.
    pub async fn run(self, stop: CancellationToken) {
        let mut expired_at: Option<Timestamp> = None;
        loop {
            if expired_at.is_none_or(|at| at.duration_until(Timestamp::now()) >= EXPIRE_PAUSE) {
                expired_at = Some(Timestamp::now());
                self.expire().await;
            }
            let moved = move_batch(&self.store, &self.folder).await;
            let full = match moved {
                Ok(count) => count == BATCH,
                Err(error) => {
                    tracing::error!(%error, "tracking events stay in the queue's table and are tried again");
                    false
                }
            };
            if full {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        if let Err(error) = move_all(&self.store, &self.folder).await {
            tracing::error!(%error, "tracking events stay in the queue's table until the next start");
        }
    }
}

impl Mover {
    async fn expire(&self) {
        let retention = self.topology.get().config.tracking.retention;
        let (Some(retention), folder) = (retention, self.folder.clone()) else { return };
        let expired =
            tokio::task::spawn_blocking(move || archive::expire(&folder, retention, Timestamp::now())).await;
        match expired {
            Ok(Ok(0)) => {}
            Ok(Ok(files)) => tracing::info!(files, "old tracking files deleted (tracking.retention)"),
            Ok(Err(error)) => tracing::error!(%error, "old tracking files could not be deleted"),
            Err(error) => tracing::error!(%error, "old tracking files could not be deleted"),
        }
    }
}

/// Why events could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The queue's side.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files' side.
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    /// The thread that does it panicked.
    #[error("the thread that writes tracking files failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Moves everything that there is now.
///
/// # Errors
/// When the store or a file refuses; what was moved stays moved, the rest stays where it is.
pub async fn move_all(store: &Arc<dyn Store>, folder: &Path) -> Result<(), MoveError> {
    while move_batch(store, folder).await? == BATCH {}
    Ok(())
}

async fn move_batch(store: &Arc<dyn Store>, folder: &Path) -> Result<usize, MoveError> {
    let events = store.events(0, BATCH).await?;
    let Some((last, _)) = events.last() else { return Ok(0) };
    let (last, count, folder) = (*last, events.len(), folder.to_owned());
    tokio::task::spawn_blocking(move || write(&folder, &events)).await??;
    // The files have synced these events: only now may the queue's table forget them.
    store.drop_events(last).await?;
    Ok(count)
}

fn write(folder: &Path, events: &[(u64, TrackingEvent)]) -> Result<(), TrackingError> {
    let mut days: BTreeMap<String, Vec<(u64, &TrackingEvent)>> = BTreeMap::new();
    for (seq, event) in events {
        days.entry(DayFile::name_for(event.time)).or_default().push((*seq, event));
    }
    for (name, events) in days {
        DayFile::open(&folder.join(name))?.append(&events)?;
    }
    Ok(())
}
