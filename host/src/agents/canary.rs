//! Canary: which connections a new version of an agent gets, and when it has shown that it is good or bad. Pure.

use crate::config::CanaryConfig;

/// What a version has done on its trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deliveries in which every recipient got further.
    pub passed: u64,
    /// Deliveries in which a recipient was deferred or failed, or that were cut off; and connections that it could not
    /// open and the version before could.
    pub deferred: u64,
    /// Calls of any kind that it broke: traps, processor time, memory.
    pub broken: u64,
}

/// What is to be thought of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It goes on.
    OnTrial,
    /// It takes over.
    Good,
    /// It is rolled back, for this reason.
    Bad(String),
}

/// Whether the connection with this number, counted from 0, goes to the version on trial. Spread evenly, the first one
/// among them: an operator who has just put it there wants to know soon.
#[must_use]
pub fn takes(canary: &CanaryConfig, nth: u64) -> bool {
    let share = u64::from(canary.share);
    (nth % 100) * share % 100 < share
}

/// Judges a version by what it has done.
///
/// The share of deferrals is that of at least `count` deliveries: the first delivery alone proves nothing, and yet a
/// version that only defers does not stay on trial for ever.
#[must_use]
pub fn judge(canary: &CanaryConfig, tally: Tally) -> Judgement {
    let CanaryConfig { count, max_traps, max_deferred, .. } = canary;
    let Tally { passed, deferred, broken } = tally;
    if broken > u64::from(*max_traps) {
        return Judgement::Bad(format!("it broke {broken} calls, max_traps = {max_traps}"));
    }
    let of = (passed + deferred).max(u64::from(*count));
    if deferred * 100 > u64::from(*max_deferred) * of {
        let total = passed + deferred;
        return Judgement::Bad(format!(
            "{deferred} of its {total} deliveries were deferred or failed, max_deferred = {max_deferred}%"
        ));
    }
    if passed >= u64::from(*count) { Judgement::Good } else { Judgement::OnTrial }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: CanaryConfig = CanaryConfig { share: 10, count: 20, max_traps: 1, max_deferred: 50 };

    fn taken(share: u32, of: u64) -> Vec<u64> {
        let canary = CanaryConfig { share, ..CANARY };
        (0..of).filter(|nth| takes(&canary, *nth)).collect()
    }

    #[test]
    fn the_share_is_exact_even_and_begins_with_the_first() {
        assert_eq!(taken(10, 40), [0, 10, 20, 30]);
        assert_eq!(taken(30, 20), [0, 4, 7, 10, 14, 17]);
        assert_eq!(taken(1, 250), [0, 100, 200]);
        for share in 1..=100 {
            assert_eq!(taken(share, 300).len() as u64, 3 * u64::from(share), "{share}%");
        }
    }

    #[test]
    fn a_version_is_judged_by_its_tally() {
        enum Is {
            OnTrial,
            Good,
            Bad(&'static str),
        }
        use Is::{Bad, Good, OnTrial};
        let table = [
            ((0, 0, 0), OnTrial),
            ((19, 0, 1), OnTrial),
            ((20, 0, 0), Good),
            ((20, 0, 1), Good),
            ((20, 20, 0), Good),
            // Half of the count may be deferred, however early.
            ((0, 1, 0), OnTrial),
            ((0, 10, 0), OnTrial),
            ((0, 11, 0), Bad("11 of its 11")),
            ((15, 16, 0), Bad("16 of its 31")),
            ((16, 16, 0), OnTrial),
            // Broken calls weigh more than anything that passed.
            ((0, 0, 2), Bad("broke 2 calls, max_traps = 1")),
            ((20, 0, 2), Bad("broke 2 calls")),
        ];
        for ((passed, deferred, broken), is) in table {
            let tally = Tally { passed, deferred, broken };
            match (judge(&CANARY, tally), is) {
                (Judgement::OnTrial, OnTrial) | (Judgement::Good, Good) => {}
                (Judgement::Bad(why), Bad(says)) => assert!(why.contains(says), "{tally:?}: {why}"),
                (judged, _) => panic!("{tally:?}: {judged:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_forgiven_where_nothing_may_be() {
        let strict = CanaryConfig { max_traps: 0, max_deferred: 0, ..CANARY };
        let bad = |tally| matches!(judge(&strict, tally), Judgement::Bad(_));
        assert!(bad(Tally { broken: 1, ..Tally::default() }));
        assert!(bad(Tally { deferred: 1, ..Tally::default() }));
        let lax = CanaryConfig { max_deferred: 100, ..CANARY };
        let all_deferred = Tally { deferred: 1_000, ..Tally::default() };
        assert_eq!(judge(&lax, all_deferred), Judgement::OnTrial);
    }
}
