//! What operators order: queues and messages, on a running host and on the store of a stopped one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Host, Site, SmtpSink, WebhookServer, cli, dsn, eventually, gateway, messages};
use rustix::process::geteuid;
use serde_json::json;

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";
const QUEUE: &str = "hook/hook.example";
const UNKNOWN: &str = "00000000-0000-7000-8000-000000000000";

/// A site whose webhook answers "not now", so that its mail waits for an hour.
fn busy_site(server: &WebhookServer, sink: &SmtpSink) -> Site {
    Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "retry = \"1h\"").send(
        "out",
        "SMTP:*;50",
        sink.address(),
        "",
    )
}

/// Sends a message that the webhook defers once, and waits until it is put off.
fn deferred(site: &Site, host: &Host, server: &WebhookServer, subject: &str) -> String {
    server.answer(HttpAnswer::status(500));
    let id = host.client().submit(JO, &[ANN], &messages::simple(subject));
    eventually("a deferral", || {
        let rows = site.track(&["--message", &id, "--event", "defer"]);
        (!rows.is_empty()).then_some(())
    });
    id
}

fn empty(site: &Site) {
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
}

#[test]
fn a_queue_that_is_suspended_delivers_nothing_until_it_is_resumed() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = busy_site(&server, &sink);
    let host = site.start();
    let done = site.ask(&["queue", "suspend", QUEUE, "--reason", "maintenance"]);
    assert_eq!((&done["done"], &done["queues"]), (&json!(true), &json!([QUEUE])));
    let id = host.client().submit(JO, &[ANN], &messages::simple("held"));
    let queue = eventually("the queue", || site.queue("hook").filter(|queue| queue["count"] == 1));
    assert_eq!((&queue["state"], &queue["last_error"]), (&json!("suspended"), &json!("maintenance")));
    // "Try it now" for its message is no way round the suspension of the queue, and for the queue it says so.
    site.order(&["message", "retry", &id]);
    let refused = site.cli(&["queue", "retry", QUEUE]);
    assert_eq!(
        (refused.code, &refused.json()["queues"], &refused.json()["items"]),
        (1, &json!([]), &json!(0))
    );
    let left = refused.json()["left"][0].clone();
    assert_eq!(left["queue"], QUEUE);
    assert!(left["reason"].as_str().is_some_and(|why| why.contains("suspended (maintenance)")), "{left}");
    let dry = site.ask(&["queue", "resume", QUEUE, "--dry-run"]);
    assert_eq!((&dry["done"], &dry["items"]), (&json!(false), &json!(1)));
    assert_eq!(site.queue("hook").map(|queue| queue["state"].clone()), Some(json!("suspended")));

    host.stop();
    assert!(server.posted().is_empty());
    let host = site.start();
    assert_eq!(
        site.queue("hook").map(|queue| queue["state"].clone()),
        Some(json!("suspended")),
        "after a restart"
    );
    site.order(&["queue", "resume", "hook"]);
    assert_eq!(server.wait_for(1)[0].message_id(), id);
    empty(&site);
    let told = site.track(&["--event", "operate"]);
    let told: Vec<_> = told.iter().filter(|row| row["message_id"] == "").collect();
    let operations = ["suspend-queue", "resume-queue"].map(|name| json!(["operation", name]));
    assert_eq!(told.iter().map(|row| row["details"][0].clone()).collect::<Vec<_>>(), operations);
    assert_eq!((&told[0]["connector"], &told[0]["destination"]), (&json!("hook"), &json!("hook.example")));
    let details = json!([["operation", "suspend-queue"], ["by", "operator"], ["reason", "maintenance"]]);
    assert_eq!(told[0]["details"], details);
    site.audit();
    host.stop();
}

#[test]
fn the_queue_of_a_connector_that_is_off_or_gone_is_shown_and_not_retried() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = busy_site(&server, &sink);
    let host = site.start();
    deferred(&site, &host, &server, "waits");
    site.change("[delivery_agent_connectors.hook]", "[delivery_agent_connectors.hook]\nenabled = false");
    site.order(&["reload"]);
    let refused = |site: &Site, why: &str| {
        let answer = site.cli(&["queue", "retry", "hook"]);
        assert!(answer.code == 1 && answer.text().contains(why), "{answer:?}");
        assert_eq!(site.cli(&["queue", "retry", "hook", "--dry-run"]).code, 1);
    };
    assert_eq!(site.connector("hook")["state"], "off");
    refused(&site, "the connector is off");
    site.change("connectors.hook", "connectors.other");
    site.order(&["reload"]);
    let gone = site.connector("hook");
    assert_eq!((&gone["state"], &gone["queued"]), (&json!("gone"), &json!(1)));
    assert!(gone["reason"].as_str().is_some_and(|why| why.contains("not in the config")), "{gone}");
    refused(&site, "the connector is not in the config");
    host.stop();
    assert_eq!(site.connector("hook")["state"], "gone");
    refused(&site, "the connector is not in the config");
    assert_eq!(server.posted().len(), 1);
    site.audit();
}

