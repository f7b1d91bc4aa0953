//! Part a: durable enqueue, beside a bare append and fdatasync of the same bytes by the same number of producers; and the
//! life of a message in the store, enqueued, leased and settled.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_model::{Content, NextHop};
use postern_store::conformance::sample;
use postern_store::sqlite::{SqliteOptions, SqliteStore};
use postern_store::{Commit, Put, SettleDone, Store};

use crate::Fallible;
use crate::clock::process_cpu;
use crate::group_commit::GroupLog;
use crate::options::{MESSAGE_BYTES, Scale};
use crate::row::{Bound, Row};
use crate::statistics::{float, median, median_ratio};

/// Producers at one time.
const PRODUCERS: [usize; 3] = [1, 16, 64];

/// Settlements that may be on their way to the disk, as for a connection of the host.
const SETTLE_WINDOW: usize = 64;

/// How long the consumer waits for news before it looks again; it only matters at the end of a round.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a round gave.
struct Round {
    messages: u64,
    seconds: f64,
    syncs: u64,
    cpu: Duration,
}

impl Round {
    fn rate(&self) -> f64 {
        float(self.messages) / self.seconds
    }

    fn syncs_per_message(&self) -> f64 {
        float(self.syncs) / float(self.messages)
    }

    fn cpu_per_message(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / float(self.messages)
    }
}

/// Runs the part in `folder`.
pub fn run(folder: &Path, scale: &Scale) -> Fallible<Vec<Row>> {
    let mut rows = Vec::new();
    for producers in PRODUCERS {
        rows.push(enqueue(folder, scale, producers)?);
    }
    for producers in &PRODUCERS[1..] {
        rows.push(whole_life(folder, scale, *producers)?);
    }
    Ok(rows)
}

fn enqueue(folder: &Path, scale: &Scale, producers: usize) -> Fallible<Row> {
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let log = bare_round(folder, scale.round, producers)?;
        let store = store_round(folder, scale.round, producers)?;
        println!(
            "a: {producers} producers, round {}: bare {:.0}/s, store {:.0}/s",
            round + 1,
            log.rate(),
            store.rate()
        );
        bare.push(log);
        ours.push(store);
    }
    let rates = |rounds: &[Round]| rounds.iter().map(Round::rate).collect::<Vec<_>>();
    let middle = |rounds: &[Round], of: fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    let row = Row::new(
        format!("durable enqueue, 5 KB, {producers} producers"),
        "append + fdatasync group commit, same bytes",
    );
    let row = row
        .with("ratio", median_ratio(&rates(&ours), &rates(&bare)), "")
        .with("syncs per message", middle(&ours, Round::syncs_per_message), "")
        .with("bare syncs per message", middle(&bare, Round::syncs_per_message), "")
        .with("store", middle(&ours, Round::rate), "msg/s")
        .with("bare", middle(&bare, Round::rate), "msg/s")
        .with("CPU", middle(&ours, Round::cpu_per_message), "us/msg");
    Ok(match producers {
        16 => row.goal("ratio", Bound::AtLeast(0.4)).goal("syncs per message", Bound::AtMost(0.25)),
        64 => row.goal("ratio", Bound::AtLeast(0.28)),
        _ => row,
    })
}

fn whole_life(folder: &Path, scale: &Scale, producers: usize) -> Fallible<Row> {
    let mut rounds = Vec::new();
    for round in 0..scale.rounds {
        let life = life_round(folder, scale.round, producers)?;
        println!("a: {producers} producers, settled, round {}: {:.0}/s", round + 1, life.rate());
        rounds.push(life);
    }
    let middle = |of: fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    let row = Row::new(format!("put, lease, settle, 5 KB, {producers} producers"), "");
    Ok(row
        .with("syncs per message", middle(Round::syncs_per_message), "")
        .with("CPU", middle(Round::cpu_per_message), "us/msg")
        .with("rate", middle(Round::rate), "msg/s")
        .goal("CPU", Bound::AtMost(60.0)))
}

/// A queue for each producer, so that this is no benchmark of one queue.
fn hop(producer: usize) -> NextHop {
    sample::hop(&format!("box{producer}.example"))
}

fn message(producer: usize, content: &Content) -> Put {
    sample::put(&[hop(producer)], content.clone())
}

/// What a durable queue must at least write for a message: its content, envelope, items and event.
fn record(put: &Put, content: &Content) -> Fallible<Box<[u8]>> {
    let mut bytes = content.read_range(0, MESSAGE_BYTES)?.to_vec();
    bytes.extend(serde_json::to_vec(&(&*put.message, &put.items, &put.event))?);
    Ok(bytes.into())
}

fn bare_round(folder: &Path, time: Duration, producers: usize) -> Fallible<Round> {
    let folder = tempfile::tempdir_in(folder)?;
    let log = GroupLog::create(&folder.path().join("log"))?;
    let content = sample::content(MESSAGE_BYTES);
    let cpu = process_cpu();
    let (messages, seconds) = produce(producers, time, |producer| {
        let (end, record) = (log.producer(), record(&message(producer, &content), &content)?);
        Ok(move || Ok(end.append(record.clone())?))
    })?;
    let cpu = process_cpu().saturating_sub(cpu);
    Ok(Round { messages, seconds, syncs: log.close()?, cpu })
}

