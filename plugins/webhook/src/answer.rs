//! Answer: what the far end's HTTP answer, or the lack of one, means for each recipient. Pure.

use std::collections::BTreeSet;

use postern_agent_sdk::http::{Answer, Fault};
use postern_agent_sdk::{Deferral, Outcome, Recipient, RecipientOutcome, Refusal, Report, Response, class};
use serde::Deserialize;
use serde_json::Value;

use crate::far_end::{Words, is_receipt};
use crate::{Settings, retry_after, url};

/// A report, and what the operator should read in the log.
#[derive(Debug, Default)]
pub struct Judged {
    /// The outcomes.
    pub report: Report,
    /// One line each.
    pub warnings: Vec<String>,
}

/// The longest piece of a plain text answer that is passed on, in bytes.
const MAX_PLAIN_TEXT: usize = 200;

/// Judges the answer to a POST for these recipients; `now` is in seconds since 1970.
pub fn judge(
    answer: Result<Answer, Fault>,
    recipients: &[Recipient],
    settings: &Settings,
    now: u32,
) -> Judged {
    match answer {
        Err(fault) => no_answer(&fault, recipients, settings),
        Ok(answer) if answer.status / 100 == 2 => taken(&answer, recipients, settings),
        Ok(answer) => not_taken(&answer, recipients, now),
    }
}

/// Nothing is known of the message: every recipient is tried again. Where no message could get through, the rest of the
/// queue waits too.
fn no_answer(fault: &Fault, recipients: &[Recipient], settings: &Settings) -> Judged {
    let (status, class, whole_queue) = match fault {
        Fault::Denied(_) => ((4, 7, 0), class::BLOCKED, true),
        Fault::Timeout => ((4, 4, 2), class::TIMEOUT, false),
        Fault::Connect(_) => ((4, 4, 1), class::SERVICE_UNAVAILABLE, true),
        Fault::Tls(_) => ((4, 7, 5), class::SERVICE_UNAVAILABLE, true),
        Fault::TooLarge | Fault::Other(_) => ((4, 5, 0), class::PROTOCOL_ERROR, false),
    };
    let text = match fault {
        Fault::Denied(text) => format!("not granted: {text}; the connector needs {}", grants(settings)),
        other => format!("the webhook could not be asked: {other}"),
    };
    let deferral = Deferral::new(Response::new(451, status, &text), class);
    let mut report = Report::all(recipients, &Outcome::Deferred(deferral.clone()));
    report.refusal = whole_queue.then_some(Refusal::DeferQueue(deferral));
    Judged { report, warnings: Vec::new() }
}

/// The grants that these settings need, as they are written in the connector's table.
fn grants(settings: &Settings) -> String {
    let mut origins = BTreeSet::new();
    for address in [Some(&settings.url), settings.receipt_url.as_ref()].into_iter().flatten() {
        origins.extend(url::origin(address).map(|origin| format!("\"{origin}/\"")));
    }
    let mut grants = format!("http = [{}]", origins.into_iter().collect::<Vec<_>>().join(", "));
    let secrets = settings.secrets();
    if !secrets.is_empty() {
        grants = format!("{grants} and secrets = {secrets:?}");
    }
    grants
}

/// How a status that is no success is taken: for now or for ever, with which status and class.
fn rule(status: u16) -> (bool, (u8, u16, u16), &'static str) {
    let (never, not_now) = (true, false);
    match status {
        300..=399 => (not_now, (4, 4, 4), class::PROTOCOL_ERROR),
        // These say something about the address or the credentials, which the operator can mend, and nothing about
        // the message: failing would return every mail because of one wrong character in the config.
        401 | 403 | 407 => (not_now, (4, 7, 0), class::BLOCKED),
        402 => (not_now, (4, 3, 0), class::INSUFFICIENT_CREDIT),
        404 | 405 => (not_now, (4, 4, 4), class::SERVICE_UNAVAILABLE),
        408 | 504 => (not_now, (4, 4, 2), class::TIMEOUT),
        410 => (never, (5, 1, 6), class::UNALLOCATED),
        413 => (never, (5, 3, 4), class::TOO_LARGE),
        429 => (not_now, (4, 4, 5), class::THROTTLED),
        425 | 500..=599 => (not_now, (4, 3, 2), class::SERVICE_UNAVAILABLE),
        400..=499 => (never, (5, 6, 0), class::CONTENT_REJECTED),
        _ => (not_now, (4, 5, 0), class::PROTOCOL_ERROR),
    }
}

fn not_taken(answer: &Answer, recipients: &[Recipient], now: u32) -> Judged {
    let words = body_words(answer);
    let (never, status, class) = rule(answer.status);
    let mut text = format!("the webhook answered {}", answer.status);
    if let (300..=399, Some(location)) = (answer.status, answer.header("location")) {
        text = format!("{text} (it redirects to {location}, which is not followed: set url to that)");
    }
    let response = words.response(status, &text);
    if never {
        let outcome = Outcome::failed(response, words.class_or(class));
        return Judged { report: Report::all(recipients, &outcome), warnings: Vec::new() };
    }
    let header = answer.header("retry-after").and_then(|value| retry_after::parse(value, now));
    let wish = header.or(words.retry_after.map(|seconds| seconds.min(retry_after::MAX_SECONDS)));
    let deferral = Deferral::new(response, words.class_or(class)).retry_after(wish);
    // Both are about the far end as a whole; a 500 may be about this one message, and must not block the others.
    let whole_queue = answer.status == 429 || (answer.status == 503 && wish.is_some());
    let mut report = Report::all(recipients, &Outcome::Deferred(deferral.clone()));
    report.refusal = whole_queue.then_some(Refusal::DeferQueue(deferral));
    Judged { report, warnings: Vec::new() }
}

