//! IntakeWatch: hears when files arrive. What it hears makes taking fast and says which files are whole; what it misses is
//! found by listing.

use std::ffi::OsString;
use std::path::Path;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Something that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This file is whole: it was renamed to its place, or its writer closed it.
    Whole(OsString),
    /// Somebody writes to this file.
    Open(OsString),
    /// Something may have been missed: look.
    Look,
}

/// Listens to one directory until it is dropped.
#[derive(Debug)]
pub struct IntakeWatch {
    _watcher: RecommendedWatcher,
}

impl IntakeWatch {
    /// Starts to listen. `on` is called from a thread of the watcher and must not block.
    ///
    /// # Errors
    /// Why events cannot be had, in words: then listing is all there is.
    pub fn start(path: &Path, on: impl Fn(Hint) + Send + 'static) -> Result<Self, String> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) => hints(event).into_iter().for_each(&on),
            Err(_) => on(Hint::Look),
        });
        let mut watcher = watcher.map_err(|error| error.to_string())?;
        watcher.watch(path, RecursiveMode::NonRecursive).map_err(|error| error.to_string())?;
        Ok(Self { _watcher: watcher })
    }
}

fn hints(event: Event) -> Vec<Hint> {
    if event.need_rescan() {
        return vec![Hint::Look];
    }
    let name = |path: Option<&std::path::PathBuf>| path.and_then(|path| path.file_name()).map(OsString::from);
    let (first, last) = (name(event.paths.first()), name(event.paths.last()));
    let hint = match event.kind {
        EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => last.map(Hint::Whole),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => first.map(Hint::Whole),
        EventKind::Modify(ModifyKind::Data(_)) => first.map(Hint::Open),
        // A file that was linked to its place, or one that is about to be written.
        EventKind::Create(_) => Some(Hint::Look),
        _ => None,
    };
    hint.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn renamed_and_closed_files_are_whole_and_those_that_are_written_are_open() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, heard) = mpsc::channel();
        let inside = folder.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(folder.path().join("x"), "x").unwrap();
        let _watch = IntakeWatch::start(&inside, move |hint| drop(sender.send(hint))).unwrap();
        let next = || heard.recv_timeout(Duration::from_secs(20)).unwrap();
        std::fs::rename(folder.path().join("x"), inside.join("a.eml")).unwrap();
        assert_eq!(next(), Hint::Whole("a.eml".into()));
        std::fs::write(inside.join("b.eml"), "x").unwrap();
        assert_eq!(next(), Hint::Look);
        assert_eq!(next(), Hint::Open("b.eml".into()));
        assert_eq!(next(), Hint::Whole("b.eml".into()));
    }
}
