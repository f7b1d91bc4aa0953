//! Withdrawal: what became of an attempt to take back what was handed over of an item, before its recipients are settled
//! as if the far end never had it.

use postern_model::Receipt;
use postern_store::StoreError;

/// Where a file is that was handed over for an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// There is none: nothing was handed over, or it is nothing that could be taken back.
    Nothing,
    /// It was taken back. The far end never had it.
    Withdrawn {
        /// Its name.
        file: String,
    },
    /// The far end has it, and this is its receipt.
    Taken(Receipt),
    /// The far end is at work on it, and has not said that it is done.
    Claimed {
        /// Its name.
        file: String,
        /// What the far end calls it now.
        new: String,
    },
    /// It went away with its directory, in whose place another one is: nobody can tell whether it was taken.
    Vanished {
        /// Its name.
        file: String,
    },
    /// It cannot be reached at this moment, and may lie there.
    Unreachable {
        /// Its name.
        file: String,
        /// Why not.
        why: String,
    },
}

/// What became of an attempt to take something back.
pub struct Withdrawal {
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// What was taken back, to be given to [`Settled::holding`](crate::dispatch::Settled::holding).
    pub held: Option<Held>,
}

impl Withdrawal {
    /// Nothing was taken back.
    #[must_use]
    pub fn without(whereabouts: Whereabouts) -> Self {
        Self { whereabouts, held: None }
    }
}

/// How a withdrawal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What became of the recipients is durable: it is deleted.
    Settled,
    /// Nothing became of them: it lies there again.
    PutBack,
}

type Ending = Box<dyn FnOnce(End) + Send>;

/// Something that was taken back and belongs to nobody until its recipients are settled. Dropping it puts it back, so a
/// lost task changes nothing.
#[must_use = "dropping it puts back what was taken back"]
pub struct Held(Option<Ending>);

impl Held {
    /// `end` is called when it is known how it ends, and must not block.
    pub fn new(end: impl FnOnce(End) + Send + 'static) -> Self {
        Self(Some(Box::new(end)))
    }

    /// The settlement is on its way to the disk: from now on only the store says how this ends.
    pub fn hand_in(mut self) -> HandedIn {
        HandedIn(self.0.take())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end(End::PutBack);
        }
    }
}

/// Something that was taken back, whose settlement is on its way. Dropped without the store's answer it stays as it is:
/// the next start looks at what was stored.
pub struct HandedIn(Option<Ending>);

impl HandedIn {
    /// The settlement is durable.
    pub fn settled(self) {
        self.end(End::Settled);
    }

    /// The store said no. After a write that failed nobody knows before the next start what is on the disk.
    pub fn refused(self, error: &StoreError) {
        if matches!(error, StoreError::Full(_) | StoreError::Invalid(_)) {
            self.end(End::PutBack);
        }
    }

    fn end(mut self, how: End) {
        if let Some(end) = self.0.take() {
            end(how);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn held() -> (Held, Receiver<End>) {
        let (sender, receiver) = channel();
        (Held::new(move |end| sender.send(end).unwrap()), receiver)
    }

    #[test]
    fn what_is_dropped_before_it_is_handed_in_is_put_back() {
        let (held, ends) = held();
        drop(held);
        assert_eq!(ends.try_iter().collect::<Vec<_>>(), [End::PutBack]);
    }

    #[test]
    fn once_handed_in_only_a_definite_answer_ends_it() {
        type Ends = fn(HandedIn);
        let cases: [(Ends, Option<End>); 5] = [
            (HandedIn::settled, Some(End::Settled)),
            (|held| held.refused(&StoreError::Full("no room".to_owned())), Some(End::PutBack)),
            (|held| held.refused(&StoreError::Poisoned("a sync failed".to_owned())), None),
            (|held| held.refused(&StoreError::Closed), None),
            (drop, None),
        ];
        for (ends, expected) in cases {
            let (held, told) = held();
            ends(held.hand_in());
            assert_eq!(told.try_iter().collect::<Vec<_>>(), Vec::from_iter(expected));
        }
    }
}
