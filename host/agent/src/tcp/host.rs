//! The `tcp` interface: what one instance has open, and what its running call may still use.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Result;
use wasmtime::component::Resource;

use super::connection::{Connection, Line};
use crate::bindings::imported::tcp::{self as wit, Fault};
use crate::limits::{Limit, Limits, MAX_READ};
use crate::log::{AgentLog, Capability};
use crate::recording::{Asked, Taped, Way, question};
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
    fn permit(&mut self, log: &AgentLog) -> Answer<OwnedSemaphorePermit> {
        let limits = log.limits();
        if self.connects >= limits.tcp_connects {
            let max = limits.tcp_connects;
            log.hit(Limit::TcpConnects);
            return Err(Fault::Denied(format!("more than tcp_connects = {max} attempts in one call")));
        }
        self.connects += 1;
        let permit = self.places.clone().try_acquire_owned();
        permit.map_err(|_| {
            log.hit(Limit::TcpOpen);
            Fault::Denied(format!("more than tcp_open = {} connections at once", limits.tcp_open))
        })
    }

    /// How many of `max` bytes may still be read.
    fn readable(&self, max: usize, log: &AgentLog) -> Answer<usize> {
        match log.limits().tcp_read.saturating_sub(self.read) {
            0 => Err(read_enough(log)),
            left => Ok(left.min(max)),
        }
    }
}

fn read_enough(log: &AgentLog) -> Fault {
    log.hit(Limit::TcpRead);
    Fault::Denied(format!("more than tcp_read = {} bytes in one call", log.limits().tcp_read))
}

impl State {
    fn tcp_patience(&self, timeout_ms: u32) -> Duration {
        self.outbound.patience().time(Some(Duration::from_millis(timeout_ms.into())))
    }

    /// The limit that ended something that took too long, which was asked to take at most so long.
    fn tcp_late(&self, timeout_ms: u32) -> Option<Limit> {
        self.outbound.patience().limit(Some(Duration::from_millis(timeout_ms.into())))
    }

    async fn tcp_connect(&mut self, target: &str, timeout_ms: u32) -> Answer<TcpConnection> {
        let patience = self.tcp_patience(timeout_ms);
        let shared = self.shared.clone();
        let door = shared.tcp.as_ref().ok_or_else(|| Fault::Denied("tcp is not granted".to_owned()))?;
        let permit = self.tcp.permit(&self.log)?;
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
        let max = match self.tcp.readable(max.min(MAX_READ) as usize, &self.log) {
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
        let longest = self.shared.limits.tcp_line;
        let connection = self.table.get_mut(at)?;
        if !connection.is_open() {
            return Ok(Err(Fault::Closed));
        }
        let asked = (max as usize).min(longest);
        let allowed = match self.tcp.readable(asked, &self.log) {
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
            Ok(Line::TooLong) if allowed < asked => Err(read_enough(&self.log)),
            Ok(Line::TooLong) => {
                if asked == longest {
                    self.log.hit(Limit::TcpLine);
                }
                Err(Fault::Other(format!("no end of line within {asked} bytes")))
            }
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
            self.log.hit(Limit::TcpWritten);
            return Ok(Err(Fault::Denied(format!("more than tcp_written = {max} bytes in one call"))));
        }
        self.tcp.written += data.len();
        let written = connection.write(data, patience).await;
        if written.is_ok() {
            self.shared.stats.tcp_written(data.len());
        }
        Ok(written)
    }

    /// Logs and counts a refusal, and counts the limit where it was `late`. `answer` is handed through.
    fn tcp_told<T>(
        &mut self,
        at: &Resource<TcpConnection>,
        late: Option<Limit>,
        answer: Answer<T>,
    ) -> Result<Answer<T>> {
        if let (Err(Fault::Timeout), Some(limit)) = (&answer, late) {
            self.log.hit(limit);
        }
        if let Err(Fault::Denied(why)) = &answer {
            self.log.refused(Capability::Tcp, self.table.get(at)?.target(), why);
        }
        Ok(answer)
    }
}

impl State {
    /// The number of a connection in recordings.
    fn tcp_number(&mut self, at: &Resource<TcpConnection>) -> u32 {
        self.tape_connections(|connections| connections.number(at.rep())).unwrap_or_default()
    }

