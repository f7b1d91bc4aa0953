//! The `tcp` interface: what one instance has open, and what its running call may still use.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::connection::{Connection, Line};
use crate::Limits;
use crate::bindings::imported::tcp::{self as wit, Fault};
use crate::limits::MAX_READ;
use crate::log::Capability;
use crate::state::State;
use crate::stats::Stats;

/// An open connection's share of the limits.
pub struct Place {
    stats: Arc<Stats>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn taken(stats: &Arc<Stats>, permit: OwnedSemaphorePermit) -> Self {
        stats.tcp_opened();
        Self { stats: stats.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.tcp_closed();
    }
}

/// What the agent gets.
type Answer<T> = std::result::Result<T, Fault>;

/// A connection as agents hold it.
pub type TcpConnection = Connection<Place>;

/// What one instance has open, and how much of each limit its running call has used.
pub(crate) struct TcpUse {
    places: Arc<Semaphore>,
    connects: u32,
    read: usize,
    written: usize,
}

impl TcpUse {
    pub(crate) fn new(limits: &Limits) -> Self {
        let places = Arc::new(Semaphore::new(limits.tcp_open as usize));
        Self { places, connects: 0, read: 0, written: 0 }
    }

    /// Starts the allowance of a call. What is open stays open.
    pub(crate) fn begin_call(&mut self) {
        (self.connects, self.read, self.written) = (0, 0, 0);
    }

    /// Bytes that the running call has read and written.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.read as u64, self.written as u64)
    }

    /// The right to one more attempt and, if it succeeds, one more connection.
    fn permit(&mut self, limits: &Limits) -> Answer<OwnedSemaphorePermit> {
        if self.connects >= limits.tcp_connects {
            let max = limits.tcp_connects;
            return Err(Fault::Denied(format!("more than tcp_connects = {max} attempts in one call")));
        }
        self.connects += 1;
        let permit = self.places.clone().try_acquire_owned();
        permit.map_err(|_| {
            Fault::Denied(format!("more than tcp_open = {} connections at once", limits.tcp_open))
        })
    }

    /// How many of `max` bytes may still be read.
    fn readable(&self, max: usize, limits: &Limits) -> Answer<usize> {
        match limits.tcp_read.saturating_sub(self.read) {
            0 => Err(Fault::Denied(format!("more than tcp_read = {} bytes in one call", limits.tcp_read))),
            left => Ok(left.min(max)),
        }
    }
}

impl State {
    fn tcp_patience(&self, timeout_ms: u32) -> Duration {
        Duration::from_millis(timeout_ms.into()).min(self.outbound.patience())
    }

    async fn tcp_connect(&mut self, target: &str, timeout_ms: u32) -> Answer<TcpConnection> {
        let patience = self.tcp_patience(timeout_ms);
        let shared = self.shared.clone();
        let door = shared.tcp.as_ref().ok_or_else(|| Fault::Denied("tcp is not granted".to_owned()))?;
        let permit = self.tcp.permit(&shared.limits)?;
        let stream = door.connect(target, patience).await?;
        Ok(Connection::new(target, stream, Place::taken(&shared.stats, permit)))
    }

    async fn tcp_read(&mut self, at: &Resource<TcpConnection>, max: u32, ms: u32) -> Result<Answer<Vec<u8>>> {
        let patience = self.tcp_patience(ms);
        let connection = self.table.get_mut(at)?;
        if max == 0 {
            return Ok(Err(Fault::Other(
                "a read of 0 bytes would look like the end of the stream".to_owned(),
            )));
        }
        if !connection.is_open() {
            return Ok(Err(Fault::Closed));
        }
        let max = match self.tcp.readable(max.min(MAX_READ) as usize, &self.shared.limits) {
            Ok(max) => max,
            Err(fault) => return Ok(Err(fault)),
        };
        let read = connection.read(max, patience).await;
        if let Ok(bytes) = &read {
            self.tcp.read += bytes.len();
            self.shared.stats.tcp_read(bytes.len());
        }
        Ok(read)
    }

