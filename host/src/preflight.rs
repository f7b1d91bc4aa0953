//! preflight: what `run` does before it binds, and all that `check` does: the config with its faults and warnings, and
//! a look at the drop directories and at agents: at those that must be signed or have a digest, and at the version of the
//! contract that each was built for.

use std::path::Path;

use postern_agent::unserved_contract;
use postern_drop::Level;

use crate::agents;
use crate::config::{self, Config, Finding, Report, Warning};
use crate::connector::foreign;

/// Loads a config and looks at what it names. Creates and changes nothing but probe files that are gone afterwards.
///
/// # Errors
/// All faults at once. A drop directory that cannot be used is a warning: its queue waits, the rest runs.
pub fn look(path: &Path) -> Result<(Config, Vec<Warning>), Report> {
    let (config, mut warnings) = config::load(path)?;
    for connector in config.foreign_connectors.iter().filter(|f| f.common.enabled) {
        // A directory that is not there has its warning already, with its line; one to be created comes at the start.
        if !connector.drop_directory.is_dir() {
            continue;
        }
        let findings = postern_drop::check(&foreign::settings(connector));
        warnings.extend(findings.into_iter().filter(|f| f.level != Level::Good).map(|found| {
            let message = format!("{}: {}", found.what, found.meaning);
            let hint = (!found.what_to_do.is_empty()).then_some(found.what_to_do.as_str());
            let mut warning = Finding::about_file(config.path.clone(), &message, hint);
            warning.key = format!("foreign_connectors.{}.drop_directory", connector.common.name);
            warning
        }));
    }
    for (connector, why) in agents::not_authentic(&config) {
        let hint =
            "the connector is off until the file is the one that the config wants; messages for it wait";
        let mut warning = Finding::about_file(config.path.clone(), &why, Some(hint));
        warning.key = format!("delivery_agent_connectors.{connector}.agent");
        warnings.push(warning);
    }
    for agent in config.delivery_agent_connectors.iter().filter(|agent| agent.common.enabled) {
        let Some(error) = unserved_contract(&agent.agent, agent.limits.component_bytes) else { continue };
        let hint = "the connector is off until such a version lies there; messages for it wait";
        let mut warning = Finding::about_file(config.path.clone(), &error.to_string(), Some(hint));
        warning.key = format!("delivery_agent_connectors.{}.agent", agent.common.name);
        warnings.push(warning);
    }
    Ok((config, warnings))
}
