//! Gateway: plays the old program that empties the pager's drop directory. It knows nothing of the host.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postern_drop::reader;
use tokio::sync::mpsc::UnboundedSender;

use super::watch::Happening;

/// How often it looks into the folder. Old programs are not in a hurry.
pub const ROUND: Duration = Duration::from_millis(1500);
/// Files taken in one round.
const BATCH: usize = 100;

/// The program, running.
pub struct Gateway {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Starts it: it takes files from `drop`, keeps them in `kept` and tells what it took.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(drop: PathBuf, kept: PathBuf, tell: UnboundedSender<Happening>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("pager-program".to_owned())
            .spawn(move || work(&drop, &kept, &tell, &stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It only fails if it panicked, which it has told by itself.
            let _ = thread.join();
        }
    }
}

fn work(drop: &Path, kept: &Path, tell: &UnboundedSender<Happening>, stopped: &Receiver<()>) {
    while stopped.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
        let happening = match empty(drop, kept) {
            Ok(files) if files.is_empty() => continue,
            Ok(files) => Happening::Taken(files),
            Err(error) => Happening::Trouble(format!("the pager program: {error}")),
        };
        if tell.send(happening).is_err() {
            return;
        }
    }
}

/// Takes what lies in the folder: claims each file, keeps a copy, and deletes it, which says that it is done.
fn empty(drop: &Path, kept: &Path) -> io::Result<Vec<String>> {
    let mut taken = Vec::new();
    for entry in reader::list(drop, BATCH)? {
        let Some(claim) = reader::take(drop, &entry.name)? else { continue };
        std::fs::write(kept.join(claim.name()), claim.read()?)?;
        taken.push(claim.name().to_owned());
        claim.done()?;
    }
    Ok(taken)
}
