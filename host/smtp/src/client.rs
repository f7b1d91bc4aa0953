//! The client's side: command lines that cannot be anything else than what was meant, and what a server offers.

use std::io::Write as _;

use crate::params::{MAX_ENVID_LENGTH, MAX_ORCPT_LENGTH};
use crate::path::{is_atom, is_domain_or_literal};
use crate::{Body, ForwardPath, MailParams, Notify, RcptParams, Reply, Ret, ReversePath, xtext};

/// `DATA`.
pub const DATA: &[u8] = b"DATA\r\n";
/// `RSET`.
pub const RSET: &[u8] = b"RSET\r\n";
/// `NOOP`.
pub const NOOP: &[u8] = b"NOOP\r\n";
/// `QUIT`.
pub const QUIT: &[u8] = b"QUIT\r\n";
/// `STARTTLS` (RFC 3207).
pub const STARTTLS: &[u8] = b"STARTTLS\r\n";

/// Mechanisms that are remembered of a server's AUTH line.
const MAX_AUTH_MECHANISMS: usize = 32;

/// Why a command cannot be sent to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The name for HELO or EHLO is neither a domain nor an address literal.
    #[error("the name for EHLO is neither a domain nor an address literal")]
    Name,
    /// The content is binary, and the server does not take that: 5.6.1 or a conversion.
    #[error("the server does not take binary content")]
    BinaryNotOffered,
    /// The message is above the size that the server announced: 5.3.4.
    #[error("the server takes messages up to {0} bytes only")]
    TooLarge(u64),
    /// ENVID or ORCPT cannot be sent: too long, with control characters, or of a type that is no word.
    #[error("a DSN parameter that cannot be sent")]
    DsnParam,
}

/// What a server offers in its answer to EHLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// SIZE (RFC 1870): bytes, 0 for no fixed limit; `None` if it is not offered.
    pub size: Option<u64>,
    /// AUTH (RFC 4954): mechanisms in upper case.
    pub auth: Vec<String>,
}

impl Capabilities {
    /// Reads the answer to EHLO. Its first line names the server and offers nothing.
    #[must_use]
    pub fn from_reply(reply: &Reply) -> Self {
        let mut offers = Self::default();
        if !reply.is_positive() {
            return offers;
        }
        for line in reply.lines.iter().skip(1) {
            let upper = line.to_ascii_uppercase();
            let mut words = upper.split_ascii_whitespace();
            match words.next().unwrap_or_default() {
                "PIPELINING" => offers.pipelining = true,
                "8BITMIME" => offers.eight_bit_mime = true,
                "ENHANCEDSTATUSCODES" => offers.enhanced = true,
                "DSN" => offers.dsn = true,
                "CHUNKING" => offers.chunking = true,
                "BINARYMIME" => offers.binary_mime = true,
                "STARTTLS" => offers.starttls = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "SIZE" => offers.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0)),
                "AUTH" => offers.auth = words.take(MAX_AUTH_MECHANISMS).map(str::to_owned).collect(),
                _ => {}
            }
        }
        offers
    }
}

/// Appends `EHLO name`.
///
/// # Errors
/// When `name` is neither a domain nor an address literal.
pub fn ehlo(name: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    hello("EHLO", name, out)
}

/// Appends `HELO name`.
///
/// # Errors
/// When `name` is neither a domain nor an address literal.
pub fn helo(name: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    hello("HELO", name, out)
}

fn hello(verb: &str, name: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    if !is_domain_or_literal(name) {
        return Err(ClientError::Name);
    }
    line(out, &format!("{verb} {name}"));
    Ok(())
}

/// Appends `MAIL FROM:<path>` with those parameters that the server understands. A path is well-formed by its
/// type: control characters and unbalanced quotes do not get into one.
///
/// 8-bit content goes to a server without 8BITMIME undeclared, as most mail software sends it.
///
/// # Errors
/// When the message is too large for the server, is binary and may not be, or has an ENVID that cannot be sent.
/// Then nothing is appended.
pub fn mail(
    path: &ReversePath,
    params: &MailParams,
    server: &Capabilities,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let mut command = format!("MAIL FROM:<{path}>");
    if let (Some(size), Some(limit)) = (params.size, server.size) {
        if limit != 0 && size > limit {
            return Err(ClientError::TooLarge(limit));
        }
        command += &format!(" SIZE={size}");
    }
    match params.body {
        Some(Body::Binary) if server.binary_mime && server.chunking => command += " BODY=BINARYMIME",
        Some(Body::Binary) => return Err(ClientError::BinaryNotOffered),
        Some(Body::EightBit) if server.eight_bit_mime => command += " BODY=8BITMIME",
        Some(Body::SevenBit) if server.eight_bit_mime => command += " BODY=7BIT",
        _ => {}
    }
    if server.dsn {
        match params.ret {
            Some(Ret::Full) => command += " RET=FULL",
            Some(Ret::Headers) => command += " RET=HDRS",
            None => {}
        }
        if let Some(id) = &params.envelope_id {
            command += &format!(" ENVID={}", dsn_text(id, MAX_ENVID_LENGTH)?);
        }
    }
    line(out, &command);
    Ok(())
}

