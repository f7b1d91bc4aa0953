//! Pickup directories: files become messages, once, whatever is put there and whenever the host dies.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use postern_tests::gateway::{self, DropFile};
use postern_tests::smtp_sink::SmtpSink;
use postern_tests::{Gateway, Site, eventually, http, messages};

/// Rounds of load and kill -9; the variable `POSTERN_KILL_ROUNDS` asks for more of them.
const ROUNDS: usize = 5;

fn rounds() -> usize {
    let asked = std::env::var("POSTERN_KILL_ROUNDS").ok();
    asked.map_or(ROUNDS, |text| text.parse().expect("POSTERN_KILL_ROUNDS is a number"))
}

/// A site with a drop directory for `pbx.example` and a pickup directory `apps` at `pickup/`.
fn site(lines: &str) -> Site {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    fs::create_dir(site.folder().join("pickup")).expect("our own folder");
    site.section(&format!("[pickup_directories.apps]\ndirectory = \"pickup\"\n{lines}"))
}

fn pickup(site: &Site) -> PathBuf {
    site.folder().join("pickup")
}

/// Puts a file there as a program should: whole, by a rename.
fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let whole = folder.join(format!(".{name}.part"));
    fs::write(&whole, content).expect("our own folder");
    fs::rename(whole, folder.join(name)).expect("our own folder");
}

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).expect("our own folder").map(|entry| entry.expect("our own folder").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name != ".taken");
    names.sort();
    names
}

/// Files that were taken and are not finished with.
fn taken(folder: &Path) -> usize {
    fs::read_dir(folder.join(".taken")).expect("our own folder").count()
}

fn dropped(site: &Site, count: usize) -> Vec<DropFile> {
    let directory = site.drop_directory("pbx");
    eventually(&format!("{count} drop files"), || {
        (gateway::files(&directory).len() >= count).then(|| gateway::read(&directory))
    })
}

fn wait_until_empty(folder: &Path) {
    eventually("an empty pickup directory", || {
        (names(folder).is_empty() && taken(folder) == 0).then_some(())
    });
}

/// The reason beside a bad file.
fn reason(folder: &Path, stem: &str) -> String {
    let (bad, reason) = (folder.join(format!("{stem}.bad")), folder.join(format!("{stem}.reason.txt")));
    eventually(&format!("{stem}.bad"), || fs::symlink_metadata(&bad).is_ok().then_some(()));
    fs::read_to_string(reason).expect("our own folder")
}

#[test]
fn a_file_becomes_a_message_with_a_repaired_header_and_is_gone() {
    let site = site("");
    let host = site.start();
    put(
        &pickup(&site),
        "a.eml",
        "From: Jo <jo@home.example>\nTo: ann@pbx.example\nBcc: ben@pbx.example\nSubject: hi\n\nGr\u{fc}\u{df}e\n.\n..\nend",
    );
    let files = dropped(&site, 1);
    let (trace, message) = files[0].split();
    assert_eq!(files[0].recipients(), ["ann@pbx.example", "ben@pbx.example"]);
    assert_eq!(trace[0], "Return-Path: <jo@home.example>");
    let received = trace.join("");
    assert!(
        received.contains("from localhost ([127.0.0.1])") && received.contains("with PICKUP"),
        "{received}"
    );
    let text = String::from_utf8(message.to_vec()).unwrap();
    let (header, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "Gr\u{fc}\u{df}e\r\n.\r\n..\r\nend");
    assert!(header.starts_with("From: Jo <jo@home.example>\r\nTo: ann@pbx.example\r\nSubject: hi\r\nDate: "));
    assert!(header.contains("\r\nMessage-ID: <") && !header.contains("ben@"), "{header}");
    wait_until_empty(&pickup(&site));
    assert_eq!(site.events("ben@pbx.example"), ["receive", "relay"]);
    let audit = site.audit();
    assert_eq!((&audit["accepted"], &audit["relayed"]), (&2.into(), &2.into()));
    host.stop();
}

#[test]
fn a_large_file_comes_out_byte_for_byte() {
    let site = site("");
    let host = site.start();
    let header = "From: jo@home.example\r\nTo: ann@pbx.example\r\nDate: Mon, 2 Mar 2026 12:00:00 +0000\r\n\
                  Message-ID: <1@home.example>\r\n";
    let message = [header.as_bytes(), &messages::sized("large", 3_000_000)].concat();
    put(&pickup(&site), "large.eml", &message);
    assert!(dropped(&site, 1)[0].message() == message, "the content changed");
    wait_until_empty(&pickup(&site));
    host.stop();
    site.audit();
}

