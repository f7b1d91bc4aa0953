//! SessionConfig: who the server is, what it offers, and the limit on everything a client may send.

/// What a client may send. Every limit is for one connection, one transaction or one line, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message after dot-unstuffing, offered as SIZE (RFC 1870). Default 35 MiB.
    /// Beyond it: 552 5.3.4.
    pub max_message_size: u64,
    /// Bytes of a message's header block with its closing empty line. Default 256 KiB. Beyond it: 552 5.3.4.
    pub max_header_size: usize,
    /// Accepted recipients of one message. Default 200 (RFC 5321 4.5.3.1.8 asks for 100). Beyond it: 452 4.5.3.
    pub max_recipients: usize,
    /// Bytes of a command line with its CRLF. Default 2048 (RFC 5321 4.5.3.1.4 asks for 512, and every
    /// extension for its own share more). Beyond it: 500 5.5.2.
    pub max_command_length: usize,
    /// `Received` fields in a message; more mean a mail loop (RFC 5321 6.3). Default 30. Beyond it: 554 5.4.6.
    pub max_hops: usize,
    /// Unknown, malformed and misplaced commands since the last accepted message. Default 5.
    /// Beyond it: 421 4.7.0 and the connection is closed.
    pub max_protocol_errors: usize,
    /// Bytes read and thrown away to stay in step with a client whose message or command line was refused
    /// already. Default 64 MiB. Beyond it the connection is closed: with the reply that the message would have
    /// got at its end, else with 421 4.7.0. Looked at whenever the input is used up.
    pub max_discarded: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: 35 * 1024 * 1024,
            max_header_size: 256 * 1024,
            max_recipients: 200,
            max_command_length: 2048,
            max_hops: 30,
            max_protocol_errors: 5,
            max_discarded: 64 * 1024 * 1024,
        }
    }
}

/// What the server offers in its answer to EHLO. By default everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920). Pipelined commands are understood even if it is not offered.
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034): whether replies carry them.
    pub enhanced: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030); only together with `chunking`.
    pub binary_mime: bool,
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            pipelining: true,
            size: true,
            eight_bit_mime: true,
            enhanced: true,
            dsn: true,
            chunking: true,
            binary_mime: true,
        }
    }
}

/// What all sessions of one receive connector have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The server's name in the greeting and in the answer to HELO and EHLO (RFC 5321 4.1.1.1).
    pub host_name: String,
    /// What the greeting says after the host's name; `None` for `ESMTP`.
    pub banner: Option<String>,
    /// What clients may send.
    pub limits: Limits,
    /// What is offered to them.
    pub extensions: Extensions,
}

impl SessionConfig {
    /// A server of this name with all defaults.
    #[must_use]
    pub fn new(host_name: &str) -> Self {
        Self {
            host_name: host_name.to_owned(),
            banner: None,
            limits: Limits::default(),
            extensions: Extensions::default(),
        }
    }
}