/// Appends `RCPT TO:<path>`, with NOTIFY and ORCPT if the server understands them.
///
/// # Errors
/// When the ORCPT cannot be sent. Then nothing is appended.
pub fn rcpt(
    path: &ForwardPath,
    params: &RcptParams,
    server: &Capabilities,
    out: &mut Vec<u8>,
) -> Result<(), ClientError> {
    let mut command = format!("RCPT TO:<{path}>");
    if server.dsn {
        if let Some(notify) = params.notify {
            command += &format!(" NOTIFY={}", notify_words(notify));
        }
        if let Some(original) = &params.original {
            if !is_atom(&original.kind) {
                return Err(ClientError::DsnParam);
            }
            let room = MAX_ORCPT_LENGTH.checked_sub(original.kind.len() + 1).ok_or(ClientError::DsnParam)?;
            command += &format!(" ORCPT={};{}", original.kind, dsn_text(&original.address, room)?);
        }
    }
    line(out, &command);
    Ok(())
}

/// Appends `BDAT size`, or `BDAT size LAST`; exactly `size` bytes of content must follow it (RFC 3030).
pub fn bdat(size: u64, last: bool, out: &mut Vec<u8>) {
    line(out, &format!("BDAT {size}{}", if last { " LAST" } else { "" }));
}

fn notify_words(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let chosen: Vec<&str> = words.into_iter().filter(|(chosen, _)| *chosen).map(|(_, word)| word).collect();
    if chosen.is_empty() { "NEVER".to_owned() } else { chosen.join(",") }
}

/// `text` as a parameter value that any server will take.
fn dsn_text(text: &str, max: usize) -> Result<String, ClientError> {
    let encoded = xtext::encode(text);
    let fits = !encoded.is_empty() && encoded.len() <= max && !text.chars().any(char::is_control);
    if fits { Ok(encoded) } else { Err(ClientError::DsnParam) }
}

