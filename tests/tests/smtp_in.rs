//! Mail in by SMTP: what is taken, what is refused, and that what was taken comes out byte for byte.

use postern_tests::gateway::{self, DropFile};
use postern_tests::smtp_client::queued_id;
use postern_tests::{Host, Site, SmtpClient, eventually, messages};

const JO: &str = "jo@home.example";

fn dropped(site: &Site, connector: &str, count: usize) -> Vec<DropFile> {
    let directory = site.drop_directory(connector);
    eventually(&format!("{count} files in {}", directory.display()), || {
        (gateway::files(&directory).len() >= count).then(|| gateway::read(&directory))
    })
}

fn code_of(client: &mut SmtpClient, line: &str) -> String {
    let reply = client.command(line);
    let enhanced = reply.enhanced.map(|code| format!(" {code}")).unwrap_or_default();
    format!("{}{enhanced}", reply.code)
}

#[test]
fn a_message_goes_to_each_drop_directory_and_its_way_can_be_tracked() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "").foreign("fax", "SMTP:fax.example", "");
    let host = site.start();
    let message = messages::simple("first");
    let to = ["ann@pbx.example", "ben@fax.example", "cy@pbx.example"];
    let id = host.client().submit(JO, &to, &message);

    for (connector, recipients) in
        [("pbx", &["ann@pbx.example", "cy@pbx.example"][..]), ("fax", &["ben@fax.example"])]
    {
        let files = dropped(&site, connector, 1);
        let (trace, content) = files[0].split();
        assert_eq!(content, message, "in {connector}");
        assert_eq!(files[0].recipients(), recipients);
        assert!(files[0].name.starts_with(&id), "{} for {id}", files[0].name);
        assert_eq!(trace[0], "Return-Path: <jo@home.example>");
        let received = &trace[trace.len() - 3..];
        assert_eq!(received[0], "Received: from client.example ([127.0.0.1])");
        assert_eq!(received[1], format!("\tby gw.example with ESMTP id {id};"));
    }

    assert_eq!(gateway::take(&site.drop_directory("pbx")).len(), 1);
    let events = eventually("the pickup in the tracking", || {
        let events = site.events("ann@pbx.example");
        events.contains(&"taken".to_owned()).then_some(events)
    });
    assert_eq!(events, ["receive", "relay", "taken"]);
    let rows = site.track(&["--message", "<first@home.example>"]);
    assert!(rows.len() == 3 && rows.iter().all(|e| e["message_id"] == id), "{rows:?}");
    assert_eq!(site.ask(&["queue", "list"]), serde_json::json!([]));
    let audit = site.audit();
    assert_eq!((&audit["accepted"], &audit["relayed"]), (&3.into(), &3.into()));
    host.stop();
    assert_eq!(site.events("ann@pbx.example"), events, "after the end of the host");
    site.audit();
}

#[test]
fn whom_nobody_serves_is_refused_at_rcpt_and_the_rest_goes_on() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let mut client = host.client();
    assert_eq!(code_of(&mut client, "MAIL FROM:<jo@home.example>"), "250 2.1.0");
    assert_eq!(code_of(&mut client, "RCPT TO:<ann@elsewhere.example>"), "550 5.4.4");
    assert_eq!(code_of(&mut client, "RCPT TO:<ann@pbx.example>"), "250 2.1.5");
    assert_eq!(client.data(&messages::simple("rest")).unwrap().code, 250);
    assert_eq!(dropped(&site, "pbx", 1)[0].recipients(), ["ann@pbx.example"]);
    host.stop();
}

#[test]
fn who_is_not_among_the_submitters_of_a_connector_is_refused_at_rcpt() {
    let site = Site::new()
        .foreign("fax", "SMTP:fax.example", "submitters = [\"network:192.0.2.0/24\"]")
        .foreign("vip", "SMTP:vip.example", "submitters = [\"sender:*@boss.example\"]")
        .foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let mut client = host.client();
    assert_eq!(code_of(&mut client, "MAIL FROM:<jo@home.example>"), "250 2.1.0");
    assert_eq!(code_of(&mut client, "RCPT TO:<ann@fax.example>"), "550 5.7.1");
    assert_eq!(code_of(&mut client, "RCPT TO:<ann@vip.example>"), "550 5.7.1");
    assert_eq!(code_of(&mut client, "RCPT TO:<ann@pbx.example>"), "250 2.1.5");
    assert_eq!(code_of(&mut client, "RSET"), "250 2.0.0");
    assert_eq!(code_of(&mut client, "MAIL FROM:<ceo@boss.example>"), "250 2.1.0");
    assert_eq!(code_of(&mut client, "RCPT TO:<ann@vip.example>"), "250 2.1.5");
    host.stop();
}

#[test]
fn a_message_above_the_limit_is_refused_however_it_comes() {
    let site = Site::with("", "max_message_size = \"64KiB\"").foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let large = messages::sized("large", 64 * 1024 + 1);
    let mut client = host.client();
    assert_eq!(client.command("MAIL FROM:<jo@home.example> SIZE=65537").code, 552);
    client.envelope(JO, &["ann@pbx.example"]).unwrap();
    assert_eq!(client.data(&large).unwrap().code, 552);
    client.envelope(JO, &["ann@pbx.example"]).unwrap();
    assert_eq!(client.bdat(&large, 10_000).unwrap().code, 552);
    let mut client = host.client();
    let fits = messages::sized("fits", 60_000);
    client.submit(JO, &["ann@pbx.example"], &fits);
    let files = dropped(&site, "pbx", 1);
    assert_eq!((files.len(), files[0].message()), (1, &fits[..]));
    assert_eq!(site.audit()["accepted"], 1);
    host.stop();
}

