//! `postern init`: what it writes runs as it is.

use std::fs;

use postern_tests::{Host, SmtpClient, cli, eventually, gateway, messages};

#[test]
fn what_init_writes_can_be_checked_and_run_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    let shown = site.to_str().unwrap();
    let made = cli::run(&["init", shown, "--host-name", "gw.example"]);
    assert_eq!(made.code, 0, "{made:?}");
    let config = site.join("postern.toml");
    let text = fs::read_to_string(&config).unwrap();
    let check = cli::run(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(check.code, 0, "{check:?}");
    let again = cli::run(&["init", shown]);
    assert_eq!(again.code, 3, "{again:?}");
    assert_eq!(fs::read_to_string(&config).unwrap(), text, "a second init changes nothing");

    // The only change: two ports that may be taken on this machine.
    let free = text.replace("127.0.0.1:2525", "127.0.0.1:0").replace("127.0.0.1:8025", "127.0.0.1:0");
    assert_ne!(free, text);
    fs::write(&config, free).unwrap();
    let host = Host::start(folder.path(), &config);
    let message = messages::simple("first");
    SmtpClient::connect(host.smtp()).submit("jo@home.example", &["ann@outbox.example"], &message);
    let drop = site.join("drop/outbox");
    let files =
        eventually("the file in the outbox", || Some(gateway::read(&drop)).filter(|files| !files.is_empty()));
    assert_eq!((files.len(), files[0].message()), (1, &message[..]));
    assert_eq!(postern_tests::http::get(host.admin(), "/livez").0, 200);
    host.stop();
}
