//! Results: collects what a gateway says about the files that it took.
//!
//! A result is a file: a sidecar beside the place of the drop file, the drop file itself in a folder for those that are
//! done with, or a report. [`Habits`] say where results come and how they are read. The rules:
//!
//! - The listing is the truth: every look finds all results that are there, also those of the time before a restart.
//! - A result is read when it has not changed for [`Habits::quiet`], so one that is written in place is read whole.
//! - [`Results::collect`] changes nothing. The caller makes what was said durable and only then calls
//!   [`Results::consume`]; until then each look gives the same result again. So a crash in between repeats a result and
//!   loses none, and whoever takes results in must see to it that a repeat is harmless.
//! - Exactly one has a result: it is consumed by renaming it into the temp folder, where the gateway does not write,
//!   and only deleted if it is what was read. One that the gateway replaced meanwhile goes back and is read again.
//! - What lies there may be anything. Links are not followed, pipes and devices not opened, no more than
//!   [`MAX_RESULT`] bytes are read, and what is not understood stays where it is and is told of once.

pub mod plain;
mod word;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;

pub use word::{About, MAX_DETAILS, MAX_TEXT, Outcome, ResultWord, one_line};

use crate::folder::{Folder, Looked};
use crate::habits::MAX_RESULT;
use crate::{DropError, DropSettings, Habits};

/// The most results that one look gives; what is left comes with the next.
pub const MAX_FOUND: usize = 1000;
/// What a result is called between its place and its end.
const CONSUMED: &str = ".result-";
/// A result that a crash left under such a name is deleted when it is older: it was settled.
const CONSUMED_LIFE: Duration = Duration::from_secs(60 * 60);

/// Where a result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Beside the place of the drop file; `outcome` is what its name says.
    Sidecar {
        /// `None`: its content says.
        outcome: Option<Outcome>,
    },
    /// In a folder for files that are done with: it is the drop file itself, perhaps changed by the gateway.
    Folder {
        /// What the folder says.
        outcome: Outcome,
    },
    /// In a folder for reports.
    Report,
}

/// A result as a profile gets it to read.
#[derive(Clone, Copy, Debug)]
pub struct ResultFile<'a> {
    /// Where it lies.
    pub place: Place,
    /// The folder that it lies in, as the habits call it.
    pub folder: &'a str,
    /// Its name: UTF-8 without control characters.
    pub name: &'a str,
    /// The drop file that it is about by its name; empty for a report.
    pub of: &'a str,
    /// Its content, or the beginning of it.
    pub bytes: &'a [u8],
    /// Whether that is all of it.
    pub whole: bool,
}

/// What a file name means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It is none of ours: nothing about it is touched.
    Stranger,
    /// Somebody waits for its result.
    Waiting,
    /// It is ours and nobody waits any more.
    Past,
}

/// A result that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it says, each about a file ([`About::File`]). Empty: it is only to be consumed.
    pub words: Vec<ResultWord>,
    source: usize,
    name: String,
    looked: Looked,
}

/// What a look at the results gave.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// What can be settled, at most [`MAX_FOUND`].
    pub found: Vec<Found>,
    /// What was not understood, with the reason; each file is told of once.
    pub strange: Vec<(PathBuf, String)>,
    /// Whether there is something that only a later look can read: it is too new, or there was too much.
    pub again: bool,
}

/// One folder in which results come.
#[derive(Clone, Debug)]
struct Source {
    /// As the habits call it; empty for the drop directory.
    called: String,
    path: PathBuf,
    kind: SourceKind,
}

#[derive(Clone, Copy, Debug)]
enum SourceKind {
    Sidecars,
    Folder(Outcome),
    Reports,
}

/// What is known of a file in one of these folders.
#[derive(Clone, Debug)]
struct Known {
    looked: Looked,
    since: Instant,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    /// It may still change.
    New,
    /// It could not be read, which was told; it may be read at the next look.
    Unread,
    /// It was not understood.
    Strange,
    /// It is about jobs of which nobody knows the files yet.
    Unresolved(Vec<ResultWord>),
    /// Not final: it says what the gateway calls the jobs of these files.
    Underway { files: Vec<String> },
}

/// Why a result was not read.
struct NotRead {
    why: String,
    /// Whether another look would find the same. A lack of rights or of descriptors passes, and nothing of that is seen in
    /// what a look tells of the file.
    for_good: bool,
}

