//! Component: the bindings of the contract, and the way between their types and the SDK's. WebAssembly only.

use std::marker::PhantomData;
use std::sync::Once;

use crate::{Agent, Connection, Item, PollReceipts, log};

/// The contract that every agent exports, and everything it may import.
#[allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod base {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        world: "delivery-agent",
        pub_export_macro: true,
        export_macro_name: "export_base",
    });
}

/// The optional export of receipts, in a world of its own so that only agents that have them export it.
#[allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod receipts {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "
            package postern:sdk;
            world with-receipts { export postern:delivery-agent/receipts@0.1.0; }
        ",
        world: "postern:sdk/with-receipts",
        with: { "postern:delivery-agent/types@0.1.0": super::base::postern::delivery_agent::types },
        pub_export_macro: true,
        export_macro_name: "export_receipts",
    });
}

pub use base::export_base;
pub use receipts::export_receipts;

use base::exports::postern::delivery_agent::agent as exported;
use base::postern::delivery_agent::{
    host as host_imports, http as http_imports, inbound as inbound_imports, mail, tcp as tcp_imports, types,
};

/// Where an agent's one connection lives; the macro puts a static there.
pub trait Slot: Agent + 'static {
    /// Works on the connection.
    fn with<T>(work: impl FnOnce(&mut Connection<Self>) -> T) -> T;
}

/// The exports of an agent.
pub struct Exported<A>(PhantomData<A>);

impl<A: Slot> exported::Guest for Exported<A> {
    fn describe() -> exported::Description {
        log_panics();
        let d = A::describe();
        exported::Description {
            name: d.name,
            version: d.version,
            protocol: d.protocol,
            accepts: d.accepts,
            max_size: d.max_size,
        }
    }

    fn open_connection(hop: types::NextHop) -> Result<String, types::Refusal> {
        log_panics();
        let hop =
            crate::NextHop { connector: hop.connector, protocol: hop.protocol, destination: hop.destination };
        A::with(|connection| connection.open(&hop)).map_err(Into::into)
    }

    fn deliver(item: mail::Item) -> Result<exported::Report, String> {
        log_panics();
        let item = Item::new(HostItem(item));
        A::with(|connection| connection.deliver(&item)).map(Into::into)
    }

    fn close_connection() -> Result<(), String> {
        A::with(Connection::close)
    }
}

impl<A: PollReceipts> receipts::exports::postern::delivery_agent::receipts::Guest for Exported<A> {
    fn poll(receipt_ids: Vec<String>) -> Result<Vec<types::Receipt>, String> {
        log_panics();
        let answered = A::poll(crate::settings()?, &receipt_ids)?;
        Ok(answered.into_iter().map(Into::into).collect())
    }
}

/// An item of the host as agents see it.
#[must_use]
pub fn item_of(item: mail::Item) -> Item {
    Item::new(HostItem(item))
}

/// Without this a panic is a bare `unreachable` that tells nobody what was wrong.
pub fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|info| log::error(&info.to_string()))));
}

/// What the SDK asks of the host.
pub(crate) mod imports {
    use super::{host_imports, http_imports, inbound_imports, tcp_imports};
    use crate::http::{Answer, Fault, Request};
    use crate::log::Level;

    pub(crate) fn log(level: Level, text: &str) {
        let level = match level {
            Level::Error => host_imports::Level::Error,
            Level::Warn => host_imports::Level::Warn,
            Level::Info => host_imports::Level::Info,
            Level::Debug => host_imports::Level::Debug,
            Level::Trace => host_imports::Level::Trace,
        };
        host_imports::log(level, text);
    }

    pub(crate) use host_imports::{callback_url, now, random, remaining_ms, secret, settings};

    pub(crate) fn send(request: Request) -> Result<Answer, Fault> {
        let request = http_imports::Request {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            timeout_ms: request.timeout_ms,
        };
        match http_imports::send(&request) {
            Ok(answer) => Ok(Answer { status: answer.status, headers: answer.headers, body: answer.body }),
            Err(fault) => Err(match fault {
                http_imports::Fault::Denied(text) => Fault::Denied(text),
                http_imports::Fault::Timeout => Fault::Timeout,
                http_imports::Fault::Connect(text) => Fault::Connect(text),
                http_imports::Fault::Tls(text) => Fault::Tls(text),
                http_imports::Fault::TooLarge => Fault::TooLarge,
                http_imports::Fault::Other(text) => Fault::Other(text),
            }),
        }
    }

    pub(crate) fn submit(submission: crate::inbound::Submission) -> Result<String, String> {
        let crate::inbound::Submission { remote_id, reverse_path, recipients, content } = submission;
        inbound_imports::submit(&inbound_imports::Submission { remote_id, reverse_path, recipients, content })
    }

    pub(crate) struct Tcp(tcp_imports::Connection);

    impl Tcp {
        pub(crate) fn connect(target: &str, timeout_ms: u32) -> Result<Self, crate::tcp::Fault> {
            tcp_imports::connect(target, timeout_ms).map(Self).map_err(tcp_fault)
        }

        pub(crate) fn read(&self, max: u32, timeout_ms: u32) -> Result<Vec<u8>, crate::tcp::Fault> {
            self.0.read(max, timeout_ms).map_err(tcp_fault)
        }

        pub(crate) fn read_line(
            &self,
            max: u32,
            timeout_ms: u32,
        ) -> Result<Option<String>, crate::tcp::Fault> {
            self.0.read_line(max, timeout_ms).map_err(tcp_fault)
        }

        pub(crate) fn write(&self, data: &[u8], timeout_ms: u32) -> Result<(), crate::tcp::Fault> {
            self.0.write(data, timeout_ms).map_err(tcp_fault)
        }
    }

