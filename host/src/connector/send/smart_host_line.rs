//! SmartHostLine: a conversation with a smart host, one transaction for each item.

use jiff::fmt::rfc2822;
use postern_model::{
    Content, Deferral, DeliveryReport, DeliveryRequest, FailureClass, Outcome, Recipient, RecipientOutcome,
    Response, Return,
};
use postern_smtp::{ForwardPath, MailParams, Notify, OriginalRecipient, RcptParams, Reply, Ret, ReversePath};

use super::form::{Carriage, ContentForm};
use super::unspeakable::{BAD_RECIPIENT, BAD_SENDER, Unspeakable};
use crate::connector::{BoxFuture, Connection};
use crate::dsn::REMOTE_MTA_DETAIL;
use crate::smtp_client::{SmtpClient, SmtpClientError};

/// A conversation with a smart host.
pub struct SmartHostLine {
    client: SmtpClient,
    label: String,
    host_name: String,
}

/// How far a transaction has come.
#[derive(Default)]
struct Progress {
    /// What is decided.
    outcomes: Vec<RecipientOutcome>,
    /// Recipients that the peer has taken and that wait for its word on the content.
    accepted: Vec<u32>,
    /// The peer may not be where we think it is.
    out_of_step: bool,
}

/// Why a transaction did not come to its end.
enum Halt {
    /// The conversation is over.
    Broken(Deferral),
    /// Our own machine is in the way. Nothing was sent.
    Hindered(Deferral),
    /// The message can never go to this peer. Nothing was sent.
    Unspeakable(Unspeakable),
}

impl SmartHostLine {
    /// A line over a conversation that has begun. `label` names the peer, `host_name` is ours, for the trace field.
    pub fn new(client: SmtpClient, label: String, host_name: &str) -> Self {
        Self { client, label, host_name: host_name.to_owned() }
    }

    async fn transaction(&mut self, request: &DeliveryRequest, progress: &mut Progress) -> Result<(), Halt> {
        let form = form_of(request).await.map_err(|error| {
            Halt::Hindered(Deferral::new(451, (4, 3, 0), &format!("reading the content: {error}"), ""))
        })?;
        let body = request.message.envelope.body;
        let carriage = form.carriage(body, self.client.capabilities()).map_err(Halt::Unspeakable)?;
        if self.mail(request, carriage, progress).await? {
            self.recipients(request, progress).await?;
        }
        if !progress.accepted.is_empty() && self.content(request, carriage, progress).await? {
            return Ok(());
        }
        // The peer may still be in the transaction: it would refuse the next MAIL, and not for the sake of that message.
        let reset = self.client.reset().await;
        progress.out_of_step = !reset.is_ok_and(|reply| reply.is_positive());
        Ok(())
    }

    /// Whether the peer takes the sender. If not, that decides all recipients.
    async fn mail(
        &mut self,
        request: &DeliveryRequest,
        carriage: Carriage,
        progress: &mut Progress,
    ) -> Result<bool, Halt> {
        let path = request.message.envelope.reverse_path.parse();
        let path: ReversePath = path.map_err(|_| Halt::Unspeakable(BAD_SENDER))?;
        let params = mail_params(request, carriage);
        let reply = in_step(self.client.mail(&path, &params).await?)?;
        if reply.is_positive() {
            return Ok(true);
        }
        if is_about_our_command(&reply) {
            return Err(Halt::Broken(misunderstood(&reply)));
        }
        progress.outcomes = request.recipients().map(|r| self.outcome(r.index, &reply)).collect();
        Ok(false)
    }

    async fn recipients(&mut self, request: &DeliveryRequest, progress: &mut Progress) -> Result<(), Halt> {
        for recipient in request.recipients() {
            let Some(path) = forward_path(recipient) else {
                progress.outcomes.push(RecipientOutcome::new(recipient.index, BAD_RECIPIENT.outcome()));
                continue;
            };
            let reply = in_step(self.client.rcpt(&path, &rcpt_params(recipient)).await?)?;
            if reply.is_positive() {
                progress.accepted.push(recipient.index);
            } else {
                progress.outcomes.push(self.outcome(recipient.index, &reply));
            }
        }
        Ok(())
    }