/// Collects the results of one drop directory. One at a time.
#[derive(Debug)]
pub struct Results {
    habits: Habits,
    temp: PathBuf,
    sources: Vec<Source>,
    known: HashMap<(usize, String), Known>,
    /// Files by what the gateway calls their jobs, and by whom they go to, if that was said.
    references: HashMap<(String, Option<String>), String>,
}

impl Results {
    /// For the directory with these settings. Touches nothing yet.
    #[must_use]
    pub fn new(settings: &DropSettings) -> Self {
        let habits = settings.habits.clone();
        let source = |path: &Path, kind| Source {
            called: path.to_string_lossy().into_owned(),
            path: Habits::place(&settings.path, path),
            kind,
        };
        // Reports come last: what they refer to is learnt from the others.
        let mut sources = vec![source(Path::new(""), SourceKind::Sidecars)];
        sources.extend(habits.folders.iter().map(|f| source(&f.path, SourceKind::Folder(f.outcome))));
        sources.extend(habits.reports.iter().map(|path| source(path, SourceKind::Reports)));
        let temp = settings.temp_path();
        Self { habits, temp, sources, known: HashMap::new(), references: HashMap::new() }
    }

    /// The folders in which results come, the drop directory first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }

    /// Looks for results. `interest` says what a published name means. Blocks on the file system.
    ///
    /// # Errors
    /// When a folder cannot be read. A folder that is missing has no results.
    pub fn collect(&mut self, interest: impl Fn(&str) -> Interest) -> Result<Collected, DropError> {
        let now = Instant::now();
        let mut collected = Collected::default();
        let mut present = HashSet::new();
        for source in 0..self.sources.len() {
            let Some(folder) = self.open(source)? else { continue };
            let wrap = |errno| DropError::from_errno("list the folder", &folder.path, errno);
            for listed in folder.list().map_err(wrap)? {
                let Ok(name) = listed.name.into_string() else { continue };
                if self.is_of_interest(source, &name, &interest) {
                    self.consider(&folder, source, &name, now, &interest, &mut collected)?;
                    present.insert((source, name));
                }
            }
        }
        self.known.retain(|key, _| present.contains(key));
        let known = &self.known;
        self.references.retain(|_, file| {
            known.values().any(|k| matches!(&k.stage, Stage::Underway { files } if files.contains(file)))
        });
        Ok(collected)
    }

