//! Plain results: what any script can write.
//!
//! A sidecar that says by its name how it ended (`.ok`, `.err`, `.retry`) may be empty or hold a line of text for the
//! sender. Where the content says, it is lines of `key: value`, one block for each recipient, with blank lines between:
//!
//! ```text
//! outcome: failed
//! recipient: +49301234567
//! class: unallocated
//! status: 5.1.1
//! text: the number is not in use
//! segments: 2
//! ```
//!
//! `outcome` (`done`, `sent`, `failed`, `retry`, `underway`) is needed where the name does not say; in a report folder
//! `file` or `reference` says what it is about. Keys are read in any case of letters; all others become details.

use super::word::{About, MAX_DETAILS, Outcome, ResultWord, one_line};
use super::{Place, ResultFile};

/// The most blocks in one file: one for each recipient.
const MAX_BLOCKS: usize = 1000;

/// Reads a plain result.
#[must_use]
pub fn read(file: &ResultFile<'_>) -> Vec<ResultWord> {
    let text = String::from_utf8_lossy(file.bytes);
    match file.place {
        Place::Folder { outcome } => {
            vec![ResultWord::about_file(file.of, outcome).saying(&format!("moved to {:?}", file.folder))]
        }
        Place::Sidecar { outcome: Some(outcome) } => {
            let blocks = if speaks(&text) { blocks(&text, Some(file.of), Some(outcome)) } else { None };
            blocks.unwrap_or_else(|| vec![ResultWord::about_file(file.of, outcome).saying(&text)])
        }
        Place::Sidecar { outcome: None } => blocks(&text, Some(file.of), None).unwrap_or_default(),
        Place::Report => blocks(&text, None, None).unwrap_or_default(),
    }
}

/// Whether a text has a key of ours: a colon alone may stand in any sentence.
fn speaks(text: &str) -> bool {
    const KEYS: [&str; 6] = ["outcome", "reference", "recipient", "class", "status", "text"];
    let mut keys = text.lines().filter_map(|line| line.split_once(':'));
    keys.any(|(key, _)| KEYS.iter().any(|known| known.eq_ignore_ascii_case(key.trim())))
}

/// The words in a text of blocks; `None` when it is none.
fn blocks(text: &str, of: Option<&str>, outcome: Option<Outcome>) -> Option<Vec<ResultWord>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut words = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if !line.trim().is_empty() {
            lines.push(line);
        } else if !lines.is_empty() {
            words.push(block(&std::mem::take(&mut lines), of, outcome)?);
        }
    }
    (!words.is_empty() && words.len() <= MAX_BLOCKS).then_some(words)
}

fn block(lines: &[&str], of: Option<&str>, outcome: Option<Outcome>) -> Option<ResultWord> {
    let mut word = ResultWord::about_file(of.unwrap_or_default(), outcome.unwrap_or(Outcome::Underway));
    let mut texts: Vec<&str> = Vec::new();
    let (mut about, mut said) = (of.map(|of| About::File(of.to_owned())), outcome);
    for line in lines {
        let (key, value) = line.split_once(':')?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let is_key =
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !is_key {
            return None;
        }
        match key.as_str() {
            "outcome" => said = Some(Outcome::parse(value)?),
            "file" if of.is_none() => about = Some(About::File(one_line(value))),
            "reference" => word.reference = Some(one_line(value)),
            "recipient" => word.recipient = Some(one_line(value)),
            "class" => word.class = Some(one_line(value)),
            "status" => word.status = Some(one_line(value)),
            "text" => texts.push(value),
            _ if word.details.len() < MAX_DETAILS => word.details.push((key, one_line(value))),
            _ => {}
        }
    }
    word.outcome = said?;
    word.about = about.or_else(|| word.reference.clone().map(About::Reference))?;
    word.text = one_line(&texts.join(" "));
    Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_at(place: Place, bytes: &[u8]) -> Vec<ResultWord> {
        read(&ResultFile { place, folder: "sent", name: "x", of: "a.eml", bytes, whole: true })
    }

    #[test]
    fn a_sidecar_may_be_empty_or_a_line_of_text_or_blocks() {
        let err = |bytes| read_at(Place::Sidecar { outcome: Some(Outcome::Failed) }, bytes);
        let plain = ResultWord::about_file("a.eml", Outcome::Failed);
        assert_eq!(err(b""), std::slice::from_ref(&plain));
        assert_eq!(err(b"no such number\r\n"), [plain.saying("no such number")]);
        assert_eq!(err(b"busy: called 3 times")[0].text, "busy: called 3 times");
        let [word] = &err(b"class: unallocated\ntext: not\ntext: in use\nCost: 2")[..] else { panic!() };
        assert_eq!((word.class.as_deref(), word.text.as_str()), (Some("unallocated"), "not in use"));
        assert_eq!(word.details, [("cost".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn a_result_says_of_each_recipient_how_it_ended() {
        let text = b"outcome: done\nrecipient: +4930\n\n\nOUTCOME: Failed\nrecipient: +4940\nstatus: 5.1.1\n";
        let [done, failed] = &read_at(Place::Sidecar { outcome: None }, text)[..] else { panic!() };
        assert_eq!((done.outcome, done.recipient.as_deref()), (Outcome::Done, Some("+4930")));
        assert_eq!((failed.outcome, failed.status.as_deref()), (Outcome::Failed, Some("5.1.1")));
    }

    #[test]
    fn what_is_not_understood_says_nothing_at_all() {
        let result = |text: &[u8]| read_at(Place::Sidecar { outcome: None }, text);
        for text in
            [&b""[..], b"outcome: perhaps", b"recipient: +4930", b"outcome: done\n\nno key", b"\xff\xfe\0"]
        {
            assert!(result(text).is_empty(), "{text:?}");
        }
        let many = "outcome: done\n\n".repeat(MAX_BLOCKS + 1);
        assert!(result(many.as_bytes()).is_empty());
    }

    #[test]
    fn a_report_names_its_file_or_a_reference_and_a_sidecar_cannot_name_another_file() {
        let report = |text: &[u8]| read_at(Place::Report, text);
        assert_eq!(report(b"outcome: done\nfile: b.eml")[0].about, About::File("b.eml".to_owned()));
        assert_eq!(report(b"outcome: done\nreference: 7")[0].about, About::Reference("7".to_owned()));
        assert!(report(b"outcome: done").is_empty());
        let sidecar = read_at(Place::Sidecar { outcome: None }, b"outcome: done\nfile: b.eml");
        assert_eq!(sidecar[0].about, About::File("a.eml".to_owned()));
    }
}