    /// Whether the peer takes the content. Its word decides all recipients that it has accepted.
    async fn content(
        &mut self,
        request: &DeliveryRequest,
        carriage: Carriage,
        progress: &mut Progress,
    ) -> Result<bool, Halt> {
        let trace = self.received(request);
        let reply = in_step(self.client.content(&trace, &request.content, carriage.by_bdat).await?)?;
        let decided = progress.accepted.iter().map(|index| self.outcome(*index, &reply));
        progress.outcomes.extend(decided);
        Ok(reply.is_positive())
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
            let mut progress = Progress::default();
            let ended = self.transaction(request, &mut progress).await;
            let Progress { outcomes, accepted, out_of_step } = progress;
            let report = DeliveryReport { outcomes, broken: out_of_step, ..DeliveryReport::default() };
            match ended {
                Ok(()) => report,
                Err(Halt::Broken(fault)) => DeliveryReport {
                    fault: Some(fault),
                    broken: true,
                    not_begun: accepted.is_empty(),
                    ..report
                },
                Err(Halt::Hindered(fault)) => DeliveryReport { fault: Some(fault), ..report },
                Err(Halt::Unspeakable(failure)) => {
                    let failed = request.recipients();
                    let failed = failed.map(|r| RecipientOutcome::new(r.index, failure.outcome()));
                    DeliveryReport { outcomes: failed.collect(), ..report }
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.client.quit())
    }
}

impl From<SmtpClientError> for Halt {
    fn from(error: SmtpClientError) -> Self {
        if let SmtpClientError::Command(error) = &error
            && let Some(failure) = Unspeakable::of(*error)
        {
            return Self::Unspeakable(failure);
        }
        let class =
            if matches!(error, SmtpClientError::Timeout(_)) { "timeout" } else { "service-unavailable" };
        Self::Broken(Deferral::new(451, (4, 4, 2), &error.to_string(), class))
    }
}

/// The reply, unless it says nothing about what was asked: 421 says that the peer leaves (RFC 5321 3.8), 503 that we
/// are not where it thinks we are. Neither may be held against a message.
fn in_step(reply: Reply) -> Result<Reply, Halt> {
    match reply.code {
        421 => {
            let class = FailureClass::new("service-unavailable");
            Err(Halt::Broken(Deferral { response: response(&reply), class, retry_after: None }))
        }
        503 => Err(Halt::Broken(misunderstood(&reply))),
        _ => Ok(reply),
    }
}

/// Whether the refusal of a MAIL is about the command and not about the sender, of whom a 501 speaks when its enhanced
/// code is about addresses (RFC 3463: X.1.X).
fn is_about_our_command(reply: &Reply) -> bool {
    let about_address = reply.enhanced.is_some_and(|code| code.subject == 1);
    matches!(reply.code, 500 | 502) || (reply.code == 501 && !about_address)
}

fn misunderstood(reply: &Reply) -> Deferral {
    let text = format!("the peer lost track of the conversation: {} {}", reply.code, reply.text());
    Deferral::new(451, (4, 5, 0), &text, "protocol-error")
}

async fn form_of(request: &DeliveryRequest) -> std::io::Result<ContentForm> {
    let content = request.content.clone();
    if matches!(content, Content::Memory(_)) {
        return ContentForm::of(&content);
    }
    let looking = tokio::task::spawn_blocking(move || ContentForm::of(&content));
    looking.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// The parameters of MAIL.
fn mail_params(request: &DeliveryRequest, carriage: Carriage) -> MailParams {
    let envelope = &request.message.envelope;
    MailParams {
        size: Some(request.content.size()),
        body: carriage.body,
        ret: envelope.ret.map(|ret| match ret {
            Return::Full => Ret::Full,
            Return::Headers => Ret::Headers,
        }),
        envelope_id: envelope.envelope_id.clone(),
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

#[cfg(test)]
mod tests;
