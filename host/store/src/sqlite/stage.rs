//! Stage: threads that bring big bodies to the disk before their messages go to the writer.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::commit::Answer;
use crate::sqlite::op::{Op, PutOp};
use crate::sqlite::thread;
use crate::sqlite::writer::Shared;
use crate::{PutDone, StoreError};

/// How many bodies are written at once.
const THREADS: usize = 2;

struct Job {
    put: Box<PutOp>,
    answer: Answer<PutDone>,
    ticket: u64,
}

/// The threads, and who waits for them.
pub(super) struct Stage {
    jobs: Option<Sender<Job>>,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
    shared: Arc<Shared>,
    ops: Sender<Op>,
    tickets: Mutex<Tickets>,
}

#[derive(Default)]
struct Tickets {
    next: u64,
    in_hand: BTreeSet<u64>,
    /// Flushes that wait for all tickets below theirs.
    flushes: Vec<(u64, Answer<()>)>,
}

impl Stage {
    pub(super) fn start(shared: Arc<Shared>, ops: Sender<Op>) -> Result<Self, StoreError> {
        let (sender, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let queue = Arc::new(Queue { shared, ops, tickets: Mutex::default() });
        let mut threads = Vec::new();
        for n in 0..THREADS {
            let (receiver, queue) = (Arc::clone(&receiver), Arc::clone(&queue));
            threads.push(thread(&format!("store-body-{n}"), move || queue.run(&receiver))?);
        }
        Ok(Self { jobs: Some(sender), queue, threads })
    }

    /// Stages a message and hands it to the writer.
    pub(super) fn put(&self, put: Box<PutOp>, answer: Answer<PutDone>) {
        let ticket = {
            let mut tickets = self.queue.tickets();
            tickets.next += 1;
            let ticket = tickets.next;
            tickets.in_hand.insert(ticket);
            ticket
        };
        if let Some(jobs) = &self.jobs {
            // The threads end after the last sender, which is this one.
            let _ = jobs.send(Job { put, answer, ticket });
        }
    }

    /// Hands a flush to the writer behind all messages that are staged now.
    pub(super) fn flush(&self, answer: Answer<()>) {
        let mut tickets = self.queue.tickets();
        let ticket = tickets.next + 1;
        tickets.flushes.push((ticket, answer));
        self.queue.pass_flushes(&mut tickets);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so itself.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { mut put, answer, ticket }) = job else { return };
            match self.shared.bodies.stage(&mut put) {
                Ok(()) => self.send(Op::Put(put, answer)),
                Err(error) => {
                    self.shared.waiting.fetch_sub(put.cost, Ordering::Relaxed);
                    // Whoever asked may have gone.
                    let _ = answer.send(Err(error));
                }
            }
            let mut tickets = self.tickets();
            tickets.in_hand.remove(&ticket);
            self.pass_flushes(&mut tickets);
        }
    }

    fn pass_flushes(&self, tickets: &mut Tickets) {
        let first = tickets.in_hand.first().copied().unwrap_or(u64::MAX);
        let (ready, waiting) =
            std::mem::take(&mut tickets.flushes).into_iter().partition(|(n, _)| *n <= first);
        tickets.flushes = waiting;
        let ready: Vec<_> = ready;
        for (_, answer) in ready {
            self.send(Op::Flush(answer));
        }
    }

    fn send(&self, op: Op) {
        if let Err(lost) = self.ops.send(op) {
            self.shared.writer_is_gone(lost.0);
        }
    }
}
