//! `postern queue`: what waits, where, why, and when it is tried again.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::table::{Table, field, time};
use super::{CliResult, Common, NO, ask, print_json};
use crate::operate::{QueueAction, Request};

#[derive(Subcommand)]
pub enum QueueVerb {
    /// All queues.
    List,
    /// One queue (CONNECTOR/DESTINATION), or all of a connector, with their items.
    Show {
        /// `connector` or `connector/destination`.
        queue: String,
        /// At most so many items of each queue.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Try nothing until it is resumed.
    Suspend {
        #[command(flatten)]
        change: Change,
        /// Why, for those who look at the queue later.
        #[arg(long, default_value = "suspended by an operator")]
        reason: String,
    },
    /// Go on after a suspension.
    Resume(Change),
    /// Try everything in it now. A queue that is suspended, or whose connector is off or gone, is left as it is.
    Retry(Change),
}

#[derive(Args)]
pub struct Change {
    /// `connector` or `connector/destination`.
    queue: String,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub fn run(common: &Common, verb: QueueVerb) -> CliResult {
    let request = match verb {
        QueueVerb::List => Request::QueueList,
        QueueVerb::Show { queue, limit } => Request::QueueShow { queue, limit },
        QueueVerb::Suspend { change, reason } => set(change, QueueAction::Suspend, reason),
        QueueVerb::Resume(change) => set(change, QueueAction::Resume, String::new()),
        QueueVerb::Retry(change) => set(change, QueueAction::Retry, String::new()),
    };
    let (list, show) = (matches!(request, Request::QueueList), matches!(request, Request::QueueShow { .. }));
    let answer = ask::answer(common, request)?;
    if common.json {
        print_json(&answer);
    } else if list {
        print_queues(&answer);
    } else if show {
        print_items(&answer);
    } else {
        print_change(&answer);
    }
    // Who asked for a retry must notice that nothing is tried.
    let nothing = |name: &str| answer[name].as_array().is_some_and(Vec::is_empty);
    Ok(if nothing("queues") && !nothing("left") { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

fn print_change(answer: &Value) {
    let action = field(answer, "action");
    let left = answer["left"].as_array().map_or(&[][..], Vec::as_slice);
    if left.is_empty() || answer["queues"].as_array().is_some_and(|queues| !queues.is_empty()) {
        let would = if answer["done"] == true { "" } else { "would " };
        println!("{would}{action}: {} ({} items)", field(answer, "queues"), answer["items"]);
    }
    for queue in left {
        println!("no {action}: {}: {}", field(queue, "queue"), field(queue, "reason"));
    }
}

fn set(change: Change, action: QueueAction, reason: String) -> Request {
    Request::QueueSet { queue: change.queue, action, reason, dry_run: change.dry_run }
}

fn print_queues(queues: &Value) {
    let rows = queues.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        println!("all queues are empty");
        return;
    }
    let mut table = Table::new(&["queue", "state", "items", "pending", "next try", "last error"]);
    for row in rows {
        table.row([
            format!("{}/{}", field(row, "connector"), field(row, "destination")),
            field(row, "state"),
            field(row, "count"),
            field(row, "pending"),
            time(row, "next_retry"),
            field(row, "last_error"),
        ]);
    }
    table.print();
}

fn print_items(queues: &Value) {
    print_queues(queues);
    let items =
        || queues.as_array().into_iter().flatten().flat_map(|q| q["items"].as_array().into_iter().flatten());
    println!();
    if items().any(|item| item["kind"].is_string()) {
        return print_dsns(items());
    }
    let mut table =
        Table::new(&["item", "sender", "size", "rcpts", "tries", "state", "next try", "last error"]);
    for item in items() {
        let cells =
            ["item", "sender", "size", "recipients", "attempts", "state"].map(|name| field(item, name));
        table.row(cells.into_iter().chain([time(item, "next_retry"), field(item, "last_error")]));
    }
    table.print();
}

/// DSNs that wait in the outbox.
fn print_dsns<'a>(dsns: impl Iterator<Item = &'a Value>) {
    let mut table = Table::new(&["about", "tells", "to", "since", "next try", "reason"]);
    for dsn in dsns {
        let [about, tells, to] = ["item", "kind", "recipient"].map(|name| field(dsn, name));
        let times = ["enqueued", "next_retry"].map(|name| time(dsn, name));
        table.row([about, tells, to].into_iter().chain(times).chain([field(dsn, "last_error")]));
    }
    table.print();
}
