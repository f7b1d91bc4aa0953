//! kill -9 while deliveries, receipts and DSNs are on their way: in the end everything is decided, and every
//! sender was told once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use postern_tests::gateway::counted;
use postern_tests::wait::within;
use postern_tests::webhook_server::HttpAnswer;
use postern_tests::{Host, Site, SmtpClient, SmtpSink, WebhookServer, dsn, eventually, gateway, messages};
use serde_json::json;

use crate::load::Accepted;

/// Rounds of load and kill -9; the variable `POSTERN_KILL_ROUNDS` asks for more of them.
const ROUNDS: usize = 5;

/// Clients that send at once.
const CLIENTS: usize = 3;

/// Answers of the webhook that are thought out for one round; what is asked beyond is answered with 200.
const ANSWERS: usize = 150;

/// One "not now" in so many holds the whole queue, for a second: the least that Retry-After can ask for.
const HOLDS: u8 = 30;

/// How long the rest may take to be decided: receipts are asked for once a second.
const DECIDED: Duration = Duration::from_secs(120);

/// Whose reports go to a drop directory, where nothing may come twice.
const TO_FOLDER: &str = "jo@folder.example";

/// Whose reports go to a smart host, to which a report may be repeated after a crash, as the same message.
const TO_SINK: &str = "jo@sink.example";

fn rounds() -> usize {
    let asked = std::env::var("POSTERN_KILL_ROUNDS").ok();
    asked.map_or(ROUNDS, |text| text.parse().expect("POSTERN_KILL_ROUNDS is a number"))
}

/// What the host is killed after.
#[derive(Debug)]
enum Moment {
    Accepted(usize),
    Posted(usize),
    Reported(usize),
}

struct Campaign {
    server: WebhookServer,
    sink: SmtpSink,
    site: Site,
    /// Recipients of messages that were answered with 250.
    accepted: Accepted,
    count: AtomicUsize,
    receipts: AtomicUsize,
}

impl Campaign {
    fn new() -> Self {
        let (server, sink) = (WebhookServer::start(), SmtpSink::start());
        let site = Site::new()
            .webhook(
                "hook",
                "SMTP:hook.example",
                &server.url(),
                &server.receipt_setting(),
                "retry = \"200ms\"",
            )
            .foreign("folder", "SMTP:folder.example", "")
            .send("sink", "SMTP:sink.example", sink.address(), "retry = \"200ms\"");
        let (accepted, count, receipts) = Default::default();
        Self { server, sink, site, accepted, count, receipts }
    }

    /// Thinks out what the webhook says to the next requests, and what becomes of its receipts.
    fn script(&self, rng: &mut fastrand::Rng) {
        for _ in 0..ANSWERS {
            let answer = match rng.u8(0..8) {
                0 | 1 => HttpAnswer::status(200),
                2 | 3 => HttpAnswer::json(202, &json!({ "receipt": self.receipt(rng) })),
                4 => HttpAnswer::json(422, &json!({ "text": "no such customer", "status": "5.1.1" })),
                5 | 6 if rng.u8(0..HOLDS) == 0 => HttpAnswer::status(503).header("Retry-After", "1"),
                5 | 6 => HttpAnswer::status(500),
                _ => HttpAnswer::json(
                    200,
                    &json!({ "receipt": self.receipt(rng), "recipients": [
                        { "index": 0, "outcome": "failed", "code": 550, "status": "5.2.1", "text": "gone" },
                        { "index": 1, "outcome": "accepted" },
                        { "index": 2, "outcome": "deferred" },
                    ] }),
                ),
            };
            self.server.answer(answer);
        }
    }

    /// A new receipt whose fate is known to the far end.
    fn receipt(&self, rng: &mut fastrand::Rng) -> String {
        let id = format!("R-{}", self.receipts.fetch_add(1, Ordering::Relaxed));
        let fate = if rng.bool() {
            json!({ "state": "delivered", "text": "two pages" })
        } else {
            json!({ "state": "failed", "status": "5.1.1", "text": "no such line" })
        };
        self.server.receipt(&id, fate);
        id
    }

