//! `[pickup_directories.NAME]` and `[replay_directories.NAME]`: directories whose files come in as messages, and from whom.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use toml::de::DeValue;

use super::address_space::wildcard;
use super::checked::Config;
use super::outgoing::{LEAST_MESSAGE_SIZE, MOST_MESSAGE_SIZE, check_name, label};
use super::raw::{Document, Section, Wrong};
use super::receive::{MAX_HOPS, MAX_MESSAGE_SIZE};
use super::values::{boolean, choice, count, line, number, quoted, size, timer};
use crate::account::Account;

/// `max_messages_per_minute` (Exchange: `PickupDirectoryMaxMessagesPerMinute` 100, for either kind on its own).
pub const MAX_MESSAGES_PER_MINUTE: u32 = 100;
/// `max_header_size` of pickup directories in bytes (Exchange: `PickupDirectoryMaxHeaderSize` 64 KB).
pub const PICKUP_HEADER_SIZE: u64 = 64 << 10;
/// `max_header_size` of replay directories in bytes, the envelope block included: a line for each recipient.
pub const REPLAY_HEADER_SIZE: u64 = 16 << 20;
/// `max_recipients` of pickup directories (Exchange: `PickupDirectoryMaxRecipientsPerMessage` 100).
pub const PICKUP_RECIPIENTS: usize = 100;
/// `max_recipients` of replay directories: as many as any message has.
pub const REPLAY_RECIPIENTS: usize = 512_000;
/// `settle_time`: how long a file must not have changed before it is taken, where no event says that it is whole.
pub const SETTLE_TIME: Duration = Duration::from_secs(2);
/// `poll_interval` (Exchange: 5 seconds, fixed).
pub const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Whose word about a replayed message counts beyond its envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Only that of this host's own unchanged exports.
    Own,
    /// That of files that say `X-CreatedBy: MSExchange15` as well, as Exchange does.
    CreatedBy,
    /// That of every file.
    All,
}

/// The two kinds of directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDoorKind {
    /// The envelope comes from the message's header (Exchange: Pickup).
    Pickup,
    /// The envelope stands in a block before the message (Exchange: Replay).
    Replay(Trust),
}

impl FileDoorKind {
    /// The table in the configuration.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Pickup => "pickup_directories",
            Self::Replay(_) => "replay_directories",
        }
    }

    /// The protocol's name in trace headers.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Pickup => "PICKUP",
            Self::Replay(_) => "REPLAY",
        }
    }
}

/// One folder that is read, and what may come from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderConfig {
    /// Whose folder it is, where each submitter has one.
    pub submitter: Option<String>,
    /// Where it is.
    pub path: PathBuf,
    /// The users whose files are taken; `None`: everybody's.
    pub owners: Option<Vec<u32>>,
    /// Patterns of senders; one must fit.
    pub senders: Vec<String>,
    /// Patterns of recipients; one must fit each.
    pub recipients: Vec<String>,
    /// The largest file, in bytes.
    pub max_message_size: u64,
    /// How many recipients a message may have.
    pub max_recipients: usize,
    /// How many files are taken in a minute; `None`: any number.
    pub max_messages_per_minute: Option<u32>,
}

impl FolderConfig {
    /// Whether files of this user are taken.
    #[must_use]
    pub fn takes_from(&self, owner: u32) -> bool {
        self.owners.as_ref().is_none_or(|owners| owners.contains(&owner))
    }

    /// Whether messages may come from this sender; empty is the null reverse-path.
    #[must_use]
    pub fn admits_sender(&self, sender: &str) -> bool {
        self.senders.iter().any(|pattern| wildcard(pattern, sender))
    }

    /// Whether messages may go to this recipient.
    #[must_use]
    pub fn admits_recipient(&self, recipient: &str) -> bool {
        self.recipients.iter().any(|pattern| wildcard(pattern, recipient))
    }
}

/// One pickup or replay directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDoorConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Which kind it is.
    pub kind: FileDoorKind,
    /// Whether it is read.
    pub enabled: bool,
    /// A remark for people.
    pub comment: Option<String>,
    /// The directory.
    pub directory: PathBuf,
    /// Whether missing directories are made.
    pub create_directory: bool,
    /// The largest header block, in bytes.
    pub max_header_size: u64,
    /// How many `Received` fields a message may have.
    pub max_hops: usize,
    /// How long a file must not have changed where no event says that it is whole.
    pub settle_time: Duration,
    /// How often the directory is listed.
    pub poll_interval: Duration,
    /// The folders that are read: the directory itself, or one in it for each submitter. Never empty.
    pub folders: Vec<FolderConfig>,
}

impl FileDoorConfig {
    /// Reads a pickup directory; `None` when its path is missing.
    pub(super) fn read_pickup(name: &str, section: &Section<'_>) -> Option<Self> {
        let mut door = Self::read(FileDoorKind::Pickup, PICKUP_HEADER_SIZE, PICKUP_RECIPIENTS, name, section);
        let submitters = section.named("submitters");
        section.finish();
        let whole = door.folders.remove(0);
        for (submitter, section) in &submitters {
            check_name(section, submitter);
            let path = whole.path.join(submitter);
            let folder = FolderConfig { submitter: Some((*submitter).to_owned()), path, ..whole.clone() };
            door.folders.push(read_folder(section, folder));
            section.finish();
        }
        if door.folders.is_empty() {
            door.folders.push(whole);
        }
        door.has_directory(section)
    }

