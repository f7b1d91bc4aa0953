//! Testing: the host played by a few lines, for the unit tests of agents. Not part of a component.
//!
//! Each thread has a host of its own, so tests may run side by side.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::http::{Answer, Fault, Request};
use crate::inbound::Submission;
use crate::log::Level;
use crate::{Envelope, Item, NextHop, Part, Recipient, RecipientOutcome, Source};

/// The host of this thread. Made with [`Host::new`], put in place with [`Host::install`].
#[derive(Debug, Default)]
pub struct Host {
    settings: String,
    secrets: BTreeMap<String, String>,
    now: u32,
    random: VecDeque<Vec<u8>>,
    random_calls: u8,
    answers: VecDeque<Result<Answer, Fault>>,
    remaining_ms: VecDeque<u32>,
    requests: Vec<Request>,
    log: Vec<(Level, String)>,
    far_end: Option<Box<dyn FarEnd>>,
    passed_ms: u64,
    inbound: bool,
    submissions: Vec<Submission>,
}

/// The other end of TCP connections, played by a test. There is no waiting: what it has to say is there at once, and where
/// it says nothing the time of the call passes.
pub trait FarEnd {
    /// A connection begins; `Err` refuses it.
    ///
    /// # Errors
    /// With the reason why there is no connection.
    fn connected(&mut self, _target: &str) -> Result<(), String> {
        Ok(())
    }

    /// These bytes arrived.
    fn written(&mut self, data: &[u8]);

    /// What it has said since it was asked last; `None`: it has closed the connection.
    fn said(&mut self) -> Option<Vec<u8>>;
}

impl std::fmt::Debug for dyn FarEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FarEnd")
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::new());
}

impl Host {
    /// A host without settings and secrets, at 2023-11-14T22:13:20Z, whose network is down.
    #[must_use]
    pub fn new() -> Self {
        Self { settings: "{}".to_owned(), now: 1_700_000_000, ..Self::default() }
    }

    /// The same with these settings, as JSON.
    #[must_use]
    pub fn settings(mut self, json: &str) -> Self {
        json.clone_into(&mut self.settings);
        self
    }

    /// The same with a secret granted.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same at another time, in seconds since 1970.
    #[must_use]
    pub fn now(mut self, seconds: u32) -> Self {
        self.now = seconds;
        self
    }

    /// The same with bytes that the next request for random ones gets. Without them, each gets other ones.
    #[must_use]
    pub fn random(mut self, bytes: &[u8]) -> Self {
        self.random.push_back(bytes.to_owned());
        self
    }

    /// The same with an answer to the next request that has none yet. Without answers there is no connection.
    #[must_use]
    pub fn answer(mut self, answer: Result<Answer, Fault>) -> Self {
        self.answers.push_back(answer);
        self
    }

    /// The same with what is left of the deadline at the next question for it; without it, 60 seconds.
    #[must_use]
    pub fn remaining_ms(mut self, milliseconds: u32) -> Self {
        self.remaining_ms.push_back(milliseconds);
        self
    }

    /// The same with somebody at the other end of TCP connections. Without one there is no connection.
    #[must_use]
    pub fn far_end(mut self, far_end: impl FarEnd + 'static) -> Self {
        self.far_end = Some(Box::new(far_end));
        self
    }

    /// The same with leave to hand mail in.
    #[must_use]
    pub fn inbound(mut self) -> Self {
        self.inbound = true;
        self
    }

    /// Puts it in the place of this thread's host.
    pub fn install(self) {
        HOST.set(self);
    }
}

/// The requests that were sent since the host was put in place.
#[must_use]
pub fn requests() -> Vec<Request> {
    HOST.with_borrow(|host| host.requests.clone())
}

/// The lines that were logged since the host was put in place.
#[must_use]
pub fn logged() -> Vec<(Level, String)> {
    HOST.with_borrow(|host| host.log.clone())
}

