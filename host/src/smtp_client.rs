//! SmtpClient: the client's side of an SMTP conversation over TCP. The grammar is `postern_smtp`'s.

use std::time::Duration;

use postern_model::Content;
use postern_smtp::{
    Capabilities, ClientError, DataError, DataWriter, ForwardPath, LineEnds, MailParams, RcptParams, Reply,
    ReplyError, ReplyReader, ReversePath, client,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of content sent at once.
const CHUNK: usize = 64 * 1024;

/// How long a client waits (RFC 5321 4.5.3.2).
#[derive(Clone, Copy, Debug)]
pub struct ClientTimeouts {
    /// For the connection.
    pub connect: Duration,
    /// For the reply to a command.
    pub command: Duration,
    /// For the reply to the content.
    pub data: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            command: Duration::from_secs(5 * 60),
            data: Duration::from_secs(10 * 60),
        }
    }
}

/// Why a conversation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SmtpClientError {
    /// The network.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The peer was silent.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer did not speak SMTP.
    #[error("{0}")]
    Reply(#[from] ReplyError),
    /// Something cannot be said in SMTP.
    #[error("{0}")]
    Command(#[from] ClientError),
    /// The content cannot go by DATA.
    #[error("{0}")]
    Content(#[from] DataError),
    /// The peer does not want to talk.
    #[error("the peer refused the conversation: {0}")]
    Refused(String),
}

/// A conversation.
pub struct SmtpClient {
    stream: TcpStream,
    timeouts: ClientTimeouts,
    reader: ReplyReader,
    input: Vec<u8>,
    output: Vec<u8>,
    capabilities: Capabilities,
}

impl SmtpClient {
    /// Connects and says hello: EHLO, then HELO to those who do not know it.
    ///
    /// # Errors
    /// When there is no connection, or the peer refuses.
    pub async fn connect(
        host: &str,
        port: u16,
        helo: &str,
        timeouts: ClientTimeouts,
    ) -> Result<Self, SmtpClientError> {
        let connecting = tokio::time::timeout(timeouts.connect, TcpStream::connect((host, port)));
        let stream = connecting.await.map_err(|_| SmtpClientError::Timeout(timeouts.connect))??;
        stream.set_nodelay(true)?;
        let mut this = Self {
            stream,
            timeouts,
            reader: ReplyReader::default(),
            input: Vec::new(),
            output: Vec::new(),
            capabilities: Capabilities::default(),
        };
        let greeting = this.reply(timeouts.command).await?;
        if !greeting.is_positive() {
            return Err(refused(&greeting));
        }
        client::ehlo(helo, &mut this.output)?;
        let reply = this.exchange().await?;
        if reply.is_positive() {
            this.capabilities = Capabilities::from_reply(&reply);
        } else {
            client::helo(helo, &mut this.output)?;
            let reply = this.exchange().await?;
            if !reply.is_positive() {
                return Err(refused(&reply));
            }
        }
        Ok(this)
    }

    /// What the peer offers.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// MAIL. An ENVID that cannot be written is left out: the message matters more than the name for its reports.
    ///
    /// # Errors
    /// When the conversation broke; [`SmtpClientError::Command`] when this peer cannot be asked for it, and then
    /// nothing was sent. A refusal is a reply.
    pub async fn mail(&mut self, path: &ReversePath, params: &MailParams) -> Result<Reply, SmtpClientError> {
        let mut written = client::mail(path, params, &self.capabilities, &mut self.output);
        if written == Err(ClientError::DsnParam) {
            let params = MailParams { envelope_id: None, ..params.clone() };
            written = client::mail(path, &params, &self.capabilities, &mut self.output);
        }
        written?;
        self.exchange().await
    }

    /// RCPT. An ORCPT that cannot be written is left out.
    ///
    /// # Errors
    /// When the conversation broke. A refusal is a reply.
    pub async fn rcpt(&mut self, path: &ForwardPath, params: &RcptParams) -> Result<Reply, SmtpClientError> {
        let mut written = client::rcpt(path, params, &self.capabilities, &mut self.output);
        if written == Err(ClientError::DsnParam) {
            let params = RcptParams { original: None, ..params.clone() };
            written = client::rcpt(path, &params, &self.capabilities, &mut self.output);
        }
        written?;
        self.exchange().await
    }

    /// Sends the content behind `before` (a trace field), by BDAT when `by_bdat` is set and the peer takes it, else by
    /// DATA with lone CRs and LFs mended. The reply is the peer's word on the message; after one that is not 2xx the
    /// peer may still be in the transaction: see [`Self::reset`].
    ///
    /// # Errors
    /// When the conversation broke, or DATA cannot carry the content (a NUL): then part of it was sent.
    pub async fn content(
        &mut self,
        before: &[u8],
        content: &Content,
        by_bdat: bool,
    ) -> Result<Reply, SmtpClientError> {
        if by_bdat && self.capabilities.chunking {
            return self.bdat(before, content).await;
        }
        self.output.extend_from_slice(client::DATA);
        let reply = self.exchange().await?;
        if !reply.is_intermediate() {
            return Ok(reply);
        }
        let mut writer = DataWriter::new(LineEnds::Repair);
        writer.write(before, &mut self.output)?;
        let mut offset = 0;
        while offset < content.size() {
            let chunk = read(content, offset).await?;
            offset += chunk.len() as u64;
            writer.write(&chunk, &mut self.output)?;
            self.flush(self.timeouts.data).await?;
        }
        writer.finish(&mut self.output)?;
        self.flush(self.timeouts.data).await?;
        self.reply(self.timeouts.data).await
    }

    async fn bdat(&mut self, before: &[u8], content: &Content) -> Result<Reply, SmtpClientError> {
        client::bdat(before.len() as u64 + content.size(), true, &mut self.output);
        self.output.extend_from_slice(before);
        let mut offset = 0;
        while offset < content.size() {
            let chunk = read(content, offset).await?;
            offset += chunk.len() as u64;
            self.output.extend_from_slice(&chunk);
            self.flush(self.timeouts.data).await?;
        }
        self.flush(self.timeouts.data).await?;
        self.reply(self.timeouts.data).await
    }

    /// RSET.
    ///
    /// # Errors
    /// When the conversation broke.
    pub async fn reset(&mut self) -> Result<Reply, SmtpClientError> {
        self.output.extend_from_slice(client::RSET);
        self.exchange().await
    }

    /// QUIT; what the peer says to it changes nothing.
    pub async fn quit(mut self) {
        self.output.extend_from_slice(client::QUIT);
        self.timeouts.command = self.timeouts.command.min(Duration::from_secs(5));
        let _ = self.exchange().await;
    }

    async fn exchange(&mut self) -> Result<Reply, SmtpClientError> {
        self.flush(self.timeouts.command).await?;
        self.reply(self.timeouts.command).await
    }

    async fn flush(&mut self, limit: Duration) -> Result<(), SmtpClientError> {
        let written = tokio::time::timeout(limit, self.stream.write_all(&self.output)).await;
        self.output.clear();
        Ok(written.map_err(|_| SmtpClientError::Timeout(limit))??)
    }

    async fn reply(&mut self, limit: Duration) -> Result<Reply, SmtpClientError> {
        loop {
            let mut rest: &[u8] = &self.input;
            let reply = self.reader.read(&mut rest)?;
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if let Some(reply) = reply {
                return Ok(reply);
            }
            let read = tokio::time::timeout(limit, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| SmtpClientError::Timeout(limit))?? == 0 {
                return Err(SmtpClientError::Closed);
            }
        }
    }
}

fn refused(reply: &Reply) -> SmtpClientError {
    SmtpClientError::Refused(format!("{} {}", reply.code, reply.text()))
}

async fn read(content: &Content, offset: u64) -> std::io::Result<bytes::Bytes> {
    match content {
        Content::Memory(_) => content.read_range(offset, CHUNK),
        Content::File { .. } => {
            let content = content.clone();
            tokio::task::spawn_blocking(move || content.read_range(offset, CHUNK))
                .await
                .unwrap_or_else(|e| Err(std::io::Error::other(e)))
        }
    }
}
