//! Part e: what agents cost those who have nothing to do with them. Endless loops beside another connector's deliveries
//! and beside the SMTP door, connections that lie idle, and the HTTP door beside a native client.

use std::path::Path;
use std::time::{Duration, Instant};

use postern_agent::{Agent, AgentSpec, Limits, Runtime, RuntimeConfig};
use tokio::time::{MissedTickBehavior, interval};

use crate::agent_call::{delivered, request};
use crate::host::Host;
use crate::options::{Load, MESSAGE_BYTES, Scale};
use crate::processes::resident_bytes;
use crate::row::{Bound, Row};
use crate::statistics::{float, median, percentile};
use crate::{Fallible, bench_agent, generator};

/// Agents that never return.
const LOOPS: usize = 8;

/// Every how many milliseconds another message comes: 100 a second.
const PACE: Duration = Duration::from_millis(10);

/// Connections that are open and do nothing.
const IDLE: usize = 1000;

/// Longer than any run.
const NEVER: Duration = Duration::from_hours(1);

/// Runs the part in `folder`.
pub fn run(folder: &Path, scale: &Scale) -> Fallible<Vec<Row>> {
    Ok(vec![neighbour(folder, scale)?, smtp_beside_loops(folder, scale)?, idle(folder)?])
}

/// How many messages come in a round.
fn messages(scale: &Scale) -> u64 {
    (scale.messages / 8).max(100)
}

/// Deliveries of an agent while others loop.
fn neighbour(folder: &Path, scale: &Scale) -> Fallible<Row> {
    let runtime = Runtime::new(RuntimeConfig::new(folder.join("agent-cache")))?;
    let mut looping = AgentSpec::new(bench_agent::loops(folder), "loops");
    looping.limits = Limits { cpu: NEVER, deadline: NEVER, ..Limits::default() };
    let (looping, good) = (
        runtime.load(looping)?,
        runtime.load(AgentSpec::new(bench_agent::reads_every_byte(folder), "bench"))?,
    );
    let alone = rounds(&runtime, &good, scale)?;
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            let agent = looping.clone();
            runtime.handle().spawn(async move {
                let request = request();
                if let Ok(mut connection) = agent.open(&request.item.next_hop).await {
                    connection.deliver(&request).await;
                }
            })
        })
        .collect();
    let beside = rounds(&runtime, &good, scale)?;
    let still = loops.iter().filter(|task| !task.is_finished()).count();
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    if still != LOOPS {
        return Err(format!("{still} of {LOOPS} agents were looping to the end").into());
    }
    println!(
        "e: delivery p99 {:.2} ms beside {LOOPS} loops, {:.2} ms alone",
        median(&beside),
        median(&alone)
    );
    Ok(Row::new(format!("delivery beside {LOOPS} endlessly looping agents, 100 a second"), "without them")
        .with("p99", median(&beside), "ms")
        .with("p99 alone", median(&alone), "ms")
        .goal("p99", Bound::AtMost(5.0)))
}

/// The p99 in milliseconds of each round, from the moment when a message is due until its outcome is there.
fn rounds(runtime: &Runtime, agent: &Agent, scale: &Scale) -> Fallible<Vec<f64>> {
    (0..scale.rounds)
        .map(|_| {
            let (agent, messages) = (agent.clone(), messages(scale));
            let handle = runtime.handle();
            handle.block_on(handle.spawn(async move { paced(&agent, messages).await }))?
        })
        .collect()
}

async fn paced(agent: &Agent, messages: u64) -> Fallible<f64> {
    let request = request();
    let mut connection =
        agent.open(&request.item.next_hop).await.map_err(|refusal| format!("open: {refusal:?}"))?;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut latencies = Vec::new();
    for _ in 0..messages {
        let due = pace.tick().await;
        delivered(&connection.deliver(&request).await)?;
        latencies.push(due.elapsed().as_secs_f64() * 1e3);
    }
    connection.close().await.map_err(|fault| format!("close: {fault:?}"))?;
    latencies.sort_by(f64::total_cmp);
    Ok(percentile(&latencies, 0.99))
}

/// SMTP replies that wait for no commit, on a host whose other agents loop.
fn smtp_beside_loops(folder: &Path, scale: &Scale) -> Fallible<Row> {
    let place = folder.join("isolation");
    std::fs::create_dir(&place)?;
    let agent = bench_agent::loops(&place);
    let loops: String = (0..LOOPS).map(|number| looping_connector(number, &agent)).collect();
    let host = Host::start_with(&place, &loops)?;
    let load = |recipient: &str, messages, pause| Load {
        server: host.address(),
        recipient: recipient.to_owned(),
        messages,
        sessions: 1,
        fresh: false,
        pause,
        bytes: MESSAGE_BYTES,
    };
    let alone = generator::run_elsewhere(&load("box@agent.example", messages(scale), PACE))?;
    for number in 0..LOOPS {
        generator::run_elsewhere(&load(&format!("box@loop{number}.example"), 1, Duration::ZERO))?;
    }
    // Each of them has an item out, and keeps it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while host.connections()? < LOOPS as u64 {
        if Instant::now() > deadline {
            return Err("the agents do not begin to loop".into());
        }
        std::thread::sleep(PACE);
    }
    let mut p99 = Vec::new();
    for round in 0..scale.rounds {
        let sent = generator::run_elsewhere(&load("box@agent.example", messages(scale), PACE))?;
        println!(
            "e: SMTP replies beside {LOOPS} loops, round {}: p99 {:.2} ms",
            round + 1,
            sent.envelope_p99_ms
        );
        p99.push(sent.envelope_p99_ms);
    }
    Ok(Row::new(
        format!("SMTP replies before DATA beside {LOOPS} looping agents, 100 a second"),
        "without them",
    )
    .with("p99", median(&p99), "ms")
    .with("p99 alone", alone.envelope_p99_ms, "ms")
    .goal("p99", Bound::AtMost(10.0)))
}

fn looping_connector(number: usize, agent: &Path) -> String {
    format!(
        "\n[delivery_agent_connectors.loop{number}]\naddress_spaces = [\"SMTP:loop{number}.example\"]\n\
         agent = {:?}\nlimits = {{ cpu = \"1h\", deadline = \"1h\" }}\n",
        agent.display().to_string()
    )
}

/// Memory of connections that are open and idle.
fn idle(folder: &Path) -> Fallible<Row> {
    let mut config = RuntimeConfig::new(folder.join("agent-cache"));
    config.max_instances = u32::try_from(IDLE)?;
    let runtime = Runtime::new(config)?;
    let agent = runtime.load(AgentSpec::new(bench_agent::made_with_sdk(), "bench"))?;
    let before = resident_bytes()?;
    let handle = runtime.handle();
    let (open, agent) = (handle.clone(), agent);
    let connections = handle.block_on(open.spawn(async move {
        let request = request();
        let mut connections = Vec::new();
        for _ in 0..IDLE {
            let opened = agent.open(&request.item.next_hop).await;
            let mut connection = opened.map_err(|refusal| format!("open: {refusal:?}"))?;
            delivered(&connection.deliver(&request).await)?;
            connections.push(connection);
        }
        Fallible::Ok(connections)
    }))??;
    let grown = resident_bytes()?.saturating_sub(before);
    println!("e: {} idle connections: {} KiB", connections.len(), grown >> 10);
    Ok(Row::new(format!("{IDLE} idle connections of an agent made with the SDK"), "")
        .with("memory", float(grown) / 1e6, "MB")
        .goal("memory", Bound::AtMost(100.0)))
}
