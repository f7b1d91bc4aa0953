//! Names: what an item's file is called, and whose file a name belongs to.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use postern_drop::{DropError, FileName, Profile};
use postern_model::{Item, ItemId, RecipientState};

use super::letter::{addressee, named};
use super::numbers::Numbers;
use super::{IsQueued, NotPublished, lock};
use crate::config::{ForeignConfig, HostConfig};

/// The length of a message's id.
const UUID: usize = 36;

/// The names of one connector's files.
pub(super) struct Names {
    profile: Profile,
    path: PathBuf,
    /// Read when the first number is asked for.
    numbers: Mutex<Option<Numbers>>,
    is_queued: IsQueued,
}

impl Names {
    pub(super) fn new(config: &ForeignConfig, host: &HostConfig, is_queued: IsQueued) -> Self {
        let path = Numbers::path(&host.data_directory, &config.common.name);
        Self { profile: config.profile.clone(), path, numbers: Mutex::default(), is_queued }
    }

    /// The number of an item's file, where files are counted: the one that it has, unless it is to get `another`.
    ///
    /// # Errors
    /// When the record cannot be read or written: the number is not used then.
    pub(super) fn number(&self, item: &Item, another: bool) -> Result<Option<u64>, NotPublished> {
        let Some(mut numbers) = self.numbers()? else { return Ok(None) };
        let numbers = numbers.as_mut().expect("they were read");
        if let Some(numbered) = numbers.of(item.id).filter(|_| !another) {
            return Ok(Some(numbered.number));
        }
        let name = |number| self.main_name(item, Some(number)).map_err(Failure::Not);
        match numbers.next(item.id, name) {
            Ok(numbered) => Ok(Some(numbered.number)),
            Err(Failure::Not(why)) => Err(why),
            Err(Failure::Io(source)) => Err(self.unkept("write the record of file numbers", source).into()),
        }
    }

    /// What the item's file is called: what its recipients wait for, or what it would be called. `None`: it was never
    /// published.
    pub(super) fn file_of(&self, item: &Item) -> Option<FileName> {
        // The profile may be another one since it was published.
        let waits_for = item.recipients.iter().find_map(|recipient| match &recipient.state {
            RecipientState::Pending { receipt_ids, .. } => {
                // Behind a sign that no name has, it says that more than the pickup is waited for.
                receipt_ids.iter().find_map(|id| FileName::new(id.split('#').next()?).ok())
            }
            _ => None,
        });
        waits_for.or_else(|| match self.numbers() {
            Ok(None) => self.main_name(item, None).ok(),
            Ok(Some(numbers)) => numbers.as_ref()?.of(item.id).map(|numbered| numbered.name.clone()),
            Err(_) => None,
        })
    }

    /// The item that a file belongs to, by whatever profile it was written.
    pub(super) fn item_of(&self, name: &str) -> Option<ItemId> {
        item_in(name).or_else(|| self.numbers().ok()??.as_ref()?.item_of(name))
    }

    /// Forgets the numbers of items that have left the queue.
    ///
    /// # Errors
    /// When the record cannot be written; the old one stays then.
    pub(super) fn prune(&self) -> Result<(), DropError> {
        let Some(mut numbers) = self.numbers()? else { return Ok(()) };
        let numbers = numbers.as_mut().expect("they were read");
        let pruned = numbers.prune(|item| (self.is_queued)(item));
        pruned.map_err(|source| self.unkept("write the record of file numbers", source))
    }

    fn main_name(&self, item: &Item, number: Option<u64>) -> Result<FileName, NotPublished> {
        let recipients: Vec<_> = item.recipients.iter().map(|r| addressee(&r.recipient)).collect();
        let id = item.id.to_string();
        Ok(self.profile.main_name(&named(item, &id, &recipients, number))?)
    }

    /// The numbers, which are there when `Some`; `None` where files are not counted.
    fn numbers(&self) -> Result<Option<MutexGuard<'_, Option<Numbers>>>, DropError> {
        if !self.profile.wishes().number {
            return Ok(None);
        }
        let mut numbers = lock(&self.numbers);
        if numbers.is_none() {
            let read = Numbers::read(self.path.clone(), self.profile.number_limit());
            *numbers = Some(read.map_err(|source| self.unkept("read the record of file numbers", source))?);
        }
        Ok(Some(numbers))
    }

    fn unkept(&self, doing: &'static str, source: io::Error) -> DropError {
        DropError::Io { doing, path: self.path.clone(), source }
    }
}

/// Why there is no next number.
enum Failure {
    Io(io::Error),
    Not(NotPublished),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The item whose id stands in a name: a UUID, a dot or a dash, and the ordinal.
fn item_in(name: &str) -> Option<ItemId> {
    (0..name.len()).find_map(|start| {
        let id = name.get(start..start + UUID)?;
        let rest = name.get(start + UUID..)?.strip_prefix(['.', '-'])?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        format!("{id}.{}", &rest[..end]).parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_found_in_the_name_of_its_file() {
        let id = "0192f3c4-0000-7000-8000-000000000001";
        let item: ItemId = format!("{id}.12").parse().unwrap();
        for name in [
            format!("{id}.12.eml"),
            format!("{id}.12.json"),
            format!("OUTM20251006_093002_00_+491701234567_{id}-12.txtd"),
            format!("{id}.12.sms"),
        ] {
            assert_eq!(item_in(&name), Some(item), "{name}");
        }
        for other in ["00000042.TXT", "", id, "0192f3c4.0.eml", "ü".repeat(40).as_str()] {
            assert_eq!(item_in(other), None, "{other}");
        }
    }
}
