//! Paths that climb: what a server might read as `..` although the URL parser did not.

/// Decoding more often than this means somebody is hiding something.
const MAX_ROUNDS: usize = 5;

/// Whether some segment of `path`, percent-decoded as often as it can be, is `.` or `..`. Both slashes separate
/// segments, and what follows a `;` in a segment is left out, because some servers do so too.
pub(crate) fn climbs(path: &str) -> bool {
    let mut current = path.as_bytes().to_vec();
    for _ in 0..MAX_ROUNDS {
        let dots = current.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
            let name = segment.split(|b| *b == b';').next().unwrap_or_default();
            matches!(name, b"." | b"..")
        });
        if dots {
            return true;
        }
        let decoded = decode(&current);
        if decoded == current {
            return false;
        }
        current = decoded;
    }
    true
}

fn decode(path: &[u8]) -> Vec<u8> {
    let digit =
        |at: usize| path.get(at).and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        if *byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            out.push(high * 16 + low);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::climbs;

    #[test]
    fn only_whole_segments_of_dots_climb() {
        for path in ["/a/..%2fb", "/a/%25%32%65%252e/b", "/..;x=1/b", "/a%5c..", "/%2525252525252e"] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/a/..b", "/a%2fb", "/100%", "/%zz", "/a..b/.well-known"] {
            assert!(!climbs(path), "{path}");
        }
    }
}