    /// Sends until the host dies or it is enough.
    fn send(&self, server: SocketAddr, name: &str, enough: &AtomicBool) {
        let Ok(mut client) = SmtpClient::try_connect(server) else { return };
        for number in 0.. {
            if enough.load(Ordering::Relaxed) {
                return;
            }
            let recipients: Vec<String> =
                (0..=number % 3).map(|r| format!("{name}-{number}-{r}@hook.example")).collect();
            let asked: Vec<String> =
                recipients.iter().map(|r| format!("{r}> NOTIFY=SUCCESS,FAILURE")).collect();
            let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            let sender = if number % 2 == 0 { TO_FOLDER } else { TO_SINK };
            let mut transaction = || {
                client.envelope(sender, &asked)?;
                client.data(&messages::simple(&format!("{name}-{number}")))
            };
            let Ok(reply) = transaction() else { return };
            assert_eq!(reply.code, 250, "{reply:?}");
            recipients.into_iter().for_each(|recipient| self.accepted.add(recipient));
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn has_come(&self, moment: &Moment) -> bool {
        match moment {
            Moment::Accepted(n) => self.count.load(Ordering::Relaxed) >= *n,
            Moment::Posted(n) => self.server.posted().len() >= *n,
            Moment::Reported(n) => self.sink.arrived().len() >= *n,
        }
    }

    /// One round: load, and the end of the host at a random moment.
    fn round(&self, host: Host, round: usize, rng: &mut fastrand::Rng) {
        self.script(rng);
        let moment = match rng.u8(0..3) {
            0 => Moment::Accepted(self.count.load(Ordering::Relaxed) + rng.usize(1..60)),
            1 => Moment::Posted(self.server.posted().len() + rng.usize(1..60)),
            _ => Moment::Reported(self.sink.arrived().len() + rng.usize(1..20)),
        };
        println!("round {round}: kill -9 after {moment:?}");
        let server = host.smtp();
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (name, enough) = (format!("r{round}c{client}"), &enough);
                scope.spawn(move || self.send(server, &name, enough));
            }
            eventually("the moment to kill the host", || self.has_come(&moment).then_some(()));
            host.kill();
            enough.store(true, Ordering::Relaxed);
        });
    }

    /// The recipients in the reports that lie in the drop directory, each as often as it was reported.
    fn reported_to_folder(&self) -> Vec<String> {
        let files = gateway::read(&self.site.drop_directory("folder"));
        files.iter().flat_map(|file| reported(&String::from_utf8_lossy(&file.bytes))).collect()
    }

    /// The recipients in the reports that came to the smart host, each as often as another report told of it.
    fn reported_to_sink(&self) -> Vec<String> {
        let mut messages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for arrived in self.sink.arrived() {
            let (text, recipients) = (arrived.text(), reported(&arrived.text()));
            let id = text.lines().find_map(|line| line.strip_prefix("Message-ID: "));
            let id = id.unwrap_or_else(|| panic!("a report without an id: {text}")).to_owned();
            if let Some(before) = messages.insert(id, recipients.clone()) {
                assert_eq!(before, recipients, "one id for two reports");
            }
        }
        messages.into_values().flatten().collect()
    }

    fn reported(&self) -> Vec<String> {
        [self.reported_to_folder(), self.reported_to_sink()].concat()
    }
}

/// The recipients that a report tells of.
fn reported(report: &str) -> Vec<String> {
    let fields = dsn::status_fields(report);
    let final_recipients = fields.iter().filter(|(name, _)| name == "Final-Recipient");
    let plain = final_recipients.map(|(_, value)| value.strip_prefix("rfc822; ").unwrap_or(value).to_owned());
    plain.collect()
}

#[test]
fn kill_9_amid_receipts_and_reports_leaves_everything_decided_and_every_sender_told_once() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let campaign = Campaign::new();
    let site = &campaign.site;
    for round in 0..rounds() {
        campaign.round(site.start(), round, &mut rng);
    }
    let host = site.start();
    let accepted = campaign.accepted.all();
    assert!(!accepted.is_empty());
    within(DECIDED, "empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    within(DECIDED, "a report about every recipient", || {
        let reported: BTreeSet<String> = campaign.reported().into_iter().collect();
        accepted.iter().all(|recipient| reported.contains(recipient)).then_some(())
    });
    eventually("the reports themselves to have left", || {
        (site.ask(&["queue", "list"]) == json!([])).then_some(())
    });
    let audit = site.audit();
    assert_eq!((&audit["queued"], &audit["pending"]), (&0.into(), &0.into()), "{audit}");
    host.stop();
    let audit = site.audit();
    let reported = counted(campaign.reported());
    println!("{} recipients accepted, {} reported, {audit}", accepted.len(), reported.len());
    let twice: Vec<_> = reported.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "told more than once, seed {seed}: {twice:?}");
    assert!(audit["failed"].as_u64() > Some(0) && audit["delivered"].as_u64() > Some(0), "{audit}");
}
