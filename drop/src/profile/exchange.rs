//! The `exchange` profile: the envelope in a block of `X-` fields before the message, as Exchange writes it into exports and
//! as its Replay directory reads it.
//!
//! ```text
//! X-Sender: <jo@corp.example> BODY=8bitmime RET=HDRS ENVID=17
//! X-Receiver: <+4930123@fax.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;+2B4930123@fax.example
//! X-CreatedBy: Postern
//! X-HeloDomain: client.example
//! X-Source: SMTP:default
//! X-SourceIPAddress: 192.0.2.1
//! X-EndOfInjectedXHeaders: 283
//! From: ...
//! ```
//!
//! [`Block::to_bytes`] writes the block, [`Block::parse`] reads it, whoever wrote it. Documentation and real files differ, so
//! the reader takes what both have: names in letters of any case, folded lines, addresses without brackets,
//! `X-ExtendedProps` as well as `X-ExtendedMessageProps`, properties behind a recipient (`; X-ExtendedProps=...`),
//! and any value of `X-EndOfInjectedXHeaders`: it is documented as the size of the block, real files have larger numbers or
//! text there.
//!
//! [`is_of_block`] and [`is_internal`] say which fields a message itself must not have: those that would be read as a
//! block, or as the word of an organization's own servers (the header firewall).

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write};

use super::name_pattern::checked;
use super::{Content, Eml, FileSet, Letter, MessageLines, Unfit, eml};

/// The longest value that is written, in bytes; longer ones are folded at their spaces, or cut.
const MAX_VALUE: usize = 900;

/// Bytes of one line that are held at once.
const MAX_PIECE: u64 = 64 * 1024;

/// The field that ends the block.
const END: &str = "X-EndOfInjectedXHeaders";
/// Our own fields in the block: what proves that we wrote it, and what only we understand.
const TOKEN: &str = "X-Postern-Import";
const PROPERTIES: &str = "X-Postern-Properties";

/// Names of the fields of a block, in lower case.
const FIELDS: [&str; 11] = [
    "x-sender",
    "x-receiver",
    "x-createdby",
    "x-endofinjectedxheaders",
    "x-extendedmessageprops",
    "x-extendedprops",
    "x-helodomain",
    "x-source",
    "x-sourceipaddress",
    "x-postern-import",
    "x-postern-properties",
];

/// How the names of fields begin that only an organization's own servers may write, in lower case.
const INTERNAL: [&str; 3] = ["x-ms-exchange-organization-", "x-ms-exchange-forest-", "x-postern-"];

/// A sender or a receiver: an address, and the parameters that MAIL or RCPT would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// The address without angle brackets; empty for the null reverse-path.
    pub address: String,
    /// The parameters, `KEYWORD` or `KEYWORD=value` in SMTP's own notation (xtext), in their order.
    pub parameters: Vec<String>,
    /// The value of `X-ExtendedProps` behind it; it is base64, and whoever wrote it knows of what.
    pub properties: Option<String>,
}

/// The block before a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// `X-Sender`.
    pub sender: Party,
    /// `X-Receiver`, one for each.
    pub receivers: Vec<Party>,
    /// `X-CreatedBy`; `MSExchange15` for Exchange 2013 to 2019.
    pub created_by: Option<String>,
    /// `X-HeloDomain`.
    pub helo: Option<String>,
    /// `X-Source`: the connector.
    pub source: Option<String>,
    /// `X-SourceIPAddress`.
    pub source_address: Option<String>,
    /// `X-ExtendedProps` or `X-ExtendedMessageProps`.
    pub properties: Option<String>,
    /// What only Postern understands.
    pub own_properties: Option<String>,
    /// What proves that Postern wrote it.
    pub token: Option<String>,
}

