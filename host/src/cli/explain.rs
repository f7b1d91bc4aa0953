//! `postern explain ADDRESS`: where an address goes and why, by the code that routes mail.

use std::process::ExitCode;

use clap::Args;
use postern_model::TypedAddress;

use super::{CliError, CliResult, Common, NO, load_config, print_json};
use crate::topology::Topology;

#[derive(Args)]
pub struct ExplainArguments {
    /// `user@domain.example`, or `TYPE:address` such as `FAX:+4930123`.
    address: String,
    /// The message's size in bytes, where connectors limit it.
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
}

pub fn run(common: &Common, arguments: &ExplainArguments) -> CliResult {
    let config = load_config(common)?;
    let address = TypedAddress::parse(&arguments.address).map_err(CliError::usage)?;
    let topology = Topology::build(config);
    let explanation = topology.routes.resolve(&address, arguments.size).explain();
    let served = explanation.connector.is_some();
    if common.json {
        print_json(&serde_json::to_value(&explanation).map_err(CliError::failed)?);
    } else {
        println!("{}", explanation.to_string().trim_end());
    }
    Ok(if served { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}
