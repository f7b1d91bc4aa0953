//! ControlServer: the control socket in the data directory. One JSON line asks, one JSON line answers.
//!
//! The socket has mode 0600: who may open it is who may read and write the data directory.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::{OperateError, Operations, Request};

/// The version of the lines' format.
const VERSION: u32 = 1;
/// The longest request, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;
/// The socket's name in the data directory.
const SOCKET: &str = "control.sock";

#[derive(Serialize, Deserialize)]
struct Question {
    v: u32,
    request: Request,
}

#[derive(Serialize, Deserialize)]
struct Answer {
    v: u32,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    error: Option<OperateError>,
}

/// Why a running host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No host is running on this data directory.
    #[error("no host is running")]
    NotRunning,
    /// It did not answer as it should.
    #[error("the running host could not be asked: {0}")]
    Broken(String),
    /// It answered that it could not.
    #[error(transparent)]
    Refused(OperateError),
}

/// Listens for operators.
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlServer {
    /// Binds the socket. A socket that an earlier host left behind is replaced: the lock on the data directory
    /// says that no other host is alive.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn bind(data_directory: &Path) -> io::Result<Self> {
        let path = data_directory.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(|e| match e.kind() {
            // The system's limit on the path of a socket is about a hundred bytes.
            io::ErrorKind::InvalidInput => {
                io::Error::new(e.kind(), format!("{e}: use a data_directory with a shorter path"))
            }
            _ => e,
        })?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until told to stop; takes the socket away then.
    pub async fn run(self, operations: Arc<Operations>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let operations = operations.clone();
                        tokio::spawn(async move {
                            if let Err(error) = answer(stream, &operations).await {
                                tracing::debug!(%error, "a control connection ended early");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                }
            }
        }
        // Left behind it would only be replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, operations: &Operations) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_REQUEST)).read_line(&mut line).await?;
    let answer = match serde_json::from_str::<Question>(&line) {
        Ok(question) if question.v == VERSION => match operations.execute(question.request).await {
            Ok(value) => Answer { v: VERSION, value: Some(value), error: None },
            Err(error) => Answer { v: VERSION, value: None, error: Some(error) },
        },
        Ok(question) => {
            failed(&format!("the host speaks version {VERSION} of the control lines, not {}", question.v))
        }
        Err(error) => failed(&format!("not a request: {error}")),
    };
    let mut text = serde_json::to_string(&answer).map_err(io::Error::other)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

fn failed(text: &str) -> Answer {
    Answer { v: VERSION, value: None, error: Some(OperateError::Failed(text.to_owned())) }
}

/// Whether a host listens on this data directory's socket.
pub async fn is_running(data_directory: &Path) -> bool {
    UnixStream::connect(data_directory.join(SOCKET)).await.is_ok()
}

/// Asks the host that runs on this data directory.
///
/// # Errors
/// [`ControlError::NotRunning`] when there is none; else what went wrong.
pub async fn ask(data_directory: &Path, request: Request) -> Result<Value, ControlError> {
    let broken = |e: &dyn std::fmt::Display| ControlError::Broken(e.to_string());
    let stream = UnixStream::connect(data_directory.join(SOCKET)).await.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotRunning,
        _ => ControlError::Broken(e.to_string()),
    })?;
    let (read, mut write) = stream.into_split();
    let mut text = serde_json::to_string(&Question { v: VERSION, request }).map_err(|e| broken(&e))?;
    text.push('\n');
    write.write_all(text.as_bytes()).await.map_err(|e| broken(&e))?;
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.map_err(|e| broken(&e))?;
    let answer: Answer = serde_json::from_str(&line).map_err(|e| broken(&e))?;
    match (answer.value, answer.error) {
        (_, Some(error)) => Err(ControlError::Refused(error)),
        (Some(value), None) => Ok(value),
        (None, None) => Ok(Value::Null),
    }
}
