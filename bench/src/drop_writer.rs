//! Part d: the drop directory's writer, beside bare files that are written, synced and renamed, with the syncs of the
//! directory batched alike.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use postern_drop::{DropDirectory, DropSettings, FileName};

use crate::Fallible;
use crate::enqueue::produce;
use crate::options::{MESSAGE_BYTES, Scale};
use crate::row::{Bound, Row};
use crate::statistics::{float, median, median_ratio};

/// Writers at one time: as many as a connector has connections by default, and more.
const WRITERS: [usize; 2] = [5, 16];

/// Runs the part in `folder`. Nothing is deleted until the run ends: ext4 steps over inodes that were deleted a short
/// while ago, one by one, and that would be measured instead.
pub fn run(folder: &Path, scale: &Scale) -> Fallible<Vec<Row>> {
    WRITERS.iter().map(|writers| row(folder, scale, *writers)).collect()
}

fn row(folder: &Path, scale: &Scale, writers: usize) -> Fallible<Row> {
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=scale.rounds {
        bare.push(bare_round(folder, scale, writers)?);
        ours.push(drop_round(folder, scale, writers)?);
        let (bare, ours) = (bare[round - 1], ours[round - 1]);
        println!("d: {writers} writers, round {round}: bare {bare:.0}/s, drop directory {ours:.0}/s");
    }
    Ok(Row::new(format!("drop directory alone, 5 KB, {writers} writers"), "bare write + fsync + rename")
        .with("ratio", median_ratio(&ours, &bare), "")
        .with("drop directory", median(&ours), "files/s")
        .with("bare", median(&bare), "files/s")
        .goal("ratio", Bound::AtLeast(0.8)))
}

fn bare_round(folder: &Path, scale: &Scale, writers: usize) -> Fallible<f64> {
    let folder = tempfile::tempdir_in(folder)?.keep();
    let temp = folder.join(".tmp");
    fs::create_dir(&temp)?;
    let names = BatchedSync::of(&folder)?;
    let (content, number) = ([b'x'; MESSAGE_BYTES], AtomicU64::new(0));
    let (files, seconds) = produce(writers, scale.round, |_| {
        Ok(|| {
            let name = format!("{}.eml", number.fetch_add(1, Ordering::Relaxed));
            let part = temp.join(&name);
            let mut file = OpenOptions::new().write(true).create_new(true).open(&part)?;
            file.write_all(&content)?;
            file.sync_all()?;
            fs::rename(&part, folder.join(&name))?;
            Ok(names.sync()?)
        })
    })?;
    Ok(float(files) / seconds)
}

fn drop_round(folder: &Path, scale: &Scale, writers: usize) -> Fallible<f64> {
    let folder = tempfile::tempdir_in(folder)?.keep();
    let directory = DropDirectory::open(DropSettings::new(&folder))?;
    let (content, number) = ([b'x'; MESSAGE_BYTES], AtomicU64::new(0));
    let (files, seconds) = produce(writers, scale.round, |_| {
        Ok(|| {
            let name = FileName::new(format!("{}.eml", number.fetch_add(1, Ordering::Relaxed)))?;
            directory.publish(&name, |out| out.write_all(&content), MESSAGE_BYTES as u64)?;
            directory.confirm([&name]);
            Ok(())
        })
    })?;
    let lie_there = directory.usage().files;
    if lie_there != files {
        return Err(format!("{files} files were published, and {lie_there} lie there").into());
    }
    Ok(float(files) / seconds)
}

/// Syncs a directory for everybody who asked before the sync began.
struct BatchedSync {
    directory: File,
    state: Mutex<SyncState>,
    changed: Condvar,
}

#[derive(Default)]
struct SyncState {
    begun: u64,
    ended: u64,
    running: bool,
}

impl BatchedSync {
    fn of(directory: &Path) -> io::Result<Self> {
        let directory = File::open(directory)?;
        Ok(Self { directory, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Returns when a sync that began after this call has ended.
    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = state.begun + 1;
        while state.ended < mine {
            if state.running {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            state.begun += 1;
            drop(state);
            let synced = self.directory.sync_all();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.ended = state.begun;
            state.running = false;
            self.changed.notify_all();
            synced?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bare_round, drop_round};
    use crate::options::Scale;

    #[test]
    fn both_sides_write_files() {
        let folder = tempfile::tempdir().unwrap();
        let scale = Scale { messages: 1, rounds: 1, round: Duration::from_millis(20), calls: 1 };
        assert!(bare_round(folder.path(), &scale, 3).unwrap() > 0.0);
        assert!(drop_round(folder.path(), &scale, 3).unwrap() > 0.0);
    }
}
