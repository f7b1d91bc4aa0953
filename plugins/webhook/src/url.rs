//! Just enough of URLs: the origin, what a `Location` means, and one escaped segment. The host checks the rest.

/// The scheme, host and port of an `http://` or `https://` URL, without the slash behind it; `None` when it is no such
/// URL, names no host, or holds white space, control or other characters beyond ASCII.
pub fn origin(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let fits = url.bytes().all(|b| b.is_ascii_graphic()) && host > 0;
    fits.then(|| &url[..url.len() - rest.len() + host])
}

/// What a `Location` header means in the answer of `base` (RFC 9110 10.2.2). Dot segments are left to the server.
pub fn resolve(base: &str, location: &str) -> Option<String> {
    let origin_of_base = origin(base)?;
    let joined = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{}{location}", &base[..base.find("//")?])
    } else if location.starts_with('/') {
        format!("{origin_of_base}{location}")
    } else if location.is_empty() {
        return None;
    } else {
        let path = &base[origin_of_base.len()..];
        let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
        let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
        format!("{origin_of_base}{folder}{location}")
    };
    origin(&joined).is_some().then_some(joined)
}

/// A text as one segment of a path or one value of a query (RFC 3986 2.3: everything but the unreserved is escaped).
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            for nibble in [b >> 4, b & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://a.example:8443/x?y"), Some("https://a.example:8443"));
        assert_eq!(origin("http://127.0.0.1?y"), Some("http://127.0.0.1"));
        for bad in ["", "https://", "https:///x", "file:///x", "https://a/ b", "https://ä/", "HTTPS//a"] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_location_is_resolved_against_the_address_posted_to() {
        let base = "https://a.example/in/hook?key=1/2";
        let resolved = |location| resolve(base, location);
        assert_eq!(resolved("http://b/x").as_deref(), Some("http://b/x"));
        assert_eq!(resolved("//b/x").as_deref(), Some("https://b/x"));
        assert_eq!(resolved("/r/1").as_deref(), Some("https://a.example/r/1"));
        assert_eq!(resolved("r/1").as_deref(), Some("https://a.example/in/r/1"));
        assert_eq!(resolve("https://a.example", "r").as_deref(), Some("https://a.example/r"));
        assert_eq!(resolved(""), None);
        assert_eq!(resolved("a b"), None);
    }

    #[test]
    fn a_receipt_cannot_leave_its_segment() {
        assert_eq!(escaped("../a?b=ä"), "..%2Fa%3Fb%3D%C3%A4");
    }
}
