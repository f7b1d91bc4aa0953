//! SendConnector: hands items to a smart host over SMTP, with their DSN parameters.

use std::sync::Arc;

use jiff::fmt::rfc2822;
use postern_model::{
    BodyType, Deferral, DeliveryReport, DeliveryRequest, FailureClass, NextHop, Outcome, Receipt, Recipient,
    RecipientOutcome, Refusal, Response, Return,
};
use postern_smtp::{
    Body, ForwardPath, MailParams, Notify, OriginalRecipient, RcptParams, Reply, Ret, ReversePath,
};

use super::{BoxFuture, Connection, Connector, ConnectorState};
use crate::config::SendConfig;
use crate::dsn::REMOTE_MTA_DETAIL;
use crate::smtp_client::{ClientTimeouts, SmtpClient, SmtpClientError};

/// The connector.
pub struct SendConnector {
    config: Arc<SendConfig>,
    host_name: String,
}

impl SendConnector {
    /// A connector to the smart hosts of a config.
    #[must_use]
    pub fn new(config: &SendConfig, host_name: &str) -> Self {
        Self { config: Arc::new(config.clone()), host_name: host_name.to_owned() }
    }

    /// Connects to the first smart host that answers.
    async fn connect(&self) -> Result<Box<dyn Connection>, Refusal> {
        let timeouts = ClientTimeouts {
            connect: self.config.connect_timeout,
            command: self.config.command_timeout,
            data: self.config.data_timeout,
        };
        let mut last = None;
        for host in &self.config.smart_hosts {
            match SmtpClient::connect(&host.host, host.port, &self.config.helo, timeouts).await {
                Ok(client) => {
                    let (label, host_name) = (host.to_string(), self.host_name.clone());
                    return Ok(Box::new(SmartHostLine { client, label, host_name }));
                }
                Err(error) => {
                    tracing::info!(connector = %self.config.common.name, smart_host = %host, %error, "no connection");
                    last = Some(format!("{host}: {error}"));
                }
            }
        }
        let text = last.unwrap_or_else(|| "no smart host is configured".to_owned());
        Err(Refusal::DeferQueue(Deferral::new(451, (4, 4, 1), &text, "service-unavailable")))
    }
}

impl Connector for SendConnector {
    fn name(&self) -> &str {
        &self.config.common.name
    }

    fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, Refusal>> {
        Box::pin(self.connect())
    }

    fn poll_receipts<'a>(&'a self, _ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn state(&self) -> ConnectorState {
        ConnectorState::Ready
    }
}

/// A conversation with a smart host.
struct SmartHostLine {
    client: SmtpClient,
    label: String,
    host_name: String,
}

/// What a transaction came to before its content was sent.
struct Opened {
    accepted: Vec<u32>,
    outcomes: Vec<RecipientOutcome>,
}

impl SmartHostLine {
    async fn transaction(&mut self, request: &DeliveryRequest) -> Result<Vec<RecipientOutcome>, Failed> {
        let recipients: Vec<&Recipient> = request.recipients().collect();
        let opened = self.open(request, &recipients).await?;
        if opened.accepted.is_empty() {
            self.client.reset().await.map_err(|e| Failed::broken(e, opened.outcomes.clone()))?;
            return Ok(opened.outcomes);
        }
        let trace = self.received(request);
        let binary = request.message.envelope.body == BodyType::Binary;
        let sent = self.client.content(&trace, &request.content, binary).await;
        let reply = sent.map_err(|e| Failed::broken(e, opened.outcomes.clone()))?;
        let mut outcomes = opened.outcomes;
        for index in opened.accepted {
            outcomes.push(self.outcome(index, &reply));
        }
        Ok(outcomes)
    }

    async fn open(&mut self, request: &DeliveryRequest, recipients: &[&Recipient]) -> Result<Opened, Failed> {
        let envelope = &request.message.envelope;
        let path: ReversePath =
            envelope.reverse_path.parse().map_err(|_| Failed::all(recipients, BAD_SENDER))?;
        let params = MailParams {
            size: Some(request.content.size()),
            body: match envelope.body {
                BodyType::SevenBit => None,
                BodyType::EightBit => Some(Body::EightBit),
                BodyType::Binary => Some(Body::Binary),
            },
            ret: envelope.ret.map(|ret| match ret {
                Return::Full => Ret::Full,
                Return::Headers => Ret::Headers,
            }),
            envelope_id: envelope.envelope_id.clone(),
        };
        let reply = self.client.mail(&path, &params).await.map_err(|e| Failed::broken(e, Vec::new()))?;
        let mut opened = Opened { accepted: Vec::new(), outcomes: Vec::new() };
        if !reply.is_positive() {
            opened.outcomes = recipients.iter().map(|r| self.outcome(r.index, &reply)).collect();
            return Ok(opened);
        }
        for recipient in recipients {
            let Some(path) = forward_path(recipient) else {
                opened.outcomes.push(RecipientOutcome::new(recipient.index, BAD_RECIPIENT.outcome()));
                continue;
            };
            let params = rcpt_params(recipient);
            let reply = self.client.rcpt(&path, &params).await;
            let reply = reply.map_err(|e| Failed::broken(e, opened.outcomes.clone()))?;
            if reply.is_positive() {
                opened.accepted.push(recipient.index);
            } else {
                opened.outcomes.push(self.outcome(recipient.index, &reply));
            }
        }
        Ok(opened)
    }

