//! ReplyReader: what a server answers, line by line and within bounds (RFC 5321 4.2).

use memchr::memchr;

use crate::EnhancedCode;

/// Bytes of one reply line with its line end; RFC 5321 4.5.3.1.5 has 512.
pub const MAX_REPLY_LINE: usize = 4096;
/// Lines of one reply.
pub const MAX_REPLY_LINES: usize = 128;

/// A reply of one or more lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced code of the first line that has one; only of the reply code's own class.
    pub enhanced: Option<EnhancedCode>,
    /// The text of each line without codes and control characters; what is not UTF-8 is replaced. At least one.
    pub lines: Vec<String>,
}

impl Reply {
    /// 2xx: done.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3xx: go on.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4xx: not now.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx: not ever.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// All lines as one, joined by spaces.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
}

/// Why something is no reply. The connection is of no more use then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// No code of three digits from 200 to 599, or something else than a space or `-` behind it.
    #[error("the server's reply has no reply code")]
    Code,
    /// The lines of one reply have different codes.
    #[error("the lines of the server's reply have different codes")]
    Mixed,
    /// A line above [`MAX_REPLY_LINE`].
    #[error("a line of the server's reply is too long")]
    LineTooLong,
    /// More than [`MAX_REPLY_LINES`] lines.
    #[error("the server's reply has too many lines")]
    TooManyLines,
}

/// Reads replies out of a stream of bytes.
#[derive(Debug, Default)]
pub struct ReplyReader {
    pending: Option<Reply>,
}

impl ReplyReader {
    /// Takes lines off the front of `input` until a reply is complete; `None` if more input is needed. What is
    /// left of `input` is to be offered again, in front of what is read next. A bare LF ends a line, too.
    ///
    /// # Errors
    /// When it is no reply, or one without end.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        loop {
            let window = &input[..input.len().min(MAX_REPLY_LINE)];
            let Some(end) = memchr(b'\n', window) else {
                return if window.len() == MAX_REPLY_LINE { Err(ReplyError::LineTooLong) } else { Ok(None) };
            };
            let line = &window[..end];
            *input = &input[end + 1..];
            if self.line(line.strip_suffix(b"\r").unwrap_or(line))? {
                return Ok(self.pending.take());
            }
        }
    }

    /// Whether it was the last line.
    fn line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let (code, last, text) = split(line).ok_or(ReplyError::Code)?;
        let (enhanced, text) = split_enhanced(code, text);
        let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
        let reply = self.pending.get_or_insert(Reply { code, enhanced: None, lines: Vec::new() });
        if reply.code != code {
            return Err(ReplyError::Mixed);
        }
        if reply.lines.len() == MAX_REPLY_LINES {
            return Err(ReplyError::TooManyLines);
        }
        reply.enhanced = reply.enhanced.or(enhanced);
        reply.lines.push(text);
        Ok(last)
    }
}

/// The code, whether the line is the last one, and the text.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits
        .iter()
        .try_fold(0, |code, digit| digit.is_ascii_digit().then(|| code * 10 + u16::from(digit - b'0')))?;
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    (200..=599).contains(&code).then_some((code, last, text))
}

/// Splits the enhanced code off the text, if it is one for this reply code.
fn split_enhanced(code: u16, text: &[u8]) -> (Option<EnhancedCode>, &[u8]) {
    let length = text.iter().position(|b| *b == b' ').unwrap_or(text.len());
    let word = std::str::from_utf8(&text[..length]).ok();
    match word.and_then(|word| word.parse::<EnhancedCode>().ok()).filter(|enhanced| enhanced.fits(code)) {
        Some(enhanced) => (Some(enhanced), text[length..].trim_ascii_start()),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(wire: &[u8]) -> Result<Vec<Reply>, ReplyError> {
        let (mut reader, mut input, mut replies) = (ReplyReader::default(), wire, Vec::new());
        while let Some(reply) = reader.read(&mut input)? {
            replies.push(reply);
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_read_in_pieces_of_any_length() {
        let wire =
            b"250-5.1.1 is another class\r\n250-2.1.5 first\r\n250 2.1.5 second\r\n354\r\n550 5.7.1\r\n\
            451 4.3.0x \x1b[0m\xff\n";
        let expected = [
            (250, Some(EnhancedCode::new(2, 1, 5)), "5.1.1 is another class first second"),
            (354, None, ""),
            (550, Some(EnhancedCode::new(5, 7, 1)), ""),
            (451, None, "4.3.0x [0m\u{fffd}"),
        ];
        for piece in 1..=wire.len() {
            let (mut reader, mut buffer, mut replies) = (ReplyReader::default(), Vec::new(), Vec::new());
            for bytes in wire.chunks(piece) {
                buffer.extend_from_slice(bytes);
                let mut input = &buffer[..];
                while let Some(reply) = reader.read(&mut input).unwrap() {
                    replies.push(reply);
                }
                buffer = input.to_vec();
            }
            let seen: Vec<_> =
                replies.iter().map(|reply| (reply.code, reply.enhanced, reply.text())).collect();
            let expected: Vec<_> = expected.iter().map(|(c, e, t)| (*c, *e, (*t).to_owned())).collect();
            assert_eq!(seen, expected, "pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for (wire, error) in [
            (&b"hello\r\n"[..], ReplyError::Code),
            (b"\r\n", ReplyError::Code),
            (b"25\r\n", ReplyError::Code),
            (b"2500 x\r\n", ReplyError::Code),
            (b"150 x\r\n", ReplyError::Code),
            (b"600 x\r\n", ReplyError::Code),
            (b"HTTP/1.1 200\r\n", ReplyError::Code),
            (b"250-a\r\n550 b\r\n", ReplyError::Mixed),
        ] {
            assert_eq!(all(wire), Err(error), "{wire:?}");
        }
    }

    #[test]
    fn a_reply_without_end_is_an_error() {
        assert_eq!(all(&b"250-x\r\n".repeat(MAX_REPLY_LINES + 1)), Err(ReplyError::TooManyLines));
        assert_eq!(all(&[b'2'; MAX_REPLY_LINE]), Err(ReplyError::LineTooLong));
        assert_eq!(all(&[b'2'; MAX_REPLY_LINE - 1]), Ok(Vec::new()));
    }
}
