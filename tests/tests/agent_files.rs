//! An agent that uses files, in a real host: it writes where the config lets it, and the operator sees what it tried beyond.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../host/agent/tests/support/encode.rs"]
mod encode;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use postern_tests::{Site, cli, eventually, http};
use serde_json::json;

/// A site with an agent that acts out the script in its messages, in `in` (0) to read and `spool` (1) to write.
fn site() -> Site {
    let site = Site::new();
    let agent = cli::root().join("host/agent/tests/agents/files-script.wat");
    let agent = encode::encode_into(&agent, site.folder());
    site.section(&format!(
        "[delivery_agent_connectors.files]\naddress_spaces = [\"SMTP:files.example\"]\nagent = {agent:?}\n\
         grants = {{ directories = [\"in\", {{ path = \"spool\", as = \"/out\", access = \"write\" }}] }}\n\
         limits = {{ directory_made = 2 }}\nretry = \"1h\""
    ))
}

#[test]
fn an_agent_writes_files_where_it_may_and_nowhere_else() {
    let site = site();
    for name in ["in", "spool"] {
        fs::create_dir(site.folder().join(name)).unwrap();
    }
    fs::write(site.folder().join("in/letter"), "inside").unwrap();
    let file = site.folder().join("files-script.wasm");
    let inspection = site.ask(&["agent", "inspect", file.to_str().unwrap(), "--connector", "files"]);
    let wants = inspection["wants"].as_array().unwrap();
    assert!(wants.contains(&json!("imports wasi:filesystem")), "{wants:?}");
    let granted: Vec<_> =
        inspection["granted"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
    assert!(granted[0].starts_with("directory /in (/") && granted[1].starts_with("directory /out:rw (/"));
    assert_eq!(granted[2..], ["clocks", "random numbers"]);
    let host = site.start();
    let script = "#r0 letter;w1 page=text;w0 letter=x;r0 ../postern.toml;k1 a;k1 b;";
    let message = format!("Subject: files\r\n\r\n{script}\r\n");
    host.client().submit("jo@home.example", &["ann@files.example"], message.as_bytes());
    let expected = [
        "postern_recipients_total{connector=\"files\",what=\"delivered\"} 1",
        "postern_agent_directory_made_total{connector=\"files\"} 2",
        "postern_agent_directory_bytes_total{connector=\"files\",what=\"read\"} 6",
        "postern_agent_directory_bytes_total{connector=\"files\",what=\"written\"} 4",
        "postern_agent_refusals_total{connector=\"files\",what=\"directory\"} 3",
    ];
    eventually("what the agent did in the metrics", || {
        let (_, text) = http::get(host.admin(), "/metrics");
        expected.iter().all(|line| text.lines().any(|found| found == *line)).then_some(())
    });
    let page = site.folder().join("spool/page");
    assert_eq!(fs::read_to_string(&page).unwrap(), "text");
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o7777, 0o600);
    let log = host.log();
    for parts in [
        ["/in/letter", "reading only"],
        ["/in/../postern.toml", "leads out"],
        ["/out/b", "directory_made = 2"],
    ] {
        let told = |line: &&str| line.contains("refused") && parts.iter().all(|part| line.contains(part));
        assert!(log.lines().any(|line| told(&line)), "{parts:?}: {log}");
    }
    host.stop();
    site.audit();
}

#[test]
fn mail_waits_while_a_granted_folder_is_missing_and_a_reload_finds_it() {
    let site = site();
    fs::create_dir(site.folder().join("in")).unwrap();
    let warned = site.cli(&["check"]);
    assert_eq!(warned.code, 0, "{warned:?}");
    assert!(warned.json().to_string().contains("is not a folder"), "{warned:?}");
    let host = site.start();
    let connector = site.connector("files");
    assert_eq!(connector["state"], "disabled", "{connector}");
    assert!(connector["reason"].as_str().is_some_and(|why| why.contains("spool")), "{connector}");
    host.client().submit("jo@home.example", &["ann@files.example"], b"Subject: x\r\n\r\n#w1 page=late;\r\n");
    eventually("a queue in retry", || site.queue("files").filter(|queue| queue["state"] == "retry"));
    fs::create_dir(site.folder().join("spool")).unwrap();
    site.order(&["reload"]);
    assert_eq!(site.connector("files")["state"], "ready");
    site.order(&["queue", "retry", "files/files.example"]);
    eventually("the file", || {
        fs::read_to_string(site.folder().join("spool/page")).ok().filter(|text| text == "late")
    });
    // A folder that is put in its place is taken up by a reload, and not before.
    fs::rename(site.folder().join("spool"), site.folder().join("before")).unwrap();
    fs::create_dir(site.folder().join("spool")).unwrap();
    site.order(&["reload"]);
    host.client().submit("jo@home.example", &["ann@files.example"], b"Subject: x\r\n\r\n#w1 new=new;\r\n");
    eventually("the file in the new folder", || site.folder().join("spool/new").exists().then_some(()));
    host.stop();
    site.audit();
}
