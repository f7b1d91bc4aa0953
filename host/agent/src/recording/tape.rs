//! Tape: what lies below an agent's calls of its host: nothing, a recorder, or a player that answers them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmtime::Result;

use super::masks::RecordingMasks;
use super::player::Player;
use super::taped::Taped;
use super::{Head, Journal};
use crate::fault::Phase;
use crate::limits::{Limit, Shown};
use crate::state::State;

/// What stands for the bytes of connections that would tell a secret.
const HIDDEN: &str = "(hidden)";

/// One call of the host: what was asked, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The agent's call in which it was: `start`, `open`, `deliver`, `batch`.
    pub(crate) phase: String,
    /// The call: `http.send`.
    pub(crate) call: String,
    /// What was asked.
    pub(crate) ask: Value,
    /// The answer; `None`: the agent's call was cut off before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub(crate) answer: Option<Value>,
    /// Limits that it hit, by key, with their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<(String, u64)>,
}

/// A `null` that is there is an answer, too.
fn some<'d, D: serde::Deserializer<'d>>(from: D) -> std::result::Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// What lies below the calls of one instance.
pub(crate) enum Tape {
    /// Nobody looks.
    Off,
    /// They are recorded.
    Recording(Box<Recorder>),
    /// They are answered from a recording.
    Playing(Player),
}

/// What became of a question.
pub(crate) enum Asked<T> {
    /// It is to be answered, and the answer is to be told to [`State::answered`].
    Live(Note),
    /// This was answered when it was recorded.
    Known(T),
}

/// The place of an answer that is still to come.
#[derive(Clone, Copy)]
pub(crate) struct Note(Option<Pending>);

#[derive(Clone, Copy)]
struct Pending {
    entry: usize,
    /// Limits that the agent's call had hit by then.
    hits: usize,
}

/// Which way bytes of a connection go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Read,
    Written,
}

/// Notes the calls of one instance.
pub(crate) struct Recorder {
    head: Arc<Head>,
    masks: Arc<RecordingMasks>,
    /// `limits.recording`.
    max: usize,
    entries: Vec<Entry>,
    /// Bytes of them, about.
    bytes: usize,
    /// The first ones, of `start` and `open`, which each delivery needs, and their bytes.
    opening: Option<(usize, usize)>,
    phase: Phase,
    /// Calls of the agent after `open`.
    calls: u32,
    /// There was no room for more.
    cut: bool,
    connections: Connections,
    /// The last bytes of each connection, each way, as far as a secret could go on from there.
    tails: BTreeMap<(u32, Way), Vec<u8>>,
    /// A secret lay across two reads or writes: their bytes are not kept.
    hides_streams: bool,
}

/// Numbers for connections that are the same in every run.
#[derive(Default)]
pub(crate) struct Connections {
    /// By the number in the instance's table.
    open: BTreeMap<u32, u32>,
    made: u32,
}

impl Connections {
    /// A connection was made.
    pub(crate) fn add(&mut self, rep: u32, number: u32) {
        self.open.insert(rep, number);
    }

    /// The number of the next one.
    pub(crate) fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// The number of one; 0 for one that was never made here.
    pub(crate) fn number(&self, rep: u32) -> u32 {
        self.open.get(&rep).copied().unwrap_or_default()
    }
}

impl Recorder {
    /// A recorder that keeps about so many bytes.
    pub(crate) fn new(head: Head, masks: Arc<RecordingMasks>, max: usize) -> Self {
        Self {
            head: Arc::new(head),
            masks,
            max,
            entries: Vec::new(),
            bytes: 0,
            opening: None,
            phase: Phase::Start,
            calls: 0,
            cut: false,
            connections: Connections::default(),
            tails: BTreeMap::new(),
            hides_streams: false,
        }
    }

