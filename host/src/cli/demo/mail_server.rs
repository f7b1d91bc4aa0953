//! MailServer: plays the mail server of the office. It takes every mail, and keeps it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use postern_smtp::{EnhancedCode, ReceivedMessage, Session, SessionConfig, Step, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::watch::Happening;

/// A mail that it got.
pub struct Mail {
    /// When.
    pub at: Timestamp,
    /// The reverse-path; empty for reports.
    pub sender: String,
    /// Whom it is for.
    pub recipients: Vec<String>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The server, running.
pub struct MailServer {
    /// Where it listens.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl MailServer {
    /// Starts it on a free port of this machine: it keeps mails in `folder` and tells about each.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(folder: PathBuf, tell: UnboundedSender<Happening>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, folder, tell));
        Ok(Self { address, task })
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, folder: PathBuf, tell: UnboundedSender<Happening>) {
    let config = Arc::new(SessionConfig::new("mail.office.example"));
    let (folder, number) = (Arc::new(folder), Arc::new(AtomicU32::new(1)));
    // Dropped with this task, and all conversations with it.
    let mut conversations = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let session = Session::new(config.clone());
        let keeper = Keeper { folder: folder.clone(), number: number.clone(), tell: tell.clone() };
        conversations.spawn(async move {
            // A client that breaks off hands its mail in again.
            let _ = converse(stream, session, &keeper).await;
        });
    }
}

/// What is done with a mail.
struct Keeper {
    folder: Arc<PathBuf>,
    number: Arc<AtomicU32>,
    tell: UnboundedSender<Happening>,
}

impl Keeper {
    fn keep(&self, message: &ReceivedMessage, content: Vec<u8>) -> Verdict {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let path: &Path = &self.folder.join(format!("{number}.eml"));
        if let Err(error) = std::fs::write(path, &content) {
            return Verdict::new(451, EnhancedCode::new(4, 3, 0), &error.to_string());
        }
        let mail = Mail {
            at: Timestamp::now(),
            sender: message.mail.reverse_path.to_string(),
            recipients: message.recipients.iter().map(|r| r.forward_path.to_string()).collect(),
            content,
        };
        // Nobody listens when the demo has ended.
        let _ = self.tell.send(Happening::Mail(mail));
        Verdict::accept_with("in the mailbox")
    }
}

async fn converse(mut stream: TcpStream, mut session: Session, keeper: &Keeper) -> io::Result<()> {
    let (mut input, mut output, mut content) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let mut rest: &[u8] = &input;
        let step = session.advance(&mut rest, &mut output, &mut content);
        let used = input.len() - rest.len();
        input.drain(..used);
        match step {
            Step::NeedInput => {
                stream.write_all(&output).await?;
                output.clear();
                if stream.read_buf(&mut input).await? == 0 {
                    return Ok(());
                }
            }
            Step::Mail(_) | Step::Recipient(_) => session.answer(Verdict::accept()),
            Step::Message(message) => session.answer(keeper.keep(&message, std::mem::take(&mut content))),
            Step::Discard => content.clear(),
            Step::Close => {
                stream.write_all(&output).await?;
                return stream.shutdown().await;
            }
        }
    }
}
