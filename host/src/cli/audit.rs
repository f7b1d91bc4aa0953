//! `postern audit`: recounts everything.

use std::process::ExitCode;

use super::{CliError, CliResult, Common, NO, ask, print_json};
use crate::operate::{Audit, Request};

pub fn run(common: &Common) -> CliResult {
    let answer = ask::answer(common, Request::Audit)?;
    let audit: Audit = serde_json::from_value(answer.clone()).map_err(CliError::failed)?;
    if common.json {
        print_json(&answer);
    } else {
        for file in &audit.vanished {
            println!("{file}: nobody can tell whether it was taken");
        }
        println!("{}", audit.summary());
    }
    Ok(if audit.balanced { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}
