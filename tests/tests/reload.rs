//! A changed config is taken up by a running host: what differs is exchanged, the rest does not notice, nothing is lost.

use std::net::{SocketAddr, TcpListener};

use postern_tests::{Host, Site, SmtpClient, SmtpSink, WebhookServer, eventually, messages};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";
const ANN: &str = "ann@hook.example";

fn site(server: &WebhookServer, sink: &SmtpSink) -> Site {
    Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "").send(
        "out",
        "SMTP:*;50",
        sink.address(),
        "",
    )
}

fn delivered(site: &Site, count: u64) {
    eventually(&format!("{count} deliveries"), || (site.audit()["delivered"] == count).then_some(()));
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    taken.local_addr().expect("it is bound")
}

#[test]
fn what_differs_is_exchanged_and_the_rest_does_not_notice() {
    let (old, new, sink) = (WebhookServer::start(), WebhookServer::start(), SmtpSink::start());
    let mut site = site(&old, &sink);
    let host = site.start();
    let mut client = host.client();
    client.submit(JO, &[ANN], &messages::simple("before"));
    let _ = old.wait_for(1);
    assert_eq!(client.command("RCPT TO:<x@y.example>").code, 503);
    assert_eq!(client.command("MAIL FROM:<jo@home.example>").code, 250);

    site.change(&old.url(), &new.url());
    let origin = |server: &WebhookServer| server.url().splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    site.change(&origin(&old), &origin(&new));
    let site = site.foreign("pbx", "SMS:*", "");
    let done = site.ask(&["reload"]);
    assert_eq!(
        (&done["restarted"], &done["started"], &done["stopped"], &done["needs_restart"]),
        (&json!(["hook"]), &json!(["pbx"]), &json!([]), &json!([]))
    );
    assert_eq!(done["receive"]["default"][0], host.smtp().to_string(), "the port stays");

    // The session was open all the time, and its transaction goes on.
    assert_eq!(client.command("RCPT TO:<ann@hook.example>").code, 250);
    assert_eq!(client.command("RCPT TO:<IMCEASMS-+2B4930123@gw.example>").code, 250);
    assert_eq!(client.command("DATA").code, 354);
    assert_eq!(client.command("Subject: after\r\n\r\nhello\r\n.").code, 250);
    assert!(String::from_utf8_lossy(&new.wait_for(1)[0].message).contains("Subject: after"));
    assert_eq!(old.posted().len(), 1);
    let folder = site.drop_directory("pbx");
    eventually("the drop file", || std::fs::read_dir(&folder).unwrap().flatten().next());
    delivered(&site, 2);
    host.stop();
    site.audit();
}

#[test]
fn a_config_with_faults_changes_nothing() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = site(&server, &sink);
    let host = site.start();
    site.change("retry = \"1s\"", "retry = \"soon\"");
    let answer = site.cli(&["reload"]);
    assert_eq!(answer.code, 2, "{answer:?}");
    assert!(answer.text().contains("retry"), "{answer:?}");
    signal_reload(&host);
    eventually("the refusal in the log", || host.log().contains("was not taken up").then_some(()));
    host.client().submit(JO, &[ANN], &messages::simple("still there"));
    let _ = server.wait_for(1);
    site.change("retry = \"soon\"", "retry = \"1s\"");
    delivered(&site, 1);
    host.stop();
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = site(&server, &sink);
    let host = site.start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    site.change("listen = [\"127.0.0.1:0\"]", &format!("listen = [\"127.0.0.1:0\", \"{address}\"]"));
    site.change("address_spaces = [\"SMTP:hook.example\"]", "address_spaces = [\"SMTP:other.example\"]");
    let answer = site.cli(&["reload"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.text().contains(&address), "{answer:?}");
    host.client().submit(JO, &[ANN], &messages::simple("still there"));
    let _ = server.wait_for(1);

    // As soon as the port is free, the same order is carried out.
    drop(taken);
    let done = site.ask(&["reload"]);
    assert_eq!(
        (&done["restarted"], done["receive"]["default"][1].as_str()),
        (&json!(["default", "hook"]), Some(&*address))
    );
    let mut client = SmtpClient::connect(address.parse().unwrap());
    client.submit(JO, &["x@other.example"], &messages::simple("there now"));
    let _ = server.wait_for(2);
    host.stop();
}

