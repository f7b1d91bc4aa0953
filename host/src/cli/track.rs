//! `postern track`: what happened to messages.

use std::process::ExitCode;

use clap::Args;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use super::table::{Table, field, time};
use super::{CliError, CliResult, Common, NO, ask, print_json};
use crate::operate::Request;
use crate::tracking::Query;

#[derive(Args)]
pub struct TrackArguments {
    /// Our message id, or the text of the Message-ID header field.
    #[arg(long, short)]
    message: Option<String>,
    /// A recipient, before or after rewriting; `*` stands for any text.
    #[arg(long, short)]
    recipient: Option<String>,
    /// The sender; `*` stands for any text.
    #[arg(long, short)]
    sender: Option<String>,
    /// Only this kind of event: receive, deliver, relay, accept, defer, fail, taken ...
    #[arg(long, short)]
    event: Option<String>,
    /// Not before: a time (2026-01-31T12:00:00Z) or so long ago (90m, 2d).
    #[arg(long)]
    since: Option<String>,
    /// Not after, in the same forms.
    #[arg(long)]
    until: Option<String>,
    /// At most so many events, the newest; 0: all.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

pub fn run(common: &Common, arguments: TrackArguments) -> CliResult {
    let query = Query {
        message: arguments.message,
        recipient: arguments.recipient,
        sender: arguments.sender,
        event: arguments.event,
        since: arguments.since.as_deref().map(moment).transpose()?,
        until: arguments.until.as_deref().map(moment).transpose()?,
        limit: arguments.limit,
    };
    let answer = ask::answer(common, Request::Track { query })?;
    let found = answer.as_array().is_some_and(|events| !events.is_empty());
    if common.json {
        print_json(&answer);
    } else if found {
        print(&answer);
    } else {
        println!("no events");
    }
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn print(events: &Value) {
    let mut table = Table::new(&["time", "event", "connector", "sender", "recipient", "message", "response"]);
    for row in events.as_array().into_iter().flatten() {
        let cells = ["event", "connector", "sender", "recipient", "message_id"].map(|n| field(row, n));
        let response = match field(row, "response") {
            none if none.is_empty() => operation(row),
            response => response,
        };
        table.row([time(row, "time")].into_iter().chain(cells).chain([response]));
    }
    table.print();
}

/// What was done to a queue or an agent, and why: such an event has no response.
fn operation(row: &Value) -> String {
    let detail = |name: &str| {
        let mut details = row["details"].as_array().into_iter().flatten();
        details.find(|detail| detail[0] == name).and_then(|detail| detail[1].as_str())
    };
    let parts = ["operation", "delivers", "reason"].map(detail);
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A point in time, or a span before now.
fn moment(text: &str) -> Result<Timestamp, CliError> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let wrong =
        || CliError::usage(format!("{text:?} is neither a time (2026-01-31T12:00:00Z) nor a span (90m, 2d)"));
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let days = i64::from(span.get_days()) + 7 * i64::from(span.get_weeks());
    let hours = span.days(0).weeks(0).checked_add((days * 24).hours()).map_err(|_| wrong())?;
    Timestamp::now().checked_sub(hours).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::{moment, operation};

    #[test]
    fn an_operation_is_told_with_its_reason() {
        let row = serde_json::json!({ "details": [["operation", "agent-rolled-back"], ["by", "host"],
            ["reason", "it broke 2 calls"], ["delivers", "fax 1.4.0 3f0c9a11"]] });
        assert_eq!(operation(&row), "agent-rolled-back, fax 1.4.0 3f0c9a11, it broke 2 calls");
        assert_eq!(operation(&serde_json::json!({ "details": [] })), "");
    }

    #[test]
    fn times_and_spans_are_understood() {
        assert_eq!(moment("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        for span in ["90m", "2d", "1h30m", "1w"] {
            assert!(moment(span).unwrap() < jiff::Timestamp::now(), "{span}");
        }
        assert!(moment("yesterday").is_err());
    }
}
