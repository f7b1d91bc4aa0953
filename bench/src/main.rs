//! postern-bench: what Postern costs, beside the limit of the machine or a peer in the same run.
//!
//! `cargo xtask bench` builds it and the host and runs it. Numbers of one run belong to one machine at one time; what
//! can be compared between runs are the ratios.

mod agent_call;
mod bench_agent;
mod clock;
mod drop_writer;
mod end_to_end;
mod enqueue;
mod generator;
mod group_commit;
mod host;
mod http_call;
mod interrupt;
mod isolation;
mod machine;
mod options;
mod pickup;
mod postfix;
mod processes;
mod programs;
mod row;
mod spawn;
mod statistics;
mod table;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::json;

use options::{Options, Part, Verb};
use row::Row;

/// What went wrong, for people.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.verb {
        Some(Verb::Generate(load)) => generator::run_as_process(load),
        Some(Verb::Serve) => http_call::serve(),
        None => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the parts that were asked for, and prints and writes what came out.
fn run(options: &Options) -> Fallible<()> {
    let scale = options.scale();
    let folder = options.make_folder()?;
    interrupt::watch(folder.path().to_owned())?;
    let mut rows: Vec<Row> = Vec::new();
    let mut notes: Vec<String> = Vec::new();
    if options.wants(Part::A) {
        rows.extend(enqueue::run(folder.path(), &scale)?);
    }
    if options.wants(Part::B) {
        rows.extend(agent_call::run(folder.path(), &scale)?);
    }
    if options.wants(Part::C) {
        rows.extend(end_to_end::run(folder.path(), &scale, options.peer, &mut notes)?);
    }
    if options.wants(Part::D) {
        rows.extend(drop_writer::run(folder.path(), &scale)?);
    }
    if options.wants(Part::E) {
        rows.extend(isolation::run(folder.path(), &scale)?);
        rows.extend(http_call::run(folder.path(), &scale)?);
    }
    if options.wants(Part::F) {
        rows.push(pickup::run(folder.path(), &scale)?);
    }
    let machine = machine::Machine::of(folder.path());
    println!("\n{}", machine.line());
    println!("{}\n", scale.line());
    print!("{}", table::table(&rows));
    println!("\n{}", table::EXPLANATION);
    for note in &notes {
        println!("Note: {note}");
    }
    if let Some(file) = &options.json {
        let rows: Vec<_> = rows.iter().map(Row::to_json).collect();
        let report = json!({
            "version": 1,
            "at": jiff::Timestamp::now().to_string(),
            "machine": machine.to_json(),
            "scale": scale.to_json(),
            "rows": rows,
            "notes": notes,
        });
        fs::write(file, format!("{report:#}\n"))?;
        println!("\nwritten: {}", file.display());
    }
    Ok(())
}
