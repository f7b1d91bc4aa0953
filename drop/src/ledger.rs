//! Ledger: what is known to lie in a drop directory, and what follows from a look at it. No system calls here.
//!
//! It counts for the quota without scanning for each file, and it decides what became of a published file. A
//! conclusion is only drawn from a look at the single file, made after the listing or the event that raised the
//! question: listings may miss a file that is renamed meanwhile, and events may be old.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use jiff::Timestamp;

use crate::claims::{Away, ClaimLooks, Leaving};
use crate::folder::{Listed, Looked, shown};
use crate::{FileId, Fullness, PickupEvent, Quota, SeenBy, Usage, WatchCounters};

/// What lies in the directory.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    files: HashMap<OsString, Entry>,
    /// Where the files lie that are not ours, as far as known: a claimed file appears among them first.
    strangers: HashMap<FileId, OsString>,
    /// Where our files lie that were renamed, by the names that they were published under.
    claimed: HashMap<String, OsString>,
    /// Names being published, with the bytes reserved for them.
    coming: HashMap<OsString, u64>,
    used: Usage,
    reserved: Usage,
    quota: Quota,
    fullness: Fullness,
    /// What lay there when a file did not fit.
    refused: Option<Usage>,
    /// Since when the oldest of our files lies there, as the last scan found it.
    oldest: Option<i64>,
    pub(crate) counters: WatchCounters,
    /// Events that nobody has fetched. Only kept while there is a watcher.
    events: Vec<PickupEvent>,
    watched: bool,
    /// What the names of results end with: such a file is no claimed one, though its name is that of a published one and
    /// more.
    sidecars: Vec<String>,
    /// Whether a file that left may lie in a folder for those that the gateway is at work on.
    may_be_away: bool,
    /// Files that left: what became of them is to be looked up.
    leaving: Vec<Leaving>,
    /// Files in claim folders, by the names that they were published under.
    away: HashMap<String, Away>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    id: FileId,
    size: u64,
    /// The name it was published under, if it is ours and its pickup is of interest.
    published: Option<String>,
    truncated: bool,
    opened: bool,
}

impl Entry {
    /// Which file it is, if it is ours.
    pub(crate) fn published_id(&self) -> Option<FileId> {
        self.published.is_some().then_some(self.id)
    }
}

/// What has to be looked at before anything can be concluded from a listing.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// Known names that are not listed, or listed with another inode; and which file they were.
    suspects: Vec<(OsString, FileId)>,
    /// Listed names that are not known.
    strangers: Vec<OsString>,
}

impl Questions {
    /// The names to look at.
    pub(crate) fn names(&self) -> impl Iterator<Item = &OsString> {
        self.suspects.iter().map(|(name, _)| name).chain(&self.strangers)
    }
}

/// The looks that answer the questions; `None`: no such file.
pub(crate) type Looks = HashMap<OsString, Option<Looked>>;

impl Ledger {
    /// An empty one. `sidecars`: what the names of results end with. `may_be_away`: there are claim folders.
    pub(crate) fn new(sidecars: Vec<String>, may_be_away: bool, quota: Quota) -> Self {
        Self { sidecars, may_be_away, quota, ..Self::default() }
    }

    /// How full the directory is.
    pub(crate) fn fullness(&self) -> Fullness {
        self.fullness
    }

    /// Finds the oldest of our files.
    pub(crate) fn find_oldest(&mut self) {
        if self.quota.oldest.is_some() {
            let ours = self.files.values().filter(|entry| entry.published.is_some());
            self.oldest = ours.map(|entry| entry.id.since()).min();
        }
    }

    /// Looks whether a mark of the quota was crossed, and tells it once.
    pub(crate) fn weigh(&mut self, at: Timestamp) {
        let age = |since: i64| Duration::from_secs(u64::try_from(at.as_second() - since).unwrap_or(0));
        let now = self.quota.fullness(self.fullness, self.refused, self.usage(), self.oldest.map(age));
        self.set_fullness(now, at);
    }

