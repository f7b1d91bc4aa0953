//! `postern drop status` and `postern drop doctor`, beside a running host and without one; and what tracking says of a file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use postern_tests::{Site, eventually, gateway, messages};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";

fn status(site: &Site) -> Value {
    site.ask(&["drop", "status", "fax"])[0].clone()
}

#[test]
fn the_status_says_what_lies_there_and_how_far_it_is_with_and_without_a_host() {
    let site = Site::new().foreign("fax", "SMTP:fax.example", "success_on = \"taken\"").foreign(
        "sms",
        "SMTP:sms.example",
        "",
    );
    let host = site.start();
    let mut client = host.client();
    for user in ["ann", "ben", "cat"] {
        client.submit(JO, &[&format!("{user}@fax.example")], &messages::simple(user));
    }
    let drop = site.drop_directory("fax");
    let files = eventually("three files", || Some(gateway::files(&drop)).filter(|files| files.len() == 3));
    fs::read(&files[0]).unwrap();
    fs::rename(&files[1], format!("{}.work", files[1].display())).unwrap();
    fs::remove_file(&files[2]).unwrap();
    let row = eventually("what the gateway did", || {
        let row = status(&site);
        let states = &row["states"];
        (states["published"] == 2 && states["claimed"] == 1 && states["seen"] == 1).then_some(row)
    });
    assert_eq!(
        (&row["state"], &row["files"], &row["taken_per_minute"]),
        (&json!("ready"), &json!(2), &json!(1))
    );
    assert!(row["last_pickup"].is_string() && row["oldest"].is_string(), "{row}");
    assert_eq!((&row["counts"]["published"], &row["counts"]["taken"]), (&json!(3), &json!(1)));
    assert_eq!(site.ask(&["drop", "status"]).as_array().unwrap().len(), 2);
    assert_eq!(site.cli(&["drop", "status", "pbx"]).code, 1);
    host.stop();

    let row = status(&site);
    assert_eq!(
        (&row["state"], &row["files"], &row["states"]["published"]),
        (&json!("stopped"), &json!(2), &json!(2))
    );
    assert_eq!((&row["last_pickup"], &row["states"]["seen"]), (&Value::Null, &Value::Null));
    fs::remove_dir_all(site.drop_directory("sms")).unwrap();
    let all = site.ask(&["drop", "status"]);
    assert!(all[1]["reason"].as_str().unwrap().contains("does not exist"), "{all}");
}

#[test]
fn what_the_gateway_did_with_a_file_is_tracked_with_its_times() {
    let lines = "success_on = \"taken\"\nunclaimed_warn_after = \"1s\"";
    let site = Site::new().foreign("fax", "SMTP:fax.example", lines);
    let host = site.start();
    host.client().submit(JO, &["ann@fax.example"], &messages::simple("ann"));
    let drop = site.drop_directory("fax");
    let file = eventually("the file", || gateway::files(&drop).pop());
    let told = |what: &str| {
        eventually(what, || {
            let events = site.ask(&["track", "--recipient", "ann@fax.example"]);
            events.as_array().unwrap().iter().find(|e| e["details"].to_string().contains(what)).cloned()
        })
    };
    assert_eq!(told(r#"["stage","stale"]"#)["event"], "receipt");
    let claimed = format!("{}.work", file.display());
    fs::rename(&file, &claimed).unwrap();
    eventually("the claim to be seen", || (status(&site)["states"]["claimed"] == 1).then_some(()));
    fs::OpenOptions::new().write(true).truncate(true).open(&claimed).unwrap();
    assert!(told(r#"["stage","misuse"]"#)["response"].as_str().unwrap().contains("emptied"));
    fs::remove_file(&claimed).unwrap();
    told("claimed-as");
    let taken = site.ask(&["track", "--recipient", "ann@fax.example", "--event", "taken"]);
    let details = taken[0]["details"].to_string();
    assert!(details.contains("claimed-at") && details.contains(".work"), "{details}");
    host.stop();
    site.audit();
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let site = Site::new().foreign("fax", "SMTP:fax.example", "").foreign(
        "sms",
        "SMTP:sms.example",
        "drop_directory = \"drop/missing\"",
    );
    let well = site.cli(&["drop", "doctor", "fax"]);
    assert_eq!(well.code, 0, "{well:?}");
    let found = |answer: &Value, what: &str| {
        let findings = answer[0]["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|f| f["what"] == what).unwrap_or_else(|| panic!("no {what} in {answer}"))
    };
    for what in ["rename", "clock", "case", "names", "space"] {
        assert_eq!(found(&well.json(), what)["what"], what);
    }
    let ill = site.cli(&["drop", "doctor", "sms"]);
    assert_eq!(ill.code, 1, "{ill:?}");
    let missing = found(&ill.json(), "directory");
    assert_eq!(missing["level"], "fault");
    assert!(missing["what_to_do"].as_str().unwrap().contains("create"), "{missing}");
    assert_eq!(site.cli(&["drop", "doctor", "fax", "--user", "nobody-of-this-name"]).code, 1);
    let root = site.cli(&["drop", "doctor", "fax", "--user", "root"]);
    assert_eq!(found(&root.json(), "reader")["level"], "good");
}
