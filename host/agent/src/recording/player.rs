//! Player: answers an agent's calls of its host from a recording, and notes where the agent asks something else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use wasmtime::Result;

use super::compare;
use super::masks::RecordingMasks;
use super::tape::{Connections, Entry};
use super::taped::shown;
use crate::fault::Phase;

/// Divergences that are told one by one; an agent that goes on after so many does something else altogether.
const MAX_DIVERGENCES: usize = 100;
/// The longest question or answer in a divergence, in bytes.
const MAX_SHOWN: usize = 300;

/// A place where an agent did not ask what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Divergence {
    /// The agent's call in which it was.
    pub phase: String,
    /// The call of the host: `http.send`.
    pub call: String,
    /// What was recorded; `None`: nothing of the kind.
    pub expected: Option<String>,
    /// What the agent asked; `None`: nothing.
    pub came: Option<String>,
    /// Where the two differ, one line each.
    pub differences: Vec<String>,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}: ", self.phase, self.call)?;
        match (&self.expected, &self.came) {
            (Some(_), Some(_)) => f.write_str(&self.differences.join("; ")),
            (Some(expected), None) => write!(f, "not asked any more: {expected}"),
            (None, came) => write!(f, "not recorded: {}", came.as_deref().unwrap_or_default()),
        }
    }
}

/// The recording had been cut off here: there never was an answer.
#[derive(Debug, thiserror::Error)]
#[error("the recorded call was cut off here")]
pub(crate) struct CutOff;

/// There is no answer to what the agent asked.
#[derive(Debug, thiserror::Error)]
#[error("the recording has no answer to {0}")]
struct Unanswered(String);

/// Plays one recording to one instance. Clones share where they are.
#[derive(Clone)]
pub(crate) struct Player {
    masks: Arc<RecordingMasks>,
    played: Arc<Mutex<Played>>,
}

struct Played {
    entries: Vec<Entry>,
    used: Vec<bool>,
    /// Behind the last entry that was used in its turn.
    cursor: usize,
    phase: Phase,
    connections: Connections,
    divergences: Vec<Divergence>,
    streams: Vec<String>,
}

/// What was found when a recording had been played.
pub(crate) struct Found {
    /// Where the agent asked something else, or did not ask.
    pub(crate) divergences: Vec<Divergence>,
    /// What it used that no recording holds.
    pub(crate) streams: Vec<String>,
}

impl Player {
    /// A player of these entries. `masks` are those of the placeholders that the agent gets for its secrets.
    pub(crate) fn new(entries: Vec<Entry>, masks: Arc<RecordingMasks>) -> Self {
        let used = vec![false; entries.len()];
        let played = Played {
            entries,
            used,
            cursor: 0,
            phase: Phase::Start,
            connections: Connections::default(),
            divergences: Vec::new(),
            streams: Vec::new(),
        };
        Self { masks, played: Arc::new(Mutex::new(played)) }
    }

    fn played(&self) -> MutexGuard<'_, Played> {
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn masks(&self) -> &RecordingMasks {
        &self.masks
    }

    pub(crate) fn begin(&self, phase: Phase) {
        self.played().phase = phase;
    }

    pub(crate) fn connections<R>(&self, change: impl FnOnce(&mut Connections) -> R) -> R {
        change(&mut self.played().connections)
    }

    pub(crate) fn used_streams(&self, streams: &[String]) {
        self.played().streams = streams.to_vec();
    }

