//! `postern agent list`, `promote`, `rollback`: the versions of each connector's agent, and which of them delivers.

use std::process::ExitCode;

use bytesize::ByteSize;
use clap::Args;
use serde_json::Value;

use super::super::table::{Table, field};
use super::super::{CliResult, Common, ask, print_json};
use crate::operate::{AgentAction, Request};

/// Characters of a digest in the table: enough to tell a handful of versions apart.
const SHORT_DIGEST: usize = 8;

#[derive(Args)]
pub struct VersionArguments {
    /// The delivery-agent connector.
    connector: String,
}

pub fn list(common: &Common) -> CliResult {
    let answer = ask::answer(common, Request::AgentList)?;
    if common.json {
        print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let agents = || answer.as_array().into_iter().flatten();
    print_versions(agents());
    for agent in agents() {
        println!("\n{}", about(agent));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn set(common: &Common, arguments: &VersionArguments, action: AgentAction) -> CliResult {
    let request = Request::AgentSet { connector: arguments.connector.clone(), action };
    let answer = ask::answer(common, request)?;
    if common.json {
        print_json(&answer);
    } else {
        println!("{}: {}", field(&answer, "connector"), field(&answer, "change"));
        print_versions([&answer].into_iter());
    }
    Ok(ExitCode::SUCCESS)
}

fn print_versions<'a>(agents: impl Iterator<Item = &'a Value>) {
    let mut table = Table::new(&[
        "connector",
        "agent",
        "sha256",
        "state",
        "open",
        "calls",
        "p50",
        "p99",
        "traps",
        "over",
        "defer",
        "memory",
        "peak",
    ]);
    agents.flat_map(rows).for_each(|row| table.row(row));
    table.print();
}

/// One row for each version; one without figures for a connector that has none.
fn rows(agent: &Value) -> Vec<Vec<String>> {
    let connector = field(agent, "connector");
    let versions = agent["versions"].as_array().map_or(&[][..], Vec::as_slice);
    if versions.is_empty() {
        return vec![vec![connector, String::new(), String::new(), field(agent, "state")]];
    }
    let row = |version: &Value| {
        let digest = field(version, "sha256").chars().take(SHORT_DIGEST).collect();
        let name = format!("{} {}", field(version, "name"), field(version, "version"));
        let mut row = vec![connector.clone(), name, digest, field(version, "role")];
        row.extend(["connections", "calls"].map(|name| field(version, name)));
        row.extend(["p50_ms", "p99_ms"].map(|name| milliseconds(&version[name])));
        row.extend(["traps", "overruns", "deferred"].map(|name| field(version, name)));
        row.extend(["memory", "memory_peak"].map(|name| bytes(&version[name])));
        row
    };
    versions.iter().map(row).collect()
}

/// What the table has no room for.
fn about(agent: &Value) -> String {
    let mut text = format!("{}: {}", field(agent, "connector"), field(agent, "state"));
    if let Some(trial) = agent["trial"].as_object() {
        let (share, passed, count) = (&trial["share"], &trial["passed"], &trial["count"]);
        text += &format!(", {passed} of {count} deliveries have passed over {share}% of the connections");
    }
    text += &format!("\n{}", field(agent, "component"));
    if let Some(contract) = agent["versions"][0]["contract"].as_str() {
        text += &format!(", contract {contract}");
    }
    if let Some(reason) = agent["reason"].as_str() {
        text += &format!("\n{reason}");
    }
    text.lines().map(|line| postern_model::text::one_line(line, 500)).collect::<Vec<_>>().join("\n  ")
}

/// `20us`, `5ms`, `2s`: bounds of buckets, which are round.
fn milliseconds(value: &Value) -> String {
    match value.as_f64() {
        None => String::new(),
        Some(ms) if ms < 1.0 => format!("{:.0}us", ms * 1000.0),
        Some(ms) if ms < 1000.0 => format!("{ms:.0}ms"),
        Some(ms) => format!("{:.1}s", ms / 1000.0),
    }
}

fn bytes(value: &Value) -> String {
    value.as_u64().map(|bytes| ByteSize(bytes).to_string().replace(' ', "")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_has_a_version_and_fits_a_terminal() {
        let version = json!({
            "role": "rolled-back", "name": "webhook", "version": "0.1.0", "sha256": "0123456789abcdef",
            "contract": "0.1.0", "connections": 2, "calls": 1234, "p50_ms": 0.2, "p99_ms": 5.0, "traps": 1,
            "overruns": 2, "deferred": 3, "memory": 1_114_112, "memory_peak": 67_108_864,
        });
        let agent = json!({ "connector": "fax", "state": "rolled-back", "versions": [version] });
        let rows = rows(&agent);
        let expected = [
            "fax",
            "webhook 0.1.0",
            "01234567",
            "rolled-back",
            "2",
            "1234",
            "200us",
            "5ms",
            "1",
            "2",
            "3",
            "1.1MiB",
            "64.0MiB",
        ];
        assert_eq!(rows, [expected]);
        let width: usize = rows[0].iter().map(|cell| cell.len() + 2).sum();
        assert!(width <= 100, "{width}");
    }

    #[test]
    fn a_connector_without_versions_has_its_state() {
        let stopped = json!({ "connector": "fax", "state": "stopped", "reason": "the host does not run",
            "component": "/srv/fax.wasm", "versions": [] });
        assert_eq!(rows(&stopped), [["fax", "", "", "stopped"]]);
        assert_eq!(about(&stopped), "fax: stopped\n  /srv/fax.wasm\n  the host does not run");
    }

    #[test]
    fn the_trial_and_the_reason_are_told() {
        let agent = json!({ "connector": "fax", "state": "canary", "reason": null, "component": "fax.wasm",
            "trial": { "share": 10, "passed": 3, "count": 20 }, "versions": [{ "contract": "0.1.0" }] });
        assert!(about(&agent).contains("canary, 3 of 20 deliveries have passed over 10% of the connections"));
        assert!(about(&agent).contains("fax.wasm, contract 0.1.0"));
        assert_eq!(
            (milliseconds(&json!(2500.0)), milliseconds(&Value::Null)),
            ("2.5s".into(), String::new())
        );
    }
}