    fn tcp_fault(fault: tcp_imports::Fault) -> crate::tcp::Fault {
        use crate::tcp::Fault;
        match fault {
            tcp_imports::Fault::Denied(text) => Fault::Denied(text),
            tcp_imports::Fault::Timeout => Fault::Timeout,
            tcp_imports::Fault::Connect(text) => Fault::Connect(text),
            tcp_imports::Fault::Tls(text) => Fault::Tls(text),
            tcp_imports::Fault::Closed => Fault::Closed,
            tcp_imports::Fault::Other(text) => Fault::Other(text),
        }
    }
}

/// An item that the host holds.
struct HostItem(mail::Item);

impl crate::Source for HostItem {
    fn envelope(&self) -> crate::Envelope {
        let e = self.0.envelope();
        crate::Envelope {
            item_id: e.item_id,
            attempt: e.attempt,
            reverse_path: e.reverse_path,
            envelope_id: e.envelope_id,
            return_content: e.return_content,
            helo: e.helo,
            submitter: e.submitter,
            received_at: e.received_at,
            expires_at: e.expires_at,
            must_deliver: e.must_deliver,
            priority: match e.priority {
                mail::Priority::Low => crate::Priority::Low,
                mail::Priority::Normal => crate::Priority::Normal,
                mail::Priority::High => crate::Priority::High,
            },
            size: e.size,
            properties: e.properties,
        }
    }

    fn recipients(&self) -> Vec<crate::Recipient> {
        self.0.recipients().into_iter().map(Into::into).collect()
    }

    fn read(&self, offset: u32, length: u32) -> Result<Vec<u8>, String> {
        self.0.read(offset, length)
    }

    fn headers(&self) -> Result<Vec<(String, String)>, String> {
        self.0.headers()
    }

    fn text(&self, max: u32) -> Result<Option<String>, String> {
        self.0.text(max)
    }

    fn parts(&self) -> Result<Vec<crate::Part>, String> {
        let parts = self.0.parts()?;
        Ok(parts
            .into_iter()
            .map(|p| crate::Part {
                index: p.index,
                content_type: p.content_type,
                charset: p.charset,
                file_name: p.file_name,
                attachment: p.attachment,
                size: p.size,
            })
            .collect())
    }

    fn read_part(&self, index: u32, offset: u32, length: u32) -> Result<Vec<u8>, String> {
        self.0.read_part(index, offset, length)
    }

    fn report(&self, outcome: crate::RecipientOutcome) {
        self.0.report(&outcome.into());
    }
}

impl From<mail::Recipient> for crate::Recipient {
    fn from(r: mail::Recipient) -> Self {
        let notify = |n: mail::Notify| match n {
            mail::Notify::Success => crate::Notify::Success,
            mail::Notify::Failure => crate::Notify::Failure,
            mail::Notify::Delay => crate::Notify::Delay,
        };
        Self {
            index: r.index,
            address_type: r.address_type,
            address: r.address,
            original: r.original.map(|(kind, address)| crate::Original { kind, address }),
            notify: r.notify.map(|all| all.into_iter().map(notify).collect()),
            idempotency_key: r.idempotency_key,
            properties: r.properties,
        }
    }
}

impl From<crate::Response> for types::Response {
    fn from(r: crate::Response) -> Self {
        Self { code: r.code, status: r.status, text: r.text }
    }
}

impl From<crate::Deferral> for types::Deferral {
    fn from(d: crate::Deferral) -> Self {
        Self { response: d.response.into(), class: d.class, retry_after: d.retry_after }
    }
}

impl From<crate::Failure> for types::Failure {
    fn from(f: crate::Failure) -> Self {
        Self { response: f.response.into(), class: f.class }
    }
}

impl From<crate::RecipientOutcome> for types::RecipientOutcome {
    fn from(o: crate::RecipientOutcome) -> Self {
        let outcome = match o.outcome {
            crate::Outcome::Delivered(r) => types::Outcome::Delivered(r.into()),
            crate::Outcome::Relayed(r) => types::Outcome::Relayed(r.into()),
            crate::Outcome::Expanded(r) => types::Outcome::Expanded(r.into()),
            crate::Outcome::Accepted(p) => types::Outcome::Accepted(types::Pending {
                receipt_ids: p.receipt_ids,
                response: p.response.into(),
                expires_after: p.expires_after,
            }),
            crate::Outcome::Deferred(d) => types::Outcome::Deferred(d.into()),
            crate::Outcome::Failed(f) => types::Outcome::Failed(f.into()),
        };
        Self { recipient: o.recipient, outcome, remote_id: o.remote_id, details: o.details }
    }
}

impl From<crate::Receipt> for types::Receipt {
    fn from(r: crate::Receipt) -> Self {
        let state = match r.state {
            crate::ReceiptState::Pending(r) => types::ReceiptState::Pending(r.into()),
            crate::ReceiptState::Delivered(r) => types::ReceiptState::Delivered(r.into()),
            crate::ReceiptState::Failed(f) => types::ReceiptState::Failed(f.into()),
            crate::ReceiptState::Retry(d) => types::ReceiptState::Retry(d.into()),
        };
        Self { id: r.id, address: r.address, state, details: r.details }
    }
}

impl From<crate::Refusal> for types::Refusal {
    fn from(r: crate::Refusal) -> Self {
        match r {
            crate::Refusal::DeferQueue(d) => Self::DeferQueue(d.into()),
            crate::Refusal::FailQueue(f) => Self::FailQueue(f.into()),
        }
    }
}

impl From<crate::Report> for exported::Report {
    fn from(r: crate::Report) -> Self {
        Self {
            outcomes: r.outcomes.into_iter().map(Into::into).collect(),
            receipts: r.receipts.into_iter().map(Into::into).collect(),
            refusal: r.refusal.map(Into::into),
        }
    }
}
