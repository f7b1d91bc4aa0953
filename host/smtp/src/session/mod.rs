//! Session: the server's side of one SMTP connection as a machine without I/O.
//!
//! It takes bytes and gives replies, content, and questions to the host: may this sender, this recipient, this
//! message? One question is asked at a time; commands that were pipelined behind it stay in the input.

mod answer;
mod content;
mod handle;
mod line;

use std::sync::Arc;

use crate::intake::Intake;
use crate::reply::{clean, write_line};
use crate::{
    EnhancedCode, ForwardPath, HeaderFacts, MailParams, RcptParams, ReversePath, SessionConfig, Verdict,
};
use content::Receiving;
use line::LineReader;

/// What the session needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes. Time to send the output, and to spill content that has grown large.
    NeedInput,
    /// Whether this sender may start a message: [`Session::answer`].
    Mail(MailRequest),
    /// Whether the message may have this recipient: [`Session::answer`].
    Recipient(RecipientRequest),
    /// The message is complete, all of its content was handed out, and it has at least one recipient. Whether
    /// it is accepted: [`Session::answer`], once it is safe.
    Message(ReceivedMessage),
    /// What was handed out of the current message is to be thrown away: it was refused or given up.
    Discard,
    /// The output is to be sent and the connection closed, without a further word.
    Close,
}

/// MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailRequest {
    /// Where notifications go.
    pub reverse_path: ReversePath,
    /// Its parameters.
    pub params: MailParams,
}

/// RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientRequest {
    /// Where the message goes.
    pub forward_path: ForwardPath,
    /// Its parameters.
    pub params: RcptParams,
}

/// A complete message and its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// The accepted sender.
    pub mail: MailRequest,
    /// The accepted recipients in their order; at least one.
    pub recipients: Vec<RecipientRequest>,
    /// Bytes of the content.
    pub size: u64,
    /// What its header told.
    pub header: HeaderFacts,
    /// Whether it came by BDAT and thus may hold any octets in lines of any form.
    pub chunked: bool,
}

/// Who the client says it is.
#[derive(Debug)]
struct Client {
    name: String,
    extended: bool,
}

/// A transaction: from an accepted MAIL to the end of the message.
#[derive(Debug)]
struct Transaction {
    mail: MailRequest,
    recipients: Vec<RecipientRequest>,
    /// Whether recipients were refused.
    refused: bool,
    /// The message, from the first BDAT on.
    chunks: Option<Intake>,
}

/// What the host was asked.
#[derive(Debug)]
enum Question {
    Mail(MailRequest),
    Recipient(RecipientRequest),
    Message,
}

/// Where the conversation is.
#[derive(Debug)]
enum State {
    /// The greeting is not written yet.
    Start,
    /// Between commands.
    Commands,
    /// Content or a chunk is coming in.
    Receiving(Receiving),
    /// Over.
    Closed,
}

/// The server's side of one connection. See the module for how it is driven.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    state: State,
    lines: LineReader,
    client: Option<Client>,
    transaction: Option<Transaction>,
    question: Option<Question>,
    verdict: Option<Verdict>,
    /// What the greeting says instead of 220; then nothing but QUIT is understood (RFC 5321 3.1).
    refusal: Option<Verdict>,
    /// Protocol errors since the last accepted message.
    errors: usize,
    /// MAIL was refused, so that what was pipelined behind it fails through no fault of the client.
    aftermath: bool,
    /// The host holds content of a message that was given up.
    discard: bool,
}

impl Session {
    /// A session that will greet its client at the first [`Self::advance`].
    #[must_use]
    pub fn new(config: Arc<SessionConfig>) -> Self {
        let lines = LineReader::new(config.limits.max_command_length);
        Self {
            config,
            state: State::Start,
            lines,
            client: None,
            transaction: None,
            question: None,
            verdict: None,
            refusal: None,
            errors: 0,
            aftermath: false,
            discard: false,
        }
    }

    /// A session that refuses to serve: `verdict` is its greeting. After a 421 the connection is closed at
    /// once; after a 554 the client may still say QUIT and gets 503 for all else (RFC 5321 3.1).
    #[must_use]
    pub fn refusing(config: Arc<SessionConfig>, verdict: Verdict) -> Self {
        Self { refusal: Some(verdict), ..Self::new(config) }
    }

