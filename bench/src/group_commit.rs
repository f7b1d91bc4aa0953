//! Group commit, bare: the limit for a durable queue. Producers hand records to one thread, which appends whatever waits
//! and syncs once for all of it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Most bytes that go into one sync, as in the store.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// How long one append may take before the writer counts as dead.
const APPEND_LIMIT: Duration = Duration::from_mins(1);

/// A record and whom to tell when it is on the disk.
type Append = (Box<[u8]>, SyncSender<()>);

/// A log file with its one writer.
pub struct GroupLog {
    appends: Option<Sender<Append>>,
    writer: JoinHandle<io::Result<u64>>,
}

/// A producer's end of the log.
pub struct Producer {
    appends: Sender<Append>,
    done: (SyncSender<()>, Receiver<()>),
}

impl GroupLog {
    /// Makes the file, which must not exist, and starts the writer.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create_new(true).open(path)?;
        let (appends, receiver) = channel::<Append>();
        let writer = thread::Builder::new().name("bare-log".to_owned()).spawn(move || {
            let mut buffer = Vec::new();
            let mut waiting = Vec::new();
            let mut syncs = 0;
            while let Ok((record, done)) = receiver.recv() {
                buffer.clear();
                buffer.extend_from_slice(&record);
                waiting.push(done);
                while buffer.len() < MAX_GROUP_BYTES
                    && let Ok((record, done)) = receiver.try_recv()
                {
                    buffer.extend_from_slice(&record);
                    waiting.push(done);
                }
                file.write_all(&buffer)?;
                file.sync_data()?;
                syncs += 1;
                for done in waiting.drain(..) {
                    // A producer that has gone needs no word.
                    let _ = done.try_send(());
                }
            }
            Ok(syncs)
        })?;
        Ok(Self { appends: Some(appends), writer })
    }

    /// One more producer.
    pub fn producer(&self) -> Producer {
        let appends = self.appends.clone().expect("it is there until the log is closed");
        Producer { appends, done: sync_channel(1) }
    }

    /// Waits for the writer, after all producers are gone; returns how often it has synced.
    ///
    /// # Errors
    /// When the file could not be written.
    pub fn close(mut self) -> io::Result<u64> {
        self.appends = None;
        self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer of the bare log panicked")))
    }
}

impl Producer {
    /// Appends a record and waits until it is on the disk.
    ///
    /// # Errors
    /// When the writer has failed.
    pub fn append(&self, record: Box<[u8]>) -> io::Result<()> {
        let gone = || io::Error::other("the writer of the bare log has stopped");
        self.appends.send((record, self.done.0.clone())).map_err(|_| gone())?;
        // This end holds a sender too, so a writer that died would be waited for without an end.
        self.done.1.recv_timeout(APPEND_LIMIT).map_err(|_| gone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::GroupLog;

    #[test]
    fn the_log_holds_every_record_whole_and_in_the_order_of_its_producer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = GroupLog::create(&path).unwrap();
        thread::scope(|scope| {
            for name in [b'a', b'b', b'c'] {
                let producer = log.producer();
                scope.spawn(move || {
                    for number in 0..20_u8 {
                        producer.append(vec![name, number, name].into()).unwrap();
                    }
                });
            }
        });
        let syncs = log.close().unwrap();
        let written = fs::read(&path).unwrap();
        assert_eq!(written.len(), 3 * 20 * 3);
        assert!((20..=60).contains(&syncs), "{syncs}");
        for name in [b'a', b'b', b'c'] {
            let own: Vec<u8> =
                written.chunks(3).filter(|r| r[0] == name && r[2] == name).map(|r| r[1]).collect();
            assert_eq!(own, (0..20).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn an_acknowledged_record_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = GroupLog::create(&path).unwrap();
        let producer = log.producer();
        producer.append(Box::from(*b"first")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        drop(producer);
        assert_eq!(log.close().unwrap(), 1);
        assert!(GroupLog::create(&path).is_err(), "an old log must not be measured");
    }
}
