//! Clocks and random numbers: what agents have of them, and what becomes of those that ask for more.

#![allow(clippy::unwrap_used)]

mod support;

use postern_agent::{Agent, Clocks};
use support::{Bench, logs, open, request};

fn agent(bench: &Bench, connector: &str, clocks: Clocks, random: bool) -> Agent {
    let mut spec = bench.spec("agents/senses");
    spec.connector = connector.to_owned();
    (spec.grants.clocks, spec.grants.random) = (clocks, random);
    bench.runtime.load(spec).unwrap()
}

/// What the agent got, or the fault that ended it.
fn act(bench: &Bench, agent: &Agent, script: &str) -> Result<String, String> {
    let (agent, message) = (agent.clone(), format!("Subject: x\r\n\r\n#{script};"));
    bench.run(async move {
        let report = open(&agent).await.deliver(&request(1, message.as_bytes())).await;
        let said = report.outcomes.first().map(|said| said.outcome.response().text.clone());
        said.ok_or_else(|| support::fault(&report))
    })
}

#[test]
fn clocks_and_random_numbers_are_there_unless_the_grants_say_otherwise() {
    let bench = Bench::new();
    let mut spec = bench.spec("agents/senses");
    spec.connector = "senses".to_owned();
    let agent = bench.runtime.load(spec).unwrap();
    assert_eq!(act(&bench, &agent, "wmhRbdriHs").unwrap(), "11101dxxx1");
    let stats = agent.stats();
    assert_eq!((stats.clocks_refused, stats.random_refused), (0, 0));
}

#[test]
fn a_coarse_clock_tells_whole_seconds_and_wakes_nobody_before_its_step() {
    let bench = Bench::new();
    let agent = agent(&bench, "coarse", Clocks::Coarse, true);
    assert_eq!(act(&bench, &agent, "wmhlRbdriHs").unwrap(), "000011dxxx1");
    assert_eq!(agent.stats().clocks_refused, 0);
}

#[test]
fn who_looks_at_a_clock_that_was_taken_away_is_stopped_and_told_of() {
    logs::keep();
    let bench = Bench::new();
    let agent = agent(&bench, "no-clock", Clocks::None, true);
    assert_eq!(act(&bench, &agent, "ldriHs").unwrap(), "0dxxx1", "waiting and chance stay");
    for (count, script) in ["w", "m", "h", "R", "b"].into_iter().enumerate() {
        let fault = act(&bench, &agent, script).unwrap_err();
        assert!(fault.contains("clocks are not granted"), "{script}: {fault}");
        assert_eq!(agent.stats().clocks_refused, count as u64 + 1);
    }
    let lines = logs::of("no-clock");
    assert!(lines.iter().any(|l| l.contains("capability=clocks") && l.contains("host.now")), "{lines:#?}");
}

#[test]
fn who_asks_for_random_numbers_that_were_taken_away_is_stopped_and_told_of() {
    logs::keep();
    let bench = Bench::new();
    let agent = agent(&bench, "no-chance", Clocks::Exact, false);
    assert_eq!(
        act(&bench, &agent, "wmhs").unwrap(),
        "1110",
        "a language can start: the seed is there, and constant"
    );
    for (count, script) in ["r", "i", "H"].into_iter().enumerate() {
        let fault = act(&bench, &agent, script).unwrap_err();
        assert!(fault.contains("random numbers are not granted"), "{script}: {fault}");
        assert_eq!(agent.stats().random_refused, count as u64 + 1);
    }
    let lines = logs::of("no-chance");
    assert!(lines.iter().any(|l| l.contains("capability=random") && l.contains("host.random")), "{lines:#?}");
}
