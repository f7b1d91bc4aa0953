//! Status: the fields for programs (`message/delivery-status`, RFC 3464 2).

use postern_model::{DsnKind, DsnRecipient, DsnRequest, OriginalRecipient, RecipientOutcome, TypedAddress};

use super::encoding::{ascii, capitalized, push_field, token};
use super::{DsnSettings, REMOTE_MTA_DETAIL, date};

/// What RFC 6533 3 forbids in an address of the type `utf-8` besides characters that are not ASCII.
const UTF8_ESCAPED: &str = " +=\\";

/// The longest word made of a foreign name, in bytes.
const MAX_NAME: usize = 40;

/// The fields of the message, then those of each recipient.
pub(super) fn fields(request: &DsnRequest, settings: &DsnSettings) -> String {
    let mut out = String::new();
    let envelope = &request.message.envelope;
    // RFC 3461 6.3: the envelope id stands here as it was before it was xtext.
    if let Some(id) = &envelope.envelope_id {
        push_field(&mut out, "Original-Envelope-Id", &ascii(id, ""));
    }
    push_field(&mut out, "Reporting-MTA", &format!("dns; {}", ascii(&settings.host_name, "")));
    push_field(&mut out, "Arrival-Date", &date(envelope.received_at));
    for recipient in &request.recipients {
        out.push_str("\r\n");
        push_recipient(&mut out, recipient, request);
    }
    out
}

fn push_recipient(out: &mut String, told: &DsnRecipient, request: &DsnRequest) {
    let recipient = &told.recipient;
    let original = match (&recipient.original, &recipient.envelope_address) {
        (Some(original), _) => Some(original_value(original)),
        // What the sender wrote is the better original than none.
        (None, Some(address)) => Some(address_value(address)),
        (None, None) => None,
    };
    if let Some(original) = original {
        push_field(out, "Original-Recipient", &original);
    }
    push_field(out, "Final-Recipient", &address_value(&recipient.address));
    push_field(out, "Action", request.kind.action());
    push_field(out, "Status", &told.response.status.to_string());
    if let Some((_, name)) = told.details.iter().find(|(name, _)| name == REMOTE_MTA_DETAIL) {
        push_field(out, "Remote-MTA", &format!("dns; {}", ascii(name, "")));
    }
    push_field(out, "Diagnostic-Code", &format!("smtp; {}", ascii(&told.response.to_string(), "")));
    push_field(out, "Last-Attempt-Date", &date(request.at));
    if request.kind == DsnKind::Delayed
        && !told.unconfirmed
        && let Some(until) = request.retry_until
    {
        push_field(out, "Will-Retry-Until", &date(until));
    }
    if let Some(id) = &told.remote_id {
        push_field(out, "X-Postern-Remote-Id", &ascii(id, ""));
    }
    for (name, value) in told.details.iter().take(RecipientOutcome::MAX_DETAILS) {
        let word = capitalized(&word(name));
        if name != REMOTE_MTA_DETAIL && !word.is_empty() {
            push_field(out, &format!("X-Postern-{word}"), &ascii(value, ""));
        }
    }
}

/// `rfc822; jo@a.example`, `utf-8; j\x{F6}@a.example` (RFC 6533) or `fax; +4930123`.
fn address_value(address: &TypedAddress) -> String {
    let text = address.address();
    if !address.kind().is_smtp() {
        return format!("{}; {}", address.kind().as_str().to_ascii_lowercase(), ascii(text, ""));
    }
    if text.is_ascii() { format!("rfc822; {text}") } else { format!("utf-8; {}", ascii(text, UTF8_ESCAPED)) }
}

fn original_value(original: &OriginalRecipient) -> String {
    let kind = word(&original.kind);
    let text = &original.address;
    match kind.to_ascii_lowercase().as_str() {
        "" => format!("unknown; {}", ascii(text, "")),
        "utf-8" => format!("utf-8; {}", ascii(text, UTF8_ESCAPED)),
        "rfc822" if !text.is_ascii() => format!("utf-8; {}", ascii(text, UTF8_ESCAPED)),
        _ => format!("{kind}; {}", ascii(text, "")),
    }
}

/// A foreign name as a word of letters, digits and `-`; empty when it has neither letter nor digit.
fn word(name: &str) -> String {
    let mut word = token(name, "-");
    word.truncate(MAX_NAME);
    word.trim_matches('-').to_owned()
}
