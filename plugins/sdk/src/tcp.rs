//! TCP through the host, to what the connector's `tcp` grants name; the grant says whether the host speaks TLS on it.

use std::fmt;

use crate::imports;

/// Why a connection did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No grant allows it, or a limit is reached; the text names it.
    Denied(String),
    /// The time ran out; the connection is as it was.
    Timeout,
    /// No connection.
    Connect(String),
    /// A connection without trust.
    Tls(String),
    /// It was closed on this side.
    Closed,
    /// Anything else.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(text) => write!(f, "denied: {text}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Connect(text) => write!(f, "no connection: {text}"),
            Self::Tls(text) => write!(f, "TLS: {text}"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A connection. It may stay open over the calls of one open agent connection, and ends when it is dropped.
pub struct Stream(imports::Tcp);

impl Stream {
    /// Connects to `host:port`, within so many milliseconds.
    ///
    /// # Errors
    /// When there is no connection.
    pub fn connect(target: &str, timeout_ms: u32) -> Result<Self, Fault> {
        imports::Tcp::connect(target, timeout_ms).map(Self)
    }

    /// At least one and at most `max` bytes, as soon as there are some; none at the end of the stream.
    ///
    /// # Errors
    /// With [`Fault::Timeout`] when nothing came in time, or when the connection is broken.
    pub fn read(&self, max: u32, timeout_ms: u32) -> Result<Vec<u8>, Fault> {
        self.0.read(max, timeout_ms)
    }

    /// A line without its end; `None` at the end of the stream.
    ///
    /// # Errors
    /// When none came in time or within `max` bytes, or the connection is broken.
    pub fn read_line(&self, max: u32, timeout_ms: u32) -> Result<Option<String>, Fault> {
        self.0.read_line(max, timeout_ms)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When not all of it could be written.
    pub fn write(&self, data: &[u8], timeout_ms: u32) -> Result<(), Fault> {
        self.0.write(data, timeout_ms)
    }
}
