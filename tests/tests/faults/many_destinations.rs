//! One dead destination among a thousand of one agent connector.

use postern_tests::{Site, eventually, http, messages};

use crate::encode;
use crate::load::JO;

const LIVE: usize = 1_000;

/// Messages for each destination, the dead one too.
const MESSAGES: usize = 3;

#[test]
fn a_thousand_live_destinations_are_served_while_the_one_beside_them_is_dead() {
    let site = Site::with("", "max_recipients = 1001");
    let agent = encode::encode_into(&crate_file("dead-destination.wat"), site.folder());
    let site = site.section(&format!(
        "[delivery_agent_connectors.many]\naddress_spaces = [\"SMTP:*\"]\nagent = {agent:?}\nretry = \"100ms*600, 1h\""
    ));
    let host = site.start();
    let live = (0..LIVE).map(|number| format!("ann@live{number}.example"));
    // The dead one comes first of all.
    let everybody: Vec<String> = ["ann@x-dead.example".to_owned()].into_iter().chain(live).collect();
    let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
    let mut client = host.client();
    for number in 0..MESSAGES {
        client.submit(JO, &everybody, &messages::simple(&format!("m{number}")));
    }
    let delivered =
        format!("postern_recipients_total{{connector=\"many\",what=\"delivered\"}} {}\n", LIVE * MESSAGES);
    eventually("all live destinations to have everything", || {
        http::get(host.admin(), "/metrics").1.contains(&delivered).then_some(())
    });
    let queue = eventually("nothing but the dead destination", || site.queue("many"));
    assert_eq!((&queue["destination"], &queue["count"]), (&"x-dead.example".into(), &MESSAGES.into()));
    let queue = eventually("the dead destination in retry", || {
        site.queue("many").filter(|queue| queue["state"] == "retry")
    });
    assert!(queue["last_error"].as_str().is_some_and(|e| e.contains("this line is dead")), "{queue}");
    // It was tried more than once meanwhile or is tried again now, and no neighbour is waited for.
    eventually("another attempt at the dead destination", || {
        let shown = site.ask(&["queue", "show", "many/x-dead.example"]);
        let attempts = shown[0]["items"].as_array().into_iter().flatten().map(|i| i["attempts"].as_u64());
        attempts.flatten().sum::<u64>().ge(&3).then_some(())
    });
    let audit = site.audit();
    assert_eq!((&audit["delivered"], &audit["queued"]), (&(LIVE * MESSAGES).into(), &MESSAGES.into()));
    host.stop();
    site.audit();
}

fn crate_file(name: &str) -> std::path::PathBuf {
    postern_tests::cli::root().join("tests/tests/faults").join(name)
}
