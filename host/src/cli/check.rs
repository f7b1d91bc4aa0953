//! `postern check`: the config and everything it names, exactly as `run` looks at it before it binds.

use std::process::ExitCode;

use super::{CliError, CliResult, Common, USAGE, print_json};
use crate::config::Report;
use crate::preflight;

pub fn run(common: &Common) -> CliResult {
    let (report, ok) = match preflight::look(&common.config) {
        Ok((_, warnings)) => (Report::new(Vec::new(), warnings), true),
        Err(report) => (report, false),
    };
    if common.json {
        let mut json = report.json();
        json["ok"] = ok.into();
        print_json(&json);
        return Ok(if ok { ExitCode::SUCCESS } else { ExitCode::from(USAGE) });
    }
    if !ok {
        return Err(CliError::usage(report.human()));
    }
    let human = report.human();
    if !human.trim().is_empty() {
        println!("{}", human.trim_end());
    }
    println!("{}: ok", common.config.display());
    Ok(ExitCode::SUCCESS)
}
