//! What is wrong with a site: a host that does not start says why, and a connector that cannot work makes its mail wait.

use std::fs;

use postern_tests::{Host, Site, WebhookServer, cli, eventually, gateway, messages};
use serde_json::json;

const JO: &str = "jo@home.example";

#[test]
fn a_broken_config_starts_nothing_and_every_fault_is_named_at_once() {
    let site = Site::with("shutdown_grace = \"soon\"", "max_hopps = 5").foreign(
        "pbx",
        "SMTP:pbx.example",
        "profile = \"x\"",
    );
    let (status, said) = Host::refused(site.folder(), &site.config());
    assert_eq!(status.code(), Some(2), "{said}");
    for key in ["host.shutdown_grace", "max_hopps", "profile", "postern.toml"] {
        assert!(said.contains(key), "no {key} in {said}");
    }
    assert!(!site.data().exists(), "a config that is refused leaves nothing behind");
    let check = site.cli(&["check"]);
    assert_eq!((check.code, &check.json()["ok"]), (2, &json!(false)), "{check:?}");
    assert_eq!(site.cli(&["queue", "list"]).code, 2);
}

#[test]
fn a_port_that_is_taken_stops_the_start_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    site.change("listen = [\"127.0.0.1:0\"]", &format!("listen = [\"{address}\"]"));
    let (status, said) = Host::refused(site.folder(), &site.config());
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains(&address) && said.contains("default"), "{said}");
}

#[test]
fn an_agent_whose_file_is_missing_makes_its_mail_wait_and_the_rest_runs() {
    let server = WebhookServer::start();
    let site = Site::new()
        .webhook("hook", "SMTP:hook.example", &server.url(), "", "agent = \"agents/webhook.wasm\"")
        .foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let hook = site.connector("hook");
    assert_eq!(hook["state"], "disabled", "{hook}");
    assert!(hook["reason"].as_str().is_some_and(|reason| reason.contains("agents/webhook.wasm")), "{hook}");
    let id = host.client().submit(JO, &["ann@hook.example", "ann@pbx.example"], &messages::simple("waits"));
    eventually("the drop file", || (!gateway::files(&site.drop_directory("pbx")).is_empty()).then_some(()));
    let queue =
        eventually("a queue in retry", || site.queue("hook").filter(|queue| queue["state"] == "retry"));
    assert!(queue["last_error"].as_str().is_some_and(|e| e.contains("webhook.wasm")), "{queue}");
    site.audit();
    host.stop();

    fs::create_dir(site.folder().join("agents")).unwrap();
    let agent = cli::root().join("plugins/prebuilt/webhook.wasm");
    fs::copy(agent, site.folder().join("agents/webhook.wasm")).unwrap();
    let host = site.start();
    assert_eq!(server.wait_for(1)[0].message_id(), id);
    assert_eq!(site.connector("hook")["state"], "ready");
    host.stop();
    site.audit();
}

#[test]
fn a_file_that_is_no_agent_disables_its_connector_with_the_reason() {
    let site = Site::new()
        .webhook("hook", "SMTP:hook.example", "http://127.0.0.1:9/mail", "", "agent = \"postern.toml\"")
        .foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    assert_eq!(site.connector("hook")["state"], "disabled");
    assert_eq!(site.connector("pbx")["state"], "ready");
    host.stop();
}

#[test]
fn a_drop_directory_that_is_missing_makes_its_mail_wait_until_it_is_there() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "drop_directory = \"drop/pbx\"").foreign(
        "fax",
        "SMTP:fax.example",
        "",
    );
    let host = site.start();
    let message = messages::simple("waits");
    host.client().submit(JO, &["ann@pbx.example", "ann@fax.example"], &message);
    eventually("the neighbour's file", || {
        (!gateway::files(&site.drop_directory("fax")).is_empty()).then_some(())
    });
    let queue =
        eventually("a queue in retry", || site.queue("pbx").filter(|queue| queue["state"] == "retry"));
    assert!(queue["last_error"].as_str().is_some_and(|e| e.contains("drop/pbx")), "{queue}");
    let connector = site.connector("pbx");
    assert_eq!(connector["state"], "disabled", "{connector}");
    assert!(!site.drop_directory("pbx").exists(), "a missing mount is not papered over with a folder");

    fs::create_dir(site.drop_directory("pbx")).unwrap();
    let files =
        eventually("the file", || Some(gateway::read(&site.drop_directory("pbx"))).filter(|f| !f.is_empty()));
    assert_eq!((files.len(), files[0].message()), (1, &message[..]));
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    assert_eq!(site.connector("pbx")["state"], "ready");
    site.audit();
    host.stop();
}

#[test]
fn a_drop_directory_whose_quota_is_full_makes_its_mail_wait_until_the_gateway_took_something() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "quota = { files = 2 }");
    let host = site.start();
    let drop = site.drop_directory("pbx");
    let mut client = host.client();
    for number in 0..5 {
        client.submit(JO, &["ann@pbx.example"], &messages::simple(&format!("m{number}")));
    }
    let queue = eventually("a queue in retry", || {
        site.queue("pbx").filter(|queue| queue["state"] == "retry" && queue["count"] == 3)
    });
    assert!(queue["last_error"].as_str().is_some_and(|e| e.contains("quota")), "{queue}");
    assert_eq!(gateway::files(&drop).len(), 2);
    site.audit();
    let mut taken = 0;
    eventually("all five files", || {
        assert!(gateway::files(&drop).len() <= 2, "more files than the quota allows");
        taken += gateway::take(&drop).len();
        (taken == 5).then_some(())
    });
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    eventually("all pickups in the tracking", || {
        (site.events("ann@pbx.example").iter().filter(|event| *event == "taken").count() == 5).then_some(())
    });
    site.audit();
    host.stop();
}

#[test]
fn a_drop_directory_that_goes_away_under_the_host_makes_its_mail_wait_until_it_is_back() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let (drop, away) = (site.drop_directory("pbx"), site.folder().join("away"));
    fs::rename(&drop, &away).unwrap();
    host.client().submit(JO, &["ann@pbx.example"], &messages::simple("waits"));
    eventually("a queue in retry", || site.queue("pbx").filter(|queue| queue["state"] == "retry"));
    assert!(gateway::files(&away).is_empty(), "nothing goes to where the directory was moved");
    fs::rename(&away, &drop).unwrap();
    eventually("the file", || (!gateway::files(&drop).is_empty()).then_some(()));
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    site.audit();
    host.stop();
}
