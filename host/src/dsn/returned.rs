//! Returned: what a notification gives back of the message it is about.

use super::encoding::lines;
use super::part::{MAX_LINE, Part, crlf};

/// The most of a header block that is given back, in bytes; the rest is left out.
const MAX_HEADERS: usize = 64 * 1024;

/// The whole message when it is wanted and can be given back as it is, else the header block that `headers`
/// starts with; nothing when that is empty, too.
pub(super) fn part(headers: &[u8], whole: Option<&[u8]>) -> Option<Part> {
    if let Some(whole) = whole
        && fits(whole)
    {
        return Some(Part::message(crlf(whole)));
    }
    let block = header_block(headers);
    (!block.is_empty()).then(|| Part::headers(&block))
}

/// Whether it can be put into a message as it is: `message/rfc822` cannot be encoded.
fn fits(original: &[u8]) -> bool {
    !original.is_empty() && lines(original).all(|line| line.len() <= MAX_LINE && !line.contains(&0))
}

/// The lines before the first empty one, whole lines only.
fn header_block(source: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines(source).take_while(|line| !line.is_empty()) {
        if out.len() + line.len() + 2 > MAX_HEADERS {
            break;
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out
}
