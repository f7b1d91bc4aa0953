//! An agent that breaks with every message is left alone for a while.

use postern_tests::{Site, eventually};
use serde_json::json;

use crate::{deadly, delivered, good, item, metric, queue_operations, trapped, with_agent};

/// The connector that breaks, and one beside it with the same agent.
fn site(lines: &str) -> Site {
    let site = with_agent(Site::new(), "fax", "agents/trap-on-large", lines);
    with_agent(site, "neighbour", "agents/trap-on-large", "")
}

#[test]
fn an_agent_that_breaks_with_every_message_is_left_alone_and_its_neighbour_delivers() {
    let mut site =
        site("breaker_after = 3\nbreaker_backoff = \"1h\"\nretry = \"100ms\"\npoison_after = 1000");
    let host = site.start();
    for _ in 0..3 {
        deadly(&host, "fax");
    }
    let open = eventually("an open breaker", || {
        Some(site.connector("fax")["breaker"].clone()).filter(|breaker| breaker["state"] == "open")
    });
    assert_eq!(open["opened"], 1, "{open}");
    assert!(open["reason"].as_str().is_some_and(|reason| reason.contains("trapped")), "{open}");
    assert!(open["until"].is_string(), "{open}");
    assert_eq!(metric(&host, "postern_agent_breaker", "fax", None), 2);
    assert_eq!(metric(&host, "postern_agent_breaker_opened_total", "fax", None), 1);

    // Everything waits, the good and the deadly, and nothing of it counts as an attempt.
    eventually("the end of what was under way", || site.queue("fax").filter(|queue| queue["active"] == 0));
    let before = trapped(&host, "fax");
    let waiting = [good(&host, "fax"), deadly(&host, "fax"), good(&host, "fax")];
    for _ in 0..20 {
        good(&host, "neighbour");
    }
    eventually("the neighbour's mail", || (delivered(&host, "neighbour") == 20).then_some(()));
    for id in &waiting {
        let item = item(&site, id);
        assert_eq!((&item["attempts"], &item["traps"]), (&json!(0), &json!(0)), "{item}");
    }
    // With retries every 100 ms and no breaker there would be hundreds.
    assert_eq!((trapped(&host, "fax"), delivered(&host, "fax")), (before, 0));
    assert_eq!(queue_operations(&site, "fax"), ["breaker-opened"]);
    assert_eq!(site.connector("neighbour")["breaker"]["state"], "closed");
    assert_eq!(site.audit()["queued"], 6);

    // An operator who changes the connector gets a new one.
    site.change("breaker_after = 3", "breaker_after = 0");
    site.order(&["reload"]);
    eventually("the good mail", || (delivered(&host, "fax") == 2).then_some(()));
    assert_eq!(site.connector("fax")["breaker"], json!(null));
    host.stop();
}

#[test]
fn after_the_pause_a_message_that_is_delivered_lets_the_others_follow() {
    let lines = "breaker_after = 2\nbreaker_backoff = \"500ms\"\nretry = \"1h\"\npoison_after = 1000";
    let site = site(lines);
    let host = site.start();
    deadly(&host, "fax");
    deadly(&host, "fax");
    eventually("an open breaker", || {
        Some(()).filter(|()| metric(&host, "postern_agent_breaker_opened_total", "fax", None) == 1)
    });
    for _ in 0..10 {
        good(&host, "fax");
    }
    eventually("the good mail", || (delivered(&host, "fax") == 10).then_some(()));
    let breaker = site.connector("fax")["breaker"].clone();
    assert_eq!((&breaker["state"], &breaker["opened"]), (&json!("closed"), &json!(1)), "{breaker}");
    assert_eq!(trapped(&host, "fax"), 2);
    assert_eq!(queue_operations(&site, "fax"), ["breaker-opened", "breaker-closed"]);
    host.stop();
}

#[test]
fn one_deadly_message_becomes_poison_and_holds_nobody_up() {
    let lines = "breaker_after = 2\nbreaker_backoff = \"1h\"\nretry = \"100ms\"\npoison_after = 6";
    let site = site(lines);
    let host = site.start();
    let id = deadly(&host, "fax");
    eventually("poison", || Some(()).filter(|()| item(&site, &id)["state"] == "poison"));
    for _ in 0..10 {
        good(&host, "fax");
    }
    eventually("the good mail", || (delivered(&host, "fax") == 10).then_some(()));
    assert_eq!(trapped(&host, "fax"), 6);
    assert_eq!(metric(&host, "postern_agent_breaker_opened_total", "fax", None), 0);
    host.stop();
}

#[test]
fn an_agent_that_cannot_be_opened_is_left_alone_whatever_the_destination() {
    let lines = "breaker_after = 3\nbreaker_backoff = \"1h\"\nretry = \"100ms\"";
    let site = with_agent(Site::new(), "fax", "hostile/trap-open", lines);
    let host = site.start();
    good(&host, "fax");
    let breaker = eventually("an open breaker", || {
        Some(site.connector("fax")["breaker"].clone()).filter(|breaker| breaker["state"] == "open")
    });
    assert_eq!(breaker["opened"], 1, "{breaker}");
    site.audit();
    host.stop();
}
