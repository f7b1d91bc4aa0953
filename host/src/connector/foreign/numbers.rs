//! Numbers: the counter of a connector whose files are counted, and which item has which number.
//!
//! An item keeps its number over attempts and restarts, so that its file is recognised. The record is a text file to which
//! lines are added: number, item, and name of the main file. It is on the disk before the name is used.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use postern_drop::FileName;
use postern_model::ItemId;

/// What a record begins with; the number says how to read the rest.
const HEADING: &str = "postern-drop-numbers 1";
/// The record is written anew when it has so many lines more than items are known.
const SLACK: usize = 1000;

/// The numbers of one connector.
#[derive(Debug)]
pub(super) struct Numbers {
    path: PathBuf,
    limit: u64,
    last: u64,
    items: HashMap<ItemId, Numbered>,
    names: HashMap<String, ItemId>,
    lines: usize,
}

/// What an item has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    /// Its number.
    pub(super) number: u64,
    /// The name of its main file.
    pub(super) name: FileName,
}

impl Numbers {
    /// The record of a connector lies there.
    pub(super) fn path(data_directory: &Path, connector: &str) -> PathBuf {
        data_directory.join("drop-directories").join(format!("{connector}.numbers"))
    }

    /// Reads the record at `path`; an empty one when there is none. Numbers go from 1 to `limit`, and round.
    ///
    /// # Errors
    /// When it cannot be read, or another version wrote it.
    pub(super) fn read(path: PathBuf, limit: u64) -> io::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut numbers =
            Self { path, limit, last: 0, items: HashMap::new(), names: HashMap::new(), lines: 0 };
        // The power may have failed within the last line; it was never used then, and must not spoil the next one.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            OpenOptions::new().write(true).open(&numbers.path)?.set_len(whole as u64)?;
        }
        if whole == 0 {
            return Ok(numbers);
        }
        let whole = &text[..whole];
        let mut lines = whole.lines();
        if lines.next() != Some(HEADING) {
            let what = format!("it does not begin with {HEADING:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        for line in lines {
            let (number, rest) = line.split_once(' ').unwrap_or((line, ""));
            let Ok(number) = number.parse() else { continue };
            numbers.last = number;
            numbers.lines += 1;
            let numbered = rest.split_once(' ').and_then(|(item, name)| {
                Some((item.parse().ok()?, Numbered { number, name: FileName::new(name).ok()? }))
            });
            if let Some((item, numbered)) = numbered {
                numbers.know(item, numbered);
            }
        }
        Ok(numbers)
    }

    /// What the item has, if anything.
    pub(super) fn of(&self, item: ItemId) -> Option<&Numbered> {
        self.items.get(&item)
    }

    /// The item that a main file of this name belongs to.
    pub(super) fn item_of(&self, name: &str) -> Option<ItemId> {
        self.names.get(name).copied()
    }

    /// Gives the item the next number that no other item has; `name` makes a name of it.
    ///
    /// # Errors
    /// When it cannot be kept: it is not used then.
    pub(super) fn next<E: From<io::Error>>(
        &mut self,
        item: ItemId,
        name: impl FnOnce(u64) -> Result<FileName, E>,
    ) -> Result<Numbered, E> {
        let mut number = self.last;
        loop {
            number = if number >= self.limit { 1 } else { number + 1 };
            let is_free = !self.items.values().any(|numbered| numbered.number == number);
            if is_free {
                break;
            }
            if number == self.last {
                // A number that an item has is never another's: its file would be taken for that of this item.
                let why =
                    format!("each number up to {} belongs to a message that is not done with", self.limit);
                return Err(io::Error::other(why).into());
            }
        }
        let numbered = Numbered { number, name: name(number)? };
        // Durable first: the name is used only when a restart will know whose it is.
        self.add(item, &numbered)?;
        self.last = number;
        if let Some(old) = self.items.remove(&item) {
            self.names.remove(old.name.as_str());
        }
        self.know(item, numbered.clone());
        Ok(numbered)
    }

    /// Forgets the items that are not of interest any more.
    ///
    /// # Errors
    /// When the shorter record cannot be written; the old one stays then.
    pub(super) fn prune(&mut self, keep: impl Fn(ItemId) -> bool) -> io::Result<()> {
        self.items.retain(|item, _| keep(*item));
        let items = &self.items;
        self.names.retain(|_, item| items.contains_key(item));
        if self.lines <= self.items.len() + SLACK {
            return Ok(());
        }
        let mut text = format!("{HEADING}\n");
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_by_key(|(item, _)| **item);
        for (item, numbered) in items {
            text.push_str(&line(*item, numbered));
        }
        // The counter itself, which must not begin anew.
        text.push_str(&format!("{}\n", self.last));
        let temporary = self.path.with_extension("tmp");
        let mut file = crate::private::create_file(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        self.lines = self.items.len() + 1;
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn know(&mut self, item: ItemId, numbered: Numbered) {
        self.names.insert(numbered.name.to_string(), item);
        self.items.insert(item, numbered);
    }

    fn add(&mut self, item: ItemId, numbered: &Numbered) -> io::Result<()> {
        let is_new = fs::metadata(&self.path).map_or(true, |there| there.len() == 0);
        if is_new {
            let folder = self.path.parent().expect("a record lies in a folder");
            crate::private::make_directory(folder)?;
            let mut file = crate::private::create_file(&self.path)?;
            file.write_all(format!("{HEADING}\n").as_bytes())?;
            file.sync_all()?;
            File::open(folder)?.sync_all()?;
        }
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let whole = file.metadata()?.len();
        let added = file.write_all(line(item, numbered).as_bytes()).and_then(|()| file.sync_data());
        if added.is_err() {
            // Half a line would spoil the next one.
            file.set_len(whole)?;
        }
        self.lines += 1;
        added
    }
}

fn line(item: ItemId, numbered: &Numbered) -> String {
    format!("{} {item} {}\n", numbered.number, numbered.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(ordinal: u16) -> ItemId {
        format!("0192f3c4-0000-7000-8000-000000000001.{ordinal}").parse().unwrap()
    }

    fn name(number: u64) -> io::Result<FileName> {
        Ok(FileName::new(format!("{number:03}.TXT")).unwrap())
    }

    fn given(numbers: &mut Numbers, ordinal: u16) -> u64 {
        numbers.next(item(ordinal), name).unwrap().number
    }

    #[test]
    fn numbers_go_on_over_restarts_and_items_keep_theirs() {
        let home = tempfile::tempdir().unwrap();
        let path = Numbers::path(home.path(), "pbx");
        let open = || Numbers::read(path.clone(), 999).unwrap();
        let mut numbers = open();
        assert_eq!((given(&mut numbers, 0), given(&mut numbers, 1)), (1, 2));
        let mut numbers = open();
        assert_eq!(numbers.of(item(0)).unwrap().number, 1);
        assert_eq!(numbers.item_of("002.TXT"), Some(item(1)));
        assert_eq!(given(&mut numbers, 2), 3);
        // What version 1 wrote.
        let id = "0192f3c4-0000-7000-8000-000000000001";
        let sample =
            format!("postern-drop-numbers 1\n1 {id}.0 001.TXT\n2 {id}.1 002.TXT\n3 {id}.2 003.TXT\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), sample);
    }

    #[test]
    fn the_counter_goes_round_and_passes_over_numbers_in_use() {
        let home = tempfile::tempdir().unwrap();
        let mut numbers = Numbers::read(Numbers::path(home.path(), "pbx"), 3).unwrap();
        let first: Vec<u64> = (0..3).map(|ordinal| given(&mut numbers, ordinal)).collect();
        assert_eq!(first, [1, 2, 3]);
        numbers.prune(|known| known == item(0)).unwrap();
        assert_eq!(given(&mut numbers, 3), 2, "1 is in use");
        // The same item again: its file was somebody else's.
        assert_eq!(given(&mut numbers, 3), 3);
        assert_eq!(numbers.item_of("002.TXT"), None);
    }

    #[test]
    fn the_record_is_made_shorter_and_the_counter_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = Numbers::path(home.path(), "pbx");
        let mut numbers = Numbers::read(path.clone(), u64::MAX).unwrap();
        let many = u16::try_from(SLACK).unwrap() + 10;
        let last = (0..many).map(|ordinal| given(&mut numbers, ordinal)).last();
        assert_eq!(last, Some(u64::from(many)));
        numbers.prune(|known| known == item(5)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
        let mut numbers = Numbers::read(path, u64::MAX).unwrap();
        assert_eq!(numbers.of(item(5)).unwrap().number, 6);
        assert_eq!(given(&mut numbers, many), u64::from(many) + 1);
    }

    #[test]
    fn half_a_line_was_never_used_and_a_strange_record_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = Numbers::path(home.path(), "pbx");
        let mut numbers = Numbers::read(path.clone(), 999).unwrap();
        given(&mut numbers, 0);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"2 0192f3c4").unwrap();
        let mut numbers = Numbers::read(path.clone(), 999).unwrap();
        assert_eq!((numbers.last, given(&mut numbers, 1)), (1, 2));
        assert_eq!(Numbers::read(path.clone(), 999).unwrap().of(item(1)).unwrap().number, 2);
        fs::write(&path, "postern-drop-numbers 2\n").unwrap();
        assert!(Numbers::read(path, 999).is_err());
    }
}
