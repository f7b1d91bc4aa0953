//! Habits: what a gateway does with a drop file, and where its word about it comes back. A profile has its own; an
//! operator may set them one by one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::results::{Outcome, ResultFile, ResultWord, plain};

/// The most bytes of a result that are read. A result that is a file of its own and longer is refused; of a file
/// that was moved to a folder only the beginning is read.
pub const MAX_RESULT: usize = 64 * 1024;

/// How long a result must not have changed before it is read, so that one that is written in place is read whole.
pub const QUIET: Duration = Duration::from_millis(500);

/// Reads what a gateway said: no word at all means that it was not understood, and the file is left where it is.
/// Pure; content and name may be anything, but the name is UTF-8 without control characters.
pub type ReadResult = fn(&ResultFile<'_>) -> Vec<ResultWord>;

/// What a gateway does with a drop file, from the moment at which it sees it.
#[derive(Clone)]
pub struct Habits {
    /// How it says that it is at work on a file. Each renaming within the drop directory is taken for a claim anyhow; one
    /// that is listed here is recognised after a restart as well.
    pub claims: Vec<Claim>,
    /// Where it moves files that it is done with.
    pub folders: Vec<EndFolder>,
    /// The files that it writes beside the place of a file to say how it ended.
    pub sidecars: Vec<Sidecar>,
    /// Folders with files of any name that say what became of files.
    pub reports: Vec<PathBuf>,
    /// How all that is read.
    pub read: ReadResult,
    /// How long a result must not have changed before it is read.
    pub quiet: Duration,
}

impl fmt::Debug for Habits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claims, folders, sidecars, reports, .. } = self;
        f.debug_struct("Habits")
            .field("claims", claims)
            .field("folders", folders)
            .field("sidecars", sidecars)
            .field("reports", reports)
            .finish_non_exhaustive()
    }
}

impl Default for Habits {
    /// Claims as `x.eml.work`, and sidecars that end in `.ok`, `.err`, `.retry` and `.result`.
    fn default() -> Self {
        Self {
            claims: vec![Claim::renamed("", crate::reader::CLAIM_SUFFIX)],
            folders: Vec::new(),
            sidecars: vec![
                Sidecar { suffix: ".ok".to_owned(), outcome: Some(Outcome::Done) },
                Sidecar { suffix: ".err".to_owned(), outcome: Some(Outcome::Failed) },
                Sidecar { suffix: ".retry".to_owned(), outcome: Some(Outcome::Retry) },
                Sidecar { suffix: ".result".to_owned(), outcome: None },
            ],
            reports: Vec::new(),
            read: plain::read,
            quiet: QUIET,
        }
    }
}

impl Habits {
    /// The published name behind a claimed one, by the claims that keep to the drop directory.
    #[must_use]
    pub fn claimed(&self, name: &str) -> Option<String> {
        self.claims.iter().filter(|c| c.folder.is_none()).find_map(|c| c.original(name)).map(str::to_owned)
    }

    /// The published name behind that of a file which was moved to a folder, perhaps after it was claimed.
    #[must_use]
    pub fn moved<'a>(&self, name: &'a str) -> &'a str {
        self.claims.iter().find_map(|claim| claim.original(name)).unwrap_or(name)
    }

    /// The sidecar that a name is one of, and the published name before it.
    #[must_use]
    pub fn sidecar<'a>(&self, name: &'a str) -> Option<(&Sidecar, &'a str)> {
        let of = |sidecar: &Sidecar| name.strip_suffix(&sidecar.suffix).filter(|file| !file.is_empty());
        self.sidecars.iter().find_map(|sidecar| of(sidecar).map(|file| (sidecar, self.moved(file))))
    }

    /// A folder of these habits, as it lies: relative ones begin at the drop directory.
    #[must_use]
    pub fn place(drop_directory: &Path, folder: &Path) -> PathBuf {
        drop_directory.join(folder)
    }
}

/// One way of saying "I am at work on this file". Of several gateways on one folder only one succeeds with it, since a
/// rename happens once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The folder that it is moved to, absolute or from the drop directory on; `None`: it stays in the drop directory.
    pub folder: Option<PathBuf>,
    /// What is put before the name.
    pub prefix: String,
    /// What is put behind it.
    pub suffix: String,
}

impl Claim {
    /// By another name in the drop directory.
    #[must_use]
    pub fn renamed(prefix: &str, suffix: &str) -> Self {
        Self { folder: None, prefix: prefix.to_owned(), suffix: suffix.to_owned() }
    }

    /// By moving it, under its own name, to a folder.
    #[must_use]
    pub fn moved(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), prefix: String::new(), suffix: String::new() }
    }

    /// The name before the claim, if this is the name behind it. One that changes nothing is no claim by name.
    #[must_use]
    pub fn original<'a>(&self, name: &'a str) -> Option<&'a str> {
        let changes = !self.prefix.is_empty() || !self.suffix.is_empty();
        let bare = name.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix)?;
        (changes && !bare.is_empty()).then_some(bare)
    }
}

/// A folder to which a gateway moves files that it is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndFolder {
    /// Where it is, absolute or from the drop directory on.
    pub path: PathBuf,
    /// What it means that a file lies there, unless the file itself says otherwise.
    pub outcome: Outcome,
}

/// A file beside the place of a drop file: its name goes on with this suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// What it ends with, dot included.
    pub suffix: String,
    /// What it means that it is there; `None`: its content says.
    pub outcome: Option<Outcome>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_recognised_by_what_it_puts_around_the_name() {
        let mut habits = Habits::default();
        habits.claims.push(Claim::renamed("gw2-", ""));
        habits.claims.push(Claim::moved("checked"));
        assert_eq!(habits.claimed("a.eml.work").as_deref(), Some("a.eml"));
        assert_eq!(habits.claimed("gw2-a.eml").as_deref(), Some("a.eml"));
        for other in ["a.eml", ".work", "gw2-", "a.eml.workx"] {
            assert_eq!(habits.claimed(other), None, "{other}");
            assert_eq!(habits.moved(other), other);
        }
    }

    #[test]
    fn a_sidecar_belongs_to_the_file_before_its_suffix_claimed_or_not() {
        let habits = Habits::default();
        let of = |name| habits.sidecar(name).map(|(s, file)| (s.outcome, file));
        assert_eq!(of("a.eml.ok"), Some((Some(Outcome::Done), "a.eml")));
        assert_eq!(of("a.eml.work.err"), Some((Some(Outcome::Failed), "a.eml")));
        assert_eq!(of("a.eml.result"), Some((None, "a.eml")));
        assert_eq!((of("a.eml"), of(".ok"), of("a.ok.eml")), (None, None, None));
    }
}