    /// Takes a result away, since what it said is durable. Says whether it was still what had been read; if not, it is
    /// found again.
    ///
    /// # Errors
    /// It stays and is found again: [`DropError::NotWritable`], [`DropError::Io`].
    pub fn consume(&mut self, found: &Found) -> Result<bool, DropError> {
        self.known.remove(&(found.source, found.name.clone()));
        let Some(folder) = self.open(found.source)? else { return Ok(false) };
        let failed = |errno| DropError::from_errno("take a result out of", &folder.path, errno);
        let temp = Folder::open_temp(&self.temp)?;
        let hidden = hidden_name();
        match folder.rename(&found.name, &temp, &hidden) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(Errno::XDEV) => {
                // Without a private place for it there is a moment in which the gateway may replace it.
                let same = folder.look(&found.name).map_err(failed)? == Some(found.looked);
                return if same { folder.remove(&found.name).map_err(failed) } else { Ok(false) };
            }
            Err(errno) => return Err(failed(errno)),
        }
        if temp.look(&hidden).map_err(failed)? == Some(found.looked) {
            temp.remove(&hidden).map_err(failed)?;
            return Ok(true);
        }
        match temp.rename(&hidden, &folder, &found.name) {
            // A third one came: the newest says what is true of a file, and it is found.
            Err(Errno::EXIST) => temp.remove(&hidden).map(|_| false).map_err(failed),
            result => result.map(|()| false).map_err(failed),
        }
    }

    /// Takes away what earlier attempts with this file left, before it is published anew: an old word must not be taken
    /// for one about the new attempt. Only results that are known by the file's name.
    ///
    /// # Errors
    /// As [`Results::consume`].
    pub fn clear(&mut self, file: &str) -> Result<(), DropError> {
        for source in 0..self.sources.len() {
            let Some(folder) = self.open(source)? else { continue };
            let names: Vec<String> = match self.sources[source].kind {
                SourceKind::Reports => Vec::new(),
                SourceKind::Folder(_) => self.forms(file),
                SourceKind::Sidecars => {
                    let forms = self.forms(file);
                    let of = |form: &String| {
                        self.habits
                            .sidecars
                            .iter()
                            .map(move |s| format!("{form}{}", s.suffix))
                            .collect::<Vec<_>>()
                    };
                    forms.iter().flat_map(of).collect()
                }
            };
            for name in names {
                let wrap = |errno| DropError::from_errno("remove an old result in", &folder.path, errno);
                folder.remove(&name).map_err(wrap)?;
                self.known.remove(&(source, name));
            }
        }
        Ok(())
    }

    /// Deletes what a crash left between the place of a result and its end.
    ///
    /// # Errors
    /// When the temp folder cannot be read.
    pub fn sweep(&self) -> Result<(), DropError> {
        let temp = Folder::open_temp(&self.temp)?;
        let wrap = |errno| DropError::from_errno("sweep the temp folder", &temp.path, errno);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for listed in temp.list().map_err(wrap)? {
            let Some(name) = listed.name.to_str().filter(|name| name.starts_with(CONSUMED)) else { continue };
            let Some(looked) = temp.look(name).map_err(wrap)? else { continue };
            let changed = Duration::from_secs(u64::try_from(looked.modified.0).unwrap_or(0));
            if now.saturating_sub(changed) > CONSUMED_LIFE {
                temp.remove(name).map_err(wrap)?;
            }
        }
        Ok(())
    }

    /// What a file may be called in a folder: by its name, or as it was claimed.
    fn forms(&self, file: &str) -> Vec<String> {
        let claimed = self.habits.claims.iter().map(|c| format!("{}{file}{}", c.prefix, c.suffix));
        let mut forms: Vec<String> = claimed.chain([file.to_owned()]).collect();
        forms.sort_unstable();
        forms.dedup();
        forms
    }

    /// Opens a folder; `None` when it is missing. One that begins at the drop directory lies where the gateway could
    /// put a link in its place.
    fn open(&self, source: usize) -> Result<Option<Folder>, DropError> {
        let Source { called, path, .. } = &self.sources[source];
        let opened = match called.is_empty() || Path::new(called).is_absolute() {
            true => Folder::open(path),
            false => Folder::open_itself(path),
        };
        match opened {
            Ok(folder) => Ok(Some(folder)),
            Err(DropError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The drop file that a file here is about by its name; empty for a report. `None`: it is no result.
    fn of<'a>(&self, source: usize, name: &'a str) -> Option<(Place, &'a str)> {
        // Hidden ones are being written.
        if name.starts_with('.') || name.chars().any(char::is_control) {
            return None;
        }
        match self.sources[source].kind {
            SourceKind::Sidecars => self
                .habits
                .sidecar(name)
                .map(|(sidecar, of)| (Place::Sidecar { outcome: sidecar.outcome }, of)),
            SourceKind::Folder(outcome) => Some((Place::Folder { outcome }, self.habits.moved(name))),
            SourceKind::Reports => Some((Place::Report, "")),
        }
    }

    fn is_of_interest(&self, source: usize, name: &str, interest: &impl Fn(&str) -> Interest) -> bool {
        let of = self.of(source, name);
        of.is_some_and(|(place, of)| place == Place::Report || interest(of) != Interest::Stranger)
    }

    /// Takes one file in.
    fn consider(
        &mut self,
        folder: &Folder,
        source: usize,
        name: &str,
        now: Instant,
        interest: &impl Fn(&str) -> Interest,
        collected: &mut Collected,
    ) -> Result<(), DropError> {
        let wrap = |errno| DropError::from_errno("look at a result in", &folder.path, errno);
        let Some(looked) = folder.look(name).map_err(wrap)? else { return Ok(()) };
        let key = (source, name.to_owned());
        let same = self.known.get(&key).filter(|known| known.looked == looked);
        let (since, stage) = same.map_or((now, Stage::New), |known| (known.since, known.stage.clone()));
        let was_told = matches!(stage, Stage::Unread);
        let stage = match stage {
            Stage::New if now.duration_since(since) < self.habits.quiet => {
                collected.again = true;
                Stage::New
            }
            Stage::New if collected.found.len() >= MAX_FOUND => {
                collected.again = true;
                Stage::New
            }
            Stage::New | Stage::Unread => match self.read(folder, source, name, looked) {
                Ok(words) => self.resolve(source, name, looked, words, interest, collected),
                Err(NotRead { why, for_good }) => {
                    if !was_told {
                        collected.strange.push((folder.path.join(name), why));
                    }
                    if for_good { Stage::Strange } else { Stage::Unread }
                }
            },
            Stage::Unresolved(words) => self.resolve(source, name, looked, words, interest, collected),
            Stage::Underway { files } => {
                if files.iter().all(|file| interest(file) == Interest::Past) {
                    // Their ends were told some other way.
                    collected.found.push(Found { words: Vec::new(), source, name: name.to_owned(), looked });
                }
                Stage::Underway { files }
            }
            Stage::Strange => Stage::Strange,
        };
        self.known.insert(key, Known { looked, since, stage });
        Ok(())
    }

    /// Reads one result.
    fn read(
        &self,
        folder: &Folder,
        source: usize,
        name: &str,
        looked: Looked,
    ) -> Result<Vec<ResultWord>, NotRead> {
        let strange = |why: &str| NotRead { why: why.to_owned(), for_good: true };
        let passing = |why: String| NotRead { why, for_good: false };
        let (place, of) = self.of(source, name).ok_or_else(|| strange("it is no result"))?;
        if !looked.is_file {
            return Err(strange("it is no regular file"));
        }
        let is_long = looked.size > MAX_RESULT as u64;
        if is_long && !matches!(place, Place::Folder { .. }) {
            return Err(strange(&format!("it is longer than {MAX_RESULT} bytes")));
        }
        let file = folder.read(name).map_err(|errno| passing(format!("it cannot be read: {errno}")))?;
        // What was looked at may have been exchanged for a pipe since.
        if Folder::look_at(&file).ok() != Some(looked) {
            return Err(passing("it changed while it was read".to_owned()));
        }
        let mut bytes =
            Vec::with_capacity(MAX_RESULT.min(usize::try_from(looked.size).unwrap_or(MAX_RESULT)));
        let read = file.take(MAX_RESULT as u64).read_to_end(&mut bytes);
        read.map_err(|error| passing(format!("it cannot be read: {error}")))?;
        let folder = &self.sources[source].called;
        let words =
            (self.habits.read)(&ResultFile { place, folder, name, of, bytes: &bytes, whole: !is_long });
        if words.is_empty() { Err(strange("it is not understood")) } else { Ok(words) }
    }

    /// Finds out which files the words are about, and hands out those that say something final.
    fn resolve(
        &mut self,
        source: usize,
        name: &str,
        looked: Looked,
        mut words: Vec<ResultWord>,
        interest: &impl Fn(&str) -> Interest,
        collected: &mut Collected,
    ) -> Stage {
        for word in &mut words {
            let file = match &word.about {
                About::File(file) => Some(file.clone()),
                About::Reference(reference) => self.file_of(reference, word.recipient.as_deref()),
            };
            // A report may be about the files of somebody else who uses the same gateway.
            let Some(file) = file.filter(|file| interest(file) != Interest::Stranger) else {
                return Stage::Unresolved(words);
            };
            word.about = About::File(file);
        }
        let underway = words.iter().filter(|word| word.outcome == Outcome::Underway);
        let files: Vec<String> = underway
            .filter_map(|word| match &word.about {
                About::File(file) => Some(file.clone()),
                About::Reference(_) => None,
            })
            .collect();
        if files.is_empty() {
            collected.found.push(Found { words, source, name: name.to_owned(), looked });
            return Stage::New;
        }
        for word in &words {
            if let (Some(reference), About::File(file)) = (word.reference.clone(), &word.about) {
                let recipient = word.recipient.as_deref().map(plain_number);
                self.references.insert((reference, recipient), file.clone());
            }
        }
        Stage::Underway { files }
    }

    fn file_of(&self, reference: &str, recipient: Option<&str>) -> Option<String> {
        let find =
            |recipient: Option<String>| self.references.get(&(reference.to_owned(), recipient)).cloned();
        if recipient.is_some() {
            return find(recipient.map(plain_number)).or_else(|| find(None));
        }
        let mut all =
            self.references.iter().filter(|((known, _), _)| known == reference).map(|(_, file)| file);
        // Completing the wrong one would be worse than completing none.
        let first = all.next()?;
        all.all(|file| file == first).then(|| first.clone())
    }
}

/// A number by its digits, anything else without regard to case: gateways write numbers in their own way.
fn plain_number(recipient: &str) -> String {
    let digits: String = recipient.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() { recipient.to_ascii_lowercase() } else { digits }
}

fn hidden_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{CONSUMED}{}-{since}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
