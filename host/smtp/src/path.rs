//! Mailboxes and the paths of MAIL and RCPT (RFC 5321 4.1.2 and 4.1.3).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of a whole mailbox. RFC 5321 4.5.3.1 asks for 64 + 1 + 255; foreign addresses that are encapsulated
/// in a local part (X.400) need more.
pub const MAX_MAILBOX_LENGTH: usize = 1024;
/// Bytes of a domain (RFC 5321 4.5.3.1.2).
pub const MAX_DOMAIN_LENGTH: usize = 255;
/// Bytes of one label of a domain (RFC 1035 2.3.4).
const MAX_LABEL_LENGTH: usize = 63;

/// Why a text is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not between `<` and `>`.
    #[error("an address stands between '<' and '>'")]
    Brackets,
    /// Empty where that is not allowed.
    #[error("an empty address")]
    Empty,
    /// A character above ASCII: SMTPUTF8 is not spoken.
    #[error("an address of ASCII characters only")]
    NotAscii,
    /// The source route is malformed.
    #[error("a malformed source route")]
    Route,
    /// The part before the `@` is malformed.
    #[error("a malformed local part")]
    Local,
    /// No `@` and domain.
    #[error("an address without a domain")]
    NoDomain,
    /// The part after the `@` is malformed.
    #[error("a malformed domain")]
    Domain,
    /// Longer than [`MAX_MAILBOX_LENGTH`].
    #[error("an address that is too long")]
    Length,
}

/// `local-part@domain`. The local part is kept as it was written, quotes and all: only the domain's own host
/// may interpret it (RFC 5321 2.3.11).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: String,
    at: usize,
}

impl Mailbox {
    /// What is before the `@`; a quoted one with its quotes.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// What is behind the `@`, as it was written; an address literal with its brackets.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// `local-part@domain`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Mailbox {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.len() > MAX_MAILBOX_LENGTH {
            return Err(PathError::Length);
        }
        if !text.is_ascii() {
            return Err(PathError::NotAscii);
        }
        let at = local_part(text)?;
        match text.as_bytes().get(at) {
            Some(b'@') => {}
            Some(_) => return Err(PathError::Local),
            None => return Err(PathError::NoDomain),
        }
        if !is_domain_or_literal(&text[at + 1..]) {
            return Err(PathError::Domain);
        }
        Ok(Self { text: text.to_owned(), at })
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where notifications go: the path of MAIL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: nowhere (RFC 5321 4.5.5).
    Null,
    /// To a mailbox.
    Mailbox(Mailbox),
}

/// Where the message goes: the path of RCPT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: whoever looks after this host (RFC 5321 4.5.1).
    Postmaster,
    /// To a mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// The mailbox, if it is one.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl ForwardPath {
    /// The mailbox, if it is one.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// Reads the path without its angle brackets; the empty text is the null reverse-path.
impl FromStr for ReversePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self::Null) } else { Ok(Self::Mailbox(without_route(text)?.parse()?)) }
    }
}

/// Reads the path without its angle brackets.
impl FromStr for ForwardPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        Ok(Self::Mailbox(without_route(text)?.parse()?))
    }
}

/// The path without its angle brackets; empty for the null reverse-path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mailbox().map_or("", Mailbox::as_str))
    }
}

/// The path without its angle brackets.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mailbox().map_or("Postmaster", Mailbox::as_str))
    }
}

/// Splits `<path>rest` into the path without its brackets, and the rest. A `>` within quotes does not end it.
pub(crate) fn split_brackets(text: &str) -> Result<(&str, &str), PathError> {
    let inner = text.strip_prefix('<').ok_or(PathError::Brackets)?;
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Ok((&inner[..index], &inner[index + 1..])),
            _ => {}
        }
    }
    Err(PathError::Brackets)
}

/// Drops a source route `@one,@two:`, which servers must understand and should ignore (RFC 5321 appendix C).
fn without_route(text: &str) -> Result<&str, PathError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let mut rest = text;
    loop {
        let hop = rest.strip_prefix('@').ok_or(PathError::Route)?;
        // An address literal may hold colons of its own.
        let from = if hop.starts_with('[') { hop.find(']').ok_or(PathError::Route)? } else { 0 };
        let end = from + hop[from..].find([',', ':']).ok_or(PathError::Route)?;
        if !is_domain_or_literal(&hop[..end]) {
            return Err(PathError::Route);
        }
        rest = &hop[end + 1..];
        if hop.as_bytes()[end] == b':' {
            return Ok(rest);
        }
    }
}

/// The length of the local part in front of `text`: a dot-string or a quoted string.
fn local_part(text: &str) -> Result<usize, PathError> {
    if let Some(inner) = text.strip_prefix('"') {
        let mut escaped = false;
        for (index, byte) in inner.bytes().enumerate() {
            match byte {
                b'"' if !escaped => return Ok(index + 2),
                b'\\' if !escaped => escaped = true,
                b' '..=b'~' => escaped = false,
                _ => return Err(PathError::Local),
            }
        }
        return Err(PathError::Local);
    }
    let length = text.bytes().position(|b| !(is_atext(b) || b == b'.')).unwrap_or(text.len());
    let local = &text[..length];
    if local.split('.').any(str::is_empty) { Err(PathError::Local) } else { Ok(length) }
}

