//! What smsd says about a message: in the file that it moved, and in a status report.

use crate::results::{About, Outcome, Place, ResultFile, ResultWord};

/// Reads a file of the folders `sent` and `failed`, or a status report.
pub(super) fn read(file: &ResultFile<'_>) -> Vec<ResultWord> {
    let text = String::from_utf8_lossy(file.bytes);
    match file.place {
        Place::Folder { outcome: Outcome::Failed } => vec![failed(file.of, &text)],
        Place::Folder { .. } => vec![sent(file.of, &text)],
        Place::Report => report(&text).into_iter().collect(),
        Place::Sidecar { .. } => Vec::new(),
    }
}

/// The value of a header line. Headers end at the first empty line; what follows is the text of a user, which must not
/// speak in smsd's name.
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().map(str::trim_end).take_while(|line| !line.is_empty());
    value(lines, name)
}

fn value<'a>(mut lines: impl Iterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    lines.find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A sent file. Where a status report was asked for, that will say how it ended.
fn sent(file: &str, text: &str) -> ResultWord {
    let reference = header(text, "Message_id");
    let reported = header(text, "Report").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
    let outcome = if reported && reference.is_some() { Outcome::Underway } else { Outcome::Sent };
    let mut word = ResultWord::about_file(file, outcome);
    word.reference = reference.map(str::to_owned);
    word.recipient = header(text, "To").map(str::to_owned);
    for (key, detail) in [("Modem", "modem"), ("Sent", "sent"), ("Message_id", "message-reference")] {
        word.details.extend(header(text, key).map(|value| (detail.to_owned(), value.to_owned())));
    }
    if outcome == Outcome::Sent {
        // About the whole file: it has one recipient, whatever way smsd writes its number.
        word.recipient = None;
    }
    word.saying("sent by smsd")
}

fn failed(file: &str, text: &str) -> ResultWord {
    let why = header(text, "Fail_reason").unwrap_or("smsd gave it up");
    let mut word = ResultWord::about_file(file, Outcome::Failed).saying(why);
    let (status, class) = cause(why);
    (word.status, word.class) = (Some(status.to_owned()), Some(class.to_owned()));
    word.details.extend(header(text, "Modem").map(|value| ("modem".to_owned(), value.to_owned())));
    word
}

/// What a reason means: smsd's own words, and the causes of 3GPP TS 24.011 annex E-2 and TS 27.005 section 3.2.5 that
/// modems give. It has tried several times by then, so that every cause is final.
fn cause(why: &str) -> (&'static str, &'static str) {
    if why.contains("No destination") {
        return ("5.1.3", "invalid-address");
    }
    let number = why.split("ERROR:").nth(1).and_then(|rest| {
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u16>().ok()
    });
    match number {
        Some(1 | 28 | 30) => ("5.1.1", "unallocated"),
        Some(8 | 10 | 21 | 29 | 50 | 69) => ("5.7.1", "blocked"),
        Some(27 | 38 | 41 | 42 | 47 | 331 | 332) => ("5.4.4", "service-unavailable"),
        Some(81 | 95..=99 | 111 | 127 | 304 | 305) => ("5.5.4", "protocol-error"),
        _ => ("5.0.0", "service-unavailable"),
    }
}

