//! Request: the envelope as JSON and the message as bytes, in one multipart/form-data body (RFC 7578).

use memchr::memmem;
use postern_agent_sdk::http::Request;
use postern_agent_sdk::{Item, NextHop, Notify, Recipient, host, log};
use serde_json::{Value, json};

use crate::{FORMAT_VERSION, Settings};

/// Left of the call's deadline for working on the answer, in milliseconds.
const MARGIN_MS: u32 = 1_000;
/// What the headers of the parts and the boundaries take at most, in bytes.
const FRAME: usize = 512;

/// The envelope as JSON. What the host's parser cannot make of the message is null: it is delivered all the same.
pub fn envelope(item: &Item, recipients: &[Recipient], hop: &NextHop, settings: &Settings) -> Vec<u8> {
    let e = item.envelope();
    let mut envelope = json!({
        "version": FORMAT_VERSION,
        "connector": hop.connector,
        "destination": hop.destination,
        "item_id": e.item_id,
        "attempt": e.attempt,
        "reverse_path": e.reverse_path,
        "envelope_id": e.envelope_id,
        "return_content": e.return_content,
        "helo": e.helo,
        "submitter": e.submitter,
        "received_at": e.received_at,
        "expires_at": e.expires_at,
        "must_deliver": e.must_deliver,
        "priority": e.priority.as_str(),
        "size": e.size,
        "properties": e.properties,
        "recipients": recipients.iter().map(recipient).collect::<Vec<_>>(),
    });
    if settings.include_headers {
        envelope["headers"] = view("header fields", item.headers());
    }
    if settings.include_text.bytes() > 0 {
        envelope["text"] = view("text", item.text(settings.include_text.bytes()));
    }
    serde_json::to_vec(&envelope).expect("strings and numbers always become JSON")
}

fn recipient(r: &Recipient) -> Value {
    json!({
        "index": r.index,
        "address_type": r.address_type,
        "address": r.address,
        "original": r.original.as_ref().map(|o| json!({ "type": o.kind, "address": o.address })),
        "notify": r.notify.as_ref().map(|all| all.iter().map(|n| Notify::as_str(*n)).collect::<Vec<_>>()),
        "idempotency_key": r.idempotency_key,
        "properties": r.properties,
    })
}

fn view<T: serde::Serialize>(what: &str, view: Result<T, String>) -> Value {
    match view {
        Ok(view) => json!(view),
        Err(text) => {
            log::warn(&format!("no {what} in the envelope: {text}"));
            Value::Null
        }
    }
}

/// Bytes that the body needs besides the content.
pub fn overhead(envelope: &[u8]) -> usize {
    envelope.len() + FRAME
}

/// The boundary and the body. The boundary occurs in neither part: should random bytes ever make one that does, others
/// are taken. The content is moved within its own buffer and not copied into another: it may be half the agent's memory.
pub fn multipart(
    envelope: &[u8],
    content: Option<Vec<u8>>,
    mut random: impl FnMut() -> Vec<u8>,
) -> (String, Vec<u8>) {
    let with_content = content.is_some();
    let mut body = content.unwrap_or_else(|| Vec::with_capacity(overhead(envelope)));
    let boundary = loop {
        let boundary = boundary(&random());
        let occurs = |bytes: &[u8]| memmem::find(bytes, boundary.as_bytes()).is_some();
        if !occurs(&body) && !occurs(envelope) {
            break boundary;
        }
    };
    let mut front = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"envelope\"\r\nContent-Type: application/json\r\n\r\n"
    )
    .into_bytes();
    front.extend_from_slice(envelope);
    front.extend_from_slice(b"\r\n");
    if with_content {
        front.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"message\"; filename=\"message.eml\"\r\n\
                 Content-Type: message/rfc822\r\n\r\n"
            )
            .as_bytes(),
        );
    }
    body.splice(0..0, front);
    let line = if with_content { "\r\n" } else { "" };
    body.extend_from_slice(format!("{line}--{boundary}--\r\n").as_bytes());
    (boundary, body)
}

fn boundary(random: &[u8]) -> String {
    let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
    format!("postern-{hex}")
}

/// Names the request for far ends that recognise repeats: the same for the same recipients of the same item, another
/// one when some of them are done or were resubmitted. The item's id alone would let a far end answer a later attempt
/// for the remaining recipients with what it said about the first.
pub fn idempotency_key(item_id: &str, recipients: &[Recipient]) -> String {
    if let [only] = recipients {
        return only.idempotency_key.clone();
    }
    // FNV-1a: not against enemies, only to tell the subsets of one item's recipients apart.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for recipient in recipients {
        for b in recipient.idempotency_key.bytes().chain([0]) {
            hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{item_id}-{hash:016x}")
}

/// The request for a body.
pub fn post(settings: &Settings, boundary: &str, idempotency_key: &str, body: Vec<u8>) -> Request {
    let mut request = Request::new("POST", &settings.url)
        .header("Content-Type", &format!("multipart/form-data; boundary={boundary}"))
        .header("Idempotency-Key", idempotency_key)
        .body(body)
        .timeout_ms(timeout_ms(settings));
    request.headers.extend(settings.request_headers());
    request
}

/// The setting, or what is left of the call's deadline: a call that is cut off could report nothing.
pub fn timeout_ms(settings: &Settings) -> u32 {
    let left = host::remaining_ms().saturating_sub(MARGIN_MS).max(1);
    settings.timeout_seconds.saturating_mul(1_000).min(left)
}
