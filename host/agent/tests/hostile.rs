//! Hostile agents: whatever they do ends in a deferral with a reason, takes nobody else along, and loses no outcome.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use postern_agent::{Limits, LoadError};
use postern_model::{DeliveryReport, NotOpened, Outcome, Refusal};
use support::{Bench, fault, hop, open, quick, request};

fn trapped(name: &str, limits: Limits) -> DeliveryReport {
    let report = cut_off(name, limits);
    assert!(report.trapped, "{name}: {report:?}");
    report
}

fn cut_off(name: &str, limits: Limits) -> DeliveryReport {
    let bench = Bench::new();
    let mut spec = bench.spec(&format!("hostile/{name}"));
    spec.limits = limits;
    let agent = bench.runtime.load(spec).unwrap();
    let (report, usable) = bench.deliver(&agent, 2);
    assert!(report.broken && !usable, "{name}: {report:?}");
    let text = fault(&report);
    assert!(text.starts_with("451 4.3.0 delivery agent, deliver: "), "{name}: {text}");
    assert_eq!(agent.stats().live, 0, "{name} left an instance behind");
    assert_eq!(bench.runtime.free_instances(), 16, "{name} left a slot behind");
    report
}

fn told(name: &str) -> DeliveryReport {
    let bench = Bench::new();
    let agent = bench.load(&format!("hostile/{name}"));
    let (report, usable) = bench.deliver(&agent, 1);
    assert!(!report.trapped && !report.broken && usable, "{name}: {report:?}");
    report
}

#[test]
fn an_endless_deliver_is_stopped_by_its_processor_time() {
    let report = trapped("loop-deliver", quick());
    assert!(fault(&report).contains("over its processor time of 200ms"), "{}", fault(&report));
    assert_eq!(report.fault.unwrap().class.as_str(), "timeout");
}

#[test]
fn an_endless_deliver_is_stopped_by_its_deadline() {
    let limits =
        Limits { cpu: Duration::from_secs(60), deadline: Duration::from_millis(200), ..Limits::default() };
    let report = cut_off("loop-deliver", limits);
    // Waiting too long is mostly the far end's fault, so it does not count towards poison.
    assert!(!report.trapped);
    assert!(fault(&report).contains("not done within the deadline of 200ms"), "{}", fault(&report));
}

#[test]
fn an_agent_that_cannot_describe_itself_is_not_loaded() {
    let bench = Bench::new();
    let error = bench.try_load("hostile/loop-describe").err().unwrap().to_string();
    assert!(error.contains("describe: over its processor time"), "{error}");
    let error = bench.try_load("hostile/trap-describe").err().unwrap().to_string();
    assert!(error.contains("describe: trapped: ") && error.contains("unreachable"), "{error}");
    let error = bench.try_load("hostile/loop-start").err().unwrap().to_string();
    assert!(error.contains("start: over its processor time"), "{error}");
    assert_eq!(bench.runtime.free_instances(), 16);
}

#[test]
fn a_broken_open_defers_the_queue() {
    let bench = Bench::new();
    for (name, cause) in [("loop-open", "over its processor time"), ("trap-open", "unreachable")] {
        let agent = bench.load(&format!("hostile/{name}"));
        let opened = bench.run(async move { agent.open(&hop()).await.err() });
        let Some(NotOpened { refusal: Refusal::DeferQueue(deferral), trapped: true }) = opened else {
            panic!("{name}: {opened:?}")
        };
        let text = deferral.response.to_string();
        assert!(text.starts_with("451 4.3.0 delivery agent, open: ") && text.contains(cause), "{text}");
    }
}

#[test]
fn a_broken_close_says_so_and_frees_the_instance() {
    let bench = Bench::new();
    for (name, cause) in [("loop-close", "over its processor time"), ("trap-close", "unreachable")] {
        let agent = bench.load(&format!("hostile/{name}"));
        let closed = bench.run(async move { open(&agent).await.close().await });
        let text = closed.unwrap_err().response.to_string();
        assert!(text.contains("delivery agent, close: ") && text.contains(cause), "{text}");
        assert_eq!(bench.runtime.free_instances(), 16);
    }
}

#[test]
fn a_trap_in_deliver_names_its_cause() {
    let text = fault(&trapped("trap-deliver", quick()));
    assert!(text.contains("trapped: ") && text.contains("unreachable"), "{text}");
}

