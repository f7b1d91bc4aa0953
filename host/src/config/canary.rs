//! `canary`: how much of the mail a new version of an agent gets before it takes over.

use toml::de::DeValue;

use super::raw::{Section, Wrong};
use super::values::{number, quoted, string};

/// `canary.share`: the part of the new connections, in percent.
pub const SHARE: u32 = 10;
/// `canary.count`: deliveries that must pass.
pub const COUNT: u32 = 20;
/// `canary.max_traps`: broken calls that are forgiven.
pub const MAX_TRAPS: u32 = 1;
/// `canary.max_deferred`: the part of the deliveries that may fail or be deferred, in percent.
pub const MAX_DEFERRED: u32 = 50;

/// The trial of a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryConfig {
    /// The part of the new connections that it gets, 1 to 100 percent.
    pub share: u32,
    /// How many deliveries must pass before it takes over.
    pub count: u32,
    /// How many calls it may break; with one more it is rolled back.
    pub max_traps: u32,
    /// The part of its deliveries that may be deferred or fail, 0 to 100 percent; above it is rolled back.
    pub max_deferred: u32,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self { share: SHARE, count: COUNT, max_traps: MAX_TRAPS, max_deferred: MAX_DEFERRED }
    }
}

impl CanaryConfig {
    /// The table; `None` when it is not there: a new version takes over at once.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let is_there = section.entry("canary").is_some();
        let table = section.table("canary");
        let canary = Self {
            share: table.or("share", percent(1), SHARE),
            count: table.or("count", number(1, 1_000_000), COUNT),
            max_traps: table.or("max_traps", number(0, 1_000_000), MAX_TRAPS),
            max_deferred: table.or("max_deferred", percent(0), MAX_DEFERRED),
        };
        table.finish();
        is_there.then_some(canary)
    }
}

/// `"10%"`: whole percent from `least` to 100.
pub(super) fn percent(least: u32) -> impl Fn(&DeValue<'_>) -> Result<u32, Wrong> {
    move |value| {
        let hint = format!("write whole percent in quotes, \"{least}%\" to \"100%\"");
        let found = string(value).map_err(|wrong| Wrong { hint: Some(hint.clone()), ..wrong })?;
        let digits = found.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let read = digits.and_then(|digits| digits.parse().ok());
        read.filter(|share| (least..=100).contains(share))
            .ok_or_else(|| Wrong::hinted(format!("{} is no share", quoted(&found)), hint))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::check_text;
    use super::*;

    fn read(line: &str) -> Result<Option<CanaryConfig>, String> {
        let text = format!(
            "[host]\nname = \"a\"\n[delivery_agent_connectors.fax]\naddress_spaces = [\"FAX:*\"]\n\
             agent = \"fax.wasm\"\n{line}\n"
        );
        let here = Path::new("/etc/postern/postern.toml");
        let checked = check_text(&text, here, here, &|_| None).map_err(|report| report.human())?;
        Ok(checked.0.delivery_agent_connectors[0].canary)
    }

    #[test]
    fn it_is_off_by_default_and_an_empty_table_turns_it_on() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("canary = {}"), Ok(Some(CanaryConfig::default())));
        let all = "canary = { share = \"25%\", count = 5, max_traps = 0, max_deferred = \"0%\" }";
        let canary = CanaryConfig { share: 25, count: 5, max_traps: 0, max_deferred: 0 };
        assert_eq!(read(all), Ok(Some(canary)));
    }

    #[test]
    fn what_is_no_share_says_what_to_write() {
        for wrong in ["\"0%\"", "\"101%\"", "\"ten%\"", "\"+5%\"", "\"5\"", "5", "\"%\""] {
            let report = read(&format!("canary = {{ share = {wrong} }}")).unwrap_err();
            assert!(report.contains("\"1%\" to \"100%\""), "{wrong}: {report}");
        }
        assert!(read("canary = { share = \"1%\", shares = 1 }").unwrap_err().contains("shares"));
    }
}
