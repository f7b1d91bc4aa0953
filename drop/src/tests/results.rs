//! Results: each is told until it is consumed, none is lost, and nothing that a gateway leaves does harm.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::{Place, publish};
use crate::{About, Claim, EndFolder, Found, Interest, Outcome, ResultFile, ResultWord, Results};

/// A drop directory with the folders `sent`, `failed` and `report`, whose results are read at once.
fn place() -> Place {
    let place = Place::with(|settings| {
        settings.habits.quiet = Duration::ZERO;
        settings.habits.claims.push(Claim::moved("checked"));
        for (path, outcome) in [("sent", Outcome::Done), ("failed", Outcome::Failed)] {
            settings.habits.folders.push(EndFolder { path: path.into(), outcome });
        }
        settings.habits.reports.push("report".into());
    });
    for folder in ["sent", "failed", "report", "checked"] {
        fs::create_dir(place.file(folder)).unwrap();
    }
    place
}

/// Files that begin with a letter are ours; those with `z` are past.
fn interest(name: &str) -> Interest {
    match name.bytes().next() {
        Some(b'z') => Interest::Past,
        Some(b'a'..=b'y') => Interest::Waiting,
        _ => Interest::Stranger,
    }
}

fn collect(results: &mut Results) -> Vec<Found> {
    let mut found = results.collect(interest).unwrap().found;
    found.sort_by(|a, b| format!("{:?}", a.words).cmp(&format!("{:?}", b.words)));
    found
}

fn said(found: &[Found]) -> Vec<String> {
    let word = |word: &ResultWord| match &word.about {
        About::File(file) => format!("{} {file} {}", word.outcome.as_str(), word.text),
        About::Reference(reference) => panic!("{reference} is not resolved"),
    };
    found.iter().flat_map(|found| &found.words).map(word).collect()
}

#[test]
fn a_result_is_told_until_it_is_consumed_also_after_a_restart() {
    let place = place();
    let directory = place.open();
    publish(&directory, "a.eml", b"x").unwrap();
    publish(&directory, "b.eml", b"x").unwrap();
    fs::rename(place.file("a.eml"), place.file("sent/a.eml")).unwrap();
    fs::remove_file(place.file("b.eml")).unwrap();
    fs::write(place.file("b.eml.err"), "no such number").unwrap();
    let expected = ["done a.eml moved to \"sent\"", "failed b.eml no such number"];
    let mut results = Results::new(&place.settings);
    assert_eq!(said(&collect(&mut results)), expected);
    let mut results = Results::new(&place.settings);
    let found = collect(&mut results);
    assert_eq!(said(&found), expected);
    for found in &found {
        assert!(results.consume(found).unwrap());
        assert!(!results.consume(found).unwrap(), "it may be repeated");
    }
    assert!(collect(&mut results).is_empty());
    assert!(!place.file("sent/a.eml").exists() && !place.file("b.eml.err").exists());
    assert!(place.left().iter().all(|name| !name.contains("result")), "{:?}", place.left());
}

#[test]
fn a_file_that_was_claimed_first_is_known_by_its_published_name() {
    let place = place();
    fs::write(place.file("failed/a.eml.work"), "x").unwrap();
    fs::write(place.file("b.eml.work.ok"), "").unwrap();
    let mut results = Results::new(&place.settings);
    assert_eq!(said(&collect(&mut results)), ["failed a.eml moved to \"failed\"", "done b.eml "]);
}

#[test]
fn a_result_that_is_replaced_while_it_is_settled_is_not_consumed() {
    let place = place();
    fs::write(place.file("a.eml.result"), "outcome: done").unwrap();
    let mut results = Results::new(&place.settings);
    let found = collect(&mut results);
    fs::write(place.beside("new"), "outcome: failed").unwrap();
    fs::rename(place.beside("new"), place.file("a.eml.result")).unwrap();
    assert!(!results.consume(&found[0]).unwrap());
    assert_eq!(said(&collect(&mut results)), ["failed a.eml "]);
}

#[test]
fn a_result_that_still_grows_is_read_when_it_is_quiet() {
    let mut place = place();
    place.settings.habits.quiet = Duration::from_millis(50);
    let mut results = Results::new(&place.settings);
    fs::write(place.file("a.eml.result"), "outcome: done\ntext: tw").unwrap();
    let first = results.collect(interest).unwrap();
    assert!(first.found.is_empty() && first.strange.is_empty() && first.again);
    fs::write(place.file("a.eml.result"), "outcome: done\ntext: two pages").unwrap();
    let found = std::iter::repeat_with(|| collect(&mut results)).find(|found| !found.is_empty()).unwrap();
    assert_eq!(said(&found), ["done a.eml two pages"]);
}