    /// Reads a replay directory; `None` when its path is missing.
    pub(super) fn read_replay(name: &str, section: &Section<'_>) -> Option<Self> {
        let trust = choice(&[("own", Trust::Own), ("created-by", Trust::CreatedBy), ("all", Trust::All)]);
        let kind = FileDoorKind::Replay(section.or("trust", trust, Trust::Own));
        let door = Self::read(kind, REPLAY_HEADER_SIZE, REPLAY_RECIPIENTS, name, section);
        section.finish();
        door.has_directory(section)
    }

    fn read(
        kind: FileDoorKind,
        max_header_size: u64,
        max_recipients: usize,
        name: &str,
        section: &Section<'_>,
    ) -> Self {
        check_name(section, name);
        let example = format!("write directory = \"{}/NAME\"", kind.protocol().to_ascii_lowercase());
        let directory = section.required("directory", line, &example).unwrap_or_default();
        let directory = section.document().resolve(&directory);
        let everything = || vec!["*".to_owned()];
        let whole = FolderConfig {
            submitter: None,
            path: directory.clone(),
            owners: None,
            senders: everything(),
            recipients: everything(),
            max_message_size: MAX_MESSAGE_SIZE,
            max_recipients,
            max_messages_per_minute: Some(MAX_MESSAGES_PER_MINUTE),
        };
        let settle = timer(SignedDuration::ZERO, SignedDuration::from_mins(10));
        let poll = timer(SignedDuration::from_millis(100), SignedDuration::from_hours(1));
        Self {
            name: name.into(),
            kind,
            enabled: section.or("enabled", boolean, true),
            comment: section.optional("comment", label),
            directory,
            create_directory: section.or("create_directory", boolean, false),
            max_header_size: section.or("max_header_size", size(1 << 10, 2 << 30), max_header_size),
            max_hops: section.or("max_hops", count(1, 500), MAX_HOPS),
            settle_time: section.or("settle_time", settle, SETTLE_TIME),
            poll_interval: section.or("poll_interval", poll, POLL_INTERVAL),
            folders: vec![read_folder(section, whole)],
        }
    }

    fn has_directory(self, section: &Section<'_>) -> Option<Self> {
        section.entry("directory")?;
        if self.enabled && !self.create_directory {
            for folder in self.folders.iter().filter(|folder| !folder.path.is_dir()) {
                let shown = quoted(&folder.path.to_string_lossy());
                let hint =
                    "make it, or write create_directory = true; until then nothing is taken from there";
                let wrong = Wrong::hinted(format!("the directory {shown} is missing"), hint);
                section.entry("directory").inspect(|entry| entry.warn(wrong));
            }
        }
        Some(self)
    }
}

/// What a table says of a folder; the rest is as in `outer`.
fn read_folder(section: &Section<'_>, outer: FolderConfig) -> FolderConfig {
    let rate = |value: &DeValue<'_>| match value.as_str() {
        Some("unlimited") => Ok(None),
        _ => number(1, 1_000_000)(value).map(Some),
    };
    FolderConfig {
        owners: section.list("owners", owner).or(outer.owners),
        senders: section.list("senders", line).unwrap_or(outer.senders),
        recipients: section.list("recipients", line).unwrap_or(outer.recipients),
        max_message_size: section.or(
            "max_message_size",
            size(LEAST_MESSAGE_SIZE, MOST_MESSAGE_SIZE),
            outer.max_message_size,
        ),
        max_recipients: section.or("max_recipients", count(1, 512_000), outer.max_recipients),
        max_messages_per_minute: section.or("max_messages_per_minute", rate, outer.max_messages_per_minute),
        ..outer
    }
}

/// A user by name or by number.
fn owner(value: &DeValue<'_>) -> Result<u32, Wrong> {
    if value.is_integer() {
        return number(0, u32::MAX)(value);
    }
    let name = line(value)?;
    let account = Account::named(&name).ok_or_else(|| {
        Wrong::hinted(
            format!("there is no user {} on this machine", quoted(&name)),
            "write the user's number",
        )
    })?;
    Ok(account.uid)
}

/// Names that are taken, and folders that overlap with others.
pub(super) fn check(config: &Config, document: &Document<'_>) {
    let mut names: Vec<(&str, &str)> =
        config.receive_connectors.iter().map(|receive| (&*receive.name, "receive_connectors")).collect();
    for door in &config.file_doors {
        let place = format!("{}.{}", door.kind.table(), door.name);
        if let Some((_, table)) = names.iter().find(|(name, _)| *name == &*door.name) {
            let message = format!("the name is already taken by [{table}.{}]", door.name);
            let hint = "ways in of all kinds need names of their own: submitters go by them";
            document.fault_at(&place, Wrong::hinted(message, hint));
        }
        names.push((&*door.name, door.kind.table()));
        if !door.enabled {
            document.warn_at(&format!("{place}.enabled"), Wrong::new("this directory is off"));
        } else if let Some(other) = overlap(door, config) {
            let hint = "give it a folder of its own";
            document.fault_at(
                &format!("{place}.directory"),
                Wrong::hinted(format!("the directory overlaps with {other}"), hint),
            );
        }
    }
}