/// The mail that was handed in since the host was put in place.
#[must_use]
pub fn submissions() -> Vec<Submission> {
    HOST.with_borrow(|host| host.submissions.clone())
}

/// Lets time pass, in milliseconds.
pub fn pass_ms(milliseconds: u64) {
    HOST.with_borrow_mut(|host| host.passed_ms += milliseconds);
}

/// A next hop to test with.
#[must_use]
pub fn next_hop() -> NextHop {
    NextHop { connector: "test".to_owned(), protocol: String::new(), destination: "box.example".to_owned() }
}

/// An item whose fields a test sets as it likes.
#[derive(Clone, Debug)]
pub struct TestItem {
    /// The envelope.
    pub envelope: Envelope,
    /// The recipients.
    pub recipients: Vec<Recipient>,
    /// The bytes of the message.
    pub content: Vec<u8>,
    /// The header fields, or why there are none.
    pub headers: Result<Vec<(String, String)>, String>,
    /// The text, or why there is none.
    pub text: Result<Option<String>, String>,
    /// The parts with their bytes.
    pub parts: Vec<(Part, Vec<u8>)>,
    /// What was reported at once. Clones share it.
    pub reported: Rc<RefCell<Vec<RecipientOutcome>>>,
}

impl TestItem {
    /// An item from `jo@home.example` for recipient 0, `ann@box.example`.
    ///
    /// # Panics
    /// When the content has 4 GiB or more.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        let size = u32::try_from(content.len()).expect("a test's content is small");
        let envelope = Envelope {
            item_id: "item-1".to_owned(),
            attempt: 1,
            reverse_path: "jo@home.example".to_owned(),
            received_at: "2023-11-14T22:13:20Z".to_owned(),
            size,
            ..Envelope::default()
        };
        let headers = Ok(Vec::new());
        Self {
            envelope,
            recipients: vec![recipient(0, "ann@box.example")],
            content: content.to_owned(),
            headers,
            text: Ok(None),
            parts: Vec::new(),
            reported: Rc::default(),
        }
    }

    /// The same for these recipients.
    #[must_use]
    pub fn recipients(mut self, addresses: &[&str]) -> Self {
        self.recipients =
            addresses.iter().zip(0..).map(|(address, index)| recipient(index, address)).collect();
        self
    }

    /// The item as an agent gets it.
    #[must_use]
    pub fn item(self) -> Item {
        Item::new(self)
    }
}

/// An SMTP recipient with a key of its own.
#[must_use]
pub fn recipient(index: u32, address: &str) -> Recipient {
    Recipient {
        index,
        address_type: "SMTP".to_owned(),
        address: address.to_owned(),
        idempotency_key: format!("item-1-{index}"),
        ..Recipient::default()
    }
}

fn range(bytes: &[u8], offset: u32, length: u32) -> Vec<u8> {
    let start = (offset as usize).min(bytes.len());
    let end = start.saturating_add(length as usize).min(bytes.len());
    bytes[start..end].to_owned()
}

impl Source for TestItem {
    fn envelope(&self) -> Envelope {
        self.envelope.clone()
    }

    fn recipients(&self) -> Vec<Recipient> {
        self.recipients.clone()
    }

    fn read(&self, offset: u32, length: u32) -> Result<Vec<u8>, String> {
        Ok(range(&self.content, offset, length))
    }

    fn headers(&self) -> Result<Vec<(String, String)>, String> {
        self.headers.clone()
    }

    fn text(&self, _max: u32) -> Result<Option<String>, String> {
        self.text.clone()
    }

    fn parts(&self) -> Result<Vec<Part>, String> {
        Ok(self.parts.iter().map(|(part, _)| part.clone()).collect())
    }

    fn read_part(&self, index: u32, offset: u32, length: u32) -> Result<Vec<u8>, String> {
        let part = self.parts.iter().find(|(part, _)| part.index == index);
        part.map(|(_, bytes)| range(bytes, offset, length)).ok_or_else(|| format!("there is no part {index}"))
    }

