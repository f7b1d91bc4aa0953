//! Tests on real directories, each in a folder of its own.

mod campaign;
mod check;
mod crash;
mod identity;
mod mounts;
mod other_user;
mod publish;
mod quota;
mod results;
mod set;
mod speed;
mod watch;
mod withdraw;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::{DropDirectory, DropError, DropSettings, FileName, Known, PickupEvent, Published, Watcher};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A drop directory in a folder of its own.
struct Place {
    home: TempDir,
    settings: DropSettings,
}

impl Place {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut DropSettings)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut settings = DropSettings::new(home.path().join("drop"));
        std::fs::create_dir(&settings.path).unwrap();
        change(&mut settings);
        Self { home, settings }
    }

    fn open(&self) -> DropDirectory {
        DropDirectory::open(self.settings.clone()).unwrap()
    }

    fn drop(&self) -> &Path {
        &self.settings.path
    }

    fn file(&self, name: &str) -> PathBuf {
        self.drop().join(name)
    }

    fn temp_file(&self, name: &str) -> PathBuf {
        self.settings.temp_path().join(name)
    }

    /// A path beside the drop directory, on the same file system.
    fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What lies in the temp folder but for the directory's number, sorted.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.settings.temp_path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".identity").collect();
        names.sort();
        names
    }

    /// The names that a gateway sees, sorted.
    fn visible(&self) -> Vec<String> {
        names(self.drop())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn publish(directory: &DropDirectory, file: &str, content: &[u8]) -> Result<Published, DropError> {
    directory.publish(&name(file), |out| out.write_all(content), content.len() as u64)
}

/// Publishes a file whose content must not be asked for.
fn publish_again(directory: &DropDirectory, file: &str) -> Published {
    let refuse = |_: &mut dyn io::Write| panic!("the content was asked for although the file was published");
    directory.publish(&name(file), refuse, 0).unwrap()
}

/// A watcher and the events it reported.
struct Seen {
    watcher: Watcher,
    events: Receiver<PickupEvent>,
}

impl Seen {
    fn start(directory: &DropDirectory, known: Vec<Known>) -> Self {
        let (sender, events) = channel();
        let watcher = Watcher::start(directory, known, move |event| {
            let _ = sender.send(event);
        });
        Self { watcher: watcher.unwrap(), events }
    }

    fn next(&self) -> PickupEvent {
        self.events.recv_timeout(PATIENCE).expect("an event should have come")
    }

    /// The next event without its time, as `Kind name more`.
    fn line(&self) -> String {
        match self.next() {
            PickupEvent::Taken { name, seen_by, .. } => format!("taken {name} {seen_by:?}"),
            PickupEvent::Opened { name, .. } => format!("opened {name}"),
            PickupEvent::Claimed { name, new, .. } => format!("claimed {name} {new}"),
            PickupEvent::Truncated { name, .. } => format!("truncated {name}"),
            PickupEvent::Vanished { name, .. } => format!("vanished {name}"),
            PickupEvent::DirectoryGone { reason, .. } => format!("gone {reason}"),
            PickupEvent::DirectoryBack { replaced, .. } => format!("back replaced={replaced}"),
            PickupEvent::Quota { fullness, .. } => format!("quota {fullness:?}"),
            PickupEvent::PollingOnly { .. } => "polling".to_owned(),
        }
    }

    /// Ends the watching and returns what was reported and not fetched.
    fn rest(self) -> Vec<PickupEvent> {
        self.watcher.stop();
        self.events.try_iter().collect()
    }
}