#[test]
fn nothing_that_other_servers_take_for_the_end_of_a_message_smuggles_a_second_one_in() {
    let site = Site::with("", "max_protocol_errors = 100").foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let second =
        "MAIL FROM:<evil@home.example>\r\nRCPT TO:<ann@pbx.example>\r\nDATA\r\nSubject: evil\r\n\r\nevil";
    for end in
        ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n.\r", "\r\r\n.\n", "\r\n\0.\r\n"]
    {
        let mut client = host.client();
        client.envelope(JO, &["ann@pbx.example"]).unwrap();
        assert_eq!(client.command("DATA").code, 354);
        client.send(format!("Subject: x\r\n\r\nx{end}{second}\r\n.\r\n").as_bytes());
        let reply = client.reply();
        assert!(reply.is_permanent(), "{end:?}: {reply:?}");
        // The next reply is that to NOOP: nothing of the content was taken for a command.
        assert_eq!(code_of(&mut client, "NOOP"), "250 2.0.0", "{end:?}");
    }
    host.client().submit(JO, &["ann@pbx.example"], &messages::simple("good"));
    let files = dropped(&site, "pbx", 1);
    assert_eq!((files.len(), files[0].message()), (1, &messages::simple("good")[..]));
    assert_eq!(site.audit()["accepted"], 1);
    host.stop();
}

/// Sends each content by DATA where it can be, and by BDAT in one and in several chunks; expects each back to the byte.
fn sends_and_finds(site: &Site, host: &Host, contents: &[Vec<u8>]) {
    const REPLIES: &str = "the server replies";
    let to = ["ann@pbx.example"];
    let mut expected = Vec::new();
    let mut client = host.client();
    for content in contents {
        if messages::for_data(content).is_some_and(|carried| carried == *content) {
            client.envelope(&format!("{JO}> BODY=8BITMIME"), &to).expect(REPLIES);
            expected.push((queued_id(&client.data(content).expect(REPLIES)), "DATA", content));
        }
        expected.push((client.submit_binary(JO, &to, content), "BDAT", content));
        client.envelope(&format!("{JO}> BODY=BINARYMIME"), &to).expect(REPLIES);
        let reply = client.bdat(content, content.len() / 3 + 1).expect(REPLIES);
        expected.push((queued_id(&reply), "BDAT in chunks", content));
    }
    let files = dropped(site, "pbx", expected.len());
    assert_eq!(files.len(), expected.len());
    for (id, how, content) in expected {
        let file = files.iter().find(|file| file.name.starts_with(&id)).expect("each message has its file");
        let same = file.message() == &content[..];
        assert!(
            same,
            "{how} of {:?}... came out changed",
            String::from_utf8_lossy(&content[..40.min(content.len())])
        );
    }
}

#[test]
fn nul_eight_bit_and_long_lines_come_out_byte_for_byte() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let contents = [
        messages::simple("simple"),
        messages::binary("binary"),
        messages::eight_bit("eight bit"),
        messages::long_line("line of 998", 998),
        messages::long_line("line of 1000", 1000),
        messages::long_line("line of 200 KB", 200_000),
        b"\r\n".to_vec(),
    ];
    sends_and_finds(&site, &host, &contents);
    site.audit();
    host.stop();
}

#[test]
fn contents_too_large_for_memory_or_the_database_come_out_byte_for_byte() {
    let site = Site::new().foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let kib = 1024;
    let mut large: Vec<Vec<u8>> = [256 * kib - 40, 256 * kib + 1, 300 * kib, 3 * kib * kib / 2]
        .into_iter()
        .map(|bytes| messages::sized(&format!("{bytes} bytes"), bytes))
        .collect();
    // Dots at line starts, over and over, across every border between two reads.
    let mut dots = b"Subject: dots\r\n\r\n".to_vec();
    while dots.len() < 700 * kib {
        dots.extend_from_slice(b".\r\n..\r\nx\r\n");
    }
    large.push(dots);
    sends_and_finds(&site, &host, &large);
    site.audit();
    host.stop();
}

/// A message that has passed so many servers of this name.
fn travelled(by: &str, hops: usize) -> Vec<u8> {
    let hop = format!("Received: from a.example by {by} with ESMTP; Thu, 1 Jan 2026 00:00:00 +0000\r\n");
    let mut message = hop.repeat(hops).into_bytes();
    message.extend(messages::simple("travelled"));
    message
}

#[test]
fn a_message_that_passed_too_many_servers_is_refused_as_a_loop() {
    let site = Site::with("", "max_hops = 5").foreign("pbx", "SMTP:pbx.example", "");
    let host = site.start();
    let mut client = host.client();
    client.submit(JO, &["ann@pbx.example"], &travelled("far.example", 5));
    client.envelope(JO, &["ann@pbx.example"]).unwrap();
    let reply = client.data(&travelled("far.example", 6)).unwrap();
    assert_eq!(
        (reply.code, reply.enhanced.map(|e| e.to_string())),
        (554, Some("5.4.6".to_owned())),
        "{reply:?}"
    );
    host.stop();
}
