//! `postern message`: one message in the queue.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use postern_model::{ItemId, ItemState, MessageId};
use serde_json::Value;

use super::table::{Table, field, time};
use super::{CliError, CliResult, Common, NO, ask, print_json};
use crate::operate::Request;

#[derive(Subcommand)]
pub enum MessageVerb {
    /// Envelope, items and recipients with their states.
    Show {
        /// The message's id.
        id: MessageId,
    },
    /// Write an item to a file with its envelope, for a replay directory. It stays in its queue.
    Export {
        /// The item: the message's id, a dot and a number, as `message show` lists it.
        item: ItemId,
        /// The file; it must not be there. The host writes it, so it must be where the host's user may write.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Try none of its items until it is resumed.
    Suspend(Which),
    /// Go on after a suspension, or after poison.
    Resume(Which),
    /// Try it now.
    Retry(Which),
    /// Try a poisoned message again, with a clean slate.
    Release {
        #[command(flatten)]
        which: Which,
        /// In the queue of another connector that serves its address, in place of its own.
        #[arg(long, value_name = "NAME")]
        to_connector: Option<String>,
    },
    /// Record its next attempt at a delivery agent, for `postern agent replay`.
    ///
    /// The recording holds the message and all that passes between the agent and the host; `message show` names its file.
    Record(Which),
    /// Take it out of the queue, for good.
    Remove {
        #[command(flatten)]
        which: Which,
        /// Tell its sender with a DSN; without this nobody is told.
        #[arg(long)]
        notify: bool,
    },
}

#[derive(Args)]
pub struct Which {
    /// The message's id.
    id: MessageId,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub fn run(common: &Common, verb: MessageVerb) -> CliResult {
    let set = |which: &Which, state| Request::MessageSet { id: which.id, state, dry_run: which.dry_run };
    let request = match &verb {
        MessageVerb::Show { id } => Request::MessageShow { id: *id },
        MessageVerb::Export { item, to } => {
            let to = std::path::absolute(to).map_err(CliError::failed)?;
            Request::MessageExport { item: *item, to }
        }
        MessageVerb::Suspend(which) => set(which, ItemState::Suspended),
        MessageVerb::Resume(which) | MessageVerb::Retry(which) => set(which, ItemState::Active),
        MessageVerb::Release { which, to_connector } => Request::MessageRelease {
            id: which.id,
            to_connector: to_connector.clone(),
            dry_run: which.dry_run,
        },
        MessageVerb::Record(which) => Request::MessageRecord { id: which.id, dry_run: which.dry_run },
        MessageVerb::Remove { which, notify } => {
            Request::MessageRemove { id: which.id, notify: *notify, dry_run: which.dry_run }
        }
    };
    let answer = ask::answer(common, request)?;
    if common.json {
        print_json(&answer);
    } else {
        match &verb {
            MessageVerb::Show { .. } => print_message(&answer),
            MessageVerb::Export { .. } => print_export(&answer),
            MessageVerb::Suspend(_) => print_change("suspended", &answer),
            MessageVerb::Resume(_) | MessageVerb::Retry(_) => print_change("made due", &answer),
            MessageVerb::Release { .. } => print_release(&answer),
            MessageVerb::Record(_) => print_record(&answer),
            MessageVerb::Remove { .. } => print_removal(&answer),
        }
    }
    // Whoever asked for a removal must notice that nothing was removed.
    let removed = !matches!(verb, MessageVerb::Remove { .. }) || !is_empty(&answer, "items");
    Ok(if removed { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn print_export(answer: &Value) {
    println!(
        "exported: {} ({} recipients) to {}, {} bytes",
        field(answer, "item"),
        answer["recipients"],
        field(answer, "file"),
        answer["bytes"]
    );
    println!("it is still in its queue: remove it there before the file goes into a replay directory");
}

fn is_empty(answer: &Value, name: &str) -> bool {
    answer[name].as_array().is_none_or(Vec::is_empty)
}

fn print_change(word: &str, answer: &Value) {
    let would = if answer["done"] == true { "" } else { "would be " };
    println!("{would}{word}: {} ({} recipients)", field(answer, "items"), answer["recipients"]);
    if !is_empty(answer, "busy") {
        println!("being delivered at this moment, left as it is: {}", field(answer, "busy"));
    }
}

/// Which items are recorded when they are tried next.
fn print_record(answer: &Value) {
    let would = if answer["done"] == true { "will" } else { "would" };
    println!("{would} be recorded when it is tried next: {}", field(answer, "items"));
    if !is_empty(answer, "left") {
        println!("not for a delivery agent: {}", field(answer, "left"));
    }
}

/// What is tried again, where, and whether that is the agent that broke over it.
fn print_release(answer: &Value) {
    print_change("released", answer);
    if !is_empty(answer, "left") {
        println!("not poison, left as it is: {}", field(answer, "left"));
    }
    for meeting in answer["meets"].as_array().into_iter().flatten() {
        let queue = format!("{}/{}", field(meeting, "connector"), field(meeting, "destination"));
        let (then, now) = (field(meeting, "then"), field(meeting, "now"));
        let says = match (then.is_empty(), now.is_empty()) {
            (_, true) => "no agent is loaded there at this moment".to_owned(),
            (true, false) => {
                format!("the agent there has sha256 {now}; which one broke over it is not known")
            }
            (false, false) if then == now => {
                format!("the agent there is the one that broke over it, sha256 {now}")
            }
            (false, false) => {
                format!("the agent there is another one: sha256 {now}, and {then} broke over it")
            }
        };
        println!("{} in {queue}: {says}", field(meeting, "item"));
    }
}

/// What became of the items, one line for each kind of answer.
fn print_removal(answer: &Value) {
    if is_empty(answer, "items") {
        println!("nothing was removed");
    } else {
        print_change("removed", answer);
    }
    if !is_empty(answer, "taken") {
        println!("already taken by the gateway: not withdrawn: {}", field(answer, "taken"));
    }
    if !is_empty(answer, "unknown") {
        let items = field(answer, "unknown");
        println!(
            "the drop directory with the file is gone, so nobody can tell whether it was taken: {items}"
        );
    }
    for refused in answer["refused"].as_array().into_iter().flatten() {
        println!("not removed: {}: {}", field(refused, "item"), field(refused, "reason"));
    }
}

fn print_message(message: &Value) {
    let envelope = &message["envelope"];
    let clean = |v: String| postern_model::text::one_line(&v, 200);
    println!("message   {}", field(message, "message_id"));
    println!("from      <{}>", clean(field(envelope, "reverse_path")));
    println!("subject   {}", clean(field(message, "subject")));
    println!("size      {} bytes", message["size"]);
    println!("received  {} by {}", time(envelope, "received_at"), field(envelope, "receive_connector"));
    for item in message["items"].as_array().into_iter().flatten() {
        println!();
        println!(
            "item      {} in {}/{}",
            field(item, "item"),
            field(item, "connector"),
            field(item, "destination")
        );
        println!("state     {}, {} attempts", field(item, "state"), item["attempts"]);
        println!("next try  {}   expires {}", time(item, "next_retry"), time(item, "expires"));
        let mut table = Table::new(&["recipient", "state", "response"]);
        for r in item["recipients"].as_array().into_iter().flatten() {
            table.row(["recipient", "state", "response"].map(|name| field(r, name)));
        }
        table.print();
        print_quarantine(&item["quarantine"]);
        print_recordings(item);
    }
}

/// What is recorded of an item, or will be.
fn print_recordings(item: &Value) {
    for file in item["recordings"].as_array().into_iter().flatten() {
        let file = postern_model::text::one_line(file.as_str().unwrap_or_default(), 400);
        println!("recorded  {file}");
    }
    if item["to_be_recorded"] == true {
        println!("recorded  the next attempt will be");
    }
}

/// How an item broke its agent, the last time.
fn print_quarantine(record: &Value) {
    let clean = |text: String| postern_model::text::one_line(&text, 300);
    if record["unreadable"].is_string() {
        println!("how it broke its agent cannot be read: {}", clean(field(record, "unreadable")));
    }
    let Some(last) = record["traps"].as_array().and_then(|traps| traps.last()) else { return };
    println!();
    println!("broke     its agent at {}, attempt {}", time(last, "at"), last["attempt"]);
    println!("said      {}", clean(field(last, "text")));
    println!("content   sha256 {}, {} bytes", field(record, "content_sha256"), record["content_size"]);
    let fault = &last["fault"];
    if fault.is_null() {
        return;
    }
    let (agent, used) = (&fault["agent"], &fault["used"]);
    let name = clean(format!("{} {}", field(agent, "name"), field(agent, "version")));
    println!("agent     {name}, sha256 {}", field(agent, "sha256"));
    println!(
        "used      {} of {} bytes of memory, {} of {} ms computing, {} of {} ms by the clock",
        used["memory"],
        used["memory_limit"],
        used["cpu_ms"],
        used["cpu_limit_ms"],
        used["wall_ms"],
        used["wall_limit_ms"]
    );
    for line in fault["backtrace"].as_array().into_iter().flatten() {
        println!("  {}", clean(line.as_str().unwrap_or_default().to_owned()));
    }
}
