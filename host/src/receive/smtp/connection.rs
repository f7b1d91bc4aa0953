//! ClientConnection: one client's conversation.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use postern_model::{Content, Response, TypedAddress};
use postern_smtp::{EnhancedCode, ForwardPath, ReceivedMessage, RecipientRequest, Session, Step, Verdict};
use postern_store::sqlite::IncomingFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Door, envelope};
use crate::submit::Client;

/// Bytes of content held in memory before they go to a file.
const SPILL: usize = 256 * 1024;
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// One client.
pub struct ClientConnection {
    stream: TcpStream,
    client: IpAddr,
    door: Arc<Door>,
    session: Session,
    input: BytesMut,
    output: Vec<u8>,
    content: Vec<u8>,
    /// The beginning of a large content.
    spilled: Option<IncomingFile>,
    /// What the sender of the open transaction called itself, and the announced size.
    sender: String,
    size: Option<u64>,
}

impl ClientConnection {
    /// A conversation that begins; with a refusal, it is one only to say so.
    pub fn new(stream: TcpStream, client: IpAddr, door: Arc<Door>, refusal: Option<Verdict>) -> Self {
        let session = match refusal {
            Some(verdict) => {
                door.metrics.refused(&door.config.name, verdict.code());
                Session::refusing(door.session.clone(), verdict)
            }
            None => Session::new(door.session.clone()),
        };
        // Replies are small and waited for: they must not wait for more.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            client,
            door,
            session,
            input: BytesMut::new(),
            output: Vec::new(),
            content: Vec::new(),
            spilled: None,
            sender: String::new(),
            size: None,
        }
    }

    /// Talks until the client leaves, is silent for too long, or the host stops.
    pub async fn serve(mut self, stop: &CancellationToken) -> std::io::Result<()> {
        loop {
            let mut rest: &[u8] = &self.input;
            let step = self.session.advance(&mut rest, &mut self.output, &mut self.content);
            let used = self.input.len() - rest.len();
            self.input.advance(used);
            match step {
                Step::NeedInput => {
                    self.flush().await?;
                    if self.content.len() >= SPILL {
                        self.spill().await?;
                    }
                    if !self.read(stop).await? {
                        return Ok(());
                    }
                }
                Step::Mail(request) => {
                    self.sender = request.reverse_path.to_string();
                    self.size = request.params.size;
                    let verdict = match self.door.submitter.check_open() {
                        Ok(()) => Verdict::accept(),
                        Err(response) => self.refuse(&response),
                    };
                    self.session.answer(verdict);
                }
                Step::Recipient(request) => {
                    let verdict = match self.check_recipient(&request) {
                        Ok(()) => Verdict::accept(),
                        Err(response) => self.refuse(&response),
                    };
                    self.session.answer(verdict);
                }
                Step::Message(message) => {
                    let verdict = self.submit(message).await?;
                    self.session.answer(verdict);
                }
                Step::Discard => {
                    self.content.clear();
                    self.spilled = None;
                }
                Step::Close => {
                    self.flush().await?;
                    return self.stream.shutdown().await;
                }
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let limit = self.door.config.inactivity_timeout;
        let written = tokio::time::timeout(limit, self.stream.write_all(&self.output)).await;
        self.output.clear();
        written.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// Reads more; `false` when the conversation is over.
    async fn read(&mut self, stop: &CancellationToken) -> std::io::Result<bool> {
        self.input.reserve(READ);
        let limit = self.door.config.inactivity_timeout;
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                self.output = self.session.shutdown_reply();
                self.flush().await?;
                Ok(false)
            }
            read = tokio::time::timeout(limit, self.stream.read_buf(&mut self.input)) => match read {
                Ok(read) => Ok(read? > 0),
                Err(_) => {
                    self.output = self.session.timeout_reply();
                    self.flush().await?;
                    Ok(false)
                }
            }
        }
    }

    fn refuse(&self, response: &Response) -> Verdict {
        self.door.metrics.refused(&self.door.config.name, response.code);
        verdict(response)
    }

    fn check_recipient(&self, request: &RecipientRequest) -> Result<(), Response> {
        let address = self.address(&request.forward_path)?;
        let client = Client { connector: &self.door.config.name, address: Some(self.client), user: None };
        self.door.submitter.check_recipient(client, &self.sender, &address, self.size)
    }

    fn address(&self, path: &ForwardPath) -> Result<TypedAddress, Response> {
        match path {
            ForwardPath::Postmaster => Ok(self.door.submitter.postmaster()),
            ForwardPath::Mailbox(mailbox) => TypedAddress::smtp(&mailbox.to_string())
                .map_err(|error| Response::new(553, (5, 1, 3), &error.to_string())),
        }
    }

    /// Moves what is in memory to a file.
    async fn spill(&mut self) -> std::io::Result<()> {
        let bytes = std::mem::take(&mut self.content);
        let (file, folder) = (self.spilled.take(), self.door.incoming.clone());
        let work = tokio::task::spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => IncomingFile::create(&folder)?,
            };
            file.write(&bytes)?;
            Ok::<_, postern_store::StoreError>(file)
        });
        let written = work.await.map_err(std::io::Error::other)?;
        // A disk that is full ends the conversation: the client still has the message and comes again.
        self.spilled = Some(written.map_err(std::io::Error::other)?);
        Ok(())
    }

    /// Hands a whole message to the door. Its answer is the client's: 250 only after the commit.
    async fn submit(&mut self, message: ReceivedMessage) -> std::io::Result<Verdict> {
        if self.spilled.is_some() && !self.content.is_empty() {
            self.spill().await?;
        }
        let content = match self.spilled.take() {
            Some(file) => file.finish(),
            None => Content::from(Bytes::from(std::mem::take(&mut self.content))),
        };
        let mut recipients = Vec::with_capacity(message.recipients.len());
        for request in &message.recipients {
            match self.address(&request.forward_path) {
                Ok(address) => recipients.push((address, &request.params)),
                Err(response) => return Ok(self.refuse(&response)),
            }
        }
        let facts = envelope::Facts {
            connector: &self.door.config.name,
            client: self.client,
            helo: self.session.helo_name(),
            protocol: self.session.protocol(),
        };
        let submission = envelope::submission(&facts, &message, recipients, content);
        match self.door.submitter.submit(submission).await {
            Ok(id) => Ok(Verdict::accept_with(&format!("queued as {id}"))),
            Err(error) => {
                tracing::warn!(connector = %self.door.config.name, client = %self.client, %error, "message refused");
                Ok(self.refuse(&error.response()))
            }
        }
    }
}

fn verdict(response: &Response) -> Verdict {
    let status = response.status;
    Verdict::new(response.code, EnhancedCode::new(status.0, status.1, status.2), &response.text)
}
