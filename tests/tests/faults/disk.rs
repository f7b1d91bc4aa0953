//! Disks that are full, that allow no larger file, or whose sync fails. Whatever they do, a 250 is a promise.

use std::fs;
use std::path::PathBuf;
use std::thread;

use postern_tests::{Site, SmtpSink, eventually, http};
use serde_json::json;

use crate::load::{Accepted, Sent, arrived, lost, send, send_until_refused};
use crate::special_host::{AtLimit, SpecialHost, limited, shimmed};

/// A recipient whose mail is delivered at once, and one whose queue is suspended so that the disk fills.
const BOTH: [&str; 2] = ["ann@live.example", "ben@held.example"];

/// A message that lies in the database, and one that is a file beside it.
const SMALL: usize = 60_000;
const LARGE: usize = 700_000;

/// A host that stays when its store has stopped, so that it can be seen what it says then.
fn site(sink: &SmtpSink) -> Site {
    with_ways_out(Site::with("on_store_failure = \"stay\"", ""), sink)
}

fn with_ways_out(site: Site, sink: &SmtpSink) -> Site {
    site.send("live", "SMTP:live.example", sink.address(), "retry = \"200ms\"").send(
        "held",
        "SMTP:held.example",
        sink.address(),
        "",
    )
}

/// The queue to a smart host is called by its address.
fn hold(site: &Site, sink: &SmtpSink) {
    site.order(&["queue", "suspend", &format!("held/{}", sink.address())]);
}

/// The file whose being there makes a shim do its work.
fn trigger(site: &Site) -> PathBuf {
    site.folder().join("trigger")
}

/// The reply to a message that was refused for a time.
fn temporary(sent: &Sent) -> u16 {
    let Sent::Refused(reply) = sent else { panic!("{sent:?} where the client was to be told to come again") };
    assert!(matches!(reply.code, 451 | 452), "{reply:?}");
    reply.code
}

/// Starts a host on a sound disk: all that was accepted comes out, the live recipient's and the held one's.
fn nothing_is_lost(site: &Site, sink: &SmtpSink, accepted: &Accepted) {
    assert!(!accepted.all().is_empty(), "nothing was accepted, so nothing was tested");
    let host = site.start();
    site.order(&["queue", "resume", "held"]);
    eventually("empty queues on a sound disk", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    let found = arrived(sink);
    assert_eq!(lost(accepted, &found), [""; 0]);
    for recipient in BOTH {
        let count = sink.arrived().iter().filter(|m| m.recipients == [recipient]).count();
        assert!(count >= accepted.all().len(), "only {count} messages for {recipient}");
    }
    let audit = site.audit();
    assert_eq!(audit["queued"], 0, "{audit}");
    assert_eq!(audit["relayed"], audit["accepted"], "{audit}");
    host.stop();
    site.audit();
    let incoming: Vec<_> = fs::read_dir(site.data().join("incoming")).unwrap().flatten().collect();
    assert!(incoming.is_empty(), "{incoming:?}");
}

/// Fills a host under a limit on the size of its files, then starts it again without.
fn at_the_file_size_limit(at_limit: AtLimit) {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let mut host = SpecialHost::start(&site, limited(&site, 6 * 1024, at_limit));
    hold(&site, &sink);
    let accepted = Accepted::default();
    let sent = send_until_refused(host.smtp(), &BOTH, "small", SMALL, &accepted);
    println!("{} accepted, then {sent:?}", accepted.all().len());
    if matches!(sent, Sent::Broken) {
        let status = eventually("the end of a host that broke off", || host.ended());
        panic!("a file that cannot grow ended the host: {status}");
    }
    temporary(&sent);
    temporary(&send(host.smtp(), &BOTH, "small-again", SMALL));
    temporary(&send(host.smtp(), &BOTH, "large", LARGE));
    assert_eq!(http::get(host.admin(), "/livez").0, 200);
    let (status, why) = http::get(host.admin(), "/readyz");
    assert_eq!(status, 503, "{why}");
    let status = host.stop();
    assert!(status.success(), "the host ended with {status}");
    nothing_is_lost(&site, &sink, &accepted);
}

#[test]
fn a_host_at_its_file_size_limit_lives_on_and_refuses_and_loses_nothing() {
    at_the_file_size_limit(AtLimit::Signal);
}

#[test]
fn a_host_whose_writes_fail_at_a_file_size_limit_refuses_and_loses_nothing() {
    at_the_file_size_limit(AtLimit::Error);
}

#[test]
fn one_message_that_is_larger_than_a_file_may_be_is_refused_and_the_next_is_taken() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let mut host = SpecialHost::start(&site, limited(&site, 6 * 1024, AtLimit::Error));
    let accepted = Accepted::default();
    let sent = send(host.smtp(), &BOTH, "huge", 8 << 20);
    assert!(!matches!(sent, Sent::Accepted), "{sent:?}");
    assert_eq!(host.ended(), None);
    for number in 0..3 {
        let marker = format!("after-{number}");
        let sent = send(host.smtp(), &BOTH, &marker, SMALL);
        assert!(matches!(sent, Sent::Accepted), "{sent:?}");
        accepted.add(marker);
    }
    assert!(host.stop().success());
    nothing_is_lost(&site, &sink, &accepted);
}

