//! Talk: a client in front of a session, and a host behind it that answers by rules and keeps what it accepted.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::sync::Arc;

use postern_smtp::{EnhancedCode, ReceivedMessage, Session, SessionConfig, Step, Verdict};

/// Decides about every question.
pub type Rules = fn(&Step) -> Verdict;

pub struct Talk {
    pub session: Session,
    pub rules: Rules,
    /// What the host holds of the message that is coming in.
    pub content: Vec<u8>,
    /// What it accepted.
    pub accepted: Vec<(ReceivedMessage, Vec<u8>)>,
    /// What it was asked about and refused.
    pub refused: usize,
    pub discards: usize,
    pub closed: bool,
    input: Vec<u8>,
}

/// Accepts everything but recipients and senders whose local part says otherwise.
pub fn by_local_part(step: &Step) -> Verdict {
    let local = match step {
        Step::Mail(mail) => mail.reverse_path.mailbox().map(|m| m.local_part().to_owned()),
        Step::Recipient(rcpt) => rcpt.forward_path.mailbox().map(|m| m.local_part().to_owned()),
        _ => None,
    };
    match local.as_deref() {
        Some("unknown") => Verdict::new(550, EnhancedCode::new(5, 1, 1), "no such mailbox"),
        Some("later") => Verdict::new(451, EnhancedCode::new(4, 7, 1), "later"),
        Some("leave") => Verdict::new(421, EnhancedCode::new(4, 7, 0), "leave"),
        _ => Verdict::accept(),
    }
}

pub fn config() -> SessionConfig {
    SessionConfig::new("gw.example")
}

impl Talk {
    /// A session that has sent its greeting.
    pub fn new(config: SessionConfig) -> Self {
        let mut talk = Self::of(Session::new(Arc::new(config)));
        assert_eq!(talk.say(b""), "220 gw.example ESMTP\r\n");
        talk
    }

    pub fn of(session: Session) -> Self {
        Self {
            session,
            rules: by_local_part,
            content: Vec::new(),
            accepted: Vec::new(),
            refused: 0,
            discards: 0,
            closed: false,
            input: Vec::new(),
        }
    }

    /// A session that has greeted and was greeted.
    pub fn greeted(config: SessionConfig) -> Self {
        let mut talk = Self::new(config);
        assert!(talk.say(b"EHLO client.example\r\n").ends_with("250 BINARYMIME\r\n"));
        talk
    }

    /// Feeds bytes and returns what the server said.
    pub fn say(&mut self, bytes: &[u8]) -> String {
        self.input.extend_from_slice(bytes);
        let mut output = Vec::new();
        while !self.closed {
            let mut rest = &self.input[..];
            let step = self.session.advance(&mut rest, &mut output, &mut self.content);
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            match &step {
                Step::NeedInput => break,
                Step::Close => self.closed = true,
                Step::Discard => {
                    self.discards += 1;
                    self.content.clear();
                }
                Step::Mail(_) | Step::Recipient(_) => {
                    let verdict = (self.rules)(&step);
                    self.session.answer(verdict);
                }
                Step::Message(message) => {
                    let verdict = (self.rules)(&step);
                    let content = std::mem::take(&mut self.content);
                    if verdict.is_accepted() {
                        self.accepted.push((message.clone(), content));
                    } else {
                        self.refused += 1;
                    }
                    self.session.answer(verdict);
                }
            }
        }
        String::from_utf8(output).expect("replies are ASCII")
    }

    /// Feeds lines, each with a CRLF, and expects the start of each reply.
    pub fn expect(&mut self, dialogue: &[(&str, &str)]) {
        for (line, reply) in dialogue {
            let said = self.say(format!("{line}\r\n").as_bytes());
            assert!(
                said.starts_with(reply) && said.ends_with("\r\n"),
                "{line:?} got {said:?}, expected {reply:?}"
            );
            assert_eq!(said.matches("\r\n").count(), 1, "{line:?} got {said:?}");
        }
    }

    /// Begins a message to one recipient.
    pub fn envelope(&mut self) {
        self.expect(&[("MAIL FROM:<a@b.example>", "250 2.1.0 "), ("RCPT TO:<c@d.example>", "250 2.1.5 ")]);
    }

    /// Sends `wire` behind DATA and returns the reply.
    pub fn data(&mut self, wire: &[u8]) -> String {
        self.envelope();
        self.expect(&[("DATA", "354 ")]);
        self.say(wire)
    }

    /// That the session still understands what is said to it.
    pub fn assert_in_step(&mut self) {
        assert!(!self.session.in_transaction());
        let before = self.accepted.len();
        let said = self.data(b"Subject: next\r\n\r\nnext\r\n.\r\n");
        assert!(said.starts_with("250 2.0.0 "), "{said}");
        assert_eq!(self.accepted.len(), before + 1);
        assert_eq!(self.accepted[before].1, b"Subject: next\r\n\r\nnext\r\n");
    }
}