    fn report(&self, outcome: RecipientOutcome) {
        self.reported.borrow_mut().push(outcome);
    }
}

/// What stands in for the component's imports.
pub(crate) mod imports {
    use super::{Answer, Fault, HOST, Level, Request, Submission, pass_ms};
    use crate::tcp;

    pub(crate) fn log(level: Level, text: &str) {
        HOST.with_borrow_mut(|host| host.log.push((level, text.to_owned())));
    }

    pub(crate) fn settings() -> String {
        HOST.with_borrow(|host| host.settings.clone())
    }

    pub(crate) fn secret(name: &str) -> Option<String> {
        HOST.with_borrow(|host| host.secrets.get(name).cloned())
    }

    pub(crate) fn now() -> (u32, u32) {
        HOST.with_borrow(|host| {
            let seconds = u32::try_from(host.passed_ms / 1000).expect("tests do not last for years");
            let nanoseconds = u32::try_from(host.passed_ms % 1000 * 1_000_000).expect("below a second");
            (host.now + seconds, nanoseconds)
        })
    }

    pub(crate) fn random(length: u32) -> Vec<u8> {
        HOST.with_borrow_mut(|host| {
            host.random_calls = host.random_calls.wrapping_add(1);
            let fresh = vec![host.random_calls; length as usize];
            host.random.pop_front().unwrap_or(fresh)
        })
    }

    pub(crate) fn remaining_ms() -> u32 {
        HOST.with_borrow_mut(|host| host.remaining_ms.pop_front().unwrap_or(60_000))
    }

    pub(crate) fn callback_url() -> Option<String> {
        None
    }

    pub(crate) fn send(request: Request) -> Result<Answer, Fault> {
        HOST.with_borrow_mut(|host| {
            host.requests.push(request);
            host.answers.pop_front().unwrap_or_else(|| Err(Fault::Connect("the network is down".to_owned())))
        })
    }

    pub(crate) fn submit(submission: Submission) -> Result<String, String> {
        HOST.with_borrow_mut(|host| {
            if !host.inbound {
                return Err("inbound is not granted".to_owned());
            }
            host.submissions.push(submission);
            Ok(format!("message-{}", host.submissions.len()))
        })
    }

    pub(crate) struct Tcp(());

    impl Tcp {
        pub(crate) fn connect(target: &str, _timeout_ms: u32) -> Result<Self, tcp::Fault> {
            let connected = HOST.with_borrow_mut(|host| match &mut host.far_end {
                Some(far_end) => far_end.connected(target),
                None => Err("the network is down".to_owned()),
            });
            connected.map(Self).map_err(tcp::Fault::Connect)
        }

        pub(crate) fn read(&self, max: u32, timeout_ms: u32) -> Result<Vec<u8>, tcp::Fault> {
            assert!(max >= 64 * 1024, "this far end says all that it has to say at once");
            let said = HOST.with_borrow_mut(|host| host.far_end.as_mut().and_then(|far_end| far_end.said()));
            match said {
                Some(said) if said.is_empty() => {
                    pass_ms(timeout_ms.into());
                    Err(tcp::Fault::Timeout)
                }
                Some(said) => Ok(said),
                None => Ok(Vec::new()),
            }
        }

        pub(crate) fn read_line(&self, max: u32, timeout_ms: u32) -> Result<Option<String>, tcp::Fault> {
            let line = self.read(max.max(64 * 1024), timeout_ms)?;
            Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end().to_owned()))
        }

        pub(crate) fn write(&self, data: &[u8], _timeout_ms: u32) -> Result<(), tcp::Fault> {
            HOST.with_borrow_mut(|host| host.far_end.as_mut().map(|far_end| far_end.written(data)));
            Ok(())
        }
    }
}