#[test]
fn a_full_disk_refuses_messages_and_takes_them_again_when_there_is_room() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let trigger = trigger(&site);
    let mut host = SpecialHost::start(&site, shimmed(&site, "full_disk", &trigger));
    hold(&site, &sink);
    let accepted = Accepted::default();
    for number in 0..5 {
        let marker = format!("before-{number}");
        let sent = send(host.smtp(), &BOTH, &marker, if number == 4 { LARGE } else { SMALL });
        assert!(matches!(sent, Sent::Accepted), "{sent:?}");
        accepted.add(marker);
    }
    fs::write(&trigger, "").unwrap();
    assert_eq!(temporary(&send(host.smtp(), &BOTH, "full", SMALL)), 452);
    assert_eq!(temporary(&send(host.smtp(), &BOTH, "full-large", LARGE)), 452);
    let (status, why) = http::get(host.admin(), "/readyz");
    assert!(status == 503 && why.contains("full"), "{status} {why}");
    assert!(host.log().contains("the store takes no messages"), "the log does not say so");
    assert_eq!(host.ended(), None);

    fs::remove_file(&trigger).unwrap();
    eventually("the host to find room by itself", || {
        (http::get(host.admin(), "/readyz").0 == 200).then_some(())
    });
    assert!(host.log().contains("the store takes messages again"), "the log does not say so");
    let sent = send(host.smtp(), &BOTH, "after", SMALL);
    assert!(matches!(sent, Sent::Accepted), "{sent:?}");
    accepted.add("after".to_owned());
    let sent = send(host.smtp(), &BOTH, "after-large", LARGE);
    assert!(matches!(sent, Sent::Accepted), "{sent:?}");
    accepted.add("after-large".to_owned());
    assert_eq!(http::get(host.admin(), "/readyz").0, 200);
    site.audit();
    assert!(host.stop().success());
    nothing_is_lost(&site, &sink, &accepted);
}

#[test]
fn a_large_message_that_finds_no_room_on_its_way_in_is_answered_with_452() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let trigger = trigger(&site);
    let host = SpecialHost::start(&site, shimmed(&site, "full_disk", &trigger));
    fs::write(&trigger, "").unwrap();
    // Nobody has found out yet that the disk is full, so that the content itself is what meets it.
    assert_eq!(temporary(&send(host.smtp(), &BOTH, "large", LARGE)), 452);
    fs::remove_file(&trigger).unwrap();
    assert_eq!(site.ask(&["queue", "list"]), json!([]));
    assert!(host.stop().success());
    site.audit();
}

/// Clients that send at once until they are refused, while the disk begins to fail its syncs; with what they were told.
fn load_until_refused(host: &SpecialHost, accepted: &Accepted, begin_to_fail: impl FnOnce()) -> Vec<Sent> {
    const CLIENTS: usize = 4;
    let server = host.smtp();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let name = format!("c{client}");
                scope.spawn(move || send_until_refused(server, &BOTH, &name, 2_000, accepted))
            })
            .collect();
        eventually("accepted messages", || (accepted.all().len() >= 40).then_some(()));
        begin_to_fail();
        let told = clients.into_iter().map(|client| client.join().unwrap()).collect();
        println!("{} accepted before the syncs failed", accepted.all().len());
        told
    })
}

