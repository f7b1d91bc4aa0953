//! Replay directories: messages come back with the envelopes that they were exported with.

use std::fs;
use std::path::{Path, PathBuf};

use postern_tests::gateway::{self, DropFile};
use postern_tests::smtp_sink::SmtpSink;
use postern_tests::{Site, eventually, http, messages};
use serde_json::Value;

/// The queue of the drop directory.
const QUEUE: &str = "pbx/SMTP:pbx.example";

fn site(receive: &str, lines: &str) -> Site {
    let site = Site::with("", receive).foreign("pbx", "SMTP:pbx.example", "");
    fs::create_dir(site.folder().join("replay")).expect("our own folder");
    site.section(&format!("[replay_directories.back]\ndirectory = \"replay\"\n{lines}"))
}

fn replay(site: &Site) -> PathBuf {
    site.folder().join("replay")
}

fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let whole = folder.join(format!(".{name}.part"));
    fs::write(&whole, content).expect("our own folder");
    fs::rename(whole, folder.join(name)).expect("our own folder");
}

fn dropped(site: &Site, count: usize) -> Vec<DropFile> {
    let directory = site.drop_directory("pbx");
    eventually(&format!("{count} drop files"), || {
        (gateway::files(&directory).len() >= count).then(|| gateway::read(&directory))
    })
}

fn reason(folder: &Path, stem: &str) -> String {
    let bad = folder.join(format!("{stem}.bad"));
    eventually(&format!("{stem}.bad"), || bad.exists().then_some(()));
    fs::read_to_string(folder.join(format!("{stem}.reason.txt"))).expect("our own folder")
}

/// The only queued message, as `message show` has it.
fn only_message(site: &Site) -> Value {
    let has_one = |queue: &Value| queue["count"] == 1;
    eventually("a queued message", || site.queue("pbx").filter(has_one));
    let shown = site.ask(&["queue", "show", QUEUE]);
    let items = &shown[0]["items"];
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{shown}");
    site.ask(&["message", "show", items[0]["message_id"].as_str().unwrap_or_default()])
}

