//! TcpConnection: one TCP connection that an agent holds, as long as the agent's own connection is open.

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postern_model::text::one_line;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::bindings::imported::tcp::Fault;
use crate::egress;

/// What is read from the network at once, in bytes.
const CHUNK: usize = 16 * 1024;
/// How long a far end that takes nothing may hold up a close.
const CLOSE: Duration = Duration::from_secs(1);
/// The longest text of a fault, in bytes.
const MAX_TEXT: usize = 300;

/// A way to the far end, with or without TLS on it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Any of them.
pub(crate) type BoxStream = Box<dyn Stream>;

/// A connection, or what is left of one. `Guard` is whatever must live exactly as long as it is open.
pub struct Connection<Guard> {
    target: String,
    open: Option<Open<Guard>>,
}

struct Open<Guard> {
    stream: BoxStream,
    /// What was read and not yet handed over.
    buffer: BytesMut,
    _guard: Guard,
}

/// What became of reading a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end, and the bytes that it took with it. What is not UTF-8 in it is replaced.
    Whole(String, usize),
    /// The stream has ended, after a whole line.
    End,
    /// There is no end of line within the limit. Nothing was taken: `read` can still have the bytes.
    TooLong,
    /// The stream has ended within a line. Nothing was taken: `read` can still have the bytes.
    CutOff,
}

impl<Guard> Connection<Guard> {
    /// Wraps a fresh stream; `target` is what the agent called it.
    pub(crate) fn new(target: &str, stream: BoxStream, guard: Guard) -> Self {
        let open = Open { stream, buffer: BytesMut::new(), _guard: guard };
        Self { target: target.to_owned(), open: Some(open) }
    }

    /// One that has ended already: what there is to say about it stands in a recording.
    pub(crate) fn ended(target: &str) -> Self {
        Self { target: target.to_owned(), open: None }
    }

    /// Where it leads, in the agent's words.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Whether nothing has ended it yet.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// At least one byte and at most `max`; nothing at the end of the stream. After a timeout the connection goes on as
    /// if nothing had been asked.
    pub(crate) async fn read(&mut self, max: usize, patience: Duration) -> Result<Vec<u8>, Fault> {
        let open = self.open.as_mut().ok_or(Fault::Closed)?;
        let read = timeout(patience, open.read(max)).await.map_err(|_| Fault::Timeout)?;
        read.map_err(|error| self.broken(&error))
    }

    /// A line of at most `max` bytes, its end (LF or CRLF) not counted. After a timeout the connection goes on as if
    /// nothing had been asked: what has come of the line is kept for the next call.
    pub(crate) async fn read_line(&mut self, max: usize, patience: Duration) -> Result<Line, Fault> {
        let open = self.open.as_mut().ok_or(Fault::Closed)?;
        let line = timeout(patience, open.read_line(max)).await.map_err(|_| Fault::Timeout)?;
        line.map_err(|error| self.broken(&error))
    }

    /// Writes all of it, or ends the connection: after a timeout nobody knows how much the far end has got.
    pub(crate) async fn write(&mut self, data: &[u8], patience: Duration) -> Result<(), Fault> {
        let open = self.open.as_mut().ok_or(Fault::Closed)?;
        let Ok(written) = timeout(patience, open.write(data)).await else {
            self.open = None;
            return Err(Fault::Timeout);
        };
        written.map_err(|error| self.broken(&error))
    }

    /// Ends it in good order. Nothing happens when it has ended already.
    pub(crate) async fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        // There is nobody left to tell of an error.
        let _ = timeout(CLOSE, open.stream.shutdown()).await;
    }

    /// Ends it after an error and says which.
    fn broken(&mut self, error: &io::Error) -> Fault {
        self.open = None;
        if let Some(error) = egress::error_in(error) {
            return Fault::Tls(one_line(&egress::in_words(error), MAX_TEXT));
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            // TLS without its closing word: somebody may have cut the stream short.
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero => Fault::Closed,
            _ => Fault::Other(one_line(&error.to_string(), MAX_TEXT)),
        }
    }
}

