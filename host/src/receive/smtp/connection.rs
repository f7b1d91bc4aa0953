//! ClientConnection: one client's conversation.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use postern_model::{Content, Response, TypedAddress};
use postern_smtp::{EnhancedCode, ForwardPath, ReceivedMessage, RecipientRequest, Session, Step, Verdict};
use postern_store::sqlite::IncomingFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Door, envelope};
use crate::submit::{Client, SubmitError};

/// Bytes of content held in memory before they go to a file.
const SPILL: usize = 256 * 1024;
/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Recipients that may be refused in one conversation; with the next one it ends with 421 4.7.0, which slows down those
/// who try which addresses there are.
const MAX_REFUSED_RECIPIENTS: usize = 100;

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
    /// Why the message that is coming in cannot be taken; the rest of it is thrown away.
    unstored: Option<Response>,
    /// Recipients refused so far.
    refused_recipients: usize,
    started: Instant,
}

impl ClientConnection {
    /// A conversation that begins.
    pub fn new(stream: TcpStream, client: IpAddr, door: Arc<Door>) -> Self {
        let session = Session::new(door.session.clone());
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
            unstored: None,
            refused_recipients: 0,
            started: Instant::now(),
        }
    }

    /// Talks until the client leaves, is silent or stays for too long, or the host stops. While a message is handed in
    /// nothing is waited for but its answer: a client that did not hear it would come again with the same message.
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
                    self.unstored = None;
                    let verdict = match self.door.submitter.check_open() {
                        Ok(()) => Verdict::accept(),
                        Err(response) => self.refuse(&response),
                    };
                    self.session.answer(verdict);
                }
                Step::Recipient(request) => {
                    let verdict = match self.check_recipient(&request) {
                        Ok(()) => Verdict::accept(),
                        Err(response) => self.refuse_recipient(&response),
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
                    self.unstored = None;
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
        let deadline = self.deadline();
        let until = deadline.min(Instant::now() + self.door.config.inactivity_timeout);
        // The order matters: a client that never pauses must not outlive its time.
        self.output = tokio::select! {
            biased;
            () = stop.cancelled() => self.session.shutdown_reply(),
            () = tokio::time::sleep_until(until) => {
                if until == deadline {
                    let limit = self.door.config.connection_timeout;
                    tracing::info!(
                        connector = %self.door.config.name, client = %self.client, ?limit,
                        "a client connection reached connection_timeout and is closed"
                    );
                }
                self.session.timeout_reply()
            }
            read = self.stream.read_buf(&mut self.input) => return Ok(read? > 0),
        };
        self.flush().await?;
        Ok(false)
    }

    /// When the conversation is over at the latest. An open transaction is given time to come to its end.
    fn deadline(&self) -> Instant {
        let config = &self.door.config;
        let grace =
            if self.session.in_transaction() { config.inactivity_timeout * 2 } else { Duration::ZERO };
        self.started + config.connection_timeout + grace
    }

    fn refuse(&self, response: &Response) -> Verdict {
        self.door.metrics.refused(&self.door.config.name, response.code);
        verdict(response)
    }

    fn refuse_recipient(&mut self, response: &Response) -> Verdict {
        self.refused_recipients += 1;
        if self.refused_recipients <= MAX_REFUSED_RECIPIENTS {
            return self.refuse(response);
        }
        tracing::info!(
            connector = %self.door.config.name, client = %self.client, limit = MAX_REFUSED_RECIPIENTS,
            "a client asked for too many recipients that are not served and is closed"
        );
        self.refuse(&Response::new(421, (4, 7, 0), "too many refused recipients, closing connection"))
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

    /// Moves what is in memory to a file. When there is no room for it, the message is thrown away as it comes in and
    /// refused at its end: the client still has it and comes again.
    async fn spill(&mut self) -> std::io::Result<()> {
        if self.unstored.is_some() {
            self.content.clear();
            return Ok(());
        }
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
        match work.await.map_err(std::io::Error::other)? {
            Ok(file) => self.spilled = Some(file),
            Err(error) => {
                tracing::warn!(
                    connector = %self.door.config.name, client = %self.client, %error,
                    "a message that is coming in cannot be stored and will be refused"
                );
                self.unstored = Some(SubmitError::from(error).response());
            }
        }
        Ok(())
    }

    /// Hands a whole message to the door. Its answer is the client's: 250 only after the commit.
    async fn submit(&mut self, message: ReceivedMessage) -> std::io::Result<Verdict> {
        if self.spilled.is_some() && !self.content.is_empty() {
            self.spill().await?;
        }
        if let Some(response) = self.unstored.take() {
            self.content.clear();
            return Ok(self.refuse(&response));
        }
        let mut recipients = Vec::with_capacity(message.recipients.len());
        for request in &message.recipients {
            match self.address(&request.forward_path) {
                Ok(address) => recipients.push((address, &request.params)),
                Err(response) => {
                    // Dropping an unfinished file removes it.
                    self.spilled = None;
                    self.content.clear();
                    return Ok(self.refuse(&response));
                }
            }
        }
        let content = match self.spilled.take() {
            Some(file) => file.finish(),
            None => Content::from(Bytes::from(std::mem::take(&mut self.content))),
        };
        let file = match &content {
            Content::File { path, .. } => Some(path.clone()),
            Content::Memory(_) => None,
        };
        let facts = envelope::Facts {
            connector: &self.door.config,
            client: self.client,
            helo: self.session.helo_name(),
            protocol: self.session.protocol(),
        };
        let submission = envelope::submission(&facts, &message, recipients, content);
        match self.door.submitter.submit(submission).await {
            Ok(id) => Ok(Verdict::accept_with(&format!("queued as {id}"))),
            Err(error) => {
                // What the store did not take lies where it came in; what it took is there no more.
                if let Some(file) = file {
                    let _ = tokio::fs::remove_file(file).await;
                }
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
