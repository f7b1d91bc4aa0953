//! An SMTP client that says what a test tells it to, well formed or not.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use postern_smtp::{Reply, ReplyReader};

use crate::wait::DEADLINE;

/// 421 may come at any time (RFC 5321 3.8): the host ends, and the connection with it.
fn not_ending(reply: &Reply) -> io::Result<()> {
    match reply.code {
        421 => Err(io::Error::new(io::ErrorKind::ConnectionAborted, format!("the host ends: {reply:?}"))),
        _ => Ok(()),
    }
}

/// A conversation.
pub struct SmtpClient {
    stream: TcpStream,
    reader: ReplyReader,
    input: Vec<u8>,
}

impl SmtpClient {
    /// Connects and says EHLO.
    ///
    /// # Panics
    /// When the server does not welcome us.
    #[must_use]
    pub fn connect(server: SocketAddr) -> Self {
        Self::try_connect(server).expect("the server welcomes us")
    }

    /// As [`Self::connect`], where the server may be about to die.
    ///
    /// # Errors
    /// When there is no connection or it broke.
    ///
    /// # Panics
    /// When the server refuses us.
    pub fn try_connect(server: SocketAddr) -> io::Result<Self> {
        let mut client = Self::greeted(server)?;
        let hello = client.try_command("EHLO client.example")?;
        not_ending(&hello)?;
        assert_eq!(hello.code, 250, "{hello:?}");
        Ok(client)
    }

    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// When there is no connection or it broke.
    ///
    /// # Panics
    /// When the server refuses us.
    pub fn greeted(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut client = Self { stream, reader: ReplyReader::default(), input: Vec::new() };
        let greeting = client.try_reply()?;
        not_ending(&greeting)?;
        assert_eq!(greeting.code, 220, "{greeting:?}");
        Ok(client)
    }

    /// Sends one command and returns the reply.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn command(&mut self, line: &str) -> Reply {
        self.try_command(line).unwrap_or_else(|error| panic!("no reply to {line:?}: {error}"))
    }

    /// As [`Self::command`], where the server may die.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn try_command(&mut self, line: &str) -> io::Result<Reply> {
        self.stream.write_all(format!("{line}\r\n").as_bytes())?;
        self.try_reply()
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next reply.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("the server replies")
    }

    /// As [`Self::reply`], where the server may die.
    ///
    /// # Errors
    /// When the connection broke, or the server did not speak SMTP.
    pub fn try_reply(&mut self) -> io::Result<Reply> {
        loop {
            let mut rest: &[u8] = &self.input;
            let reply = self.reader.read(&mut rest).map_err(io::Error::other)?;
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if let Some(reply) = reply {
                return Ok(reply);
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&buffer[..count]);
        }
    }

    /// MAIL and RCPT, all of which must be accepted. `sender` and `recipients` are what stands behind the colon
    /// without the angle brackets, parameters behind a `>`: `"a@b.example> NOTIFY=SUCCESS"`.
    ///
    /// # Errors
    /// When the connection broke.
    ///
    /// # Panics
    /// When one is refused.
    pub fn envelope(&mut self, sender: &str, recipients: &[&str]) -> io::Result<()> {
        let mut lines = vec![format!("MAIL FROM:{}", bracketed(sender))];
        lines.extend(recipients.iter().map(|recipient| format!("RCPT TO:{}", bracketed(recipient))));
        for line in lines {
            let reply = self.try_command(&line)?;
            assert_eq!(reply.code, 250, "{line:?}: {reply:?}");
        }
        Ok(())
    }

    /// DATA with this content, whose lines must end in CRLF; returns the last reply.
    ///
    /// # Errors
    /// When the connection broke.
    ///
    /// # Panics
    /// When DATA itself is refused.
    pub fn data(&mut self, content: &[u8]) -> io::Result<Reply> {
        let reply = self.try_command("DATA")?;
        not_ending(&reply)?;
        assert_eq!(reply.code, 354, "{reply:?}");
        self.stream.write_all(&stuffed(content))?;
        self.try_reply()
    }

    /// BDAT in chunks of `chunk` bytes; returns the last reply, or the first that is a refusal.
    ///
    /// # Errors
    /// When the connection broke.
    pub fn bdat(&mut self, content: &[u8], chunk: usize) -> io::Result<Reply> {
        let mut chunks: Vec<&[u8]> = content.chunks(chunk).collect();
        let last = chunks.pop().unwrap_or_default();
        for piece in chunks {
            self.stream.write_all(format!("BDAT {}\r\n", piece.len()).as_bytes())?;
            self.stream.write_all(piece)?;
            let reply = self.try_reply()?;
            if !reply.is_positive() {
                return Ok(reply);
            }
        }
        self.stream.write_all(format!("BDAT {} LAST\r\n", last.len()).as_bytes())?;
        self.stream.write_all(last)?;
        self.try_reply()
    }

    /// A whole transaction by DATA; returns the id that the server names.
    ///
    /// # Panics
    /// When anything is refused.
    pub fn submit(&mut self, sender: &str, recipients: &[&str], content: &[u8]) -> String {
        self.envelope(sender, recipients).expect("the server replies");
        queued_id(&self.data(content).expect("the server replies"))
    }

    /// A whole transaction by BDAT in one chunk, declared as binary; returns the id that the server names.
    ///
    /// # Panics
    /// When anything is refused.
    pub fn submit_binary(&mut self, sender: &str, recipients: &[&str], content: &[u8]) -> String {
        self.envelope(&format!("{sender}> BODY=BINARYMIME"), recipients).expect("the server replies");
        queued_id(&self.bdat(content, usize::MAX).expect("the server replies"))
    }
}

/// The id in `250 2.0.0 queued as ID`.
///
/// # Panics
/// When the reply is another.
#[must_use]
pub fn queued_id(reply: &Reply) -> String {
    assert_eq!(reply.code, 250, "{reply:?}");
    let text = reply.text();
    let id = text.strip_prefix("queued as ").unwrap_or_else(|| panic!("no id in {reply:?}"));
    assert!(id.len() == 36 && id.matches('-').count() == 4, "{id:?} is no message id");
    id.to_owned()
}

fn bracketed(path: &str) -> String {
    if path.contains('>') { format!("<{path}") } else { format!("<{path}>") }
}

/// The content with transparency dots and the final dot (RFC 5321 4.5.2), written here once more on purpose: the host's
/// own writer must not be what its reader is tested with.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + 1024);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
