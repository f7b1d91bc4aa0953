//! Hostile agents in a real host: each is stopped with a reason, its mail waits, nothing that it reported is forgotten, and
//! the agent beside it delivers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fs;
use std::path::{Path, PathBuf};

use postern_tests::{Host, Site, cli, eventually, http, messages};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";

/// What every hostile agent here may use up, but where a test says otherwise.
const LIMITS: &str = "cpu = \"200ms\", deadline = \"5s\", memory = \"8MiB\"";

/// Messages for the good agent beside the hostile ones.
const GOOD: usize = 20;

/// What one hostile agent does to its message.
struct Case {
    /// The file in `host/agent/tests/hostile`.
    agent: &'static str,
    limits: &'static str,
    /// What the reason must name.
    reason: &'static [&'static str],
}

const fn case(agent: &'static str, reason: &'static [&'static str]) -> Case {
    Case { agent, limits: LIMITS, reason }
}

/// Agents whose message is deferred, with what the reason names.
const DEFERRED: &[Case] = &[
    case("loop-deliver", &["delivery agent, deliver: over its processor time of 200ms"]),
    case("trap-deliver", &["delivery agent, deliver: trapped: ", "unreachable"]),
    case("memory-bomb", &["delivery agent, deliver: out of memory", "memory = 8388608 bytes"]),
    case("deep-recursion", &["delivery agent, deliver: trapped: ", "stack"]),
    case("huge-list", &["delivery agent, deliver: trapped: "]),
    Case {
        agent: "huge-host-call",
        limits: "cpu = \"5s\", memory = \"64MiB\"",
        reason: &["delivery agent, deliver: ", "host_call_bytes = 34603008 bytes"],
    },
    case("greedy-random", &["delivery agent, deliver: ", "random_bytes = 65536"]),
    case("log-flood", &["delivery agent, deliver: over its processor time of 200ms"]),
    case("half-then-trap", &["delivery agent, deliver: trapped: ", "unreachable"]),
    case("error-text", &["delivery agent, deliver: test agent"]),
    case("no-outcome", &["no outcome"]),
    case("unknown-recipient", &["no outcome"]),
    case("many-outcomes", &["no outcome"]),
    case("code-unfit", &["550 5.0.0", "the code does not fit"]),
    case("accepted-without-id", &["without a receipt id"]),
];

/// Agents that cannot be opened: their whole queue waits.
const QUEUE_DEFERRED: &[Case] = &[
    case("loop-open", &["delivery agent, open: over its processor time of 200ms"]),
    case("trap-open", &["delivery agent, open: trapped: ", "unreachable"]),
    case("refusal-unfit", &["`fail-queue` with 250 2.0.0"]),
    case("loop-describe", &["the agent cannot be loaded", "describe: over its processor time of 200ms"]),
    case("trap-describe", &["the agent cannot be loaded", "describe: trapped: "]),
    case("loop-start", &["the agent cannot be loaded", "start: over its processor time of 200ms"]),
    case("alien-import", &["the agent cannot be loaded", "alien:radio/transmitter@1.0.0"]),
];

/// Agents that misbehave, and yet deliver.
const DELIVERED: &[Case] = &[
    case("report-then-loop", &[]),
    case("loop-close", &[]),
    case("trap-close", &[]),
    case("double-outcome", &[]),
    case("huge-text", &[]),
];

fn agent_file(name: &str) -> PathBuf {
    cli::root().join("host/agent/tests").join(name).with_extension("wat")
}

/// The component of an agent, in the folder of the site.
fn component(folder: &Path, file: &Path) -> PathBuf {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    if !text.starts_with("(component") {
        return encode::encode_into(file, folder);
    }
    let path = folder.join(file.file_stem().unwrap()).with_extension("wasm");
    fs::write(&path, wat::parse_str(&text).unwrap()).unwrap();
    path
}

/// Adds an agent under its own name, for the domain of that name.
fn with_agent(site: Site, file: &Path, limits: &str, lines: &str) -> Site {
    let path = component(site.folder(), file);
    let name = file.file_stem().unwrap().to_str().unwrap();
    site.section(&format!(
        "[delivery_agent_connectors.{name}]\naddress_spaces = [\"SMTP:{name}.example\"]\nagent = {path:?}\n\
         limits = {{ {limits} }}\n{lines}"
    ))
}

/// A site with the good agent and these.
fn site<'a>(cases: impl IntoIterator<Item = &'a Case>, lines: &str) -> Site {
    let site = with_agent(Site::new(), &agent_file("agents/deliver-all"), "cpu = \"10s\"", "");
    let add = |site, case: &Case| {
        with_agent(site, &agent_file(&format!("hostile/{}", case.agent)), case.limits, lines)
    };
    cases.into_iter().fold(site, add)
}

