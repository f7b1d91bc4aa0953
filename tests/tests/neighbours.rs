//! One dead destination does not hold back those beside it.

use std::net::TcpListener;
use std::time::Instant;

use postern_tests::wait::DEADLINE;
use postern_tests::{Gateway, Site, SmtpSink, WebhookServer, eventually, messages};

const JO: &str = "jo@home.example";

/// Messages for each destination.
const MESSAGES: usize = 25;

/// A destination that takes connections and never says a word; how long our side bears that is far beyond the test.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("there is a free port")
}

/// An address where nothing listens.
fn nobody() -> std::net::SocketAddr {
    silent().local_addr().expect("a bound socket has an address")
}

#[test]
fn dead_and_silent_destinations_do_not_hold_their_neighbours_back() {
    let (server, sink, mute_host, mute_hook) =
        (WebhookServer::start(), SmtpSink::start(), silent(), silent());
    let mute_url = format!("http://{}/mail", mute_hook.local_addr().unwrap());
    let site = Site::with("shutdown_grace = \"1s\"", "")
        .send("dead-host", "SMTP:dead-host.example", nobody(), "")
        .send("mute-host", "SMTP:mute-host.example", mute_host.local_addr().unwrap(), "")
        .webhook("dead-hook", "SMTP:dead-hook.example", &format!("http://{}/mail", nobody()), "", "")
        .webhook("mute-hook", "SMTP:mute-hook.example", &mute_url, "timeout_seconds = 600", "")
        .foreign("dead-drop", "SMTP:dead-drop.example", "drop_directory = \"drop/missing\"")
        .send("live-host", "SMTP:live-host.example", sink.address(), "")
        .webhook("live-hook", "SMTP:live-hook.example", &server.url(), "", "")
        .foreign("live-drop", "SMTP:live-drop.example", "");
    let dead = ["dead-host", "mute-host", "dead-hook", "mute-hook", "dead-drop"];
    let host = site.start();
    let gateway = Gateway::start(site.drop_directory("live-drop"));
    let mut client = host.client();
    let mut send = |kinds: &[&str]| {
        for kind in kinds {
            for number in 0..MESSAGES {
                client.submit(
                    JO,
                    &[&format!("ann@{kind}.example")],
                    &messages::simple(&format!("m{number}")),
                );
            }
        }
    };
    send(&dead);
    for connector in ["dead-host", "dead-hook", "dead-drop"] {
        eventually("a dead destination in retry", || {
            site.queue(connector).filter(|queue| queue["state"] == "retry")
        });
    }
    eventually("busy connections to the silent webhook", || {
        site.queue("mute-hook").filter(|queue| queue["active"].as_u64().is_some_and(|active| active > 0))
    });

    let start = Instant::now();
    send(&["live-host", "live-hook", "live-drop"]);
    assert_eq!(server.wait_for(MESSAGES).len(), MESSAGES);
    assert_eq!(sink.wait_for(MESSAGES).len(), MESSAGES);
    eventually("the live drop directory's queue to be empty", || {
        site.queue("live-drop").is_none().then_some(())
    });
    println!("3 x {MESSAGES} messages beside five dead destinations: {:?}", start.elapsed());
    assert!(start.elapsed() < DEADLINE);
    assert_eq!(gateway.stop().len(), MESSAGES);
    for connector in dead {
        let queue = site.queue(connector).expect("what is dead still waits");
        assert_eq!(queue["count"], MESSAGES, "{queue}");
    }
    let audit = site.audit();
    assert_eq!(audit["queued"], dead.len() * MESSAGES);
    // Deliveries that hang are cut off after the grace; they count as not done.
    host.stop();
    assert_eq!(site.audit()["queued"], dead.len() * MESSAGES);
}
