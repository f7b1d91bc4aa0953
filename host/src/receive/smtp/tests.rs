//! What must hold of a listener, over the loopback interface.

use std::path::Path;

use postern_store::sqlite::{SqliteOptions, SqliteStore};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;
use crate::config::{Config, check_text};
use crate::topology::{CurrentTopology, Topology};

/// More than is held in memory, with the end of the content.
const LARGE: usize = 2 << 20;

fn config() -> Config {
    let text = "[host]\nname = \"gw.example\"\n[receive_connectors.in]\nlisten = [\"127.0.0.1:0\"]\n\
        [send_connectors.out]\naddress_spaces = [\"far.example\"]\nsmart_hosts = [\"127.0.0.1:1\"]\n";
    let checked = check_text(text, Path::new("x"), Path::new("/x"), &|_| None);
    checked.map_err(|report| report.human()).unwrap().0
}

/// A listener, and a client of it. Contents come in to a folder that is not there.
struct World {
    client: BufReader<TcpStream>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(change: impl FnOnce(&mut ReceiveConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config();
        change(&mut config.receive_connectors[0]);
        let receive = config.receive_connectors[0].clone();
        let store = Arc::new(SqliteStore::open(folder.path(), SqliteOptions::default()).unwrap());
        let topology = Arc::new(CurrentTopology::new(Topology::build(config)));
        let metrics = Arc::new(Metrics::default());
        let submitter = Arc::new(Submitter::new(store, topology, metrics.clone()));
        let missing = folder.path().join("missing");
        let socket = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, stop) = (socket.local_addr().unwrap(), CancellationToken::new());
        let sockets = vec![socket];
        let listener = SmtpListener::new(&receive, "gw.example", submitter, metrics, missing, sockets);
        tokio::spawn(listener.run(stop.child_token(), stop.clone()));
        let client = BufReader::new(TcpStream::connect(address).await.unwrap());
        Self { client, stop, _folder: folder }
    }

    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.client.read_line(&mut line).await.unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn say(&mut self, text: &str, code: &str) {
        self.client.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        let reply = self.reply().await;
        assert!(reply.starts_with(code), "{reply:?} to {}", &text[..text.len().min(60)]);
    }

    async fn begin(&mut self) {
        assert!(self.reply().await.starts_with("220 "));
        self.say("EHLO desk.example", "250 ").await;
        self.say("MAIL FROM:<jo@home.example>", "250 ").await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_kept_is_refused_at_its_end_and_the_conversation_goes_on() {
    let mut world = World::new(|_| {}).await;
    world.begin().await;
    world.say("RCPT TO:<ann@far.example>", "250 ").await;
    world.say("DATA", "354 ").await;
    let large = "Subject: x\r\n\r\n".to_owned() + &"x".repeat(70).repeat(LARGE / 70) + "\r\n.";
    world.say(&large, "451 4.3.0 ").await;
    // A small one has a place in memory.
    world.say("MAIL FROM:<jo@home.example>", "250 ").await;
    world.say("RCPT TO:<ann@far.example>", "250 ").await;
    world.say("DATA", "354 ").await;
    world.say("Subject: x\r\n\r\nx\r\n.", "250 2.0.0 queued as ").await;
}

#[tokio::test]
async fn one_who_asks_for_many_unknown_recipients_is_sent_away() {
    let mut world = World::new(|_| {}).await;
    world.begin().await;
    for _ in 0..100 {
        world.say("RCPT TO:<ann@nowhere.example>", "550 ").await;
    }
    world.say("RCPT TO:<ann@nowhere.example>", "421 4.7.0 ").await;
    assert_eq!(world.reply().await, "");
}

#[tokio::test]
async fn the_time_of_a_connection_ends_between_transactions_with_a_word() {
    let mut world = World::new(|receive| receive.connection_timeout = Duration::from_millis(1)).await;
    // The grace of an open transaction is twice the inactivity timeout; none is open here.
    let (first, second) = (world.reply().await, world.reply().await);
    assert!(first.starts_with("220 ") && second.starts_with("421 4.4.2 "), "{first:?} {second:?}");
    assert_eq!(world.reply().await, "");
}

#[tokio::test]
async fn one_who_is_not_served_hears_so_and_is_closed_at_once() {
    let mut world = World::new(|receive| receive.remote_networks.clear()).await;
    assert!(world.reply().await.starts_with("554 "));
    assert_eq!(world.reply().await, "");
}