/// Why a file has no block that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// It does not begin with a field of a block.
    #[error("the file does not begin with X-Sender, X-Receiver and the like")]
    None,
    /// A field that must be there is not.
    #[error("the block before the message has no {0}")]
    Missing(&'static str),
    /// A field that must be there once is there twice.
    #[error("the block before the message has {0} twice")]
    Twice(&'static str),
    /// A field that makes no sense.
    #[error("the value of {0} cannot be read: {1:?}")]
    Value(&'static str, String),
}

impl Block {
    /// The block as bytes, with CRLF line ends, ending behind `X-EndOfInjectedXHeaders`: the message follows at once.
    /// Control characters in values are left out, so that no value begins a field of its own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.fields();
        if let Some(token) = &self.token {
            field(&mut out, TOKEN, token);
        }
        let size = out.len();
        field(&mut out, END, &size.to_string());
        out.into_bytes()
    }

    /// The block without token and end: what a token vouches for.
    #[must_use]
    pub fn fields(&self) -> String {
        let mut out = String::with_capacity(512);
        party(&mut out, "X-Sender", &self.sender);
        for receiver in &self.receivers {
            party(&mut out, "X-Receiver", receiver);
        }
        let optional = [
            ("X-CreatedBy", &self.created_by),
            ("X-HeloDomain", &self.helo),
            ("X-ExtendedProps", &self.properties),
            ("X-Source", &self.source),
            ("X-SourceIPAddress", &self.source_address),
            (PROPERTIES, &self.own_properties),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                field(&mut out, name, value);
            }
        }
        out
    }

    /// Reads the block at the beginning of a file, and how many bytes it takes: the message begins behind them.
    ///
    /// The block ends behind `X-EndOfInjectedXHeaders`, or where that is missing before the first field that belongs to
    /// none. Before the end, other fields whose names begin with `X-` are passed over.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn parse(file: &[u8]) -> Result<(Self, usize), BlockError> {
        let mut block = Self::default();
        let mut sender = None;
        let (mut at, mut end) = (0, 0);
        while let Some((name, value, length)) = next_field(&file[at..]) {
            at += length;
            if !FIELDS.contains(&&*name) {
                if name.starts_with("x-") {
                    continue;
                }
                break;
            }
            end = at;
            match &*name {
                "x-sender" if sender.is_some() => return Err(BlockError::Twice("X-Sender")),
                "x-sender" => sender = Some(read_party("X-Sender", &value)?),
                "x-receiver" => block.receivers.push(read_party("X-Receiver", &value)?),
                "x-createdby" => once(&mut block.created_by, "X-CreatedBy", value)?,
                "x-helodomain" => once(&mut block.helo, "X-HeloDomain", value)?,
                "x-source" => once(&mut block.source, "X-Source", value)?,
                "x-sourceipaddress" => once(&mut block.source_address, "X-SourceIPAddress", value)?,
                "x-postern-properties" => once(&mut block.own_properties, PROPERTIES, value)?,
                "x-postern-import" => once(&mut block.token, TOKEN, value)?,
                "x-endofinjectedxheaders" => break,
                _ => block.properties = Some(value),
            }
        }
        if end == 0 {
            return Err(BlockError::None);
        }
        if block.created_by.as_deref() == Some("") {
            return Err(BlockError::Value("X-CreatedBy", String::new()));
        }
        block.sender = sender.ok_or(BlockError::Missing("X-Sender"))?;
        if block.receivers.is_empty() {
            return Err(BlockError::Missing("X-Receiver"));
        }
        Ok((block, end))
    }
}

/// Whether a file carries an envelope block, or what is left of one: it begins with a field of one other than the
/// `X-Sender` that some mail programs write, or has its end marker somewhere in the header. `names` are the names of the
/// header's fields.
pub fn carries_block<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut at_the_top = true;
    for name in names {
        let of_block = is_of_block(name);
        let is_sender = name.eq_ignore_ascii_case(b"x-sender");
        if name.eq_ignore_ascii_case(END.as_bytes()) || (at_the_top && of_block && !is_sender) {
            return true;
        }
        at_the_top &= of_block;
    }
    false
}

/// Whether a field belongs to a block; within a message such a field means nothing, and leaves.
#[must_use]
pub fn is_of_block(name: &[u8]) -> bool {
    FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether only an organization's own servers may write the field.
#[must_use]
pub fn is_internal(name: &[u8]) -> bool {
    INTERNAL.iter().any(|prefix| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    })
}

/// Whether a field is withheld from a gateway, and from a message that comes out of a directory.
#[must_use]
pub fn is_walled(name: &[u8]) -> bool {
    is_of_block(name) || is_internal(name)
}

/// The file of a letter: the block, a `Received` field, and the message behind the firewall.
pub(super) fn render(letter: &Letter<'_>) -> Result<FileSet, Unfit> {
    // Who has no block to hand over says at least who and to whom.
    let plain = || {
        let party = |address: &str| Party { address: address.to_owned(), ..Party::default() };
        let receivers = letter.recipients.iter().map(|recipient| party(&recipient.address)).collect();
        Block { sender: party(letter.envelope.return_path), receivers, ..Block::default() }
    };
    let mut before = letter.block.cloned().unwrap_or_else(plain).to_bytes();
    // A message that the gateway sends back must not go round for ever.
    before.extend_from_slice(eml::received_of(letter).as_bytes());
    let content = Content::Message { before, line_end: MessageLines::BehindFirewall };
    Ok(FileSet::single(checked(Eml::main_name(letter.id))?, content))
}