fn line(out: &mut Vec<u8>, command: &str) {
    write!(out, "{command}\r\n").expect("writing to a Vec does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OriginalRecipient, ReplyReader};

    fn server(lines: &str) -> Capabilities {
        let wire = format!("250-server.example\r\n{lines}250 HELP\r\n");
        let reply = ReplyReader::default().read(&mut wire.as_bytes()).unwrap().unwrap();
        Capabilities::from_reply(&reply)
    }

    fn text(command: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>) -> Result<String, ClientError> {
        let mut out = Vec::new();
        let result = command(&mut out);
        assert!(result.is_ok() || out.is_empty());
        result.map(|()| String::from_utf8(out).unwrap())
    }

    const ALL: &str = "250-PIPELINING\r\n250-size 1000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n\
        250-CHUNKING\r\n250-BINARYMIME\r\n250-AUTH plain LOGIN\r\n250-STARTTLS\r\n";

    fn all_mail_params() -> MailParams {
        MailParams {
            size: Some(900),
            body: Some(Body::EightBit),
            ret: Some(Ret::Headers),
            envelope_id: Some("a+b =".to_owned()),
        }
    }

    #[test]
    fn what_a_server_offers_is_understood() {
        let all = server(ALL);
        let expected = Capabilities {
            pipelining: true,
            eight_bit_mime: true,
            enhanced: true,
            dsn: true,
            chunking: true,
            binary_mime: true,
            starttls: true,
            smtputf8: false,
            size: Some(1000),
            auth: vec!["PLAIN".to_owned(), "LOGIN".to_owned()],
        };
        assert_eq!(all, expected);
        assert_eq!(server("250-SIZE\r\n").size, Some(0));
        assert_eq!(server(""), Capabilities::default());
        let first_line = Reply { code: 250, enhanced: None, lines: vec!["DSN".to_owned()] };
        assert_eq!(Capabilities::from_reply(&first_line), Capabilities::default());
    }

    #[test]
    fn parameters_go_only_to_servers_that_offer_them() {
        let path: ReversePath = "a@b.example".parse().unwrap();
        let params = all_mail_params();
        assert_eq!(
            text(|out| mail(&path, &params, &server(ALL), out)).unwrap(),
            "MAIL FROM:<a@b.example> SIZE=900 BODY=8BITMIME RET=HDRS ENVID=a+2Bb+20+3D\r\n"
        );
        let nothing = Capabilities::default();
        assert_eq!(text(|out| mail(&ReversePath::Null, &params, &nothing, out)).unwrap(), "MAIL FROM:<>\r\n");

        let to: ForwardPath = "\"q u\"@c.example".parse().unwrap();
        let original = OriginalRecipient { kind: "fax".to_owned(), address: "+49 30".to_owned() };
        let params = RcptParams {
            notify: Some(Notify { success: true, failure: false, delay: true }),
            original: Some(original),
        };
        assert_eq!(
            text(|out| rcpt(&to, &params, &server(ALL), out)).unwrap(),
            "RCPT TO:<\"q u\"@c.example> NOTIFY=SUCCESS,DELAY ORCPT=fax;+2B49+2030\r\n"
        );
        assert_eq!(text(|out| rcpt(&to, &params, &nothing, out)).unwrap(), "RCPT TO:<\"q u\"@c.example>\r\n");
        let never = RcptParams { notify: Some(Notify::NEVER), original: None };
        assert_eq!(
            text(|out| rcpt(&ForwardPath::Postmaster, &never, &server(ALL), out)).unwrap(),
            "RCPT TO:<Postmaster> NOTIFY=NEVER\r\n"
        );
    }

    #[test]
    fn what_the_server_would_refuse_is_not_sent() {
        let path = ReversePath::Null;
        let large = MailParams { size: Some(1001), ..MailParams::default() };
        assert_eq!(text(|out| mail(&path, &large, &server(ALL), out)), Err(ClientError::TooLarge(1000)));
        assert!(text(|out| mail(&path, &large, &server("250-SIZE 0\r\n"), out)).is_ok());
        let binary = MailParams { body: Some(Body::Binary), ..MailParams::default() };
        assert!(
            text(|out| mail(&path, &binary, &server(ALL), out)).unwrap().ends_with(" BODY=BINARYMIME\r\n")
        );
        let no_chunks = server("250-BINARYMIME\r\n");
        assert_eq!(text(|out| mail(&path, &binary, &no_chunks, out)), Err(ClientError::BinaryNotOffered));
    }

    #[test]
    fn nothing_can_be_injected_into_a_command() {
        assert_eq!(text(|out| ehlo("x\r\nQUIT", out)), Err(ClientError::Name));
        assert_eq!(text(|out| helo("", out)), Err(ClientError::Name));
        assert_eq!(text(|out| ehlo("[192.0.2.1]", out)).unwrap(), "EHLO [192.0.2.1]\r\n");
        for id in ["a\r\nDATA", "", &"x".repeat(101), &"+".repeat(34)] {
            let params = MailParams { envelope_id: Some(id.to_owned()), ..MailParams::default() };
            let result = text(|out| mail(&ReversePath::Null, &params, &server(ALL), out));
            assert_eq!(result, Err(ClientError::DsnParam), "{id:?}");
        }
        for (kind, address) in
            [("a b", "x"), ("", "x"), ("fax", ""), ("fax", "1\r\n"), ("fax", &"x".repeat(500))]
        {
            let original = OriginalRecipient { kind: kind.to_owned(), address: address.to_owned() };
            let params = RcptParams { notify: None, original: Some(original) };
            let result = text(|out| rcpt(&ForwardPath::Postmaster, &params, &server(ALL), out));
            assert_eq!(result, Err(ClientError::DsnParam), "{kind:?} {address:?}");
        }
    }

    #[test]
    fn what_the_client_writes_the_server_reads() {
        let path: ReversePath = "\"a >\\\" b\"@[IPv6:::1]".parse().unwrap();
        let params = all_mail_params();
        let line = text(|out| mail(&path, &params, &server(ALL), out)).unwrap();
        let command = crate::Command::parse(line.trim_end().as_bytes(), &crate::Extensions::default());
        assert_eq!(command, Ok(crate::Command::Mail(path, params)));
        let mut out = Vec::new();
        bdat(10, true, &mut out);
        bdat(0, false, &mut out);
        assert_eq!(out, b"BDAT 10 LAST\r\nBDAT 0\r\n");
    }
}
