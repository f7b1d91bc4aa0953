//! Interruption: the signals that end a demo early. Each of them must first stop the host, which is a process of its own.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::CliError;

/// Listens for SIGINT, SIGTERM and SIGHUP (the terminal has gone).
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interruption {
    /// From now on these signals no longer end the process by themselves.
    ///
    /// # Errors
    /// When signals cannot be listened for.
    pub fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::failed);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// What a demo that was interrupted comes to.
    pub fn error() -> CliError {
        CliError::failed("the demo was stopped before its end")
    }
}