/// Copies a message, leaving out of its header the fields that are [walled](is_walled); everything else stays byte for byte.
///
/// # Errors
/// When the message cannot be read, or what was written not be taken.
pub fn copy_behind_firewall(message: &mut dyn Read, out: &mut dyn Write) -> io::Result<()> {
    let mut reader = BufReader::new(message);
    let (mut piece, mut at_start, mut dropping) = (Vec::new(), true, false);
    loop {
        piece.clear();
        // A line may be longer than fits into memory: it comes in pieces, which share its fate.
        let length = (&mut reader).take(MAX_PIECE).read_until(b'\n', &mut piece)?;
        if length == 0 {
            return Ok(());
        }
        let is_folded = piece.starts_with(b" ") || piece.starts_with(b"\t");
        if at_start && !is_folded {
            let name =
                piece.iter().position(|byte| *byte == b':').map(|colon| piece[..colon].trim_ascii_end());
            let Some(name) = name.filter(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
            else {
                // The header ends here, at an empty line or at one that is no field.
                out.write_all(&piece)?;
                return io::copy(&mut reader, out).map(drop);
            };
            dropping = is_walled(name);
        }
        at_start = piece.ends_with(b"\n");
        if !dropping {
            out.write_all(&piece)?;
        }
    }
}

fn party(out: &mut String, name: &str, party: &Party) {
    let mut value = format!("<{}>", party.address);
    for parameter in &party.parameters {
        let _ = write!(value, " {parameter}");
    }
    if let Some(properties) = &party.properties {
        let _ = write!(value, "; X-ExtendedProps={properties}");
    }
    field(out, name, &value);
}

/// A field, folded before spaces so that no line is longer than allowed where the value has spaces. No space is lost.
fn field(out: &mut String, name: &str, value: &str) {
    let _ = write!(out, "{name}: ");
    let mut length = 0;
    for (index, word) in value.split(' ').enumerate() {
        if index > 0 {
            if length + word.len() > MAX_VALUE && !word.is_empty() {
                out.push_str("\r\n");
                length = 0;
            }
            out.push(' ');
        }
        out.extend(word.chars().filter(|c| !c.is_control()));
        length += word.len() + 1;
    }
    out.push_str("\r\n");
}

/// The next field: its name in lower case, its value unfolded and trimmed, and its bytes. `None` where the header ends.
fn next_field(bytes: &[u8]) -> Option<(String, String, usize)> {
    let mut end = line_end(bytes);
    while matches!(bytes.get(end), Some(b' ' | b'\t')) {
        end += line_end(&bytes[end..]);
    }
    let field = &bytes[..end];
    let colon = field.iter().position(|byte| *byte == b':')?;
    let name = field[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let value: String =
        String::from_utf8_lossy(&field[colon + 1..]).chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    Some((name, value.trim().to_owned(), end))
}

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

fn once(place: &mut Option<String>, name: &'static str, value: String) -> Result<(), BlockError> {
    if place.is_some() {
        return Err(BlockError::Twice(name));
    }
    *place = Some(value);
    Ok(())
}

/// `<address> PARAMETERS; X-ExtendedProps=...`, the brackets left out by some.
fn read_party(name: &'static str, value: &str) -> Result<Party, BlockError> {
    let wrong = || BlockError::Value(name, value.chars().take(200).collect());
    let (address, rest) = match value.strip_prefix('<') {
        Some(inner) => closing_bracket(inner).map(|at| (&inner[..at], &inner[at + 1..])).ok_or_else(wrong)?,
        None => value.split_once([' ', '\t', ';']).map_or((value, ""), |(address, _)| {
            let rest = &value[address.len()..];
            (address, rest)
        }),
    };
    if address.chars().any(char::is_control) {
        return Err(wrong());
    }
    let marker = ";";
    let (parameters, properties) = match split_properties(rest) {
        Some((before, after)) => (before.trim_end().trim_end_matches(marker), Some(after.trim().to_owned())),
        None => (rest, None),
    };
    let parameters = parameters.split_ascii_whitespace().map(str::to_owned).collect();
    Ok(Party { address: address.to_owned(), parameters, properties })
}

/// What stands before and behind `X-ExtendedProps=`, in letters of any case.
fn split_properties(text: &str) -> Option<(&str, &str)> {
    const WORD: &str = "x-extendedprops=";
    let at = text.to_ascii_lowercase().find(WORD)?;
    Some((&text[..at], &text[at + WORD.len()..]))
}

/// Where the address ends; a `>` within quotes does not end it.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(address: &str, parameters: &[&str], properties: Option<&str>) -> Party {
        Party {
            address: address.to_owned(),
            parameters: parameters.iter().map(ToString::to_string).collect(),
            properties: properties.map(str::to_owned),
        }
    }

    fn full() -> Block {
        Block {
            sender: party("jo@corp.example", &["BODY=8bitmime", "RET=HDRS", "ENVID=17"], None),
            receivers: vec![
                party("a@fax.example", &["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;a@b"], None),
                party("\"x>  y\"@fax.example", &[], Some("AAEC==")),
            ],
            created_by: Some("Postern".to_owned()),
            helo: Some("client.example".to_owned()),
            source: Some("SMTP:default".to_owned()),
            source_address: Some("192.0.2.1".to_owned()),
            properties: Some("QUJD".to_owned()),
            own_properties: Some("e30=".to_owned()),
            token: Some("v1 abc".to_owned()),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for block in [full(), Block { receivers: vec![party("b@c", &[], None)], ..Block::default() }] {
            let bytes = block.to_bytes();
            let file = [&bytes[..], b"From: x\r\n\r\nbody"].concat();
            assert_eq!(Block::parse(&file), Ok((block, bytes.len())));
        }
    }

    #[test]
    fn the_written_form_is_this_one() {
        let text = String::from_utf8(full().to_bytes()).unwrap();
        assert!(
            text.starts_with(
                "X-Sender: <jo@corp.example> BODY=8bitmime RET=HDRS ENVID=17\r\n\
                 X-Receiver: <a@fax.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a@b\r\n\
                 X-Receiver: <\"x>  y\"@fax.example>; X-ExtendedProps=AAEC==\r\n\
                 X-CreatedBy: Postern\r\n"
            ),
            "{text}"
        );
        let (before, end) = text.split_once("X-EndOfInjectedXHeaders: ").unwrap();
        assert_eq!(end, format!("{}\r\n", before.len()));
    }

    /// The forms that real exports and pipeline snapshots have.
    #[test]
    fn everything_that_exchange_writes_is_read() {
        let file = b"X-sender: <list+bounces@vger.example> BODY=8bitmime RET=FULL auth=<>\r\n\
            X-Receiver: <peter@n8.example>\r\n ORCPT=rfc822;peter@n8.example NOTIFY=NEVER;\r\n X-ExtendedProps=BQAVABYA\r\n AgAAAA==\r\n\
            X-Receiver: plain@n8.example NOTIFY=DELAY\r\n\
            X-CreatedBy: MSExchange15\r\n\
            X-HeloDomain: EX1.corp.example\r\n\
            X-ExtendedProps: BQBjAAoA\r\n\
            X-Unknown-Field: whatever\r\n\
            X-Source: SMTP:Default EX1\r\n\
            X-SourceIPAddress: 0.0.0.0\r\n\
            X-EndOfInjectedXHeaders: 50610\r\n\
            X-Other: of the message\r\n\r\nbody";
        let (block, end) = Block::parse(file).unwrap();
        assert_eq!(
            block.sender,
            party("list+bounces@vger.example", &["BODY=8bitmime", "RET=FULL", "auth=<>"], None)
        );
        assert_eq!(block.receivers.len(), 2);
        assert_eq!(block.receivers[0].parameters, ["ORCPT=rfc822;peter@n8.example", "NOTIFY=NEVER"]);
        assert_eq!(block.receivers[0].properties.as_deref(), Some("BQAVABYA AgAAAA=="));
        assert_eq!(block.receivers[1], party("plain@n8.example", &["NOTIFY=DELAY"], None));
        assert_eq!(block.properties.as_deref(), Some("BQBjAAoA"));
        assert!(file[end..].starts_with(b"X-Other"));
        for marker in ["MessageSnapshot-End injected headers", "", "0"] {
            let file =
                format!("X-Sender: <>\nX-Receiver: <a@b>\nX-EndOfInjectedXHeaders:{marker}\nFrom: c\n\n");
            let (block, end) = Block::parse(file.as_bytes()).unwrap();
            assert_eq!((block.sender.address.as_str(), &file[end..]), ("", "From: c\n\n"), "{marker}");
        }
    }

    #[test]
    fn without_an_end_marker_the_block_ends_at_the_first_other_field() {
        let file = b"X-Sender: <a@b>\r\nX-Receiver: <c@d>\r\nX-Mailer: of the message\r\nFrom: e\r\n\r\n";
        let (_, end) = Block::parse(file).unwrap();
        assert!(file[end..].starts_with(b"X-Mailer"));
    }

    #[test]
    fn what_is_no_block_is_refused_with_a_reason() {
        let error = |file: &str| Block::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error(""), BlockError::None);
        assert_eq!(error("From: a\r\nX-Sender: <a@b>\r\n\r\n"), BlockError::None);
        assert_eq!(error("X-Receiver: <a@b>\r\n\r\n"), BlockError::Missing("X-Sender"));
        assert_eq!(error("X-Sender: <a@b>\r\n\r\n"), BlockError::Missing("X-Receiver"));
        assert_eq!(error("X-Sender: <a>\r\nX-Sender: <b>\r\n"), BlockError::Twice("X-Sender"));
        assert!(matches!(error("X-Sender: <a\r\n"), BlockError::Value("X-Sender", _)));
        let empty = "X-Sender: <a>\r\nX-Receiver: <b>\r\nX-CreatedBy:\r\n\r\n";
        assert_eq!(error(empty), BlockError::Value("X-CreatedBy", String::new()));
    }

    #[test]
    fn no_value_can_begin_a_field() {
        let evil = "a\r\nX-Receiver: <victim@example>\r\n\r\nbody";
        let block = Block {
            sender: party(evil, &[evil], Some(evil)),
            receivers: vec![party("c@d", &[], None)],
            created_by: Some(evil.to_owned()),
            helo: Some(evil.to_owned()),
            ..Block::default()
        };
        let bytes = block.to_bytes();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.lines().all(|line| line.starts_with("X-") || line.starts_with(' ')), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("X-Receiver")).count(), 1);
    }

    #[test]
    fn a_header_that_carries_a_block_is_told_from_one_that_does_not() {
        let carries = |names: &[&str]| carries_block(names.iter().map(|name| name.as_bytes()));
        assert!(carries(&["X-Sender", "X-Receiver", "From"]));
        assert!(carries(&["x-receiver", "From"]));
        assert!(carries(&["X-CreatedBy"]));
        assert!(carries(&["Received", "From", "X-EndOfInjectedXHeaders"]));
        assert!(!carries(&["From", "To", "X-Sender", "Subject"]));
        assert!(!carries(&["X-Sender", "From", "To"]), "some mail programs write it");
        assert!(!carries(&["From", "X-Source", "X-Receiver"]));
        assert!(!carries(&[]));
    }

    #[test]
    fn a_message_passes_the_firewall_byte_for_byte_but_for_walled_fields() {
        let passes = |message: &[u8]| {
            let mut out = Vec::new();
            copy_behind_firewall(&mut &*message, &mut out).unwrap();
            out
        };
        let long = "x".repeat(200_000);
        let message = format!(
            "Received: a\r\nX-Sender: evil\r\n folded\r\nFrom: b\nx-ms-exchange-organization-x: {long}\r\n\tmore\r\n\
             Subject: {long}\r\n c\r\n\r\nX-Receiver: of the body\r\n.\n\0"
        );
        let expected =
            format!("Received: a\r\nFrom: b\nSubject: {long}\r\n c\r\n\r\nX-Receiver: of the body\r\n.\n\0");
        assert!(passes(message.as_bytes()) == expected.as_bytes());
        for whole in [&b""[..], b"no header\r\nX-Sender: body\r\n", b"\r\nX-Sender: body", b"A: b"] {
            assert_eq!(passes(whole), whole);
        }
    }

    #[test]
    fn the_firewall_knows_the_fields_of_servers() {
        for name in
            ["X-MS-Exchange-Organization-SCL", "x-ms-exchange-forest-rules", "X-Postern-Import", "X-Sender"]
        {
            assert!(is_walled(name.as_bytes()), "{name}");
        }
        for name in ["Received", "X-Mailer", "X-MS-Exchange-Inbox-Rules-Loop", "Resent-From", "X", ""] {
            assert!(!is_walled(name.as_bytes()), "{name}");
        }
    }
}
