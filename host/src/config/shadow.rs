//! `shadow`: another version of an agent that is played the deliveries and delivers nothing.

use std::path::PathBuf;

use super::canary::percent;
use super::raw::{Section, Wrong};
use super::values::{line, quoted};

/// `shadow.share`: the part of the deliveries, in percent.
pub const SHARE: u32 = 100;

/// The shadow of a connector's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowConfig {
    /// Its component.
    pub agent: PathBuf,
    /// The part of the deliveries that it is shown, 1 to 100 percent.
    pub share: u32,
}

impl ShadowConfig {
    /// The table; `None` when it is not there.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let is_there = section.entry("shadow").is_some();
        let table = section.table("shadow");
        let agent = table.optional("agent", line).map(|path| section.document().resolve(&path));
        let share = table.or("share", percent(1), SHARE);
        if is_there && agent.is_none() {
            let hint = "write shadow = { agent = \"agents/next.wasm\" }";
            section.fault(Wrong::hinted("shadow needs the component of the other version", hint));
        }
        if let Some(agent) = agent.as_ref().filter(|agent| !agent.is_file()) {
            let message = format!("{} is not a file", quoted(&agent.to_string_lossy()));
            table.entry("agent").inspect(|entry| {
                entry.warn(Wrong::hinted(message, "deliveries are shown to nobody until it is there"))
            });
        }
        table.finish();
        Some(Self { agent: agent?, share })
    }

    /// Whether the nth delivery is shown, so that the share holds over any hundred of them.
    #[must_use]
    pub fn takes(&self, nth: u64) -> bool {
        let share = u64::from(self.share);
        (nth % 100) * share % 100 < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_holds_over_any_hundred_deliveries() {
        for share in [1, 10, 37, 100] {
            let shadow = ShadowConfig { agent: "next.wasm".into(), share };
            let shown = (500..600).filter(|nth| shadow.takes(*nth)).count();
            assert_eq!(shown, share as usize, "{share}%");
        }
    }
}
