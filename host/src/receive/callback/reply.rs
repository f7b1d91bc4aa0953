//! What an agent answers to a provider, made into an HTTP response: checked and bounded. Pure.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use postern_agent::CallbackReply;

/// The most header fields of an answer; further ones are dropped.
const MAX_FIELDS: usize = 32;
/// The longest value of one, in bytes; longer ones are dropped.
const MAX_VALUE: usize = 4096;
/// The longest body, in bytes; a longer one is cut.
const MAX_BODY: usize = 1 << 20;
/// Fields that are the connection's, not the answer's.
const OURS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The response that a provider gets. A status that is none becomes 200: the call was handled.
pub fn response(reply: CallbackReply) -> Response {
    let CallbackReply { status, headers, mut body, .. } = reply;
    body.truncate(MAX_BODY);
    let status = StatusCode::from_u16(status).ok().filter(|s| s.as_u16() >= 200).unwrap_or(StatusCode::OK);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers.iter().take(MAX_FIELDS) {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
            continue;
        };
        if value.len() <= MAX_VALUE && !OURS.contains(&name.as_str()) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        response(CallbackReply { status, headers, body: b"ok".to_vec(), receipts: Vec::new() })
    }

    #[test]
    fn what_belongs_to_the_connection_and_what_is_no_header_is_dropped() {
        let headers = [
            ("Content-Type", "text/plain"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "9999"),
            ("X-Evil", "a\r\nSet-Cookie: b"),
            ("bad name", "x"),
            ("X-Long", &"x".repeat(MAX_VALUE + 1)),
        ];
        let response = answered(202, &headers);
        assert_eq!(response.status(), 202);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type"]);
    }

    #[test]
    fn a_status_that_is_none_says_that_it_was_handled() {
        for status in [0, 99, 101, 1000] {
            assert_eq!(answered(status, &[]).status(), 200, "{status}");
        }
    }
}
