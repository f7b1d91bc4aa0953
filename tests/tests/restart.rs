//! kill -9 under load: nothing that was accepted is lost, and nothing comes to a drop directory twice.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use postern_tests::gateway::{self, counted};
use postern_tests::{Gateway, Host, Site, SmtpClient, WebhookServer, eventually, messages};
use serde_json::json;

/// Rounds of load and kill -9; the variable `POSTERN_KILL_ROUNDS` asks for more of them.
const ROUNDS: usize = 5;

/// Clients that send at once.
const CLIENTS: usize = 3;

/// Messages accepted in one round before the host is killed: at least one, at most so many.
const MAX_ACCEPTED: usize = 60;

/// One message in so many is too large for the queue database.
const LARGE_EVERY: usize = 10;

fn rounds() -> usize {
    let asked = std::env::var("POSTERN_KILL_ROUNDS").ok();
    asked.map_or(ROUNDS, |text| text.parse().expect("POSTERN_KILL_ROUNDS is a number"))
}

/// What the clients of all rounds were told.
#[derive(Default)]
struct Told {
    accepted: Mutex<BTreeSet<String>>,
    count: AtomicUsize,
}

/// Sends messages until the host dies or `enough` were accepted; each has a marker that no other has.
fn send(server: SocketAddr, client: &str, told: &Told, enough: usize) {
    let Ok(mut smtp) = SmtpClient::try_connect(server) else { return };
    for number in 0.. {
        if told.count.load(Ordering::Relaxed) >= enough {
            return;
        }
        let marker = format!("{client}-{number}");
        let size = if number % LARGE_EVERY == LARGE_EVERY - 1 { 300_000 } else { 2_000 };
        let message = messages::sized(&marker, size);
        let mut transaction = || {
            smtp.envelope("jo@home.example", &["ann@hook.example", "ann@pbx.example"])?;
            smtp.data(&message)
        };
        let Ok(reply) = transaction() else { return };
        assert_eq!(reply.code, 250, "{reply:?}");
        told.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(marker);
        told.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The marker in a message, which must be whole.
fn marker(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let line = text.split("\r\n").next().unwrap_or_default();
    let marker = line.strip_prefix("Subject: ").unwrap_or_else(|| panic!("{line:?} is not our subject"));
    let size = if message.len() > 100_000 { 300_000 } else { 2_000 };
    assert!(message == messages::sized(marker, size), "message {marker} came out changed");
    marker.to_owned()
}

/// One round: load, and the end of the host after a random number of accepted messages.
fn load_and_kill(host: Host, round: usize, told: &Told, rng: &mut fastrand::Rng) {
    let server = host.smtp();
    let (before, kill_after) = (told.count.load(Ordering::Relaxed), rng.usize(1..=MAX_ACCEPTED));
    println!("round {round}: kill -9 after {kill_after} accepted messages");
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || send(server, &format!("r{round}-c{client}"), told, usize::MAX));
        }
        eventually("accepted messages", || {
            (told.count.load(Ordering::Relaxed) >= before + kill_after).then_some(())
        });
        host.kill();
    });
}

/// A gateway's way of working.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    /// It takes each file at once.
    Deletes,
    /// It comes once a day, when all is over.
    ComesLater,
}

/// Rounds of load and kill -9, then the books.
fn campaign(habit: Habit) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let server = WebhookServer::start();
    let site = Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "").foreign(
        "pbx",
        "SMTP:pbx.example",
        "poll_interval = \"2s\"",
    );
    let drop = site.drop_directory("pbx");
    let gateway = (habit == Habit::Deletes).then(|| Gateway::start(drop.clone()));
    let told = Told::default();
    for round in 0..rounds() {
        load_and_kill(site.start(), round, &told, &mut rng);
    }
    let host = site.start();
    send(host.smtp(), "last", &told, told.count.load(Ordering::Relaxed) + 10);
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));

    let posted: Vec<String> = server.posted().iter().map(|posted| marker(&posted.message)).collect();
    let files = gateway.map_or_else(|| gateway::take(&drop), Gateway::stop);
    let dropped = counted(files.iter().map(|file| marker(file.message())));
    let accepted = told.accepted.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{} accepted, {} posted, {} dropped", accepted.len(), posted.len(), files.len());
    let lost =
        |found: &dyn Fn(&String) -> bool| -> Vec<&String> { accepted.iter().filter(|m| !found(m)).collect() };
    let posted = counted(posted);
    assert_eq!(lost(&|m| posted.contains_key(m)), [""; 0], "lost on the way to the webhook, seed {seed}");
    assert_eq!(
        lost(&|m| dropped.contains_key(m)),
        [""; 0],
        "lost on the way to the drop directory, seed {seed}"
    );
    let doubles: Vec<_> = dropped.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubles.is_empty(), "twice in the drop directory, seed {seed}: {doubles:?}");
    // The last pickups are recorded a while after the gateway saw the files: by events, or by the next look.
    eventually("books that balance", || (site.cli(&["audit"]).code == 0).then_some(()));
    host.stop();
    site.audit();
}

#[test]
fn kill_9_under_load_loses_nothing_and_doubles_no_drop_file_when_the_gateway_deletes_at_once() {
    campaign(Habit::Deletes);
}

#[test]
fn kill_9_under_load_loses_nothing_and_doubles_no_drop_file_when_the_gateway_comes_later() {
    campaign(Habit::ComesLater);
}

#[test]
fn a_host_that_is_told_to_stop_finishes_what_it_delivers_and_keeps_the_rest() {
    let server = WebhookServer::start();
    let site = Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "").foreign(
        "pbx",
        "SMTP:pbx.example",
        "",
    );
    let gateway = Gateway::start(site.drop_directory("pbx"));
    let told = Told::default();
    for round in 0..3 {
        let host = site.start();
        send(host.smtp(), &format!("s{round}"), &told, told.count.load(Ordering::Relaxed) + 20);
        host.stop();
    }
    let host = site.start();
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    let once: Vec<usize> = vec![1; 60];
    let posted = counted(server.posted().iter().map(|posted| marker(&posted.message)));
    assert_eq!(posted.into_values().collect::<Vec<_>>(), once, "at the webhook");
    let dropped = counted(gateway.stop().iter().map(|file| marker(file.message())));
    assert_eq!(dropped.into_values().collect::<Vec<_>>(), once, "in the drop directory");
    host.stop();
    site.audit();
}
