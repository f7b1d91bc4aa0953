//! Sentence: a tracking event in words for somebody who sees Postern for the first time. Pure.

use jiff::Timestamp;
use postern_model::text;

use super::screen::Tone;
use crate::receipts::TAKEN_BY;
use crate::tracking::TrackedEvent;

/// The name of the foreign connector in the demo's config.
const PAGER: &str = "pager";
/// The longest address that is shown, in bytes.
const MAX_ADDRESS: usize = 60;
/// The longest subject that is shown, in bytes.
const MAX_SUBJECT: usize = 120;

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

/// An event in words. `mail` is the number of the mail, and `next_try` is when its item is tried again. `None` for
/// events that are shown otherwise.
pub fn tell(event: &TrackedEvent, mail: Option<usize>, next_try: Option<Timestamp>) -> Option<Sentence> {
    let recipient = text::one_line(event.recipient.as_deref().unwrap_or("(nobody)"), MAX_ADDRESS);
    let report = event.sender.is_empty();
    let pager = event.connector == PAGER;
    let (tone, what) = match event.event.as_str() {
        // The demo has sent it itself; and the pager's pickup is told by its relay event.
        "receive" | "taken" => return None,
        "generate" => return Some(report_made(event, &recipient)),
        "accept" if pager => (Tone::Waiting, "file waits for the pager program".to_owned()),
        "accept" => (Tone::Waiting, "accepted; the outcome comes later".to_owned()),
        "defer" => (Tone::Waiting, put_off(event, next_try)),
        "relay" if pager => (Tone::Good, "file taken by the pager program".to_owned()),
        "deliver" | "relay" if report => (Tone::Good, "report handed over".to_owned()),
        "deliver" => (Tone::Good, format!("delivered{}", attempt(event))),
        "relay" => (Tone::Good, "handed to the mail server".to_owned()),
        "fail" => (Tone::Bad, "failed for good; the sender is told".to_owned()),
        "expire" => (Tone::Bad, "given up: it took too long".to_owned()),
        "unknown" => (Tone::Bad, "the far end never told the outcome".to_owned()),
        other => (Tone::Plain, text::one_line(other, MAX_ADDRESS)),
    };
    let number = mail.map(|number| format!("#{number}")).unwrap_or_default();
    Some(Sentence {
        who: event.connector.clone(),
        tone,
        what: format!("{number:<3}{recipient:<21} {what}"),
        fine_print: fine_print(event, pager),
    })
}

fn report_made(event: &TrackedEvent, recipient: &str) -> Sentence {
    let subject = text::one_line(event.subject.as_deref().unwrap_or_default(), MAX_SUBJECT);
    Sentence {
        who: "report".to_owned(),
        tone: Tone::Waiting,
        what: format!("\"{subject}\""),
        fine_print: vec![format!("the host has made it for {recipient}")],
    }
}

/// The response; for the pager what can be seen in its folder.
fn fine_print(event: &TrackedEvent, pager: bool) -> Vec<String> {
    let response = event.response.as_deref();
    let seen_by = event.details.iter().find(|(name, _)| name == TAKEN_BY).map(|(_, how)| how.as_str());
    let text = match (event.event.as_str(), seen_by) {
        ("accept", _) if pager => {
            let file = response.and_then(|r| r.rsplit(' ').next()).unwrap_or_default();
            Some(format!("drop/pager/{file}"))
        }
        ("relay", Some("event")) => Some("the host was told by the file system".to_owned()),
        ("relay", Some(_)) => Some("the host found the file gone when it listed the folder".to_owned()),
        _ => response.map(str::to_owned),
    };
    text.into_iter().collect()
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
            envelope_recipient: None,
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

    fn what(event: &TrackedEvent, next_try: Option<Timestamp>) -> String {
        tell(event, Some(2), next_try).unwrap().what
    }

    #[test]
    fn a_busy_line_says_when_it_is_tried_again() {
        let busy = event("defer", "FAX:+4930123");
        let next = Timestamp::from_millisecond(1_002_100).unwrap();
        assert_eq!(what(&busy, Some(next)), "#2 FAX:+4930123          not now: tried again in 2.1 s");
        assert_eq!(tell(&busy, None, None).unwrap().fine_print, ["451 4.4.1 the line is busy"]);
        assert!(what(&busy, None).ends_with("tried again later"));
    }

    #[test]
    fn the_second_attempt_is_named_and_the_first_is_not() {
        let mut done = event("deliver", "FAX:+4930123");
        assert!(what(&done, None).ends_with(" delivered"));
        done.attempt = Some(2);
        assert!(what(&done, None).ends_with(" delivered at attempt 2"));
    }

    #[test]
    fn a_report_is_told_as_one() {
        let mut made = event("generate", "jo@office.example");
        made.subject = Some("Not delivered: x".to_owned());
        assert_eq!(tell(&made, None, None).unwrap().what, "\"Not delivered: x\"");
        let mut sent = event("relay", "jo@office.example");
        sent.sender.clear();
        assert!(what(&sent, None).ends_with("report handed over"));
    }

    #[test]
    fn the_pagers_lines_name_the_file_and_how_its_going_was_seen() {
        let mut file = event("accept", "oncall@pager.example");
        file.connector = PAGER.to_owned();
        file.response = Some("250 2.0.0 published as a.0.eml".to_owned());
        assert_eq!(tell(&file, None, None).unwrap().fine_print, ["drop/pager/a.0.eml"]);
        file.event = "relay".to_owned();
        file.details.push((TAKEN_BY.to_owned(), "event".to_owned()));
        assert_eq!(tell(&file, None, None).unwrap().fine_print, ["the host was told by the file system"]);
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        let told = tell(&event("deliver", "a\u{1b}[2J\r\n@b.example"), None, None).unwrap();
        assert!(!told.what.chars().any(char::is_control), "{told:?}");
    }
}
