//! QuarantineRecord: what is known of a message that broke its agent. The form of its file.

use jiff::Timestamp;
use postern_model::{AgentFault, ItemId};
use serde::{Deserialize, Serialize};

/// The version of the format.
const VERSION: u32 = 1;
/// Traps that are told of one by one; of more, the last ones.
const MAX_TRAPS: usize = 10;
/// The largest record, in bytes; the oldest traps give way.
pub const MAX_RECORD: usize = 64 << 10;

/// What is known of an item that broke its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// The version of the format: 1.
    v: u32,
    /// The item.
    pub item: String,
    /// Its connector at the last trap.
    pub connector: String,
    /// Its destination behind that.
    pub destination: String,
    /// SHA-256 of the content, in lower-case hex.
    pub content_sha256: String,
    /// Its size, in bytes.
    pub content_size: u64,
    /// Since when it is poison; `None` while it is tried.
    pub poison_since: Option<Timestamp>,
    /// The traps, the last one last.
    pub traps: Vec<Trap>,
}

/// One attempt that broke the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trap {
    /// When it was settled.
    pub at: Timestamp,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// What the recipients were deferred with.
    pub text: String,
    /// The name of the file in `recordings/` that the attempt was recorded in; `None` where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// How the agent broke; `None` where that is not known, as after a fault of the connector's own code.
    pub fault: Option<AgentFault>,
}

impl QuarantineRecord {
    /// The record of an item before its first trap.
    #[must_use]
    pub fn new(item: ItemId, content_sha256: String, content_size: u64) -> Self {
        Self {
            v: VERSION,
            item: item.to_string(),
            connector: String::new(),
            destination: String::new(),
            content_sha256,
            content_size,
            poison_since: None,
            traps: Vec::new(),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or of a version that this program does not know.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.v == VERSION {
            return Ok(record);
        }
        Err(format!("it has version {}, and this postern knows {VERSION}", record.v))
    }

    /// Whether this is a record of a version that only a later program knows.
    #[must_use]
    pub fn is_of_a_later_version(text: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Format {
            v: u32,
        }
        serde_json::from_slice(text).is_ok_and(|Format { v }| v > VERSION)
    }

    /// Adds a trap.
    pub fn add(&mut self, trap: Trap) {
        self.traps.push(trap);
        let surplus = self.traps.len().saturating_sub(MAX_TRAPS);
        self.traps.drain(..surplus);
    }

    /// The text of its file, of at most [`MAX_RECORD`] bytes: what does not fit is left out, the oldest first.
    #[must_use]
    pub fn text(mut self) -> Vec<u8> {
        loop {
            let text = serde_json::to_vec_pretty(&self).expect("a record is plain data");
            if text.len() <= MAX_RECORD {
                return text;
            }
            match &mut self.traps[..] {
                [] => return text,
                [last] => match &mut last.fault {
                    Some(fault) if !fault.backtrace.is_empty() => {
                        let half = fault.backtrace.len() / 2;
                        fault.backtrace.truncate(half);
                    }
                    _ => self.traps.clear(),
                },
                [..] => drop(self.traps.remove(0)),
            }
        }
    }

    /// The SHA-256 of the agent that broke last.
    #[must_use]
    pub fn agent_sha256(&self) -> Option<&str> {
        let last = self.traps.iter().rev().find_map(|trap| trap.fault.as_ref())?;
        Some(&last.agent.sha256)
    }
}

#[cfg(test)]
mod tests {
    use postern_model::{AgentIdentity, AgentUse, MessageId};

    use super::*;

    const SAMPLE: &[u8] = include_bytes!("sample-v1.json");

    fn trap(attempt: u32, backtrace: Vec<String>) -> Trap {
        let agent = AgentIdentity { name: "fax".into(), version: "1.2.0".into(), sha256: "ab".repeat(32) };
        let used =
            AgentUse { memory: 1_114_112, memory_limit: 67_108_864, wall_ms: 12, ..AgentUse::default() };
        let fault = AgentFault {
            kind: "trap".into(),
            phase: "deliver".into(),
            cause: "trapped: wasm trap: wasm `unreachable` instruction executed".into(),
            backtrace,
            used,
            agent,
        };
        let text = format!("451 4.3.0 delivery agent, deliver: {}", fault.cause);
        let at = "2026-11-24T08:00:00Z".parse().unwrap();
        Trap { at, attempt, text, recording: None, fault: Some(fault) }
    }

    fn record() -> QuarantineRecord {
        let item = ItemId { message: MessageId::from_name("deadly"), ordinal: 0 };
        let mut record = QuarantineRecord::new(item, "cd".repeat(32), 7_300);
        (record.connector, record.destination) = ("fax".to_owned(), "FAX:*".to_owned());
        record
    }

    #[test]
    fn the_kept_sample_is_read_and_written_as_it_is() {
        let mut written = record();
        written.poison_since = Some("2026-11-24T08:00:00Z".parse().unwrap());
        written.add(trap(
            3,
            vec!["0:    0x4af - agent!agent::choke".into(), "1:    0x4d2 - agent!deliver".into()],
        ));
        written.add(Trap {
            fault: None,
            text: "451 4.3.0 the connector's code failed: x".into(),
            ..trap(4, vec![])
        });
        let text = String::from_utf8(written.clone().text()).unwrap();
        assert_eq!(text, String::from_utf8_lossy(SAMPLE).trim_end());
        assert_eq!(QuarantineRecord::parse(SAMPLE), Ok(written));
    }

    #[test]
    fn another_version_is_refused_and_not_guessed_at() {
        let newer = String::from_utf8_lossy(SAMPLE).replace("\"v\": 1", "\"v\": 2");
        let refused = QuarantineRecord::parse(newer.as_bytes()).unwrap_err();
        assert_eq!(refused, "it has version 2, and this postern knows 1");
        assert!(QuarantineRecord::parse(b"{").is_err());
    }

    #[test]
    fn of_many_traps_the_last_are_kept_and_the_largest_record_is_bounded() {
        let mut record = record();
        for attempt in 1..=1_000 {
            // As long as a backtrace may be, of what JSON writes as two bytes each.
            record.add(trap(attempt, vec!["\"".repeat(160); 40]));
        }
        assert_eq!(record.traps.len(), MAX_TRAPS);
        assert_eq!((record.traps[0].attempt, record.traps[9].attempt), (991, 1_000));
        let text = record.clone().text();
        assert!(text.len() <= MAX_RECORD);
        assert_eq!(QuarantineRecord::parse(&text).unwrap().traps.last(), record.traps.last());
        // However long a single one is.
        record.traps = vec![trap(1, vec!["x".repeat(10_000); 100])];
        let text = record.text();
        assert!(text.len() <= MAX_RECORD && QuarantineRecord::parse(&text).unwrap().traps.len() == 1);
    }
}