impl<Guard> Open<Guard> {
    async fn read(&mut self, max: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill(max).await?;
        }
        let taken = max.min(self.buffer.len());
        Ok(self.buffer.split_to(taken).into())
    }

    async fn read_line(&mut self, max: usize) -> io::Result<Line> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let end = searched + at;
                let line = &self.buffer[..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.len() > max {
                    return Ok(Line::TooLong);
                }
                let line = String::from_utf8_lossy(line).into_owned();
                let _ = self.buffer.split_to(end + 1);
                return Ok(Line::Whole(line, end + 1));
            }
            searched = self.buffer.len();
            // One more for the CR.
            if searched > max.saturating_add(1) {
                return Ok(Line::TooLong);
            }
            if self.fill(CHUNK).await? == 0 {
                return Ok(if searched == 0 { Line::End } else { Line::CutOff });
            }
        }
    }

    /// Reads once into the buffer: nothing is lost when it is dropped while it waits. Gives 0 at the end of the stream.
    async fn fill(&mut self, max: usize) -> io::Result<usize> {
        let max = max.min(CHUNK);
        self.buffer.reserve(max);
        self.stream.read_buf(&mut (&mut self.buffer).limit(max)).await
    }

    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.stream.write_all(data).await?;
        // TLS keeps records back until it is told.
        self.stream.flush().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const NOW: Duration = Duration::ZERO;

    fn pair(size: usize) -> (Connection<()>, DuplexStream) {
        let (near, far) = duplex(size);
        (Connection::new("far:1", Box::new(near), ()), far)
    }

    fn whole(line: &str, taken: usize) -> Result<Line, String> {
        Ok(Line::Whole(line.to_owned(), taken))
    }

    async fn line(connection: &mut Connection<()>, max: usize) -> Result<Line, String> {
        connection.read_line(max, LONG).await.map_err(|fault| format!("{fault:?}"))
    }

    #[tokio::test]
    async fn lines_end_at_lf_and_lose_a_cr_before_it() {
        let (mut near, mut far) = pair(1024);
        far.write_all(b"one\r\ntwo\n\n\xff\r\nrest").await.unwrap();
        assert_eq!(line(&mut near, 10).await, whole("one", 5));
        assert_eq!(line(&mut near, 10).await, whole("two", 4));
        assert_eq!(line(&mut near, 10).await, whole("", 1));
        assert_eq!(line(&mut near, 10).await, whole("\u{fffd}", 3));
        drop(far);
        assert_eq!(line(&mut near, 10).await, Ok(Line::CutOff));
        assert_eq!(near.read(100, LONG).await.unwrap(), b"rest");
        assert_eq!(line(&mut near, 10).await, Ok(Line::End));
        assert_eq!(near.read(100, LONG).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_line_at_the_limit_is_whole_and_one_beyond_it_stays_to_be_read() {
        let (mut near, mut far) = pair(1024);
        far.write_all(b"12345\r\n123456\n").await.unwrap();
        assert_eq!(line(&mut near, 5).await, whole("12345", 7));
        assert_eq!(line(&mut near, 5).await, Ok(Line::TooLong));
        assert_eq!(near.read(4, LONG).await.unwrap(), b"1234");
        assert_eq!(line(&mut near, 5).await, whole("56", 3));
        far.write_all(b"1234567").await.unwrap();
        assert_eq!(
            line(&mut near, 5).await,
            Ok(Line::TooLong),
            "without waiting for an end that may never come"
        );
    }

    #[tokio::test]
    async fn half_a_line_outlives_a_timeout() {
        let (mut near, mut far) = pair(1024);
        far.write_all(b"ha").await.unwrap();
        assert!(matches!(near.read_line(10, NOW).await, Err(Fault::Timeout)));
        far.write_all(b"lf\r\n").await.unwrap();
        assert_eq!(line(&mut near, 10).await, whole("half", 6));
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_loses_nothing() {
        let (mut near, mut far) = pair(1024);
        for read in [true, false] {
            tokio::select! {
                biased;
                _ = async {
                    if read { near.read(10, LONG).await.map(drop) } else { near.read_line(10, LONG).await.map(drop) }
                } => panic!("there is nothing to read"),
                () = tokio::task::yield_now() => {}
            }
        }
        far.write_all(b"all\n").await.unwrap();
        assert_eq!(line(&mut near, 10).await, whole("all", 4));
    }

    #[tokio::test]
    async fn a_write_that_takes_too_long_ends_the_connection() {
        let (mut near, far) = pair(4);
        assert!(matches!(near.write(b"more than four", Duration::from_millis(1)).await, Err(Fault::Timeout)));
        assert!(matches!(near.write(b"x", LONG).await, Err(Fault::Closed)));
        assert!(matches!(near.read(1, LONG).await, Err(Fault::Closed)));
        drop(far);
    }

    #[tokio::test]
    async fn a_far_end_that_is_gone_is_told_once_and_for_all() {
        let (mut near, far) = pair(4);
        drop(far);
        assert!(matches!(near.write(b"x", LONG).await, Err(Fault::Closed)));
        assert!(!near.is_open());
        near.close().await;
    }

    #[tokio::test]
    async fn close_ends_the_stream_at_the_far_end() {
        let (mut near, mut far) = pair(64);
        near.write(b"bye", LONG).await.unwrap();
        near.close().await;
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"bye");
        assert!(matches!(near.read_line(1, LONG).await, Err(Fault::Closed)));
    }
}
