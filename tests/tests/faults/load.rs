//! Mail that can be recognised when it comes out, and what its senders were told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use postern_smtp::Reply;
use postern_tests::gateway::counted;
use postern_tests::{SmtpClient, SmtpSink, messages};

/// The sender of everything.
pub const JO: &str = "jo@home.example";

/// Messages that were answered with 250.
#[derive(Default)]
pub struct Accepted(Mutex<BTreeSet<String>>);

impl Accepted {
    /// Remembers one.
    pub fn add(&self, marker: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(marker);
    }

    /// All, sorted.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// How an attempt to send ended.
#[derive(Debug)]
pub enum Sent {
    /// 250.
    Accepted,
    /// Another reply, to MAIL or to the content.
    Refused(Reply),
    /// The connection broke before there was a reply to the content.
    Broken,
}

/// Sends one message over a connection of its own.
pub fn send(server: SocketAddr, recipients: &[&str], marker: &str, size: usize) -> Sent {
    let Ok(mut client) = SmtpClient::try_connect(server) else { return Sent::Broken };
    let mut transaction = || {
        let reply = client.try_command(&format!("MAIL FROM:<{JO}>"))?;
        if reply.code != 250 {
            return Ok(reply);
        }
        for recipient in recipients {
            let reply = client.try_command(&format!("RCPT TO:<{recipient}>"))?;
            if reply.code == 421 {
                // The host ends.
                return Ok(reply);
            }
            assert_eq!(reply.code, 250, "{recipient}: {reply:?}");
        }
        client.data(&messages::sized(marker, size))
    };
    let reply: std::io::Result<Reply> = transaction();
    match reply {
        Ok(reply) if reply.code == 250 => Sent::Accepted,
        Ok(reply) => Sent::Refused(reply),
        Err(_) => Sent::Broken,
    }
}

/// Sends messages of this size one after the other until one is not accepted, and returns why.
pub fn send_until_refused(
    server: SocketAddr,
    recipients: &[&str],
    name: &str,
    size: usize,
    accepted: &Accepted,
) -> Sent {
    const ENOUGH: usize = 20_000;
    for number in 0..ENOUGH {
        let marker = format!("{name}-{number}");
        match send(server, recipients, &marker, size) {
            Sent::Accepted => accepted.add(marker),
            other => return other,
        }
    }
    panic!("{ENOUGH} messages of {size} bytes were accepted, and there is still room");
}

/// How often each message came to a smart host; each must be as it was sent.
pub fn arrived(sink: &SmtpSink) -> BTreeMap<String, usize> {
    counted(sink.arrived().iter().map(|arrived| {
        let text = arrived.text();
        let (_, after) = text.split_once("\r\nSubject: ").expect("a message of ours behind its trace field");
        let marker = after.lines().next().unwrap_or_default().to_owned();
        let body = &text[text.len() - after.len() - "Subject: ".len()..];
        assert!(body.as_bytes() == messages::sized(&marker, body.len()), "{marker} came out changed");
        marker
    }))
}

/// The accepted messages that did not come.
pub fn lost(accepted: &Accepted, arrived: &BTreeMap<String, usize>) -> Vec<String> {
    accepted.all().into_iter().filter(|marker| !arrived.contains_key(marker)).collect()
}