#[test]
fn what_is_no_message_is_set_aside_with_its_reason_and_harms_nobody() {
    let site =
        site("max_messages_per_minute = \"unlimited\"\nmax_header_size = \"1KiB\"\nsettle_time = \"100ms\"");
    let (folder, outside) = (pickup(&site), site.folder().join("secret.eml"));
    fs::write(&outside, "From: jo@home.example\nTo: ann@pbx.example\n\nsecret").unwrap();
    symlink(&outside, folder.join("link.eml")).unwrap();
    symlink("/dev/zero", folder.join("zero.eml")).unwrap();
    fs::create_dir(folder.join("folder.eml")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("pipe.eml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let valid = "From: jo@home.example\nTo: ann@pbx.example\n";
    let bad = [
        ("empty", String::new(), "no header"),
        ("words", "hello\nthere\n".to_owned(), "line 1 of the header"),
        ("nul", format!("{valid}\na\0b"), "NUL in line 1"),
        ("cr", format!("{valid}\none\ntwo\rthree\n"), "in line 2"),
        ("nobody", "From: jo@home.example\n\n".to_owned(), "no recipient"),
        ("nosender", "To: ann@pbx.example\n\n".to_owned(), "neither From nor Sender"),
        ("header", format!("X: {}\n{valid}\n", "x".repeat(2000)), "max_header_size"),
        ("utf16", "\u{0}F\u{0}r".to_owned(), "NUL"),
        (
            "export",
            format!("X-Sender: <jo@home.example>\r\nX-Receiver: <ben@pbx.example>\r\n{valid}\r\n"),
            "replay",
        ),
    ];
    for (name, content, _) in &bad {
        put(&folder, &format!("{name}.eml"), content);
    }
    let host = site.start();
    for (name, _, expected) in &bad {
        let reason = reason(&folder, name);
        assert!(reason.contains(expected), "{name}: {reason}");
    }
    assert!(reason(&folder, "link").contains("symbolic link"));
    assert!(reason(&folder, "zero").contains("symbolic link"));
    assert!(reason(&folder, "folder").contains("directory"));
    assert!(reason(&folder, "pipe").contains("pipe"));
    assert!(fs::symlink_metadata(folder.join("pipe.bad")).unwrap().file_type().is_fifo());
    // The door is still open.
    put(&folder, "good.eml", format!("{valid}\nhello\n"));
    assert_eq!(dropped(&site, 1).len(), 1);
    assert!(outside.exists() && taken(&folder) == 0);
    assert_eq!(site.audit()["accepted"], 1);
    host.stop();
    // Bad files are not looked at again.
    let before = names(&folder);
    let host = site.start();
    put(&folder, "more.eml", format!("{valid}\nhello\n"));
    assert_eq!(dropped(&site, 2).len(), 2);
    host.stop();
    assert_eq!(names(&folder), before);
}

#[test]
fn a_file_that_is_still_written_waits_until_it_is_closed() {
    let site = site("settle_time = \"10m\"\npoll_interval = \"100ms\"");
    let host = site.start();
    let path = pickup(&site).join("slow.eml");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"From: jo@home.example\nTo: ann@pbx.example\n\nfirst\n").unwrap();
    // A second file shows that the folder was looked at meanwhile.
    put(&pickup(&site), "quick.eml", "From: jo@home.example\nTo: ann@pbx.example\n\nquick\n");
    assert_eq!(dropped(&site, 1).len(), 1);
    assert!(path.exists());
    file.write_all(b"second\n").unwrap();
    drop(file);
    let files = dropped(&site, 2);
    assert!(files.iter().any(|file| file.message().ends_with(b"\r\n\r\nfirst\r\nsecond\r\n")));
    host.stop();
    site.audit();
}

#[test]
fn a_file_with_a_second_name_and_one_that_cannot_be_read_stay() {
    let site = site("settle_time = \"0s\"\npoll_interval = \"100ms\"");
    let folder = pickup(&site);
    let text = "From: jo@home.example\nTo: ann@pbx.example\n\nhello\n";
    put(&folder, "linked.eml", text);
    fs::hard_link(folder.join("linked.eml"), site.folder().join("other")).unwrap();
    put(&folder, "closed.eml", text);
    fs::set_permissions(folder.join("closed.eml"), fs::Permissions::from_mode(0o000)).unwrap();
    let host = site.start();
    eventually("a word in the log", || host.log().contains("a second name").then_some(()));
    assert!(folder.join("linked.eml").exists());
    // The superuser reads everything.
    let is_root = rustix::process::geteuid().is_root();
    assert!(is_root || folder.join("closed.eml").exists());
    fs::remove_file(site.folder().join("other")).unwrap();
    fs::set_permissions(folder.join("closed.eml"), fs::Permissions::from_mode(0o600)).ok();
    assert_eq!(dropped(&site, 2).len(), 2);
    wait_until_empty(&folder);
    host.stop();
}

#[test]
fn the_sender_is_told_of_recipients_who_do_not_get_the_message() {
    let sink = SmtpSink::start();
    let site = site("max_recipients = 2\nrecipients = [\"*@pbx.example\", \"*@nowhere.example\"]").send(
        "home",
        "SMTP:home.example",
        sink.address(),
        "submitters = [\"receive:apps\"]",
    );
    let host = site.start();
    let folder = pickup(&site);
    put(
        &folder,
        "half.eml",
        "From: jo@home.example\nTo: ann@pbx.example, x@nowhere.example\nSubject: half\n\nhello\n",
    );
    let report = sink.wait_for(1).remove(0).text();
    assert!(report.contains("x@nowhere.example") && report.contains("5.4.4"), "{report}");
    assert!(report.contains("message/rfc822") && report.contains("Subject: half"), "{report}");
    assert!(!report.contains("Final-Recipient: rfc822;ann@pbx.example"), "{report}");
    assert_eq!(dropped(&site, 1)[0].recipients(), ["ann@pbx.example"]);
    put(
        &folder,
        "many.eml",
        "From: jo@home.example\nTo: a@pbx.example, b@pbx.example, c@pbx.example\n\nhello\n",
    );
    assert!(sink.wait_for(2)[1].text().contains("max_recipients"));
    put(&folder, "jail.eml", "From: jo@home.example\nTo: jo@home.example\n\nhello\n");
    assert!(sink.wait_for(3)[2].text().contains("may not be sent to from this directory"));
    wait_until_empty(&folder);
    // Nobody can be told: a person has to look.
    put(&folder, "lost.eml", "From: jo@nowhere.example\nTo: x@nowhere.example\n\nhello\n");
    let reason = reason(&folder, "lost");
    assert!(reason.contains("no connector") && reason.contains("cannot be told"), "{reason}");
    let audit = site.audit();
    assert_eq!((&audit["accepted"], &audit["generated"]), (&1.into(), &3.into()));
    host.stop();
}

#[test]
fn a_submitter_has_a_folder_and_may_send_only_as_agreed() {
    let mut site = Site::new().foreign("pbx", "SMTP:pbx.example", "submitters = [\"user:billing\"]");
    site = site.section(
        "[pickup_directories.apps]\ndirectory = \"pickup\"\ncreate_directory = true\n\
         [pickup_directories.apps.submitters.billing]\nsenders = [\"billing@home.example\"]\n\
         [pickup_directories.apps.submitters.hr]\nowners = [4294967294]\n\
         [pickup_directories.apps.submitters.other]\n",
    );
    let host = site.start();
    let folder = |name: &str| pickup(&site).join(name);
    eventually("the folders", || folder("other").join(".taken").exists().then_some(()));
    let text = |from: &str| format!("From: {from}@home.example\nTo: ann@pbx.example\n\nhello\n");
    put(&folder("billing"), "good.eml", text("billing"));
    assert_eq!(dropped(&site, 1).len(), 1);
    put(&folder("billing"), "forged.eml", text("boss"));
    assert!(reason(&folder("billing"), "forged").contains("(senders)"));
    put(&folder("hr"), "a.eml", text("hr"));
    assert!(reason(&folder("hr"), "a").contains("(owners)"));
    put(&folder("other"), "a.eml", text("other"));
    assert!(reason(&folder("other"), "a").contains("not allowed to send through connector pbx"));
    // With folders for submitters nothing is taken from the directory itself.
    put(&pickup(&site), "top.eml", text("billing"));
    put(&folder("billing"), "again.eml", text("billing"));
    assert_eq!(dropped(&site, 2).len(), 2);
    assert!(pickup(&site).join("top.eml").exists());
    host.stop();
}

#[test]
fn no_more_is_taken_in_a_minute_than_agreed() {
    let site = site("max_messages_per_minute = 3\nsettle_time = \"0s\"\npoll_interval = \"100ms\"");
    for number in 0..6 {
        put(
            &pickup(&site),
            &format!("{number}.eml"),
            "From: jo@home.example\nTo: ann@pbx.example\n\nhello\n",
        );
    }
    let host = site.start();
    assert_eq!(dropped(&site, 3).len(), 3);
    let waiting = "postern_pickup_waiting{connector=\"apps\"} 3";
    eventually("the metric", || http::get(host.admin(), "/metrics").1.contains(waiting).then_some(()));
    assert_eq!(names(&pickup(&site)), ["3.eml", "4.eml", "5.eml"]);
    host.stop();
}

#[test]
fn a_host_without_room_leaves_the_files_where_they_are() {
    let mut site = site("settle_time = \"0s\"");
    site.change("store_reserve = 0", "store_reserve = \"1TiB\"");
    let host = site.start();
    let folder = pickup(&site);
    put(&folder, "a.eml", "From: jo@home.example\nTo: ann@pbx.example\n\nhello\n");
    eventually("a file that was put back", || {
        (host.log().contains("a file has to wait") && names(&folder) == ["a.eml"]).then_some(())
    });
    host.stop();
    assert_eq!((names(&folder), taken(&folder)), (vec!["a.eml".to_owned()], 0));
    site.change("store_reserve = \"1TiB\"", "store_reserve = 0");
    let host = site.start();
    assert_eq!(dropped(&site, 1).len(), 1);
    wait_until_empty(&folder);
    host.stop();
    site.audit();
}

#[test]
fn a_reload_opens_changes_and_closes_a_directory() {
    let mut site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    site = site.section("[pickup_directories.apps]\ndirectory = \"pickup\"\ncreate_directory = true\n# end");
    assert_eq!(site.ask(&["reload"])["started"], serde_json::json!(["apps"]));
    let folder = pickup(&site);
    eventually("the folder", || folder.join(".taken").exists().then_some(()));
    let text = "From: jo@home.example\nTo: ann@pbx.example\n\nhello\n";
    put(&folder, "a.eml", text);
    assert_eq!(dropped(&site, 1).len(), 1);
    site.change("# end", "senders = [\"x@y\"]\n# end");
    assert_eq!(site.ask(&["reload"])["restarted"], serde_json::json!(["apps"]));
    put(&folder, "b.eml", text);
    assert!(reason(&folder, "b").contains("(senders)"));
    site.change("directory = \"pickup\"", "enabled = false\ndirectory = \"pickup\"");
    assert_eq!(site.ask(&["reload"])["stopped"], serde_json::json!(["apps"]));
    put(&folder, "c.eml", text);
    host.stop();
    assert!(folder.join("c.eml").exists());
}

/// Puts files there, some of them large, until told to stop.
fn feed(folder: &Path, writer: usize, stop: &AtomicBool, count: &AtomicUsize) -> BTreeSet<String> {
    let mut markers = BTreeSet::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let marker = format!("w{writer}-{number}");
        let body = "x".repeat(if number % 20 == 19 { 300_000 } else { 500 });
        let text = format!("From: jo@home.example\nTo: ann@pbx.example\nSubject: {marker}\n\n{body}\n");
        put(folder, &format!("{marker}.eml"), text);
        markers.insert(marker);
        count.fetch_add(1, Ordering::Relaxed);
        thread::yield_now();
    }
    markers
}