fn address(user: &str, agent: &str) -> String {
    format!("{user}@{agent}.example")
}

fn send(host: &Host, agent: &str, users: &[&str]) -> String {
    let addresses: Vec<String> = users.iter().map(|user| address(user, agent)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    host.client().submit(JO, &addresses, &messages::simple(agent))
}

/// The good agent delivers so many messages, whatever the others do meanwhile.
fn good_agent_delivers(site: &Site, host: &Host, count: usize) {
    let before = delivered(host, "deliver-all");
    for _ in 0..count {
        send(host, "deliver-all", &["ann", "ben"]);
    }
    eventually("the good agent's mail to be delivered", || {
        (delivered(host, "deliver-all") == before + 2 * count as u64).then_some(())
    });
    eventually("the good agent's empty queue", || site.queue("deliver-all").is_none().then_some(()));
}

/// Recipients that a connector delivered to.
fn delivered(host: &Host, connector: &str) -> u64 {
    let (_, text) = http::get(host.admin(), "/metrics");
    let start = format!("postern_recipients_total{{connector=\"{connector}\",what=\"delivered\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |value| value.parse().expect("a counter"))
}

/// The rows of `track` about a message.
fn track(site: &Site, id: &str, event: &str) -> Vec<Value> {
    site.track(&["--message", id, "--event", event])
}

/// The only item of a message that is still queued.
fn item(site: &Site, id: &str) -> Value {
    site.ask(&["message", "show", id])["items"][0].clone()
}

/// The states of the recipients of an item, in their order.
fn states(item: &Value) -> Vec<&str> {
    let recipients = item["recipients"].as_array().into_iter().flatten();
    recipients.map(|recipient| recipient["state"].as_str().unwrap_or_default()).collect()
}

fn names_all(text: &Value, case: &Case) {
    let text = text.as_str().unwrap_or_else(|| panic!("{}: {text} is no reason", case.agent));
    for part in case.reason {
        assert!(text.contains(part), "{}: no {part:?} in {text:?}", case.agent);
    }
}

#[test]
fn the_mail_of_every_hostile_agent_waits_with_a_reason_while_the_good_one_delivers() {
    let all = || DEFERRED.iter().chain(QUEUE_DEFERRED).chain(DELIVERED);
    let site = site(all(), "retry = \"1h\"\npoison_after = 1000");
    let host = site.start();
    let ids: Vec<String> = all().map(|case| send(&host, case.agent, &["ann"])).collect();
    good_agent_delivers(&site, &host, GOOD);

    for (case, id) in all().zip(&ids).take(DEFERRED.len()) {
        let rows = eventually("a deferral", || {
            let rows = track(&site, id, "defer");
            (!rows.is_empty()).then_some(rows)
        });
        names_all(&rows[0]["response"], case);
        let item = item(&site, id);
        names_all(&item["last_error"], case);
        assert_eq!((&item["state"], states(&item)), (&json!("active"), vec!["queued"]), "{item}");
        assert!(item["next_retry"].is_string(), "{item}");
        let queue = site.ask(&["queue", "show", case.agent]);
        names_all(&queue[0]["items"][0]["last_error"], case);
    }
    for (case, id) in all().zip(&ids).skip(DEFERRED.len()).take(QUEUE_DEFERRED.len()) {
        let queue = eventually("a queue in retry", || {
            site.queue(case.agent).filter(|queue| queue["state"] == "retry")
        });
        names_all(&queue["last_error"], case);
        let rows = track(&site, id, "defer");
        assert!(!rows.is_empty(), "{}", case.agent);
        names_all(&rows[0]["response"], case);
        assert_eq!(states(&item(&site, id)), ["queued"]);
    }
    // What was reported before an endless loop counts: nothing of it is queued.
    for Case { agent, .. } in DELIVERED {
        eventually("a delivery", || (delivered(&host, agent) == 1).then_some(()));
        eventually("its empty queue", || site.queue(agent).is_none().then_some(()));
    }
    good_agent_delivers(&site, &host, GOOD);
    assert_eq!(http::get(host.admin(), "/livez").0, 200);
    assert_eq!(http::get(host.admin(), "/readyz").0, 200);
    let audit = site.audit();
    let queued = DEFERRED.len() + QUEUE_DEFERRED.len();
    assert_eq!(audit["queued"], queued, "{audit}");
    host.stop();
    assert_eq!(site.audit()["queued"], queued);
}

#[test]
fn the_reason_in_the_list_of_queues_is_that_of_the_last_attempt() {
    let case = case("trap-deliver", &["delivery agent, deliver: trapped: ", "unreachable"]);
    let site = site([&case], "retry = \"1h\"\npoison_after = 1000");
    let host = site.start();
    let id = send(&host, case.agent, &["ann"]);
    eventually("a deferral", || (!track(&site, &id, "defer").is_empty()).then_some(()));
    let queue = site.queue(case.agent).expect("its message waits");
    names_all(&queue["last_error"], &case);
    host.stop();
}

#[test]
fn an_agent_that_waits_for_ever_is_stopped_by_its_deadline() {
    let case = Case {
        agent: "loop-deliver",
        limits: "cpu = \"1h\", deadline = \"1s\"",
        reason: &["delivery agent, deliver: not done within the deadline of 1s (limit deadline = 1s)"],
    };
    let site = site([&case], "retry = \"1h\"");
    let host = site.start();
    let id = send(&host, case.agent, &["ann"]);
    eventually("the agent at work", || site.queue(case.agent).filter(|queue| queue["active"] == 1));
    good_agent_delivers(&site, &host, GOOD);
    let rows = eventually("a deferral", || {
        let rows = track(&site, &id, "defer");
        (!rows.is_empty()).then_some(rows)
    });
    names_all(&rows[0]["response"], &case);
    let (_, metrics) = http::get(host.admin(), "/metrics");
    let counted = "postern_agent_limits_total{connector=\"loop-deliver\",what=\"deadline\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    site.audit();
    host.stop();
}

#[test]
fn what_was_reported_before_a_trap_stands_and_exactly_the_others_stay_queued() {
    let case = case("half-then-trap", &["unreachable"]);
    let site = site([&case], "retry = \"1h\"");
    let host = site.start();
    let id = send(&host, case.agent, &["a", "b", "c", "d", "e"]);
    eventually("the deferrals of the others", || (track(&site, &id, "defer").len() == 3).then_some(()));
    let shown = item(&site, &id);
    assert_eq!(states(&shown), ["delivered", "delivered", "queued", "queued", "queued"], "{shown}");
    good_agent_delivers(&site, &host, GOOD);
    let audit = site.audit();
    assert_eq!((&audit["delivered"], &audit["queued"]), (&(2 + 2 * GOOD).into(), &3.into()), "{audit}");

    // Only those are offered again: of three, one is reported; of two, one; of one, none.
    for queued in [2, 1, 1] {
        let attempts = item(&site, &id)["attempts"].as_u64();
        site.order(&["message", "retry", &id]);
        let shown = eventually("another attempt", || {
            let shown = item(&site, &id);
            (shown["attempts"].as_u64() > attempts).then_some(shown)
        });
        assert_eq!(states(&shown).iter().filter(|state| **state == "queued").count(), queued, "{shown}");
    }
    for (user, deliveries) in [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 0)] {
        let events = site.events(&address(user, case.agent));
        assert_eq!(
            events.iter().filter(|event| *event == "deliver").count(),
            deliveries,
            "{user}: {events:?}"
        );
    }
    site.audit();
    host.stop();
}

#[test]
fn an_item_that_was_kept_by_an_agent_leads_nowhere_and_names_the_reason() {
    let case = case(
        "item-kept",
        &["delivery agent, deliver: ", "used after the call that it was handed to had returned"],
    );
    let site = site([&case], "retry = \"1h\"\nmax_connections_per_destination = 1");
    let host = site.start();
    site.order(&["queue", "suspend", "item-kept/item-kept.example"]);
    let ids = [send(&host, case.agent, &["ann"]), send(&host, case.agent, &["ben"])];
    site.order(&["queue", "resume", "item-kept"]);
    let rows = eventually("the second message's deferral", || {
        let rows: Vec<Value> = ids.iter().flat_map(|id| track(&site, id, "defer")).collect();
        (!rows.is_empty()).then_some(rows)
    });
    names_all(&rows[0]["response"], &case);
    assert_eq!(delivered(&host, case.agent), 1);
    assert_eq!(site.audit()["queued"], 1);
    host.stop();
}

#[test]
fn a_message_that_traps_too_often_is_poison_until_an_operator_removes_it() {
    let cases = [
        case("trap-deliver", &["trapped"]),
        case("loop-deliver", &["processor"]),
        case("memory-bomb", &["memory"]),
    ];
    let site = site(&cases, "retry = \"100ms\"\npoison_after = 3");
    let host = site.start();
    let ids: Vec<String> = cases.iter().map(|case| send(&host, case.agent, &["ann", "ben"])).collect();
    good_agent_delivers(&site, &host, GOOD);
    for (case, id) in cases.iter().zip(&ids) {
        let shown = eventually("poison", || Some(item(&site, id)).filter(|item| item["state"] == "poison"));
        assert_eq!((&shown["attempts"], &shown["traps"]), (&3.into(), &3.into()), "{shown}");
        assert_eq!(states(&shown), ["queued", "queued"], "{shown}");
        names_all(&shown["last_error"], case);
        let queue = site.queue(case.agent).expect("poison is in its queue");
        assert_eq!((&queue["poison"], &queue["state"]), (&1.into(), &json!("poison")), "{queue}");
        assert_eq!(track(&site, id, "poison").len(), 2, "one for each recipient");
    }
    assert_eq!(site.audit()["poison"], 6);

    // A message behind a poisoned one gets its own three attempts; a restart forgets nothing.
    host.stop();
    let host = site.start();
    let next = send(&host, "trap-deliver", &["cid"]);
    eventually("the next poison", || Some(item(&site, &next)).filter(|item| item["traps"] == 3));
    for id in &ids {
        let shown = item(&site, id);
        assert_eq!((&shown["state"], &shown["attempts"]), (&json!("poison"), &3.into()), "{shown}");
    }

    // An operator may give it another try, which traps again.
    site.order(&["message", "retry", &ids[0]]);
    eventually("poison once more", || {
        Some(item(&site, &ids[0]))
            .filter(|item| item["state"] == "poison" && item["attempts"].as_u64() > Some(3))
    });
    for id in ids.iter().chain([&next]) {
        site.order(&["message", "remove", id]);
    }
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    let audit = site.audit();
    assert_eq!((&audit["removed"], &audit["poison"]), (&7.into(), &0.into()), "{audit}");
    good_agent_delivers(&site, &host, 1);
    host.stop();
    site.audit();
}

#[test]
fn a_host_stops_in_good_order_while_agents_loop() {
    let case = Case { agent: "loop-deliver", limits: "cpu = \"1h\", deadline = \"1h\"", reason: &[] };
    let mut site = site([&case], "retry = \"1h\"");
    site.change("store_reserve = 0", "store_reserve = 0\nshutdown_grace = \"1s\"");
    let host = site.start();
    let ids = [send(&host, case.agent, &["ann"]), send(&host, case.agent, &["ben"])];
    eventually("both at work", || site.queue(case.agent).filter(|queue| queue["active"] == 2));
    good_agent_delivers(&site, &host, GOOD);
    host.stop();
    let audit = site.audit();
    assert_eq!(audit["queued"], 2, "{audit}");
    for id in ids {
        assert_eq!(states(&item(&site, &id)), ["queued"], "a stopped attempt is none");
    }
}
