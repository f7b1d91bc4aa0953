//! Sentence: a tracking event in words for somebody who sees Postern for the first time. Pure.

use jiff::Timestamp;

use super::screen::Tone;
use crate::tracking::TrackedEvent;

/// The name of the foreign connector in the demo's config.
const PAGER: &str = "pager";

/// What is shown of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The connector, or `report`.
    pub who: String,
    /// How it is meant.
    pub tone: Tone,
    /// One sentence.
    pub what: String,
    /// The response as it stands in the tracking.
    pub fine_print: Vec<String>,
}

/// An event in words; `next_try` is when its item is tried again. `None` for events that are shown otherwise.
pub fn tell(event: &TrackedEvent, next_try: Option<Timestamp>) -> Option<Sentence> {
    let recipient = event.recipient.as_deref().unwrap_or("(nobody)");
    let report = event.sender.is_empty();
    let pager = event.connector == PAGER;
    let (tone, what) = match event.event.as_str() {
        // The demo has sent it itself; and the pager's pickup is told by its relay event.
        "receive" | "taken" => return None,
        "generate" => {
            let subject = event.subject.as_deref().unwrap_or_default();
            let what = format!("for {recipient}: \"{subject}\"");
            return Some(Sentence {
                who: "report".to_owned(),
                tone: Tone::Waiting,
                what,
                fine_print: Vec::new(),
            });
        }
        "accept" if pager => (Tone::Waiting, "a file waits in drop/pager for the pager program".to_owned()),
        "accept" => (Tone::Waiting, "accepted; the service tells later what became of it".to_owned()),
        "defer" => (Tone::Waiting, put_off(event, next_try)),
        "deliver" if report => (Tone::Good, "has the report".to_owned()),
        "deliver" => (Tone::Good, format!("delivered{}", attempt(event))),
        "relay" if pager => (Tone::Good, "the pager program took the file: handed on".to_owned()),
        "relay" => (Tone::Good, "handed on to a system that does not report back".to_owned()),
        "fail" => (Tone::Bad, "failed for good: the sender is told".to_owned()),
        "expire" => (Tone::Bad, "given up: it took too long".to_owned()),
        "unknown" => (Tone::Bad, "the far end never told what became of it".to_owned()),
        other => (Tone::Plain, other.to_owned()),
    };
    Some(Sentence {
        who: event.connector.clone(),
        tone,
        what: format!("{recipient}  {what}"),
        fine_print: event.response.clone().into_iter().collect(),
    })
}

fn put_off(event: &TrackedEvent, next_try: Option<Timestamp>) -> String {
    match next_try.map(|at| at.duration_since(event.time).as_secs_f64()) {
        Some(seconds) if seconds > 0.0 => format!("not now: tried again in {seconds:.1} s"),
        _ => "not now: tried again later".to_owned(),
    }
}

fn attempt(event: &TrackedEvent) -> String {
    match event.attempt {
        Some(number) if number > 1 => format!(" at attempt {number}"),
        _ => String::new(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An event of the fax connector.
    pub fn event(kind: &str, recipient: &str) -> TrackedEvent {
        TrackedEvent {
            time: Timestamp::from_second(1_000).unwrap(),
            event: kind.to_owned(),
            message_id: "m".to_owned(),
            item: Some("m.0".to_owned()),
            connector: "fax".to_owned(),
            destination: None,
            sender: "jo@office.example".to_owned(),
            recipient_index: Some(0),
            recipient: Some(recipient.to_owned()),
            response: Some("451 4.4.1 the line is busy".to_owned()),
            internet_message_id: None,
            subject: None,
            size: None,
            attempt: Some(1),
            details: Vec::new(),
        }
    }

    #[test]
    fn a_busy_line_says_when_it_is_tried_again() {
        let busy = event("defer", "FAX:+4930123");
        let told = tell(&busy, Some(Timestamp::from_millisecond(1_002_100).unwrap())).unwrap();
        assert_eq!(told.what, "FAX:+4930123  not now: tried again in 2.1 s");
        assert_eq!(told.fine_print, ["451 4.4.1 the line is busy"]);
        assert!(tell(&busy, None).unwrap().what.ends_with("tried again later"));
    }

    #[test]
    fn the_second_attempt_is_named_and_the_first_is_not() {
        let mut done = event("deliver", "FAX:+4930123");
        assert_eq!(tell(&done, None).unwrap().what, "FAX:+4930123  delivered");
        done.attempt = Some(2);
        assert_eq!(tell(&done, None).unwrap().what, "FAX:+4930123  delivered at attempt 2");
    }

    #[test]
    fn a_report_is_told_as_one() {
        let mut made = event("generate", "jo@office.example");
        made.subject = Some("Not delivered: x".to_owned());
        assert_eq!(tell(&made, None).unwrap().what, "for jo@office.example: \"Not delivered: x\"");
        let mut sent = event("deliver", "jo@office.example");
        sent.sender.clear();
        assert_eq!(tell(&sent, None).unwrap().what, "jo@office.example  has the report");
    }
}
