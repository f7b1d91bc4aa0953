//! Early: receipts that cannot be settled yet. They came before the hand-over that they belong to, their item is in
//! the hands of a delivery, or the store did not take them. They are looked at again from here; the store keeps them
//! over a restart.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use jiff::Timestamp;
use postern_model::{Receipt, ReceiptWord};
use postern_store::EarlyReceipt;
use tokio::time::Instant;

/// The pause before the second look at one; it doubles with each further look.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A receipt of a connector on its way to be settled.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The connector.
    pub(super) connector: String,
    /// What came.
    pub(super) receipt: Receipt,
    /// When it came first.
    at: Timestamp,
    /// Since when nobody has been known to wait for it.
    since: Instant,
    /// The pause before the last look; zero at the first look.
    pause: Duration,
    /// The store keeps it.
    saved: bool,
}

impl Arrival {
    /// One that came now.
    pub(super) fn new(connector: String, receipt: Receipt) -> Self {
        let (at, since) = (Timestamp::now(), Instant::now());
        Self { connector, receipt, at, since, pause: Duration::ZERO, saved: false }
    }

    /// One that an earlier run kept.
    pub(super) fn recalled(early: EarlyReceipt, life: Duration) -> Self {
        let EarlyReceipt { connector, receipt, at } = early;
        // A clock that was set back must cost no receipt.
        let age = Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default();
        let age = age.min(life + FIRST_PAUSE);
        let since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        Self { connector, receipt, at, since, pause: FIRST_PAUSE, saved: true }
    }

    /// What the store keeps of it.
    pub(super) fn stored(&self) -> EarlyReceipt {
        EarlyReceipt { connector: self.connector.clone(), receipt: self.receipt.clone(), at: self.at }
    }

    /// Whether the store keeps it.
    pub(super) fn is_saved(&self) -> bool {
        self.saved
    }

    /// The store is told to keep it.
    pub(super) fn is_being_saved(&mut self) {
        self.saved = true;
    }

    /// Whether it is looked at for the first time.
    pub(super) fn is_new(&self) -> bool {
        self.pause.is_zero()
    }

    /// Somebody waits for it, so it must not be forgotten however long it takes.
    pub(super) fn is_awaited(&mut self) {
        self.since = Instant::now();
    }
}

/// What became of an [`Arrival`] that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is looked at again.
    Yes,
    /// Nobody has waited for it for too long.
    TooOld,
    /// There are too many of this connector.
    Full,
    /// Another one with this id and address was kept before, and said this: the first word counts.
    Known(ReceiptWord),
}

/// What tells two early receipts of a connector apart: the id, and the address where one is named.
type Key = (String, Option<String>);

/// The receipts that are looked at again, by connector.
#[derive(Debug)]
pub(super) struct Early {
    /// The most that are kept for each connector (`host.early_receipts`).
    most: usize,
    /// How long one is kept that nobody waits for (`host.early_receipt_life`).
    life: Duration,
    waiting: HashMap<String, HashMap<Key, (Arrival, Instant)>>,
    next: Option<Instant>,
}

impl Early {
    /// Keeps so many of each connector, each for so long.
    pub(super) fn new(most: usize, life: Duration) -> Self {
        Self { most, life, waiting: HashMap::new(), next: None }
    }

    /// How long one is kept that nobody waits for.
    pub(super) fn life(&self) -> Duration {
        self.life
    }

    /// The most that are kept for each connector.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Keeps one for another look.
    pub(super) fn keep(&mut self, mut arrival: Arrival, now: Instant) -> Kept {
        if now.duration_since(arrival.since) >= self.life {
            return Kept::TooOld;
        }
        let of_connector = self.waiting.entry(arrival.connector.clone()).or_default();
        let is_full = of_connector.len() >= self.most;
        match of_connector.entry((arrival.receipt.id.clone(), arrival.receipt.address.clone())) {
            Entry::Occupied(first) => Kept::Known(first.get().0.receipt.state.word()),
            Entry::Vacant(_) if is_full => Kept::Full,
            Entry::Vacant(place) => {
                arrival.pause = (arrival.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                let due = now + arrival.pause;
                self.next = Some(self.next.map_or(due, |next| next.min(due)));
                place.insert((arrival, due));
                Kept::Yes
            }
        }
    }

    /// When one is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Takes out those that are due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Arrival> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        for of_connector in self.waiting.values_mut() {
            due.extend(of_connector.extract_if(|_, (_, at)| *at <= now).map(|(_, (arrival, _))| arrival));
            next = of_connector.values().map(|(_, at)| *at).chain(next).min();
        }
        self.next = next;
        due
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> Vec<Arrival> {
        self.next = None;
        let all = std::mem::take(&mut self.waiting);
        all.into_values().flat_map(HashMap::into_values).map(|(arrival, _)| arrival).collect()
    }
}