#[test]
fn receive_connectors_change_without_missing_a_client() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = site(&server, &sink);
    let host = site.start();
    let mut old = host.client();
    let second = free_address();
    site.change(
        "max_connections_per_source = 1000",
        "max_connections_per_source = 1000\nmax_message_size = \"64KiB\"",
    );
    let site = site.section(&format!("[receive_connectors.second]\nlisten = [\"{second}\"]"));
    let done = site.ask(&["reload"]);
    assert_eq!((&done["restarted"], &done["started"]), (&json!(["default"]), &json!(["second"])));
    let size = |client: &mut SmtpClient| {
        let reply = client.command("EHLO client.example");
        reply.lines.iter().find_map(|line| line.strip_prefix("SIZE ").map(str::to_owned))
    };
    assert_eq!(size(&mut host.client()).as_deref(), Some("65536"));
    // Who came before keeps what it was told.
    assert_eq!(size(&mut old).as_deref(), Some("36700160"));
    old.submit(JO, &[ANN], &messages::simple("old"));
    SmtpClient::connect(second).submit(JO, &[ANN], &messages::simple("new"));
    let _ = server.wait_for(2);
    host.stop();
    site.audit();
}

#[test]
fn mail_of_a_connector_that_is_taken_out_waits_until_it_is_back() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = site(&server, &sink);
    let host = site.start();
    site.order(&["queue", "suspend", "hook/hook.example"]);
    host.client().submit(JO, &[ANN], &messages::simple("waits"));
    site.change("[delivery_agent_connectors.hook]", "[delivery_agent_connectors.hook]\nenabled = false");
    assert_eq!(site.ask(&["reload"])["stopped"], json!(["hook"]));
    site.order(&["queue", "resume", "hook/hook.example"]);
    assert_eq!(site.queue("hook").map(|queue| queue["count"].clone()), Some(json!(1)));
    // New mail for it goes where the routes say now.
    host.client().submit(JO, &[ANN], &messages::simple("by another way"));
    let _ = sink.wait_for(1);
    assert!(server.posted().is_empty());

    site.change("enabled = false\n", "");
    assert_eq!(site.ask(&["reload"])["started"], json!(["hook"]));
    let _ = server.wait_for(1);
    delivered(&site, 1);
    host.stop();
}

#[test]
fn an_agent_that_cannot_be_loaded_does_not_take_the_place_of_one_that_works() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = site(&server, &sink);
    let prebuilt = postern_tests::cli::root().join("plugins/prebuilt/webhook.wasm");
    let agent = site.folder().join("agent.wasm");
    std::fs::copy(&prebuilt, &agent).unwrap();
    site.change(&prebuilt.display().to_string(), &agent.display().to_string());
    let host = site.start();
    assert_eq!(site.ask(&["reload"])["swapped"], json!([]), "nothing has changed");

    std::fs::write(&agent, b"this is no component").unwrap();
    let answer = site.cli(&["reload"]);
    assert_eq!(answer.code, 3, "{answer:?}");
    assert!(answer.text().contains("hook") && answer.text().contains("nothing was changed"), "{answer:?}");
    assert_eq!(site.connector("hook")["state"], "ready");
    host.client().submit(JO, &[ANN], &messages::simple("by the old one"));
    let _ = server.wait_for(1);

    // One that differs by a byte (a custom section at the end) is another agent, and is taken up.
    let mut changed = std::fs::read(&prebuilt).unwrap();
    changed.extend([0, 2, 1, b'x']);
    std::fs::write(&agent, changed).unwrap();
    assert_eq!(site.ask(&["reload"])["swapped"], json!(["hook"]));
    host.client().submit(JO, &[ANN], &messages::simple("by the new one"));
    let _ = server.wait_for(2);
    delivered(&site, 2);
    host.stop();
}

#[test]
fn sighup_takes_up_a_changed_config_and_names_what_needs_a_restart() {
    let (server, sink) = (WebhookServer::start(), SmtpSink::start());
    let mut site = site(&server, &sink);
    let host = site.start();
    site.change("store_reserve = 0", "store_reserve = 0\nsettle_window = 9");
    site.change("SMTP:hook.example", "SMTP:else.example");
    signal_reload(&host);
    eventually("the new config", || host.log().contains("the config was taken up").then_some(()));
    assert!(host.log().contains("host.settle_window"), "{}", host.log());
    host.client().submit(JO, &["ann@else.example"], &messages::simple("moved"));
    let _ = server.wait_for(1);
    let explained: Value = site.ask(&["explain", "ann@else.example"]);
    assert_eq!(explained["connector"], "hook");
    host.stop();
}

fn signal_reload(host: &Host) {
    let pid = i32::try_from(host.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, Signal::HUP).expect("our own child runs");
}
