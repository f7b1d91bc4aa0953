//! What an agent keeps in memory, from one message to the next.

use postern_tests::{Site, eventually};

use crate::{delivered, good, trapped, with_agent};

/// An agent that keeps its first item and traps over it when it gets the second, with two messages that are due together.
fn two_messages(lines: &str) -> (Site, postern_tests::Host) {
    let lines = format!("retry = \"1h\"\nmax_connections_per_destination = 1\n{lines}");
    let site = with_agent(Site::new(), "fax", "hostile/item-kept", &lines);
    let host = site.start();
    site.order(&["queue", "suspend", "fax/fax.example"]);
    good(&host, "fax");
    good(&host, "fax");
    site.order(&["queue", "resume", "fax"]);
    (site, host)
}

#[test]
fn an_instance_for_each_message_keeps_nothing_from_one_to_the_next() {
    let (site, host) = two_messages("instance = \"per-message\"");
    eventually("both deliveries", || (delivered(&host, "fax") == 2).then_some(()));
    assert_eq!(trapped(&host, "fax"), 0);
    site.audit();
    host.stop();
    // By default both share an instance, and the agent meets what it kept.
    let (site, host) = two_messages("");
    eventually("the trap", || (trapped(&host, "fax") == 1).then_some(()));
    assert_eq!(delivered(&host, "fax"), 1);
    site.audit();
    host.stop();
}
