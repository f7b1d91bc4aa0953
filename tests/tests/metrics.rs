//! Metrics and health over HTTP.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use postern_tests::{Host, Site, WebhookServer, eventually, http, messages};

/// The value of a counter or gauge whose line begins so.
fn value(text: &str, start: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn metrics(host: &Host) -> String {
    let (status, text) = http::get(host.admin(), "/metrics");
    assert_eq!(status, 200, "{text}");
    text
}

#[test]
fn metrics_move_with_the_mail_and_the_health_pages_answer() {
    let server = WebhookServer::start();
    let site = Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "");
    let host = site.start();
    assert_eq!(http::get(host.admin(), "/livez").0, 200);
    assert_eq!(http::get(host.admin(), "/readyz").0, 200);
    assert_eq!(http::get(host.admin(), "/nothing").0, 404);
    let accepted = "postern_accepted_messages_total{connector=\"default\"}";
    assert_eq!(value(&metrics(&host), accepted).unwrap_or(0.0), 0.0);

    let message = messages::simple("counted");
    let mut client = host.client();
    client.submit("jo@home.example", &["ann@hook.example", "ben@hook.example"], &message);
    client.command("MAIL FROM:<jo@home.example>");
    assert_eq!(client.command("RCPT TO:<ann@nowhere.example>").code, 550);
    let recipients = "postern_recipients_total{connector=\"hook\",what=\"delivered\"}";
    let queued = "postern_queued_items{connector=\"hook\"}";
    // An item leaves its queue when its settlement is on the disk, a moment after it was counted.
    let text = eventually("two delivered recipients and an empty queue in the metrics", || {
        let text = metrics(&host);
        (value(&text, recipients) == Some(2.0) && value(&text, queued) == Some(0.0)).then_some(text)
    });
    for (start, expected) in [
        (accepted, 1.0),
        ("postern_accepted_recipients_total{connector=\"default\"}", 2.0),
        ("postern_attempts_total{connector=\"hook\",what=\"done\"}", 1.0),
        ("postern_client_refusals_total{connector=\"default\",what=\"550\"}", 1.0),
        ("postern_client_connections{connector=\"default\"}", 1.0),
        ("postern_store_ready", 1.0),
        ("postern_agent_refusals_total{connector=\"hook\",what=\"http\"}", 0.0),
        ("postern_agent_tcp_open{connector=\"hook\"}", 0.0),
    ] {
        assert_eq!(value(&text, start), Some(expected), "{start} in {text}");
    }
    let requests = value(&text, "postern_agent_http_requests_total{connector=\"hook\"}");
    assert!(requests.is_some_and(|requests| requests >= 1.0), "{text}");
    assert!(value(&text, "postern_accepted_bytes_total").is_some_and(|bytes| bytes > 100.0), "{text}");
    assert!(text.ends_with("# EOF\n"), "OpenMetrics ends with a mark");
    host.stop();
}

#[test]
fn where_a_token_is_configured_only_the_health_pages_are_open() {
    let mut site = Site::new().section("[secrets]\nadmin = { file = \"admin.secret\" }");
    let secret = site.folder().join("admin.secret");
    fs::write(&secret, "let-me-in\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    site.change("[admin]", "[admin]\ntoken = \"admin\"");
    let host = site.start();
    assert_eq!(http::get(host.admin(), "/livez").0, 200);
    assert_eq!(http::get(host.admin(), "/metrics").0, 401);
    for (token, status) in [("let-me-in", 200), ("let-me-in2", 401), ("", 401)] {
        let field = format!("Authorization: Bearer {token}");
        assert_eq!(http::get_with(host.admin(), "/metrics", &field).0, status, "{token:?}");
    }
    assert!(!host.log().contains("let-me-in"), "a secret in the log");
    host.stop();

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let (status, said) = Host::refused(site.folder(), &site.config());
    assert_eq!(status.code(), Some(2), "a secret that everybody may read: {said}");
}