#[test]
fn what_is_hostile_is_told_once_and_left_alone() {
    let place = place();
    fs::write(place.beside("secret"), "outcome: done").unwrap();
    symlink(place.beside("secret"), place.file("a.eml.result")).unwrap();
    fs::write(place.file("b.eml.err"), vec![b'x'; crate::habits::MAX_RESULT + 1]).unwrap();
    fs::write(place.file("c.eml.result"), [0xff; 100]).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.file("d.eml.ok"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::write(place.file("sent/e.eml"), vec![b'x'; 1 << 20]).unwrap();
    fs::create_dir(place.file("sent/f.eml")).unwrap();
    for stranger in ["sent/1.eml", "2.eml.ok", ".g.eml.ok", "h\n.eml.ok"] {
        fs::write(place.file(stranger), "").unwrap();
    }
    let mut results = Results::new(&place.settings);
    let collected = results.collect(interest).unwrap();
    assert_eq!(said(&collected.found), ["done e.eml moved to \"sent\""]);
    let mut strange: Vec<_> =
        collected.strange.iter().map(|(path, why)| (names(path), why.as_str())).collect();
    strange.sort_unstable();
    assert_eq!(
        strange,
        [
            ("a.eml.result", "it is no regular file"),
            ("b.eml.err", "it is longer than 65536 bytes"),
            ("c.eml.result", "it is not understood"),
            ("d.eml.ok", "it is no regular file"),
        ]
    );
    assert!(results.collect(interest).unwrap().strange.is_empty(), "it was told");
    assert!(place.file("d.eml.ok").symlink_metadata().is_ok() && place.file("sent/1.eml").exists());
}

fn names(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_folder_that_a_gateway_replaced_by_a_link_is_not_followed() {
    let place = place();
    fs::create_dir(place.beside("other")).unwrap();
    fs::write(place.beside("other/a.eml"), "x").unwrap();
    fs::remove_dir(place.file("sent")).unwrap();
    symlink(place.beside("other"), place.file("sent")).unwrap();
    let mut results = Results::new(&place.settings);
    assert!(results.collect(interest).is_err());
    assert!(place.beside("other/a.eml").exists());
}

/// A gateway that notes its number for a job in the file that it sent, and reports by that number and the address.
fn by_reference(file: &ResultFile<'_>) -> Vec<ResultWord> {
    let text = String::from_utf8_lossy(file.bytes);
    let [number, to, ..] = text.split(' ').collect::<Vec<_>>()[..] else { return Vec::new() };
    let mut word = match file.of {
        "" => ResultWord {
            about: About::Reference(number.to_owned()),
            ..ResultWord::about_file("", Outcome::Done)
        },
        of => ResultWord::about_file(of, Outcome::Underway),
    };
    word.reference = Some(number.to_owned());
    word.recipient = Some(to.to_owned());
    vec![word]
}

#[test]
fn a_report_by_reference_is_joined_with_its_file_by_number_and_address_in_any_order() {
    let mut place = place();
    place.settings.habits.read = by_reference;
    let mut results = Results::new(&place.settings);
    // The report is faster than the note that the job exists.
    fs::write(place.file("report/r1"), "7 4930").unwrap();
    assert!(collect(&mut results).is_empty());
    fs::write(place.file("sent/a.eml"), "7 +4930 x").unwrap();
    fs::write(place.file("sent/b.eml"), "7 +4940 x").unwrap();
    let found = collect(&mut results);
    assert_eq!(said(&found), ["done a.eml "]);
    assert!(results.consume(&found[0]).unwrap());
    // After a restart, what is on its way is known by what lies there.
    let mut results = Results::new(&place.settings);
    fs::write(place.file("report/r2"), "7 4940").unwrap();
    fs::write(place.file("report/r3"), "7 4950").unwrap();
    assert_eq!(said(&collect(&mut results)), ["done b.eml "]);
    // Nobody waits for them any more: they go, and what is unknown stays.
    let past = |_: &str| Interest::Past;
    for found in results.collect(past).unwrap().found {
        results.consume(&found).unwrap();
    }
    assert!(super::names(&place.file("sent")).is_empty());
    assert_eq!(super::names(&place.file("report")), ["r3"]);
}

#[test]
fn a_file_that_is_published_anew_has_no_old_results() {
    let place = place();
    for old in ["a.eml.retry", "a.eml.work.err", "failed/a.eml", "sent/a.eml.work", "b.eml.ok"] {
        fs::write(place.file(old), "").unwrap();
    }
    let mut results = Results::new(&place.settings);
    results.clear("a.eml").unwrap();
    assert_eq!(said(&collect(&mut results)), ["done b.eml "]);
}

#[test]
fn each_reference_in_a_report_belongs_to_the_file_of_its_own_block() {
    let place = place();
    let jobs =
        "file: a.eml\noutcome: underway\nreference: 1\n\nfile: b.eml\noutcome: underway\nreference: 2\n";
    fs::write(place.file("report/jobs"), jobs).unwrap();
    let mut results = Results::new(&place.settings);
    assert!(collect(&mut results).is_empty());
    fs::write(place.file("report/end"), "reference: 2\noutcome: failed\ntext: busy\n").unwrap();
    assert_eq!(said(&collect(&mut results)), ["failed b.eml busy"]);
}