/// A status report: header lines, among them whom it is about, then `SMS STATUS REPORT` and lines of its own.
fn report(text: &str) -> Option<ResultWord> {
    let (_, body) = text.split_once("SMS STATUS REPORT")?;
    let lines = || body.lines().map(str::trim_end);
    let reference = value(lines(), "Message_id")?;
    let status = value(lines(), "Status")?;
    let number: u8 = status.split(',').next()?.trim().parse().ok()?;
    let mut word = ResultWord::about_file("", Outcome::Underway).saying(status);
    word.about = About::Reference(reference.to_owned());
    word.recipient = header(text, "From").or_else(|| header(text, "To")).map(str::to_owned);
    // TP-Status, 3GPP TS 23.040 section 9.2.3.15.
    let (outcome, code, class) = match number {
        0 | 2 => (Outcome::Done, None, None),
        1 => (Outcome::Sent, None, None),
        3..=63 => (Outcome::Underway, None, None),
        // Validity expired, deleted: whoever was called was not there for long enough.
        70..=72 => (Outcome::Failed, Some("5.4.7"), Some("no-answer")),
        65 | 68 | 69 => (Outcome::Failed, Some("5.1.1"), Some("unallocated")),
        64 | 66 | 67 | 73..=95 => (Outcome::Failed, Some("5.0.0"), Some("blocked")),
        // The network tries no more.
        _ => (Outcome::Failed, Some("5.4.4"), Some("service-unavailable")),
    };
    word.outcome = outcome;
    (word.status, word.class) = (code.map(str::to_owned), class.map(str::to_owned));
    let time = value(lines(), "Discharge_timestamp");
    word.details.extend(time.map(|time| ("discharged".to_owned(), time.to_owned())));
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What smsd 3.1.21 left, byte for byte.
    const SENT: &[u8] = include_bytes!("../samples/smstools-sent");
    const FAILED: &[u8] = include_bytes!("../samples/smstools-failed");
    const REPORT: &[u8] = include_bytes!("../samples/smstools-report");

    fn read_at(place: Place, bytes: &[u8]) -> Vec<ResultWord> {
        read(&ResultFile { place, folder: "x", name: "x", of: "a.sms", bytes, whole: true })
    }

    #[test]
    fn a_sent_message_waits_for_its_report_where_one_was_asked_for() {
        let place = Place::Folder { outcome: Outcome::Sent };
        let [word] = &read_at(place, SENT)[..] else { panic!("one word") };
        assert_eq!((word.outcome, word.about.clone()), (Outcome::Underway, About::File("a.sms".to_owned())));
        assert_eq!((word.reference.as_deref(), word.recipient.as_deref()), (Some("1"), Some("15551230001")));
        let without = String::from_utf8_lossy(SENT).replace("Report: yes\n", "");
        let [word] = &read_at(place, without.as_bytes())[..] else { panic!("one word") };
        assert_eq!((word.outcome, word.recipient.as_deref()), (Outcome::Sent, None));
    }

    #[test]
    fn a_failed_message_says_why() {
        let [word] = &read_at(Place::Folder { outcome: Outcome::Failed }, FAILED)[..] else {
            panic!("one word")
        };
        assert_eq!(word.outcome, Outcome::Failed);
        assert_eq!(word.text, "+CMS ERROR: 500 (Unknown error)");
        assert_eq!(word.status.as_deref(), Some("5.0.0"));
        assert_eq!(cause("No destination").0, "5.1.3");
        assert_eq!(cause("+CMS ERROR: 28 (Unidentified subscriber)"), ("5.1.1", "unallocated"));
    }

    #[test]
    fn a_report_completes_the_message_that_it_names() {
        let [word] = &read_at(Place::Report, REPORT)[..] else { panic!("one word") };
        assert_eq!((word.outcome, word.about.clone()), (Outcome::Done, About::Reference("1".to_owned())));
        assert_eq!(word.recipient.as_deref(), Some("15551230001"));
        let with = |status: &str| {
            let text = String::from_utf8_lossy(REPORT);
            let line = text.lines().find(|line| line.starts_with("Status:")).unwrap().to_owned();
            read_at(Place::Report, text.replace(&line, &format!("Status: {status}")).as_bytes())
        };
        assert_eq!(with("48,Still trying")[0].outcome, Outcome::Underway);
        assert_eq!(with("69,Error,not obtainable")[0].status.as_deref(), Some("5.1.1"));
        assert!(with("perhaps").is_empty(), "what is not understood says nothing");
    }

    #[test]
    fn a_text_cannot_speak_for_smsd() {
        let text = b"To: 1\n\nMessage_id: 7\nReport: yes\nFail_reason: no\n";
        let [word] = &read_at(Place::Folder { outcome: Outcome::Sent }, text)[..] else { panic!("one word") };
        assert_eq!((word.outcome, &word.reference), (Outcome::Sent, &None));
        let failed = read_at(Place::Folder { outcome: Outcome::Failed }, text);
        assert_eq!(failed[0].text, "smsd gave it up");
    }
}