    /// The recorded answer to a question, with the limits that it hit.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn answer(&self, call: &str, ask: &Value) -> Result<(Value, Vec<(String, u64)>)> {
        let mut played = self.played();
        let Some(at) = played.find(call, ask) else {
            played.diverged(call, None, Some(ask));
            return Err(Unanswered(format!("{call} {}", shown(ask, MAX_SHOWN))).into());
        };
        let once_more = std::mem::replace(&mut played.used[at], true);
        let is_late = at < played.cursor;
        played.cursor = played.cursor.max(at + 1);
        let entry = &played.entries[at];
        let found = (entry.answer.clone(), entry.limits.clone());
        if once_more {
            played.diverged(call, None, Some(ask));
        } else if is_late || entry.ask != *ask {
            let expected = entry.ask.clone();
            played.diverged(call, Some(&expected), Some(ask));
        }
        let answer = found.0.ok_or(CutOff)?;
        if let Some(max) = ask.get("max").and_then(Value::as_u64)
            && let Some(length) = length(&answer)
            && length > max
        {
            return Err(Unanswered(format!("{call} of {max} bytes: {length} were recorded")).into());
        }
        Ok((answer, found.1))
    }

    /// The error for an answer of another kind than the question.
    pub(crate) fn unreadable(&self, call: &str) -> wasmtime::Error {
        Unanswered(format!("{call}: what is recorded is no answer to it")).into()
    }

    /// What was found. Calls that the agent did not make are among it.
    pub(crate) fn found(&self) -> Found {
        let mut played = self.played();
        let unasked = played.used.iter().zip(&played.entries).filter(|(used, _)| !**used);
        let unasked: Vec<Entry> = unasked.map(|(_, entry)| entry.clone()).collect();
        for entry in unasked {
            let divergence = Divergence {
                phase: entry.phase,
                call: entry.call,
                expected: Some(shown(&entry.ask, MAX_SHOWN)),
                came: None,
                differences: Vec::new(),
            };
            played.note(divergence);
        }
        Found { divergences: std::mem::take(&mut played.divergences), streams: played.streams.clone() }
    }
}

impl Played {
    /// The entry that answers a question: the next of those that ask the same, else the next about the same thing. A
    /// clock that is looked at once more stands still.
    fn find(&self, call: &str, ask: &Value) -> Option<usize> {
        let of_call = |at: &usize| self.entries[*at].call == call;
        let same = |at: &usize| self.entries[*at].ask == *ask;
        let about = |at: &usize| is_about_the_same(call, &self.entries[*at].ask, ask);
        let in_turn = || {
            let ahead = self.cursor..self.entries.len();
            ahead.chain(0..self.cursor).filter(|at| !self.used[*at]).filter(of_call)
        };
        let once_more = || (0..self.entries.len()).rev().filter(of_call).find(|_| is_clock(call));
        in_turn().find(same).or_else(|| in_turn().find(about)).or_else(once_more)
    }

    fn diverged(&mut self, call: &str, expected: Option<&Value>, came: Option<&Value>) {
        let differences = expected.zip(came).map(|(expected, came)| match expected == came {
            true => vec!["asked later than it was recorded".to_owned()],
            false => compare::differences(expected, came),
        });
        let divergence = Divergence {
            phase: self.phase.to_string(),
            call: call.to_owned(),
            expected: expected.map(|value| shown(value, MAX_SHOWN)),
            came: came.map(|value| shown(value, MAX_SHOWN)),
            differences: differences.unwrap_or_default(),
        };
        self.note(divergence);
    }

    fn note(&mut self, divergence: Divergence) {
        if self.divergences.len() < MAX_DIVERGENCES {
            self.divergences.push(divergence);
        }
    }
}

/// The bytes of an answer that are handed over at once, where it has any.
fn length(answer: &Value) -> Option<u64> {
    super::taped::bytes_of(answer.get("ok")?).map(|bytes| bytes.len() as u64)
}

fn is_clock(call: &str) -> bool {
    matches!(call, "host.now" | "host.remaining-ms" | "wall-clock.now" | "monotonic-clock.now")
}