#[cfg(test)]
mod tests {
    use postern_model::{ReceiptState, Response};

    use super::*;

    const MOST: usize = 100;
    const LIFE: Duration = Duration::from_secs(600);

    fn early() -> Early {
        Early::new(MOST, LIFE)
    }

    fn arrival(connector: &str, id: &str) -> Arrival {
        let state = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived"));
        Arrival::new(connector.to_owned(), Receipt::new(id, state))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_life() {
        let mut early = self::early();
        let mut now = Instant::now();
        let mut next = arrival("fax", "R-1");
        let start = next.since;
        let mut pauses = Vec::new();
        while early.keep(next.clone(), now) == Kept::Yes {
            let due = early.next().unwrap();
            pauses.push((due - now).as_secs());
            assert!(early.take_due(due - Duration::from_millis(1)).is_empty());
            now = due;
            next = early.take_due(now).pop().unwrap();
            assert_eq!(early.next(), None);
        }
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(early.keep(next.clone(), now), Kept::TooOld);
        assert!(now.duration_since(start) < LIFE + LONGEST_PAUSE);
        next.since = now;
        assert_eq!(early.keep(next, now), Kept::Yes, "one that is waited for lives on");
    }

    #[test]
    fn a_connector_that_floods_takes_no_room_from_others() {
        let mut early = self::early();
        let now = Instant::now();
        for n in 0..MOST {
            assert_eq!(early.keep(arrival("flood", &n.to_string()), now), Kept::Yes);
        }
        assert_eq!(early.keep(arrival("flood", "more"), now), Kept::Full);
        let known = Kept::Known(ReceiptWord::Delivered);
        assert_eq!(early.keep(arrival("flood", "7"), now), known, "it is there already");
        assert_eq!(early.keep(arrival("fax", "1"), now), Kept::Yes);
        assert_eq!(early.take_due(now + FIRST_PAUSE).len(), MOST + 1);
        assert_eq!(early.keep(arrival("flood", "more"), now), Kept::Yes);
        assert_eq!(early.take_all().len(), 1);
    }

    #[test]
    fn of_two_words_about_one_thing_the_first_counts() {
        let mut early = self::early();
        let now = Instant::now();
        let mut failed = arrival("fax", "17");
        failed.receipt.state = ReceiptState::Failed {
            response: Response::new(550, (5, 0, 0), "no"),
            class: postern_model::FailureClass::default(),
        };
        assert_eq!(early.keep(failed, now), Kept::Yes);
        assert_eq!(early.keep(arrival("fax", "17"), now), Kept::Known(ReceiptWord::Failed));
        let mut named = arrival("fax", "17");
        named.receipt.address = Some("+4930".to_owned());
        assert_eq!(early.keep(named, now), Kept::Yes, "another address is another thing");
        assert_eq!(early.take_all().len(), 2);
    }

    #[test]
    fn one_that_an_earlier_run_kept_goes_on_in_its_life() {
        let old = |minutes| {
            let at = Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
            let EarlyReceipt { connector, receipt, .. } = arrival("fax", "17").stored();
            Arrival::recalled(EarlyReceipt { connector, receipt, at }, LIFE)
        };
        let now = Instant::now();
        assert!(!old(1).is_new() && old(1).is_saved());
        assert_eq!(early().keep(old(1), now), Kept::Yes);
        assert_eq!(early().keep(old(60), now), Kept::TooOld);
        assert_eq!(early().keep(old(-60), now), Kept::Yes, "the clock was set back");
    }
}
