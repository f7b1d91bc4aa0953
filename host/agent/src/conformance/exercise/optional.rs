//! The optional interfaces of an agent, each used as the host does and a little worse.

use postern_model::DeliveryRequest;

use super::super::observed::{Part, Said, Step};
use super::super::shapes;
use super::{After, Watched};
use crate::CallbackRequest;

/// Receipts that nobody has given out.
const UNKNOWN_RECEIPTS: usize = 50;

impl Watched {
    /// Those that it has.
    pub(super) async fn use_optional_interfaces(&self, steps: &mut Vec<Step>) {
        let has = self.agent.interfaces();
        if has.receipts {
            self.poll(steps).await;
        }
        if has.batch {
            self.deliver_batches(steps).await;
        }
        if has.session {
            self.tick(steps).await;
        }
        if has.probe {
            self.probe(steps).await;
        }
        if has.callback {
            self.call_back(steps).await;
        }
    }

    /// Questions about nothing, about one receipt and about many.
    async fn poll(&self, steps: &mut Vec<Step>) {
        for count in [0, 1, UNKNOWN_RECEIPTS] {
            let ids: Vec<String> = (0..count).map(|n| format!("conformance-{n}")).collect();
            let polled = self.agent.poll_receipts(&ids).await;
            let what = format!("a question about {count} receipts that nobody knows");
            let text = format!("{polled:?}");
            self.note(Part::Receipts, &what, Said::Polled(polled), &text, steps);
        }
    }

    /// A small batch and a larger one; a batch of one would be delivered as a single item.
    async fn deliver_batches(&self, steps: &mut Vec<Step>) {
        for count in [2, 20] {
            let what = format!("a batch of {count} items");
            let Some(mut connection) = self.open(Part::Batch, &what, steps).await else { return };
            let requests: Vec<DeliveryRequest> = (0..count).map(|_| shapes::plain(&self.hop)).collect();
            let reports = connection.deliver_batch(&requests).await;
            let text = format!("{reports:?}");
            let expected = requests.iter().map(|r| r.recipients().map(|recipient| recipient.index).collect());
            self.note(Part::Batch, &what, Said::Batch(expected.zip(reports).collect()), &text, steps);
            if connection.is_usable() {
                self.close(Part::Batch, &what, connection, steps).await;
            }
        }
    }

    /// Ticks on a connection over which nothing went yet, and after a delivery.
    async fn tick(&self, steps: &mut Vec<Step>) {
        let what = "a tick before the first delivery";
        let Some(mut connection) = self.open(Part::Session, what, steps).await else { return };
        if !self.tick_once(what, &mut connection, steps).await {
            return;
        }
        let request = shapes::plain(&self.hop);
        let delivered =
            self.deliver(Part::Session, "a message between two ticks", connection, &request, steps);
        let mut connection = match delivered.await {
            After::Open(connection) => connection,
            After::Refused(connection) => return self.close(Part::Session, what, connection, steps).await,
            After::Gone => return,
        };
        let what = "a tick after a delivery";
        if self.tick_once(what, &mut connection, steps).await {
            self.close(Part::Session, what, connection, steps).await;
        }
    }

    /// Says whether the connection may go on.
    async fn tick_once(
        &self,
        what: &str,
        connection: &mut crate::AgentConnection,
        steps: &mut Vec<Step>,
    ) -> bool {
        let ticked = connection.tick().await;
        self.note(Part::Session, what, Said::Ticked, &format!("{ticked:?}"), steps);
        ticked.is_ok()
    }

    /// Questions about hand-overs that never were.
    async fn probe(&self, steps: &mut Vec<Step>) {
        let request = shapes::plain(&self.hop);
        let keys: Vec<String> = request.recipients().map(|r| request.idempotency_key(r)).collect();
        for key in keys.iter().map(String::as_str).chain(["conformance-0"]) {
            let asked = self.asked_out();
            let probed = self.agent.did_it_arrive(key).await;
            let text = format!("{probed:?}");
            let what = "a question about a hand-over that never was";
            self.note(Part::Probe, what, Said::Probed(probed), &text, steps);
            if let Some(step) = steps.last_mut() {
                step.asked_out = self.asked_out() > asked;
            }
        }
    }

    /// Call-backs of nobody that the agent knows.
    async fn call_back(&self, steps: &mut Vec<Step>) {
        for (what, request) in calls() {
            let is_empty = request.body.is_empty() && request.query.is_none();
            let reply = self.agent.handle_callback(request).await;
            // The body of the reply is for the provider, which may know the secret.
            let text = format!("{:?}", reply.as_ref().map(|reply| &reply.receipts));
            self.note(Part::Callback, what, Said::CalledBack { is_empty, reply }, &text, steps);
        }
    }
}

/// Requests, with what is special about each.
fn calls() -> Vec<(&'static str, CallbackRequest)> {
    let call = |method: &str, path: &str, query: Option<&str>, kind: &str, body: &[u8]| CallbackRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body: body.to_vec(),
    };
    let all: Vec<u8> = (0..=255).collect();
    let form = "application/x-www-form-urlencoded";
    vec![
        ("an empty call-back", call("GET", "/", None, "", b"")),
        ("a call-back with an empty body", call("POST", "/", None, "application/json", b"")),
        ("a call-back of bytes", call("POST", "/a/b", None, "application/octet-stream", &all.repeat(256))),
        ("a call-back of half a JSON", call("POST", "/", None, "application/json", b"{\"state\": [")),
        (
            "a call-back of the wrong JSON",
            call("POST", "/", None, "application/json", b"[null, 7, {\"id\": {}}]"),
        ),
        ("a call-back of a broken form", call("PUT", "/%ff%00/..", Some("a=%zz&&=&%"), form, b"%=%ff&id=%")),
    ]
}
