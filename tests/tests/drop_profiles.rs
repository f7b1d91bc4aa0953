//! What gateways find in drop directories with the profiles that are not for one program, from SMTP to the files.

use std::fs;
use std::path::Path;

use postern_tests::{Site, eventually, gateway, messages};
use serde_json::{Value, json};

const JO: &str = "jo@home.example";

fn names(directory: &Path) -> Vec<String> {
    let paths = gateway::files(directory);
    paths.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
}

/// The names of the files once there are so many.
fn when_there_are(count: usize, directory: &Path) -> Vec<String> {
    eventually("files", || Some(names(directory)).filter(|names| names.len() == count))
}

fn text(subject: &str, text: &str) -> Vec<u8> {
    format!(
        "From: {JO}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

#[test]
fn a_counted_file_and_its_marker_come_for_each_recipient_and_the_counter_goes_on_after_a_restart() {
    let custom = "profile = \"custom\"\nsuccess_on = \"taken\"\n[foreign_connectors.old.custom]\nname = \"%08d\"\n\
        upper_case = true\nshort_names = true\nfiles_per = \"recipient\"\ncode_page = \"cp850\"\nmarker_extension = \"rdy\"\n\
        content = \"TO={local}\\nSUBJECT={subject}\\n\\n{text}\\n\"\nline_width = 20\n";
    let site = Site::new().foreign("old", "SMTP:old.example", custom);
    let directory = site.drop_directory("old");
    let host = site.start();
    let message = text("Gr\u{fc}\u{df}e", "Der Zug f\u{e4}hrt um sieben Uhr.");
    host.client().submit(JO, &["ann@old.example", "ben@old.example"], &message);
    let found = when_there_are(4, &directory);
    assert_eq!(found, ["00000001.RDY", "00000001.TXT", "00000002.RDY", "00000002.TXT"]);
    let content = |number: u32| fs::read(directory.join(format!("{number:08}.TXT"))).unwrap();
    let expected = |to: &str| {
        let mut text =
            format!("TO={to}\r\nSUBJECT=Gr__e\r\n\r\nDer Zug f_hrt um\r\nsieben Uhr.\r\n").into_bytes();
        let mut letters = [0x81, 0xe1, 0x84].into_iter();
        text.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = letters.next().unwrap());
        text
    };
    let mut both = [content(1), content(2)];
    both.sort();
    assert_eq!(both, [expected("ann"), expected("ben")]);
    host.kill();

    // After a crash nothing is written twice, and numbers go on.
    let host = site.start();
    let id = host.client().submit(JO, &["cid@old.example"], &message);
    let found = when_there_are(6, &directory);
    assert_eq!(found[4..], ["00000003.RDY", "00000003.TXT"]);

    // What is removed goes as a whole.
    site.order(&["message", "remove", &id]);
    when_there_are(4, &directory);
    for name in ["00000001.TXT", "00000001.RDY", "00000002.TXT", "00000002.RDY"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
    eventually("an empty queue", || (site.ask(&["queue", "list"]) == json!([])).then_some(()));
    site.audit();
    host.stop();
}

#[test]
fn a_message_and_its_manifest_say_all_that_the_envelope_said() {
    let site = Site::new().foreign(
        "archive",
        "SMTP:archive.example",
        "profile = \"json\"\njson = { line_end = \"lf\" }",
    );
    let directory = site.drop_directory("archive");
    let host = site.start();
    let message = messages::simple("dots");
    let (ann, ben) = (
        "ann@archive.example> NOTIFY=SUCCESS ORCPT=rfc822;old@x.example",
        "ben@archive.example> NOTIFY=NEVER",
    );
    host.client().submit("jo@home.example> RET=HDRS ENVID=env+2B1 BODY=8BITMIME", &[ann, ben], &message);
    let found = when_there_are(2, &directory);
    let manifest: Value = serde_json::from_slice(&fs::read(directory.join(&found[1])).unwrap()).unwrap();
    assert_eq!(manifest["content"]["file"], found[0].as_str());
    let file = fs::read(directory.join(&found[0])).unwrap();
    assert_eq!(String::from_utf8_lossy(&file), String::from_utf8_lossy(&message).replace("\r\n", "\n"));
    assert_eq!(manifest["content"]["bytes"], message.len());
    assert_eq!(
        (&manifest["envelope"]["envelope_id"], &manifest["envelope"]["return"]),
        (&json!("env+1"), &json!("headers"))
    );
    assert_eq!(manifest["recipients"][0]["notify"], json!(["success"]));
    assert_eq!(manifest["recipients"][0]["original"], "rfc822;old@x.example");
    assert_eq!(manifest["recipients"][1]["notify"], json!([]));
    host.stop();
}

#[test]
fn text_and_attachments_come_as_files_of_their_own() {
    let lines = "profile = \"parts\"\nparts = { code_page = \"cp037\", line_end = \"nel\", accept = [\"image/tiff\"] }";
    let site = Site::new().foreign("imaging", "SMTP:imaging.example", lines);
    let directory = site.drop_directory("imaging");
    let host = site.start();
    let message = format!(
        "From: {JO}\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHELLO\r\nYOU\r\n\
         --b\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"../../x.tif\"\r\n\r\nSUkqAAANCi4NCg==\r\n\
         --b\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n--b--\r\n"
    );
    host.client().submit(JO, &["a@imaging.example"], message.as_bytes());
    let found = when_there_are(3, &directory);
    let text = fs::read(directory.join(&found[0])).unwrap();
    assert_eq!(text, b"\xc8\xc5\xd3\xd3\xd6\x15\xe8\xd6\xe4", "{found:?}");
    assert_eq!(fs::read(directory.join(&found[1])).unwrap(), b"II*\0\0\r\n.\r\n", "byte for byte");
    let manifest: Value = serde_json::from_slice(&fs::read(directory.join(&found[2])).unwrap()).unwrap();
    assert_eq!(manifest["parts"][1]["file"], found[1].as_str());
    assert_eq!(manifest["parts"][1]["name"], "../../x.tif");
    assert_eq!(
        (&manifest["parts"][2]["file"], &manifest["parts"][2]["content_type"]),
        (&json!(null), &json!("application/zip"))
    );
    host.stop();
}
