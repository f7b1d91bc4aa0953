//! The audit names what is missing or too much, when somebody tampered with a stopped host's files.

use std::fs;

use postern_tests::{Answer, Host, Site, SmtpSink, WebhookServer, eventually, gateway, messages};
use rusqlite::Connection;

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";

/// A stopped host with one small and one large message in a suspended queue; with their ids.
fn stopped_site(server: &WebhookServer) -> (Site, [String; 2]) {
    let site = Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "").foreign(
        "pbx",
        "SMTP:pbx.example",
        "",
    );
    let host = site.start();
    site.order(&["queue", "suspend", "hook/hook.example"]);
    let small = host.client().submit(JO, &[ANN], &messages::simple("small"));
    let large = host.client().submit(JO, &["ben@hook.example"], &messages::sized("large", 400_000));
    host.stop();
    site.audit();
    (site, [small, large])
}

fn database(site: &Site) -> Connection {
    Connection::open(site.data().join("queue.db")).expect("the queue database is there")
}

/// Changes something in the queue database of a stopped host; it must change one row.
fn tamper(site: &Site, sql: &str, parameter: &str) {
    let changed = database(site).execute(sql, [parameter]).expect("the queue database can be written");
    assert_eq!(changed, 1, "{sql}");
}

/// The audit says no, and names each of these.
fn names(site: &Site, words: &[&str]) -> Answer {
    let answer = site.cli(&["audit"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.json()["balanced"], false);
    let faults = answer.json()["faults"].to_string();
    for word in words {
        assert!(faults.contains(word), "no {word} in {faults}");
    }
    answer
}

/// The row number of a message, as text.
fn sequence(site: &Site, id: &str) -> String {
    let sql = "SELECT seq FROM messages WHERE lower(hex(id)) = replace(?1, '-', '')";
    let row = database(site).query_row(sql, [id], |row| row.get::<_, i64>(0));
    row.expect("the message is in the queue database").to_string()
}

#[test]
fn an_item_that_was_deleted_is_named_by_its_recipient_and_message() {
    let server = WebhookServer::start();
    let (site, [small, _]) = stopped_site(&server);
    let row = sequence(&site, &small);
    tamper(&site, "DELETE FROM items WHERE key / 65536 = CAST(?1 AS INTEGER)", &row);
    names(&site, &[ANN, &small]);
}

#[test]
fn a_message_that_was_deleted_with_its_item_is_named() {
    let server = WebhookServer::start();
    let (site, [small, _]) = stopped_site(&server);
    let row = sequence(&site, &small);
    tamper(&site, "DELETE FROM items WHERE key / 65536 = CAST(?1 AS INTEGER)", &row);
    tamper(&site, "DELETE FROM messages WHERE seq = CAST(?1 AS INTEGER)", &row);
    names(&site, &[ANN, &small]);
}

#[test]
fn a_body_that_was_changed_in_the_database_is_named() {
    let server = WebhookServer::start();
    let (site, [small, _]) = stopped_site(&server);
    let row = sequence(&site, &small);
    tamper(
        &site,
        "UPDATE messages SET body = CAST(body || ' ' AS BLOB) WHERE seq = CAST(?1 AS INTEGER)",
        &row,
    );
    names(&site, &[&small]);
}

#[test]
fn a_body_file_that_was_deleted_or_changed_is_named() {
    let server = WebhookServer::start();
    let (site, [_, large]) = stopped_site(&server);
    let folders = fs::read_dir(site.data().join("big")).unwrap().map(|entry| entry.unwrap().path());
    let file = folders.map(|folder| folder.join(&large)).find(|path| path.is_file()).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[200_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    names(&site, &[&large]);
    bytes[200_000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    site.audit();
    fs::remove_file(&file).unwrap();
    names(&site, &[&large]);
}

#[test]
fn a_counter_that_was_changed_is_named() {
    let server = WebhookServer::start();
    let (site, _) = stopped_site(&server);
    tamper(&site, "UPDATE counters SET value = value + 1 WHERE name = ?1", "accepted");
    names(&site, &["`accepted` says 3, the events say 2"]);
}

#[test]
fn a_drop_file_that_went_while_nobody_looked_is_named_until_the_host_has_recorded_it() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let id = host.client().submit(JO, &["ann@pbx.example"], &messages::simple("gone"));
    let drop = site.drop_directory("pbx");
    eventually("the file", || (!gateway::files(&drop).is_empty()).then_some(()));
    eventually("the hand-over in the books", || (site.audit()["relayed"] == 1).then_some(()));
    host.stop();
    site.audit();
    assert_eq!(gateway::take(&drop).len(), 1);
    names(&site, &[&format!("{id}.0.eml"), &id]);

    let host = site.start();
    eventually("the pickup in the tracking", || {
        site.events("ann@pbx.example").contains(&"taken".to_owned()).then_some(())
    });
    site.audit();
    host.stop();
}

#[test]
fn a_running_host_is_audited_as_well_and_balances_under_load() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = Site::new()
        .webhook("hook", "SMTP:hook.example", &server.url(), "", "")
        .foreign("pbx", "SMTP:pbx.example", "")
        .send("out", "SMTP:*;50", sink.address(), "");
    let host = site.start();
    load(&host);
    let audit = eventually("all of it decided", || {
        let audit = site.audit();
        (audit["queued"] == 0).then_some(audit)
    });
    assert_eq!(
        (&audit["accepted"], &audit["delivered"], &audit["relayed"]),
        (&300.into(), &100.into(), &200.into())
    );
    host.stop();
}

fn load(host: &Host) {
    let mut client = host.client();
    for number in 0..100 {
        let to = [ANN, "ann@pbx.example", "ann@elsewhere.example"];
        client.submit(JO, &to, &messages::simple(&format!("load-{number}")));
    }
}

#[test]
fn a_tracking_file_that_is_just_being_made_is_no_obstacle() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    host.client().submit(JO, &["ann@pbx.example"], &messages::simple("tracked"));
    eventually("the hand-over in the books", || (site.audit()["relayed"] == 1).then_some(()));
    // What a reader meets when the host has made the file and not yet its tables, or was killed between the two.
    fs::create_dir_all(site.data().join("tracking")).unwrap();
    fs::write(site.data().join("tracking/2026-01-01.db"), "").unwrap();
    assert_eq!(site.events("ann@pbx.example"), ["receive", "relay"]);
    site.audit();
    host.stop();
}