    /// What a reply means for a recipient. A host that knows DSN reports success itself; one that does not leaves
    /// that to us: then it is relayed into a world that does not report back (RFC 3461 5.2.2).
    fn outcome(&self, recipient: u32, reply: &Reply) -> RecipientOutcome {
        let response = response(reply);
        let outcome = if reply.is_positive() {
            Outcome::Relayed(response)
        } else if reply.is_permanent() {
            Outcome::Failed { response, class: FailureClass::default() }
        } else {
            Outcome::Deferred(Deferral { response, class: FailureClass::default(), retry_after: None })
        };
        let details = vec![(REMOTE_MTA_DETAIL.to_owned(), self.label.clone())];
        let reports_itself = self.client.capabilities().dsn;
        RecipientOutcome { details, reports_itself, ..RecipientOutcome::new(recipient, outcome) }
    }

    /// Our trace field (RFC 5321 4.4).
    fn received(&self, request: &DeliveryRequest) -> Vec<u8> {
        let envelope = &request.message.envelope;
        let zoned = envelope.received_at.to_zoned(jiff::tz::TimeZone::UTC);
        let date = rfc2822::to_string(&zoned).unwrap_or_default();
        let from = match (&envelope.helo, envelope.client) {
            (Some(helo), Some(ip)) => {
                format!("from {} ([{ip}])\r\n\t", postern_model::text::one_line(helo, 255))
            }
            _ => String::new(),
        };
        let (id, protocol) = (request.message.id, &envelope.protocol);
        format!("Received: {from}by {} with {protocol} id {id};\r\n\t{date}\r\n", self.host_name).into_bytes()
    }
}

impl Connection for SmartHostLine {
    fn label(&self) -> &str {
        &self.label
    }

    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport> {
        Box::pin(async move {
            match self.transaction(request).await {
                Ok(outcomes) => DeliveryReport { outcomes, ..DeliveryReport::default() },
                Err(Failed { outcomes, fault }) => {
                    DeliveryReport { outcomes, broken: fault.is_some(), fault, ..DeliveryReport::default() }
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.client.quit())
    }
}

/// A transaction that did not come to its end.
struct Failed {
    outcomes: Vec<RecipientOutcome>,
    fault: Option<Deferral>,
}

impl Failed {
    fn broken(error: SmtpClientError, outcomes: Vec<RecipientOutcome>) -> Self {
        let class =
            if matches!(error, SmtpClientError::Timeout(_)) { "timeout" } else { "service-unavailable" };
        Self { outcomes, fault: Some(Deferral::new(451, (4, 4, 2), &error.to_string(), class)) }
    }

    fn all(recipients: &[&Recipient], failure: Unspeakable) -> Self {
        let outcomes = recipients.iter().map(|r| RecipientOutcome::new(r.index, failure.outcome())).collect();
        Self { outcomes, fault: None }
    }
}

/// Something that cannot be said in SMTP.
#[derive(Clone, Copy)]
struct Unspeakable {
    status: (u8, u16, u16),
    text: &'static str,
}

const BAD_SENDER: Unspeakable =
    Unspeakable { status: (5, 1, 7), text: "the reverse-path cannot be written in SMTP" };
const BAD_RECIPIENT: Unspeakable = Unspeakable {
    status: (5, 1, 3),
    text: "the address cannot be written in SMTP: a send connector takes SMTP only",
};

impl Unspeakable {
    fn outcome(self) -> Outcome {
        let response = Response::new(553, self.status, self.text);
        Outcome::Failed { response, class: FailureClass::new("invalid-address") }
    }
}

fn forward_path(recipient: &Recipient) -> Option<ForwardPath> {
    recipient.address.kind().is_smtp().then(|| recipient.address.address().parse().ok()).flatten()
}

fn rcpt_params(recipient: &Recipient) -> RcptParams {
    RcptParams {
        notify: recipient.notify.map(|n| Notify { success: n.success, failure: n.failure, delay: n.delay }),
        original: recipient
            .original
            .as_ref()
            .map(|o| OriginalRecipient { kind: o.kind.clone(), address: o.address.clone() }),
    }
}

/// A peer's reply as a response; without an enhanced code it gets the general one of its class.
fn response(reply: &Reply) -> Response {
    let class = u8::try_from(reply.code / 100).unwrap_or(4);
    let status = match &reply.enhanced {
        Some(code) if code.class == class => (code.class, code.subject, code.detail),
        _ => (class, 0, 0),
    };
    // A 3xx where a final answer was due is no answer: it is tried again.
    if !matches!(class, 2 | 4 | 5) {
        return Response::new(451, (4, 5, 0), &format!("unexpected reply: {} {}", reply.code, reply.text()));
    }
    Response::new(reply.code, status, &reply.text())
}