#[test]
fn a_memory_bomb_is_reported_as_out_of_memory_with_the_limit() {
    let report = trapped("memory-bomb", Limits { memory: 8 << 20, ..quick() });
    assert!(fault(&report).contains("out of memory"), "{}", fault(&report));
    assert!(fault(&report).contains("memory = 8388608 bytes"), "{}", fault(&report));
}

#[test]
fn endless_recursion_is_a_trap() {
    assert!(fault(&trapped("deep-recursion", quick())).contains("stack"));
}

#[test]
fn a_list_that_is_not_there_is_a_trap() {
    assert!(fault(&trapped("huge-list", quick())).contains("trapped: "));
}

#[test]
fn handing_over_too_much_at_once_names_the_limit() {
    let text = fault(&trapped("huge-host-call", quick()));
    assert!(text.contains("host_call_bytes = 34603008 bytes"), "{text}");
}

#[test]
fn asking_for_too_much_randomness_names_the_limit() {
    assert!(fault(&trapped("greedy-random", quick())).contains("random_bytes = 65536"));
}

#[test]
fn a_log_flood_is_dropped_and_stopped() {
    let bench = Bench::new();
    let agent = bench.load("hostile/log-flood");
    let (report, _) = bench.deliver(&agent, 1);
    assert!(fault(&report).contains("over its processor time"), "{}", fault(&report));
    let stats = agent.stats();
    assert!(stats.log_lines_dropped > 1000 && stats.cpu_overruns == 1, "{stats:?}");
}

#[test]
fn more_outcomes_than_the_limit_are_ignored() {
    let report = told("many-outcomes");
    assert!(report.outcomes.is_empty(), "the outcome for recipient 0 came after the limit");
}

#[test]
fn a_huge_text_is_cut_and_kept_on_one_line() {
    let report = told("huge-text");
    let text = &report.outcomes[0].outcome.response().text;
    assert!(text.starts_with("xxx x") && text.len() <= 512, "{} bytes", text.len());
}

#[test]
fn a_missing_outcome_is_left_out() {
    let report = told("no-outcome");
    assert!(report.outcomes.is_empty() && report.fault.is_none());
}

#[test]
fn an_unknown_recipient_is_ignored() {
    assert!(told("unknown-recipient").outcomes.is_empty());
}

#[test]
fn a_code_that_does_not_fit_is_a_deferral_that_says_so() {
    let report = told("code-unfit");
    let Outcome::Deferred(deferral) = &report.outcomes[0].outcome else { panic!("{report:?}") };
    let text = deferral.response.to_string();
    assert!(text.contains("reported `delivered` with 550 5.0.0 done: the code does not fit"), "{text}");
}

#[test]
fn accepted_without_an_id_is_a_deferral() {
    let report = told("accepted-without-id");
    let Outcome::Deferred(deferral) = &report.outcomes[0].outcome else { panic!("{report:?}") };
    assert!(deferral.response.text.contains("without a receipt id"), "{}", deferral.response);
}

#[test]
fn what_was_reported_before_a_trap_stands() {
    let bench = Bench::new();
    let agent = bench.load("hostile/half-then-trap");
    let (report, _) = bench.deliver(&agent, 5);
    assert!(report.trapped && fault(&report).contains("unreachable"));
    let reported: Vec<_> = report.outcomes.iter().map(|o| (o.recipient, o.outcome.word())).collect();
    assert_eq!(reported, [(0, "delivered"), (1, "delivered")]);
}

#[test]
fn what_was_reported_before_an_overrun_stands() {
    for limits in [quick(), Limits { deadline: Duration::from_millis(100), ..Limits::default() }] {
        let report = cut_off("report-then-loop", limits);
        assert_eq!(report.outcomes.len(), 1);
        assert_eq!(report.outcomes[0].outcome.word(), "delivered");
    }
}

#[test]
fn the_first_outcome_counts() {
    let report = told("double-outcome");
    let words: Vec<_> = report.outcomes.iter().map(|o| o.outcome.word()).collect();
    assert_eq!(words, ["delivered"]);
}

#[test]
fn an_item_that_was_kept_leads_nowhere() {
    let bench = Bench::new();
    let agent = bench.load("hostile/item-kept");
    let (first, second) = bench.run(async move {
        let mut connection = open(&agent).await;
        let first = connection.deliver(&request(1, b"")).await;
        (first, connection.deliver(&request(1, b"")).await)
    });
    assert_eq!(first.outcomes.len(), 1);
    assert!(second.trapped && second.outcomes.is_empty());
    assert!(
        fault(&second).contains("used after the call that it was handed to had returned"),
        "{}",
        fault(&second)
    );
}

