//! Receipt: what a message centre says later about a message, and under which id it says so.

use std::collections::{HashSet, VecDeque};

use postern_agent_sdk::{Receipt, ReceiptState, Response, class};

use crate::pdu::Message;
use crate::settings::ReceiptIds;

/// How many ids are remembered to learn how receipts write them.
const REMEMBERED: usize = 4096;
/// The longest id that is taken, in bytes (5.2.23 allows 64).
const MAX_ID: usize = 128;

/// What `message_state` says (5.2.28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    EnRoute,
    Delivered,
    Expired,
    Deleted,
    Undeliverable,
    Accepted,
    Unknown,
    Rejected,
}

impl State {
    fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::EnRoute,
            2 => Self::Delivered,
            3 => Self::Expired,
            4 => Self::Deleted,
            5 => Self::Undeliverable,
            6 => Self::Accepted,
            7 => Self::Unknown,
            8 => Self::Rejected,
            _ => return None,
        })
    }

    /// The word of the text form (appendix B); centres vary in its length.
    fn of_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_uppercase().get(..5)? {
            "ENROU" => Self::EnRoute,
            "DELIV" => Self::Delivered,
            "EXPIR" => Self::Expired,
            "DELET" => Self::Deleted,
            "UNDEL" => Self::Undeliverable,
            "ACCEP" => Self::Accepted,
            "UNKNO" => Self::Unknown,
            "REJEC" => Self::Rejected,
            _ => return None,
        })
    }

    fn receipt(self, text: &str) -> ReceiptState {
        let failed = |status, class| ReceiptState::failed(Response::new(550, status, text), class);
        match self {
            Self::Delivered => ReceiptState::delivered(Response::new(250, (2, 1, 5), text)),
            // Not known is not failed: it stays open until it expires, and then is what the connector says.
            Self::EnRoute | Self::Accepted | Self::Unknown => ReceiptState::pending(text),
            Self::Expired => failed((5, 4, 7), class::NO_ANSWER),
            Self::Deleted => failed((5, 7, 0), class::BLOCKED),
            Self::Undeliverable => failed((5, 1, 0), class::UNSPECIFIED),
            Self::Rejected => failed((5, 7, 1), class::BLOCKED),
        }
    }
}

/// One field of the text form: `id:`, `stat:`, `err:` ... up to the next space.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text
        .match_indices(name)
        .find(|(at, _)| *at == 0 || text[..*at].ends_with(|c: char| c.is_ascii_whitespace()))?;
    let value = text[at.0 + name.len()..].split(|c: char| c.is_ascii_whitespace()).next()?;
    Some(value).filter(|value| !value.is_empty() && value.len() <= MAX_ID)
}

/// How receipts write ids, as far as it is known. What is reported to the host is always the text of the answer to the
/// submission.
#[derive(Debug)]
pub struct Ids {
    rule: ReceiptIds,
    recent: VecDeque<String>,
    known: HashSet<String>,
}

impl Ids {
    /// By this rule.
    #[must_use]
    pub fn new(rule: ReceiptIds) -> Self {
        Self { rule, recent: VecDeque::new(), known: HashSet::new() }
    }

    /// An id that an answer to a submission gave, as it is reported.
    pub fn taken(&mut self, id: &str) -> String {
        if self.recent.len() == REMEMBERED
            && let Some(oldest) = self.recent.pop_front()
        {
            self.known.remove(&oldest);
        }
        let canonical = match self.rule {
            ReceiptIds::Auto | ReceiptIds::Same => id.to_owned(),
            // One form for both sides, so that the width and the case of neither matters.
            ReceiptIds::Decimal => to_decimal(id).unwrap_or_else(|| id.to_owned()),
            ReceiptIds::Hexadecimal => plain_decimal(id).unwrap_or_else(|| id.to_owned()),
        };
        if self.known.insert(canonical.clone()) {
            self.recent.push_back(canonical.clone());
        }
        canonical
    }

    /// The reported id that a receipt's id means.
    fn meant(&mut self, id: &str) -> String {
        let own = || id.to_owned();
        match self.rule {
            ReceiptIds::Same => own(),
            ReceiptIds::Decimal => plain_decimal(id).unwrap_or_else(own),
            ReceiptIds::Hexadecimal => to_decimal(id).unwrap_or_else(own),
            ReceiptIds::Auto => self.guessed(id),
        }
    }

    /// The one of the recent ids that this one can be; itself where there is none, or more than one.
    fn guessed(&self, id: &str) -> String {
        if self.known.contains(id) {
            return id.to_owned();
        }
        let same_number = |one: &&String| {
            let both = |a: Option<u128>, b: Option<u128>| a.is_some() && a == b;
            both(decimal(id), hexadecimal(one))
                || both(hexadecimal(id), decimal(one))
                || both(decimal(id), decimal(one))
                || one.eq_ignore_ascii_case(id)
        };
        let mut fitting = self.recent.iter().filter(same_number);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => one.clone(),
            _ => id.to_owned(),
        }
    }
}

fn decimal(id: &str) -> Option<u128> {
    id.bytes().all(|b| b.is_ascii_digit()).then(|| id.parse().ok())?
}

fn hexadecimal(id: &str) -> Option<u128> {
    let id = id.strip_prefix("0x").unwrap_or(id);
    id.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u128::from_str_radix(id, 16).ok())?
}