#[test]
fn a_queue_that_waits_for_an_hour_is_tried_at_once_when_ordered() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = busy_site(&server, &sink);
    let host = site.start();
    let id = deferred(&site, &host, &server, "again");
    let shown = site.ask(&["queue", "show", "hook"]);
    let item = &shown[0]["items"][0];
    assert_eq!(
        (&item["message_id"], &item["attempts"], &item["sender"]),
        (&json!(id), &json!(1), &json!(JO))
    );
    assert!(item["last_error"].as_str().is_some_and(|e| e.contains("500")), "{item}");
    site.order(&["queue", "retry", QUEUE]);
    assert_eq!(server.wait_for(2)[1].message_id(), id);
    empty(&site);

    let id = deferred(&site, &host, &server, "and again");
    site.order(&["message", "retry", &id]);
    assert_eq!(server.wait_for(4)[3].message_id(), id);
    empty(&site);
    site.audit();
    host.stop();
}

#[test]
fn a_message_is_shown_and_removed_with_and_without_word_to_its_sender() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = busy_site(&server, &sink);
    let host = site.start();
    let told = deferred(&site, &host, &server, "told");
    let quiet = deferred(&site, &host, &server, "quiet");
    let shown = site.ask(&["message", "show", &told]);
    assert_eq!(shown["envelope"]["reverse_path"], JO, "{shown}");
    assert_eq!(shown["items"][0]["recipients"][0]["recipient"], ANN, "{shown}");
    assert_eq!(shown["subject"], "told");
    let dry = site.ask(&["message", "remove", &told, "--notify", "--dry-run"]);
    assert_eq!((&dry["done"], &dry["recipients"]), (&json!(false), &json!(1)));
    site.order(&["message", "show", &told]);

    site.order(&["message", "remove", &quiet]);
    site.order(&["message", "remove", &told, "--notify"]);
    let report = sink.wait_for(1)[0].text();
    assert_eq!(dsn::field(&dsn::status_fields(&report), "Action"), "failed");
    assert!(report.contains("Subject: told"), "{report}");
    empty(&site);
    assert_eq!(sink.arrived().len(), 1);
    assert_eq!(site.cli(&["message", "show", &told]).code, 1, "it is not in the queue any more");
    let audit = site.audit();
    // Who was told that it failed, failed in the books as well.
    let figures = ["removed", "failed", "generated", "relayed"].map(|name| audit[name].as_u64());
    assert_eq!(figures, [Some(1); 4], "{audit}");
    host.stop();
}

#[test]
fn all_of_it_works_while_the_host_is_stopped() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = busy_site(&server, &sink);
    let host = site.start();
    let ids = ["kept", "quiet", "told"].map(|subject| deferred(&site, &host, &server, subject));
    host.stop();

    assert_eq!(site.queue("hook").map(|queue| queue["count"].clone()), Some(json!(3)));
    assert_eq!(site.connector("hook")["state"], "stopped");
    assert_eq!(site.ask(&["message", "show", &ids[0]])["subject"], "kept");
    assert_eq!(site.events(ANN).len(), 6);
    site.order(&["queue", "suspend", QUEUE]);
    assert_eq!(site.queue("hook").map(|queue| queue["state"].clone()), Some(json!("suspended")));
    site.order(&["queue", "resume", QUEUE]);
    site.order(&["message", "remove", &ids[1]]);
    site.order(&["message", "remove", &ids[2], "--notify"]);
    site.order(&["queue", "retry", QUEUE]);
    let audit = site.audit();
    assert_eq!(["removed", "failed", "queued"].map(|name| audit[name].as_u64()), [Some(1); 3], "{audit}");
    assert!(sink.arrived().is_empty());

    let host = site.start();
    assert_eq!(server.wait_for(4)[3].message_id(), ids[0]);
    assert!(sink.wait_for(1)[0].text().contains("Subject: told"));
    empty(&site);
    site.audit();
    host.stop();
}

#[test]
fn a_message_that_is_suspended_stays_while_its_neighbours_go() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = busy_site(&server, &sink);
    let host = site.start();
    let stays = deferred(&site, &host, &server, "stays");
    let goes = deferred(&site, &host, &server, "goes");
    site.order(&["message", "suspend", &stays]);
    site.order(&["queue", "retry", QUEUE]);
    assert_eq!(server.wait_for(3)[2].message_id(), goes);
    let left = eventually("only one item", || site.queue("hook").filter(|queue| queue["count"] == 1));
    assert_eq!(left["suspended"], 1, "{left}");
    site.order(&["message", "resume", &stays]);
    assert_eq!(server.wait_for(4)[3].message_id(), stays);
    empty(&site);
    site.audit();
    host.stop();
}

