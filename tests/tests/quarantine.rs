//! The life of an agent's instances: an agent that breaks again and again is left alone, a message that breaks it too
//! often is put aside with what is known of it, and comes back when an operator says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

#[path = "quarantine/breaker.rs"]
mod breaker;
#[path = "quarantine/instances.rs"]
mod instances;
#[path = "quarantine/records.rs"]
mod records;

use std::path::PathBuf;

use postern_tests::{Host, Site, cli, http, messages};
use serde_json::Value;

const JO: &str = "jo@home.example";

fn agent_file(name: &str) -> PathBuf {
    cli::root().join("host/agent/tests").join(name).with_extension("wat")
}

/// Adds a connector with an agent, for the domain of the connector's name.
fn with_agent(site: Site, name: &str, agent: &str, lines: &str) -> Site {
    let path = encode::encode_into(&agent_file(agent), site.folder());
    site.section(&format!(
        "[delivery_agent_connectors.{name}]\naddress_spaces = [\"SMTP:{name}.example\"]\nagent = {path:?}\n{lines}"
    ))
}

/// A message that the agent `trap-on-large` delivers.
fn good(host: &Host, connector: &str) -> String {
    host.client().submit(JO, &[&format!("ann@{connector}.example")], &messages::simple("good"))
}

/// A message that it traps over.
fn deadly(host: &Host, connector: &str) -> String {
    let line = [[b'x'; 70].as_slice(), b"\r\n"].concat();
    let content = [messages::simple("deadly").as_slice(), &line.repeat(100)].concat();
    host.client().submit(JO, &[&format!("ann@{connector}.example")], &content)
}

/// The value of a metric of a connector.
fn metric(host: &Host, name: &str, connector: &str, what: Option<&str>) -> u64 {
    let (_, text) = http::get(host.admin(), "/metrics");
    let what = what.map(|what| format!(",what=\"{what}\"")).unwrap_or_default();
    let start = format!("{name}{{connector=\"{connector}\"{what}}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |value| value.parse().unwrap())
}

/// Recipients that a connector delivered to.
fn delivered(host: &Host, connector: &str) -> u64 {
    metric(host, "postern_recipients_total", connector, Some("delivered"))
}

/// Attempts of a connector that ended in a trap.
fn trapped(host: &Host, connector: &str) -> u64 {
    metric(host, "postern_attempts_total", connector, Some("trapped"))
}

/// The only item of a message that is in its queue.
fn item(site: &Site, id: &str) -> Value {
    site.ask(&["message", "show", id])["items"][0].clone()
}

/// What was done to the queues of a connector as a whole.
fn queue_operations(site: &Site, connector: &str) -> Vec<String> {
    let answer = site.cli(&["track", "--event", "operate"]).json();
    let rows = answer.as_array().into_iter().flatten().filter(|row| row["connector"] == connector);
    let operation = |row: &Value| row["details"][0][1].as_str().unwrap_or_else(|| panic!("{row}")).to_owned();
    rows.map(operation).collect()
}
