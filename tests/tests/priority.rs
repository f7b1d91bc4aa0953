//! How urgent a message is: the sender says it where the receive connector lets it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use postern_tests::{Site, WebhookServer, eventually, messages};

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";

#[test]
fn urgent_messages_overtake_others_and_reach_the_agent_as_such() {
    let server = WebhookServer::start();
    let site = Site::with("", "sender_priority = true\nmust_deliver = true");
    let site = site.webhook("hook", "SMTP:hook.example", &server.url(), "", "max_concurrent_connections = 1");
    let host = site.start();
    site.order(&["queue", "suspend", "hook/hook.example"]);
    let mut client = host.client();
    for field in ["X-Priority: 5\r\n", "", "Priority: urgent\r\n"] {
        let message = [field.as_bytes(), &messages::simple("x")].concat();
        client.submit(JO, &[ANN], &message);
    }
    eventually("all three", || site.queue("hook").filter(|queue| queue["count"] == 3));
    site.order(&["queue", "resume", "hook/hook.example"]);
    let posted = server.wait_for(3);
    let priorities: Vec<_> = posted.iter().map(|post| post.envelope["priority"].as_str().unwrap()).collect();
    assert_eq!(priorities, ["high", "normal", "low"]);
    for post in &posted {
        assert_eq!(
            (&post.envelope["must_deliver"], &post.envelope["expires_at"]),
            (&true.into(), &().into())
        );
    }
    host.stop();
}
