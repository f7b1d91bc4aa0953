//! Readers: threads with connections that only read. Each read is one short transaction.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use crate::sqlite::{schema, sql_error, thread};
use crate::{Commit, Read, StoreError};

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A few reading threads.
pub(super) struct Readers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(database: &Path, count: usize) -> Result<Self, StoreError> {
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for n in 0..count.max(1) {
            let connection = schema::open_reader(database)?;
            let receiver = Arc::clone(&receiver);
            threads.push(thread(&format!("store-read-{n}"), move || read(&connection, &receiver))?);
        }
        Ok(Self { jobs: Some(sender), threads })
    }

    /// Reads something in one transaction.
    pub(super) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Read<T> {
        let (answer, commit) = Commit::pair();
        let job = move |connection: &Connection| {
            let begun = connection.execute_batch("BEGIN").map_err(sql_error);
            let result = begun.and_then(|()| read(connection));
            // A transaction that cannot be ended would keep the log from being begun anew; the next BEGIN then fails and says so.
            let _ = connection.execute_batch("COMMIT");
            // Whoever asked may have gone.
            let _ = answer.send(result);
        };
        if let Some(jobs) = &self.jobs {
            // A refused job drops its answer, which then says that the store is closed.
            let _ = jobs.send(Box::new(job));
        }
        commit
    }
}

impl Readers {
    /// Finishes what was asked, and closes the connections.
    pub(super) fn close(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A reader that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn read(connection: &Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(connection),
            Err(_) => return,
        }
    }
}