/// A hexadecimal id in decimal.
fn to_decimal(id: &str) -> Option<String> {
    hexadecimal(id).map(|number| number.to_string())
}

/// A decimal id without leading zeros.
fn plain_decimal(id: &str) -> Option<String> {
    decimal(id).map(|number| number.to_string())
}

/// Reads a receipt; `None` when it has no id or no state that is known.
#[must_use]
pub fn read(message: &Message, ids: &mut Ids) -> Option<Receipt> {
    let text = String::from_utf8_lossy(&message.data);
    let written = field(&text, "id:");
    // The tag is the answer's own text in most centres; the text form is the one that comes in another base.
    let id = match &message.receipted_id {
        Some(id) if !id.is_empty() && id.len() <= MAX_ID => {
            if ids.known.contains(id) {
                id.clone()
            } else {
                ids.meant(written.unwrap_or(id))
            }
        }
        _ => ids.meant(written?),
    };
    let stat = field(&text, "stat:");
    let state = message.state.and_then(State::of_number).or_else(|| State::of_word(stat?))?;
    let error = field(&text, "err:").filter(|error| !error.trim_matches('0').is_empty());
    let mut said = match stat {
        Some(word) => format!("the message centre reports {word}"),
        None => format!("the message centre reports {state:?}"),
    };
    if let Some(error) = error {
        said.push_str(&format!(", error {error}"));
    }
    Some(Receipt::new(&id, state.receipt(&said)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> Message {
        Message { esm_class: 4, data: text.as_bytes().to_owned(), ..Message::default() }
    }

    fn id(rule: ReceiptIds, answered: &[&str], receipt: &str) -> (Vec<String>, String) {
        let mut ids = Ids::new(rule);
        let reported = answered.iter().map(|id| ids.taken(id)).collect();
        let receipt = read(&message(&format!("id:{receipt} sub:001 stat:DELIVRD err:000 text:")), &mut ids);
        (reported, receipt.unwrap().id)
    }

    #[test]
    fn each_state_becomes_what_the_table_of_the_readme_says() {
        for (word, number, expected) in [
            ("DELIVRD", 2, "delivered"),
            ("EXPIRED", 3, "failed"),
            ("DELETED", 4, "failed"),
            ("UNDELIV", 5, "failed"),
            ("REJECTD", 8, "failed"),
            ("ENROUTE", 1, "pending"),
            ("ACCEPTD", 6, "pending"),
            ("UNKNOWN", 7, "pending"),
        ] {
            let in_text = message(&format!("id:7 sub:001 dlvrd:000 stat:{word} err:069 Text:x"));
            let in_tags = Message { receipted_id: Some("7".to_owned()), state: Some(number), ..message("") };
            for message in [in_text, in_tags] {
                let receipt = read(&message, &mut Ids::new(ReceiptIds::Same)).unwrap();
                let is = match receipt.state {
                    ReceiptState::Delivered(_) => "delivered",
                    ReceiptState::Failed(_) => "failed",
                    ReceiptState::Pending(_) => "pending",
                    ReceiptState::Retry(_) => "retry",
                };
                assert_eq!((is, receipt.id.as_str()), (expected, "7"), "{word}");
            }
        }
    }

    #[test]
    fn ids_meet_whatever_base_each_side_writes() {
        let same = |reported: &str, meant: &str| (vec![reported.to_owned()], meant.to_owned());
        assert_eq!(id(ReceiptIds::Same, &["00aB"], "00aB"), same("00aB", "00aB"));
        assert_eq!(id(ReceiptIds::Decimal, &["0000001F"], "0000000031"), same("31", "31"));
        assert_eq!(id(ReceiptIds::Hexadecimal, &["0031"], "1f"), same("31", "31"));
        assert_eq!(id(ReceiptIds::Auto, &["1F"], "31"), same("1F", "1F"));
        assert_eq!(id(ReceiptIds::Auto, &["31"], "0000001f"), same("31", "31"));
        assert_eq!(id(ReceiptIds::Auto, &["M0a"], "m0A"), same("M0a", "M0a"));
    }

    #[test]
    fn an_id_that_may_be_two_is_none_of_them() {
        // Decimal 16 is hexadecimal 10, and hexadecimal 16 is decimal 22.
        let (_, meant) = id(ReceiptIds::Auto, &["10", "22"], "16");
        assert_eq!(meant, "16");
        let (_, meant) = id(ReceiptIds::Auto, &["10", "16"], "16");
        assert_eq!(meant, "16", "the very text comes first");
    }

    #[test]
    fn what_has_no_id_or_no_state_is_no_receipt() {
        for text in ["", "id: stat:DELIVRD", "stat:DELIVRD", "id:7", "id:7 stat:WHAT", "grid:7 stat:DELIVRD"]
        {
            assert_eq!(read(&message(text), &mut Ids::new(ReceiptIds::Auto)), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_receipt_is_too_odd(text: String, tag: Option<String>, state: Option<u8>) {
            let message = Message { receipted_id: tag, state, ..message(&text) };
            if let Some(receipt) = read(&message, &mut Ids::new(ReceiptIds::Auto)) {
                prop_assert!(receipt.id.len() <= MAX_ID);
            }
        }
    }
}
