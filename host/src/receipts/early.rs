//! Early: receipts that cannot be settled yet. They came before the hand-over that they belong to, their item is in
//! the hands of a delivery, or the store did not take them.

use std::collections::HashMap;
use std::time::Duration;

use postern_model::Receipt;
use tokio::time::Instant;

/// The most that are kept for each connector, in memory.
const MAX_EARLY: usize = 10_000;
/// How long one is kept that nobody waits for.
const EARLY_LIFE: Duration = Duration::from_secs(10 * 60);
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
    /// Since when nobody has been known to wait for it.
    since: Instant,
    /// The pause before the last look; zero at the first look.
    pause: Duration,
}

impl Arrival {
    /// One that came now.
    pub(super) fn new(connector: String, receipt: Receipt) -> Self {
        Self { connector, receipt, since: Instant::now(), pause: Duration::ZERO }
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
}

/// The receipts that are looked at again, by connector and id.
#[derive(Debug, Default)]
pub(super) struct Early {
    waiting: HashMap<String, HashMap<String, (Arrival, Instant)>>,
    next: Option<Instant>,
}

impl Early {
    /// Keeps one for another look. Of two with one id the later one stays.
    pub(super) fn keep(&mut self, mut arrival: Arrival, now: Instant) -> Kept {
        if now.duration_since(arrival.since) >= EARLY_LIFE {
            return Kept::TooOld;
        }
        let of_connector = self.waiting.entry(arrival.connector.clone()).or_default();
        if of_connector.len() >= MAX_EARLY && !of_connector.contains_key(&arrival.receipt.id) {
            return Kept::Full;
        }
        arrival.pause = (arrival.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let due = now + arrival.pause;
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        of_connector.insert(arrival.receipt.id.clone(), (arrival, due));
        Kept::Yes
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

    fn arrival(connector: &str, id: &str) -> Arrival {
        let state = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived"));
        Arrival::new(connector.to_owned(), Receipt { id: id.to_owned(), state, details: Vec::new() })
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_life() {
        let mut early = Early::default();
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
        assert!(now.duration_since(start) < EARLY_LIFE + LONGEST_PAUSE);
        next.since = now;
        assert_eq!(early.keep(next, now), Kept::Yes, "one that is waited for lives on");
    }

    #[test]
    fn a_connector_that_floods_takes_no_room_from_others() {
        let mut early = Early::default();
        let now = Instant::now();
        for n in 0..MAX_EARLY {
            assert_eq!(early.keep(arrival("flood", &n.to_string()), now), Kept::Yes);
        }
        assert_eq!(early.keep(arrival("flood", "more"), now), Kept::Full);
        assert_eq!(early.keep(arrival("flood", "7"), now), Kept::Yes, "it is there already");
        assert_eq!(early.keep(arrival("fax", "1"), now), Kept::Yes);
        assert_eq!(early.take_due(now + FIRST_PAUSE).len(), MAX_EARLY + 1);
        assert_eq!(early.keep(arrival("flood", "more"), now), Kept::Yes);
        assert_eq!(early.take_all().len(), 1);
    }
}
