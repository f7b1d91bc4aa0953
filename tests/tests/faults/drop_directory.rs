//! A drop directory that is taken away, or replaced by another, under a running host.

use std::fs;

use postern_tests::{Host, Site, SmtpSink, eventually, gateway, messages};
use serde_json::{Value, json};

use crate::load::JO;

/// The message waits, and its queue says why.
fn waits(site: &Site) -> Value {
    let queue =
        eventually("the queue in retry", || site.queue("pbx").filter(|queue| queue["state"] == "retry"));
    let reason = queue["last_error"].as_str().unwrap_or_default();
    assert!(reason.contains("451 4.3.5") && reason.contains("drop/pbx"), "{queue}");
    assert!(queue["next_retry"].is_string(), "{queue}");
    queue
}

fn empty(site: &Site) {
    eventually("an empty queue", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
}

fn subjects(site: &Site) -> Vec<String> {
    let files = gateway::read(&site.drop_directory("pbx"));
    let mut all: Vec<String> = files
        .iter()
        .map(|file| {
            let text = String::from_utf8_lossy(file.message()).into_owned();
            text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned()
        })
        .collect();
    all.sort();
    all
}

/// A site whose mail for `pbx.example` counts as handed over when the gateway takes it, and which can tell senders.
fn site(reports: &SmtpSink, lines: &str) -> Site {
    Site::new()
        .foreign("pbx", "SMTP:pbx.example", &format!("retry = \"200ms\"\npoll_interval = \"200ms\"\n{lines}"))
        .send("back", "SMTP:home.example", reports.address(), "")
}

fn submit(host: &Host, subject: &str) -> String {
    host.client().submit(JO, &["ann@pbx.example> NOTIFY=SUCCESS,FAILURE"], &messages::simple(subject))
}

#[test]
fn mail_for_a_drop_directory_that_was_removed_waits_with_the_reason_and_goes_on_when_it_is_back() {
    let reports = SmtpSink::start();
    let site = site(&reports, "");
    let drop = site.drop_directory("pbx");
    let host = site.start();
    submit(&host, "before");
    empty(&site);
    fs::remove_dir_all(&drop).unwrap();
    for number in 0..5 {
        submit(&host, &format!("meanwhile-{number}"));
    }
    waits(&site);
    assert_eq!(site.audit()["queued"], 5);
    assert_eq!(site.connector("pbx")["state"], "disabled", "{}", site.connector("pbx"));

    fs::create_dir(&drop).unwrap();
    empty(&site);
    let expected: Vec<String> = (0..5).map(|number| format!("meanwhile-{number}")).collect();
    assert_eq!(subjects(&site), expected);
    submit(&host, "then");
    eventually("the next file", || (gateway::files(&drop).len() == 6).then_some(()));
    empty(&site);
    // Also a gateway of the new directory is noticed.
    assert_eq!(gateway::take(&drop).len(), 6);
    eventually("the pickups", || {
        let events = site.events("ann@pbx.example");
        (events.iter().filter(|event| *event == "taken").count() >= 6).then_some(())
    });
    site.audit();
    host.stop();
}

#[test]
fn mail_goes_to_the_new_drop_directory_when_another_takes_the_place_of_the_old() {
    let reports = SmtpSink::start();
    let site = site(&reports, "");
    let (drop, old) = (site.drop_directory("pbx"), site.drop_directory("old"));
    let host = site.start();
    let first = submit(&host, "first");
    empty(&site);
    fs::rename(&drop, &old).unwrap();
    fs::create_dir(&drop).unwrap();
    submit(&host, "second");
    eventually("a file in the new directory", || (gateway::files(&drop).len() == 1).then_some(()));
    empty(&site);
    assert_eq!(subjects(&site), ["second"]);
    assert_eq!(
        gateway::files(&old).len(),
        1,
        "nothing is added to the old one, and nothing is taken from it"
    );
    // Nobody can tell whether the first was taken. The audit says which file that is, and finds nothing wrong.
    assert_eq!(vanished(&site, &first), 1);
    let taken = site.events("ann@pbx.example").iter().filter(|event| *event == "taken").count();
    assert_eq!(taken, 0, "nobody took anything");

    // With the old directory and its file back, and a gateway that takes all, the books are in order again.
    assert_eq!(gateway::take(&drop).len(), 1);
    eventually("the pickup of the second", || {
        site.events("ann@pbx.example").iter().any(|event| event == "taken").then_some(())
    });
    fs::remove_dir_all(&drop).unwrap();
    fs::rename(&old, &drop).unwrap();
    submit(&host, "third");
    eventually("the third file", || (gateway::files(&drop).len() == 2).then_some(()));
    empty(&site);
    assert_eq!(gateway::take(&drop).len(), 2);
    eventually("a balanced audit", || (site.cli(&["audit"]).code == 0).then_some(()));
    host.stop();
    site.audit();
}

#[test]
fn a_file_that_went_away_with_its_directory_does_not_count_as_taken() {
    let reports = SmtpSink::start();
    let site = site(&reports, "success_on = \"taken\"");
    let (drop, old) = (site.drop_directory("pbx"), site.drop_directory("old"));
    let host = site.start();
    let lost = submit(&host, "lost");
    eventually("the file", || (gateway::files(&drop).len() == 1).then_some(()));
    // The directory is away for so long that mail meets its absence; then an empty one takes its place.
    fs::rename(&drop, &old).unwrap();
    let next = submit(&host, "next");
    waits_with_one_pending(&site);
    fs::create_dir(&drop).unwrap();
    eventually("the next file", || (gateway::files(&drop).len() == 1).then_some(()));
    assert_eq!(gateway::take(&drop).len(), 1);
    let relayed = eventually("the pickup of the next", || {
        let rows = site.track(&["--event", "relay"]);
        rows.iter().any(|row| row["message_id"] == next.as_str()).then_some(rows)
    });
    let wrong: Vec<&Value> = relayed.iter().filter(|row| row["message_id"] == lost.as_str()).collect();
    assert!(wrong.is_empty(), "nobody took it, but the sender was told so: {wrong:?}");
    // Nobody can tell what became of it: it is pending, and the audit names its file.
    assert_eq!(vanished(&site, &lost), 1);
    assert_eq!(site.audit()["pending"], 1);

    // The old directory comes back with its file, and now the gateway takes it.
    fs::remove_dir_all(&drop).unwrap();
    fs::rename(&old, &drop).unwrap();
    submit(&host, "third");
    eventually("two files", || (gateway::files(&drop).len() == 2).then_some(()));
    assert_eq!(gateway::take(&drop).len(), 2);
    empty(&site);
    let audit = site.audit();
    assert_eq!((&audit["pending"], &audit["queued"]), (&0.into(), &0.into()));
    host.stop();
}

/// How many files the audit names that went away with their directory; this message's must be among them. Everything else
/// is in order.
fn vanished(site: &Site, message: &str) -> usize {
    let audit = site.audit();
    let named = audit["vanished"].as_array().cloned().unwrap_or_default();
    assert!(named.iter().any(|file| file.to_string().contains(message)), "{message} is not named: {audit}");
    named.len()
}

/// A host that starts onto another directory than the one that it stopped with.
fn start_onto_another(site: &Site, host: Host, killed: bool) -> Host {
    if killed {
        host.kill()
    } else {
        host.stop()
    }
    fs::rename(site.drop_directory("pbx"), site.drop_directory("old")).unwrap();
    fs::create_dir(site.drop_directory("pbx")).unwrap();
    site.start()
}

#[test]
fn a_restart_onto_another_drop_directory_takes_nothing_for_taken_until_the_old_one_is_back() {
    for (success_on, killed) in [("taken", false), ("taken", true), ("published", false)] {
        let reports = SmtpSink::start();
        let site = site(&reports, &format!("success_on = \"{success_on}\""));
        let (drop, old) = (site.drop_directory("pbx"), site.drop_directory("old"));
        let pending = u64::from(success_on == "taken");
        let host = site.start();
        let lost = submit(&host, "lost");
        eventually("a hand-over that is on record", || {
            let on_record = if pending == 1 { "accept" } else { "relay" };
            site.events("ann@pbx.example").iter().any(|event| event == on_record).then_some(())
        });
        let host = start_onto_another(&site, host, killed);
        // Mail goes to the new one, and what its gateway takes is taken.
        submit(&host, "next");
        eventually("a file in the new directory", || (gateway::files(&drop).len() == 1).then_some(()));
        assert_eq!(gateway::take(&drop).len(), 1);
        let taken = || site.events("ann@pbx.example").iter().filter(|event| *event == "taken").count();
        eventually("the pickup of the next", || (taken() > 0).then_some(()));
        assert_eq!((taken(), vanished(&site, &lost)), (1, 1));
        assert_eq!(site.audit()["pending"], pending);
        // Another restart does not forget it, and a stopped host says the same.
        host.stop();
        assert_eq!(vanished(&site, &lost), 1);
        let host = site.start();
        eventually("the open directory", || (site.connector("pbx")["state"] == "ready").then_some(()));
        assert_eq!(
            (taken(), vanished(&site, &lost), site.audit()["pending"].as_u64()),
            (1, 1, Some(pending))
        );
        host.stop();

        fs::remove_dir_all(&drop).unwrap();
        fs::rename(&old, &drop).unwrap();
        let host = site.start();
        eventually("the open directory", || (site.connector("pbx")["state"] == "ready").then_some(()));
        assert_eq!(gateway::files(&drop).len(), 1);
        assert_eq!(site.audit()["vanished"], json!([]));
        assert_eq!(gateway::take(&drop).len(), 1);
        eventually("the pickup of the first", || (taken() == 2).then_some(()));
        empty(&site);
        let audit = site.audit();
        assert_eq!((&audit["pending"], &audit["vanished"]), (&0.into(), &json!([])));
        host.stop();
    }
}

#[test]
fn what_went_away_with_its_directory_ends_as_unknown_by_time_or_by_an_operator() {
    let reports = SmtpSink::start();
    let site = site(&reports, "success_on = \"taken\"\nexpire_after = \"8s\"");
    let host = site.start();
    let (by_operator, by_time) = (submit(&host, "by an operator"), submit(&host, "by time"));
    eventually("two files that are waited for", || (site.queue("pbx")?["pending"] == 2).then_some(()));
    let host = start_onto_another(&site, host, false);
    eventually("the open directory", || (site.connector("pbx")["state"] == "ready").then_some(()));
    assert_eq!(vanished(&site, &by_time), 2);
    let answer = site.cli(&["message", "remove", &by_operator]);
    let unknown = answer.json()["unknown"].as_array().map(Vec::len);
    assert_eq!((answer.code, unknown), (1, Some(1)), "nothing was prevented: {answer:?}");
    let report = reports.wait_for(1)[0].text();
    assert!(report.contains("Subject: by time"), "the other was removed without a word: {report}");
    empty(&site);
    let audit = site.audit();
    assert_eq!(
        (&audit["unknown"], &audit["vanished"], &audit["pending"]),
        (&2.into(), &json!([]), &0.into())
    );
    assert_eq!(gateway::files(&site.drop_directory("old")).len(), 2);
    host.stop();
    site.audit();
}

fn waits_with_one_pending(site: &Site) {
    let queue = waits(site);
    assert_eq!((&queue["count"], &queue["pending"]), (&2.into(), &1.into()), "{queue}");
}
