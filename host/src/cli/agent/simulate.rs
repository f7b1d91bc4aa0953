//! `postern agent simulate`: a far end that is none, on loopback, with faults by script.

mod smsc;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::super::{CliError, CliResult};

#[derive(Subcommand)]
pub enum SimulateVerb {
    /// A message centre for short messages (SMPP 3.4).
    ///
    /// It listens on 127.0.0.1, takes every bind and every message, sends receipts, and tells what happens in lines of
    /// JSON, the first of which names its port. A script in TOML makes it do worse, with these keys: `bind_status`, `status`
    /// and `status_times`, `throttle` (so many submissions), `delay_ms`, `cut` ("connect", "bind", "submit" or "answer") and
    /// `cut_times`, `receipt` ("delivered", "failed" or "none"), `receipt_order` ("late", "early" or "twice"),
    /// `receipt_delay_ms`, `receipt_ids` ("same", "decimal" or "wrong"), `incoming` (texts that people send after a bind).
    /// It ends with the process.
    Smsc {
        /// The port; 0 takes a free one.
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// The script.
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
    },
}

pub fn run(verb: &SimulateVerb) -> CliResult {
    let SimulateVerb::Smsc { port, script } = verb;
    let script = match script {
        None => smsc::Script::default(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))?;
            toml::from_str(&text).map_err(|error| CliError::usage(format!("{}: {error}", file.display())))?
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::failed)?;
    runtime.block_on(smsc::serve(*port, script)).map_err(CliError::failed)?;
    Ok(ExitCode::SUCCESS)
}
