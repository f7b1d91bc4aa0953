//! `postern drop`: drop directories, and what is done with the files in them.

mod doctor;
mod status;

use clap::Subcommand;

use super::{CliResult, Common};

#[derive(Subcommand)]
pub enum DropVerb {
    /// What lies in the drop directories, how far their files are, and what their gateways do.
    Status {
        /// Only that of this connector.
        connector: Option<String>,
    },
    /// Whether the drop directories are fit for their work, and what to do if not.
    Doctor(doctor::DoctorArguments),
}

pub fn run(common: &Common, verb: DropVerb) -> CliResult {
    match verb {
        DropVerb::Status { connector } => status::run(common, connector),
        DropVerb::Doctor(arguments) => doctor::run(common, &arguments),
    }
}