    async fn tcp_read_line(
        &mut self,
        at: &Resource<TcpConnection>,
        max: u32,
        ms: u32,
    ) -> Result<Answer<Option<String>>> {
        let patience = self.tcp_patience(ms);
        let limits = &self.shared.limits;
        let connection = self.table.get_mut(at)?;
        if !connection.is_open() {
            return Ok(Err(Fault::Closed));
        }
        let asked = (max as usize).min(limits.tcp_line);
        let allowed = match self.tcp.readable(asked, limits) {
            Ok(allowed) => allowed,
            Err(fault) => return Ok(Err(fault)),
        };
        Ok(match connection.read_line(allowed, patience).await {
            Ok(Line::Whole(line, taken)) => {
                self.tcp.read += taken;
                self.shared.stats.tcp_read(taken);
                Ok(Some(line))
            }
            Ok(Line::End) => Ok(None),
            Ok(Line::CutOff) => Err(Fault::Other("the stream ended within a line".to_owned())),
            Ok(Line::TooLong) if allowed < asked => {
                Err(Fault::Denied(format!("more than tcp_read = {} bytes in one call", limits.tcp_read)))
            }
            Ok(Line::TooLong) => Err(Fault::Other(format!("no end of line within {asked} bytes"))),
            Err(fault) => Err(fault),
        })
    }

    async fn tcp_write(&mut self, at: &Resource<TcpConnection>, data: &[u8], ms: u32) -> Result<Answer<()>> {
        let patience = self.tcp_patience(ms);
        let connection = self.table.get_mut(at)?;
        if !connection.is_open() {
            return Ok(Err(Fault::Closed));
        }
        let max = self.shared.limits.tcp_written;
        if data.len() > max.saturating_sub(self.tcp.written) {
            // All or nothing: half of what the agent has to say would mislead the far end.
            return Ok(Err(Fault::Denied(format!("more than tcp_written = {max} bytes in one call"))));
        }
        self.tcp.written += data.len();
        let written = connection.write(data, patience).await;
        if written.is_ok() {
            self.shared.stats.tcp_written(data.len());
        }
        Ok(written)
    }

    /// Logs and counts a refusal. `answer` is handed through.
    fn tcp_told<T>(&mut self, at: &Resource<TcpConnection>, answer: Answer<T>) -> Result<Answer<T>> {
        if let Err(Fault::Denied(why)) = &answer {
            self.log.refused(Capability::Tcp, self.table.get(at)?.target(), why);
        }
        Ok(answer)
    }
}

impl wit::Host for State {
    async fn connect(&mut self, target: String, timeout_ms: u32) -> Result<Answer<Resource<TcpConnection>>> {
        match self.tcp_connect(&target, timeout_ms).await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(fault) => {
                if let Fault::Denied(why) = &fault {
                    self.log.refused(Capability::Tcp, &target, why);
                }
                Ok(Err(fault))
            }
        }
    }
}

impl wit::HostConnection for State {
    async fn read(&mut self, at: Resource<TcpConnection>, max: u32, ms: u32) -> Result<Answer<Vec<u8>>> {
        let answer = self.tcp_read(&at, max, ms).await?;
        self.tcp_told(&at, answer)
    }

    async fn read_line(
        &mut self,
        at: Resource<TcpConnection>,
        max: u32,
        ms: u32,
    ) -> Result<Answer<Option<String>>> {
        let answer = self.tcp_read_line(&at, max, ms).await?;
        self.tcp_told(&at, answer)
    }

    async fn write(&mut self, at: Resource<TcpConnection>, data: Vec<u8>, ms: u32) -> Result<Answer<()>> {
        let answer = self.tcp_write(&at, &data, ms).await?;
        self.tcp_told(&at, answer)
    }

    async fn close(&mut self, at: Resource<TcpConnection>) -> Result<()> {
        self.table.get_mut(&at)?.close().await;
        Ok(())
    }

    async fn drop(&mut self, at: Resource<TcpConnection>) -> Result<()> {
        self.table.delete(at)?.close().await;
        Ok(())
    }
}