/// The characters of an atom (RFC 5322 3.2.3).
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

pub(crate) fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_atext)
}

pub(crate) fn is_domain_or_literal(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').is_some_and(is_literal),
        None => is_domain(text),
    }
}

/// Letters, digits and hyphens; underscores too, because hosts on private networks have them.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_LENGTH).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= MAX_DOMAIN_LENGTH && text.split('.').all(is_label)
}

/// An IPv4 address, `IPv6:` and an address, or another tag and printable text (RFC 5321 4.1.3).
fn is_literal(text: &str) -> bool {
    if text.len() > MAX_DOMAIN_LENGTH {
        return false;
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().is_ok(),
        Some((tag, address)) if tag.eq_ignore_ascii_case("ipv6") => address.parse::<Ipv6Addr>().is_ok(),
        Some((tag, rest)) => {
            tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && tag.ends_with(|c: char| c.is_ascii_alphanumeric())
                && !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_graphic() && !b"[]\\".contains(&b))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_of_every_form_are_kept_as_they_are_written() {
        for (text, local, domain) in [
            ("Jo@Fax.Example", "Jo", "Fax.Example"),
            ("FAX=+49/30@fax.example", "FAX=+49/30", "fax.example"),
            ("\"a @ b\"@c.example", "\"a @ b\"", "c.example"),
            ("\"q\\\"uo\\\\te\"@c.example", "\"q\\\"uo\\\\te\"", "c.example"),
            ("\"\"@c.example", "\"\"", "c.example"),
            ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]"),
            ("a@[x400:c=de]", "a", "[x400:c=de]"),
            ("a@localhost", "a", "localhost"),
            ("a@my_host.example", "a", "my_host.example"),
        ] {
            let mailbox: Mailbox = text.parse().unwrap();
            assert_eq!(
                (mailbox.local_part(), mailbox.domain(), mailbox.to_string()),
                (local, domain, text.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        for (text, error) in [
            ("", PathError::Empty),
            ("jo", PathError::NoDomain),
            ("@c.example", PathError::Local),
            (".a@c.example", PathError::Local),
            ("a..b@c.example", PathError::Local),
            ("a.@c.example", PathError::Local),
            ("a b@c.example", PathError::Local),
            ("a\r\nRCPT TO:<x@y>@c.example", PathError::Local),
            ("\"a@c.example", PathError::Local),
            ("\"a\\\"@c.example", PathError::Local),
            ("\"a\r\nb\"@c.example", PathError::Local),
            ("\"a\"b@c.example", PathError::Local),
            ("a@", PathError::Domain),
            ("a@b@c.example", PathError::Domain),
            ("a@-b.example", PathError::Domain),
            ("a@b..example", PathError::Domain),
            ("a@b.example.", PathError::Domain),
            ("a@b.example>", PathError::Domain),
            ("a@[1.2.3]", PathError::Domain),
            ("a@[IPv6:zz]", PathError::Domain),
            ("a@[192.0.2.1", PathError::Domain),
            ("ü@b.example", PathError::NotAscii),
        ] {
            assert_eq!(text.parse::<Mailbox>(), Err(error), "{text:?}");
        }
        let long = format!("{}@c.example", "x".repeat(MAX_MAILBOX_LENGTH));
        assert_eq!(long.parse::<Mailbox>(), Err(PathError::Length));
    }

    #[test]
    fn source_routes_are_dropped() {
        for text in
            ["@one.example:a@b.example", "@one.example,@two.example:a@b.example", "@[IPv6:::1]:a@b.example"]
        {
            assert_eq!(text.parse::<ForwardPath>().unwrap().to_string(), "a@b.example");
        }
        for text in
            ["@one.example", "@one.example,two.example:a@b.example", "@:a@b.example", "@a,:b@c.example"]
        {
            assert_eq!(text.parse::<ForwardPath>(), Err(PathError::Route), "{text}");
        }
    }

    #[test]
    fn the_null_path_is_only_for_senders_and_postmaster_only_for_recipients() {
        assert_eq!("".parse(), Ok(ReversePath::Null));
        assert_eq!("".parse::<ForwardPath>(), Err(PathError::Empty));
        assert_eq!("postMASTER".parse(), Ok(ForwardPath::Postmaster));
        assert_eq!("Postmaster".parse::<ReversePath>(), Err(PathError::NoDomain));
    }

    #[test]
    fn a_bracket_within_quotes_does_not_end_the_path() {
        assert_eq!(split_brackets("<\"a>\\\"b\"@c> SIZE=1"), Ok(("\"a>\\\"b\"@c", " SIZE=1")));
        for text in ["a@b", "<a@b", "<\"a>@b", ""] {
            assert_eq!(split_brackets(text), Err(PathError::Brackets), "{text}");
        }
    }
}