fn store_round(folder: &Path, time: Duration, producers: usize) -> Fallible<Round> {
    let folder = tempfile::tempdir_in(folder)?;
    let store = open(folder.path())?;
    let content = sample::content(MESSAGE_BYTES);
    let (before, cpu) = (store.commits(), process_cpu());
    let (messages, seconds) = produce(producers, time, |producer| {
        let (store, content) = (&store, content.clone());
        Ok(move || Ok(store.put(message(producer, &content)).wait().map(drop)?))
    })?;
    let round =
        Round { messages, seconds, syncs: store.commits() - before, cpu: process_cpu().saturating_sub(cpu) };
    let accepted = store.counters().wait()?.accepted;
    if accepted != messages {
        return Err(format!("{messages} messages were put, and the store counts {accepted}").into());
    }
    Ok(round)
}

fn life_round(folder: &Path, time: Duration, producers: usize) -> Fallible<Round> {
    let folder = tempfile::tempdir_in(folder)?;
    let store = Arc::new(open(folder.path())?);
    let content = sample::content(MESSAGE_BYTES);
    let ended = Arc::new(AtomicBool::new(false));
    let (before, cpu, start) = (store.commits(), process_cpu(), Instant::now());
    let (messages, settled) = thread::scope(|scope| -> Fallible<(u64, u64)> {
        let consumer = scope.spawn(|| consume(&store, &ended));
        let produced = produce_in_tasks(&store, producers, time, &content);
        ended.store(true, Ordering::Release);
        let settled = consumer.join().map_err(|_| "the consumer panicked")??;
        Ok((produced?, settled))
    })?;
    let round = Round {
        messages,
        seconds: start.elapsed().as_secs_f64(),
        syncs: store.commits() - before,
        cpu: process_cpu().saturating_sub(cpu),
    };
    if settled != messages || !store.index().is_empty() {
        return Err(format!("{messages} messages were put and {settled} settled").into());
    }
    Ok(round)
}

fn open(folder: &Path) -> Fallible<SqliteStore> {
    Ok(SqliteStore::open(folder, SqliteOptions::default())?)
}

/// Leases and settles whatever comes, until `ended` is set and nothing is left; returns how many.
fn consume(store: &SqliteStore, ended: &AtomicBool) -> Fallible<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let feed = store.index().ready(&sample::hop("any").connector);
        let mut under_way: VecDeque<Commit<SettleDone>> = VecDeque::new();
        let mut settled = 0;
        loop {
            // Before looking: what was put before it was set is seen below.
            let last = ended.load(Ordering::Acquire);
            feed.promote(Timestamp::now());
            let hops = feed.take_ready();
            for hop in &hops {
                while let Some(mut lease) = store.index().lease(hop, Timestamp::now()) {
                    let loaded =
                        lease.load(store).await?.ok_or("an item in the index is not in the store")?;
                    under_way.push_back(lease.settle(store, sample::delivered(&loaded.item)));
                    settled += 1;
                    if under_way.len() > SETTLE_WINDOW
                        && let Some(oldest) = under_way.pop_front()
                    {
                        oldest.await?;
                    }
                }
            }
            if last && hops.is_empty() {
                break;
            }
            // An elapsed time is no fault: it only means another look.
            let _ = tokio::time::timeout(LOOK_AGAIN, feed.notified()).await;
        }
        for commit in under_way {
            commit.await?;
        }
        Ok(settled)
    })
}

/// Lets this many tasks put messages for `time`, as the sessions of a host are tasks, not threads; returns how many.
fn produce_in_tasks(
    store: &Arc<SqliteStore>,
    producers: usize,
    time: Duration,
    content: &Content,
) -> Fallible<u64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    let start = Instant::now();
    let tasks: Vec<_> = (0..producers)
        .map(|producer| {
            let (store, content) = (store.clone(), content.clone());
            runtime.spawn(async move {
                let mut done = 0;
                while start.elapsed() < time {
                    store.put(message(producer, &content)).await?;
                    done += 1;
                }
                Fallible::Ok(done)
            })
        })
        .collect();
    runtime.block_on(async {
        let mut all = 0;
        for task in tasks {
            all += task.await??;
        }
        Ok(all)
    })
}

/// Lets this many threads repeat what `make` gives each of them, for `time`; returns how often, and the seconds that it
/// took until the last had ended.
pub fn produce<'scope, W>(
    producers: usize,
    time: Duration,
    make: impl Fn(usize) -> Fallible<W>,
) -> Fallible<(u64, f64)>
where
    W: Fn() -> Fallible<()> + Send + 'scope,
{
    let works: Vec<W> = (0..producers).map(make).collect::<Fallible<_>>()?;
    let start = Instant::now();
    let done = thread::scope(|scope| {
        let threads: Vec<_> = works
            .into_iter()
            .map(|work| {
                scope.spawn(move || -> Fallible<u64> {
                    let mut done = 0;
                    while start.elapsed() < time {
                        work()?;
                        done += 1;
                    }
                    Ok(done)
                })
            })
            .collect();
        let ends = threads.into_iter().map(|thread| thread.join().map_err(|_| "a producer panicked")?);
        ends.sum::<Fallible<u64>>()
    })?;
    Ok((done, start.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bare_round, life_round, store_round};

    #[test]
    fn every_round_counts_what_it_did() {
        let folder = tempfile::tempdir().unwrap();
        let time = Duration::from_millis(20);
        for round in [bare_round, store_round, life_round] {
            let done = round(folder.path(), time, 2).unwrap();
            assert!(done.messages > 0 && done.syncs > 0 && done.seconds >= time.as_secs_f64());
        }
    }
}
