//! What a foreign connector's gateway does with files: how it takes them, and where its word about them comes back.

use std::path::{Component, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use postern_drop::results::Outcome;
use postern_drop::{Claim, EndFolder, Habits};
use toml::de::DeValue;

use super::raw::{Section, Wrong};
use super::values::{MAX_DURATION, choice, line, quoted, timer};

/// How a gateway shows that it has a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// It deletes the file, or moves it to anywhere.
    #[default]
    Deletes,
    /// It moves the file to a folder that the config names.
    Moves,
    /// It reads the file and leaves it. Nobody sees that, so the file counts as taken after [`Gateway::remove_after`],
    /// and is deleted then.
    Leaves,
}

/// The gateway behind a drop directory, as far as it differs from what its profile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateway {
    /// How it shows that it has a file.
    pub reader: Reader,
    /// When a file that the gateway leaves is removed; `None` for gateways that take files away.
    pub remove_after: Option<Duration>,
    /// Folders to which it moves files that it begins to work on.
    pub claim_folders: Vec<PathBuf>,
    /// Folders to which it moves files that it is done with, and what that means.
    pub folders: Vec<(PathBuf, Outcome)>,
    /// A folder with reports.
    pub reports: Option<PathBuf>,
    /// How long a result must not have changed before it is read; `None`: what the profile says.
    pub quiet: Option<Duration>,
}

impl Gateway {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let reader =
            choice(&[("deletes", Reader::Deletes), ("moves", Reader::Moves), ("leaves", Reader::Leaves)]);
        let reader = section.or("reader", reader, Reader::Deletes);
        let remove_after =
            section.optional("remove_after", timer(SignedDuration::from_secs(1), MAX_DURATION));
        let claim_folders = section.list("claim_folders", folder).unwrap_or_default();
        let results = section.table("results");
        let outcomes = [
            ("done", Outcome::Done),
            ("sent", Outcome::Sent),
            ("failed", Outcome::Failed),
            ("retry", Outcome::Retry),
        ];
        let folders: Vec<_> = outcomes
            .into_iter()
            .filter_map(|(key, outcome)| results.optional(key, folder).map(|path| (path, outcome)))
            .collect();
        let reports = results.optional("reports", folder);
        let quiet = timer(SignedDuration::ZERO, SignedDuration::from_mins(10));
        let quiet = results.optional("quiet", quiet);
        results.finish();
        let gateway = Self { reader, remove_after, claim_folders, folders, reports, quiet };
        gateway.check(section);
        gateway
    }

    fn check(&self, section: &Section<'_>) {
        let leaves = self.reader == Reader::Leaves;
        if leaves && self.remove_after.is_none() {
            section.fault(Wrong::hinted(
                "a gateway that leaves files needs remove_after, or the directory fills up",
                "write remove_after = \"1h\": longer than the gateway ever takes to look",
            ));
        }
        if !leaves && self.remove_after.is_some() {
            let hint = "leave remove_after out, or write reader = \"leaves\"";
            let wrong = Wrong::hinted("only files that the gateway leaves are removed after a time", hint);
            section.entry("remove_after").inspect(|entry| entry.fault(wrong));
        }
        if self.reader == Reader::Moves && self.folders.is_empty() && self.claim_folders.is_empty() {
            section.fault(Wrong::hinted(
                "reader = \"moves\" needs the folders to which the gateway moves files",
                "write results = { sent = \"sent\", failed = \"failed\" }, or claim_folders = [\"checked\"]",
            ));
        }
    }

    /// What the profile says, with what the config says beside.
    #[must_use]
    pub fn habits(&self, mut habits: Habits) -> Habits {
        habits.claims.extend(self.claim_folders.iter().map(Claim::moved));
        for (path, outcome) in &self.folders {
            // What the config says of a folder counts, and a profile's own meaning of it does not.
            habits.folders.retain(|known| known.path != *path);
            habits.folders.push(EndFolder { path: path.clone(), outcome: *outcome });
        }
        habits.reports.extend(self.reports.clone());
        habits.quiet = self.quiet.unwrap_or(habits.quiet);
        habits
    }
}

/// A folder, absolute or from the drop directory on.
fn folder(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    let text = line(value)?;
    let path = PathBuf::from(&text);
    let climbs = path.components().any(|part| matches!(part, Component::ParentDir | Component::CurDir));
    if text.is_empty() || climbs {
        let message = format!("{} is no folder of a gateway", quoted(&text));
        return Err(Wrong::hinted(message, "write a name within the drop directory, or an absolute path"));
    }
    Ok(path)
}
