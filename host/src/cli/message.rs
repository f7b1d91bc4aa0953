//! `postern message`: one message in the queue.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use postern_model::{ItemState, MessageId};
use serde_json::Value;

use super::table::{Table, field, time};
use super::{CliResult, Common, NO, ask, print_json};
use crate::operate::Request;

#[derive(Subcommand)]
pub enum MessageVerb {
    /// Envelope, items and recipients with their states.
    Show {
        /// The message's id.
        id: MessageId,
    },
    /// Try none of its items until it is resumed.
    Suspend(Which),
    /// Go on after a suspension, or after poison.
    Resume(Which),
    /// Try it now.
    Retry(Which),
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
        MessageVerb::Suspend(which) => set(which, ItemState::Suspended),
        MessageVerb::Resume(which) | MessageVerb::Retry(which) => set(which, ItemState::Active),
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
            MessageVerb::Suspend(_) => print_change("suspended", &answer),
            MessageVerb::Resume(_) | MessageVerb::Retry(_) => print_change("made due", &answer),
            MessageVerb::Remove { .. } => print_removal(&answer),
        }
    }
    // Whoever asked for a removal must notice that nothing was removed.
    let removed = !matches!(verb, MessageVerb::Remove { .. }) || !is_empty(&answer, "items");
    Ok(if removed { ExitCode::SUCCESS } else { ExitCode::from(NO) })
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
    }
}