    fn set_fullness(&mut self, fullness: Fullness, at: Timestamp) {
        if self.fullness != fullness {
            self.fullness = fullness;
            self.refused = self.refused.filter(|_| fullness == Fullness::Full);
            let used = self.usage();
            self.tell(PickupEvent::Quota { fullness, used, at });
        }
    }

    /// The files that left and were not looked for yet.
    pub(crate) fn take_leaving(&mut self) -> Vec<Leaving> {
        std::mem::take(&mut self.leaving)
    }

    /// They could not be looked for.
    pub(crate) fn still_leaving(&mut self, leaving: Vec<Leaving>) {
        self.leaving.extend(leaving);
    }

    /// The files in claim folders.
    pub(crate) fn away_names(&self) -> Vec<String> {
        self.away.keys().cloned().collect()
    }

    /// Draws the conclusions from looks into the claim folders. One that could not be opened says nothing of files that
    /// lay in it; a file that has just left the drop directory and is nowhere else was taken.
    pub(crate) fn followed(
        &mut self,
        leaving: Vec<Leaving>,
        away: &[String],
        looks: &ClaimLooks,
        at: Timestamp,
    ) {
        for Leaving { name, seen_by } in leaving {
            match looks.found.get(&name) {
                Some(place) => {
                    self.tell(PickupEvent::Claimed { name: name.clone(), new: shown(&place.shown), at });
                    self.away.insert(name, place.clone());
                }
                None => self.taken(name, at, seen_by),
            }
        }
        for name in away.iter().filter(|name| looks.whole && !looks.found.contains_key(*name)) {
            if self.away.remove(name).is_some() {
                self.taken(name.clone(), at, SeenBy::Scan);
            }
        }
    }

