//! Part b: what a call of an agent costs, on an open connection and with a connection of its own, beside a native
//! function that touches the same bytes and beside a process for each message.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postern_agent::{Agent, AgentSpec, Runtime, RuntimeConfig};
use postern_model::{DeliveryRequest, Outcome};
use postern_store::conformance::sample;

use crate::Fallible;
use crate::bench_agent;
use crate::clock::process_cpu;
use crate::options::{MESSAGE_BYTES, Scale};
use crate::row::{Bound, Row};
use crate::spawn;
use crate::statistics::{median, median_ratio};

/// A fresh connection costs several times as much as a call, so there are fewer of them.
const FRESH_SHARE: u32 = 10;

/// A native function costs next to nothing, so it is called more often.
const NATIVE_TIMES: u32 = 200;

/// A process costs much more, so there are fewer of them; enough for a clock that goes in steps of 10 ms.
const SPAWN_SHARE: u32 = 5;

/// What a call may cost, in microseconds, on the machine where the goals were set.
struct Goals {
    warm: f64,
    fresh: f64,
}

/// What a process costs on that machine, and the native function, in microseconds. On another machine, or on the same one
/// in a slow hour, it is the ratios to these that can be held.
const PROCESS_BESIDE_GOALS: f64 = 187.0;
const NATIVE_BESIDE_GOALS: f64 = 0.08;

/// Runs the part; compiled agents are kept in `folder`.
pub fn run(folder: &Path, scale: &Scale) -> Fallible<Vec<Row>> {
    let mut config = RuntimeConfig::new(folder.join("agent-cache"));
    config.worker_threads = 1;
    let runtime = Runtime::new(config)?;
    let agents: [(&str, PathBuf, Goals); 2] = [
        ("hand-lowered agent", bench_agent::reads_every_byte(folder), Goals { warm: 2.0, fresh: 10.0 }),
        ("agent made with the SDK", bench_agent::made_with_sdk(), Goals { warm: 5.0, fresh: 20.0 }),
    ];
    let process = spawn::program(folder)?;
    let mut rows = Vec::new();
    for (name, component, goals) in agents {
        let agent = runtime.load(AgentSpec::new(component, "bench"))?;
        let (mut warm, mut fresh, mut natives) = (Vec::new(), Vec::new(), Vec::new());
        let mut spawns = Vec::new();
        for round in 0..scale.rounds {
            natives.push(native(scale.calls * NATIVE_TIMES));
            let spawned = spawn::cost(&process, scale.calls / SPAWN_SHARE)?;
            spawns.push(spawned);
            let (agent, calls) = (agent.clone(), scale.calls);
            let handle = runtime.handle();
            let (w, f) = handle.block_on(handle.spawn(async move {
                let warm = warm_calls(&agent, calls).await?;
                Fallible::Ok((warm, fresh_calls(&agent, calls / FRESH_SHARE).await?))
            }))??;
            println!(
                "b: {name}, round {}: warm {w:.2} us, fresh {f:.2} us, a process {spawned:.0} us of CPU",
                round + 1
            );
            warm.push(w);
            fresh.push(f);
        }
        let row = |what: &str, cpu: &[f64], goal: f64| {
            Row::new(format!("{name}, 5 KB, {what}"), "posix_spawn; native function")
                .with("calls per process", median_ratio(&spawns, cpu), "")
                .with("native calls", median_ratio(cpu, &natives), "")
                .with("CPU", median(cpu), "us/call")
                .with("native CPU", median(&natives), "us/call")
                .with("process CPU", median(&spawns), "us")
                .goal("calls per process", Bound::AtLeast(PROCESS_BESIDE_GOALS / goal))
                .goal("native calls", Bound::AtMost(goal / NATIVE_BESIDE_GOALS))
        };
        rows.push(row("warm call", &warm, goals.warm));
        rows.push(row("open, call, close", &fresh, goals.fresh));
    }
    Ok(rows)
}

/// A message of the usual size, for the queue of `box.example`.
pub fn request() -> DeliveryRequest {
    let put = sample::put(&[sample::hop("box.example")], sample::content(MESSAGE_BYTES));
    let item = put.items.into_iter().next().expect("one hop makes one item");
    DeliveryRequest { message: put.message, item: Arc::new(item), content: put.content, attempt: 1 }
}

/// Microseconds of processor time for a delivery on a connection that was open before.
async fn warm_calls(agent: &Agent, calls: u32) -> Fallible<f64> {
    let request = request();
    let mut connection =
        agent.open(&request.item.next_hop).await.map_err(|refusal| format!("open: {refusal:?}"))?;
    // The first calls touch memory that is not there yet.
    for _ in 0..calls.min(100) {
        connection.deliver(&request).await;
    }
    let start = process_cpu();
    for _ in 0..calls {
        let report = black_box(connection.deliver(&request).await);
        delivered(&report)?;
    }
    let cost = per_call(start, calls);
    connection.close().await.map_err(|fault| format!("close: {fault:?}"))?;
    Ok(cost)
}

/// Microseconds of processor time for opening a connection, one delivery, and closing it.
async fn fresh_calls(agent: &Agent, calls: u32) -> Fallible<f64> {
    let request = request();
    let start = process_cpu();
    for _ in 0..calls {
        let mut connection =
            agent.open(&request.item.next_hop).await.map_err(|refusal| format!("open: {refusal:?}"))?;
        delivered(&black_box(connection.deliver(&request).await))?;
        connection.close().await.map_err(|fault| format!("close: {fault:?}"))?;
    }
    Ok(per_call(start, calls))
}

/// Fails when its recipient was not delivered.
pub fn delivered(report: &postern_model::DeliveryReport) -> Fallible<()> {
    match report.outcomes.as_slice() {
        [one] if matches!(one.outcome, Outcome::Delivered(_)) => Ok(()),
        _ => Err(format!("the agent did not deliver: {report:?}").into()),
    }
}

/// Microseconds of processor time for a native function that reads the same bytes.
fn native(calls: u32) -> f64 {
    let content: Bytes = vec![b'x'; MESSAGE_BYTES].into();
    let start = process_cpu();
    for _ in 0..calls {
        black_box(touch(black_box(&content)));
    }
    per_call(start, calls)
}

/// What the hand-lowered agent does with a content.
#[inline(never)]
fn touch(content: &[u8]) -> u64 {
    let (words, rest) = content.as_chunks::<8>();
    let words = words.iter().fold(0, |sum, word| sum ^ u64::from_le_bytes(*word));
    rest.iter().fold(words, |sum, byte| sum ^ u64::from(*byte))
}

fn per_call(start: Duration, calls: u32) -> f64 {
    process_cpu().saturating_sub(start).as_secs_f64() * 1e6 / f64::from(calls.max(1))
}

#[cfg(test)]
mod tests {
    use super::touch;

    #[test]
    fn every_byte_counts() {
        let mut content = vec![b'x'; 5003];
        let before = touch(&content);
        for at in [0, 7, 2500, 5002] {
            content[at] ^= 1;
            assert_ne!(touch(&content), before);
            content[at] ^= 1;
        }
        assert_eq!(touch(&content), before);
    }
}
