//! HeaderScanner: what must be known of a message's header while it streams by.

use memchr::memchr;

/// Bytes that are kept of one field's value; what goes beyond is cut off.
const MAX_VALUE: usize = 2048;

/// What the header told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// Bytes of the header block with its closing empty line.
    pub size: usize,
    /// `Received` fields.
    pub hops: usize,
    /// The value of the first `Message-ID` field: unfolded and trimmed but not decoded, at most 2048 bytes.
    pub message_id: Option<Vec<u8>>,
    /// The value of the first `Subject` field: unfolded and trimmed but not decoded, at most 2048 bytes.
    pub subject: Option<Vec<u8>>,
    /// The value of the first `X-Priority` field, in the same form.
    pub x_priority: Option<Vec<u8>>,
    /// The value of the first `Priority` field (RFC 4021, section 2.1.54), in the same form.
    pub priority: Option<Vec<u8>>,
    /// The value of the first `Importance` field (RFC 4021, section 2.1.52), in the same form.
    pub importance: Option<Vec<u8>>,
}

impl HeaderFacts {
    fn values(&mut self) -> [(&'static str, &mut Option<Vec<u8>>); 5] {
        [
            ("message-id", &mut self.message_id),
            ("subject", &mut self.subject),
            ("x-priority", &mut self.x_priority),
            ("priority", &mut self.priority),
            ("importance", &mut self.importance),
        ]
    }
}

/// Reads content in any pieces until the header ends: at an empty line, at a line that is no field, or at the
/// limit. Lines end at LF, because content that came by BDAT may lack the CR.
#[derive(Debug)]
pub(crate) struct HeaderScanner {
    limit: usize,
    facts: Box<HeaderFacts>,
    /// The beginning of a line whose end did not come yet. At most `limit` bytes.
    partial: Vec<u8>,
    /// The field to which a folded line belongs, as its place among the values that are kept.
    open: Option<usize>,
    done: bool,
    too_large: bool,
}

impl HeaderScanner {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, facts: Box::default(), partial: Vec::new(), open: None, done: false, too_large: false }
    }

    /// Whether the header goes beyond the limit.
    pub(crate) fn is_too_large(&self) -> bool {
        self.too_large
    }

    pub(crate) fn hops(&self) -> usize {
        self.facts.hops
    }

    /// Looks at the next piece of content.
    pub(crate) fn scan(&mut self, mut bytes: &[u8]) {
        while !self.done && !bytes.is_empty() {
            let Some(end) = memchr(b'\n', bytes) else {
                self.partial.extend_from_slice(&bytes[..bytes.len().min(self.limit + 1)]);
                self.check(self.facts.size + self.partial.len());
                return;
            };
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.partial.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole);
            }
        }
    }

    /// Closes the header where the content ended within it, and tells what was found.
    pub(crate) fn finish(&mut self) -> HeaderFacts {
        if !self.done && !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(&line);
        }
        self.done = true;
        let mut facts = std::mem::take(&mut self.facts);
        for value in facts.values().into_iter().filter_map(|(_, value)| value.as_mut()) {
            *value = value.trim_ascii().to_vec();
        }
        *facts
    }

    fn check(&mut self, size: usize) {
        if size > self.limit {
            self.too_large = true;
            self.done = true;
            self.partial = Vec::new();
        }
    }

    /// One line with its line end.
    fn line(&mut self, line: &[u8]) {
        self.check(self.facts.size + line.len());
        if self.done {
            return;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.starts_with(b" ") || text.starts_with(b"\t") {
            self.append(text);
        } else if let Some((name, value)) = field(text) {
            self.field(name, value);
        } else {
            // The body begins, with or without the empty line.
            self.done = true;
            self.facts.size += if text.is_empty() { line.len() } else { 0 };
            return;
        }
        self.facts.size += line.len();
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.facts.hops += usize::from(name.eq_ignore_ascii_case(b"received"));
        // Only the first field of a name counts.
        let is_first = |(known, value): &(&str, &mut Option<Vec<u8>>)| {
            name.eq_ignore_ascii_case(known.as_bytes()) && value.is_none()
        };
        self.open = self.facts.values().iter().position(is_first);
        self.append(value);
    }

    /// Adds to the value that is open.
    fn append(&mut self, more: &[u8]) {
        let Some(open) = self.open else { return };
        let [.., (_, value)] = &mut self.facts.values()[..=open] else { return };
        let value = value.get_or_insert_default();
        let room = MAX_VALUE - value.len().min(MAX_VALUE);
        value.extend_from_slice(&more[..more.len().min(room)]);
    }
}

/// The name and the value of a field; `None` if the line is none (RFC 5322 2.2, and white space before the
/// colon as in its obsolete syntax).
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let fits = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    fits.then(|| (name, &line[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] =
        b"Received: a\r\n\tb\r\nreceived : c\r\nSubject: one\r\n two\r\nSUBJECT: three\r\n\
        message-id:\r\n <x@y>\r\nX-Priority: 1\r\n (Highest)\r\nimportance: high\r\n\r\nReceived: body\r\nSubject: body\r\n";

    fn scan(message: &[u8], piece: usize) -> (HeaderFacts, bool) {
        let mut scanner = HeaderScanner::new(1000);
        message.chunks(piece).for_each(|piece| scanner.scan(piece));
        let too_large = scanner.is_too_large();
        (scanner.finish(), too_large)
    }

    #[test]
    fn the_same_is_found_in_pieces_of_any_length() {
        let expected = HeaderFacts {
            size: MESSAGE.len() - b"Received: body\r\nSubject: body\r\n".len(),
            hops: 2,
            message_id: Some(b"<x@y>".to_vec()),
            subject: Some(b"one two".to_vec()),
            x_priority: Some(b"1 (Highest)".to_vec()),
            priority: None,
            importance: Some(b"high".to_vec()),
        };
        for piece in 1..=MESSAGE.len() {
            assert_eq!(scan(MESSAGE, piece), (expected.clone(), false), "pieces of {piece}");
        }
    }

    #[test]
    fn a_header_ends_at_a_line_that_is_no_field_and_at_the_end() {
        assert_eq!(scan(b"A: b\r\nhello\r\nReceived: c\r\n", 7).0.hops, 0);
        assert_eq!(scan(b"Subject: cut", 5).0.subject, Some(b"cut".to_vec()));
        assert_eq!(scan(b"Subject:\n\nReceived: x\n", 50).0.subject, Some(Vec::new()));
        assert_eq!(scan(b"", 1).0, HeaderFacts::default());
    }

    #[test]
    fn a_header_beyond_the_limit_is_found_in_pieces_of_any_length() {
        for length in [990, 1000, 1010] {
            let message = [b"A: ".to_vec(), vec![b'x'; length - 7], b"\r\n\r\nbody\r\n".to_vec()].concat();
            for piece in [1, 3, 999, 1001, 5000] {
                assert_eq!(scan(&message, piece).1, length > 1000, "{length} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn values_are_cut_at_their_limit() {
        let message = [b"Subject: ".to_vec(), vec![b'x'; 5000]].concat();
        let mut scanner = HeaderScanner::new(10_000);
        scanner.scan(&message);
        assert_eq!(scanner.finish().subject.map(|value| value.len()), Some(MAX_VALUE - 1));
    }
}