#[test]
fn nothing_is_lost_and_nothing_sent_twice_over_kill_9() {
    let site =
        site("max_messages_per_minute = \"unlimited\"\nsettle_time = \"0s\"\npoll_interval = \"100ms\"");
    let (folder, mut rng) = (pickup(&site), fastrand::Rng::new());
    let gateway = Gateway::start(site.drop_directory("pbx"));
    let mut expected = BTreeSet::new();
    for round in 0..rounds() {
        let host = site.start();
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let kill_after = rng.usize(1..=120);
        println!("round {round}: kill -9 after {kill_after} files");
        thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    let (folder, stop, count) = (&folder, &stop, &count);
                    scope.spawn(move || feed(folder, round * 10 + writer, stop, count))
                })
                .collect();
            eventually("files", || (count.load(Ordering::Relaxed) >= kill_after).then_some(()));
            host.kill();
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().for_each(|writer| expected.extend(writer.join().unwrap()));
        });
    }
    let host = site.start();
    wait_until_empty(&folder);
    eventually("an empty queue", || (site.ask(&["queue", "list"]) == serde_json::json!([])).then_some(()));
    let audit = site.audit();
    host.stop();
    let subject = |file: &DropFile| {
        let text = String::from_utf8_lossy(file.message()).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).unwrap()
    };
    let came: Vec<String> = gateway.stop().iter().map(subject).collect();
    let distinct: BTreeSet<String> = came.iter().cloned().collect();
    assert_eq!(came.len(), distinct.len(), "doubles");
    assert_eq!(distinct, expected, "losses");
    assert_eq!(audit["accepted"], expected.len());
    assert!(names(&folder).is_empty(), "{:?}", names(&folder));
}
