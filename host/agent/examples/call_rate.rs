//! Measures what one delivery costs on a warm connection, and a whole connection with one delivery on it.
//!
//! `cargo run --release -p postern-agent --example call_rate [-- AGENT.wat] [BYTES]`; the default agent reads every byte
//! of a message of 5 KB. Prints the median of eleven rounds, wall time.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use postern_agent::Agent;
use support::{Bench, encode, open, request};

const ROUNDS: usize = 11;
const PER_ROUND: u32 = 2000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let agent = arguments.next();
    let size = arguments.next().map_or(5000, |n| n.parse().expect("a number of bytes"));
    let bench = Bench::new();
    let mut spec = bench.spec("agents/deliver-all");
    match agent.as_deref().map(Path::new) {
        Some(path) if path.extension().is_some_and(|e| e == "wasm") => path.clone_into(&mut spec.component),
        Some(path) => spec.component = encode::encode_into(path, bench.folder()),
        None => {}
    }
    let agent = bench.runtime.load(spec).expect("the agent loads");
    let (warm, fresh) = bench.run(async move { (warm(&agent, size).await, fresh(&agent, size).await) });
    println!(
        "{size} bytes: {warm:?} for a delivery on a warm connection, {fresh:?} for open, one delivery and close"
    );
}

async fn warm(agent: &Agent, size: usize) -> Duration {
    let request = request(1, &vec![b'x'; size]);
    let mut connection = open(agent).await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..PER_ROUND {
            let report = black_box(connection.deliver(&request).await);
            assert_eq!(report.outcomes.len(), 1, "{report:?}");
        }
        rounds.push(start.elapsed() / PER_ROUND);
    }
    median(rounds)
}

async fn fresh(agent: &Agent, size: usize) -> Duration {
    let request = request(1, &vec![b'x'; size]);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..PER_ROUND / 10 {
            let mut connection = open(agent).await;
            black_box(connection.deliver(&request).await);
            connection.close().await.expect("it closes");
        }
        rounds.push(start.elapsed() / (PER_ROUND / 10));
    }
    median(rounds)
}

fn median(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}