/// Whether two questions of a call are about the same thing, so that the answer to one is of use for the other.
fn is_about_the_same(call: &str, one: &Value, other: &Value) -> bool {
    let names: &[&str] = match call {
        "http.send" => &["method", "url"],
        "tcp.connect" => &["target"],
        "tcp.read" | "tcp.read-line" | "tcp.write" | "tcp.close" => &["connection"],
        "state.get" | "state.set" | "state.delete" | "state.swap" => &["key"],
        "state.keys" => &["prefix", "limit"],
        "inbound.submit" => &["remote_id"],
        "host.secret" => &["name"],
        // Numbers in another amount are no answer.
        _ => return one == other,
    };
    names.iter().all(|name| one.get(name) == other.get(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(call: &str, ask: Value, answer: Option<Value>) -> Entry {
        Entry { phase: "deliver".to_owned(), call: call.to_owned(), ask, answer, limits: Vec::new() }
    }

    fn player(entries: Vec<Entry>) -> Player {
        Player::new(entries, Arc::default())
    }

    fn get(key: &str) -> Value {
        json!({ "key": key })
    }

    #[test]
    fn the_same_questions_in_the_same_order_get_the_same_answers() {
        let answers = [1, 2];
        let player = player(answers.map(|n| entry("host.now", Value::Null, Some(json!(n)))).to_vec());
        for n in answers {
            assert_eq!(player.answer("host.now", &Value::Null).unwrap().0, json!(n));
        }
        assert!(player.found().divergences.is_empty());
    }

    #[test]
    fn an_agent_that_asks_less_or_in_another_order_still_gets_its_answers() {
        let entries = ["a", "b", "c"].map(|key| entry("state.get", get(key), Some(json!(key))));
        let player = player(entries.to_vec());
        for key in ["c", "a"] {
            assert_eq!(player.answer("state.get", &get(key)).unwrap().0, json!(key));
        }
        let found = player.found().divergences;
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].differences, ["asked later than it was recorded"]);
        assert_eq!((found[1].expected.as_deref(), &found[1].came), (Some(r#"{"key":"b"}"#), &None));
    }

    #[test]
    fn another_request_to_the_same_place_gets_the_recorded_answer_and_is_told() {
        let ask = |body: &str| json!({ "method": "POST", "url": "http://a/", "body": body });
        let player = player(vec![entry("http.send", ask("one"), Some(json!({ "ok": 1 })))]);
        assert_eq!(player.answer("http.send", &ask("two")).unwrap().0, json!({ "ok": 1 }));
        let elsewhere = json!({ "method": "POST", "url": "http://b/", "body": "one" });
        let error = player.answer("http.send", &elsewhere).unwrap_err();
        assert!(error.to_string().contains("the recording has no answer to http.send"), "{error}");
        let found = player.found().divergences;
        assert_eq!(found[0].differences, [r#"body: recorded "one", now "two""#]);
        assert!(found[1].expected.is_none() && found[1].came.is_some(), "{found:?}");
    }

    #[test]
    fn a_clock_that_is_looked_at_once_more_stands_still_and_random_numbers_are_not_made_up() {
        let bytes = json!({ "length": 2 });
        let player = player(vec![
            entry("host.now", Value::Null, Some(json!([7, 0]))),
            entry("host.random", bytes.clone(), Some(json!("xy"))),
        ]);
        for _ in 0..3 {
            assert_eq!(player.answer("host.now", &Value::Null).unwrap().0, json!([7, 0]));
        }
        assert_eq!(player.played().divergences.len(), 2, "both looks are told");
        assert!(player.answer("host.random", &json!({ "length": 3 })).is_err());
        assert_eq!(player.answer("host.random", &bytes).unwrap().0, json!("xy"));
        assert!(player.answer("host.random", &bytes).is_err());
    }

    #[test]
    fn what_never_had_an_answer_ends_the_call_as_it_did() {
        let ask = json!({ "connection": 1, "max": 4 });
        let player = player(vec![entry("tcp.read", ask.clone(), None)]);
        assert!(player.answer("tcp.read", &ask).unwrap_err().is::<CutOff>());
        let player = self::player(vec![entry("tcp.read", ask, Some(json!({ "ok": "four" })))]);
        assert!(player.answer("tcp.read", &json!({ "connection": 1, "max": 3 })).is_err());
    }
}
