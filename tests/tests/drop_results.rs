//! `success_on = "result"`: a gateway says with files what became of what it took, and senders are told that.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use postern_tests::{Host, Site, SmtpSink, dsn, eventually, gateway, messages};
use serde_json::json;

const JO: &str = "jo@home.example";
const FOLDERS: [&str; 4] = ["checked", "sent", "failed", "report"];

/// A site whose gateway moves files from `checked` to `sent` or `failed`.
fn site(sink: &SmtpSink) -> Site {
    let site = Site::new().send("out", "SMTP:*;50", sink.address(), "").foreign(
        "fax",
        "SMTP:fax.example",
        "success_on = \"result\"\nreader = \"moves\"\nclaim_folders = [\"checked\"]\nretry = \"1s\"\n\
         results = { done = \"sent\", failed = \"failed\", reports = \"report\", quiet = \"20ms\" }\n\
         poll_interval = \"100ms\"",
    );
    for folder in FOLDERS {
        fs::create_dir_all(site.drop_directory("fax").join(folder)).unwrap();
    }
    site
}

fn send(host: &Host, users: &[&str]) {
    let to: Vec<_> = users.iter().map(|u| format!("{u}@fax.example> NOTIFY=SUCCESS,FAILURE")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    host.client().submit(JO, &to, &messages::simple(users[0]));
}

/// The file with this word in it, once it lies there.
fn file(drop: &Path, word: &str) -> PathBuf {
    let holds = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(word));
    eventually(&format!("the file with {word}"), || gateway::files(drop).into_iter().find(holds))
}

fn move_to(file: &Path, folder: &str) -> PathBuf {
    let there = file.parent().unwrap().join(folder).join(file.file_name().unwrap());
    fs::rename(file, &there).unwrap();
    there
}

fn wait_for_event(site: &Site, user: &str, event: &str) -> Vec<String> {
    eventually(&format!("the event {event} of {user}"), || {
        let events = site.events(&format!("{user}@fax.example"));
        events.iter().any(|e| e == event).then_some(events)
    })
}

fn reports(sink: &SmtpSink) -> Vec<String> {
    let read = |text: String| {
        let fields = dsn::status_fields(&text);
        let about = dsn::field(&fields, "Final-Recipient").trim_start_matches("rfc822; ").to_owned();
        format!("{about} {} {}", dsn::field(&fields, "Action"), dsn::field(&fields, "Status"))
    };
    let mut all: Vec<_> = sink.arrived().iter().map(|arrived| read(arrived.text())).collect();
    all.sort();
    all
}

#[test]
fn what_a_gateway_says_with_files_becomes_reports_over_a_restart() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let drop = site.drop_directory("fax");
    let host = site.start();
    for user in ["moved", "refused", "silent"] {
        send(&host, &[user]);
    }
    // Beside the place of a file that was deleted.
    let refused = file(&drop, "refused@");
    fs::remove_file(&refused).unwrap();
    let sidecar = PathBuf::from(format!("{}.err", refused.display()));
    fs::write(&sidecar, "status: 5.1.1\nclass: unallocated\ntext: the number is not in use").unwrap();
    assert_eq!(wait_for_event(&site, "refused", "fail"), ["receive", "accept", "taken", "fail"]);
    eventually("the result to be gone", || (!sidecar.exists()).then_some(()));
    // Taken before the host dies, done while it is away.
    let moved = move_to(&file(&drop, "moved@"), "checked");
    assert_eq!(site.events("moved@fax.example"), ["receive", "accept"], "it is claimed, not taken");
    host.kill();
    let done = moved.parent().unwrap().parent().unwrap().join("sent").join(moved.file_name().unwrap());
    fs::rename(&moved, &done).unwrap();
    let host = site.start();
    assert_eq!(wait_for_event(&site, "moved", "deliver"), ["receive", "accept", "taken", "deliver"]);
    eventually("the result to be gone", || (!done.exists()).then_some(()));
    eventually("both reports", || (sink.arrived().len() == 2).then_some(()));
    assert_eq!(reports(&sink), ["moved@fax.example delivered 2.0.0", "refused@fax.example failed 5.1.1"]);
    assert_eq!(site.events("silent@fax.example"), ["receive", "accept"]);
    host.stop();
    let audit = site.audit();
    assert_eq!((&audit["delivered"], &audit["failed"], &audit["pending"]), (&json!(1), &json!(1), &json!(1)));
}

#[test]
fn each_recipient_of_a_file_gets_its_own_result_and_a_retry_publishes_it_anew() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let drop = site.drop_directory("fax");
    let host = site.start();
    send(&host, &["both", "other"]);
    let path = file(&drop, "both@");
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    // In one step with the pickup: the result means both.
    fs::remove_file(&path).unwrap();
    let report = format!(
        "file: {name}\nrecipient: both@fax.example\noutcome: done\npages: 2\n\n\
         file: {name}\nrecipient: other@fax.example\noutcome: retry\ntext: the line was busy\n"
    );
    fs::write(drop.join("report/1.txt"), report).unwrap();
    assert_eq!(wait_for_event(&site, "both", "deliver"), ["receive", "accept", "taken", "deliver"]);
    let again = file(&drop, "other@");
    assert_eq!(again.file_name().unwrap().to_str().unwrap(), name);
    assert!(!fs::read_to_string(&again).unwrap().contains("both@fax.example"), "only who is left");
    move_to(&again, "sent");
    wait_for_event(&site, "other", "deliver");
    let details = site.ask(&["track", "--recipient", "both@fax.example", "--event", "deliver"]);
    assert!(details[0]["details"].to_string().contains(r#"["pages","2"]"#), "{details}");
    host.stop();
    assert_eq!(site.audit()["delivered"], json!(2));
}

#[test]
fn a_file_that_the_gateway_leaves_counts_as_taken_after_its_time_and_is_removed() {
    let site = Site::new().foreign(
        "fax",
        "SMTP:fax.example",
        "success_on = \"taken\"\nreader = \"leaves\"\nremove_after = \"1s\"",
    );
    let host = site.start();
    send(&host, &["left"]);
    let path = file(&site.drop_directory("fax"), "left@");
    assert_eq!(wait_for_event(&site, "left", "taken"), ["receive", "accept", "relay", "taken"]);
    eventually("the file to be gone", || (!path.exists()).then_some(()));
    host.stop();
    assert_eq!(site.audit()["relayed"], json!(1));
}
