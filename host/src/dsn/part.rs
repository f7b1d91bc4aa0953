//! Part: one part of a MIME message, and several joined to a multipart.

use super::encoding::{lines, push_field, quoted_printable};

/// The longest line without its end that SMTP carries, in bytes (RFC 5321 4.5.3.1.6).
pub(super) const MAX_LINE: usize = 998;

/// A part with its own header.
pub(super) struct Part {
    content_type: String,
    encoding: &'static str,
    description: Option<&'static str>,
    /// CRLF lines, as [`Part::encoding`] says.
    body: Vec<u8>,
}

impl Part {
    /// A text for people: as it is when it is ASCII with lines that fit, else quoted-printable.
    pub(super) fn text(content_type: &str, text: &str) -> Self {
        let (encoding, body) = seven_bit(text.as_bytes());
        let content_type = format!("{content_type}; charset=utf-8");
        Self { content_type, encoding, description: Some("Notification"), body }
    }

    /// The fields for programs, ASCII only.
    pub(super) fn delivery_status(fields: String) -> Self {
        Self {
            content_type: "message/delivery-status".to_owned(),
            encoding: "7bit",
            description: Some("Delivery report"),
            body: fields.into_bytes(),
        }
    }

    /// The header of the message it is about.
    pub(super) fn headers(headers: &[u8]) -> Self {
        let (encoding, body) = seven_bit(headers);
        Self {
            content_type: "text/rfc822-headers".to_owned(),
            encoding,
            description: Some("Headers of the message"),
            body,
        }
    }

    /// The message it is about. Other encodings are not allowed for this type (RFC 2046 5.2.1); lines end in
    /// CRLF.
    pub(super) fn message(body: Vec<u8>) -> Self {
        let encoding = if body.is_ascii() { "7bit" } else { "8bit" };
        Self { content_type: "message/rfc822".to_owned(), encoding, description: Some("The message"), body }
    }

    pub(super) fn is_eight_bit(&self) -> bool {
        self.encoding == "8bit"
    }

    /// Writes its header, the empty line and its body.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut head = String::new();
        push_field(&mut head, "Content-Type", &self.content_type);
        push_field(&mut head, "Content-Transfer-Encoding", self.encoding);
        if let Some(description) = self.description {
            push_field(&mut head, "Content-Description", description);
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }
}

/// Joins parts under a boundary that starts with `name` and occurs in none of them.
pub(super) fn multipart(subtype: &str, name: &str, parts: &[Part]) -> Part {
    let boundary = boundary(name, parts);
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        part.write_to(&mut body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Part {
        content_type: format!("multipart/{subtype}; boundary=\"{boundary}\""),
        encoding: if parts.iter().any(Part::is_eight_bit) { "8bit" } else { "7bit" },
        description: None,
        body,
    }
}

/// The first `name.N` that no line of the parts could be taken for. The name holds ids that the writer of the
/// message did not know, so the first one nearly always will do.
fn boundary(name: &str, parts: &[Part]) -> String {
    let taken = |boundary: &str| {
        let delimiter = format!("--{boundary}");
        parts.iter().any(|p| lines(&p.body).any(|line| line.starts_with(delimiter.as_bytes())))
    };
    let mut number = 0_u64;
    loop {
        // The dot at the end keeps `name.1` from being the start of `name.10`.
        let boundary = format!("{name}.{number}.");
        if !taken(&boundary) {
            return boundary;
        }
        number += 1;
    }
}

/// Bytes as CRLF lines of ASCII, and the encoding that made them so.
fn seven_bit(input: &[u8]) -> (&'static str, Vec<u8>) {
    let fits = |line: &[u8]| line.len() <= MAX_LINE && line.iter().all(|b| b.is_ascii() && *b != 0);
    if lines(input).all(fits) { ("7bit", crlf(input)) } else { ("quoted-printable", quoted_printable(input)) }
}

/// `input` with every line ended by CRLF.
pub(super) fn crlf(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() + 2);
    for line in lines(input) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_that_occurs_is_passed_over() {
        let body = b"text\n--=_a.x.0.\n--=_a.x.1.--\nsee --=_a.x.2.\n";
        let parts = [Part::text("text/plain", str::from_utf8(body).unwrap())];
        assert_eq!(boundary("=_a.x", &parts), "=_a.x.2.");
    }

    #[test]
    fn text_stays_readable_where_it_can() {
        let encoding = |text: &str| Part::text("text/plain", text).encoding;
        assert_eq!(encoding("a\nb"), "7bit");
        assert_eq!(encoding("ä"), "quoted-printable");
        assert_eq!(encoding(&"x".repeat(MAX_LINE)), "7bit");
        assert_eq!(encoding(&"x".repeat(MAX_LINE + 1)), "quoted-printable");
    }
}
