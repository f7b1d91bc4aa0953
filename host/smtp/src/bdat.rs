//! Chunk: the bytes behind one BDAT command (RFC 3030 section 2).

/// What is left of a chunk. Its bytes are content as they are: no dots, no line ends, no forbidden octets.
#[derive(Debug)]
pub(crate) struct Chunk {
    left: u64,
    /// Whether the message ends with it.
    pub(crate) last: bool,
}

impl Chunk {
    pub(crate) fn new(size: u64, last: bool) -> Self {
        Self { left: size, last }
    }

    /// Takes the chunk's bytes off the front of `input`.
    pub(crate) fn take<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (taken, rest) = input.split_at(length);
        *input = rest;
        self.left -= length as u64;
        taken
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.left == 0
    }
}

/// Reads the argument of BDAT: a size in bytes and perhaps `LAST`. `None` if it is neither.
pub(crate) fn parse(argument: &str) -> Option<(u64, bool)> {
    let (size, mark) = argument.split_once(' ').unwrap_or((argument, ""));
    let last = match mark.trim_matches(' ') {
        "" => false,
        mark if mark.eq_ignore_ascii_case("LAST") => true,
        _ => return None,
    };
    // The standard parser would take a sign, too.
    let digits = !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit());
    if digits { Some((size.parse().ok()?, last)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_a_size_and_perhaps_last() {
        assert_eq!(parse("0"), Some((0, false)));
        assert_eq!(parse("86 last"), Some((86, true)));
        for text in ["", "x", "+1", "-1", "1 FIRST", "1 LAST LAST", "99999999999999999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_chunk_takes_its_own_bytes_and_no_more() {
        let mut chunk = Chunk::new(5, true);
        let mut input = &b"abc"[..];
        assert_eq!(chunk.take(&mut input), b"abc");
        assert!(!chunk.is_complete());
        let mut input = &b"deQUIT"[..];
        assert_eq!(chunk.take(&mut input), b"de");
        assert_eq!((input, chunk.is_complete()), (&b"QUIT"[..], true));
    }
}