#[test]
fn the_envelope_is_that_of_the_block() {
    let sink = SmtpSink::start();
    let site = site("", "").send("away", "SMTP:away.example", sink.address(), "");
    let host = site.start();
    let file = "X-sender: <jo@home.example> BODY=8bitmime RET=HDRS ENVID=a17 auth=<>\r\n\
        X-Receiver: <ann@away.example>\r\n ORCPT=rfc822;Ann@away.example NOTIFY=SUCCESS,FAILURE; X-ExtendedProps=BQAV\r\n\
        X-CreatedBy: MSExchange15\r\nX-HeloDomain: EX1.corp.example\r\nX-ExtendedProps: BQBj\r\n\
        X-Source: SMTP:Default EX1\r\nX-SourceIPAddress: 10.0.0.1\r\nX-EndOfInjectedXHeaders: 50610\r\n\
        Received: from a by b; Mon, 2 Mar 2026 12:00:00 +0000\r\nFrom: jo@home.example\r\nTo: list@pbx.example\r\n\
        Bcc: ben@pbx.example\r\nDate: Mon, 2 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@home.example>\r\n\
        X-MS-Exchange-Organization-SCL: -1\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n";
    put(&replay(&site), "export.eml", file);
    let arrived = sink.wait_for(1).remove(0);
    assert_eq!(
        (arrived.sender.as_str(), &arrived.recipients[..]),
        ("jo@home.example", &["ann@away.example".to_owned()][..])
    );
    let mail = &arrived.received.mail.params;
    assert_eq!(mail.envelope_id.as_deref(), Some("a17"));
    assert_eq!(mail.ret, Some(postern_smtp::Ret::Headers));
    let rcpt = &arrived.received.recipients[0].params;
    assert_eq!(rcpt.original.as_ref().unwrap().address, "Ann@away.example");
    assert!(rcpt.notify.unwrap().success && !rcpt.notify.unwrap().delay);
    let text = arrived.text();
    assert!(text.contains("with REPLAY") && text.contains("EX1.corp.example"), "{text}");
    assert!(
        text.contains("Received: from a by b") && text.ends_with("\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n"),
        "{text}"
    );
    for gone in ["Organization-SCL", "X-Receiver", "X-ExtendedProps", "X-EndOfInjected", "Bcc"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    // To and Cc play no part.
    assert!(gateway::files(&site.drop_directory("pbx")).is_empty());
    assert_eq!(site.audit()["accepted"], 1);
    host.stop();
}

#[test]
fn a_file_without_an_envelope_is_set_aside() {
    let site = site("", "");
    let host = site.start();
    put(&replay(&site), "plain.eml", "From: jo@home.example\nTo: ann@pbx.example\n\nhello\n");
    assert!(reason(&replay(&site), "plain").contains("X-Sender"));
    put(&replay(&site), "nobody.eml", "X-Sender: <jo@home.example>\nFrom: jo@home.example\n\nhello\n");
    assert!(reason(&replay(&site), "nobody").contains("X-Receiver"));
    put(&replay(&site), "null.eml", "X-Sender: <>\nX-Receiver: <x@nowhere.example>\nFrom: a@b\n\nhello\n");
    assert!(reason(&replay(&site), "null").contains("nobody can be told"));
    assert_eq!(site.audit()["accepted"], 0);
    host.stop();
}

#[test]
fn an_export_comes_back_as_it_was_and_one_that_was_changed_as_anybodys_file() {
    let site = site("must_deliver = true", "");
    let host = site.start();
    site.order(&["queue", "suspend", QUEUE]);
    let message = messages::binary("exported");
    let mut client = host.client();
    let id = client.submit_binary("jo@home.example", &["ann@pbx.example", "ben@pbx.example"], &message);
    let before = only_message(&site);
    let item = format!("{id}.0");
    let file = site.folder().join("item.eml");
    let exported = site.ask(&["message", "export", &item, "--to", file.to_str().unwrap()]);
    assert_eq!(exported["recipients"], 2);
    let again = site.cli(&["message", "export", &item, "--to", file.to_str().unwrap()]);
    assert_ne!(again.code, 0, "nothing is overwritten: {again:?}");
    assert_eq!(site.audit()["accepted"], 2, "it is still in its queue");
    site.order(&["message", "remove", &id]);

    let export = fs::read(&file).unwrap();
    assert!(export.ends_with(&message));
    // One changed byte of the message, and it is not ours any more.
    let mut changed = export.clone();
    *changed.last_mut().unwrap() ^= 1;
    put(&replay(&site), "changed.eml", &changed);
    let strange = only_message(&site);
    assert_eq!(strange["envelope"]["must_deliver"], false, "{strange}");
    site.order(&["message", "remove", strange["message_id"].as_str().unwrap()]);

    put(&replay(&site), "export.eml", &export);
    let after = only_message(&site);
    for key in ["must_deliver", "reverse_path", "body", "priority", "helo", "envelope_id", "ret"] {
        assert_eq!(after["envelope"][key], before["envelope"][key], "{key}");
    }
    assert_eq!(after["envelope"]["must_deliver"], true);
    site.order(&["queue", "resume", QUEUE]);
    let files = dropped(&site, 1);
    assert_eq!(files[0].recipients(), ["ann@pbx.example", "ben@pbx.example"]);
    let body = |bytes: &[u8]| {
        let at = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap();
        bytes[at..].to_vec()
    };
    assert!(body(files[0].message()) == body(&message), "the body changed");
    host.stop();
    site.audit();
}

#[test]
fn an_export_of_a_stopped_host_is_known_again() {
    let site = site("must_deliver = true", "");
    let host = site.start();
    site.order(&["queue", "suspend", QUEUE]);
    let id =
        host.client().submit("jo@home.example", &["ann@pbx.example"], &messages::sized("large", 600_000));
    host.stop();
    let file = site.folder().join("item.eml");
    site.order(&["message", "export", &format!("{id}.0"), "--to", file.to_str().unwrap()]);
    site.order(&["message", "remove", &id]);
    fs::rename(&file, replay(&site).join("item.eml")).unwrap();
    let host = site.start();
    assert_eq!(only_message(&site)["envelope"]["must_deliver"], true);
    host.stop();
    assert_eq!(fs::read_dir(replay(&site).join(".taken")).unwrap().count(), 0);
    site.audit();
}

#[test]
fn a_drop_file_of_the_exchange_profile_comes_back_and_does_not_go_round_for_ever() {
    let site = Site::new()
        .foreign("pbx", "SMTP:pbx.example", "profile = \"exchange\"")
        .section("[replay_directories.back]\ndirectory = \"replay\"\ncreate_directory = true\nmax_hops = 3");
    let host = site.start();
    eventually("the folder", || replay(&site).join(".taken").exists().then_some(()));
    let mut client = host.client();
    let message = "Subject: round\r\nX-MS-Exchange-Organization-SCL: -1\r\nX-Receiver: <evil@pbx.example>\r\n folded\r\n\
                   Date: Mon, 2 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@home.example>\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n";
    assert_eq!(client.command("MAIL FROM:<jo@home.example> RET=HDRS ENVID=17 BODY=8BITMIME").code, 250);
    let rcpt = "RCPT TO:<ann@pbx.example> NOTIFY=NEVER ORCPT=rfc822;Ann+2B1@x.example";
    assert_eq!(client.command(rcpt).code, 250);
    assert_eq!(client.data(message.as_bytes()).unwrap().code, 250);
    let mut blocks = Vec::new();
    for hops in 1..=4 {
        let file = String::from_utf8(dropped(&site, 1).remove(0).bytes).unwrap();
        let (block, rest) = file.split_once("X-EndOfInjectedXHeaders: ").unwrap();
        assert!(rest.ends_with("\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n"), "{rest}");
        assert_eq!(rest.matches("\r\nReceived: ").count(), hops, "{rest}");
        assert!(!rest.contains("Organization-SCL") && !rest.contains("evil"), "{rest}");
        blocks.push(block.lines().take(2).map(str::to_owned).collect::<Vec<_>>());
        let path = gateway::files(&site.drop_directory("pbx")).remove(0);
        fs::rename(path, replay(&site).join("again.eml")).unwrap();
    }
    assert_eq!(
        blocks[0],
        [
            "X-Sender: <jo@home.example> BODY=8BITMIME RET=HDRS ENVID=17",
            "X-Receiver: <ann@pbx.example> NOTIFY=NEVER ORCPT=rfc822;Ann+2B1@x.example"
        ]
    );
    assert!(blocks.iter().all(|block| *block == blocks[0]), "{blocks:?}");
    // Four hops are more than three, and its sender wants no word of it.
    eventually("the end of the loop", || {
        let log = http::get(host.admin(), "/metrics").1;
        log.contains("postern_pickup_files_total{connector=\"back\",what=\"unreported\"} 1").then_some(())
    });
    assert!(gateway::files(&site.drop_directory("pbx")).is_empty());
    host.stop();
}