    /// Takes what it can off the front of `input` by moving its start, appends replies to `output` and bytes of
    /// the message to `content`, until it needs something.
    ///
    /// What is left of `input` is to be offered again, in front of what is read next: a command line is taken
    /// only whole. The buffer behind `input` must have room for one command line of the configured length.
    /// A question that was not answered before the next call counts as answered by 451 4.3.0.
    pub fn advance(&mut self, input: &mut &[u8], output: &mut Vec<u8>, content: &mut Vec<u8>) -> Step {
        if let Some(question) = self.question.take() {
            self.settle(question, output);
        }
        loop {
            if std::mem::take(&mut self.discard) {
                return Step::Discard;
            }
            let step = match &mut self.state {
                State::Start => self.greet(output),
                State::Commands => self.command(input, output),
                State::Receiving(_) => self.receive(input, output, content),
                State::Closed => Some(Step::Close),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// The answer to [`Step::Mail`], [`Step::Recipient`] or [`Step::Message`]. Its reply is written by the next
    /// [`Self::advance`]. Without a question nothing happens.
    pub fn answer(&mut self, verdict: Verdict) {
        if self.question.is_some() {
            self.verdict = Some(verdict);
        }
    }

    /// What to send before the connection is closed because the client was silent for too long
    /// (RFC 5321 4.5.3.2): 421 4.4.2.
    #[must_use]
    pub fn timeout_reply(&self) -> Vec<u8> {
        self.farewell(EnhancedCode::new(4, 4, 2), "timeout, closing connection")
    }

    /// What to send before the connection is closed because the server stops (RFC 5321 3.8): 421 4.3.2.
    #[must_use]
    pub fn shutdown_reply(&self) -> Vec<u8> {
        self.farewell(EnhancedCode::new(4, 3, 2), "service shutting down, closing connection")
    }

    /// What the client called itself in HELO or EHLO; printable ASCII without spaces.
    #[must_use]
    pub fn helo_name(&self) -> Option<&str> {
        self.client.as_ref().map(|client| client.name.as_str())
    }

    /// The protocol's word for the Received field (RFC 3848): `ESMTP` after EHLO, else `SMTP`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        if self.client.as_ref().is_some_and(|client| client.extended) { "ESMTP" } else { "SMTP" }
    }

    /// Whether a message was begun and neither finished nor given up.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some() || self.question.is_some() || matches!(self.state, State::Receiving(_))
    }

    fn farewell(&self, enhanced: EnhancedCode, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        self.reply(&mut out, 421, enhanced, &clean(&format!("{} {text}", self.config.host_name)));
        out
    }

    fn greet(&mut self, output: &mut Vec<u8>) -> Option<Step> {
        self.state = State::Commands;
        let host = clean(&self.config.host_name);
        match &self.refusal {
            // RFC 2034 section 3: no enhanced code in the greeting.
            Some(verdict) => {
                let code = if verdict.is_accepted() { 554 } else { verdict.code() };
                write_line(output, code, None, &clean(&format!("{host} {}", verdict.text_or("no service"))));
                if verdict.closes() {
                    self.state = State::Closed;
                }
            }
            None => {
                let banner = self.config.banner.as_deref().unwrap_or("ESMTP");
                write_line(output, 220, None, &clean(&format!("{host} {banner}")));
            }
        }
        None
    }

    /// Writes a reply of one line, with its enhanced code if these are offered.
    fn reply(&self, output: &mut Vec<u8>, code: u16, enhanced: EnhancedCode, text: &str) {
        write_line(output, code, self.config.extensions.enhanced.then_some(enhanced), text);
    }

    /// Writes the reply to a faulty or misplaced command, or 421 when there were too many of them.
    fn protocol_error(&mut self, output: &mut Vec<u8>, code: u16, enhanced: EnhancedCode, text: &str) {
        self.errors += 1;
        if self.errors > self.config.limits.max_protocol_errors {
            self.hang_up(output, "too many errors");
        } else {
            self.reply(output, code, enhanced, text);
        }
    }

    /// Writes 421 4.7.0 and ends the session.
    fn hang_up(&mut self, output: &mut Vec<u8>, text: &str) {
        self.reply(output, 421, EnhancedCode::new(4, 7, 0), text);
        self.give_up();
        self.state = State::Closed;
    }

    /// Ends the transaction without a message.
    fn give_up(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            self.discard |= transaction.chunks.is_some_and(|chunks| chunks.is_stored());
        }
    }
}
