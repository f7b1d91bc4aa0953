//! Link: one bound SMPP session over a TCP connection: what comes in is answered here, whoever waits for what.

use std::fmt;

use postern_agent_sdk::tcp::{Fault, Stream};
use postern_agent_sdk::{Deferral, Receipt, Refusal, Response, class, host, log};

use crate::answer;
use crate::inbound;
use crate::pdu::{Bind, Frames, Message, Pdu, command};
use crate::receipt::{self, Ids};
use crate::settings::Settings;

/// The most receipts that are taken in one call of the host. The far end keeps the others and tells them again.
const MAX_RECEIPTS: usize = 500;
/// The most that is read at once, in bytes.
const READ: u32 = 64 * 1024;
/// What is left of a call's time when waiting ends, in milliseconds: enough to report.
const RESERVE_MS: u32 = 1_000;
/// "Temporary error of the receiver" (ESME_RX_T_APPN): the far end tells it again.
const TEMPORARY: u32 = 0x64;

/// Why the session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone(pub String);

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Fault> for Gone {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

/// An answer to one of our requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The sequence number of the request.
    pub sequence: u32,
    /// Its `command_status`.
    pub status: u32,
    /// Its body.
    pub body: Vec<u8>,
}

/// A bound session.
pub struct Link {
    stream: Stream,
    frames: Frames,
    sequence: u32,
    /// Bytes that were read.
    read: u64,
    /// When the far end was last heard, in milliseconds.
    heard: u64,
    /// The `enquire_link` that has no answer yet, and when it was sent.
    enquired: Option<(u32, u64)>,
    /// Receipts that the host does not have yet.
    receipts: Vec<Receipt>,
    /// The answers to those that it had got by the end of the last call.
    unanswered: Vec<Pdu>,
    /// The answers to those in `receipts`.
    fresh: Vec<Pdu>,
}

/// The time in milliseconds.
pub fn now_ms() -> u64 {
    let (seconds, nanoseconds) = host::now();
    u64::from(seconds) * 1000 + u64::from(nanoseconds) / 1_000_000
}

/// So many milliseconds at most, and no more than the call has left.
fn patience(wanted_ms: u64) -> u32 {
    let left = host::remaining_ms().saturating_sub(RESERVE_MS);
    u32::try_from(wanted_ms).unwrap_or(u32::MAX).min(left)
}

impl Link {
    /// Connects and binds.
    ///
    /// # Errors
    /// With what that says about the queue.
    pub fn bind(settings: &Settings, ids: &mut Ids) -> Result<Self, Refusal> {
        let timeout = u64::from(settings.response_timeout_seconds) * 1000;
        let password = match &settings.password {
            None => String::new(),
            Some(name) => host::secret(name).ok_or_else(|| {
                let text = format!("settings.password: the secret {name:?} is not granted");
                Refusal::DeferQueue(Deferral::new(Response::new(451, (4, 3, 5), &text), class::BLOCKED))
            })?,
        };
        let stream =
            Stream::connect(&settings.address, patience(timeout)).map_err(|fault| unreachable(&fault))?;
        let mut link = Self {
            stream,
            frames: Frames::default(),
            sequence: 0,
            read: 0,
            heard: now_ms(),
            enquired: None,
            receipts: Vec::new(),
            unanswered: Vec::new(),
            fresh: Vec::new(),
        };
        let Settings { system_id, system_type, .. } = settings;
        let bind = Bind { system_id, password: &password, system_type };
        let not_bound = |gone: Gone| {
            let text = format!("no bind: {gone}");
            Refusal::DeferQueue(Deferral::new(
                Response::new(451, (4, 4, 2), &text),
                class::SERVICE_UNAVAILABLE,
            ))
        };
        let sequence = link.next_sequence();
        let request = Pdu::new(command::BIND_TRANSCEIVER, sequence, bind.body());
        link.send(&[request], settings).map_err(not_bound)?;
        let until = now_ms() + timeout;
        loop {
            let left = patience(until.saturating_sub(now_ms()));
            if left == 0 {
                return Err(not_bound(Gone("no answer to the bind in time".to_owned())));
            }
            let answers = link.hear(left, settings, ids).map_err(not_bound)?;
            match answers.into_iter().find(|answer| answer.sequence == sequence) {
                Some(answer) if answer.status == 0 => return Ok(link),
                Some(answer) => return Err(answer::bind_refused(answer.status)),
                None => {}
            }
        }
    }