/// Whose folder a directory overlaps with. What is published to a gateway must not come in again, and nobody may put files
/// into the data directory.
fn overlap(door: &FileDoorConfig, config: &Config) -> Option<String> {
    let within = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let own = door.directory.as_path();
    if within(own, &config.host.data_directory) {
        return Some("the host's data directory".to_owned());
    }
    let others = config.file_doors.iter().filter(|other| other.enabled && other.name != door.name);
    if let Some(other) = others.into_iter().find(|other| within(own, &other.directory)) {
        return Some(format!("[{}.{}]", other.kind.table(), other.name));
    }
    let foreign = config.foreign_connectors.iter().filter(|foreign| foreign.common.enabled);
    foreign.into_iter().find_map(|foreign| {
        let mut folders = std::iter::once(&foreign.drop_directory).chain(&foreign.temp_directory);
        let overlaps = folders.any(|folder| within(own, folder));
        overlaps.then(|| format!("the folders of [foreign_connectors.{}]", foreign.common.name))
    })
}

#[cfg(test)]
mod tests {
    use super::super::check_text;
    use super::*;

    fn read(lines: &str) -> Result<FileDoorConfig, String> {
        let text = format!(
            "[host]\nname = \"gw.example\"\n[receive_connectors.in]\nlisten = [\"127.0.0.1:0\"]\n\
             [foreign_connectors.pbx]\naddress_spaces = [\"FAX:*\"]\ndrop_directory = \"drop\"\n{lines}"
        );
        let checked = check_text(&text, Path::new("x"), Path::new("/x/y.toml"), &|_| None);
        checked.map(|(mut config, _)| config.file_doors.remove(0)).map_err(|report| report.human())
    }

    #[test]
    fn the_defaults_are_those_of_exchange() {
        let door = read("[pickup_directories.a]\ndirectory = \"in\"").unwrap();
        let [folder] = &door.folders[..] else { panic!("{door:?}") };
        assert_eq!(folder.path, Path::new("/x/in"));
        assert_eq!((folder.max_messages_per_minute, folder.max_recipients), (Some(100), 100));
        assert_eq!((door.max_header_size, door.poll_interval.as_secs()), (65536, 5));
        assert!(folder.takes_from(0) && folder.takes_from(77) && folder.admits_sender("any@where"));
    }

    #[test]
    fn a_submitter_has_a_folder_and_what_the_directory_allows_unless_it_says_otherwise() {
        let door = read(
            "[pickup_directories.a]\ndirectory = \"in\"\nsenders = [\"*@corp.example\"]\nowners = [0, 1000]\n\
             [pickup_directories.a.submitters.billing]\nsenders = [\"billing@corp.example\"]\nowners = [33]\n\
             max_messages_per_minute = \"unlimited\"\n[pickup_directories.a.submitters.hr]\n",
        )
        .unwrap();
        let [billing, hr] = &door.folders[..] else { panic!("{door:?}") };
        assert_eq!(billing.path, Path::new("/x/in/billing"));
        assert!(billing.admits_sender("Billing@corp.example") && !billing.admits_sender("jo@corp.example"));
        assert!(
            billing.takes_from(33) && !billing.takes_from(1000) && billing.max_messages_per_minute.is_none()
        );
        assert!(hr.takes_from(1000) && hr.admits_sender("jo@corp.example") && !hr.admits_sender("jo@x"));
        assert!(!hr.admits_sender(""), "the null reverse-path is no sender of that domain");
    }

    #[test]
    fn names_and_folders_of_others_are_faults() {
        for (lines, expected) in [
            ("[pickup_directories.in]\ndirectory = \"p\"", "already taken by [receive_connectors.in]"),
            ("[pickup_directories.a]\ndirectory = \"drop/x\"", "the folders of [foreign_connectors.pbx]"),
            ("[replay_directories.a]\ndirectory = \"data\"", "the host's data directory"),
            (
                "[pickup_directories.a]\ndirectory = \"p\"\n[replay_directories.b]\ndirectory = \"p/b\"",
                "overlaps with [replay_directories.b]",
            ),
            ("[pickup_directories.a]\ndirectory = \"p\"\nowners = [\"no such user\"]", "there is no user"),
            ("[pickup_directories.a]\n", "the key `directory` is missing"),
            ("[pickup_directories.a]\ndirectory = \"p\"\ntrust = \"all\"", "trust"),
        ] {
            let fault = read(lines).unwrap_err();
            assert!(fault.contains(expected), "{lines}: {fault}");
        }
    }
}
