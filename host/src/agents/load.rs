//! Loading an agent that is agreed to.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_agent::{Agent, AgentSpec, Runtime};

use super::{Accepted, Consents, Gate, Manifest, Verdict, Wishes, judge};

/// An agent that may run.
pub struct Agreed {
    /// It.
    pub agent: Agent,
    /// The file that it was loaded from.
    pub from: PathBuf,
    /// Why it is not the one that lies in the file, for the operator.
    pub held_back: Option<String>,
}

/// Loads the component of a connector. One that wants more than was agreed to does not run; the one before goes on in
/// its place. Blocking: it may have to be compiled.
///
/// # Errors
/// Why there is nothing that could run.
pub fn load(runtime: &Runtime, spec: AgentSpec, gate: &Gate, consents: &Consents) -> Result<Agreed, String> {
    let shown = gate.configured(&spec.component)?;
    let spec = AgentSpec { sha256: shown.sha256.clone(), ..spec };
    let agent = runtime.load(spec.clone()).map_err(|error| error.to_string())?;
    if let Err(error) = gate.keep(&shown) {
        tracing::warn!(connector = spec.connector, %error, "the agent's signature could not be kept: no way back to it");
    }
    let wishes = wishes(&agent, &spec.component)?;
    let accepted = consents.accepted(&spec.connector).map_err(|error| error.to_string())?;
    let from = spec.component.clone();
    let verdict = match judge(accepted.as_ref(), agent.digest(), &wishes) {
        // Who writes the digest into the config agrees to this very version.
        Verdict::Wider(_) if gate.is_pinned() => Verdict::Agreed,
        verdict => verdict,
    };
    match verdict {
        Verdict::Known => Ok(Agreed { agent, from, held_back: None }),
        Verdict::Agreed => {
            if let Err(why) = remember(consents, &spec, &agent, wishes) {
                // It runs all the same: what it may do is what the config grants.
                tracing::warn!(connector = spec.connector, why, "the agent's version could not be recorded");
            }
            Ok(Agreed { agent, from, held_back: None })
        }
        Verdict::Wider(more) => {
            let wants = format!(
                "{} wants more than was agreed to ({}): postern agent install {} --connector {}",
                spec.component.display(),
                more.join(", "),
                spec.component.display(),
                spec.connector
            );
            let sha256 = accepted.map(|accepted| accepted.sha256).unwrap_or_default();
            let copy = consents.copy(&sha256);
            let before = gate.kept(&copy, &sha256).and_then(|()| {
                let spec = AgentSpec { component: copy.clone(), sha256: Some(sha256), ..spec };
                runtime.load(spec).map_err(|error| error.to_string())
            });
            let agent = before.map_err(|error| format!("{wants}; the version before is gone: {error}"))?;
            Ok(Agreed { agent, from: copy, held_back: Some(format!("the version before runs on: {wants}")) })
        }
    }
}

/// What a loaded agent wants.
///
/// # Errors
/// When its manifest cannot be used.
pub fn wishes(agent: &Agent, component: &Path) -> Result<Wishes, String> {
    let manifest = Manifest::beside(component).map_err(|error| error.to_string())?;
    Ok(Wishes::new(agent.imports(), manifest.as_ref()))
}

fn remember(consents: &Consents, spec: &AgentSpec, agent: &Agent, wishes: Wishes) -> Result<(), String> {
    let bytes = agent.component_in(&spec.component).map_err(|error| error.to_string())?;
    let accepted = Accepted { sha256: agent.digest().to_owned(), wishes, at: Timestamp::now() };
    consents.accept(&spec.connector, accepted, &bytes).map_err(|error| error.to_string())
}
