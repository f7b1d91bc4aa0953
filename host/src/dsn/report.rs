//! Report: what a notification tells people, written as text and as HTML.

use std::fmt::Write;

use postern_model::{DsnKind, DsnRecipient, DsnRequest, RecipientOutcome};

use super::encoding::{capitalized, html};
use super::{DsnSettings, REMOTE_MTA_DETAIL, date, explanation, shown};

/// The longest subject of the original that is repeated, in bytes.
const MAX_SUBJECT: usize = 200;

/// Where the lines of the text are broken, in characters.
const WIDTH: usize = 76;

/// What is told, before it is text or HTML. Nothing in it holds a line break.
pub(super) struct Report {
    /// The subject of the notification.
    pub(super) subject: String,
    opening: String,
    facts: Vec<(&'static str, String)>,
    recipients: Vec<Told>,
    closing: String,
}

/// One recipient.
struct Told {
    address: String,
    explanation: Option<&'static str>,
    facts: Vec<(String, String)>,
}

/// Puts a request into words.
pub(super) fn of(request: &DsnRequest, settings: &DsnSettings) -> Report {
    let message = &request.message;
    let subject = message.subject.as_deref().map(|s| postern_model::text::one_line(s, MAX_SUBJECT));
    let subject = subject.filter(|s| !s.is_empty());
    let mut facts = Vec::new();
    if let Some(subject) = &subject {
        facts.push(("Subject", subject.clone()));
    }
    facts.push(("Accepted", date(message.envelope.received_at)));
    if let Some(id) = &message.internet_message_id {
        facts.push(("Message-ID", shown(id)));
    }
    let bad_news = matches!(request.kind, DsnKind::Failed | DsnKind::Delayed);
    let unconfirmed = request.recipients.iter().all(|r| r.unconfirmed);
    if let (DsnKind::Delayed, Some(until), false) = (request.kind, request.retry_until, unconfirmed) {
        facts.push(("Will be tried until", date(until)));
    }
    Report {
        subject: format!(
            "{}: {}",
            if unconfirmed { "Not confirmed" } else { headline(request.kind) },
            subject.as_deref().unwrap_or("your message")
        ),
        opening: opening(request.kind, request.recipients.len(), unconfirmed),
        facts,
        recipients: request.recipients.iter().map(|r| told(r, bad_news)).collect(),
        closing: format!(
            "This report was made by the mail system at {}. For help write to {}.",
            shown(&settings.host_name),
            shown(&settings.postmaster)
        ),
    }
}

fn headline(kind: DsnKind) -> &'static str {
    match kind {
        DsnKind::Failed => "Not delivered",
        DsnKind::Delayed => "Delayed",
        DsnKind::Delivered => "Delivered",
        DsnKind::Relayed => "Handed on",
        DsnKind::Expanded => "Delivered to a list",
    }
}

fn opening(kind: DsnKind, recipients: usize, unconfirmed: bool) -> String {
    let whom =
        if recipients == 1 { "this recipient".to_owned() } else { format!("these {recipients} recipients") };
    if unconfirmed {
        return format!(
            "Your message to {whom} was accepted by the system at the other side, which never said what became \
             of it. It will not be sent again."
        );
    }
    match kind {
        DsnKind::Failed => {
            format!("Your message could not be delivered to {whom}. It will not be tried again.")
        }
        DsnKind::Delayed => format!(
            "Your message has not been delivered to {whom} yet. It is still being tried; you need not send it again."
        ),
        DsnKind::Delivered => format!("Your message was delivered to {whom}."),
        DsnKind::Relayed => format!(
            "Your message to {whom} was handed on to a system that does not report back. \
             You may get no further word whether it arrives."
        ),
        DsnKind::Expanded => format!(
            "Your message to {whom} was passed on to several others. You get no reports about each of them."
        ),
    }
}

fn told(told: &DsnRecipient, bad_news: bool) -> Told {
    let recipient = &told.recipient;
    let address = shown(&recipient.address.display());
    let mut facts = Vec::new();
    // People know the address that they wrote, not the one that it became.
    let written = recipient.envelope_address.as_ref().map(|a| shown(&a.display()));
    let original = recipient.original.as_ref().map(|o| shown(&o.address));
    if let Some(written) = original.or(written).filter(|w| *w != address) {
        facts.push(("You wrote".to_owned(), written));
    }
    facts.push(("Response".to_owned(), shown(&told.response.to_string())));
    if let Some(id) = &told.remote_id {
        facts.push(("Id at the other side".to_owned(), shown(id)));
    }
    for (name, value) in told.details.iter().take(RecipientOutcome::MAX_DETAILS) {
        let name = if name == REMOTE_MTA_DETAIL { "Host" } else { name };
        facts.push((capitalized(&shown(name)), shown(value)));
    }
    let explanation = match told.unconfirmed {
        true => Some(explanation::UNCONFIRMED),
        false => bad_news.then(|| explanation::of(told.response.status)),
    };
    Told { address, explanation, facts }
}

impl Report {
    /// The report as plain text. Lines with foreign text are never broken, so that they can be copied.
    pub(super) fn as_text(&self) -> String {
        let mut out = wrapped("", &self.opening);
        out.push('\n');
        for (name, value) in &self.facts {
            let _ = writeln!(out, "  {name}: {value}");
        }
        for told in &self.recipients {
            let _ = writeln!(out, "\n{}", told.address);
            if let Some(explanation) = told.explanation {
                out.push_str(&wrapped("  ", explanation));
            }
            for (name, value) in &told.facts {
                let _ = writeln!(out, "  {name}: {value}");
            }
        }
        out.push('\n');
        out.push_str(&wrapped("", &self.closing));
        out
    }

    /// The report as HTML: one element a line, no style, script or link.
    pub(super) fn as_html(&self) -> String {
        let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">");
        let _ = writeln!(out, "<title>{}</title></head>\n<body>", html(&self.subject));
        let _ = writeln!(out, "<p>{}</p>", html(&self.opening));
        push_table(&mut out, self.facts.iter().map(|(name, value)| (*name, value.as_str())));
        for told in &self.recipients {
            let _ = writeln!(out, "<h3>{}</h3>", html(&told.address));
            if let Some(explanation) = told.explanation {
                let _ = writeln!(out, "<p>{}</p>", html(explanation));
            }
            push_table(&mut out, told.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let _ = writeln!(out, "<p>{}</p>\n</body>\n</html>", html(&self.closing));
        out
    }
}

fn push_table<'a>(out: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push_str("<table>\n");
    for (name, value) in rows {
        let _ = writeln!(out, "<tr><th align=\"left\">{}</th><td>{}</td></tr>", html(name), html(value));
    }
    out.push_str("</table>\n");
}

/// A text of our own, broken at spaces.
fn wrapped(indent: &str, text: &str) -> String {
    let mut out = indent.to_owned();
    let mut column = indent.len();
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > indent.len() && column + 1 + width > WIDTH {
            let _ = write!(out, "\n{indent}");
            column = indent.len();
        } else if column > indent.len() {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
    out
}