    /// What lies there, files being written included.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            bytes: self.used.bytes.saturating_add(self.reserved.bytes),
            files: self.used.files + self.reserved.files,
        }
    }

    /// Files that are ours and not taken yet.
    pub(crate) fn outstanding(&self) -> usize {
        self.files.values().filter(|e| e.published.is_some()).count() + self.away.len()
    }

    /// Announces a file before it can become visible, so that a scan does not take it for a stranger, and reserves
    /// its space. `false` when the name is being published already or does not fit.
    pub(crate) fn expect(&mut self, name: &str, size: u64) -> Expected {
        if self.coming.contains_key(OsStr::new(name)) {
            return Expected::Busy;
        }
        if self.fullness == Fullness::Full {
            return Expected::Full;
        }
        if !self.quota.admits(self.usage(), size) {
            self.refused = Some(self.usage());
            self.set_fullness(Fullness::Full, Timestamp::now());
            return Expected::Full;
        }
        self.coming.insert(name.into(), size);
        self.reserved.add(size);
        Expected::Reserved
    }

    /// Gives back what was reserved.
    pub(crate) fn forget(&mut self, name: &str) {
        if let Some(size) = self.coming.remove(OsStr::new(name)) {
            self.reserved.remove(size);
        }
    }

    /// The file is published. Whether it is still there has to be looked at after this call: a fast gateway may have
    /// taken it before its name was known here.
    pub(crate) fn arrived(&mut self, name: &str, id: FileId, size: u64) {
        self.forget(name);
        self.counters.published += 1;
        self.insert(name.into(), id, size, Some(name.to_owned()));
        self.weigh(Timestamp::now());
    }

    /// A file that belongs to another one is there: it counts, and its going away means nothing.
    pub(crate) fn accompany(&mut self, name: &str, id: FileId, size: u64) {
        self.insert(name.into(), id, size, None);
    }

    /// Files published by an earlier run are watched from now on. One that is not there under its name may lie there
    /// under another one, known by its id or, without one, by a name that goes on after the published one as
    /// `x.eml.work` does; otherwise it was taken meanwhile.
    pub(crate) fn adopt(&mut self, known: Vec<(String, Option<FileId>)>, at: Timestamp) {
        let watched = self.files.values().filter_map(|e| e.published.clone());
        let watched: HashSet<String> = watched.chain(self.away.keys().cloned()).collect();
        let mut absent = Vec::new();
        for (name, id) in known.into_iter().filter(|(name, _)| !watched.contains(name)) {
            match self.files.get(OsStr::new(&name)).map(|entry| entry.id) {
                Some(found) if id.is_none_or(|id| id == found) => self.own(&name.clone().into(), name),
                _ => absent.push((name, id)),
            }
        }
        let others = self.stranger_names();
        for (name, id) in absent {
            let new = match id {
                Some(id) => self.strangers.get(&id).cloned(),
                None => self.longer(&others, &name).filter(|new| self.is_stranger(new)).cloned(),
            };
            match new {
                Some(new) => self.claimed(name, &new, at),
                None => self.left(name, at, SeenBy::Scan),
            }
        }
    }

    /// What a listing of the directory raises. With `all`, every known file is looked at, which also corrects sizes.
    pub(crate) fn questions(&self, listing: &[Listed], all: bool) -> Questions {
        let mut questions = Questions::default();
        let mut same = HashSet::with_capacity(listing.len());
        for listed in listing {
            match self.files.get(&listed.name) {
                Some(entry) if entry.id.inode() == listed.inode => {
                    same.insert(listed.name.as_os_str());
                }
                Some(_) => {}
                None if self.coming.contains_key(&listed.name) => {}
                None => questions.strangers.push(listed.name.clone()),
            }
        }
        let suspects = self.files.iter().filter(|(name, _)| all || !same.contains(name.as_os_str()));
        questions.suspects = suspects.map(|(name, entry)| (name.clone(), entry.id)).collect();
        questions
    }

    /// What an event about one known name raises.
    pub(crate) fn question(&self, name: &OsStr) -> Questions {
        let suspects = self.files.get(name).map(|entry| (name.to_owned(), entry.id));
        Questions { suspects: suspects.into_iter().collect(), strangers: Vec::new() }
    }

    /// Draws the conclusions. A file that is not where it was but was found under another name has been claimed.
    pub(crate) fn conclude(&mut self, questions: &Questions, looks: &Looks, at: Timestamp, seen_by: SeenBy) {
        let look = |name: &OsString| looks.get(name).copied().flatten();
        for name in &questions.strangers {
            match look(name) {
                // The table may have changed since the question was asked.
                Some(l) if l.is_file && !self.files.contains_key(name) && !self.coming.contains_key(name) => {
                    self.insert(name.clone(), l.id, l.size, None);
                }
                _ => {}
            }
        }
        let mut gone = Vec::new();
        for (name, id) in &questions.suspects {
            let Some(entry) = self.files.get_mut(name).filter(|entry| entry.id == *id) else { continue };
            match look(name) {
                Some(l) if l.id == *id => {
                    self.used.bytes = self.used.bytes.saturating_sub(entry.size).saturating_add(l.size);
                    let emptied = l.size == 0 && entry.size > 0 && !entry.truncated;
                    entry.size = l.size;
                    if let Some(name) = entry.published.clone().filter(|_| emptied) {
                        entry.truncated = true;
                        self.tell(PickupEvent::Truncated { name, at });
                    }
                }
                other => {
                    gone.extend(self.remove(name).and_then(|e| Some((e.id, e.published?))));
                    if let Some(l) = other.filter(|l| l.is_file) {
                        self.insert(name.clone(), l.id, l.size, None);
                    }
                }
            }
        }
        self.settle(gone, at, seen_by);
    }

    /// Tells claimed files from taken ones.
    fn settle(&mut self, gone: Vec<(FileId, String)>, at: Timestamp, seen_by: SeenBy) {
        for (id, name) in gone {
            match self.strangers.get(&id).cloned() {
                Some(new) => self.claimed(name, &new, at),
                None => self.left(name, at, seen_by),
            }
        }
    }

    /// It is not in the drop directory any more.
    fn left(&mut self, name: String, at: Timestamp, seen_by: SeenBy) {
        if self.may_be_away {
            self.leaving.push(Leaving { name, seen_by });
        } else {
            self.taken(name, at, seen_by);
        }
    }

    /// The system says that `old` was renamed to `new`. `old_look` and `new_look` are what lies there now.
    pub(crate) fn renamed(
        &mut self,
        (old, old_look): (&OsStr, Option<Looked>),
        (new, new_look): (&OsStr, Option<Looked>),
        at: Timestamp,
    ) {
        let Some(id) = self.files.get(old).map(|entry| entry.id) else { return };
        let is_it = |look: Option<Looked>| look.is_some_and(|l| l.id == id);
        if is_it(old_look) || (new_look.is_some() && !is_it(new_look)) {
            // An old story: it came back, or went on. The next event or scan tells how it ended.
            return;
        }
        let Some(entry) = self.remove(old) else { return };
        self.remove(new);
        self.insert(new.to_owned(), entry.id, entry.size, entry.published.clone());
        if let Some(name) = entry.published {
            self.tell(PickupEvent::Claimed { name, new: shown(new), at });
        }
    }

    /// Somebody opened this file.
    pub(crate) fn opened(&mut self, name: &OsStr, at: Timestamp) {
        let Some(entry) = self.files.get_mut(name).filter(|entry| !entry.opened) else { return };
        entry.opened = true;
        if let Some(name) = entry.published.clone() {
            self.tell(PickupEvent::Opened { name, at });
        }
    }

    /// The file is of no interest any more.
    pub(crate) fn drop_file(&mut self, name: &str) {
        self.remove(OsStr::new(name));
    }

    /// Whether a file of this name is being published.
    pub(crate) fn is_coming(&self, name: &str) -> bool {
        self.coming.contains_key(OsStr::new(name))
    }

    /// We are about to take the file back ourselves: it is not known any more, so that nothing follows from its going
    /// away. A file that only has the name of a claimed one of ours is left alone.
    pub(crate) fn hold(&mut self, name: &str) -> Option<Entry> {
        let ours =
            self.files.get(OsStr::new(name))?.published.as_deref().is_none_or(|published| published == name);
        if ours { self.remove(OsStr::new(name)) } else { None }
    }

    /// It could not be taken back: it is known again as it was.
    pub(crate) fn unhold(&mut self, name: &str, entry: Entry) {
        self.insert(name.into(), entry.id, entry.size, entry.published);
    }

    /// A file that we had taken back lies there again.
    pub(crate) fn returned(&mut self, name: &str, id: FileId, size: u64) {
        self.insert(name.into(), id, size, Some(name.to_owned()));
    }

    /// What our file is called now that was published as `name` and renamed since. Without a watcher, which follows
    /// renames, only names that go on after the published one are recognised.
    pub(crate) fn claimed_as(&self, name: &str) -> Option<OsString> {
        let longer = || self.longer(&self.stranger_names(), name).cloned();
        let place = self.claimed.get(name).cloned();
        let place = place.or_else(|| self.away.get(name).map(|away| away.shown.clone()));
        place.or_else(|| if self.watched { None } else { longer() })
    }

    /// Of these names, those under which a file lies, or under a name that goes on after it as `x.eml.work` does.
    pub(crate) fn lying<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let others = self.stranger_names();
        let lies = |name: &&str| {
            self.knows(OsStr::new(name))
                || self.claimed.contains_key(*name)
                || self.away.contains_key(*name)
                || self.longer(&others, name).is_some()
        };
        names.into_iter().filter(lies).collect()
    }

    /// The names of files that are not known to be ours, sorted.
    fn stranger_names(&self) -> Vec<OsString> {
        let mut names: Vec<OsString> = self.strangers.values().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The directory was replaced by another one; `looks` are at the known names there. What did not come along is not
    /// known to have been taken.
    pub(crate) fn vanish(&mut self, looks: &Looks, at: Timestamp) {
        let here = |name: &OsString, entry: &Entry| {
            looks.get(name).copied().flatten().is_some_and(|l| l.id == entry.id)
        };
        let lost: Vec<OsString> = self
            .files
            .iter()
            .filter(|(name, entry)| !here(name, entry))
            .map(|(name, _)| name.clone())
            .collect();
        for (name, _) in std::mem::take(&mut self.away) {
            self.tell(PickupEvent::Vanished { name, at });
        }
        for name in lost {
            if let Some(name) = self.remove(&name).and_then(|entry| entry.published) {
                self.tell(PickupEvent::Vanished { name, at });
            }
        }
    }

    /// From now on, events are kept until they are fetched.
    pub(crate) fn set_watched(&mut self, watched: bool) {
        self.watched = watched;
        self.events.clear();
    }

    /// Whether somebody fetches events.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched
    }

    /// Notes an event for the watcher.
    pub(crate) fn tell(&mut self, event: PickupEvent) {
        if self.watched {
            self.events.push(event);
        }
    }

    /// Whether a file of this name is known to lie there.
    pub(crate) fn knows(&self, name: &OsStr) -> bool {
        self.files.contains_key(name)
    }

    /// Whether there are events to fetch.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<PickupEvent> {
        std::mem::take(&mut self.events)
    }

    fn taken(&mut self, name: String, at: Timestamp, seen_by: SeenBy) {
        match seen_by {
            SeenBy::Event => self.counters.taken_by_event += 1,
            SeenBy::Scan => self.counters.taken_by_scan += 1,
        }
        self.tell(PickupEvent::Taken { name, at, seen_by });
    }

    fn claimed(&mut self, name: String, new: &OsString, at: Timestamp) {
        self.own(new, name.clone());
        self.tell(PickupEvent::Claimed { name, new: shown(new), at });
    }

    /// The file that lies under `key` was published as `name`.
    fn own(&mut self, key: &OsString, name: String) {
        if let Some(entry) = self.files.get_mut(key) {
            if OsStr::new(&name) != key {
                self.claimed.insert(name.clone(), key.clone());
            }
            entry.published = Some(name);
            self.strangers.remove(&entry.id);
        }
    }

    /// The first of the sorted `names` that is `name` with something after a dot, and no result.
    fn longer<'a>(&self, names: &'a [OsString], name: &str) -> Option<&'a OsString> {
        let prefix = format!("{name}.");
        let at = names.partition_point(|other| other.as_os_str() < OsStr::new(&prefix));
        let ends = |other: &OsString, end: &String| other.as_encoded_bytes().ends_with(end.as_bytes());
        let mut longer =
            names[at..].iter().take_while(|other| other.as_encoded_bytes().starts_with(prefix.as_bytes()));
        longer.find(|other| !self.sidecars.iter().any(|end| ends(other, end)))
    }

    fn is_stranger(&self, name: &OsString) -> bool {
        self.files.get(name).is_some_and(|entry| entry.published.is_none())
    }

    fn insert(&mut self, name: OsString, id: FileId, size: u64, published: Option<String>) {
        self.remove(&name);
        self.used.add(size);
        match &published {
            None => drop(self.strangers.insert(id, name.clone())),
            Some(ours) if OsStr::new(ours) != name => {
                self.claimed.insert(ours.clone(), name.clone());
            }
            Some(_) => {}
        }
        self.files.insert(name, Entry { id, size, published, truncated: false, opened: false });
    }

    fn remove(&mut self, name: &OsStr) -> Option<Entry> {
        let entry = self.files.remove(name)?;
        self.used.remove(entry.size);
        if self.strangers.get(&entry.id).is_some_and(|place| place == name) {
            self.strangers.remove(&entry.id);
        }
        if let Some(ours) = &entry.published
            && self.claimed.get(ours).is_some_and(|place| place == name)
        {
            self.claimed.remove(ours);
        }
        Some(entry)
    }
}

/// What came of announcing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It may be written.
    Reserved,
    /// The same name is being published already.
    Busy,
    /// The quota is used up.
    Full,
}
