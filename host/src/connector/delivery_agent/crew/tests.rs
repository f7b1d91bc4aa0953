//! What must hold when a file is exchanged while operators decide.

use std::fs;
use std::path::Path;

use postern_agent::RuntimeConfig;
use postern_model::{DeliveryReport, DeliveryRequest, Outcome, RecipientOutcome, Response};
use postern_store::conformance::sample;

use super::*;
use crate::breaker::Verdict;
use crate::config::check_text;

/// A connector whose component can be exchanged, and the data directory of its host.
struct Desk {
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(RuntimeConfig::new(folder.path().join("cache"))).unwrap();
        Self { folder, runtime }
    }

    /// Puts a version into the file: the same code, other bytes (a custom section). Its digest.
    fn put(&self, mark: u8) {
        let hello = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/prebuilt/hello.wasm");
        let mut bytes = fs::read(hello).unwrap();
        bytes.extend([0, 2, 1, mark]);
        fs::write(self.folder.path().join("agent.wasm"), bytes).unwrap();
    }

    /// Loads what lies in the file.
    fn load(&self, keys: &str) -> Crew {
        let text = format!(
            "[host]\nname = \"a\"\n[delivery_agent_connectors.fax]\naddress_spaces = [\"FAX:*\"]\n\
             agent = \"agent.wasm\"\n{keys}"
        );
        let file = self.folder.path().join("postern.toml");
        let (config, _) = check_text(&text, &file, &file, &|_| None).unwrap();
        let agent = &config.delivery_agent_connectors[0];
        let data = self.folder.path().join("data");
        let tools = Tools {
            runtime: self.runtime.clone(),
            gate: Gate::new(agent, &data),
            consents: Consents::of(&data),
            record: VersionRecord::of(&data),
            metrics: Arc::default(),
            store: None,
        };
        let spec = AgentSpec::new(agent.agent.clone(), "fax");
        Crew::load("fax".into(), tools, spec, agent.canary, AgentBreaker::new(agent.breaker)).unwrap()
    }

    fn on_record(&self) -> Option<Rollout> {
        VersionRecord::of(&self.folder.path().join("data")).rollout("fax").unwrap()
    }
}

fn digest(crew: &Crew) -> String {
    crew.steady().agent().digest().to_owned()
}

#[test]
fn a_crew_that_is_never_used_leaves_no_trace() {
    let desk = Desk::new();
    desk.put(1);
    let crew = desk.load("");
    assert_eq!(desk.on_record(), None);
    crew.begin();
    assert_eq!(desk.on_record(), Some(Rollout::of(&digest(&crew))));
    desk.put(2);
    drop(desk.load(""));
    assert_eq!(desk.on_record(), Some(Rollout::of(&digest(&crew))), "that reload was refused");
}

#[test]
fn what_an_operator_rolled_back_while_a_reload_was_under_way_does_not_come_back_with_it() {
    let desk = Desk::new();
    desk.put(1);
    let crew = desk.load("");
    crew.begin();
    let first = digest(&crew);
    desk.put(2);
    crew.adopt(&desk.load("")).unwrap();
    crew.begin();
    let second = digest(&crew);
    assert_ne!(first, second);
    // A third one is compiled, beside the second one as it seems.
    desk.put(3);
    let newer = desk.load("canary = { share = \"10%\", count = 5 }\n");
    assert_eq!(newer.steady().agent().digest(), second);
    crew.order(Event::RollBack).unwrap();
    crew.adopt(&newer).unwrap();
    crew.begin();
    assert_eq!(digest(&crew), first);
    let rollout = desk.on_record().unwrap();
    assert_eq!(rollout.steady, first);
    let third = newer.posts().candidate.as_ref().unwrap().agent().digest().to_owned();
    assert!(rollout.is_on_trial() && rollout.candidate.unwrap().sha256 == third);
}

#[test]
fn a_version_that_takes_over_begins_with_a_closed_breaker() {
    let desk = Desk::new();
    desk.put(1);
    let crew = Arc::new(desk.load(""));
    crew.begin();
    desk.put(2);
    let newer = desk.load("canary = { share = \"10%\", count = 1 }\n");
    crew.adopt(&newer).unwrap();
    let breaker = crew.breaker().unwrap();
    for _ in 0..5 {
        breaker.admit().unwrap().end(Verdict::Broke, "trapped");
    }
    assert_eq!(breaker.view().state, "open");
    let candidate = crew.posts().candidate.clone().unwrap();
    let put = sample::put(&[sample::hop("box.example")], sample::content(100));
    let item = Arc::new(put.items[0].clone());
    let request = DeliveryRequest { message: put.message, item, content: put.content, attempt: 1 };
    let delivered = Outcome::Delivered(Response::new(250, (2, 1, 5), "here"));
    let outcomes = request.recipients().map(|to| RecipientOutcome::new(to.index, delivered.clone()));
    let report = DeliveryReport { outcomes: outcomes.collect(), ..DeliveryReport::default() };
    candidate.count(&request, &report);
    crew.look_at_trial();
    assert!(crew.is_steady(&candidate));
    assert_eq!(breaker.view().state, "closed");
}