#[test]
fn an_error_of_the_agent_is_a_fault_and_the_connection_lives() {
    let report = told("error-text");
    assert_eq!(fault(&report), "451 4.3.0 delivery agent, deliver: test agent");
}

#[test]
fn a_refusal_whose_code_does_not_fit_only_defers() {
    let bench = Bench::new();
    let agent = bench.load("hostile/refusal-unfit");
    let refusal = bench.run(async move { agent.open(&hop()).await.err().unwrap() });
    let NotOpened { refusal: Refusal::DeferQueue(deferral), trapped: false } = refusal else {
        panic!("{refusal:?}")
    };
    assert!(deferral.response.text.contains("`fail-queue` with 250 2.0.0"), "{}", deferral.response);
}

#[test]
fn an_unknown_import_is_named() {
    let bench = Bench::new();
    let spec = postern_agent::AgentSpec::new(support::wat("hostile/alien-import"), "test");
    let error = bench.runtime.load(spec).err().unwrap();
    assert!(matches!(error, LoadError::Imports { .. }), "{error}");
    assert!(error.to_string().contains("alien:radio/transmitter@1.0.0"), "{error}");
}

#[test]
fn a_gone_connection_stays_gone() {
    let bench = Bench::new();
    let agent = bench.load("hostile/trap-deliver");
    bench.run(async move {
        let mut connection = open(&agent).await;
        let _ = connection.deliver(&request(1, b"")).await;
        let report = connection.deliver(&request(1, b"")).await;
        assert!(report.broken && !report.trapped && fault(&report).contains("gone"), "{report:?}");
        connection.close().await.unwrap();
    });
}

#[test]
fn a_dropped_delivery_frees_everything() {
    let bench = Bench::new();
    let mut spec = bench.spec("hostile/loop-deliver");
    spec.limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let agent = bench.runtime.load(spec).unwrap();
    let runner = agent.clone();
    bench.run(async move {
        let mut connection = open(&runner).await;
        let request = request(1, b"");
        tokio::select! {
            biased;
            report = connection.deliver(&request) => panic!("{report:?}"),
            () = tokio::task::yield_now() => {}
        }
        assert!(!connection.is_usable());
        assert!(connection.deliver(&request).await.broken);
    });
    assert_eq!((agent.stats().live, bench.runtime.free_instances()), (0, 16));
}

#[test]
fn neighbours_deliver_while_eight_agents_loop() {
    let bench = Bench::new();
    let mut spec = bench.spec("hostile/loop-deliver");
    // Long enough that none of them ends by itself before the neighbour is done.
    spec.limits =
        Limits { cpu: Duration::from_secs(600), deadline: Duration::from_secs(600), ..Limits::default() };
    let hostile = bench.runtime.load(spec).unwrap();
    let good = bench.load("agents/deliver-all");
    bench.run(async move {
        let loops: Vec<_> = (0..8)
            .map(|_| {
                let hostile = hostile.clone();
                tokio::spawn(async move { open(&hostile).await.deliver(&request(1, b"")).await })
            })
            .collect();
        while hostile.stats().deliveries < 8 {
            tokio::task::yield_now().await;
        }
        let mut connection = open(&good).await;
        for _ in 0..20 {
            let report = connection.deliver(&request(3, &vec![b'x'; 100_000])).await;
            assert_eq!(report.outcomes.len(), 3, "{report:?}");
        }
        connection.close().await.unwrap();
        assert!(loops.iter().all(|l| !l.is_finished()), "all eight still loop");
        for task in loops {
            task.abort();
            let _ = task.await;
        }
        assert_eq!(hostile.stats().live, 0);
    });
}

#[test]
fn an_open_without_a_free_instance_defers_in_time() {
    let bench = Bench::with(|config| config.max_instances = 1);
    let mut spec = bench.spec("agents/deliver-all");
    spec.limits.slot_wait = Duration::from_millis(50);
    let agent = bench.runtime.load(spec).unwrap();
    bench.run(async move {
        let held = open(&agent).await;
        let Err(NotOpened { refusal: Refusal::DeferQueue(deferral), trapped: false }) =
            agent.open(&hop()).await
        else {
            panic!("a second instance")
        };
        assert!(deferral.response.text.contains("all 1 agent instances"), "{}", deferral.response);
        held.close().await.unwrap();
        open(&agent).await.close().await.unwrap();
        assert_eq!(agent.stats().no_slot, 1);
    });
}