/// The files below a folder, and their permission bits. Some may come and go meanwhile.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            found.extend(modes(&entry.path()));
        } else {
            found.push((entry.path(), about.permissions().mode() & 0o777));
        }
    }
    found
}

#[test]
fn what_the_host_writes_is_closed_to_other_users() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let site = busy_site(&server, &sink).foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    deferred(&site, &host, &server, "small");
    host.client().submit(JO, &["ben@hook.example"], &messages::sized("large", 400_000));
    host.client().submit(JO, &["ann@pbx.example"], &messages::simple("a file"));
    eventually("the file", || (!gateway::files(&site.drop_directory("pbx")).is_empty()).then_some(()));
    eventually("a tracking file", || modes(&site.data().join("tracking")).first().cloned());
    for (path, mode) in modes(&site.data()) {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    host.stop();
}

#[test]
fn a_second_host_on_the_same_data_directory_is_refused_and_told_who_has_it() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let (status, said) = Host::refused(site.folder(), &site.config());
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains(&host.pid().to_string()), "no pid {} in {said}", host.pid());
    host.client().submit(JO, &["ann@pbx.example"], &messages::simple("still here"));
    eventually("the file", || (!gateway::files(&site.drop_directory("pbx")).is_empty()).then_some(()));
    assert_eq!(site.ask(&["queue", "list"]), json!([]), "the control socket is still the first host's");
    host.stop();
}

/// A data directory that is not ours: we give ours away when we are root; else root has some to offer.
fn give_data_away(site: &mut Site) {
    if geteuid().is_root() {
        chown(site.data(), Some(65_534), None).expect("root may give it away");
    } else {
        site.change("store_reserve", "data_directory = \"/usr\"\nstore_reserve");
    }
}

#[test]
fn a_stopped_host_of_another_user_is_not_touched_and_who_looks_is_told_why() {
    let mut site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    host.client().submit(JO, &["ann@pbx.example"], &messages::simple("theirs"));
    eventually("the hand-over in the books", || (site.audit()["relayed"] == 1).then_some(()));
    host.stop();
    let before: BTreeSet<PathBuf> = modes(&site.data()).into_iter().map(|(path, _)| path).collect();
    give_data_away(&mut site);
    for words in
        [&["queue", "list"][..], &["track"], &["audit"], &["queue", "suspend", "pbx/SMTP:pbx.example"]]
    {
        let refused = site.cli(words);
        assert_eq!(refused.code, 3, "{words:?}: {refused:?}");
        let why = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(why.contains("belongs to") && why.contains("do this as"), "{why}");
    }
    let after: BTreeSet<PathBuf> = modes(&site.data()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(before, after);
}

#[test]
fn who_looks_at_a_host_that_never_ran_makes_nothing() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    for words in [&["queue", "list"][..], &["connector", "list"], &["track"], &["audit"]] {
        let refused = site.cli(words);
        assert_eq!(refused.code, 3, "{words:?}: {refused:?}");
        assert!(refused.text().contains("no data directory"), "{refused:?}");
    }
    assert!(!site.data().exists());
}

#[test]
fn unknown_queues_and_messages_are_no_and_wrong_words_are_wrong_usage() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let mut host = Some(site.start());
    eventually("an open directory", || (site.connector("pbx")["state"] == "ready").then_some(()));
    for state in ["running", "stopped"] {
        let no = [
            &["queue", "suspend", "nowhere"][..],
            &["message", "show", UNKNOWN],
            &["explain", "a@nowhere.example"],
            &["track", "--message", UNKNOWN],
        ];
        for words in no {
            assert_eq!(site.cli(words).code, 1, "{words:?} with the host {state}");
        }
        let config = site.config();
        let plain = cli::run(&["track", "--message", UNKNOWN, "--config", config.to_str().unwrap()]);
        assert_eq!((plain.code, &*plain.stdout), (1, "no events\n"), "as with --json: {plain:?}");
        assert_eq!(site.cli(&["message", "show", "no-id"]).code, 2, "with the host {state}");
        for verb in ["resume", "retry"] {
            let words = ["queue", verb, "pbx", "--reason", "nobody would read it"];
            assert_eq!(site.cli(&words).code, 2, "queue {verb} with the host {state}");
        }
        assert!(site.cli(&["message", "show", UNKNOWN]).json()["error"].is_string());
        assert_eq!(site.ask(&["explain", "ann@pbx.example"])["connector"], "pbx");
        assert_eq!(site.ask(&["check"])["ok"], true);
        if let Some(host) = host.take() {
            host.stop();
        }
    }
}