    /// A call of the agent begins. What was noted of an earlier one, beside the opening, is forgotten.
    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        if matches!(phase, Phase::Start | Phase::Open) {
            return;
        }
        let (entries, bytes) = *self.opening.get_or_insert((self.entries.len(), self.bytes));
        self.entries.truncate(entries);
        self.bytes = bytes;
        self.calls = self.calls.saturating_add(1);
    }

    fn ask(&mut self, call: &str, ask: Value, hits: usize) -> Note {
        let ask = if self.hides_streams { hidden(call, ask) } else { ask };
        let size = call.len() + size(&ask);
        if !self.has_room(size) {
            return Note(None);
        }
        self.entries.push(Entry {
            phase: self.phase.to_string(),
            call: call.to_owned(),
            ask,
            answer: None,
            limits: Vec::new(),
        });
        Note(Some(Pending { entry: self.entries.len() - 1, hits }))
    }

    fn told(&mut self, at: Pending, answer: Value, limits: Vec<Shown>) {
        if !self.has_room(size(&answer)) {
            return;
        }
        let Some(entry) = self.entries.get_mut(at.entry) else { return };
        entry.answer =
            Some(if self.hides_streams && is_stream(&entry.call) { HIDDEN.into() } else { answer });
        entry.limits =
            limits.into_iter().map(|shown| (shown.limit().key().to_owned(), shown.value())).collect();
    }

    /// Takes so many bytes of what is left; when there are not so many, nothing is noted any more.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.cut |= self.bytes.saturating_add(bytes) > self.max;
        if !self.cut {
            self.bytes += bytes;
        }
        !self.cut
    }

    /// Looks at bytes that go over a connection: a secret may come in pieces, none of which shows it.
    fn stream(&mut self, connection: u32, way: Way, bytes: &[u8]) {
        let keep = self.masks.longest().saturating_sub(1);
        if keep == 0 || bytes.is_empty() {
            return;
        }
        let tail = self.tails.entry((connection, way)).or_default();
        if !tail.is_empty() && self.masks.lies_across(tail, bytes) && !self.hides_streams {
            self.hides_streams = true;
            for entry in &mut self.entries {
                entry.ask = hidden(&entry.call, entry.ask.take());
                if is_stream(&entry.call) && entry.answer.is_some() {
                    entry.answer = Some(HIDDEN.into());
                }
            }
        }
        tail.extend_from_slice(bytes);
        tail.drain(..tail.len().saturating_sub(keep));
    }

    /// What was noted of the call that has just ended. `streams` names what the agent used that no recording holds.
    fn take(&mut self, streams: Vec<String>, max: Shown) -> Journal {
        let mut not_replayable = streams;
        if self.hides_streams {
            not_replayable.push("a secret lay across two reads or writes of a connection".to_owned());
        }
        if self.cut {
            not_replayable.push(format!("it is cut: limit {max}"));
        }
        let mut head = (*self.head).clone();
        head.earlier_calls = self.calls.saturating_sub(1);
        head.not_replayable = not_replayable;
        Journal {
            head,
            entries: self.entries.clone(),
            masks: self.masks.clone(),
            room: self.max.saturating_sub(self.bytes),
        }
    }
}

/// Whether a call carries bytes of a connection.
fn is_stream(call: &str) -> bool {
    matches!(call, "tcp.read" | "tcp.read-line" | "tcp.write")
}

fn hidden(call: &str, mut ask: Value) -> Value {
    if is_stream(call)
        && let Some(data) = ask.get_mut("data")
    {
        *data = HIDDEN.into();
    }
    ask
}

/// Bytes of a value, about.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 8,
        Value::Array(values) => values.iter().map(size).sum::<usize>() + 8,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value) + 8).sum(),
        _ => 16,
    }
}

impl State {
    /// Puts a tape below the calls of this instance.
    pub(crate) fn set_tape(&mut self, tape: Tape) {
        self.tape = tape;
    }

    /// Tells the tape that a call of the agent begins.
    pub(crate) fn tape_begins(&mut self, phase: Phase) {
        match &mut self.tape {
            Tape::Off => {}
            Tape::Recording(recorder) => recorder.begin(phase),
            Tape::Playing(player) => player.begin(phase),
        }
    }

    /// Notes that the agent calls its host, or finds the answer of a recording. `ask` makes what it asks, without secrets.
    ///
    /// # Errors
    /// When a recording has no answer to it: the agent's call ends.
    pub(crate) fn ask<T: Taped>(
        &mut self,
        call: &'static str,
        ask: impl FnOnce(&RecordingMasks) -> Value,
    ) -> Result<Asked<T>> {
        match &mut self.tape {
            Tape::Off => Ok(Asked::Live(Note(None))),
            Tape::Recording(recorder) => {
                let ask = ask(&recorder.masks);
                Ok(Asked::Live(recorder.ask(call, ask, self.log.hits())))
            }
            Tape::Playing(player) => {
                let ask = ask(player.masks());
                let (answer, limits) = player.answer(call, &ask)?;
                for (key, value) in limits {
                    if let Some(limit) = Limit::ALL.iter().find(|limit| limit.key() == key) {
                        self.log.hit_at(limit.with(value));
                    }
                }
                let known = T::read(&answer).ok_or_else(|| player.unreadable(call))?;
                Ok(Asked::Known(known))
            }
        }
    }

    /// Notes the answer to what was asked.
    pub(crate) fn answered<T: Taped>(&mut self, note: Note, answer: &T) {
        let Some(at) = note.0 else { return };
        let limits = self.log.hits_since(at.hits);
        if let Tape::Recording(recorder) = &mut self.tape {
            let answer = answer.write(&recorder.masks);
            recorder.told(at, answer, limits);
        }
    }

