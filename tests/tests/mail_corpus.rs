//! Real messages and our own awkward ones: whatever goes in comes out byte for byte, by both ways in and both ways out.

use std::collections::BTreeMap;
use std::path::Path;

use postern_tests::smtp_client::queued_id;
use postern_tests::{Gateway, Host, Site, WebhookServer, eventually, left_out, messages};
use serde_json::json;

const JO: &str = "jo@home.example";
const TO: [&str; 2] = ["ann@hook.example", "ann@pbx.example"];

/// A message that is under way: its name, how it went in, and the bytes that must come out.
struct Sent {
    name: String,
    expected: Vec<u8>,
}

/// Sends all of them by BDAT, and by DATA where that can carry them; by their ids.
fn send(host: &Host, all: &[(String, Vec<u8>)]) -> BTreeMap<String, Sent> {
    let mut client = host.client();
    let mut sent = BTreeMap::new();
    for (name, bytes) in all {
        let id = client.submit_binary(JO, &TO, bytes);
        sent.insert(id, Sent { name: format!("{name} by BDAT"), expected: bytes.clone() });
        let Some(carried) = messages::for_data(bytes) else { continue };
        client.envelope(&format!("{JO}> BODY=8BITMIME"), &TO).expect("the server replies");
        let id = queued_id(&client.data(&carried).expect("the server replies"));
        sent.insert(id, Sent { name: format!("{name} by DATA"), expected: carried });
    }
    sent
}

fn goes_through_byte_for_byte(all: &[(String, Vec<u8>)]) {
    let server = WebhookServer::start();
    let site = Site::new().webhook("hook", "SMTP:hook.example", &server.url(), "", "").foreign(
        "pbx",
        "SMTP:pbx.example",
        "",
    );
    let host = site.start();
    let gateway = Gateway::start(site.drop_directory("pbx"));
    let sent = send(&host, all);
    println!("{} messages were sent {} times", all.len(), sent.len());
    eventually("empty queues", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));

    let posted = server.posted();
    assert_eq!(posted.len(), sent.len(), "at the webhook");
    for message in posted {
        let Sent { name, expected } = &sent[&message.message_id()];
        assert!(message.message == *expected, "{name} came out changed at the webhook");
    }
    let files = gateway.stop();
    assert_eq!(files.len(), sent.len(), "in the drop directory");
    for file in files {
        let id = file.name.split('.').next().unwrap_or_default();
        let Sent { name, expected } = &sent[id];
        assert!(file.message() == &expected[..], "{name} came out changed in the drop directory");
    }
    let audit = site.audit();
    assert_eq!(audit["accepted"], 2 * sent.len());
    host.stop();
}

#[test]
fn our_own_awkward_messages_go_through_byte_for_byte() {
    goes_through_byte_for_byte(&messages::samples());
}

#[test]
fn real_messages_go_through_byte_for_byte() {
    let Some(folder) = std::env::var_os(left_out::MAIL_CORPUS) else {
        left_out::report(
            "real_messages_go_through_byte_for_byte",
            "POSTERN_MAIL_CORPUS is not set",
            "set POSTERN_MAIL_CORPUS to a folder of .eml files",
        );
        return;
    };
    let all = messages::in_folder(Path::new(&folder));
    assert!(!all.is_empty(), "no .eml file in {}", Path::new(&folder).display());
    goes_through_byte_for_byte(&all);
}