/// What an answer says about all recipients: the JSON object, or a short plain text, or nothing.
fn body_words(answer: &Answer) -> Words {
    if let Ok(words) = serde_json::from_slice::<Words>(&answer.body) {
        return words;
    }
    let plain =
        answer.header("content-type").is_some_and(|t| t.to_ascii_lowercase().starts_with("text/plain"));
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.trim();
    if !plain || text.is_empty() {
        return Words::default();
    }
    let end = (0..=MAX_PLAIN_TEXT.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    Words { text: Some(text[..end].to_owned().into()), ..Words::default() }
}

/// One recipient in the list of an answer.
#[derive(Deserialize)]
struct Entry {
    index: u32,
    outcome: String,
    #[serde(flatten)]
    words: Words,
}

fn taken(answer: &Answer, recipients: &[Recipient], settings: &Settings) -> Judged {
    let mut judged = Judged::default();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let words = if body.is_object() { Words::deserialize(&body) } else { Ok(body_words(answer)) };
    let entries = match body.get("recipients") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(list) => Vec::<Entry>::deserialize(list),
    };
    let text = format!("the webhook answered {}", answer.status);
    let (words, entries) = match (words, entries) {
        (Ok(words), Ok(entries)) => (words, entries),
        // It means to tell something that may well be a failure. To call that a success would lose mail.
        (Err(error), _) | (_, Err(error)) => {
            let text = format!("{text} with JSON that is not in the documented form: {error}");
            let outcome = Outcome::deferred(Response::new(451, (4, 5, 2), &text), class::PROTOCOL_ERROR);
            judged.report = Report::all(recipients, &outcome);
            judged.warnings.push(text);
            return judged;
        }
    };
    let receipt = receipt_of_answer(answer, &words, settings);
    let words = with_receipt_as_remote_id(words, receipt.as_deref());
    let all = if answer.status == 202 { "accepted" } else { "delivered" };
    for recipient in recipients {
        let entry = entries.iter().find(|entry| entry.index == recipient.index);
        let outcome = match entry {
            Some(entry) => {
                let own = entry.words.receipt.as_ref().map(|r| r.0.clone()).filter(|id| is_receipt(id));
                let receipt = own.or_else(|| receipt.clone());
                one(recipient.index, &entry.outcome, &entry.words.clone().or(&words), receipt, &text)
            }
            None => one(recipient.index, all, &words, receipt.clone(), &text),
        };
        judged.report.outcomes.push(outcome);
    }
    for entry in &entries {
        if recipients.iter().all(|r| r.index != entry.index) {
            judged.warnings.push(format!("{text} about recipient {}, which was not asked for", entry.index));
        }
    }
    let waits = judged.report.outcomes.iter().any(|o| matches!(o.outcome, Outcome::Accepted(_)));
    if waits && settings.receipt_url.is_none() && receipt.as_deref().and_then(url::origin).is_none() {
        judged.warnings.push(
            "the webhook gave a receipt, but neither a Location nor settings.receipt_url says where to ask for it"
                .to_owned(),
        );
    }
    judged
}

/// The receipt that stands for the whole request. It must be enough to ask with: where `receipt_url` is set, any id
/// is, and otherwise the URL of a `Location` is preferred.
fn receipt_of_answer(answer: &Answer, words: &Words, settings: &Settings) -> Option<String> {
    let location = (answer.status == 202)
        .then(|| answer.header("location"))
        .flatten()
        .and_then(|location| url::resolve(&settings.url, location));
    let named = words.receipt.as_ref().map(|text| text.0.clone());
    let named = named.or_else(|| answer.header("x-receipt").map(str::to_owned));
    let receipt = if settings.receipt_url.is_some() { named.or(location) } else { location.or(named) };
    receipt.filter(|id| is_receipt(id))
}

/// Where the `Location` became the receipt, the far end's own name for it is not lost.
fn with_receipt_as_remote_id(mut words: Words, receipt: Option<&str>) -> Words {
    let named = words.receipt.as_ref().filter(|named| Some(named.0.as_str()) != receipt).cloned();
    words.remote_id = words.remote_id.or(named);
    words
}

fn one(index: u32, outcome: &str, words: &Words, receipt: Option<String>, text: &str) -> RecipientOutcome {
    let outcome = match outcome {
        "delivered" => Outcome::delivered(words.response((2, 0, 0), text)),
        "relayed" => Outcome::relayed(words.response((2, 0, 0), text)),
        "expanded" => Outcome::expanded(words.response((2, 0, 0), text)),
        "accepted" => accepted(words, receipt, text),
        "deferred" => {
            let wish = words.retry_after.map(|seconds| seconds.min(retry_after::MAX_SECONDS));
            let class = words.class_or(class::UNSPECIFIED);
            Outcome::Deferred(Deferral::new(words.response((4, 0, 0), text), class).retry_after(wish))
        }
        "failed" => Outcome::failed(words.response((5, 0, 0), text), words.class_or(class::UNSPECIFIED)),
        other => {
            let text = format!("{text} with the outcome {other:?}, which is none");
            Outcome::deferred(Response::new(451, (4, 5, 2), &text), class::PROTOCOL_ERROR)
        }
    };
    RecipientOutcome {
        recipient: index,
        outcome,
        remote_id: words.remote_id.as_ref().map(|id| id.0.clone()),
        details: words.details(),
    }
}

/// Without a receipt nothing can be waited for: the far end has it and will not tell more.
fn accepted(words: &Words, receipt: Option<String>, text: &str) -> Outcome {
    let response = words.response((2, 0, 0), text);
    match receipt {
        Some(id) => Outcome::accepted(response, &id, words.expires_after),
        None => Outcome::relayed(response),
    }
}

#[cfg(test)]
mod tests;