    /// The number of the next request (3.2: 1 to 0x7FFFFFFF).
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence % 0x7FFF_FFFF + 1;
        self.sequence
    }

    /// How many bytes were heard so far.
    pub fn heard_bytes(&self) -> u64 {
        self.read
    }

    /// Sends PDUs in one piece.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub fn send(&mut self, pdus: &[Pdu], settings: &Settings) -> Result<(), Gone> {
        let mut bytes = Vec::new();
        pdus.iter().for_each(|pdu| pdu.write(&mut bytes));
        let timeout = patience(u64::from(settings.response_timeout_seconds) * 1000);
        Ok(self.stream.write(&bytes, timeout)?)
    }

    /// Tells the far end that the receipts of earlier calls need not be told again: the host has them on its disk, else
    /// this call would not be. To be called first in every call.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub fn acknowledge(&mut self, settings: &Settings) -> Result<(), Gone> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let answers = std::mem::take(&mut self.unanswered);
        self.send(&answers, settings)
    }

    /// The receipts that came since this was asked last, for the host.
    pub fn take_receipts(&mut self) -> Vec<Receipt> {
        self.unanswered.append(&mut self.fresh);
        std::mem::take(&mut self.receipts)
    }

    /// Waits at most so long for something, answers what wants an answer, and gives the answers to our own requests.
    ///
    /// # Errors
    /// When the session is over.
    pub fn hear(&mut self, timeout_ms: u32, settings: &Settings, ids: &mut Ids) -> Result<Vec<Answer>, Gone> {
        match self.stream.read(READ, timeout_ms) {
            Ok(bytes) if bytes.is_empty() => {
                return Err(Gone("the message centre closed the connection".to_owned()));
            }
            Ok(bytes) => {
                self.read += bytes.len() as u64;
                self.frames.push(&bytes);
            }
            Err(Fault::Timeout) => return Ok(Vec::new()),
            Err(fault) => return Err(fault.into()),
        }
        self.heard = now_ms();
        let (mut answers, mut replies, mut unbound) = (Vec::new(), Vec::new(), false);
        while let Some(pdu) = self.frames.next().map_err(|broken| Gone(broken.to_string()))? {
            match pdu.command {
                command::ENQUIRE_LINK => replies.push(pdu.response(0)),
                command::DELIVER_SM => replies.extend(self.arrived(&pdu, settings, ids)),
                command::UNBIND => {
                    replies.push(pdu.response(0));
                    unbound = true;
                }
                _ if pdu.command & command::RESPONSE != 0 => {
                    if self.enquired.is_some_and(|(sequence, _)| sequence == pdu.sequence) {
                        self.enquired = None;
                    } else {
                        answers.push(Answer { sequence: pdu.sequence, status: pdu.status, body: pdu.body });
                    }
                }
                _ => replies.push(Pdu {
                    command: command::GENERIC_NACK,
                    status: 0x03,
                    sequence: pdu.sequence,
                    body: Vec::new(),
                }),
            }
        }
        if !replies.is_empty() {
            self.send(&replies, settings)?;
        }
        if unbound && answers.is_empty() {
            return Err(Gone("the message centre has unbound".to_owned()));
        }
        Ok(answers)
    }

    /// Takes a `deliver_sm`. The answer, where it may be given at once.
    fn arrived(&mut self, pdu: &Pdu, settings: &Settings, ids: &mut Ids) -> Option<Pdu> {
        let Some(message) = Message::read(&pdu.body) else {
            log::warn("a deliver_sm could not be read; it is refused");
            return Some(pdu.response(0x02));
        };
        if !message.is_receipt() {
            return Some(pdu.response(match inbound::hand_in(&message, settings) {
                // The message is durable now.
                Ok(()) => 0,
                Err(why) => {
                    log::warn(&format!("an incoming short message is left with the message centre: {why}"));
                    TEMPORARY
                }
            }));
        }
        if self.receipts.len() >= MAX_RECEIPTS {
            return Some(pdu.response(TEMPORARY));
        }
        match receipt::read(&message, ids) {
            Some(receipt) => {
                self.receipts.push(receipt);
                self.fresh.push(pdu.response(0));
                None
            }
            None => {
                // To refuse it would only bring it again.
                log::warn("a receipt without an id or a state that is known is ignored");
                Some(pdu.response(0))
            }
        }
    }

    /// Keeps the session alive: asks where nothing was heard for a while.
    ///
    /// # Errors
    /// When the far end has not answered in time: the session is over, whatever TCP thinks.
    pub fn keep_alive(&mut self, settings: &Settings) -> Result<(), Gone> {
        let now = now_ms();
        match self.enquired {
            Some((_, at))
                if now.saturating_sub(at) >= u64::from(settings.response_timeout_seconds) * 1000 =>
            {
                Err(Gone("no answer to enquire_link in time".to_owned()))
            }
            None if now.saturating_sub(self.heard) >= u64::from(settings.enquire_link_seconds) * 1000 => {
                let sequence = self.next_sequence();
                self.enquired = Some((sequence, now));
                self.send(&[Pdu::new(command::ENQUIRE_LINK, sequence, Vec::new())], settings)
            }
            _ => Ok(()),
        }
    }

    /// Says good-bye.
    ///
    /// # Errors
    /// When that cannot be said.
    pub fn unbind(mut self, settings: &Settings, ids: &mut Ids) -> Result<(), Gone> {
        self.acknowledge(settings)?;
        let sequence = self.next_sequence();
        self.send(&[Pdu::new(command::UNBIND, sequence, Vec::new())], settings)?;
        // Its answer is waited for briefly, so that a far end does not take the end of the connection for an accident.
        match self.hear(patience(1000), settings, ids) {
            Ok(_) | Err(Gone(_)) => Ok(()),
        }
    }
}

/// What a connection that there is not says about the queue.
fn unreachable(fault: &Fault) -> Refusal {
    let class = match fault {
        Fault::Denied(_) => class::BLOCKED,
        Fault::Timeout => class::TIMEOUT,
        _ => class::SERVICE_UNAVAILABLE,
    };
    let text = format!("the message centre cannot be reached: {fault}");
    Refusal::DeferQueue(Deferral::new(Response::new(451, (4, 4, 1), &text), class))
}