    /// Shows the tape the bytes that go over a connection, before they are noted.
    pub(crate) fn tape_stream(&mut self, rep: u32, way: Way, bytes: &[u8]) {
        if let Tape::Recording(recorder) = &mut self.tape {
            let connection = recorder.connections.number(rep);
            recorder.stream(connection, way, bytes);
        }
    }

    /// The numbers of connections on the tape; `None` where there is none.
    pub(crate) fn tape_connections<R>(&mut self, change: impl FnOnce(&mut Connections) -> R) -> Option<R> {
        match &mut self.tape {
            Tape::Off => None,
            Tape::Recording(recorder) => Some(change(&mut recorder.connections)),
            Tape::Playing(player) => Some(player.connections(change)),
        }
    }

    /// Whether answers come from a recording.
    pub(crate) fn is_playing(&self) -> bool {
        matches!(self.tape, Tape::Playing(_))
    }

    /// What was recorded of the call that has just ended; `None` where nothing is.
    pub(crate) fn take_journal(&mut self) -> Option<Journal> {
        if matches!(self.tape, Tape::Off) {
            return None;
        }
        let streams = self.streams_used();
        match &mut self.tape {
            Tape::Recording(recorder) => {
                let max = Limit::Recording.with(recorder.max as u64);
                Some(recorder.take(streams, max))
            }
            Tape::Playing(player) => {
                player.used_streams(&streams);
                None
            }
            Tape::Off => None,
        }
    }

    /// What the agent has used of WASI that passes by its host's own calls.
    fn streams_used(&self) -> Vec<String> {
        let used = [
            (self.outbound.has_sent_by_wasi(), "the agent used wasi:http, whose streams are not recorded"),
            (
                self.directories.has_been_used(),
                "the agent used files (wasi:filesystem), which are not recorded",
            ),
        ];
        used.into_iter().filter(|(used, _)| *used).map(|(_, what)| what.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Secret;

    fn recorder(max: usize) -> Recorder {
        let secrets = BTreeMap::from([("key".to_owned(), Secret::new("hunter22"))]);
        Recorder::new(Head::default(), Arc::new(RecordingMasks::of(&secrets)), max)
    }

    fn note(recorder: &mut Recorder, call: &str, ask: Value, answer: Value) {
        let Note(Some(at)) = recorder.ask(call, ask, 0) else { return };
        recorder.told(at, answer, Vec::new());
    }

    fn calls(journal: &Journal) -> Vec<(&str, &str)> {
        journal.entries.iter().map(|entry| (&*entry.phase, &*entry.call)).collect()
    }

    #[test]
    fn a_delivery_is_recorded_with_the_opening_and_without_its_neighbours() {
        let mut recorder = recorder(1000);
        for (phase, call) in
            [(Phase::Start, "a"), (Phase::Open, "b"), (Phase::Tick, "c"), (Phase::Deliver, "d")]
        {
            recorder.begin(phase);
            note(&mut recorder, call, Value::Null, Value::Null);
        }
        let journal = recorder.take(Vec::new(), Limit::Recording.with(1000));
        assert_eq!(calls(&journal), [("start", "a"), ("open", "b"), ("deliver", "d")]);
        assert_eq!((journal.head.earlier_calls, journal.head.not_replayable.len()), (1, 0));
    }

    #[test]
    fn a_recording_is_bounded_and_says_that_it_is_cut() {
        let mut recorder = recorder(200);
        recorder.begin(Phase::Deliver);
        for _ in 0..100 {
            note(&mut recorder, "http.send", json!("x".repeat(30)), json!("y".repeat(30)));
        }
        assert!(recorder.bytes <= 200 && recorder.entries.len() < 5);
        let journal = recorder.take(vec!["more".to_owned()], Limit::Recording.with(200));
        assert_eq!(journal.head.not_replayable, ["more", "it is cut: limit recording = 200 bytes"]);
    }

    #[test]
    fn a_secret_that_comes_in_pieces_hides_the_bytes_of_connections() {
        let mut recorder = recorder(10_000);
        recorder.begin(Phase::Deliver);
        let write = |recorder: &mut Recorder, bytes: &[u8]| {
            recorder.stream(1, Way::Written, bytes);
            let data = bytes.to_vec().write(&recorder.masks.clone());
            note(recorder, "tcp.write", json!({ "connection": 1, "data": data }), json!({ "ok": null }));
        };
        for piece in [&b"AUTH hun"[..], b"te", b"r22\r\n", b"QUIT"] {
            write(&mut recorder, piece);
        }
        recorder.stream(2, Way::Written, b"hun");
        let journal = recorder.take(Vec::new(), Limit::Recording.with(1));
        let text = format!("{:?}", journal.entries);
        assert!(!text.contains("hun") && !text.contains("QUIT"), "{text}");
        assert_eq!(journal.head.not_replayable.len(), 1);
    }
}