    async fn tcp_open(&mut self, target: &str, timeout_ms: u32) -> Result<Answer<Resource<TcpConnection>>> {
        let late = self.tcp_late(timeout_ms);
        match self.tcp_connect(target, timeout_ms).await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(fault) => {
                match (&fault, late) {
                    (Fault::Denied(why), _) => self.log.refused(Capability::Tcp, target, why),
                    (Fault::Timeout, Some(limit)) => self.log.hit(limit),
                    _ => {}
                }
                Ok(Err(fault))
            }
        }
    }
}

impl wit::Host for State {
    async fn connect(&mut self, target: String, timeout_ms: u32) -> Result<Answer<Resource<TcpConnection>>> {
        let asked = self.ask::<Answer<u32>>("tcp.connect", |masks| {
            question([("target", target.write(masks)), ("timeout_ms", timeout_ms.into())])
        })?;
        let note = match asked {
            Asked::Known(Err(fault)) => return Ok(Err(fault)),
            Asked::Known(Ok(number)) => {
                let connection = self.table.push(Connection::ended(&target))?;
                self.tape_connections(|connections| connections.add(connection.rep(), number));
                return Ok(Ok(connection));
            }
            Asked::Live(note) => note,
        };
        let answer = self.tcp_open(&target, timeout_ms).await?;
        let number = answer.as_ref().ok().and_then(|connection| {
            self.tape_connections(|connections| {
                let number = connections.next();
                connections.add(connection.rep(), number);
                number
            })
        });
        let told = match &answer {
            Ok(_) => Ok(number.unwrap_or_default()),
            Err(fault) => Err(fault.clone()),
        };
        self.answered(note, &told);
        Ok(answer)
    }
}

impl wit::HostConnection for State {
    async fn read(&mut self, at: Resource<TcpConnection>, max: u32, ms: u32) -> Result<Answer<Vec<u8>>> {
        let number = self.tcp_number(&at);
        let asked = self.ask("tcp.read", |_| {
            question([("connection", number.into()), ("max", max.into()), ("timeout_ms", ms.into())])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let late = self.tcp_late(ms);
        let answer = self.tcp_read(&at, max, ms).await?;
        let answer = self.tcp_told(&at, late, answer)?;
        self.tape_stream(at.rep(), Way::Read, answer.as_deref().unwrap_or_default());
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn read_line(
        &mut self,
        at: Resource<TcpConnection>,
        max: u32,
        ms: u32,
    ) -> Result<Answer<Option<String>>> {
        let number = self.tcp_number(&at);
        let asked = self.ask("tcp.read-line", |_| {
            question([("connection", number.into()), ("max", max.into()), ("timeout_ms", ms.into())])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let late = self.tcp_late(ms);
        let answer = self.tcp_read_line(&at, max, ms).await?;
        let answer = self.tcp_told(&at, late, answer)?;
        let line = answer.as_ref().ok().and_then(Option::as_deref).unwrap_or_default();
        self.tape_stream(at.rep(), Way::Read, line.as_bytes());
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn write(&mut self, at: Resource<TcpConnection>, data: Vec<u8>, ms: u32) -> Result<Answer<()>> {
        let number = self.tcp_number(&at);
        self.tape_stream(at.rep(), Way::Written, &data);
        let asked = self.ask("tcp.write", |masks| {
            question([("connection", number.into()), ("data", data.write(masks)), ("timeout_ms", ms.into())])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let late = self.tcp_late(ms);
        let answer = self.tcp_write(&at, &data, ms).await?;
        let answer = self.tcp_told(&at, late, answer)?;
        self.answered(note, &answer);
        Ok(answer)
    }

    async fn close(&mut self, at: Resource<TcpConnection>) -> Result<()> {
        let number = self.tcp_number(&at);
        let note = match self.ask("tcp.close", |_| question([("connection", number.into())]))? {
            Asked::Known(()) => return Ok(()),
            Asked::Live(note) => note,
        };
        self.table.get_mut(&at)?.close().await;
        self.answered(note, &());
        Ok(())
    }

    async fn drop(&mut self, at: Resource<TcpConnection>) -> Result<()> {
        // When a language lets go of what it does not need is its own affair: it is not recorded.
        self.table.delete(at)?.close().await;
        Ok(())
    }
}
