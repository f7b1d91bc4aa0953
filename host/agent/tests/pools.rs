//! Two pools: agents that need much, as Python and JavaScript do, have places of their own.

#![allow(clippy::unwrap_used)]

mod support;

use postern_agent::{Agent, AgentSpec, LoadError, Size};
use support::{Bench, hop, open, quick, request};

/// A component as large as one of Python: an agent with as many core instances more, each with a table of its own.
fn large(bench: &Bench, core_instances: usize) -> Result<Agent, LoadError> {
    let inner = std::fs::read(bench.spec("agents/deliver-all").component).unwrap();
    let path = bench.folder().join(format!("large-{core_instances}.wasm"));
    std::fs::write(&path, beside(&inner, core_instances)).unwrap();
    bench.runtime.load(AgentSpec { limits: quick(), ..AgentSpec::new(path, "large") })
}

/// A component with sections at its end that make so many more core instances, out of a module that they bring.
fn beside(component: &[u8], core_instances: usize) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let mut section = |id: u8, content: &[u8]| {
        bytes.push(id);
        bytes.extend(leb(content.len()));
        bytes.extend(content);
    };
    // The new module is the last one of the component, whose own ones are counted first.
    let module = wat::parse_str("(module (table 1 funcref))").unwrap();
    let index = modules(component);
    section(1, &module);
    let mut instances = leb(core_instances);
    for _ in 0..core_instances {
        instances.push(0);
        instances.extend(leb(index));
        instances.extend(leb(0));
    }
    section(2, &instances);
    bytes
}

/// Core modules that lie in a component itself: the sections of that kind at its top.
fn modules(component: &[u8]) -> usize {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        let id = component[at];
        let (length, bytes) = unleb(&component[at + 1..]);
        count += usize::from(id == 1);
        at += 1 + bytes + length;
    }
    count
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn unleb(bytes: &[u8]) -> (usize, usize) {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (number, at + 1);
        }
    }
    panic!("no number")
}

fn bench() -> Bench {
    Bench::with(|config| (config.max_instances, config.max_large_instances) = (3, 2))
}

#[test]
fn large_agents_and_the_others_have_places_of_their_own() {
    let bench = bench();
    let (small, large) = (bench.load("agents/deliver-all"), large(&bench, 60).unwrap());
    assert_eq!((small.size(), large.size()), (Size::Ordinary, Size::Large));
    let runtime = bench.runtime.clone();
    bench.run(async move {
        let mut taken = vec![open(&large).await, open(&large).await];
        assert_eq!((runtime.free_instances(), runtime.free_large_instances()), (3, 0));
        // No place for a third, while every place for the others is free and works.
        let mut others = vec![open(&small).await, open(&small).await, open(&small).await];
        for connection in taken.iter_mut().chain(&mut others) {
            let report = connection.deliver(&request(1, b"Subject: x\r\n\r\nbody\r\n")).await;
            assert_eq!(report.outcomes.len(), 1, "{report:?}");
        }
        let waiting = tokio::spawn({
            let large = large.clone();
            async move { large.open(&hop()).await.map(|connection| connection.is_usable()).unwrap() }
        });
        while large.stats().limits.of(postern_agent::Limit::LargeInstances) == 0 {
            tokio::task::yield_now().await;
        }
        // It waits for a large one and takes no other.
        others.pop();
        assert!(!waiting.is_finished());
        taken.pop();
        assert!(waiting.await.unwrap());
        assert_eq!(small.stats().limits.of(postern_agent::Limit::Instances), 0);
    });
}

#[test]
fn every_place_of_both_pools_can_be_taken_at_once() {
    let bench = Bench::with(|config| (config.max_instances, config.max_large_instances) = (40, 6));
    // As many core instances and tables as the place of a large agent has.
    let (small, large) = (bench.load("agents/deliver-all"), large(&bench, 60).unwrap());
    bench.run(async move {
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(open(&large).await);
        }
        for _ in 0..40 {
            taken.push(open(&small).await);
        }
        for connection in &mut taken {
            let report = connection.deliver(&request(1, b"Subject: x\r\n\r\nbody\r\n")).await;
            assert_eq!(report.outcomes.len(), 1, "{report:?}");
        }
    });
}

#[test]
fn a_component_that_needs_more_than_any_place_has_is_not_loaded() {
    let bench = bench();
    // Each brings a table; a place has 64.
    let Err(error) = large(&bench, 70) else { panic!("it was loaded") };
    assert!(matches!(error, LoadError::Compile { .. }), "{error}");
    assert!(error.to_string().contains("table"), "{error}");
}
