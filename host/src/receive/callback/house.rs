//! House: who is connected to the call-back listener, how long each may stay, and who has to make room.
//!
//! Anybody can connect and say nothing, so a connection is worth little before it has sent the head of a request: when the
//! house is full, the one that has been silent longest makes room for the next, and a provider gets through while others hold
//! connections open. One that is being served is never shown out for that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many may be there, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `callback.max_connections`.
    pub max_connections: usize,
    /// `callback.head_timeout`.
    pub head: Duration,
    /// `callback.request_timeout`.
    pub request: Duration,
}

/// Why a connection was ended by the host, as the metric has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It never sent the head of a request in time.
    Silent,
    /// It has been served and did not come again in time, which is as it should be.
    Idle,
    /// Its request was not answered in time.
    Late,
    /// It had to make room.
    Displaced,
}

/// The connections. Cheap to share.
pub struct House {
    rules: Rules,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    /// By number, which only grows: the first that waits has waited longest.
    taken: BTreeMap<u64, Taken>,
    next: u64,
}

struct Taken {
    /// Since it began to wait for a head; `None`: it is being served.
    waits_since: Option<Instant>,
    displaced: CancellationToken,
}

/// The seat of one connection, free again when it is dropped.
pub struct Seat {
    house: Arc<House>,
    number: u64,
    displaced: CancellationToken,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy)]
struct State {
    deadline: Instant,
    over: Over,
}

impl House {
    pub fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self { rules, seats: Mutex::default() })
    }

    /// A seat for a new connection; `None` when all are being served.
    pub fn enter(self: &Arc<Self>) -> Option<Seat> {
        let now = Instant::now();
        let mut seats = self.seats();
        if seats.taken.len() >= self.rules.max_connections {
            let waiting = seats.taken.iter().filter_map(|(number, seat)| Some((seat.waits_since?, *number)));
            let (_, longest) = waiting.min()?;
            if let Some(seat) = seats.taken.remove(&longest) {
                seat.displaced.cancel();
            }
        }
        let number = seats.next;
        seats.next += 1;
        let displaced = CancellationToken::new();
        seats.taken.insert(number, Taken { waits_since: Some(now), displaced: displaced.clone() });
        let state = State { deadline: now + self.rules.head, over: Over::Silent };
        Some(Seat { house: self.clone(), number, displaced, state: watch::Sender::new(state) })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The head of a request is there: it is being served.
    pub fn serving(&self) {
        self.set(None, State { deadline: Instant::now() + self.house.rules.request, over: Over::Late });
    }

    /// It is answered: it has as long as for a head to take the answer and to send the next request.
    pub fn answered(&self) {
        let now = Instant::now();
        self.set(Some(now), State { deadline: now + self.house.rules.head, over: Over::Idle });
    }

    fn set(&self, waits_since: Option<Instant>, state: State) {
        if let Some(seat) = self.house.seats().taken.get_mut(&self.number) {
            seat.waits_since = waits_since;
        }
        self.state.send_replace(state);
    }

    /// Done when it has to go, with the reason.
    pub async fn over(&self) -> Over {
        let mut state = self.state.subscribe();
        loop {
            let State { deadline, over } = *state.borrow_and_update();
            tokio::select! {
                () = self.displaced.cancelled() => return Over::Displaced,
                () = tokio::time::sleep_until(deadline) => return over,
                _ = state.changed() => {}
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.house.seats().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_millis(30);
    const REQUEST: Duration = Duration::from_millis(90);

    fn house(max_connections: usize) -> Arc<House> {
        House::new(Rules { max_connections, head: HEAD, request: REQUEST })
    }

    #[tokio::test]
    async fn who_has_been_silent_longest_makes_room_and_who_is_served_stays() {
        let hour = Duration::from_secs(3600);
        let house = House::new(Rules { max_connections: 3, head: hour, request: hour });
        let served = house.enter().unwrap();
        served.serving();
        let (first, second) = (house.enter().unwrap(), house.enter().unwrap());
        let third = house.enter().unwrap();
        assert_eq!(first.over().await, Over::Displaced);
        // Its connection ends later; the seat that was given away is not freed twice.
        drop(first);
        third.serving();
        // The second was answered after the newest came: it has waited less, but it is the only one that waits.
        second.serving();
        second.answered();
        let fourth = house.enter().unwrap();
        assert_eq!(second.over().await, Over::Displaced);
        fourth.serving();
        assert!(house.enter().is_none(), "all are being served");
        drop(served);
        assert!(house.enter().is_some());
    }

    #[tokio::test]
    async fn each_phase_has_its_time_and_begins_anew() {
        let (house, begun) = (house(10), Instant::now());
        let seat = house.enter().unwrap();
        assert_eq!(seat.over().await, Over::Silent);
        assert!(begun.elapsed() >= HEAD);
        let begun = Instant::now();
        seat.serving();
        assert_eq!(seat.over().await, Over::Late);
        assert!(begun.elapsed() >= REQUEST);
        let begun = Instant::now();
        seat.answered();
        assert_eq!(seat.over().await, Over::Idle);
        assert!(begun.elapsed() >= HEAD);
    }

    #[tokio::test]
    async fn a_deadline_that_moves_while_somebody_waits_for_it_is_seen() {
        let house = house(10);
        let seat = Arc::new(house.enter().unwrap());
        let waiting = tokio::spawn({
            let seat = seat.clone();
            async move { seat.over().await }
        });
        tokio::task::yield_now().await;
        seat.serving();
        assert_eq!(waiting.await.unwrap(), Over::Late);
    }
}