/// The host has stopped to accept, and says so wherever somebody may look.
fn it_says_so(host: &mut SpecialHost) {
    assert_eq!(host.ended(), None);
    let (status, why) = http::get(host.admin(), "/readyz");
    assert!(status == 503 && why.contains("the store has stopped"), "{status} {why}");
    let log = host.log();
    assert!(log.contains("the store has stopped, restart the host"), "{log}");
    let (_, metrics) = http::get(host.admin(), "/metrics");
    assert!(metrics.contains("postern_store_ready 0"), "{metrics}");
}

#[test]
fn a_store_whose_syncs_fail_stops_accepting_and_says_so_and_loses_nothing() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let trigger = trigger(&site);
    let mut host = SpecialHost::start(&site, shimmed(&site, "failing_sync", &trigger));
    hold(&site, &sink);
    let accepted = Accepted::default();
    let told = load_until_refused(&host, &accepted, || fs::write(&trigger, "").unwrap());
    told.iter().for_each(|sent| assert!(temporary(sent) >= 400));
    it_says_so(&mut host);
    for size in [SMALL, LARGE] {
        temporary(&send(host.smtp(), &BOTH, "refused", size));
    }
    // It ends when told to, though nothing can be stored any more.
    println!("the host ended with {}", host.stop());
    fs::remove_file(&trigger).unwrap();
    nothing_is_lost(&site, &sink, &accepted);
}

#[test]
fn a_store_whose_sync_failed_once_does_not_trust_the_next_that_succeeds() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let trigger = trigger(&site);
    let mut command = shimmed(&site, "failing_sync", &trigger);
    command.env("POSTERN_SHIM_ONCE", "1");
    let mut host = SpecialHost::start(&site, command);
    hold(&site, &sink);
    let accepted = Accepted::default();
    let told = load_until_refused(&host, &accepted, || fs::write(&trigger, "").unwrap());
    told.iter().for_each(|sent| assert!(temporary(sent) >= 400));
    assert!(!trigger.exists(), "the one failure has come");
    it_says_so(&mut host);
    for number in 0..5 {
        temporary(&send(host.smtp(), &BOTH, &format!("later-{number}"), SMALL));
    }
    host.kill();
    nothing_is_lost(&site, &sink, &accepted);
}

#[test]
fn a_host_whose_store_has_stopped_ends_by_itself_in_good_order_and_loses_nothing() {
    let sink = SmtpSink::start();
    let site = with_ways_out(Site::new(), &sink);
    let trigger = trigger(&site);
    let mut host = SpecialHost::start(&site, shimmed(&site, "failing_sync", &trigger));
    hold(&site, &sink);
    let accepted = Accepted::default();
    // They are refused, or told that the host ends, or find it gone.
    let _ = load_until_refused(&host, &accepted, || fs::write(&trigger, "").unwrap());
    let status = eventually("the end of a host whose store has stopped", || host.ended());
    assert_eq!(status.code(), Some(4), "{status}");
    let log = host.log();
    assert!(log.contains("the store has stopped") && log.contains("ending, since"), "{log}");
    assert!(!site.data().join("control.sock").exists(), "it has closed its doors");
    fs::remove_file(&trigger).unwrap();
    nothing_is_lost(&site, &sink, &accepted);
}

#[test]
fn a_body_that_cannot_be_synced_is_refused_and_leaves_nothing_behind() {
    let sink = SmtpSink::start();
    let site = site(&sink);
    let trigger = trigger(&site);
    let host = SpecialHost::start(&site, shimmed(&site, "failing_sync", &trigger));
    let accepted = Accepted::default();
    assert!(matches!(send(host.smtp(), &BOTH, "before", LARGE), Sent::Accepted));
    accepted.add("before".to_owned());
    eventually("the first to be delivered", || (arrived(&sink).get("before") == Some(&2)).then_some(()));
    fs::write(&trigger, "").unwrap();
    temporary(&send(host.smtp(), &BOTH, "unsynced", LARGE));
    println!("the host ended with {}", host.stop());
    fs::remove_file(&trigger).unwrap();
    nothing_is_lost(&site, &sink, &accepted);
    assert!(
        !arrived(&sink).contains_key("unsynced"),
        "a message that was refused before its commit came out"
    );
}
