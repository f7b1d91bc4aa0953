//! Hints: what is known of the files of one directory beside what lies there: what events of the file system have told, and
//! what was put back a moment ago.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postern_drop::intake::{Heard, Hint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How many names are remembered. When there are more, all are forgotten: time tells then which files are whole.
const MAX_NAMES: usize = 100_000;

/// What is known.
#[derive(Debug, Default)]
pub struct Hints {
    heard: Mutex<HashMap<OsString, Heard>>,
    /// Files that were put back, and until when they stay.
    cooling: Mutex<HashMap<OsString, Instant>>,
    /// Rings when something may have arrived.
    pub arrived: Notify,
}

impl Hints {
    /// Takes note of an event. Names that do not end in a dot and `extension` are of no interest.
    pub fn hear(&self, hint: Hint, extension: &str) {
        let fits = |name: &OsStr| {
            let ending = name.as_bytes().rsplit(|byte| *byte == b'.').next();
            ending.is_some_and(|ending| ending.eq_ignore_ascii_case(extension.as_bytes()))
        };
        match hint {
            Hint::Whole(name) if fits(&name) => {
                note(&self.heard, name, Heard::Whole);
                self.arrived.notify_one();
            }
            // There is nothing to be done before it is closed.
            Hint::Open(name) if fits(&name) => note(&self.heard, name, Heard::Open),
            Hint::Look => self.arrived.notify_one(),
            Hint::Whole(_) | Hint::Open(_) => {}
        }
    }

    /// What was heard of a file last.
    #[must_use]
    pub fn of(&self, name: &OsStr) -> Heard {
        lock(&self.heard).get(name).copied().unwrap_or_default()
    }

    /// The file is not there any more.
    pub fn forget(&self, name: &OsStr) {
        lock(&self.heard).remove(name);
    }

    /// What was heard may be outdated.
    pub fn clear(&self) {
        lock(&self.heard).clear();
    }

    /// The file was put back, and stays until then.
    pub fn cool(&self, name: &OsStr, until: Instant) {
        note(&self.cooling, name.to_owned(), until);
    }

    /// Whether it stays for now.
    #[must_use]
    pub fn is_cooling(&self, name: &OsStr) -> bool {
        lock(&self.cooling).contains_key(name)
    }

    /// Lets go what has stayed for long enough.
    pub fn warm_up(&self, now: Instant) {
        lock(&self.cooling).retain(|_, until| *until > now);
    }
}

fn note<T>(names: &Mutex<HashMap<OsString, T>>, name: OsString, what: T) {
    let mut names = lock(names);
    if names.len() >= MAX_NAMES {
        names.clear();
    }
    names.insert(name, what);
}

fn lock<T>(names: &Mutex<HashMap<OsString, T>>) -> MutexGuard<'_, HashMap<OsString, T>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_names_with_the_extension_are_remembered() {
        let hints = Hints::default();
        hints.hear(Hint::Whole("a.EML".into()), "eml");
        hints.hear(Hint::Open("b.eml".into()), "eml");
        hints.hear(Hint::Whole("a.bad".into()), "eml");
        let of = |name: &str| hints.of(OsStr::new(name));
        assert_eq!((of("a.EML"), of("b.eml"), of("a.bad")), (Heard::Whole, Heard::Open, Heard::Nothing));
        hints.forget(OsStr::new("a.EML"));
        assert_eq!(of("a.EML"), Heard::Nothing);
    }

    #[test]
    fn what_was_put_back_stays_for_a_while() {
        let (hints, now, name) = (Hints::default(), Instant::now(), OsStr::new("a.eml"));
        hints.cool(name, now + Duration::from_secs(5));
        hints.warm_up(now);
        assert!(hints.is_cooling(name));
        hints.warm_up(now + Duration::from_secs(5));
        assert!(!hints.is_cooling(name));
    }
}
