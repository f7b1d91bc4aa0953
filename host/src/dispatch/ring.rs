//! Ring: the destinations of a connector that have due items, each getting its turn.

use std::collections::{HashSet, VecDeque};

use postern_model::NextHop;

/// A queue of destinations in which each stands at most once.
#[derive(Debug, Default)]
pub struct Ring {
    order: VecDeque<NextHop>,
    present: HashSet<NextHop>,
}

impl Ring {
    /// Puts a destination at the end, unless it is in the ring.
    pub fn add(&mut self, hop: NextHop) {
        if self.present.insert(hop.clone()) {
            self.order.push_back(hop);
        }
    }

    /// Puts a destination back in front, unless it is in the ring: its turn was not used.
    pub fn put_back(&mut self, hop: NextHop) {
        if self.present.insert(hop.clone()) {
            self.order.push_front(hop);
        }
    }

    /// Takes out the first destination that may have another connection; those passed over keep their places.
    pub fn next(&mut self, may_connect: impl Fn(&NextHop) -> bool) -> Option<NextHop> {
        let position = self.order.iter().position(may_connect)?;
        let hop = self.order.remove(position)?;
        self.present.remove(&hop);
        Some(hop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(destination: &str) -> NextHop {
        NextHop::new("c", destination)
    }

    #[test]
    fn each_destination_gets_its_turn() {
        let mut ring = Ring::default();
        for d in ["a", "b", "a", "c"] {
            ring.add(hop(d));
        }
        let mut turns = Vec::new();
        for _ in 0..6 {
            let next = ring.next(|_| true).unwrap();
            turns.push(next.destination.to_string());
            ring.add(next);
        }
        assert_eq!(turns.concat(), "abcabc");
    }

    #[test]
    fn a_destination_that_is_put_back_is_the_next() {
        let mut ring = Ring::default();
        ring.add(hop("a"));
        ring.add(hop("b"));
        let first = ring.next(|_| true).unwrap();
        ring.put_back(first.clone());
        ring.put_back(first);
        assert_eq!([ring.next(|_| true), ring.next(|_| true)], [Some(hop("a")), Some(hop("b"))]);
        assert_eq!(ring.next(|_| true), None);
    }

    #[test]
    fn a_full_destination_is_passed_over_and_keeps_its_place() {
        let mut ring = Ring::default();
        ring.add(hop("a"));
        ring.add(hop("b"));
        assert_eq!(ring.next(|h| &*h.destination != "a"), Some(hop("b")));
        assert_eq!(ring.next(|_| true), Some(hop("a")));
        assert_eq!(ring.next(|_| true), None);
    }
}
